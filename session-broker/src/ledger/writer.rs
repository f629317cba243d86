//! The writer: one task, one connection, group commit.
//!
//! It takes whatever lists of changes are waiting, up to a bound, and commits them as one transaction;
//! while the disk syncs, the next lists gather. So the sync itself is the flush window, and a lone
//! caller waits for nobody.
//!
//! ```text
//!   No connection --connect--> Settled --begin, take the turn, changes, commit--> Settled
//!                                 ^                          `--commit without an answer
//!                                 |                                     v
//!                                 +-- the row `writer` says what became of it -- In doubt
//! ```
//!
//! **A ledger that went back.** After a failover to a standby that lagged, or the restore of a back-up, the row
//! has a lower seq than this writer left there. That is counted, a setback, and every change of a holder says
//! how many its broker knew of when it read what it holds: with fewer, nothing of it is written. So it does not
//! matter whose change finds out first; another task's must not leave the holder with what it believed. A
//! standby has a prefix of what was committed: as long as the row is as it was left, nothing that this broker
//! wrote or read before its last transaction is missing.
//!
//! **The turn.** Each transaction first moves `writer.seq` on, if run, term and seq are what this writer
//! left there. So a broker whose ledger another one of its name has opened since, or that its peers gave
//! up for dead (a hang, a network that came back), changes nothing any more:
//! [`StoreError::Superseded`]. And a commit whose answer was lost is
//! not guessed at: reading the row waits for the transaction that holds it, and tells.
//! The row also says how often others took nodes from this broker: see [`super::basis`].
//!
//! **The run** is a word that this process made up. A ledger that went back behind its start gives its term to
//! the next one that takes one, a broker of its name or who seizes it: the same number, and not this run.
//!
//! **Waiting for a row** that another broker's transaction holds. Engines across a network are told to wait a
//! moment only ([`Tx::wait_briefly`]); then this writer shows its peers that it is there, with a transaction of nothing
//! but its turn, and tries again. Else they would give up whoever waits for one that hangs. Nobody's rows are locked
//! for longer than [`failure::TRANSACTION_WITHIN`], so nobody is waited for longer than that.
//!
//! **Tried again.** What an engine undid by itself (a deadlock, a serialisation failure), what it refuses on this
//! connection because a newer broker changed a table ([`super::readers`]), and, for a while, an engine that is not
//! there: nothing was written, so nothing can be doubled.
//!
//! **Invariant.** A caller gets `Ok` only for what is on the disk.

mod failure;
mod job;

use super::StoreError;
use super::basis::News;
use super::dialect::Engine;
use super::readers::is_plan_void;
use super::share::Member;
use super::source::Source;
use super::tx::Tx;
use failure::{Kind, TRANSACTION_WITHIN, kind, not_applied, not_as_left, unknown, within};
use job::{Answers, carry_out, leave_out};
pub(super) use job::{Done, Job, What};
use serde::Serialize;
use sqlx::Row;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Lists of changes that wait for the writer. Past it callers wait to hand theirs over.
pub(super) const WAITING_MAX: usize = 256;
/// Changes in one transaction. At about 30 µs each it stays well below the time of a few syncs.
const GROUP_OPS_MAX: usize = 512;
/// How often a group is tried that the engine undid.
const TRIES_MAX: u32 = 8;
/// How long the writer waits for an engine that is not there: a database that crashed is back within
/// seconds. Callers of the API wait for 10 s.
const RECONNECT_WITHIN: Duration = Duration::from_secs(6);
const RECONNECT_EVERY: Duration = Duration::from_millis(200);

/// Plans are made once and kept, and the planner looks at how large the tables are when it makes them:
/// so they are made anew whenever so many transactions have doubled, and every so many.
const PLANS_EVERY: i64 = 4096;

const TAKE_TERM: &str = "
    INSERT INTO writer (writer_id, term, seq, address, jwk, run)
    SELECT r.writer_id, 1, 0, r.address, r.jwk, r.run
    FROM {rows writer_id text, address text, jwk text, run text}
    WHERE TRUE ON CONFLICT (writer_id) DO UPDATE SET term = writer.term + 1,
        address = excluded.address, jwk = excluded.jwk, run = excluded.run, stopped = 0
    RETURNING term, seq";

const TAKE_TURN: &str = "
    UPDATE writer SET seq = writer.seq + 1
    FROM {rows writer_id text, run text, term bigint, seq bigint}
    WHERE writer.writer_id = r.writer_id AND writer.term = r.term AND writer.seq = r.seq
        AND writer.run = r.run
    RETURNING writer.seq AS seq, writer.losses AS losses";

/// It has stopped: its peers need not wait for it.
const LEAVE: &str = "
    UPDATE writer SET stopped = 1 FROM {rows writer_id text, run text, term bigint}
    WHERE writer.writer_id = r.writer_id AND writer.term = r.term AND writer.run = r.run";

/// Changes nothing, but waits for whoever holds the row.
const LOOK: &str = "
    UPDATE writer SET seq = writer.seq FROM {rows writer_id text}
    WHERE writer.writer_id = r.writer_id
    RETURNING writer.term AS term, writer.seq AS seq, writer.run AS run";

#[derive(Debug, Serialize)]
struct Turn<'a> {
    writer_id: &'a str,
    run: &'a str,
    term: i64,
    seq: i64,
}

#[derive(Debug, Serialize)]
struct Introduction<'a> {
    writer_id: &'a str,
    address: &'a str,
    jwk: &'a str,
    run: &'a str,
}

/// What is not known of the writer's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doubt {
    /// Nothing: it is as it was left.
    None,
    /// Whether the last commit is in it, which had no answer.
    Commit,
    /// What became of it: it was not as it was left.
    Row,
}

/// How the ledger was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// With what this writer committed, and perhaps with its last commit.
    AsLeft,
    /// Without what it had acked.
    SetBack,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Writer {
    me: Member,
    /// This process, among all of its name.
    run: String,
    source: Source,
    tx: Option<Tx>,
    term: i64,
    /// Transactions of ours that are known to be in the ledger.
    seq: i64,
    /// Transactions of this process.
    done: i64,
    doubt: Doubt,
    /// How often the ledger was found to have gone back behind `seq`.
    setbacks: Arc<AtomicU64>,
    /// When the last transaction began that was committed. Held to look at it, or to move it on.
    written: Arc<Mutex<Instant>>,
    /// Cancelled once another broker has the ledger.
    superseded: CancellationToken,
}

impl Writer {
    /// Takes the next term.
    pub(super) async fn open(
        source: Source,
        mut tx: Tx,
        me: Member,
        superseded: CancellationToken,
    ) -> Result<Self, StoreError> {
        let run = format!("{:032x}", rand::random::<u128>());
        let (term, seq) = take_term(&mut tx, &me, &run).await?;
        tx.wait_briefly().await?;
        Ok(Self {
            me,
            run,
            source,
            term,
            seq,
            tx: Some(tx),
            done: 0,
            doubt: Doubt::None,
            setbacks: Arc::default(),
            written: Arc::new(Mutex::new(Instant::now())),
            superseded,
        })
    }

    /// Counts, from now on, how often the ledger was set back.
    pub(super) fn setbacks(&self) -> Arc<AtomicU64> {
        self.setbacks.clone()
    }

    /// When the last transaction began that was committed, from now on.
    pub(super) fn written(&self) -> Arc<Mutex<Instant>> {
        self.written.clone()
    }

    /// Commits what waits, as one transaction at a time, until every sender is gone.
    pub(super) async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
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
            let result = self.write(&mut group).await;
            crate::metrics::ledger_commit(started.elapsed(), ops, result.is_ok());
            match result {
                Ok(answers) => {
                    for (job, answer) in group.into_iter().zip(answers) {
                        let news = |news: News| StoreError::Lost(Box::new(news.with(job.ops)));
                        // A caller that went away does not need its answer.
                        let _ = job.reply.send(answer.map_err(news));
                    }
                }
                Err(error) => self.fail(group, error),
            }
        }
        let Some(mut tx) = self.tx.take() else {
            return;
        };
        if let Err(error) = tx.run(LEAVE, &[self.turn()]).await {
            tracing::debug!(%error, "could not say that this broker stops");
        }
        if let Err(error) = tx.close().await {
            tracing::warn!(%error, "the ledger did not close cleanly; it recovers on the next start");
        }
    }

    async fn write(&mut self, group: &mut Vec<Job>) -> Result<Answers, StoreError> {
        let began = Instant::now();
        let mut tries = 0;
        loop {
            let error = match self.attempt(group).await {
                Ok(answers) => return Ok(answers),
                Err(error) => error,
            };
            tries += 1;
            match kind(&error) {
                Kind::Undone if tries < TRIES_MAX => {
                    // Whoever was in the way has to get on.
                    let pause = rand::random_range(0..5 << tries.min(5));
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                }
                Kind::Held if began.elapsed() < TRANSACTION_WITHIN => self.show_itself().await?,
                Kind::Gone if began.elapsed() < RECONNECT_WITHIN => {
                    tokio::time::sleep(RECONNECT_EVERY).await;
                }
                Kind::Undone | Kind::Held | Kind::Gone | Kind::Final => return Err(error),
            }
        }
    }

    /// Moves this writer's row on, and nothing else: its peers see that it is there. What else is wrong than that
    /// another one has its place, the next try finds.
    async fn show_itself(&mut self) -> Result<(), StoreError> {
        match self.attempt(&mut Vec::new()).await {
            Err(StoreError::Superseded) => Err(StoreError::Superseded),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Tries once. Who goes by a ledger of before leaves the group.
    async fn attempt(&mut self, group: &mut Vec<Job>) -> Result<Answers, StoreError> {
        self.settle().await?;
        let began = Instant::now();
        let mut tx = self.connected().await?;
        let (turn, engine, me) = (self.turn(), self.source.engine, &self.me.id);
        let (done, setbacks) = (self.done, self.setbacks.load(Ordering::SeqCst));
        let changes = async {
            if engine == Engine::Postgres && (done.count_ones() == 1 || done % PLANS_EVERY == 0) {
                match tx.forget_plans().await {
                    // An engine that keeps no plans does not know the word.
                    Ok(()) | Err(StoreError::NotApplied(sqlx::Error::Database(_))) => {}
                    Err(error) => return Err(error),
                }
            }
            tx.begin().await?;
            let taken = tx.ask(TAKE_TURN, &[turn]).await?;
            let Some(row) = taken.first() else {
                return Ok(None);
            };
            leave_out(group, setbacks);
            let losses = u64::try_from(row.get::<i64, _>("losses")).unwrap_or_default();
            let writes = carry_out(&mut tx, me, group, (losses, setbacks));
            writes.await.map(Some)
        };
        let changed = within(engine, changes).await;
        self.done += 1;
        match changed {
            Ok(Some(answers)) => {
                let answers = self.commit(tx, answers).await?;
                *self.written.lock().unwrap_or_else(PoisonError::into_inner) = began;
                Ok(answers)
            }
            Ok(None) => {
                self.doubt = Doubt::Row;
                self.give_back(tx).await;
                self.settle().await?;
                Err(not_as_left())
            }
            Err(error) => {
                self.give_back(tx).await;
                if is_plan_void(&error) {
                    tracing::info!(
                        "a newer broker has changed the ledger's tables: connecting anew"
                    );
                    self.tx = None;
                }
                Err(error)
            }
        }
    }

    async fn commit(&mut self, mut tx: Tx, answers: Answers) -> Result<Answers, StoreError> {
        let engine = self.source.engine;
        let asked = async { Ok(tx.commit().await) };
        let error = match within(engine, asked).await {
            Ok(Ok(())) => {
                self.seq += 1;
                self.tx = Some(tx);
                return Ok(answers);
            }
            Ok(Err(error)) => StoreError::Unknown(error),
            Err(late) => late,
        };
        drop(tx);
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "a commit without an answer: asking the ledger what became of it"
        );
        let before = self.seq;
        self.doubt = Doubt::Commit;
        let until = Instant::now() + RECONNECT_WITHIN;
        loop {
            match self.settle().await {
                Ok(Found::AsLeft) if self.seq > before => return Ok(answers),
                Ok(Found::AsLeft) => return Err(not_applied(error)),
                Ok(Found::SetBack) => return Err(not_as_left()),
                Err(StoreError::Superseded) => return Err(StoreError::Superseded),
                Err(_) if Instant::now() < until => tokio::time::sleep(RECONNECT_EVERY).await,
                Err(_) => return Err(unknown(error)),
            }
        }
    }

    /// Finds out what the ledger has of ours, if that is in doubt.
    async fn settle(&mut self) -> Result<Found, StoreError> {
        if self.doubt == Doubt::None {
            return Ok(Found::AsLeft);
        }
        let mut tx = self.connected().await?;
        let (turn, engine) = (self.turn(), self.source.engine);
        let rows = within(engine, tx.ask(LOOK, &[turn])).await;
        let rows = match rows {
            Ok(rows) => rows,
            Err(error) => {
                self.give_back(tx).await;
                return Err(error);
            }
        };
        let row = rows.first();
        let (term, there) = row.map_or((0, 0), |row| (row.get("term"), row.get("seq")));
        let is_of_this_run = row.is_some_and(|row| row.get::<&str, _>("run") == self.run);
        if term > self.term || term == self.term && !is_of_this_run {
            self.superseded.cancel();
            return Err(StoreError::Superseded);
        }
        let is_as_left = match self.doubt {
            Doubt::None | Doubt::Commit => (self.seq..=self.seq + 1).contains(&there),
            Doubt::Row => false,
        };
        if term == self.term && is_as_left {
            self.tx = Some(tx);
            self.seq = there;
            self.doubt = Doubt::None;
            return Ok(Found::AsLeft);
        }
        self.doubt = Doubt::Row;
        let (term, there) = if term < self.term {
            // It went back to before this broker was started.
            within(engine, take_term(&mut tx, &self.me, &self.run)).await?
        } else {
            (term, there)
        };
        self.set_back_to(there);
        (self.term, self.seq) = (term, there);
        self.doubt = Doubt::None;
        // What its connection knows to be there may not be: that goes, too.
        Ok(Found::SetBack)
    }

    /// What was acked before is not there.
    fn set_back_to(&self, there: i64) {
        tracing::error!(
            ledger = self.source.name,
            left = self.seq,
            found = there,
            "the ledger went back behind what this broker had committed: a standby that lagged is the \
             primary now, or a back-up was restored; what is held here is read anew"
        );
        crate::metrics::ledger_set_back();
        self.setbacks.fetch_add(1, Ordering::SeqCst);
    }

    fn turn(&self) -> Turn<'_> {
        Turn {
            writer_id: self.me.id.as_str(),
            run: &self.run,
            term: self.term,
            seq: self.seq,
        }
    }

    async fn connected(&mut self) -> Result<Tx, StoreError> {
        if let Some(tx) = self.tx.take() {
            return Ok(tx);
        }
        let engine = self.source.engine;
        let connected = within(engine, async {
            let connected = self.source.connect().await;
            let mut tx = Tx::new(engine, connected.map_err(StoreError::NotApplied)?);
            tx.wait_briefly().await?;
            Ok(tx)
        });
        connected.await
    }

    /// Keeps a connection whose transaction can be rolled back.
    async fn give_back(&mut self, mut tx: Tx) {
        let engine = self.source.engine;
        if within(engine, tx.rollback()).await.is_ok() {
            self.tx = Some(tx);
        }
    }

    /// Tells everyone of the group. The error itself goes to the log once; each gets its kind.
    fn fail(&self, group: Vec<Job>, error: StoreError) {
        tracing::error!(
            ledger = self.source.name,
            error = &error as &dyn std::error::Error,
            "the ledger failed"
        );
        for job in group {
            let copy = match &error {
                StoreError::NotApplied(_) => StoreError::NotApplied(sqlx::Error::WorkerCrashed),
                StoreError::Unknown(_) => StoreError::Unknown(sqlx::Error::WorkerCrashed),
                StoreError::Corrupt(text) => StoreError::Corrupt(text.clone()),
                StoreError::Superseded => StoreError::Superseded,
                // Nobody is told so of a whole group.
                StoreError::Lost(_) | StoreError::Closed => StoreError::Closed,
            };
            let _ = job.reply.send(Err(copy));
        }
    }
}

/// Introduces this broker. Its term, and the transactions of it that are in the ledger.
async fn take_term(tx: &mut Tx, me: &Member, run: &str) -> Result<(i64, i64), StoreError> {
    let introduction = Introduction {
        writer_id: me.id.as_str(),
        address: &me.address,
        jwk: &me.jwk,
        run,
    };
    let rows = tx.ask(TAKE_TERM, &[introduction]).await?;
    let row = rows
        .first()
        .ok_or_else(|| StoreError::Corrupt("the ledger gives no term".to_owned()))?;
    Ok((row.get("term"), row.get("seq")))
}
