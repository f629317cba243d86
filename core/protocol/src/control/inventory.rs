//! What a node has, and how it fares.

use super::newer;
use super::{ImageFault, WarmReady, is_false, is_zero};
use crate::app::GpuClass;
use crate::endpoint::DirectSite;
use crate::gpu::GpuSeen;
use crate::id::{SessionId, SlotId};
use crate::job::ContainerRuntime;
use crate::unit::U64;
use crate::volume::VolumeHeld;
use serde::{Deserialize, Serialize};

/// What a node has. Claims, until a receipt backs them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// Slots: each is capacity for one session.
    pub slots: Vec<Slot>,
    /// CPU that sessions may use, thousandths of a core.
    pub cpu_milli: u32,
    /// Memory that sessions may use, MiB.
    pub mem_mib: u32,
    /// CPU that each session takes beside its app's, for desktop and encoder, thousandths of a core.
    #[serde(default)]
    pub encode_cpu_milli: u32,
    /// The best GPU class; of one that is not known, none.
    #[serde(deserialize_with = "newer::or_least")]
    pub gpu: GpuClass,
    /// GPU models.
    pub gpu_models: Vec<String>,
    /// Memory of the largest GPU that apps get, MiB; 0 where there is none, or nobody knows.
    #[serde(default, skip_serializing_if = "is_none_of_it")]
    pub vram_mib: u32,
    /// Encoders that encoded a frame when they were probed, best first.
    pub encoders: Vec<String>,
    /// `docker` or `sandbox`.
    pub runtime: String,
    /// Images that are present, as their references.
    pub images: Vec<String>,
    /// Images that the broker wants to be here and that could not be fetched.
    #[serde(default)]
    pub image_faults: Vec<ImageFault>,
    /// Why it can start nothing at the moment, such as a disk that is full; empty if it can.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fault: String,
    /// Desktops that are ready before anybody has asked for a session.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warm: Vec<WarmReady>,
    /// What the node's uplink carries for sessions, kbit/s: configured or measured, or `None`
    /// while unknown.
    #[serde(default)]
    pub uplink_kbps: Option<u32>,
    /// What it offers to jobs; `None` from one that takes none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jobs: Option<JobHost>,
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for a reference"
)]
const fn is_none_of_it(value: &u32) -> bool {
    *value == 0
}

/// What a node offers to jobs, beside its CPU and memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobHost {
    /// The OCI runtimes that its engine has, as far as they are known.
    #[serde(deserialize_with = "newer::those_known")]
    pub runtimes: Vec<ContainerRuntime>,
    /// Disk that it can hold containers to, MiB; 0 where it cannot enforce any.
    #[serde(default)]
    pub disk_mib: u32,
    /// Its GPUs, MIG slices one by one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<Gpu>,
    /// Whether it gives a job the very GPUs that its grant names. Agents before that gave none.
    #[serde(default, skip_serializing_if = "is_false")]
    pub gives_gpus: bool,
    /// The assets that are here, by [`crate::volume::asset_name`]; at most
    /// [`crate::limits::ASSETS_LISTED_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assets: Vec<String>,
    /// Its container engine, as that calls itself. Nodes with one engine are one site: the replicas of a
    /// cluster have a network there. Empty from a node that takes no replicas.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub engine: String,
    /// Its volumes, all of them; `None` from one that keeps none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volumes: Option<Vec<VolumeHeld>>,
    /// Where its jobs are reached without a broker in between, if anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direct: Option<DirectSite>,
    /// Days for which it keeps the log of a job that is over; 0 from one that keeps none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub log_days: u32,
}

/// A GPU, or a MIG slice of one, that a job can have for itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gpu {
    /// Its UUID as NVML has it, `GPU-...` or `MIG-...`.
    pub uuid: String,
    /// Its model as NVML has it.
    pub model: String,
    /// Its memory, MiB.
    pub vram_mib: u32,
    /// Its CUDA compute capability, times ten: 90 for 9.0; 0 where unknown.
    #[serde(default)]
    pub compute_capability: u32,
    /// Why it takes nothing: ECC faults, a fatal XID, fallen off the bus. Empty if it is well.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sick: String,
    /// Whether it encodes video beside what it computes; `None` from an agent that does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encodes: Option<bool>,
    /// Of a MIG slice: the UUID of the GPU that it is a part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slice_of: Option<String>,
    /// How much memory receipts stand for, MiB; `None` where none says anything of it. Between brokers alone: what a
    /// node says here of itself is taken off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proved_mib: Option<u32>,
}

/// Capacity for one session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// Its id, made by the edge and kept in its data directory.
    pub id: SlotId,
    /// The highest epoch that the edge's journal has for it.
    pub epoch: U64,
}

/// A session that an edge still runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningSession {
    /// Which.
    pub session: SessionId,
    /// The grant it was started with: an EdDSA JWT of [`crate::grant::Grant`].
    pub grant: String,
    /// Whether a viewer is attached.
    pub attached: bool,
    /// Whether it has shown a picture.
    pub ready: bool,
}

/// Still here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// CPU in use by everything, thousandths of a core.
    pub cpu_milli_used: u32,
    /// Memory available, MiB.
    pub mem_mib_available: u32,
    /// Round trips between node and player, now and then: of sessions that are being played, at most
    /// [`crate::limits::HEARTBEAT_RTTS_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rtts: Vec<SessionRtt>,
    /// What was read of the GPUs for jobs, now and then: at most [`crate::limits::NODE_GPUS_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<GpuSeen>,
}

/// The round trip of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRtt {
    /// The session.
    pub session: SessionId,
    /// Milliseconds, as the stream's own packets show it, without what waits in queues.
    pub ms: u32,
}
