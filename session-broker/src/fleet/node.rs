//! One node of the fleet, and how placement and people see it.

use crate::control::Stream;
use crate::ledger::{Capacity, Decided, HeldBy, NodeRow, OutboxRow, Standing};
use crate::time::unix_ms;
use crate::verdicts::{Proven, Scored};
use nearlight_placement::{NodeState, NodeView, Trust};
use nearlight_protocol::api::{Node, NodeStatus};
use nearlight_protocol::app::GpuClass;
use nearlight_protocol::control::{Inventory, JobHost, Order};
use nearlight_protocol::id::SlotId;
use nearlight_protocol::limits::CONTROL_OUTBOX_MAX;
use nearlight_protocol::unit::MonoTime;
use nearlight_session::Epoch;
use nearlight_session::bill::ByScore;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// One node.
#[derive(Debug)]
pub(crate) struct FleetNode {
    pub(crate) row: NodeRow,
    pub(crate) link: Link,
    /// Until when what it runs is known from itself: the last it said after it had said what it runs.
    pub(crate) heard_at: MonoTime,
    /// Whether the node says that it drains.
    pub(crate) draining: bool,
    /// What was decided about it.
    pub(super) decided: Decided,
    /// What its receipts come to.
    pub(super) proven: Proven,
    /// How prices follow scores by the rate card in force.
    pub(super) by_score: Option<ByScore>,
    /// Orders without an ack, by number.
    pub(crate) outbox: BTreeMap<u64, OutboxRow>,
    /// Whether it runs more that is to be stopped than the outbox takes.
    pub(crate) overflows: bool,
    /// Slots that are left alone, and until when.
    cooling: HashMap<SlotId, MonoTime>,
    /// The same of GPUs, by UUID.
    pub(super) cooling_gpus: HashMap<String, MonoTime>,
    /// The epochs of the node's own journal, from its inventory.
    journal: HashMap<SlotId, Epoch>,
    /// As placement was told last.
    state: NodeState,
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

impl OutboxRow {
    pub(crate) fn is_start(&self) -> bool {
        match self.order {
            Order::Start(_) => true,
            Order::Stop { .. } => false,
        }
    }
}

impl FleetNode {
    /// A node that nobody has heard of since the broker started.
    pub(super) fn new(row: NodeRow, now: MonoTime) -> Self {
        let node = Self {
            row: row.clone(),
            link: Link::Offline,
            heard_at: row.heard_at,
            draining: false,
            decided: Decided::default(),
            proven: Proven::default(),
            by_score: None,
            outbox: BTreeMap::new(),
            overflows: false,
            cooling: HashMap::new(),
            cooling_gpus: HashMap::new(),
            journal: HashMap::new(),
            state: NodeState::default(),
        };
        node.with_row(row, now)
    }

    /// The same node as the ledger has it.
    pub(super) fn with_row(self, row: NodeRow, now: MonoTime) -> Self {
        let slots = row.inventory.slots.iter();
        let journal = slots.map(|slot| (slot.id.clone(), Epoch::from(slot.epoch)));
        let mut node = Self {
            journal: journal.collect(),
            heard_at: self.heard_at.max(row.heard_at),
            row,
            ..self
        };
        node.refresh(now);
        node
    }

    /// What placement is to be told, if it differs from what it was told last.
    pub(super) fn refresh(&mut self, now: MonoTime) -> Option<&NodeState> {
        let state = self.state_at(now);
        if state == self.state {
            return None;
        }
        self.state = state;
        Some(&self.state)
    }

    /// What no claim holds, by the rule of the ledger's own recount.
    pub(super) fn recount(&mut self) {
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

    /// Leaves a slot alone until then, and the GPUs that its claim names: what keeps one from being given is often
    /// there a while longer.
    pub(super) fn cool(&mut self, slot: &SlotId, until: MonoTime) {
        self.cooling.insert(slot.clone(), until);
        let held = self.row.slots.get(slot).and_then(|s| s.held_by.as_ref());
        let gpus = held.map_or(&[][..], |held| &held.gpu_uuids);
        let cooled = gpus.iter().map(|gpu| (gpu.clone(), until));
        self.cooling_gpus.extend(cooled);
    }

    /// Takes slots back that have cooled. Returns whether there will be more.
    pub(super) fn thaw(&mut self, now: MonoTime) -> bool {
        self.cooling.retain(|_, until| *until > now);
        self.cooling_gpus.retain(|_, until| *until > now);
        !(self.cooling.is_empty() && self.cooling_gpus.is_empty())
    }

    /// Slots that can be claimed, with their last epoch.
    pub(super) fn free_slots(&self, now: MonoTime) -> impl Iterator<Item = (&SlotId, Epoch)> {
        let cooling = move |id: &SlotId| self.cooling.get(id).is_some_and(|until| *until > now);
        // Every grant for a slot would be refused while the node's journal is ahead of the ledger.
        // Only a grant of our own raises the ledger's epoch: a node that lies strands its own slot.
        let ahead = |id: &SlotId, epoch| self.journal.get(id).is_some_and(|own| *own > epoch);
        let slots = self.row.slots.iter().filter(move |(id, slot)| {
            slot.listed && slot.held_by.is_none() && !cooling(id) && !ahead(id, slot.epoch)
        });
        slots.map(|(id, slot)| (id, slot.epoch))
    }

    fn state_at(&self, now: MonoTime) -> NodeState {
        let held = self.row.slots.values().filter(|s| s.held_by.is_some());
        NodeState {
            attached: matches!(self.link, Link::Online(_)),
            draining: self.takes_none() || self.decided.standing != Standing::Active,
            outbox_full: self.outbox.len() >= CONTROL_OUTBOX_MAX,
            sessions: count(held),
            slots_free: count(self.free_slots(now)),
            cpu_milli_free: self.row.capacity.cpu_milli_free,
            mem_mib_free: self.row.capacity.mem_mib_free,
            uplink_kbps_free: self.row.capacity.uplink_kbps_free,
            disk_mib_free: self.disk_mib_free(),
            gpus_taken: self.claims().any(|held| held.gpus > 0),
            gpus_held: self.gpus_held(now),
            rank: self.proven.rank,
            failing: self.proven.failing,
        }
    }

    /// Who runs it; empty for who runs the network.
    pub(crate) fn operator(&self) -> &str {
        &self.decided.operator
    }

    /// The share of the rate card's prices that a claim on it costs, thousandths.
    pub(super) fn price_permille(&self) -> u32 {
        let score = self.proven.score.map(|score| score.permille);
        self.by_score.map_or(1000, |by| by.permille(score))
    }

    /// What it was measured to do.
    pub(crate) const fn score(&self) -> Option<Scored> {
        self.proven.score
    }

    /// Whether the node says that it starts nothing.
    fn takes_none(&self) -> bool {
        self.draining || !self.row.inventory.fault.is_empty()
    }

    pub(crate) fn claims(&self) -> impl Iterator<Item = &HeldBy> {
        self.row.slots.values().filter_map(|s| s.held_by.as_ref())
    }

    /// Disk for jobs that no claim and no volume holds.
    fn disk_mib_free(&self) -> u32 {
        let total = self.row.inventory.jobs.as_ref();
        let total = total.map_or(0, |jobs| jobs.disk_mib);
        let held = self.claims().map(|held| held.disk_mib);
        let volumes = u32::try_from(self.row.volumes_mib).unwrap_or(u32::MAX);
        held.chain([volumes]).fold(total, u32::saturating_sub)
    }

    /// As placement was told last.
    pub(super) fn state(&self) -> &NodeState {
        &self.state
    }

    /// All of it as placement sees it.
    pub(crate) fn view(&self) -> NodeView {
        let inventory = &self.row.inventory;
        let assets = inventory.jobs.iter().flat_map(|jobs| &jobs.assets);
        let ready = inventory.warm.iter().filter(|warm| warm.count > 0);
        NodeView {
            id: self.row.id.clone(),
            region: self.row.region.clone(),
            operator: self.decided.operator.clone(),
            trust: match self.decided.vetted {
                true => Trust::Known,
                false => Trust::Open,
            },
            runtime: inventory.runtime.clone(),
            gpu: inventory.gpu,
            vram_mib: inventory.vram_mib,
            vram_mib_proved: self.vram_mib_proved(),
            encodes: !inventory.encoders.is_empty(),
            slots_total: self.slots_total(),
            cpu_milli_total: inventory.cpu_milli,
            encode_cpu_milli: inventory.encode_cpu_milli,
            mem_mib_total: inventory.mem_mib,
            uplink_kbps_total: inventory.uplink_kbps,
            price_permille: self.price_permille(),
            images: inventory.images.iter().chain(assets).cloned().collect(),
            jobs: inventory
                .jobs
                .as_ref()
                .map(|jobs| self.without_assets(jobs)),
            desktops: ready.map(|warm| warm.app.to_string()).collect(),
            state: self.state.clone(),
        }
    }

    /// What placement looks at. Assets are among the images, and where volumes are the ledger says.
    fn without_assets(&self, jobs: &JobHost) -> JobHost {
        JobHost {
            runtimes: jobs.runtimes.clone(),
            disk_mib: jobs.disk_mib,
            gpus: self.gpus_proved(),
            gives_gpus: jobs.gives_gpus,
            assets: Vec::new(),
            engine: jobs.engine.clone(),
            volumes: jobs.volumes.as_ref().map(|_| Vec::new()),
            direct: jobs.direct.clone(),
            log_days: jobs.log_days,
        }
    }

    fn status(&self) -> NodeStatus {
        match (self.decided.standing, &self.link) {
            (Standing::Revoked, _) => NodeStatus::Revoked,
            (Standing::Active | Standing::Drained, Link::Offline | Link::Attaching(_)) => {
                NodeStatus::Offline
            }
            (Standing::Drained, Link::Online(_)) => NodeStatus::Draining,
            (Standing::Active, Link::Online(_)) if self.takes_none() => NodeStatus::Draining,
            (Standing::Active, Link::Online(_)) => NodeStatus::Online,
        }
    }

    /// As everyone may see it.
    pub(super) fn public(&self) -> Node {
        let inventory = &self.row.inventory;
        let free = self.row.slots.values();
        Node {
            id: self.row.id.clone(),
            name: self.row.name.clone(),
            region: self.row.region.clone(),
            status: self.status(),
            slots_total: self.slots_total(),
            slots_free: count(free.filter(|s| s.listed && s.held_by.is_none())),
            gpu: inventory.gpu,
            gpu_models: inventory.gpu_models.clone(),
            encoders: inventory.encoders.clone(),
            runtime: inventory.runtime.clone(),
            build: self.row.build.clone(),
            uplink_kbps: inventory.uplink_kbps,
            vetted: self.decided.vetted,
            reclaim_at: self.decided.reclaim.as_ref().map(|of| unix_ms(of.until)),
            image_faults: inventory.image_faults.clone(),
            fault: inventory.fault.clone(),
            gpus: self.public_gpus(),
            // Told by [`crate::node_keys`].
            receipt_key: String::new(),
            receipt_key_id: String::new(),
            operator: String::new(),
        }
    }

    fn slots_total(&self) -> u32 {
        count(self.row.slots.values().filter(|s| s.listed))
    }
}

fn count(these: impl Iterator) -> u32 {
    u32::try_from(these.count()).unwrap_or(u32::MAX)
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
        vram_mib: 0,
        encoders: Vec::new(),
        runtime: String::new(),
        images: Vec::new(),
        image_faults: Vec::new(),
        fault: String::new(),
        warm: Vec::new(),
        uplink_kbps: None,
        jobs: None,
    }
}
