//! Whether this broker may keep its nodes: only as long as it is their way to the ledger, or nobody is.
//!
//! ```text
//!   Holds --no commit for `peers.dead_s`--> Doubts: its own try fails, it asks every peer
//!     ^                                        |        |                 |
//!     |<--a commit-----------------------------+        |                 | one can write now
//!     |                                        ^        | nobody answers  v
//!     |<--a commit------------------- none can |        v   Nodes are sent away, and none is taken
//!     `<--a commit-------------- now and then, for a moment, the same
//! ```
//!
//! Peers give up a broker whose row has stood still for as long, and run elsewhere what its nodes ran once
//! those have been away for their grace time. A node that stayed at a broker without a ledger would hear
//! nothing of that, and run it beside. So it is sent to where the ledger is, and comes together there with
//! what the region knows: before that, for its grace time is still to come.
//!
//! A broker that is cut from its peers, too, cannot know whether there is such a place. Its nodes can find out: for
//! a moment it takes none, and those that get nowhere else meanwhile it takes again. They keep what they run for
//! much longer without a broker. This is done several times within their grace time, for behind a load balancer
//! some come back that need not.
//!
//! **Invariants.**
//! - Nodes are sent away for good only while a peer can write and this broker cannot. If the ledger is down for
//!   all, they stay: what runs there outlives it. If no peer answers, they are away for a quarter of their grace
//!   time at most.
//! - Nothing is remembered but the last look, and since when nobody answers: each look decides anew. So a peer that
//!   goes down, too, is no longer a reason to refuse nodes.
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
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// `GET`: 204 if the broker that is asked can write to the ledger now, 503 if not.
pub(crate) const LEDGER_PATH: &str = "/peer/v1/ledger";

/// Between two looks, which cost nothing while there are commits: nodes have to be on their way well within
/// their grace time.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// For a transaction that changes nothing. One that takes longer is not waited for; the next look asks again.
const WRITES_WITHIN: Duration = Duration::from_millis(500);
/// For how long nodes find out whether they get elsewhere, and how often: some six dials, ten times within the
/// usual grace time.
const AWAY_FOR: Duration = Duration::from_secs(10);
const AWAY_EVERY: Duration = Duration::from_secs(60);

/// What one look found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reached {
    /// This broker writes.
    Here,
    /// It does not, and a peer does.
    ByAnother,
    /// Peers answer, and none writes; or there is none.
    ByNone,
    /// There are peers, and none answers.
    Unknown,
}

/// What two looks in a row have found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Known {
    /// There is no reason to send nodes away.
    #[default]
    Enough,
    /// A peer reaches the ledger, and this broker does not.
    ByAnother,
    /// Nobody answers.
    Nothing {
        /// Since when.
        since: Instant,
    },
}

impl Reached {
    const fn label(self) -> &'static str {
        match self {
            Self::Here => "this",
            Self::ByAnother => "another",
            Self::ByNone => "none",
            Self::Unknown => "unknown",
        }
    }
}

/// Watches over this broker's way to the ledger.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) peers: Arc<Peers>,
    /// Without a commit for so long, it has lapsed.
    pub(crate) lapses_after: Duration,
    /// For how long a node keeps what it runs without a broker.
    pub(crate) node_grace: Duration,
    /// Whether nodes are sent away.
    pub(crate) away: watch::Sender<bool>,
}

/// A transaction that changes nothing, under way.
type Try<'a> = BoxFuture<'a, Result<Vec<Applied>, StoreError>>;

impl Lease {
    /// Watches until the shutdown.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut tried = None;
        let mut before = Reached::Here;
        let mut known = Known::default();
        // When it began to be alone, for whom looks that flap begin no window anew.
        let mut alone_since: Option<Instant> = None;
        let mut beat = tokio::time::interval(LOOK_EVERY);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut meanwhile = tokio::time::interval(LOOK_EVERY);
        loop {
            let look = async {
                beat.tick().await;
                match self.is_over(&mut tried).await {
                    true => self.who_reaches_it().await,
                    false => Reached::Here,
                }
            };
            tokio::pin!(look);
            let found = loop {
                tokio::select! {
                    found = &mut look => break found,
                    // A look takes longer where nobody answers, and nodes are away for moments there.
                    _ = meanwhile.tick() => self.tell(known),
                    () = stop.cancelled() => return,
                }
            };
            let is_sure = found == std::mem::replace(&mut before, found);
            known = match found {
                Reached::ByAnother if is_sure => Known::ByAnother,
                Reached::Unknown if is_sure => match known {
                    Known::Nothing { since } => Known::Nothing { since },
                    Known::Enough | Known::ByAnother => {
                        let lately = alone_since.filter(|since| since.elapsed() < AWAY_EVERY);
                        let since = lately.unwrap_or_else(Instant::now);
                        alone_since = Some(since);
                        Known::Nothing { since }
                    }
                },
                _ => Known::Enough,
            };
            self.tell(known);
        }
    }

    /// Sends nodes away, or takes them.
    fn tell(&self, known: Known) {
        let tries = match known {
            Known::Nothing { since } => is_time_to_try(since.elapsed(), self.node_grace),
            Known::Enough | Known::ByAnother => false,
        };
        let away = known == Known::ByAnother || tries;
        let changed = self
            .away
            .send_if_modified(|was| std::mem::replace(was, away) != away);
        match (changed, away, tries) {
            (true, true, false) => tracing::error!(
                "this broker does not reach the ledger, and another one does: its nodes are \
                 sent there; mend the way to the ledger"
            ),
            (true, true, true) => tracing::error!(
                "this broker reaches neither the ledger nor a peer: its nodes try whether they \
                 get to another one, and are taken again if not; mend its network"
            ),
            (true, false, _) => tracing::info!("nodes are taken again"),
            (false, ..) => {}
        }
        crate::metrics::nodes_sent_away(away);
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

    /// Asks all peers at once. One that can write is enough.
    async fn who_reaches_it(&self) -> Reached {
        let peers = self.peers.all();
        let asked = peers.iter().map(|(_, address)| self.can_write(address));
        let mut asked: FuturesUnordered<_> = asked.collect();
        let mut found = match asked.is_empty() {
            true => Reached::ByNone,
            false => Reached::Unknown,
        };
        while let Some(answer) = asked.next().await {
            match answer {
                Some(true) => {
                    found = Reached::ByAnother;
                    break;
                }
                Some(false) => found = Reached::ByNone,
                None => {}
            }
        }
        crate::metrics::lease_lapsed(found.label());
        found
    }

    /// Whether a peer can write; `None` without an answer. One of before, that does not know the question, is there.
    async fn can_write(&self, address: &str) -> Option<bool> {
        let request = Request::new(Body::empty());
        let asked = self
            .peers
            .client
            .ask(address, LEDGER_PATH, request, AT_HAND);
        let answer = asked.await.ok()?;
        Some(answer.status() == StatusCode::NO_CONTENT)
    }
}

/// Whether nodes are to be without this broker at that time since when nobody answers.
fn is_time_to_try(unknown_for: Duration, node_grace: Duration) -> bool {
    let every = AWAY_EVERY.min(node_grace / 2).max(2 * LOOK_EVERY);
    let within = unknown_for.as_millis() % every.as_millis();
    within < AWAY_FOR.min(node_grace / 4).as_millis()
}

/// Whether this broker can write now: what a peer hears that asks.
pub(crate) async fn can_write(ledger: &dyn Ledger) -> bool {
    let written = tokio::time::timeout(WRITES_WITHIN, ledger.write(Vec::new())).await;
    written.is_ok_and(|written| written.is_ok())
}

#[cfg(test)]
mod test {
    use super::*;

    fn away_s(grace_s: u64) -> Vec<u64> {
        let at = |half_s: &u64| Duration::from_millis(half_s * 500);
        let grace = Duration::from_secs(grace_s);
        let away = (0..2 * grace_s).filter(|half_s| is_time_to_try(at(half_s), grace));
        away.collect()
    }

    #[test]
    fn nodes_try_often_within_their_grace_time_and_are_never_away_for_all_of_it() {
        let usual = away_s(600);
        assert_eq!(usual.len(), 10 * 20, "ten times for ten seconds");
        assert_eq!((usual[0], usual[19], usual[20]), (0, 19, 120));
        assert_eq!(away_s(8), [0, 1, 2, 3, 8, 9, 10, 11]);
        assert_eq!(away_s(1), [0]);
    }
}
