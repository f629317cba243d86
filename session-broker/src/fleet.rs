//! The fleet in memory: what each node has, who holds it, and the way to it.
//!
//! Owned by the session task alone. It mirrors the ledger's nodes, slots, capacity and outbox, adds
//! what is not written down (control streams, draining, slots that refused a moment ago), and keeps
//! the snapshot that placement reads.
//!
//! **Invariant.** The mirror may lag behind other brokers' claims, never ahead of our own: a claim
//! is taken here before its transaction, and the node is read back if that is refused.

use crate::control::Stream;
use crate::ledger::{Capacity, HeldBy, NodeRow, OutboxRow};
use nearlight_placement::{FleetSnapshot, NodeView, SessionRequest};
use nearlight_protocol::api::{Node, NodeStatus};
use nearlight_protocol::app::GpuClass;
use nearlight_protocol::control::Inventory;
use nearlight_protocol::id::{NodeId, SessionId, SlotId};
use nearlight_protocol::limits::CONTROL_OUTBOX_MAX;
use nearlight_protocol::unit::MonoTime;
use nearlight_session::{Claim, Epoch};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// How long a slot is left alone after its node refused an order for it.
const COOLING_MS: u64 = 5_000;

/// All nodes.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    nodes: BTreeMap<NodeId, FleetNode>,
    snapshot: FleetSnapshot,
    positions: HashMap<NodeId, usize>,
}

/// One node.
#[derive(Debug)]
pub(crate) struct FleetNode {
    pub(crate) row: NodeRow,
    pub(crate) link: Link,
    pub(crate) draining: bool,
    /// Orders without an ack, by number.
    pub(crate) outbox: BTreeMap<u64, OutboxRow>,
    cooling: HashMap<SlotId, MonoTime>,
}

/// The way to a node.
#[derive(Clone, Debug)]
pub(crate) enum Link {
    /// None.
    Offline,
    /// A stream that has not said yet what it runs.
    Attaching(Arc<Stream>),
    /// A stream that takes orders.
    Online(Arc<Stream>),
}

impl Link {
    pub(crate) fn stream(&self) -> Option<&Arc<Stream>> {
        match self {
            Self::Offline => None,
            Self::Attaching(stream) | Self::Online(stream) => Some(stream),
        }
    }
}

impl Fleet {
    pub(crate) fn snapshot(&self) -> &FleetSnapshot {
        &self.snapshot
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
        match self.nodes.get_mut(&id) {
            Some(node) => node.row = row,
            None => {
                let node = FleetNode {
                    row,
                    link: Link::Offline,
                    draining: false,
                    outbox: BTreeMap::new(),
                    cooling: HashMap::new(),
                };
                self.nodes.insert(id.clone(), node);
            }
        }
        self.refresh(&id, now);
    }

    /// Changes a node and brings its view up to date.
    pub(crate) fn change<T>(
        &mut self,
        node: &NodeId,
        now: MonoTime,
        with: impl FnOnce(&mut FleetNode) -> T,
    ) -> Option<T> {
        let changed = with(self.nodes.get_mut(node)?);
        self.refresh(node, now);
        Some(changed)
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
            let slot = node.row.slots.get_mut(&claim.slot)?;
            slot.epoch = claim.epoch;
            let encoder = node.row.inventory.encode_cpu_milli;
            let held = HeldBy {
                session: session.clone(),
                cpu_milli: request.cpu_milli.saturating_add(encoder),
                mem_mib: request.mem_mib,
                kbps: request.kbps,
            };
            slot.held_by = Some(held.clone());
            let rev = node.row.capacity.rev;
            node.recount();
            Some((held, rev))
        })?
    }

    /// Gives a claim back.
    pub(crate) fn release(&mut self, claim: &Claim, session: &SessionId, now: MonoTime) {
        self.change(&claim.node, now, |node| {
            if let Some(slot) = node.row.slots.get_mut(&claim.slot)
                && slot.epoch == claim.epoch
                && slot.held_by.take().is_some()
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
        self.change(&claim.node, now, |node| {
            node.cooling
                .insert(claim.slot.clone(), now.plus_millis(COOLING_MS));
        });
    }

    /// Takes slots back that have cooled. Returns whether there were any.
    pub(crate) fn thaw(&mut self, now: MonoTime) -> bool {
        let due: Vec<NodeId> = self
            .nodes
            .values()
            .filter(|node| node.cooling.values().any(|until| *until <= now))
            .map(|node| node.row.id.clone())
            .collect();
        for id in &due {
            self.change(id, now, |node| node.cooling.retain(|_, until| *until > now));
        }
        !due.is_empty()
    }

    /// The epoch of the slot's next claim.
    pub(crate) fn next_epoch(&self, node: &NodeId, slot: &SlotId) -> Option<Epoch> {
        self.nodes.get(node)?.row.slots.get(slot)?.epoch.next()
    }

    /// The sessions that hold a slot of the node.
    pub(crate) fn holders(&self, node: &NodeId) -> Vec<SessionId> {
        let Some(node) = self.nodes.get(node) else {
            return Vec::new();
        };
        let held = node.row.slots.values().filter_map(|s| s.held_by.as_ref());
        held.map(|held| held.session.clone()).collect()
    }

    /// The nodes as everyone may see them.
    pub(crate) fn public(&self) -> Vec<Node> {
        self.nodes.values().map(FleetNode::public).collect()
    }

    fn refresh(&mut self, id: &NodeId, now: MonoTime) {
        let Some(node) = self.nodes.get(id) else {
            return;
        };
        let view = node.view(now);
        match self.positions.get(id) {
            Some(at) => self.snapshot.nodes[*at] = view,
            None => {
                self.positions.insert(id.clone(), self.snapshot.nodes.len());
                self.snapshot.nodes.push(view);
            }
        }
        self.snapshot.revision += 1;
    }
}

impl OutboxRow {
    pub(crate) fn is_start(&self) -> bool {
        match self.order {
            nearlight_protocol::control::Order::Start(_) => true,
            nearlight_protocol::control::Order::Stop { .. } => false,
        }
    }
}

impl FleetNode {
    /// What no claim holds, by the rule of the ledger's own recount.
    fn recount(&mut self) {
        let held = self.row.slots.values().filter_map(|s| s.held_by.as_ref());
        let (cpu, mem, kbps) = held.fold((0_u32, 0_u32, 0_u32), |(cpu, mem, kbps), held| {
            (
                cpu.saturating_add(held.cpu_milli),
                mem.saturating_add(held.mem_mib),
                kbps.saturating_add(held.kbps),
            )
        });
        let uplink = self.row.inventory.uplink_kbps;
        self.row.capacity = Capacity {
            cpu_milli_free: self.row.inventory.cpu_milli.saturating_sub(cpu),
            mem_mib_free: self.row.inventory.mem_mib.saturating_sub(mem),
            uplink_kbps_free: uplink.map(|total| total.saturating_sub(kbps)),
            rev: self.row.capacity.rev + 1,
        };
    }

    fn free_slots(&self, now: MonoTime) -> Vec<SlotId> {
        let cooling = |id: &SlotId| self.cooling.get(id).is_some_and(|until| *until > now);
        let slots = self.row.slots.iter();
        slots
            .filter(|(id, slot)| {
                slot.listed
                    && slot.held_by.is_none()
                    && !cooling(id)
                    && !journal_ahead(&self.row.inventory, id, slot.epoch)
            })
            .map(|(id, _)| id.clone())
            .collect()
    }

    fn slots_total(&self) -> u32 {
        let listed = self.row.slots.values().filter(|s| s.listed).count();
        u32::try_from(listed).unwrap_or(u32::MAX)
    }

    fn view(&self, now: MonoTime) -> NodeView {
        let inventory = &self.row.inventory;
        NodeView {
            id: self.row.id.clone(),
            attached: matches!(self.link, Link::Online(_)),
            draining: self.draining,
            outbox_full: self.outbox.len() >= CONTROL_OUTBOX_MAX,
            gpu: inventory.gpu,
            encodes: !inventory.encoders.is_empty(),
            slots_total: self.slots_total(),
            slots_free: self.free_slots(now),
            cpu_milli_free: self.row.capacity.cpu_milli_free,
            cpu_milli_total: inventory.cpu_milli,
            encode_cpu_milli: inventory.encode_cpu_milli,
            mem_mib_free: self.row.capacity.mem_mib_free,
            mem_mib_total: inventory.mem_mib,
            uplink_kbps_free: self.row.capacity.uplink_kbps_free,
            uplink_kbps_total: inventory.uplink_kbps,
            images: inventory.images.iter().cloned().collect(),
        }
    }

    fn public(&self) -> Node {
        let inventory = &self.row.inventory;
        let free = self.row.slots.values();
        let free = free.filter(|s| s.listed && s.held_by.is_none()).count();
        Node {
            id: self.row.id.clone(),
            name: self.row.name.clone(),
            region: self.row.region.clone(),
            status: match (&self.link, self.draining) {
                (Link::Online(_), false) => NodeStatus::Online,
                (Link::Online(_), true) => NodeStatus::Draining,
                (Link::Offline | Link::Attaching(_), _) => NodeStatus::Offline,
            },
            slots_total: self.slots_total(),
            slots_free: u32::try_from(free).unwrap_or(u32::MAX),
            gpu: inventory.gpu,
            gpu_models: inventory.gpu_models.clone(),
            encoders: inventory.encoders.clone(),
            runtime: inventory.runtime.clone(),
            build: self.row.build.clone(),
            uplink_kbps: inventory.uplink_kbps,
        }
    }
}

/// Whether the node's journal is ahead of the ledger: every grant for the slot would be refused.
/// Only a grant of our own raises the ledger's epoch, so a node that lies strands its own slot.
fn journal_ahead(inventory: &Inventory, slot: &SlotId, epoch: Epoch) -> bool {
    let listed = inventory.slots.iter().find(|s| s.id == *slot);
    listed.is_some_and(|listed| Epoch::from(listed.epoch) > epoch)
}

/// An empty inventory, for a node that has not said yet what it has.
pub(crate) fn nothing() -> Inventory {
    Inventory {
        slots: Vec::new(),
        cpu_milli: 0,
        mem_mib: 0,
        encode_cpu_milli: 0,
        gpu: GpuClass::None,
        gpu_models: Vec::new(),
        encoders: Vec::new(),
        runtime: String::new(),
        images: Vec::new(),
        uplink_kbps: None,
    }
}
