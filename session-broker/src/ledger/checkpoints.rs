//! Checkpoints of a ledger in a file, beside its writer.
//!
//! SQLite copies the WAL into the file within the commit that made it long enough, and who waits for that commit waits
//! for the copy and its sync, too. Here another connection copies, a moment after each commit, in a way that keeps
//! neither writer nor reader waiting (`PASSIVE`).
//!
//! Beside a writer that never rests it always leaves the last pages, and only a WAL of which nothing is left is begun
//! anew. So the writer's own checkpoints stay, of a WAL several times as long ([`super::source`]): they find little left.
//!
//! **Invariant.** Nothing depends on it: what it does not copy, the writer does.

use super::dialect::Engine;
use super::source::Source;
use sqlx::{AnyConnection, Connection};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// At 1,500 sessions a second some 1,000 pages of 4 KiB.
const EVERY: Duration = Duration::from_millis(200);
/// After a failure: the file's disk is full, or it is gone. The writer says so.
const AGAIN_IN: Duration = Duration::from_secs(10);

/// Copies until `stop`, of a ledger in a file; `written` is when its writer last began to write.
pub(super) async fn run(source: Source, written: Arc<Mutex<Instant>>, stop: CancellationToken) {
    if source.engine != Engine::Sqlite {
        return;
    }
    while !stop.is_cancelled() {
        if let Err(error) = copy(&source, &written, &stop).await {
            tracing::debug!(%error, "no checkpoint beside the ledger's writer");
            let _ = tokio::time::timeout(AGAIN_IN, stop.cancelled()).await;
        }
    }
}

async fn copy(
    source: &Source,
    written: &Mutex<Instant>,
    stop: &CancellationToken,
) -> Result<(), sqlx::Error> {
    let mut connection: AnyConnection = source.connect().await?;
    let mut copied = None;
    while tokio::time::timeout(EVERY, stop.cancelled()).await.is_err() {
        let last = *written.lock().unwrap_or_else(PoisonError::into_inner);
        if copied != Some(last) {
            sqlx::raw_sql("PRAGMA wal_checkpoint(PASSIVE)")
                .execute(&mut connection)
                .await?;
            copied = Some(last);
        }
    }
    connection.close().await
}
