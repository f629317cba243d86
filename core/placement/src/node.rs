//! What placement is told of a node.

use crate::price::WHOLE;
use nearlight_protocol::app::GpuClass;
use nearlight_protocol::control::JobHost;
use nearlight_protocol::id::NodeId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// One node at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeView {
    /// Its id.
    pub id: NodeId,
    /// Its metro: all nodes of one region share an estimated round trip.
    pub region: String,
    /// Who runs it; empty for who runs the network.
    pub operator: String,
    /// How far it is trusted.
    pub trust: Trust,
    /// How it runs apps.
    pub runtime: String,
    /// Its best GPU class.
    pub gpu: GpuClass,
    /// VRAM that one session may have, MiB; 0 where there is none or nobody knows.
    pub vram_mib: u32,
    /// How much of it receipts stand for, MiB; `None` where none says anything of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vram_mib_proved: Option<u32>,
    /// Whether any video encoder works.
    pub encodes: bool,
    /// Slots in all.
    pub slots_total: u32,
    /// CPU that sessions may use in all, thousandths of a core.
    pub cpu_milli_total: u32,
    /// CPU that a session takes here beside what its app needs, thousandths of a core.
    pub encode_cpu_milli: u32,
    /// Memory that sessions may use in all, MiB.
    pub mem_mib_total: u32,
    /// Uplink in all, kbit/s; `None` while nobody knows what it carries.
    pub uplink_kbps_total: Option<u32>,
    /// The share of the rate card's prices that a session costs here, thousandths. Who does not say asks for all
    /// of them.
    #[serde(default = "the_cards")]
    pub price_permille: u32,
    /// Images and assets that are present.
    pub images: BTreeSet<String>,
    /// What it offers to jobs; `None` from one that takes none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jobs: Option<JobHost>,
    /// Apps for which a desktop is ready.
    #[serde(default)]
    pub desktops: BTreeSet<String>,
    /// What changes from moment to moment.
    pub state: NodeState,
}

impl NodeView {
    /// VRAM that a session may be placed on, MiB.
    pub fn vram_mib_to_place(&self) -> u32 {
        self.vram_mib_proved
            .map_or(self.vram_mib, |proved| proved.min(self.vram_mib))
    }
}

const fn the_cards() -> u32 {
    WHOLE
}

/// What changes of a node with every claim and heartbeat.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeState {
    /// Whether its control stream is up and its sessions are known.
    pub attached: bool,
    /// Whether it takes no more sessions.
    pub draining: bool,
    /// Whether its outbox is full: it does not answer.
    pub outbox_full: bool,
    /// Sessions that hold a claim on it.
    pub sessions: u32,
    /// Slots that no live claim holds and that were not refused a moment ago.
    pub slots_free: u32,
    /// CPU that no claim holds, thousandths of a core.
    pub cpu_milli_free: u32,
    /// Memory that no claim holds, MiB.
    pub mem_mib_free: u32,
    /// Uplink that no claim holds, kbit/s; `None` while nobody knows what it carries.
    pub uplink_kbps_free: Option<u32>,
    /// Disk for jobs that no claim holds, MiB.
    #[serde(default)]
    pub disk_mib_free: u32,
    /// Whether a job has any of its GPUs: all that brokers knew before these were claimed one by one.
    #[serde(default)]
    pub gpus_taken: bool,
    /// Which of its GPUs jobs have, a bit each in the order of [`JobHost::gpus`]. None, though some are
    /// taken: nobody said which, and so all are.
    #[serde(default)]
    pub gpus_held: u64,
    /// Its rank by receipts, thousandths: 0 while none says that it passed. `None` where nobody checks
    /// nodes, which neither helps nor harms it.
    #[serde(default)]
    pub rank: Option<u32>,
    /// Whether it failed its checks so often that it takes no more sessions until it passes one.
    #[serde(default)]
    pub failing: bool,
}

impl NodeState {
    /// The GPUs that no job has, a bit each.
    pub const fn gpus_free(&self) -> u64 {
        match (self.gpus_taken, self.gpus_held) {
            (true, 0) => 0,
            (_, held) => !held,
        }
    }
}

/// How far a node is trusted. A session may ask for a class or better.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum Trust {
    /// Anybody's machine.
    #[default]
    Open,
    /// A known operator's machine.
    Known,
    /// A machine of whoever runs the broker.
    Own,
}
