//! What readers see, and nobody has to ask the owner for. Written by the owner alone; locks are held
//! for look-ups, and to take in what has changed.

use super::Placement;
use super::gpus::GpusRead;
use crate::control::Stream;
use crate::fleet::{Changed, ChangedView, RemoteNews};
use crate::ledger::BrokerId;
use nearlight_placement::{FleetIndex, NodeView, Policy, SessionRequest, Trust};
use nearlight_protocol::api::{Node, NodeStatus, Session, SessionKind};
use nearlight_protocol::endpoint::DirectSite;
use nearlight_protocol::id::{NodeId, SessionId, TenantId, UserId};
use nearlight_protocol::job::{ImageRef, Port};
use nearlight_protocol::region::RegionState;
use nearlight_session::lifecycle::Claim;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::Hash;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::sync::watch;

/// What readers see.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    sessions: RwLock<Shown>,
    fleet: RwLock<ShownFleet>,
    /// What attached nodes say that they have read of their GPUs.
    pub(super) gpus: GpusRead,
}

#[derive(Debug, Default)]
struct Shown {
    sessions: HashMap<SessionId, ShownSession>,
    by_user: HashMap<UserId, BTreeSet<SessionId>>,
    by_tenant: HashMap<TenantId, BTreeSet<SessionId>>,
    streams: HashMap<NodeId, Arc<Stream>>,
}

/// A session as readers see it.
#[derive(Clone, Debug)]
pub(crate) struct ShownSession {
    /// Whose it is.
    pub(crate) user: UserId,
    /// Its user's tenant.
    pub(crate) tenant: Option<TenantId>,
    /// Its view, as its owner sees it, and every later one.
    pub(crate) view: watch::Receiver<Session>,
    /// What it holds on a node.
    pub(crate) claim: watch::Receiver<Option<Claim>>,
    /// What it listens on, if it is a job.
    pub(crate) ports: Arc<[Port]>,
    /// How many containers its job has, placed or not.
    pub(crate) replicas: u32,
    /// What came of the last attempt to place it.
    pub(crate) placement: watch::Receiver<Placement>,
    /// Whether it is a replica of a cluster beside the first: it is in no list.
    pub(crate) is_member: bool,
    /// Whether a checker plays it.
    pub(crate) is_probe: bool,
}

/// Which sessions.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Whose<'a> {
    /// These users'.
    Users(&'a [UserId]),
    /// A tenant's.
    Tenant(&'a TenantId),
    /// Everyone's.
    Everyones,
}

impl Whose<'_> {
    /// Whether a session is among them.
    pub(crate) fn has(self, session: &ShownSession) -> bool {
        self.takes(&session.user, session.tenant.as_ref())
    }

    /// Whether a session of this user and this tenant is among them.
    pub(crate) fn takes(self, user: &UserId, tenant: Option<&TenantId>) -> bool {
        match self {
            Self::Users(users) => users.contains(user),
            Self::Tenant(own) => tenant == Some(own),
            Self::Everyones => true,
        }
    }
}

/// The fleet as readers see it: an index of their own, so that they hold nobody up.
#[derive(Debug, Default)]
struct ShownFleet {
    nodes: BTreeMap<NodeId, Arc<Node>>,
    /// Which other broker holds a node.
    holders: HashMap<NodeId, BrokerId>,
    index: FleetIndex,
    policy: Policy,
    counts: NodeCounts,
    regions: BTreeMap<String, RegionCounts>,
    /// Images that nodes built themselves, of each node that has any: `NAME:TAG@sha256:ID`.
    built: HashMap<NodeId, Vec<String>>,
    /// Where callers reach the jobs of a node that was vetted, of each that has such an address.
    direct: HashMap<NodeId, DirectSite>,
    /// Days for which nodes keep the logs of jobs that are over, of each that takes jobs.
    log_days: HashMap<NodeId, u32>,
}

/// A node that has a player's saves.
#[derive(Clone, Debug)]
pub(crate) struct SaveNode {
    pub(crate) name: String,
    pub(crate) region: String,
    pub(crate) status: NodeStatus,
    pub(crate) slots_free: u32,
}

/// Nodes of a region that are not shut out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct RegionCounts {
    all: usize,
    online: usize,
    with_room: usize,
}

impl RegionCounts {
    fn of(node: &Node) -> Self {
        let is_online = node.status == NodeStatus::Online;
        Self {
            all: usize::from(node.status != NodeStatus::Revoked),
            online: usize::from(is_online),
            with_room: usize::from(is_online && node.slots_free > 0),
        }
    }

    const fn state(self) -> RegionState {
        match self {
            Self { with_room: 1.., .. } => RegionState::Room,
            Self { online: 1.., .. } => RegionState::Queue,
            Self { .. } => RegionState::Offline,
        }
    }
}

/// Nodes by status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodeCounts {
    /// Attached, and they take sessions.
    pub(crate) online: usize,
    /// Attached, and they take none.
    pub(crate) draining: usize,
    /// Not attached.
    pub(crate) offline: usize,
    /// Shut out for good.
    pub(crate) revoked: usize,
}

impl NodeCounts {
    fn of(&mut self, status: NodeStatus) -> &mut usize {
        match status {
            NodeStatus::Online => &mut self.online,
            NodeStatus::Draining => &mut self.draining,
            NodeStatus::Offline => &mut self.offline,
            NodeStatus::Revoked => &mut self.revoked,
        }
    }
}

impl ShownFleet {
    fn note(&mut self, view: &NodeView) {
        self.note_images(view);
        if let Some(jobs) = &view.jobs {
            self.log_days.insert(view.id.clone(), jobs.log_days);
        }
        // Callers are not sent to addresses that anybody may name.
        let offered = view.jobs.as_ref().filter(|_| view.trust != Trust::Open);
        match offered.and_then(|jobs| jobs.direct.clone()) {
            Some(direct) => self.direct.insert(view.id.clone(), direct),
            None => self.direct.remove(&view.id),
        };
    }

    fn note_images(&mut self, view: &NodeView) {
        let built = view.images.iter().filter(|image| is_built(image));
        let built: Vec<String> = built.cloned().collect();
        match built.is_empty() {
            true => self.built.remove(&view.id),
            false => self.built.insert(view.id.clone(), built),
        };
    }

    fn show(&mut self, node: Arc<Node>) {
        *self.counts.of(node.status) += 1;
        let new = RegionCounts::of(&node);
        // Seldom new: no name is cloned for what changes within a region.
        if !self.regions.contains_key(&node.region) {
            self.regions
                .insert(node.region.clone(), RegionCounts::default());
        }
        if let Some(counts) = self.regions.get_mut(&node.region) {
            counts.all += new.all;
            counts.online += new.online;
            counts.with_room += new.with_room;
        }
        if let Some(former) = self.nodes.insert(node.id.clone(), node) {
            self.uncount(&former);
        }
    }

    fn uncount(&mut self, former: &Node) {
        *self.counts.of(former.status) -= 1;
        let old = RegionCounts::of(former);
        if let Some(counts) = self.regions.get_mut(&former.region) {
            counts.all -= old.all;
            counts.online -= old.online;
            counts.with_room -= old.with_room;
            if counts.all == 0 {
                self.regions.remove(&former.region);
            }
        }
    }
}

impl Directory {
    /// A directory of what is placed by `policy`.
    pub(crate) fn new(policy: Policy) -> Self {
        Self {
            sessions: RwLock::default(),
            fleet: RwLock::new(ShownFleet {
                policy,
                ..ShownFleet::default()
            }),
            gpus: GpusRead::default(),
        }
    }

    /// One session.
    pub(crate) fn session(&self, id: &SessionId) -> Option<ShownSession> {
        self.read().sessions.get(id).cloned()
    }

    /// Sessions, newest first.
    pub(crate) fn list(&self, of: Whose<'_>) -> Vec<ShownSession> {
        let shown = self.read();
        let mut ids: Vec<&SessionId> = match of {
            Whose::Users(users) => {
                let of_users = users.iter().filter_map(|user| shown.by_user.get(user));
                of_users.flatten().collect()
            }
            Whose::Tenant(tenant) => shown.by_tenant.get(tenant).into_iter().flatten().collect(),
            Whose::Everyones => shown.sessions.keys().collect(),
        };
        ids.sort_unstable_by(|a, b| b.cmp(a));
        let sessions = ids.into_iter().filter_map(|id| shown.sessions.get(id));
        let asked_for = sessions.filter(|session| !session.is_member);
        asked_for.cloned().collect()
    }

    /// The nodes that have an app of a player running.
    pub(crate) fn rendering(&self) -> HashSet<NodeId> {
        self.running_apps(|session| !session.is_probe).collect()
    }

    /// Whether a checker plays on a node.
    pub(crate) fn is_probed(&self, node: &NodeId) -> bool {
        let mut probed = self.running_apps(|session| session.is_probe);
        probed.any(|on| on == *node)
    }

    /// Where apps run, of the sessions that are wanted.
    fn running_apps(&self, wanted: impl Fn(&ShownSession) -> bool) -> impl Iterator<Item = NodeId> {
        let shown = self.read();
        let on = |session: &ShownSession| {
            let view = session.view.borrow();
            let holds = session.claim.borrow().is_some();
            let is_app = view.kind == SessionKind::App;
            (holds && is_app).then(|| view.node.clone())?
        };
        let sessions = shown.sessions.values();
        let nodes: Vec<NodeId> = sessions.filter(|s| wanted(s)).filter_map(on).collect();
        nodes.into_iter()
    }

    /// The stream to a node.
    pub(crate) fn stream(&self, node: &NodeId) -> Option<Arc<Stream>> {
        self.read().streams.get(node).cloned()
    }

    /// The stream to the node that runs a session.
    pub(crate) fn way_to(&self, session: &SessionId) -> Option<Arc<Stream>> {
        let shown = self.read();
        let node = shown.sessions.get(session)?.view.borrow().node.clone()?;
        shown.streams.get(&node).cloned()
    }

    /// All nodes, sorted by id.
    pub(crate) fn nodes(&self) -> Vec<Arc<Node>> {
        self.read_fleet().nodes.values().cloned().collect()
    }

    /// One node, with what it has read of its GPUs if it is attached here.
    pub(crate) fn node(&self, node: &NodeId) -> Option<Node> {
        let shown = self.read_fleet().nodes.get(node).cloned()?;
        let mut shown = Arc::unwrap_or_clone(shown);
        self.gpus.tell(&mut shown);
        Some(shown)
    }

    /// Which other broker holds a node.
    pub(crate) fn node_holder(&self, node: &NodeId) -> Option<BrokerId> {
        self.read_fleet().holders.get(node).cloned()
    }

    /// Whether the node has ever attached.
    pub(crate) fn knows(&self, node: &NodeId) -> bool {
        self.read_fleet().nodes.contains_key(node)
    }

    /// A node as far as a session that has to run there is concerned; `None` if nobody knows it.
    pub(crate) fn save_node(&self, node: &NodeId) -> Option<SaveNode> {
        let fleet = self.read_fleet();
        fleet.nodes.get(node).map(|node| SaveNode {
            name: node.name.clone(),
            region: node.region.clone(),
            status: node.status,
            slots_free: node.slots_free,
        })
    }

    /// Where callers reach a node's jobs without a broker in between, if anywhere.
    pub(crate) fn direct_site(&self, node: &NodeId) -> Option<DirectSite> {
        self.read_fleet().direct.get(node).cloned()
    }

    /// Days for which a node keeps the logs of jobs that are over, if it has said so.
    pub(crate) fn log_days(&self, node: &NodeId) -> Option<u32> {
        self.read_fleet().log_days.get(node).copied()
    }

    /// How many nodes there are.
    pub(crate) fn node_counts(&self) -> NodeCounts {
        self.read_fleet().counts
    }

    /// The regions that nodes are in, and whether something can be played there.
    pub(crate) fn regions(&self) -> BTreeMap<String, RegionState> {
        let fleet = self.read_fleet();
        let regions = fleet.regions.iter();
        regions
            .map(|(name, counts)| (name.clone(), counts.state()))
            .collect()
    }

    /// The image that nodes built as `name`, a `NAME:TAG`: by its id, the one that most attached
    /// nodes have. Those that are vetted decide, if any has one: whoever joins has no say in what runs elsewhere.
    pub(crate) fn built_image(&self, name: &str) -> Option<String> {
        let fleet = self.read_fleet();
        let mut found: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
        for (node, images) in &fleet.built {
            let Some(node) = fleet.nodes.get(node) else {
                continue;
            };
            if !matches!(node.status, NodeStatus::Online | NodeStatus::Draining) {
                continue;
            }
            let is_of = |image: &&String| image.split_once('@').is_some_and(|(of, _)| of == name);
            for image in images.iter().filter(is_of) {
                let (vetted, all) = found.entry(image).or_default();
                *vetted += u32::from(node.vetted);
                *all += 1;
            }
        }
        let most = found.into_iter().max_by_key(|(_, nodes)| *nodes);
        most.map(|(image, _)| image.to_owned())
    }

    /// Whether some attached node could run this, now or once a slot is free.
    pub(crate) fn can_run(&self, request: &SessionRequest) -> bool {
        let fleet = self.read_fleet();
        fleet.index.could_run(request, &fleet.policy)
    }

    pub(super) fn show(&self, id: SessionId, session: ShownSession) {
        let mut shown = self.write();
        let user = session.user.clone();
        shown.by_user.entry(user).or_default().insert(id.clone());
        if let Some(tenant) = session.tenant.clone() {
            let of_tenant = shown.by_tenant.entry(tenant).or_default();
            of_tenant.insert(id.clone());
        }
        shown.sessions.insert(id, session);
    }

    pub(super) fn forget(&self, id: &SessionId) {
        let mut shown = self.write();
        let Some(session) = shown.sessions.remove(id) else {
            return;
        };
        take_out(&mut shown.by_user, &session.user, id);
        if let Some(tenant) = &session.tenant {
            take_out(&mut shown.by_tenant, tenant, id);
        }
    }

    pub(super) fn set_stream(&self, node: &NodeId, stream: Option<Arc<Stream>>) {
        self.gpus.forget(node);
        let mut shown = self.write();
        match stream {
            Some(stream) => shown.streams.insert(node.clone(), stream),
            None => shown.streams.remove(node),
        };
    }

    /// Takes in the nodes that have changed.
    pub(super) fn show_nodes(&self, news: Vec<Changed>) {
        let mut fleet = self.fleet.write().unwrap_or_else(PoisonError::into_inner);
        for Changed { node, view } in news {
            match view {
                _ if node.status == NodeStatus::Revoked => {
                    fleet.index.remove(&node.id);
                    fleet.built.remove(&node.id);
                    fleet.direct.remove(&node.id);
                    fleet.log_days.remove(&node.id);
                }
                ChangedView::Whole(view) => {
                    fleet.note(&view);
                    fleet.index.put(&view);
                }
                ChangedView::State(state) => {
                    fleet.index.set_state(&node.id, &state);
                }
            }
            fleet.holders.remove(&node.id);
            fleet.show(node);
        }
    }

    /// Takes in what has changed of nodes that other brokers hold.
    pub(super) fn show_remote(&self, news: Vec<RemoteNews>) {
        let mut fleet = self.fleet.write().unwrap_or_else(PoisonError::into_inner);
        for (id, shared) in news {
            match shared {
                Some((holder, shared)) => {
                    fleet.note(&shared.view);
                    fleet.index.put(&shared.view);
                    fleet.holders.insert(id, holder);
                    fleet.show(Arc::new(shared.node));
                }
                None => {
                    fleet.index.remove(&id);
                    fleet.holders.remove(&id);
                    fleet.built.remove(&id);
                    fleet.direct.remove(&id);
                    fleet.log_days.remove(&id);
                    if let Some(former) = fleet.nodes.remove(&id) {
                        fleet.uncount(&former);
                    }
                }
            }
        }
    }

    /// No node is known any more.
    pub(super) fn forget_nodes(&self) {
        let mut fleet = self.fleet.write().unwrap_or_else(PoisonError::into_inner);
        *fleet = ShownFleet {
            policy: fleet.policy.clone(),
            ..ShownFleet::default()
        };
    }

    fn read(&self) -> RwLockReadGuard<'_, Shown> {
        self.sessions.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Shown> {
        self.sessions
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn read_fleet(&self) -> RwLockReadGuard<'_, ShownFleet> {
        self.fleet.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a node built an image itself, and says its id.
fn is_built(image: &str) -> bool {
    let parsed = image.parse::<ImageRef>();
    parsed.is_ok_and(|image| {
        image.registry().is_none() && image.tag().is_some() && image.digest().is_some()
    })
}

/// Takes a session out of its holder's; who holds none is not kept.
fn take_out<H: Eq + Hash>(
    held: &mut HashMap<H, BTreeSet<SessionId>>,
    holder: &H,
    session: &SessionId,
) {
    if let Some(of_holder) = held.get_mut(holder) {
        of_holder.remove(session);
        if of_holder.is_empty() {
            held.remove(holder);
        }
    }
}
