//! Nodes of other brokers: what placement and people see of them. A node that this broker holds hides
//! what another one says of it.

use super::{Fleet, gpus};
use crate::ledger::BrokerId;
use crate::peers::{Item, Shared};
use nearlight_placement::{FleetIndex, NodeState, NodeView, SessionRequest};
use nearlight_protocol::api::NodeStatus;
use nearlight_protocol::id::NodeId;
use std::collections::BTreeMap;

/// A node of another broker.
#[derive(Debug)]
pub(super) struct RemoteNode {
    holder: BrokerId,
    pub(super) shared: Shared,
}

/// A remote node that readers have to be told of: who holds it, and how it is; `None` where nobody
/// says so any more.
pub(crate) type RemoteNews = (NodeId, Option<(BrokerId, Shared)>);

impl Fleet {
    /// Which other broker holds a node.
    pub(crate) fn holder(&self, node: &NodeId) -> Option<&BrokerId> {
        if self.nodes.contains_key(node) {
            return None;
        }
        self.remote.get(node).map(|remote| &remote.holder)
    }

    /// The nodes of other brokers, by broker.
    pub(crate) fn remote_views(&self) -> BTreeMap<BrokerId, Vec<NodeView>> {
        let mut views: BTreeMap<BrokerId, Vec<NodeView>> = BTreeMap::new();
        let remote = self.remote.iter();
        for (_, remote) in remote.filter(|(id, _)| !self.nodes.contains_key(*id)) {
            let of_holder = views.entry(remote.holder.clone()).or_default();
            of_holder.push(remote.shared.view.clone());
        }
        views
    }

    /// A fleet of one node alone, whoever holds it; empty if nobody knows it.
    pub(crate) fn alone(&self, node: &NodeId) -> FleetIndex {
        let mut index = FleetIndex::default();
        if let Some(view) = self.view(node) {
            index.put(&view);
        }
        index
    }

    /// Takes in what a peer says of its nodes. Returns what readers have to know.
    pub(crate) fn take_remote(&mut self, peer: &BrokerId, items: Vec<Item>) -> Vec<RemoteNews> {
        let mut news = Vec::new();
        for item in items {
            match item {
                Item::Is(shared) => {
                    let (id, shared) = (shared.node.id.clone(), *shared);
                    let holder = peer.clone();
                    self.show_remote(&id, (&holder, &shared), &mut news);
                    self.remote.insert(id, RemoteNode { holder, shared });
                }
                Item::Left(id) => {
                    if self.remote.get(&id).is_some_and(|r| r.holder == *peer) {
                        self.forget_remote(&id, &mut news);
                    }
                }
            }
        }
        news
    }

    /// Nobody says any more what has become of a peer's nodes: none takes a session.
    pub(crate) fn silence(&mut self, peer: &BrokerId) -> Vec<RemoteNews> {
        let mut silent: Vec<Item> = Vec::new();
        for remote in self.remote.values().filter(|r| r.holder == *peer) {
            let mut shared = remote.shared.clone();
            if shared.view.state.attached {
                shared.view.state.attached = false;
                shared.node.status = NodeStatus::Offline;
                silent.push(Item::Is(Box::new(shared)));
            }
        }
        self.take_remote(peer, silent)
    }

    /// A peer begins to say all that it has: what it said before is void.
    pub(crate) fn forget_peer(&mut self, peer: &BrokerId) -> Vec<RemoteNews> {
        let of_peer = self.remote.iter().filter(|(_, r)| r.holder == *peer);
        let ids: Vec<NodeId> = of_peer.map(|(id, _)| id.clone()).collect();
        let mut news = Vec::new();
        for id in ids {
            self.forget_remote(&id, &mut news);
        }
        news
    }

    /// Takes off a remote node what a session that was given to its holder is going to take.
    pub(crate) fn overlay(&mut self, node: &NodeId, request: &SessionRequest) {
        let Some(remote) = self.remote.get_mut(node) else {
            return;
        };
        let encode = request.encode_cpu_milli(remote.shared.view.encode_cpu_milli);
        let cpu = request.cpu_milli.saturating_add(encode);
        let state = &mut remote.shared.view.state;
        *state = NodeState {
            slots_free: state.slots_free.saturating_sub(1),
            sessions: state.sessions + 1,
            cpu_milli_free: state.cpu_milli_free.saturating_sub(cpu),
            mem_mib_free: state.mem_mib_free.saturating_sub(request.mem_mib),
            uplink_kbps_free: state
                .uplink_kbps_free
                .map(|free| free.saturating_sub(request.kbps)),
            disk_mib_free: state.disk_mib_free.saturating_sub(request.disk_mib()),
            gpus_taken: state.gpus_taken || request.gpus() > 0,
            gpus_held: gpus::held_with(remote.shared.view.jobs.as_ref(), state, request),
            ..state.clone()
        };
        if !self.nodes.contains_key(node) {
            self.index.set_state(node, state);
        }
    }

    /// A node is another broker's now. Returns what readers have to know.
    pub(crate) fn let_go(&mut self, node: &NodeId) -> Vec<RemoteNews> {
        let mut news = Vec::new();
        if self.nodes.remove(node).is_none() {
            return news;
        }
        self.cooling.remove(node);
        self.unseen.remove(node);
        match self.remote.get(node) {
            Some(remote) => {
                self.index.put(&remote.shared.view);
                self.openings.insert(node.clone());
                let shown = (remote.holder.clone(), remote.shared.clone());
                news.push((node.clone(), Some(shown)));
            }
            None => {
                self.index.remove(node);
                news.push((node.clone(), None));
            }
        }
        news
    }

    /// Takes the remote nodes of a fleet that is being read anew.
    pub(crate) fn keep_remote(&mut self, former: Self) -> Vec<RemoteNews> {
        let mut news = Vec::new();
        self.remote = former.remote;
        (self.ranks, self.by_score) = (former.ranks, former.by_score);
        let ids: Vec<NodeId> = self.remote.keys().cloned().collect();
        for id in ids {
            let (holder, shared) = {
                let remote = &self.remote[&id];
                (remote.holder.clone(), remote.shared.clone())
            };
            self.show_remote(&id, (&holder, &shared), &mut news);
        }
        news
    }

    fn show_remote(
        &mut self,
        id: &NodeId,
        (holder, shared): (&BrokerId, &Shared),
        news: &mut Vec<RemoteNews>,
    ) {
        if self.nodes.contains_key(id) {
            return;
        }
        let state = &shared.view.state;
        match self.remote.get(id) {
            Some(former)
                if same_but_state(&former.shared, shared) && self.index.set_state(id, state) =>
            {
                if state.has_improved_on(&former.shared.view.state) {
                    self.openings.insert(id.clone());
                }
            }
            Some(_) | None => {
                self.index.put(&shared.view);
                self.openings.insert(id.clone());
            }
        }
        news.push((id.clone(), Some((holder.clone(), shared.clone()))));
    }

    fn forget_remote(&mut self, id: &NodeId, news: &mut Vec<RemoteNews>) {
        self.remote.remove(id);
        if !self.nodes.contains_key(id) {
            self.index.remove(id);
            news.push((id.clone(), None));
        }
    }
}

fn same_but_state(a: &Shared, b: &Shared) -> bool {
    let (a, b) = (&a.view, &b.view);
    a.region == b.region
        && a.operator == b.operator
        && a.trust == b.trust
        && a.runtime == b.runtime
        && a.gpu == b.gpu
        && a.vram_mib == b.vram_mib
        && a.vram_mib_proved == b.vram_mib_proved
        && a.encodes == b.encodes
        && a.slots_total == b.slots_total
        && a.cpu_milli_total == b.cpu_milli_total
        && a.encode_cpu_milli == b.encode_cpu_milli
        && a.mem_mib_total == b.mem_mib_total
        && a.uplink_kbps_total == b.uplink_kbps_total
        && a.price_permille == b.price_permille
        && a.images == b.images
        && a.jobs == b.jobs
        && a.desktops == b.desktops
}
