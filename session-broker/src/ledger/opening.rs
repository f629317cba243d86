//! A ledger before anybody writes to it as a broker: its tables brought up to date, a copy made, one change beside
//! whoever works on it.
//!
//! **What it does not know:** turns and terms ([`super::writer`]), what rows mean.

use super::dialect::Engine;
use super::schema::{migrations, newest};
use super::source::{Durability, LedgerAt, Source};
use super::tx::Tx;
use super::{Applied, BrokerId, Op, StoreError, batch};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{AnyConnection, Row};
use std::path::Path;

/// Why a ledger cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It cannot be connected to.
    #[error("cannot open the ledger {name}; is it there, and may this broker write to it?")]
    Open {
        /// Which.
        name: String,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// Its schema cannot be brought up to date.
    #[error("cannot bring the ledger {name} up to date")]
    Migrate {
        /// Which.
        name: String,
        /// Why.
        #[source]
        source: MigrateError,
    },
    /// A newer broker has made changes that this one does not know.
    #[error("the ledger {name} needs a broker that knows schema {floor}; this one knows {known}")]
    TooNew {
        /// Which.
        name: String,
        /// What it needs.
        floor: i64,
        /// What this broker knows.
        known: i64,
    },
    /// It does not take a change.
    #[error("cannot change the ledger {name}")]
    Change {
        /// Which.
        name: String,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// It does not take this broker as its writer.
    #[error("cannot become the writer of the ledger {name}")]
    Term {
        /// Which.
        name: String,
        /// Why.
        #[source]
        source: StoreError,
    },
}

/// Copies a ledger in a file as of one moment, while a broker may write to it, and has the copy checked.
///
/// # Errors
/// The engine's, or [`StoreError::Corrupt`] for a copy that is not whole.
pub async fn copy_file(file: &Path, to: &Path) -> Result<(), StoreError> {
    let open = async |file: &Path| {
        // `mode=rwc` makes no sense of a copy: what is not there is an error.
        if !file.exists() {
            let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
            return Err(StoreError::NotApplied(sqlx::Error::Io(missing)));
        }
        let at = Source::new(&LedgerAt::File(file.to_owned()));
        let source = at.map_err(|e| StoreError::Corrupt(e.to_string()))?;
        source.connect().await.map_err(StoreError::NotApplied)
    };
    let mut from = open(file).await?;
    sqlx::query("VACUUM INTO $1")
        .bind(to.display().to_string())
        .execute(&mut from)
        .await
        .map_err(StoreError::NotApplied)?;
    let mut copy = open(to).await?;
    let checked = sqlx::query("PRAGMA integrity_check")
        .fetch_one(&mut copy)
        .await;
    let said: String = checked.map_err(StoreError::NotApplied)?.get(0);
    // Nothing is left in a journal beside it.
    let closed = sqlx::raw_sql("PRAGMA journal_mode = DELETE")
        .execute(&mut copy)
        .await;
    closed.map_err(StoreError::NotApplied)?;
    if said != "ok" {
        return Err(StoreError::Corrupt(said));
    }
    let synced = std::fs::File::open(to).and_then(|copy| copy.sync_all());
    synced.map_err(|e| StoreError::NotApplied(sqlx::Error::Io(e)))
}

/// Makes one change in a ledger that a broker may be working on, without taking it over.
///
/// # Errors
/// [`OpenError`] if it cannot be opened or does not take the change.
pub async fn change_beside(at: &LedgerAt, me: &BrokerId, op: Op) -> Result<Applied, OpenError> {
    let source = Source::new(at)?;
    let name = source.name.clone();
    let connection = open_and_migrate(&source).await?;
    let mut tx = Tx::new(source.engine, connection);
    let changed = async {
        tx.begin().await?;
        let answers = batch::apply(&mut tx, me, &[&[op]]).await?;
        tx.commit().await.map_err(StoreError::Unknown)?;
        Ok(answers)
    };
    let changed: Result<_, StoreError> = changed.await;
    let mut answers = changed.map_err(|source| OpenError::Change { name, source })?;
    Ok(answers.remove(0).remove(0))
}

/// A connection to a ledger whose tables are up to date.
pub(super) async fn open_and_migrate(source: &Source) -> Result<AnyConnection, OpenError> {
    let open = |error| OpenError::Open {
        name: source.name.clone(),
        source: error,
    };
    let mut connection = source.connect().await.map_err(open)?;
    migrate(source.engine, &mut connection, &source.name).await?;
    Ok(connection)
}

/// Brings the tables up to date. What a newer broker has added is left alone, unless it says that
/// this one must not go on.
pub(super) async fn migrate(
    engine: Engine,
    connection: &mut AnyConnection,
    name: &str,
) -> Result<(), OpenError> {
    let known = newest();
    let mut migrator = Migrator::with_migrations(migrations(engine).to_vec());
    migrator.set_ignore_missing(true);
    let run = migrator.run(&mut *connection).await;
    run.map_err(|source| OpenError::Migrate {
        name: name.to_owned(),
        source,
    })?;
    let floor = sqlx::query("SELECT version FROM schema_floor")
        .fetch_one(connection)
        .await
        .map_err(|source| OpenError::Open {
            name: name.to_owned(),
            source,
        })?;
    let floor: i64 = floor.get("version");
    if floor > known {
        let name = name.to_owned();
        return Err(OpenError::TooNew { name, floor, known });
    }
    Ok(())
}

/// Says what a commit there outlives.
pub(super) fn tell(durability: &Durability, name: &str) {
    for (setting, value, given_up) in durability.judged() {
        crate::metrics::ledger_durable(setting, value, given_up.is_none());
        if let Some(given_up) = given_up {
            tracing::warn!(ledger = name, "{setting} is {value}: {given_up}");
        }
    }
    tracing::info!(ledger = name, ?durability, "ledger opened");
}

/// A ledger as a broker has left it that knew no later schema than `version`.
#[cfg(test)]
pub(super) async fn of_schema(at: &LedgerAt, version: i64) -> AnyConnection {
    let source = Source::new(at).expect("a ledger");
    let mut connection = source.connect().await.expect("an engine");
    if source.engine == Engine::Postgres {
        // A database of the suite has all tables already.
        let none = sqlx::raw_sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public");
        none.execute(&mut connection).await.expect("no tables");
    }
    let mut migrations = migrations(source.engine).to_vec();
    migrations.retain(|migration| migration.version <= version);
    let migrator = Migrator::with_migrations(migrations);
    migrator.run(&mut connection).await.expect("old migrations");
    connection
}
