//! Whether this broker may keep its nodes: only as long as it is their way to the ledger, or nobody is.
//!
//! ```text
//!   Holds --no commit for `peers.dead_s`--> Doubts: its own try fails, it asks every peer
//!     ^                                        |                |
//!     |<--a commit-----------------------------+                | one can write now
//!     |                                        ^                v
//!     `<--a commit------------------- none can |----- Nodes are sent away, and none is taken
//! ```
//!
//! Peers give up a broker whose row has stood still for as long, and run elsewhere what its nodes ran once
//! those have been away for their grace time. A node that stayed at a broker without a ledger would hear
//! nothing of that, and run it beside. So it is sent to where the ledger is, and comes together there with
//! what the region knows: before that, for its grace time is still to come.
//!
//! **Invariants.**
//! - Nodes are sent away only while a peer can write and this broker cannot. If the ledger is down for all,
//!   or no peer answers, they stay: what runs there outlives it.
//! - Nothing is remembered but the last look: each decides anew. So a peer that goes down, too, is no longer
//!   a reason to refuse nodes.
//! - Two looks in a row have to find it: brokers come back one after another to a ledger that was down for
//!   all, and the last of them is not cut off.
//! - Whether a peer can write is tried while it is asked. What it wrote last would not do: when the ledger
//!   goes down, some broker has always written later than another.
//!
//! **What it does not know:** whose nodes are whose (each stream hears of it by itself, also one that the
//! owner, stuck in its commit, has not heard of), and whether this broker was given up.

use super::{AT_HAND, Peers};
use crate::ledger::{Applied, Ledger, StoreError};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// `GET`: 204 if the broker that is asked can write to the ledger now, 503 if not.
pub(crate) const LEDGER_PATH: &str = "/peer/v1/ledger";

/// Between two looks, which cost nothing while there are commits: nodes have to be on their way well within
/// their grace time.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// For a transaction that changes nothing. One that takes longer is not waited for; the next look asks again.
const WRITES_WITHIN: Duration = Duration::from_millis(500);

/// Watches over this broker's way to the ledger.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) peers: Arc<Peers>,
    /// Without a commit for so long, it has lapsed.
    pub(crate) lapses_after: Duration,
    /// Whether nodes are sent away.
    pub(crate) away: watch::Sender<bool>,
}

/// A transaction that changes nothing, under way.
type Try<'a> = BoxFuture<'a, Result<Vec<Applied>, StoreError>>;

impl Lease {
    /// Watches until the shutdown.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut tried = None;
        let mut found_before = false;
        let mut beat = tokio::time::interval(LOOK_EVERY);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let look = async {
                beat.tick().await;
                self.is_over(&mut tried).await && self.another_can_write().await
            };
            let found = tokio::select! {
                found = look => found,
                () = stop.cancelled() => return,
            };
            let away = found && found_before;
            found_before = found;
            let changed = self
                .away
                .send_if_modified(|was| std::mem::replace(was, away) != away);
            match (changed, away) {
                (true, true) => tracing::error!(
                    "this broker does not reach the ledger, and another one does: its nodes are \
                     sent there; mend the way to the ledger"
                ),
                (true, false) => tracing::info!("nodes are taken again"),
                (false, _) => {}
            }
            crate::metrics::nodes_sent_away(away);
        }
    }

    /// Whether it has lapsed and this broker still cannot write.
    ///
    /// One that slept finds it lapsed and the ledger where it was: so it tries first. One try at a time,
    /// however long it takes.
    async fn is_over<'a>(&'a self, tried: &mut Option<Try<'a>>) -> bool {
        if self.ledger.silent_for() < self.lapses_after {
            *tried = None;
            return false;
        }
        let attempt = tried.get_or_insert_with(|| self.ledger.write(Vec::new()));
        let Ok(done) = tokio::time::timeout(WRITES_WITHIN, attempt).await else {
            return true;
        };
        *tried = None;
        done.is_err()
    }

    async fn another_can_write(&self) -> bool {
        let peers = self.peers.all();
        let asked = peers.iter().map(|(_, address)| self.can_write(address));
        let asked: FuturesUnordered<_> = asked.collect();
        let found = asked.any(std::future::ready).await;
        crate::metrics::lease_lapsed(found);
        found
    }

    async fn can_write(&self, address: &str) -> bool {
        let request = Request::new(Body::empty());
        let asked = self
            .peers
            .client
            .ask(address, LEDGER_PATH, request, AT_HAND);
        asked
            .await
            .is_ok_and(|answer| answer.status() == StatusCode::NO_CONTENT)
    }
}

/// Whether this broker can write now: what a peer hears that asks.
pub(crate) async fn can_write(ledger: &dyn Ledger) -> bool {
    let written = tokio::time::timeout(WRITES_WITHIN, ledger.write(Vec::new())).await;
    written.is_ok_and(|written| written.is_ok())
}
