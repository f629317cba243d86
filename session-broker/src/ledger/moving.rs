//! A ledger in a file, moved into an empty database that speaks PostgreSQL's protocol.
//!
//! ```text
//!   file, locked for itself --rows of each table, as JSON, batch after batch--> one transaction --counts alike--> commit
//! ```
//!
//! **Invariants.** The target has everything or nothing: it is one transaction, after its tables were made. The file
//! stays as it is, and nobody else has it open meanwhile, so that nothing is written that does not come along. Numbers
//! that the file's engine gave out are not given out again. What the target has already is never touched.
//!
//! **What it does not know:** what the tables are. Both engines have made theirs by the same migrations.

use super::source::{LedgerAt, Source};
use super::{OpenError, opening};
use sqlx::any::{AnyConnectOptions, AnyRow};
use sqlx::{AnyConnection, AssertSqlSafe, ConnectOptions, Row};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Rows that travel at a time.
const ROWS: i64 = 500;
/// What the migrations themselves have put into a new ledger.
const FLOOR: &str = "schema_floor";

/// Why a ledger is not moved. The file is as it was, and the target without a row.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// There is none.
    #[error("there is no ledger in {0}")]
    NoFile(PathBuf),
    /// Somebody has it open.
    #[error("the ledger {file} is in use, or cannot be read; stop the broker that has it")]
    InUse {
        /// Which.
        file: PathBuf,
        /// What its engine says.
        #[source]
        source: sqlx::Error,
    },
    /// A broker of another version has left it.
    #[error(
        "the ledger {file} has schema {found}, and this broker makes {known}: start this version on the file once, \
         stop it, and move it then"
    )]
    Schema {
        /// Which.
        file: PathBuf,
        /// What it has.
        found: i64,
        /// What this broker knows.
        known: i64,
    },
    /// The target cannot be opened, or its tables not be made.
    #[error(transparent)]
    Target(#[from] OpenError),
    /// It is a ledger already.
    #[error("the target has rows in `{table}` already; name a database that is new")]
    NotEmpty {
        /// Where.
        table: String,
    },
    /// An engine refuses.
    #[error("`{table}` cannot be moved; nothing is")]
    Table {
        /// Which table.
        table: String,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// What was read is not what was written.
    #[error(
        "of `{table}` {read} rows were read, and {written} are in the target; nothing is moved"
    )]
    Differs {
        /// Which table.
        table: String,
        /// In the file.
        read: i64,
        /// In the target.
        written: i64,
    },
    /// The last word did not come.
    #[error(
        "the target did not confirm the end; if it has rows now, all is moved, and if not, nothing is"
    )]
    Unconfirmed(#[source] sqlx::Error),
}

/// Rows that were moved, by table.
pub type Moved = BTreeMap<String, i64>;

/// Moves the ledger in `file` to the database at `to`, a new one.
///
/// # Errors
/// [`MoveError`] with what to do.
pub async fn move_file(file: &Path, to: &LedgerAt) -> Result<Moved, MoveError> {
    let mut from = open(file).await?;
    let target = Source::new(to)?;
    let mut to = opening::open_and_migrate(&target).await?;
    let patient = "SET idle_in_transaction_session_timeout = 0; SET statement_timeout = 0; BEGIN;
        LOCK TABLE writer IN EXCLUSIVE MODE";
    run(&mut to, patient, "writer").await?;
    let mut moved = Moved::new();
    for table in tables(&mut from).await? {
        moved.insert(table.clone(), copy(&mut from, &mut to, &table).await?);
    }
    count_on(&mut from, &mut to).await?;
    let committed = sqlx::raw_sql("COMMIT").execute(&mut to).await;
    committed.map_err(MoveError::Unconfirmed)?;
    Ok(moved)
}

/// The file, for this process alone, as this broker's migrations leave one.
async fn open(file: &Path) -> Result<AnyConnection, MoveError> {
    if !file.exists() {
        return Err(MoveError::NoFile(file.to_owned()));
    }
    let in_use = |source| MoveError::InUse {
        file: file.to_owned(),
        source,
    };
    let source = Source::new(&LedgerAt::File(file.to_owned()))?;
    let options: AnyConnectOptions = source.read.clone();
    let mut options = options.disable_statement_logging();
    // An engine that only reads cannot lock.
    options.database_url.set_query(Some("mode=rw"));
    let mut from = options.connect().await.map_err(in_use)?;
    let lock = "PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE";
    let locked = sqlx::raw_sql(lock).execute(&mut from).await;
    locked.map_err(in_use)?;
    let newest = "SELECT MAX(version) AS version FROM _sqlx_migrations WHERE success";
    let found = sqlx::query(newest).fetch_one(&mut from).await;
    let found: i64 = found.map_err(in_use)?.get("version");
    let known = super::schema::newest();
    if found != known {
        let file = file.to_owned();
        return Err(MoveError::Schema { file, found, known });
    }
    Ok(from)
}

async fn tables(from: &mut AnyConnection) -> Result<Vec<String>, MoveError> {
    let text = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
        AND name <> '_sqlx_migrations' ORDER BY name";
    let rows = ask(from, text.to_owned(), "sqlite_schema").await?;
    Ok(rows.iter().map(|row| row.get("name")).collect())
}

/// Copies a table that is empty in the target; how many rows it has.
async fn copy(
    from: &mut AnyConnection,
    to: &mut AnyConnection,
    table: &str,
) -> Result<i64, MoveError> {
    if table == FLOOR {
        run(to, "DELETE FROM schema_floor", table).await?;
    }
    if count(to, table).await? > 0 {
        return Err(MoveError::NotEmpty {
            table: table.to_owned(),
        });
    }
    let columns = columns(to, table).await?;
    let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
    let pairs: Vec<String> = names
        .iter()
        .map(|name| format!("'{name}', {name}"))
        .collect();
    // Names are of our own migrations.
    let read = format!(
        "SELECT rowid AS at, json_object({}) AS line FROM {table} WHERE rowid > $1 ORDER BY rowid LIMIT {ROWS}",
        pairs.join(", ")
    );
    let typed: Vec<String> = columns
        .iter()
        .map(|(name, kind)| format!("{name} {kind}"))
        .collect();
    let (names, typed) = (names.join(", "), typed.join(", "));
    let write = format!(
        "INSERT INTO {table} ({names}) OVERRIDING SYSTEM VALUE
            SELECT {names} FROM json_to_recordset($1::json) AS r({typed})"
    );
    let failed = |source| MoveError::Table {
        table: table.to_owned(),
        source,
    };
    let mut at = i64::MIN;
    loop {
        let read = sqlx::query(AssertSqlSafe(read.clone())).bind(at);
        let rows = read.fetch_all(&mut *from).await.map_err(failed)?;
        let Some(last) = rows.last() else { break };
        at = last.get("at");
        let lines: Vec<&str> = rows.iter().map(|row| row.get("line")).collect();
        let lines = format!("[{}]", lines.join(","));
        let write = sqlx::query(AssertSqlSafe(write.clone())).bind(lines);
        write.execute(&mut *to).await.map_err(failed)?;
    }
    let (read, written) = (count(from, table).await?, count(to, table).await?);
    if read != written {
        return Err(MoveError::Differs {
            table: table.to_owned(),
            read,
            written,
        });
    }
    Ok(read)
}

/// Columns of the target's table with their types.
async fn columns(to: &mut AnyConnection, table: &str) -> Result<Vec<(String, String)>, MoveError> {
    let text = format!(
        "SELECT CAST(column_name AS TEXT) AS name, CAST(data_type AS TEXT) AS kind
         FROM information_schema.columns
         WHERE table_schema = current_schema() AND table_name = '{table}' ORDER BY ordinal_position"
    );
    let rows = ask(to, text, table).await?;
    let column = |row: &AnyRow| (row.get("name"), row.get("kind"));
    Ok(rows.iter().map(column).collect())
}

/// Has the target count on where the file's engine is: also past numbers whose rows are gone.
async fn count_on(from: &mut AnyConnection, to: &mut AnyConnection) -> Result<(), MoveError> {
    let text = "SELECT name, seq FROM sqlite_sequence WHERE seq > 0";
    for row in ask(from, text.to_owned(), "sqlite_sequence").await? {
        let (table, last): (String, i64) = (row.get("name"), row.get("seq"));
        let set = format!(
            "SELECT setval(pg_get_serial_sequence('{table}', CAST(column_name AS TEXT)), {last})
             FROM information_schema.columns
             WHERE table_schema = current_schema() AND table_name = '{table}' AND is_identity = 'YES'"
        );
        ask(to, set, &table).await?;
    }
    Ok(())
}

async fn count(at: &mut AnyConnection, table: &str) -> Result<i64, MoveError> {
    let rows = ask(at, format!("SELECT COUNT(*) AS n FROM {table}"), table).await?;
    Ok(rows.first().map_or(0, |row| row.get("n")))
}

async fn ask(at: &mut AnyConnection, text: String, table: &str) -> Result<Vec<AnyRow>, MoveError> {
    let rows = sqlx::query(AssertSqlSafe(text)).fetch_all(at).await;
    rows.map_err(|source| MoveError::Table {
        table: table.to_owned(),
        source,
    })
}

async fn run(at: &mut AnyConnection, text: &'static str, table: &str) -> Result<(), MoveError> {
    let done = sqlx::raw_sql(text).execute(at).await;
    done.map(drop).map_err(|source| MoveError::Table {
        table: table.to_owned(),
        source,
    })
}
