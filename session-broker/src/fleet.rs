//! The fleet in memory: what each node has, who holds it, and the way to it.
//!
//! Owned by the session task alone. It mirrors the ledger's nodes, slots, capacity and outbox, adds
//! what is not written down (control streams, draining, slots that refused a moment ago), keeps the
//! index that placement reads, and remembers what readers have not seen yet.
//!
//! **Invariants.** The mirror may lag behind other brokers' claims, never ahead of our own: a claim
//! is taken here before its transaction, and the node is read back if that is refused. Whatever
//! changes a node goes through [`Fleet::set_row`] or [`Fleet::change`], which bring the index up to
//! date: one node at a time, and only if placement sees a difference. A node that may take more than
//! before, whoever holds it, is an opening until it was offered.

use crate::control::Stream;
use crate::ledger::{Decided, HeldBy, NodeRow, Standing};
use crate::verdicts::Ranks;
use nearlight_placement::{FleetIndex, NodeState, NodeView, SessionRequest};
use nearlight_protocol::api::Node;
use nearlight_protocol::id::{NodeId, SessionId};
use nearlight_protocol::unit::MonoTime;
use nearlight_session::Claim;
use nearlight_session::bill::ByScore;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

mod gpus;
mod node;
mod remote;

pub(crate) use gpus::keep_distinct;
pub(crate) use node::{FleetNode, Link, nothing};
pub(crate) use remote::RemoteNews;
use remote::RemoteNode;

/// How long a slot is left alone after its node refused an order for it.
const COOLING_MS: u64 = 5_000;

/// All nodes.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    nodes: HashMap<NodeId, FleetNode>,
    index: FleetIndex,
    /// Nodes of other brokers, as those said last.
    remote: HashMap<NodeId, RemoteNode>,
    /// How nodes are ranked by their receipts.
    ranks: Arc<Ranks>,
    /// How prices follow scores by the rate card in force.
    by_score: Option<ByScore>,
    /// Nodes with slots that are left alone.
    cooling: BTreeSet<NodeId>,
    /// Nodes that may take more than before, until they were offered to those who wait.
    openings: BTreeSet<NodeId>,
    /// Nodes that readers have not seen as they are; whether more than their state is new.
    unseen: BTreeMap<NodeId, bool>,
}

/// A node that has changed, for readers.
#[derive(Debug)]
pub(crate) struct Changed {
    /// As everyone may see it.
    pub(crate) node: Arc<Node>,
    /// As placement sees it.
    pub(crate) view: ChangedView,
}

/// What has changed of a node.
#[derive(Debug)]
pub(crate) enum ChangedView {
    /// Anything.
    Whole(Box<NodeView>),
    /// What changes with every claim.
    State(NodeState),
}

impl Fleet {
    /// What placement reads.
    pub(crate) fn index(&self) -> &FleetIndex {
        &self.index
    }

    pub(crate) fn get(&self, node: &NodeId) -> Option<&FleetNode> {
        self.nodes.get(node)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &FleetNode> {
        self.nodes.values()
    }

    /// The stream that takes a node's orders.
    pub(crate) fn online(&self, node: &NodeId) -> Option<&Arc<Stream>> {
        match &self.nodes.get(node)?.link {
            Link::Online(stream) => Some(stream),
            Link::Offline | Link::Attaching(_) => None,
        }
    }

    /// Takes a node's row as the ledger has it. Streams and orders stay.
    pub(crate) fn set_row(&mut self, row: NodeRow, now: MonoTime) {
        let id = row.id.clone();
        let mut node = match self.nodes.remove(&id) {
            Some(node) => node.with_row(row, now),
            None => FleetNode::new(row, now),
        };
        node.proven = self.ranks.of(&id);
        node.by_score = self.by_score;
        node.refresh(now);
        self.nodes.insert(id.clone(), node);
        self.show_whole(&id);
    }

    /// Lets placement, and readers, see all of a node anew.
    fn show_whole(&mut self, id: &NodeId) {
        let Some(node) = self.nodes.get(id) else {
            return;
        };
        if node.decided.standing == Standing::Revoked {
            self.index.remove(id);
        } else {
            self.index.put(&node.view());
            self.openings.insert(id.clone());
        }
        self.unseen.insert(id.clone(), true);
    }

    /// Takes what was decided about a node. One that is revoked is in no index: placement knows
    /// nothing of it.
    pub(crate) fn set_decided(&mut self, id: &NodeId, decided: Decided, now: MonoTime) {
        let Some(node) = self.nodes.get_mut(id) else {
            return;
        };
        if node.decided == decided {
            return;
        }
        node.decided = decided;
        node.refresh(now);
        self.show_whole(id);
    }

    /// Takes how nodes are ranked.
    pub(crate) fn set_ranks(&mut self, ranks: Arc<Ranks>, now: MonoTime) {
        self.ranks = ranks;
        let news: Vec<NodeId> = self
            .nodes
            .values()
            .filter(|node| node.proven != self.ranks.of(&node.row.id))
            .map(|node| node.row.id.clone())
            .collect();
        for id in news {
            let proven = self.ranks.of(&id);
            let is_other = self.change(&id, now, |node| {
                let before = (node.price_permille(), node.proven.memory.clone());
                node.proven = proven;
                (node.price_permille(), node.proven.memory.clone()) != before
            });
            if is_other == Some(true) {
                self.show_whole(&id);
            }
        }
    }

    /// Takes how prices follow scores by the rate card in force.
    pub(crate) fn set_by_score(&mut self, by_score: Option<ByScore>) {
        if self.by_score == by_score {
            return;
        }
        self.by_score = by_score;
        let ids: Vec<NodeId> = self.nodes.keys().cloned().collect();
        for id in ids {
            if let Some(node) = self.nodes.get_mut(&id) {
                node.by_score = by_score;
            }
            self.show_whole(&id);
        }
    }

    /// Changes a node and brings the index up to date.
    pub(crate) fn change<T>(
        &mut self,
        id: &NodeId,
        now: MonoTime,
        with: impl FnOnce(&mut FleetNode) -> T,
    ) -> Option<T> {
        let node = self.nodes.get_mut(id)?;
        let changed = with(node);
        let before = node.state().clone();
        if let Some(state) = node.refresh(now) {
            if state.has_improved_on(&before) {
                self.openings.insert(id.clone());
            }
            self.index.set_state(id, state);
            self.unseen.entry(id.clone()).or_insert(false);
        }
        Some(changed)
    }

    /// A node has said something. Until it has said what it runs, that says nothing of its sessions.
    pub(crate) fn heard(&mut self, id: &NodeId, now: MonoTime) {
        if let Some(node) = self.nodes.get_mut(id)
            && matches!(node.link, Link::Online(_))
        {
            node.heard_at = now;
        }
    }

    /// Takes a claim, ahead of its transaction. Returns what to write, and the capacity's revision to
    /// compare with.
    pub(crate) fn take(
        &mut self,
        session: &SessionId,
        claim: &Claim,
        request: &SessionRequest,
        now: MonoTime,
    ) -> Option<(HeldBy, u64)> {
        self.change(&claim.node, now, |node| {
            let gpus = node.gpus_for(request)?;
            let slot = node.row.slots.get_mut(&claim.slot)?;
            slot.epoch = claim.epoch;
            let encoder = request.encode_cpu_milli(node.row.inventory.encode_cpu_milli);
            let held = HeldBy {
                session: session.clone(),
                epoch: claim.epoch,
                cpu_milli: request.cpu_milli.saturating_add(encoder),
                mem_mib: request.mem_mib,
                kbps: request.kbps,
                disk_mib: request.disk_mib(),
                gpus: request.gpus(),
                gpu_uuids: gpus,
            };
            slot.held_by = Some(held.clone());
            let rev = node.row.capacity.rev;
            node.recount();
            node.row.volumes_mib += u64::from(request.volumes_mib());
            Some((held, rev))
        })?
    }

    /// Gives a claim back.
    pub(crate) fn release(&mut self, claim: &Claim, session: &SessionId, now: MonoTime) {
        self.change(&claim.node, now, |node| {
            let its = |held: &mut HeldBy| held.session == *session && held.epoch == claim.epoch;
            if let Some(slot) = node.row.slots.get_mut(&claim.slot)
                && slot.held_by.take_if(its).is_some()
            {
                node.recount();
            }
            node.outbox.retain(|_, row| {
                row.session != *session || row.epoch != claim.epoch || !row.is_start()
            });
        });
    }

    /// Leaves a slot alone for a while: its node refused an order for it.
    pub(crate) fn cool(&mut self, claim: &Claim, now: MonoTime) {
        let until = now.plus_millis(COOLING_MS);
        let cooled = self.change(&claim.node, now, |node| node.cool(&claim.slot, until));
        if cooled.is_some() {
            self.cooling.insert(claim.node.clone());
        }
    }

    /// Takes slots back that have cooled.
    pub(crate) fn thaw(&mut self, now: MonoTime) {
        for id in std::mem::take(&mut self.cooling) {
            if self.change(&id, now, |node| node.thaw(now)) == Some(true) {
                self.cooling.insert(id);
            }
        }
    }

    /// Whether nodes have improved since they were last offered.
    pub(crate) fn has_openings(&self) -> bool {
        !self.openings.is_empty()
    }

    /// The next node that has improved.
    pub(crate) fn next_opening(&mut self) -> Option<NodeId> {
        self.openings.pop_first()
    }

    /// A node was not offered to everybody yet.
    pub(crate) fn reopen(&mut self, node: NodeId) {
        self.openings.insert(node);
    }

    /// Nobody waits whom they could be offered to.
    pub(crate) fn forget_openings(&mut self) {
        self.openings.clear();
    }

    /// A node as placement sees it, whoever holds it.
    pub(crate) fn view(&self, node: &NodeId) -> Option<NodeView> {
        match (self.nodes.get(node), self.remote.get(node)) {
            (Some(own), _) if own.decided.standing == Standing::Revoked => None,
            (Some(own), _) => Some(own.view()),
            (None, Some(remote)) => Some(remote.shared.view.clone()),
            (None, None) => None,
        }
    }

    /// A node's name for people.
    pub(crate) fn view_name(&self, node: &NodeId) -> Option<String> {
        let own = self.nodes.get(node).map(|own| &own.row.name);
        own.filter(|name| !name.is_empty()).cloned()
    }

    /// One of the node's free slots, with the epoch of its next claim.
    pub(crate) fn free_slot(&self, node: &NodeId, now: MonoTime) -> Option<Claim> {
        let (slot, epoch) = self.nodes.get(node)?.free_slots(now).next()?;
        Some(Claim {
            node: node.clone(),
            slot: slot.clone(),
            epoch: epoch.next()?,
        })
    }

    /// All free slots of a node, each with the epoch of its next claim.
    pub(crate) fn slots_to_claim(&self, node: &NodeId, now: MonoTime) -> Vec<Claim> {
        let known = self.nodes.get(node).into_iter();
        let free = known.flat_map(|known| known.free_slots(now));
        let claims = free.filter_map(|(slot, epoch)| {
            Some(Claim {
                node: node.clone(),
                slot: slot.clone(),
                epoch: epoch.next()?,
            })
        });
        claims.collect()
    }

    /// Every node that is held here and not shut out, as placement sees it.
    pub(crate) fn views(&self) -> impl Iterator<Item = NodeView> {
        let nodes = self.nodes.values();
        let nodes = nodes.filter(|node| node.decided.standing != Standing::Revoked);
        nodes.map(FleetNode::view)
    }

    /// The sessions that hold a slot of the node.
    pub(crate) fn holders(&self, node: &NodeId) -> Vec<SessionId> {
        let Some(node) = self.nodes.get(node) else {
            return Vec::new();
        };
        let held = node.row.slots.values().filter_map(|s| s.held_by.as_ref());
        held.map(|held| held.session.clone()).collect()
    }

    /// Whether readers have not seen everything.
    pub(crate) fn has_news(&self) -> bool {
        !self.unseen.is_empty()
    }

    /// What readers have not seen yet.
    pub(crate) fn take_news(&mut self) -> Vec<Changed> {
        let unseen = std::mem::take(&mut self.unseen).into_iter();
        let news = unseen.filter_map(|(id, whole)| {
            let node = self.nodes.get(&id)?;
            Some(Changed {
                node: Arc::new(node.public()),
                view: match whole {
                    true => ChangedView::Whole(Box::new(node.view())),
                    false => ChangedView::State(node.state().clone()),
                },
            })
        });
        news.collect()
    }
}
