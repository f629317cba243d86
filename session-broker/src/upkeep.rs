//! What is over for long goes from the ledger: sessions with what belongs to them, keys, tickets, usage.
//!
//! ```text
//!   every half minute: ended sessions --a batch--> a batch --> … until none is due
//!   every hour:        the same of each kind of Remains, one after the other
//! ```
//!
//! A batch is a transaction of its own, of rows that an index finds; between two of them is four times as long as the
//! last one took. So upkeep takes a fifth of the writer's time at most, however much there is, and goes on at once
//! while there is.
//!
//! **Invariants.** The home of the queue does it, or a broker that is alone. A batch that failed is tried again at the
//! next beat: what it was to remove is still there.
//!
//! **What it does not know:** what the owner of sessions holds, and when identities go ([`crate::credentials`]).

use crate::ledger::{Applied, Ledger, Op, Remains, StoreError};
use crate::peers::Peers;
use crate::time::Clock;
use nearlight_protocol::unit::MonoTime;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

const SWEEP_EVERY: Duration = Duration::from_secs(30);
/// Sweeps between two prunings.
const PRUNE_EVERY: u64 = 120;
/// Sessions of a batch, and rows: a few milliseconds of the ledger's writer.
pub(crate) const SESSIONS_MAX: u32 = 200;
const ROWS_MAX: u32 = 1000;
/// How much longer than a batch the pause after it is.
const PAUSE: u32 = 4;
/// Idempotency keys and spent tickets are kept for a day; [`Remains`] says what is kept for longer.
const PRUNE_AGE_MS: u64 = 24 * 3600 * 1000;

/// See the module.
#[derive(Debug)]
pub(crate) struct Upkeep {
    pub(crate) ledger: Arc<dyn Ledger>,
    /// The other brokers, if it is not alone.
    pub(crate) peers: Option<Arc<Peers>>,
    pub(crate) clock: Clock,
    /// For how long an ended session is kept; `None` for ever.
    pub(crate) retain_ms: Option<u64>,
}

impl Upkeep {
    /// Tidies up until the shutdown.
    pub(crate) async fn keep(self, stop: CancellationToken) {
        let mut beat = tokio::time::interval(SWEEP_EVERY);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut sweeps = 0_u64;
        loop {
            let look = async {
                beat.tick().await;
                if self.is_home() {
                    sweeps += 1;
                    self.look(sweeps.is_multiple_of(PRUNE_EVERY)).await?;
                }
                Ok::<_, StoreError>(())
            };
            let looked = tokio::select! {
                looked = look => looked,
                () = stop.cancelled() => return,
            };
            if let Err(error) = looked {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "what is over stays in the ledger for now"
                );
            }
        }
    }

    pub(crate) async fn look(&self, prunes: bool) -> Result<(), StoreError> {
        self.sweep().await?;
        if prunes {
            self.prune().await?;
        }
        Ok(())
    }

    /// Removes every session that is due.
    async fn sweep(&self) -> Result<(), StoreError> {
        let Some(retain_ms) = self.retain_ms else {
            return Ok(());
        };
        self.while_more(async || {
            let before = self.ago(retain_ms);
            let sweep = Op::SweepEnded {
                before,
                sessions_max: SESSIONS_MAX,
            };
            let left = self.removed(sweep).await?.oldest_left;
            crate::metrics::sweep_behind_s(left.map_or(0, |at| before.millis_since(at) / 1000));
            Ok(left.is_some())
        })
        .await
    }

    /// Removes of each kind what is due.
    async fn prune(&self) -> Result<(), StoreError> {
        for what in Remains::ALL {
            self.while_more(async || {
                let prune = Op::Prune {
                    what,
                    before: self.ago(PRUNE_AGE_MS),
                    rows_max: ROWS_MAX,
                };
                Ok(self.removed(prune).await?.rows >= u64::from(ROWS_MAX))
            })
            .await?;
        }
        Ok(())
    }

    /// Has batches follow each other while there is more, and this broker is the one to do it.
    async fn while_more<F>(&self, mut batch: impl FnMut() -> F) -> Result<(), StoreError>
    where
        F: Future<Output = Result<bool, StoreError>>,
    {
        while self.is_home() {
            let began = Instant::now();
            if !batch().await? {
                return Ok(());
            }
            tokio::time::sleep(began.elapsed() * PAUSE).await;
        }
        Ok(())
    }

    async fn removed(&self, op: Op) -> Result<Removed, StoreError> {
        let applied = self.ledger.write(vec![op]).await?;
        Ok(match applied.first() {
            Some(Applied::Removed { rows, oldest_left }) => Removed {
                rows: *rows,
                oldest_left: *oldest_left,
            },
            _ => Removed::default(),
        })
    }

    fn ago(&self, ms: u64) -> MonoTime {
        MonoTime(self.clock.now().0.saturating_sub(ms * 1000))
    }

    fn is_home(&self) -> bool {
        self.peers.as_ref().is_none_or(|peers| peers.is_home())
    }
}

/// What a batch came to.
#[derive(Debug, Default)]
struct Removed {
    rows: u64,
    oldest_left: Option<MonoTime>,
}
