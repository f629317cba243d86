//! Sharing the ledger with other brokers: what this one holds comes and goes.
//!
//! A session that waits is given to whoever has a node for it, or to the home of the queue; a node that
//! attaches is taken from its former holder, with what it runs; what a broker held that is gone is taken
//! over by the home. In each case the ledger says first whose it is ([`crate::ledger`]); only then the
//! memory follows.

use super::acting::Created;
use super::entry::Entry;
use super::owner::{Owner, SharingParts};
use super::taken_by;
use super::trying::LOST_AGAIN_MS;
use super::turn::{Then, Turn};
use super::waiting::Occupancy;
use crate::ledger::{Applied, BrokerId, BrokerRow, Loaded, Op, SessionRow};
use crate::peers::{Courier, Hub, Item, Offer, PeerEvent};
use nearlight_protocol::id::{NodeId, SessionId};
use nearlight_protocol::unit::MonoTime;
use nearlight_session::lifecycle::Phase;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Housekeepings between two looks for sessions that were given to this broker, of which no offer
/// arrived.
const LOOK_EVERY: u32 = 5;
/// Housekeepings between two tellings of what streams showed.
const RTTS_EVERY: u32 = 5;

/// What an owner knows of its peers.
#[derive(Debug)]
pub(super) struct Sharing {
    me: BrokerId,
    home: BrokerId,
    events: mpsc::Receiver<PeerEvent>,
    pub(super) hub: Arc<Hub>,
    courier: Courier,
    /// How many sessions wait at each peer.
    waiting: HashMap<BrokerId, u32>,
    /// What each peer has running.
    pub(super) busy: HashMap<BrokerId, Occupancy>,
    /// How many wait here, as the peers were told last.
    pub(super) told: usize,
}

impl From<SharingParts> for Sharing {
    fn from(parts: SharingParts) -> Self {
        Self {
            home: parts.me.clone(),
            me: parts.me,
            events: parts.events,
            hub: parts.hub,
            courier: parts.courier,
            waiting: HashMap::new(),
            busy: HashMap::new(),
            told: 0,
        }
    }
}

/// The next event of the peers; never, for a broker that is alone.
pub(super) async fn next_of(sharing: &mut Option<Sharing>) -> Option<PeerEvent> {
    match sharing {
        Some(sharing) => sharing.events.recv().await,
        None => std::future::pending().await,
    }
}

impl Owner {
    /// Whether sessions that cannot be placed at once wait here.
    pub(super) fn is_home(&self) -> bool {
        self.sharing.as_ref().is_none_or(|s| s.home == s.me)
    }

    /// Where sessions wait, if that is another broker.
    pub(super) fn other_home(&self) -> Option<(BrokerId, Option<NodeId>)> {
        let sharing = self.sharing.as_ref().filter(|s| s.home != s.me)?;
        Some((sharing.home.clone(), None))
    }

    /// Whether sessions wait at the home, which go before new ones here.
    pub(super) fn others_wait(&self) -> bool {
        let Some(sharing) = &self.sharing else {
            return false;
        };
        sharing.home != sharing.me && sharing.waiting.get(&sharing.home).is_some_and(|n| *n > 0)
    }

    /// Tells the peers what runs here: the home of the queue forecasts for all.
    pub(super) fn tell_occupancy(&self, now: MonoTime) {
        if let Some(sharing) = &self.sharing {
            sharing.hub.publish_busy(self.occupancy(now));
        }
    }

    /// Tells the peers, every ten seconds, what round trips streams of its nodes showed.
    pub(super) fn tell_round_trips(&self, housekeepings: u32) {
        if let Some(sharing) = &self.sharing
            && housekeepings.is_multiple_of(RTTS_EVERY)
        {
            sharing.hub.publish_rtts(self.nearness.news());
        }
    }

    pub(super) async fn take_peer(&mut self, event: PeerEvent, now: MonoTime, turn: &mut Turn) {
        match event {
            PeerEvent::Nodes {
                peer,
                fresh,
                items,
                waiting,
                busy,
                rtts,
            } => {
                self.nearness.learn(rtts);
                if fresh {
                    let news = self.fleet.forget_peer(&peer);
                    self.directory.show_remote(news);
                }
                // What a peer says it holds and this broker believes it holds was taken: the next
                // transaction finds out, and it had better be now.
                turn.is_beat |= items.iter().any(|item| match item {
                    Item::Is(shared) => self.fleet.get(&shared.node.id).is_some(),
                    Item::Left(_) => false,
                });
                let news = self.fleet.take_remote(&peer, items);
                self.directory.show_remote(news);
                if let Some(sharing) = &mut self.sharing {
                    if let Some(busy) = busy {
                        sharing.busy.insert(peer.clone(), busy);
                    }
                    sharing.waiting.insert(peer, waiting);
                }
            }
            PeerEvent::Silent(peer) => {
                let news = self.fleet.silence(&peer);
                self.directory.show_remote(news);
                if let Some(sharing) = &mut self.sharing {
                    sharing.waiting.remove(&peer);
                    sharing.busy.remove(&peer);
                }
            }
            PeerEvent::Decided(all) => self.learn_decisions(all, now, turn),
            PeerEvent::Home(home) => {
                if let Some(sharing) = &mut self.sharing {
                    sharing.home = home;
                }
                self.queue.try_all();
            }
            PeerEvent::Gone(broker) => self.seize(*broker, now, turn),
            PeerEvent::Take { session, node } => self.take_offered(session, node, now).await,
        }
    }

    /// Takes up a session that was given to this broker, if it still is.
    ///
    /// The row is read here, and not by who took the offer: an offer waits while this broker cannot write,
    /// and meanwhile another one may seize what it has. Whoever seizes it after this read has ended its
    /// term, and the next transaction fails.
    async fn take_offered(&mut self, session: SessionId, node: Option<NodeId>, now: MonoTime) {
        let Some(sharing) = &self.sharing else {
            return;
        };
        let me = sharing.me.clone();
        match self.ledger.session(session).await {
            Ok(Some((row, holder))) if holder == me => self.take_up(row, node, now),
            Ok(_) => {}
            // The next look around finds it.
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "cannot read a session that was given to this broker"
            ),
        }
    }

    /// A session that waits was given to this broker.
    fn take_up(&mut self, row: SessionRow, node: Option<NodeId>, now: MonoTime) {
        if row.phase != Phase::Queued || self.sessions.contains_key(&row.id) {
            return;
        }
        let id = row.id.clone();
        let limits = self.times.limits(&row);
        let mut entry = Entry::new(row, limits);
        self.clusters.add(&entry.row);
        entry.hint = node;
        self.enqueue(&entry.row);
        self.directory.show(id.clone(), entry.for_readers());
        let phase = entry.life.phase().clone();
        self.sessions.insert(id.clone(), Box::new(entry));
        self.note(&id, &phase, now);
    }

    /// Gives a session that waits to another broker, in this turn.
    pub(super) fn give_away(
        &mut self,
        row: &SessionRow,
        to: BrokerId,
        node: Option<NodeId>,
        turn: &mut Turn,
    ) {
        if let Some(node) = &node {
            self.fleet.overlay(node, &taken_by(&row.work));
        }
        let give = Op::GiveSession {
            session: row.id.clone(),
            to: to.clone(),
        };
        let session = row.id.clone();
        turn.push(give, Then::Given { session, to, node });
    }

    /// The ledger says that a session is another broker's now, or that it stays.
    pub(super) async fn given(
        &mut self,
        id: &SessionId,
        (to, node): (BrokerId, Option<NodeId>),
        is_given: bool,
        now: MonoTime,
        replies: &mut Vec<Created>,
    ) {
        if !is_given {
            self.not_given(id, now).await;
            return;
        }
        if let Some(node) = &node {
            self.refusals.given(id, node, now);
        }
        let shown = self.sessions.get(id).map(|entry| entry.shown());
        for (reply, _) in replies.extract_if(.., |(_, of)| of == id) {
            if let Some(shown) = shown.clone() {
                let _ = reply.send(Ok(shown));
            }
        }
        tracing::debug!(session_id = %id, broker = %to, "session given to another broker");
        crate::metrics::moved("given", 1);
        self.drop_session(id);
        if let Some(sharing) = &self.sharing {
            let session = id.clone();
            sharing.courier.send(to, Offer { session, node });
        }
    }

    /// It stays, if it is here at all: whoever was to have it is not there. That is known here before long, and
    /// there is no use in trying every turn until then.
    async fn not_given(&mut self, id: &SessionId, now: MonoTime) {
        self.lost_its_claim(id, now).await;
        if self.queue.contains(id) {
            let again = now.plus_millis(LOST_AGAIN_MS);
            self.queue.in_vain(id, Some(again));
        }
    }

    /// Once in a while, looks for what was given to this broker without its knowing, and for what it believes to
    /// have been given.
    pub(super) fn look_around(&mut self, turn: &mut Turn, housekeepings: u32) {
        if self.sharing.is_none() {
            return;
        }
        turn.is_beat = true;
        if housekeepings.is_multiple_of(LOOK_EVERY) {
            let nothing = Op::SeenNodes {
                nodes: Vec::new(),
                at: self.clock.now(),
            };
            turn.push(nothing, Then::Look);
        }
    }

    /// Takes up every session that is this broker's and waits, and forgets those that are not, and wait here: that
    /// they were given to this broker is lost. What waits here is in the ledger, as far as it is this broker's.
    pub(super) async fn look(&mut self) {
        let waiting = match self.ledger.waiting().await {
            Ok(waiting) => waiting,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "cannot look for sessions that were given to this broker"
                );
                return;
            }
        };
        let now = self.clock.now();
        let held: HashSet<&SessionId> = waiting.iter().map(|row| &row.id).collect();
        let believed = self.queue.iter().filter(|id| !held.contains(id));
        let believed: Vec<SessionId> = believed.cloned().collect();
        for id in believed {
            tracing::warn!(session_id = %id, "the session waits here, and not in the ledger");
            self.lost_its_claim(&id, now).await;
        }
        for row in waiting {
            self.take_up(row, None, now);
        }
    }

    /// The ledger says that a node is held here, with what it runs.
    pub(super) async fn held(
        &mut self,
        node: NodeId,
        applied: &Applied,
        touched: &mut BTreeSet<SessionId>,
    ) {
        match applied {
            // It is new, and runs nothing of ours.
            Applied::Missing => return,
            Applied::Done => {}
            Applied::RaceLost
            | Applied::Ordered { .. }
            | Applied::OrderedAll { .. }
            | Applied::AppVersion { .. }
            | Applied::Replayed { .. }
            | Applied::KeyReused
            | Applied::QuotaUsedUp
            | Applied::TenantQuotaUsedUp
            | Applied::BeyondTenant(_)
            | Applied::NameTaken
            | Applied::TicketSpent
            | Applied::Removed { .. }
            | Applied::Skipped => {
                tracing::info!(node_id = %node, "the node attached to two brokers at once");
                self.let_go(&HashSet::from([node]));
                return;
            }
        }
        let read = match self.ledger.of_node(node.clone()).await {
            // Another broker was quick; or was, before the ledger went back.
            Ok(loaded) if loaded.nodes.is_empty() => self.ledger.surely_of_node(node).await,
            read => read,
        };
        match read {
            Ok(loaded) => {
                let sessions: Vec<SessionId> =
                    loaded.sessions.iter().map(|row| row.id.clone()).collect();
                self.adopt("taken", loaded).await;
                touched.extend(sessions);
            }
            // Not here: the turn's other changes are still being acted on.
            Err(error) => self.doubt = Some(error),
        }
    }

    fn seize(&self, broker: BrokerRow, now: MonoTime, turn: &mut Turn) {
        let id = broker.member.id.clone();
        let seize = Op::SeizeBroker {
            gone: Box::new(broker),
            ended_after_ms: self.listed_since(now),
        };
        turn.push(seize, Then::Seized(id));
        turn.is_closed = true;
    }

    /// The ledger says that all which a broker held is held here.
    pub(super) async fn seized(&mut self, broker: &BrokerId) {
        tracing::warn!(%broker, "a broker is gone; taking over what it held");
        crate::metrics::given_up();
        let news = self.fleet.forget_peer(broker);
        self.directory.show_remote(news);
        let since = self.listed_since(self.clock.now());
        match self.ledger.load(since).await {
            Ok(loaded) => self.adopt("seized", loaded).await,
            Err(error) => self.doubt = Some(error),
        }
    }

    /// Takes what is new of `loaded` into memory.
    pub(super) async fn adopt(&mut self, how: &'static str, mut loaded: Loaded) {
        let now = self.clock.now();
        loaded
            .sessions
            .retain(|row| !self.sessions.contains_key(&row.id));
        let attached = |node: &NodeId| {
            let known = self.fleet.get(node);
            known.is_some_and(|known| !known.row.slots.is_empty())
        };
        // What is known of a node that is here already is newer.
        loaded.nodes.retain(|row| !attached(&row.id));
        let nodes: HashSet<NodeId> = loaded.nodes.iter().map(|row| row.id.clone()).collect();
        loaded.outbox.retain(|order| nodes.contains(&order.node));
        let new: HashSet<SessionId> = loaded.sessions.iter().map(|row| row.id.clone()).collect();
        crate::metrics::moved(how, new.len());
        if !new.is_empty() || !nodes.is_empty() {
            tracing::info!(sessions = new.len(), nodes = nodes.len(), how, "taken over");
        }
        self.take_in(loaded, &mut HashMap::new(), now);
        if new.is_empty() {
            return;
        }
        match self.ledger.watch_links(self.clock.unix_ms()).await {
            Ok(links) => {
                let of_new = links.into_iter().filter(|link| new.contains(&link.session));
                of_new.for_each(|link| self.links.add(link));
            }
            Err(error) => self.doubt = Some(error),
        }
    }

    /// Whether that is this broker.
    pub(super) fn is_me(&self, holder: &BrokerId) -> bool {
        self.sharing.as_ref().is_none_or(|s| s.me == *holder)
    }

    /// Forgets a session that another broker holds. Whoever watches it finds out.
    pub(super) fn drop_session(&mut self, id: &SessionId) {
        self.queue.remove(id);
        if let Some(entry) = self.forget_entry(id)
            && let Some(at) = entry.deadline
        {
            self.deadlines.remove(&(at, id.clone()));
        }
        self.directory.forget(id);
        self.links.session_over(id);
    }

    pub(super) fn forget_entry(&mut self, id: &SessionId) -> Option<Box<Entry>> {
        let entry = self.sessions.remove(id)?;
        if let Some(node) = &entry.listed_at {
            self.claimed.gone(id, node);
        }
        if let (Some(tenant), Some(operator)) = (&entry.row.tenant, &entry.counted) {
            self.spread.gone(tenant, operator);
        }
        Some(entry)
    }
}
