//! Who is there: the brokers' rows in the ledger, looked at once a second.

use super::{PeerClient, PeerEvent, Peers, follow};
use crate::ledger::{BrokerId, BrokerRow, Decided, Ledger, StoreError};
use crate::tokens::Signer;
use nearlight_kit::shutdown::Shutdown;
use nearlight_protocol::id::NodeId;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Silence after which a broker without peers is given up: it writes every half minute at least.
const ALONE_DEAD_AFTER: Duration = Duration::from_secs(90);

/// Watches the other brokers.
#[derive(Debug)]
pub(crate) struct Watch {
    peers: Arc<Peers>,
    ledger: Arc<dyn Ledger>,
    signer: Signer,
    dead_after: Duration,
    events: mpsc::Sender<PeerEvent>,
    seen: HashMap<BrokerId, Seen>,
    followed: HashMap<BrokerId, Followed>,
    home: Option<BrokerId>,
    /// When the rows were read last.
    read_at: Instant,
    /// What the owner was told last of decisions about nodes.
    decided: Vec<(NodeId, Decided)>,
}

/// A broker's row, and since when it stands still.
#[derive(Debug)]
struct Seen {
    row: BrokerRow,
    since: Instant,
}

#[derive(Debug)]
struct Followed {
    address: String,
    stop: CancellationToken,
}

impl Watch {
    pub(crate) fn new(
        peers: Arc<Peers>,
        ledger: Arc<dyn Ledger>,
        signer: Signer,
        dead_after: Duration,
        events: mpsc::Sender<PeerEvent>,
    ) -> Self {
        Self {
            peers,
            ledger,
            signer,
            dead_after,
            events,
            seen: HashMap::new(),
            followed: HashMap::new(),
            home: None,
            read_at: Instant::now(),
            decided: Vec::new(),
        }
    }

    /// Watches until the shutdown.
    pub(crate) async fn run(mut self, shutdown: Shutdown) {
        let stop = shutdown.token();
        let mut beat = tokio::time::interval(LOOK_EVERY);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !stop.is_cancelled() {
            tokio::select! {
                _ = beat.tick() => {}
                () = stop.cancelled() => return,
            }
            match self.look(&shutdown).await {
                Ok(true) => {}
                // The owner is gone.
                Ok(false) => return,
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "cannot read which brokers there are"
                    );
                    self.count_anew(Instant::now());
                }
            }
        }
    }

    /// Who could not write while nobody could read is not dead.
    fn count_anew(&mut self, now: Instant) {
        self.seen.values_mut().for_each(|seen| seen.since = now);
    }

    async fn look(&mut self, shutdown: &Shutdown) -> Result<bool, StoreError> {
        let mut decided = self.ledger.standings().await?;
        decided.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        if decided != self.decided {
            self.decided.clone_from(&decided);
            let told = self.events.send(PeerEvent::Decided(decided)).await;
            if told.is_err() {
                return Ok(false);
            }
        }
        let rows = self.ledger.brokers().await?;
        self.signer
            .trust(rows.iter().map(|row| row.member.jwk.as_str()));
        let now = Instant::now();
        // A read that hung, or this whole broker.
        if now.duration_since(std::mem::replace(&mut self.read_at, now)) >= self.dead_after {
            self.count_anew(now);
        }
        let me = self.peers.me().clone();
        let mut alive: BTreeMap<BrokerId, String> = BTreeMap::new();
        let mut gone = Vec::new();
        for row in rows {
            let id = row.member.id.clone();
            let fresh = || Seen {
                row: row.clone(),
                since: now,
            };
            let seen = self.seen.entry(id.clone()).or_insert_with(fresh);
            if (seen.row.term, seen.row.seq) != (row.term, row.seq) {
                seen.since = now;
            }
            seen.row = row;
            if id == me {
                continue;
            }
            let still_for = now.duration_since(seen.since);
            let address = &seen.row.member.address;
            let is_gone = if seen.row.stopped {
                // What it held when it stopped is to be taken up.
                seen.row.holds
            } else if address.is_empty() {
                seen.row.holds && still_for >= ALONE_DEAD_AFTER
            } else {
                still_for >= self.dead_after
            };
            if is_gone {
                gone.push(seen.row.clone());
            } else if !seen.row.stopped && !address.is_empty() {
                alive.insert(id, address.clone());
            }
        }
        let home = alive.keys().next().map_or(&me, |first| first.min(&me));
        let is_home = *home == me;
        let news = (self.home.as_ref() != Some(home)).then(|| home.clone());
        self.peers.is_home.store(is_home, Ordering::Relaxed);
        crate::metrics::peers(alive.len());
        self.follow(&alive, shutdown);
        self.peers.set_addresses(alive);
        if let Some(home) = news {
            tracing::info!(%home, "the home of the queue");
            self.home = Some(home.clone());
            if self.events.send(PeerEvent::Home(home)).await.is_err() {
                return Ok(false);
            }
        }
        for row in gone.into_iter().filter(|_| is_home) {
            let gone = PeerEvent::Gone(Box::new(row));
            if self.events.send(gone).await.is_err() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Follows those that are there, at their present address, and nobody else.
    fn follow(&mut self, alive: &BTreeMap<BrokerId, String>, shutdown: &Shutdown) {
        self.followed.retain(|peer, followed| {
            let stays = alive.get(peer) == Some(&followed.address);
            if !stays {
                followed.stop.cancel();
            }
            stays
        });
        for (peer, address) in alive {
            if self.followed.contains_key(peer) {
                continue;
            }
            let stop = shutdown.token().child_token();
            let followed = Followed {
                address: address.clone(),
                stop: stop.clone(),
            };
            self.followed.insert(peer.clone(), followed);
            let client: PeerClient = self.peers.client.clone();
            let whom = (peer.clone(), address.clone());
            shutdown.spawn(follow(client, whom, self.events.clone(), stop));
        }
    }
}
