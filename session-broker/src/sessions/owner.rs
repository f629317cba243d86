//! The owner task: takes what waits, decides, commits, acts.

use super::claimed::Claimed;
use super::entry::Entry;
use super::fate::Clusters;
use super::holding::Holds;
use super::lately::Placements;
use super::refusing::{Failing, Refusals};
use super::sharing::{Sharing, next_of};
use super::spending::Spending;
use super::told::Spread;
use super::turn::{Then, Turn};
use super::volumes::Volumes;
use super::waiting::Line;
use super::{Directory, EndError, Request};
use crate::apps::{Apps, AppsRevision};
use crate::config::SessionTimes;
use crate::control::EdgeEvent;
use crate::enrol::Standings;
use crate::fleet::Fleet;
use crate::ledger::{Basis, BrokerId, IdentityChange, Ledger, Op, StoreError};
use crate::nearness::Nearness;
use crate::peers::{Courier, Hub, PeerEvent};
use crate::rates::Prices;
use crate::seal::Sealer;
use crate::time::Clock;
use crate::tokens::Signer;
use crate::watch::WatchLinks;
use nearlight_placement::Policy;
use nearlight_protocol::id::{NodeId, SessionId};
use nearlight_protocol::unit::MonoTime;
use nearlight_session::Queue;
use nearlight_session::lifecycle::Event;
use nearlight_session::queue::Lines;
use nearlight_session::queue::forecast::Forecast;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Events taken in one turn: what the writer commits in one transaction, roughly.
pub(super) const TURN_EVENTS_MAX: usize = 384;
/// Events of edges that are taken for each request of a caller: an ack, a first picture, an end, and
/// room to catch up.
const EDGE_EVENTS_A_REQUEST: usize = 5;
/// Between two publications of nodes that have changed, milliseconds: who lists or waits for a node
/// does not notice, and a busy fleet costs no more than its changes.
const PUBLISH_EVERY_MS: u64 = 50;
/// How often slots thaw, ETAs are told anew and gauges are set.
const HOUSEKEEPING: Duration = Duration::from_secs(2);
/// Housekeepings between two notes of which nodes are alive.
const SEEN_EVERY: u32 = 15;

/// What the owner is made of.
#[derive(Debug)]
pub(crate) struct OwnerParts {
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) signer: Signer,
    pub(crate) sealer: Sealer,
    pub(crate) clock: Clock,
    pub(crate) times: SessionTimes,
    pub(crate) volumes_mib_max: u64,
    pub(crate) directory: Arc<Directory>,
    pub(crate) links: Arc<WatchLinks>,
    pub(crate) standings: Arc<Standings>,
    pub(crate) apps: Arc<Apps>,
    pub(crate) policy: Policy,
    pub(crate) nearness: Arc<Nearness>,
    pub(crate) requests: mpsc::Receiver<Request>,
    pub(crate) edges: mpsc::Receiver<EdgeEvent>,
    pub(crate) sharing: Option<SharingParts>,
    pub(crate) stop: CancellationToken,
}

/// What an owner has that shares its ledger with others.
#[derive(Debug)]
pub(crate) struct SharingParts {
    pub(crate) me: BrokerId,
    pub(crate) events: mpsc::Receiver<PeerEvent>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) courier: Courier,
}

/// Owns every session, the queue and the fleet.
#[derive(Debug)]
pub(crate) struct Owner {
    pub(super) ledger: Arc<dyn Ledger>,
    pub(super) signer: Signer,
    pub(super) sealer: Sealer,
    pub(super) clock: Clock,
    pub(super) times: SessionTimes,
    pub(super) directory: Arc<Directory>,
    pub(super) links: Arc<WatchLinks>,
    pub(super) standings: Arc<Standings>,
    pub(super) apps: Arc<Apps>,
    requests: mpsc::Receiver<Request>,
    edges: mpsc::Receiver<EdgeEvent>,
    /// What nodes said while they were being taken from another broker; first in the next turn. No
    /// more than a turn takes.
    pub(super) deferred: VecDeque<EdgeEvent>,
    /// What it has of brokers that share its ledger, if it is not alone.
    pub(super) sharing: Option<Sharing>,
    /// What it knows to have happened to what it holds.
    pub(super) basis: Basis,
    /// Boxed: a table that grows moves what it holds, and 30,000 entries are 50 ms of a turn.
    pub(super) sessions: HashMap<SessionId, Box<Entry>>,
    /// Sessions by the node of their claim.
    pub(super) claimed: Claimed,
    /// Sessions of tenants by the operator of their claim's node.
    pub(super) spread: Spread,
    pub(super) fleet: Fleet,
    /// Nodes on which starts fail, and who was refused where.
    pub(super) failing: Failing,
    pub(super) refusals: Refusals,
    pub(super) queue: Queue,
    pub(super) holds: Holds,
    pub(super) clusters: Clusters,
    /// Nodes of which it is to be looked whether their capacity is taken back.
    pub(super) reclaims: BTreeSet<NodeId>,
    pub(super) spending: Spending,
    pub(super) volumes: Volumes,
    /// What the volumes of one owner may have together, MiB.
    pub(super) volumes_mib_max: u64,
    /// What things cost.
    pub(super) prices: Prices,
    /// How fast those move up who wait for the same.
    pub(super) lines: Lines<Line>,
    /// Sessions by their next deadline.
    pub(super) deadlines: BTreeSet<(MonoTime, SessionId)>,
    /// Ended sessions, oldest first, until they are forgotten.
    pub(super) ended: VecDeque<(MonoTime, SessionId)>,
    /// How long sessions of late have lasted, milliseconds.
    pub(super) durations: VecDeque<u64>,
    /// What is told where the pace of a line is not known, and when it was computed.
    pub(super) forecast: Option<(MonoTime, Forecast)>,
    /// The last placements, for operators of nodes.
    pub(super) placements: Placements,
    /// How sessions are placed, and how those whose player chose the region.
    pub(super) policy: Policy,
    pub(super) policy_chosen: Policy,
    pub(super) nearness: Arc<Nearness>,
    /// When readers were told last of nodes that have changed.
    published_at: MonoTime,
    /// The apps since which everybody was due once.
    pub(super) tried_apps: Option<AppsRevision>,
    /// The queue's revision of which those who wait were told.
    pub(super) told: u64,
    housekeepings: u32,
    /// The apps of which nodes were told.
    pub(super) images_shown: Option<AppsRevision>,
    /// A read failed within a turn: at its end everything is loaded again.
    pub(super) doubt: Option<StoreError>,
    pub(super) stop: CancellationToken,
}

/// What woke the owner.
#[derive(Debug)]
enum Wake {
    Request(Request),
    Edge(EdgeEvent),
    Peer(PeerEvent),
    Deferred,
    Deadline,
    Housekeeping,
    Stop,
}

impl Owner {
    /// An owner with everything that the ledger has.
    ///
    /// # Errors
    /// [`StoreError`] if the ledger cannot be read.
    pub(crate) async fn start(parts: OwnerParts) -> Result<Self, StoreError> {
        let mut owner = Self {
            ledger: parts.ledger,
            signer: parts.signer,
            sealer: parts.sealer,
            clock: parts.clock,
            times: parts.times,
            directory: parts.directory,
            links: parts.links,
            standings: parts.standings,
            apps: parts.apps,
            requests: parts.requests,
            edges: parts.edges,
            deferred: VecDeque::new(),
            sharing: parts.sharing.map(Sharing::from),
            basis: Basis::default(),
            sessions: HashMap::new(),
            claimed: Claimed::default(),
            spread: Spread::default(),
            fleet: Fleet::default(),
            failing: Failing::default(),
            refusals: Refusals::default(),
            queue: Queue::default(),
            holds: Holds::default(),
            clusters: Clusters::default(),
            reclaims: BTreeSet::new(),
            spending: Spending::default(),
            volumes: Volumes::default(),
            volumes_mib_max: parts.volumes_mib_max,
            prices: Prices::default(),
            lines: Lines::default(),
            deadlines: BTreeSet::new(),
            ended: VecDeque::new(),
            durations: VecDeque::new(),
            forecast: None,
            placements: Placements::default(),
            policy_chosen: Policy {
                steps: Vec::new(),
                ..parts.policy.clone()
            },
            policy: parts.policy,
            nearness: parts.nearness,
            published_at: MonoTime::default(),
            tried_apps: None,
            told: 0,
            housekeepings: 0,
            images_shown: None,
            doubt: None,
            stop: parts.stop,
        };
        owner.prices = Prices::read(&owner.ledger).await?;
        owner.follow_card();
        owner.load().await?;
        owner.publish_fleet(owner.clock.now());
        Ok(owner)
    }

    /// Runs until the shutdown. What was taken before is committed and acted on.
    pub(crate) async fn run(mut self) {
        let stop = self.stop.clone();
        let mut housekeeping = tokio::time::interval(HOUSEKEEPING);
        loop {
            let wake = self.wake(&stop, &mut housekeeping).await;
            let now = self.clock.now();
            let mut turn = Turn::default();
            match wake {
                Wake::Request(request) => self.take_request(request, now, &mut turn),
                Wake::Edge(event) => self.take_edge(event, now, &mut turn),
                Wake::Peer(event) => self.take_peer(event, now, &mut turn).await,
                Wake::Deferred | Wake::Deadline => {}
                Wake::Housekeeping => {
                    self.keep_house(now, &mut turn);
                    if self.volumes_are_old(self.housekeepings) {
                        self.read_volumes().await;
                    }
                }
                Wake::Stop => return,
            }
            for event in std::mem::take(&mut self.deferred) {
                self.take_edge(event, now, &mut turn);
            }
            self.take_more(now, &mut turn);
            self.settle_reclaims(now, &mut turn);
            self.take_deadlines(now, &mut turn);
            self.take_spending(now, &mut turn);
            self.place_waiting(now, &mut turn);
            self.settle_clusters(now, &mut turn);
            if !turn.is_empty() {
                self.commit(turn).await;
            }
            let now = self.clock.now();
            if self.publication_due().is_some_and(|at| at <= now) {
                self.publish_fleet(now);
            }
        }
    }

    async fn wake(&mut self, stop: &CancellationToken, beat: &mut tokio::time::Interval) -> Wake {
        if !self.deferred.is_empty() || !self.reclaims.is_empty() {
            return Wake::Deferred;
        }
        let deadline = self.deadlines.first().map(|(at, _)| *at);
        let spent = self.spending.next();
        let next = [deadline, spent, self.next_try(), self.publication_due()];
        let next = next.into_iter().flatten().min();
        let in_us = next.map(|at| at.micros_since(self.clock.now()));
        let deadline = async {
            match in_us {
                Some(us) => tokio::time::sleep(Duration::from_micros(us)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => Wake::Stop,
            Some(event) = self.edges.recv() => Wake::Edge(event),
            Some(event) = next_of(&mut self.sharing) => Wake::Peer(event),
            Some(request) = self.requests.recv() => Wake::Request(request),
            () = deadline => Wake::Deadline,
            _ = beat.tick() => Wake::Housekeeping,
        }
    }

    /// Takes what waits already. A session that is created brings several events of its edge with it:
    /// callers that were taken at the same pace would pile up sessions whose acks nobody reads.
    fn take_more(&mut self, now: MonoTime, turn: &mut Turn) {
        for _ in 0..TURN_EVENTS_MAX / (EDGE_EVENTS_A_REQUEST + 1) {
            let mut taken = 0;
            while taken < EDGE_EVENTS_A_REQUEST
                && !turn.is_closed
                && let Ok(event) = self.edges.try_recv()
            {
                self.take_edge(event, now, turn);
                taken += 1;
            }
            if turn.is_closed {
                return;
            }
            let request = self.requests.try_recv().ok();
            if taken == 0 && request.is_none() {
                return;
            }
            if let Some(request) = request {
                self.take_request(request, now, turn);
            }
        }
    }

    fn take_request(&mut self, request: Request, now: MonoTime, turn: &mut Turn) {
        match request {
            Request::Create(create, reply) => {
                let (session, budget) = (create.id.clone(), create.budget_micro);
                self.take_create(*create, reply, now, turn);
                if let Some(budget_micro) = budget {
                    let set = Op::SetBudget {
                        session,
                        budget_micro,
                    };
                    turn.push(set, Then::Nothing);
                }
            }
            Request::DeleteVolume(volume, reply) => self.take_delete(volume, reply, now, turn),
            Request::Budgets(dues) => self.spending.set(dues),
            Request::Prices(prices) => self.set_prices(*prices),
            Request::Lately(node, excluded, reply) => {
                let view = self.fleet.view(&node);
                let lately = view.map(|view| self.placements.of(&view, &self.policy, excluded));
                let _ = reply.send(lately.unwrap_or_default());
            }
            Request::Ranks(ranks) => self.fleet.set_ranks(ranks, now),
            Request::End(mut end, reply) => {
                // Whoever ends one replica ends all.
                if let Some(cluster) = self.cluster_of(&end.session) {
                    end.session = cluster;
                }
                let reason = end.reason;
                let known = self.drive(&end.session, Event::EndRequested { reason }, now, turn);
                if let Some(audit) = end.audit.filter(|_| known.is_some()) {
                    let audit = Some(audit);
                    let change = IdentityChange::Nothing;
                    turn.push(Op::Identity { change, audit }, Then::Nothing);
                }
                let answer = known.map(|_| ()).ok_or(EndError::NotFound);
                turn.ends.push((reply, end.session, answer));
            }
            Request::Decide(node, change, reply) => {
                self.take_decision(node, change, reply, now, turn);
            }
        }
    }

    fn keep_house(&mut self, now: MonoTime, turn: &mut Turn) {
        self.housekeepings = self.housekeepings.wrapping_add(1);
        self.fleet.thaw(now);
        self.follow_card();
        self.offer_again(now);
        self.tell_anew();
        self.tell_occupancy(now);
        self.tell_round_trips(self.housekeepings);
        self.tell_places(now, &mut turn.touched);
        self.show_new_images();
        self.end_headless(now, turn);
        let keep_ms = u64::from(self.times.ended_keep_s) * 1000;
        while let Some((at, id)) = self.ended.front().cloned()
            && now.millis_since(at) >= keep_ms
        {
            self.ended.pop_front();
            self.forget_entry(&id);
            self.directory.forget(&id);
        }
        if self.housekeepings.is_multiple_of(SEEN_EVERY) {
            let attached = self.fleet.iter().filter(|n| n.link.stream().is_some());
            let nodes = attached.map(|n| (n.row.id.clone(), n.heard_at)).collect();
            turn.push(Op::SeenNodes { nodes, at: now }, Then::Nothing);
        }
        // What was read before the ledger went back must not be told for longer than need be.
        turn.is_beat |= self.ledger.setbacks() != self.basis.setbacks;
        self.look_around(turn, self.housekeepings);
        self.set_gauges();
    }

    /// When readers are to be told of nodes that have changed, if there are any.
    fn publication_due(&self) -> Option<MonoTime> {
        let due = self.published_at.plus_millis(PUBLISH_EVERY_MS);
        let told = self
            .sharing
            .as_ref()
            .is_none_or(|s| s.told == self.queue.len());
        (self.fleet.has_news() || !told).then_some(due)
    }

    pub(super) fn publish_fleet(&mut self, now: MonoTime) {
        self.published_at = now;
        let news = self.fleet.take_news();
        if let Some(sharing) = &mut self.sharing {
            sharing.told = self.queue.len();
            sharing.hub.publish(&news, sharing.told);
        }
        self.directory.show_nodes(news);
        let counts = self.directory.node_counts();
        crate::metrics::nodes("online", counts.online + counts.draining);
        crate::metrics::nodes("offline", counts.offline);
    }
}
