//! What a failure of the engine means: whether anything was written, and whether to try again.

use crate::ledger::StoreError;
use crate::ledger::dialect::Engine;
use crate::ledger::readers::is_plan_void;
use std::time::Duration;

/// How long a transaction may take before its connection is given up. Only engines across a network
/// are: a file's transaction cannot be abandoned, only waited for.
pub(super) const TRANSACTION_WITHIN: Duration = Duration::from_secs(30);

/// A connection that answers no more is given up, unless its transaction cannot be abandoned.
pub(super) async fn within<T>(
    engine: Engine,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    match engine {
        Engine::Sqlite => work.await,
        Engine::Postgres => tokio::time::timeout(TRANSACTION_WITHIN, work)
            .await
            .unwrap_or_else(|_| {
                let late = std::io::Error::from(std::io::ErrorKind::TimedOut);
                Err(StoreError::NotApplied(sqlx::Error::Io(late)))
            }),
    }
}

/// Nothing was written, and whoever meant to write has to read everything anew.
pub(super) fn not_as_left() -> StoreError {
    StoreError::NotApplied(sqlx::Error::Protocol(
        "the ledger is not as this broker left it".to_owned(),
    ))
}

pub(super) fn not_applied(error: StoreError) -> StoreError {
    match error {
        StoreError::Unknown(source) => StoreError::NotApplied(source),
        other => other,
    }
}

pub(super) fn unknown(error: StoreError) -> StoreError {
    match error {
        StoreError::NotApplied(source) => StoreError::Unknown(source),
        other => other,
    }
}

/// What a failure means for another try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The engine undid it: again at once.
    Undone,
    /// Another transaction holds a row, for longer than this one waits for it.
    Held,
    /// The engine is not there: again in a while.
    Gone,
    /// It would fail again.
    Final,
}

pub(super) fn kind(error: &StoreError) -> Kind {
    let StoreError::NotApplied(source) = error else {
        return Kind::Final;
    };
    match source {
        // With its connection.
        _ if is_plan_void(error) => Kind::Undone,
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::WorkerCrashed => Kind::Gone,
        sqlx::Error::Database(error) => match error.code().as_deref() {
            Some("55P03") => Kind::Held,
            // Serialisation failure, deadlock; SQLITE_BUSY and its kin.
            Some("40001" | "40P01" | "5" | "261" | "517") => Kind::Undone,
            // Connection exceptions, shutdown, crash, starting up, too many connections.
            Some(code) if code.starts_with("08") || code.starts_with("57P") || code == "53300" => {
                Kind::Gone
            }
            // A connection that ended because it stood idle in a transaction; a read-only standby
            // that is about to be the primary.
            Some("25P03" | "25006") => Kind::Gone,
            Some(_) | None => Kind::Final,
        },
        _ => Kind::Final,
    }
}
