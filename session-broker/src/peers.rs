//! The other brokers that share this one's ledger.
//!
//! ```text
//!   rows `writer` --once a second--> who is there, who is gone --> owner: home, seize
//!   peer A  --feed: its nodes, how many wait--> owner: index of the whole region
//!   owner   --offer: a session that was given--> peer A takes it up
//!   HTTP    --about a session of peer A--> forwarded to A, once
//! ```
//!
//! The ledger decides everything ([`crate::ledger`]: who holds what); what travels here only makes it
//! quick. A feed that is old costs a claim that is lost and another try; an offer that gets lost is
//! found again by its new holder; a request is forwarded once and never again (I6).
//!
//! **The home** of the queue is the broker with the smallest name of those that are there: sessions
//! that cannot be placed at once wait there, so that one order holds in the whole region. It also takes
//! over what a broker that is gone has held.
//!
//! **Who is there** is told by `seq` in a broker's row, which each of its transactions moves, at least
//! one every two seconds: no clock but the observer's own counts. A ledger that cannot be read says
//! nothing about anybody.
//!
//! **Who loses its way to the ledger** while others have theirs sends its nodes to them, and has them try where it
//! cannot know ([`lease`]).
//!
//! **What it does not know:** sessions' lives, placement.

mod client;
mod courier;
mod feed;
mod lease;
mod listener;
mod passage;
mod socket;
mod watch;

pub(crate) use client::{AT_HAND, AWAITED, PeerClient, PeerError};
pub(crate) use courier::{Courier, OFFER_PATH, Offer};
use feed::follow;
pub(crate) use feed::{FLEET_PATH, Hub, Item, Shared};
pub(crate) use lease::{LEDGER_PATH, Lease, can_write};
pub(crate) use listener::PeerListener;
pub(crate) use passage::{Passages, Way};
pub(crate) use watch::Watch;

use crate::ledger::{BrokerId, BrokerRow, Decided};
use crate::nearness::Shown;
use crate::sessions::Occupancy;
use nearlight_protocol::id::{NodeId, SessionId};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use tokio::sync::mpsc;

/// Sessions of which is remembered who holds them. Past it all are forgotten and looked up again.
const REMEMBERED_MAX: usize = 10_000;
/// What waits for the owner. Past it feeds wait, which is their back-pressure.
const EVENTS_MAX: usize = 256;

/// What the owner hears of its peers.
#[derive(Debug)]
pub(crate) enum PeerEvent {
    /// Nodes of a peer have changed.
    Nodes {
        /// Whose.
        peer: BrokerId,
        /// Whether this is a new feed: what came before is void.
        fresh: bool,
        /// What has changed.
        items: Vec<Item>,
        /// Sessions that wait there.
        waiting: u32,
        /// What runs there, if that has changed.
        busy: Option<Occupancy>,
        /// Round trips that streams of its nodes showed of late.
        rtts: Vec<Shown>,
    },
    /// Nothing is known of a peer's nodes any more.
    Silent(BrokerId),
    /// What was decided about nodes, here or by a peer.
    Decided(Vec<(NodeId, Decided)>),
    /// Which broker is the home of the queue.
    Home(BrokerId),
    /// A broker is gone, and this one is to take over what it holds.
    Gone(Box<BrokerRow>),
    /// A session was given to this broker. Whether it still is, the owner asks the ledger: this may have
    /// waited for longer than the broker held it.
    Take {
        /// The session.
        session: SessionId,
        /// A node of this broker that had room for it.
        node: Option<NodeId>,
    },
}

/// What the owner takes its peers' news from.
pub(crate) fn peer_events() -> (mpsc::Sender<PeerEvent>, mpsc::Receiver<PeerEvent>) {
    mpsc::channel(EVENTS_MAX)
}

/// The other brokers, as far as anyone but the owner needs them.
#[derive(Debug)]
pub(crate) struct Peers {
    me: BrokerId,
    pub(crate) client: PeerClient,
    /// The ways to those that are there. Held for a look-up.
    ways: RwLock<BTreeMap<BrokerId, Way>>,
    passages: Passages,
    is_home: AtomicBool,
    /// Held for a look-up.
    holders: Mutex<HashMap<SessionId, BrokerId>>,
}

impl Peers {
    pub(crate) fn new(me: BrokerId, client: PeerClient, passages: Passages) -> Self {
        Self {
            me,
            client,
            ways: RwLock::default(),
            passages,
            is_home: AtomicBool::new(false),
            holders: Mutex::default(),
        }
    }

    pub(crate) fn me(&self) -> &BrokerId {
        &self.me
    }

    /// Whether this broker is the home of the queue.
    pub(crate) fn is_home(&self) -> bool {
        self.is_home.load(Ordering::Relaxed)
    }

    /// Where a peer that is there is reached.
    pub(crate) fn address(&self, peer: &BrokerId) -> Option<String> {
        self.way(peer).map(|way| way.address)
    }

    /// The way of callers to a peer that is there.
    pub(crate) fn way(&self, peer: &BrokerId) -> Option<Way> {
        let ways = self.ways.read().unwrap_or_else(PoisonError::into_inner);
        ways.get(peer).cloned()
    }

    /// Those that are there, this one excepted.
    pub(crate) fn all(&self) -> Vec<(BrokerId, String)> {
        let ways = self.ways.read().unwrap_or_else(PoisonError::into_inner);
        let peers = ways.iter();
        peers
            .map(|(id, way)| (id.clone(), way.address.clone()))
            .collect()
    }

    /// Those that are there from now on. What is under way to others is over.
    fn set_addresses(&self, now: BTreeMap<BrokerId, String>) {
        let mut ways = self.ways.write().unwrap_or_else(PoisonError::into_inner);
        ways.retain(|peer, way| {
            let stays = now.get(peer) == Some(&way.address);
            if !stays {
                way.gone.cancel();
            }
            stays
        });
        for (peer, address) in now {
            let way = || Way::new(address, self.passages);
            ways.entry(peer).or_insert_with(way);
        }
    }

    /// Who held a session when it was last looked up.
    pub(crate) fn holder(&self, session: &SessionId) -> Option<BrokerId> {
        self.holders().get(session).cloned()
    }

    pub(crate) fn remember(&self, session: SessionId, holder: BrokerId) {
        let mut holders = self.holders();
        if holders.len() >= REMEMBERED_MAX {
            holders.clear();
        }
        holders.insert(session, holder);
    }

    pub(crate) fn forget(&self, session: &SessionId) {
        self.holders().remove(session);
    }

    fn holders(&self) -> std::sync::MutexGuard<'_, HashMap<SessionId, BrokerId>> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
