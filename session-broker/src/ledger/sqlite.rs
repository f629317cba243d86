//! SQLite behind the [`Ledger`] trait: one writer task with group commit, a few readers.
//!
//! WAL with `synchronous = FULL`: what was acked survives a power cut. The writer takes whatever
//! lists of ops are waiting, up to a bound, and commits them as one transaction; while the disk
//! syncs, the next lists gather. So the sync itself is the flush window, and a lone caller waits
//! for nobody.

use super::phase_row::parse;
use super::{
    Applied, Credential, CredentialHash, Ledger, Loaded, NodeRow, Op, SpentTicket, StoreError,
    Usage, WatchLinkRow, read, watch_row, write,
};
use crate::time::Clock;
use futures_util::future::BoxFuture;
use nearlight_kit::shutdown::Shutdown;
use nearlight_protocol::api::Role;
use nearlight_protocol::id::{NodeId, SessionId};
use nearlight_protocol::unit::UnixMillis;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, Row, SqlStr};
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// Lists of ops that wait for the writer. Past it callers wait to hand theirs over.
const WAITING_MAX: usize = 256;
/// Ops in one transaction. At about 30 µs an op it stays well below the time of a sync.
const GROUP_OPS_MAX: usize = 512;
/// Readers: HTTP looks up credentials and tickets that are not cached.
const READERS: u32 = 2;
/// How long SQLite waits for a lock before it gives up. Only a second process can hold one.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

const MIGRATIONS: [(i64, &str, &str); 4] = [
    (
        1,
        "ledger",
        include_str!("../../migrations/0001_ledger.sql"),
    ),
    (
        2,
        "watch links",
        include_str!("../../migrations/0002_watch_links.sql"),
    ),
    (
        3,
        "uplink",
        include_str!("../../migrations/0003_uplink.sql"),
    ),
    (
        4,
        "retention",
        include_str!("../../migrations/0004_retention.sql"),
    ),
];

/// The ledger in a SQLite file.
#[derive(Debug)]
pub struct SqliteLedger {
    readers: SqlitePool,
    writer: mpsc::Sender<Job>,
    clock: Clock,
}

#[derive(Debug)]
struct Job {
    ops: Vec<Op>,
    reply: oneshot::Sender<Result<Vec<Applied>, StoreError>>,
}

/// Why a ledger cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be opened as a database.
    #[error("cannot open the ledger {file}")]
    Open {
        /// The file.
        file: String,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// Its schema cannot be brought up to date.
    #[error("cannot bring the ledger {file} up to date; was it written by a newer broker?")]
    Migrate {
        /// The file.
        file: String,
        /// Why.
        #[source]
        source: sqlx::migrate::MigrateError,
    },
}

impl SqliteLedger {
    /// Opens the file, makes it if there is none, and starts its writer.
    ///
    /// # Errors
    /// [`OpenError`] if the file is no ledger of ours or of a newer broker.
    pub async fn open(file: &Path, clock: Clock, shutdown: &Shutdown) -> Result<Self, OpenError> {
        let name = || file.display().to_string();
        let open = |source| OpenError::Open {
            file: name(),
            source,
        };
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            .disable_statement_logging();
        let mut connection = options.connect().await.map_err(open)?;
        migrator()
            .run(&mut connection)
            .await
            .map_err(|source| OpenError::Migrate {
                file: name(),
                source,
            })?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_with(options.read_only(true))
            .await
            .map_err(open)?;
        let (writer, jobs) = mpsc::channel(WAITING_MAX);
        shutdown.spawn(run_writer(connection, jobs));
        Ok(Self {
            readers,
            writer,
            clock,
        })
    }
}

fn migrator() -> Migrator {
    let migrations = MIGRATIONS
        .map(|(version, name, sql)| {
            let sql = SqlStr::from_static(sql);
            Migration::new(version, name.into(), MigrationType::Simple, sql, false)
        })
        .to_vec();
    Migrator::with_migrations(migrations)
}

/// Commits what waits, as one transaction at a time, until every sender is gone.
async fn run_writer(mut connection: SqliteConnection, mut jobs: mpsc::Receiver<Job>) {
    while let Some(first) = jobs.recv().await {
        let mut ops = first.ops.len();
        let mut group = vec![first];
        while ops < GROUP_OPS_MAX
            && let Ok(job) = jobs.try_recv()
        {
            ops += job.ops.len();
            group.push(job);
        }
        let started = Instant::now();
        let result = commit(&mut connection, &group).await;
        crate::metrics::ledger_commit(started.elapsed(), ops, result.is_ok());
        match result {
            Ok(answers) => {
                for (job, answer) in group.into_iter().zip(answers) {
                    // A caller that went away does not need its answer.
                    let _ = job.reply.send(Ok(answer));
                }
            }
            Err(error) => fail(group, error),
        }
    }
    if let Err(error) = connection.close().await {
        tracing::warn!(%error, "the ledger did not close cleanly; it recovers on the next start");
    }
}

async fn commit(
    connection: &mut SqliteConnection,
    group: &[Job],
) -> Result<Vec<Vec<Applied>>, StoreError> {
    let mut transaction = connection
        .begin_with("BEGIN IMMEDIATE")
        .await
        .map_err(StoreError::NotApplied)?;
    let mut answers = Vec::with_capacity(group.len());
    for job in group {
        let mut applied: Vec<Applied> = Vec::with_capacity(job.ops.len());
        for op in &job.ops {
            let done = write::apply(&mut transaction, op, applied.last()).await?;
            applied.push(done);
        }
        answers.push(applied);
    }
    transaction.commit().await.map_err(StoreError::Unknown)?;
    Ok(answers)
}

/// Tells everyone of the group. The error itself goes to the log once; each gets its kind.
fn fail(group: Vec<Job>, error: StoreError) {
    tracing::error!(
        error = &error as &dyn std::error::Error,
        "the ledger failed"
    );
    for job in group {
        let copy = match &error {
            StoreError::NotApplied(_) => StoreError::NotApplied(sqlx::Error::WorkerCrashed),
            StoreError::Unknown(_) => StoreError::Unknown(sqlx::Error::WorkerCrashed),
            StoreError::Corrupt(text) => StoreError::Corrupt(text.clone()),
            StoreError::Closed => StoreError::Closed,
        };
        let _ = job.reply.send(Err(copy));
    }
}

impl Ledger for SqliteLedger {
    fn write(&self, ops: Vec<Op>) -> BoxFuture<'_, Result<Vec<Applied>, StoreError>> {
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            self.writer
                .send(Job { ops, reply })
                .await
                .map_err(|_| StoreError::Closed)?;
            answer.await.map_err(|_| StoreError::Closed)?
        })
    }

    fn load(&self, ended_after_ms: UnixMillis) -> BoxFuture<'_, Result<Loaded, StoreError>> {
        Box::pin(read::load(&self.readers, ended_after_ms, self.clock.now()))
    }

    fn node(&self, node: NodeId) -> BoxFuture<'_, Result<Option<NodeRow>, StoreError>> {
        Box::pin(async move { Ok(read::nodes(&self.readers, Some(&node)).await?.pop()) })
    }

    fn credential(
        &self,
        hash: CredentialHash,
    ) -> BoxFuture<'_, Result<Option<Credential>, StoreError>> {
        Box::pin(async move {
            let row = sqlx::query(
                "SELECT user_id, name, role FROM credential WHERE hash = ? AND revoked_ms IS NULL",
            )
            .bind(hash.to_vec())
            .fetch_optional(&self.readers)
            .await
            .map_err(StoreError::NotApplied)?;
            let Some(row) = row else { return Ok(None) };
            let role = match row.get::<&str, _>("role") {
                "guest" => Role::Guest,
                "admin" => Role::Admin,
                other => return Err(StoreError::Corrupt(format!("unknown role `{other}`"))),
            };
            Ok(Some(Credential {
                hash,
                user: parse(row.get("user_id"))?,
                name: row.get("name"),
                role,
            }))
        })
    }

    fn spent_ticket(
        &self,
        ticket: String,
    ) -> BoxFuture<'_, Result<Option<SpentTicket>, StoreError>> {
        Box::pin(async move {
            let row = sqlx::query(
                "SELECT session_id, attachment_id FROM ticket_spend WHERE ticket_id = ?",
            )
            .bind(ticket)
            .fetch_optional(&self.readers)
            .await
            .map_err(StoreError::NotApplied)?;
            let Some(row) = row else { return Ok(None) };
            Ok(Some(SpentTicket {
                session: parse(row.get("session_id"))?,
                attachment: parse(row.get("attachment_id"))?,
            }))
        })
    }

    fn watch_link(
        &self,
        hash: CredentialHash,
    ) -> BoxFuture<'_, Result<Option<WatchLinkRow>, StoreError>> {
        Box::pin(watch_row::one(&self.readers, hash))
    }

    fn watch_links(
        &self,
        now_ms: UnixMillis,
    ) -> BoxFuture<'_, Result<Vec<WatchLinkRow>, StoreError>> {
        Box::pin(watch_row::holding(&self.readers, now_ms))
    }

    fn usage(&self, session: SessionId) -> BoxFuture<'_, Result<Vec<Usage>, StoreError>> {
        Box::pin(read::usage(&self.readers, session))
    }
}
