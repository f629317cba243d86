//! Nodes: what they are, and how they come and go.

use crate::app::GpuClass;
use crate::control::ImageFault;
use crate::gpu::GpuReading;
use crate::id::{NodeId, SessionId};
use crate::unit::UnixMillis;
use serde::{Deserialize, Serialize};

/// One node as everyone may see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema)]
pub struct Node {
    /// Its id.
    #[schema(value_type = String)]
    pub id: NodeId,
    /// Its name for people.
    pub name: String,
    /// Where it is, as its operator says.
    pub region: String,
    /// Whether its control stream is up, and whether it takes sessions.
    pub status: NodeStatus,
    /// Slots in all.
    pub slots_total: u32,
    /// Slots free now.
    pub slots_free: u32,
    /// When what it runs ends, if its operator takes the capacity back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(skip)]
    pub reclaim_at: Option<UnixMillis>,
    /// What it has.
    pub gpu: GpuClass,
    /// GPU models, as it claims.
    pub gpu_models: Vec<String>,
    /// Video encoders that worked when they were probed, best first, such as `x264enc`.
    pub encoders: Vec<String>,
    /// How it runs apps: `docker` or `sandbox`.
    pub runtime: String,
    /// The build it runs.
    pub build: String,
    /// What its uplink carries for sessions, kbit/s, as it is configured or measured.
    pub uplink_kbps: Option<u32>,
    /// Whether the operator of this network has vetted it: jobs go to such nodes, unless they say
    /// otherwise.
    #[serde(default)]
    #[ts(skip)]
    pub vetted: bool,
    /// Images that it was to fetch ahead of sessions and could not. Only operators and administrators
    /// see it.
    #[serde(default)]
    pub image_faults: Vec<ImageFault>,
    /// Why it can start nothing at the moment; empty if it can. Only operators and administrators see it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[ts(skip)]
    pub fault: String,
    /// The GPUs that it gives to jobs. Only operators and administrators see them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[ts(skip)]
    pub gpus: Vec<NodeGpu>,
    /// The key that it signs receipts with, 64 hex digits; receipts name it by `receipt_key_id`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[ts(skip)]
    pub receipt_key: String,
    /// SHA-256 of that key: what `GET /v1/receipts?node=` takes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[ts(skip)]
    pub receipt_key_id: String,
    /// Who runs it, as the directory of keys has it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[ts(skip)]
    pub operator: String,
}

/// A GPU of a node, or a MIG slice of one, that jobs have for themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NodeGpu {
    /// Its UUID as NVML has it.
    pub uuid: String,
    /// Its model as NVML has it.
    pub model: String,
    /// Its memory, MiB.
    pub vram_mib: u32,
    /// Whether a job has it.
    pub taken: bool,
    /// Why it takes no further job; empty if it is well.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sick: String,
    /// Its CUDA compute capability, times ten: 90 for 9.0; absent where it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute_capability: Option<u32>,
    /// Whether it encodes video beside what it computes; absent where its node does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encodes: Option<bool>,
    /// Of a MIG slice: the UUID of the GPU that it is a part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slice_of: Option<String>,
    /// The session that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub session: Option<SessionId>,
    /// What its node read of it last; in the answer for one node alone, while it is attached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reading: Option<GpuReading>,
    /// When that was told: a node tells it once a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_at: Option<UnixMillis>,
}

/// Whether a node can be used.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum NodeStatus {
    /// Attached, takes sessions.
    Online,
    /// Attached, takes no new sessions.
    Draining,
    /// Not attached.
    Offline,
    /// Shut out for good. Only administrators see it.
    Revoked,
}

/// `POST /v1/nodes/{node}/drain`: what becomes of what it runs. Without a body, or with an empty one, that
/// goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DrainNode {
    /// Seconds until the sessions that it runs end as `preempted`, 1 to
    /// [`crate::limits::RECLAIM_S_MAX`]; their owners are told now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reclaim_s: Option<u32>,
    /// Why, for owners of jobs and the audit log; at most [`crate::limits::RECLAIM_REASON_BYTES_MAX`] bytes.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// `POST /v1/join-tokens`: a new node may come in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CreateJoinToken {
    /// Seconds for which the token works, 1 to [`crate::limits::JOIN_TOKEN_S_MAX`]; a quarter of an
    /// hour if it is not given.
    pub expires_s: Option<u32>,
    /// The node's name for people, at most [`crate::limits::NODE_NAME_BYTES_MAX`] bytes; the node's
    /// own if it is empty.
    pub name: String,
    /// Its region; the node's own if it is empty.
    pub region: String,
    /// Who runs it, at most [`crate::limits::OPERATOR_BYTES_MAX`] bytes; who runs the network if it is empty. No
    /// checker of theirs checks it.
    pub operator: String,
}

/// A join token that was just made. It is told this once: the broker keeps only a hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NewJoinToken {
    /// For `nearlight node join --token`. It works once.
    pub token: String,
    /// It is void from then on.
    pub expires_unix_ms: UnixMillis,
    /// Where the node will dial.
    pub addresses: Vec<String>,
}

/// `GET /v1/nodes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema)]
pub struct NodeList {
    /// All nodes.
    pub nodes: Vec<Node>,
}
