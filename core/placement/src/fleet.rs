//! What placement is told.

use nearlight_protocol::app::GpuClass;
use nearlight_protocol::id::{NodeId, SlotId};
use std::collections::BTreeSet;

/// All nodes at one moment.
#[derive(Clone, Debug, Default)]
pub struct FleetSnapshot {
    /// Rises with every change.
    pub revision: u64,
    /// The nodes, in any order.
    pub nodes: Vec<NodeView>,
}

/// One node at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeView {
    /// Its id.
    pub id: NodeId,
    /// Whether its control stream is up and its sessions are known.
    pub attached: bool,
    /// Whether it takes no more sessions.
    pub draining: bool,
    /// Whether its outbox is full: it does not answer.
    pub outbox_full: bool,
    /// Its best GPU class.
    pub gpu: GpuClass,
    /// Whether any video encoder works.
    pub encodes: bool,
    /// Slots in all.
    pub slots_total: u32,
    /// Slots that no live claim holds and that were not refused a moment ago.
    pub slots_free: Vec<SlotId>,
    /// CPU that no claim holds, thousandths of a core.
    pub cpu_milli_free: u32,
    /// CPU that sessions may use in all.
    pub cpu_milli_total: u32,
    /// CPU that a session takes here beside what its app needs, thousandths of a core.
    pub encode_cpu_milli: u32,
    /// Memory that no claim holds, MiB.
    pub mem_mib_free: u32,
    /// Memory that sessions may use in all.
    pub mem_mib_total: u32,
    /// Uplink that no claim holds, kbit/s; `None` while nobody knows what it carries.
    pub uplink_kbps_free: Option<u32>,
    /// Uplink in all, kbit/s.
    pub uplink_kbps_total: Option<u32>,
    /// Images that are present.
    pub images: BTreeSet<String>,
}

impl NodeView {
    /// CPU that `request` takes here: its app's, and its encoder's.
    pub fn cpu_milli_for(&self, request: &SessionRequest) -> u32 {
        request.cpu_milli.saturating_add(self.encode_cpu_milli)
    }
}

/// What a session needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRequest {
    /// Thousandths of a core.
    pub cpu_milli: u32,
    /// MiB.
    pub mem_mib: u32,
    /// Uplink, kbit/s.
    pub kbps: u32,
    /// GPU class, or better.
    pub gpu: GpuClass,
    /// The image it runs.
    pub image: String,
}

/// How to choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Among how many of the best to pick at random: more spreads better when many brokers decide
    /// at once on the same snapshot, fewer sticks closer to the ranking.
    pub best_few: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self { best_few: 3 }
    }
}
