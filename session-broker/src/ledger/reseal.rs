//! What is sealed in the ledger, sealed again: beside the brokers that work on it, when a key is to go.
//!
//! **Invariants.** A text is replaced only as it was read: what a broker has changed meanwhile, or taken away, stays so.
//! What cannot be sealed again stays, too, and is counted.
//!
//! Does not know keys.

use super::source::Source;
use super::{LedgerAt, OpenError, OwnerId, Sealed, StoreError};
use sqlx::{AssertSqlSafe, Row};

/// For whom a text is sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SealedFor {
    /// The node of a session.
    Session(String),
    /// An owner's login at a registry.
    Registry(OwnerId, String),
    /// An owner's webhook.
    Webhook(OwnerId),
}

/// What becomes of a sealed text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resealed {
    /// It stays.
    Kept,
    /// It opens with no key.
    Lost,
    /// This takes its place.
    By(Sealed),
}

/// How many there were of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResealCount {
    /// Sealed again.
    pub done: u64,
    /// That open with no key.
    pub lost: u64,
}

/// Where sealed texts are: a table, the columns that find a row, and that of the text.
const PLACES: [(&str, [&str; 2], &str); 4] = [
    ("job_secret", ["session_id", "session_id"], "sealed"),
    ("registry_login", ["owner", "registry"], "sealed"),
    ("webhook", ["owner", "owner"], "sealed"),
    ("webhook", ["owner", "owner"], "former"),
];

/// Has `reseal` look at every sealed text of the ledger. Brokers may work on it.
///
/// # Errors
/// [`OpenError`]: some may be sealed again then, and the rest is as it was.
pub async fn reseal_beside(
    at: &LedgerAt,
    mut reseal: impl FnMut(&SealedFor, &Sealed) -> Resealed,
) -> Result<ResealCount, OpenError> {
    let source = Source::new(at)?;
    let name = source.name.clone();
    let connection = source.connect().await;
    let mut connection = connection.map_err(|source| OpenError::Open {
        name: name.clone(),
        source,
    })?;
    let failed = |source| OpenError::Change {
        name: name.clone(),
        source: StoreError::NotApplied(source),
    };
    let mut count = ResealCount::default();
    for (table, [first, second], column) in PLACES {
        // Made of constants of this file alone.
        let read = format!(
            "SELECT {first} AS a, {second} AS b, {column} AS sealed FROM {table} WHERE {column} IS NOT NULL"
        );
        let rows = sqlx::query(AssertSqlSafe(read))
            .fetch_all(&mut connection)
            .await
            .map_err(failed)?;
        for row in rows {
            let (a, b): (String, String) = (row.get("a"), row.get("b"));
            let sealed = Sealed(row.get("sealed"));
            let whose = match table {
                "job_secret" => SealedFor::Session(a.clone()),
                "registry_login" => SealedFor::Registry(OwnerId::read(a.clone()), b.clone()),
                _ => SealedFor::Webhook(OwnerId::read(a.clone())),
            };
            let new = match reseal(&whose, &sealed) {
                Resealed::Kept => continue,
                Resealed::Lost => {
                    count.lost += 1;
                    continue;
                }
                Resealed::By(new) => new,
            };
            let replace = format!(
                "UPDATE {table} SET {column} = $1 WHERE {first} = $2 AND {second} = $3 AND {column} = $4"
            );
            let replaced = sqlx::query(AssertSqlSafe(replace))
                .bind(new.0)
                .bind(a)
                .bind(b)
                .bind(sealed.0)
                .execute(&mut connection)
                .await;
            count.done += replaced.map_err(failed)?.rows_affected();
        }
    }
    Ok(count)
}
