//! `GET /v1/sessions/{id}/placement`: why a session runs where it does, or why it waits.

use crate::id::NodeId;
use crate::region::RttFrom;
use serde::{Deserialize, Serialize};

/// What came of the last attempt to place a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Placement {
    /// No node was looked for yet, or by a broker that has started again since.
    Unknown,
    /// It waits: no node can run it now.
    Waits {
        /// Nodes of the whole fleet by the first reason that rules each out, in the order of the
        /// checks: the last one is of those that came closest.
        excluded: Vec<Excluded>,
        /// The latency step in force.
        step: Option<LatencyStep>,
        /// Of a cluster: how many places of one site are too few.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cluster: Option<ClusterLack>,
        /// What ties it to one node, such as a volume, and why that node cannot run it now; or, where no node
        /// will ever run it, what the nearest one has and what is asked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
    },
    /// It has, or had, a slot on a node.
    Placed {
        /// The node.
        #[schema(value_type = String)]
        node: NodeId,
        /// The estimated round trip between player and node, milliseconds; null while nobody knows
        /// it.
        rtt_ms: Option<u32>,
        /// Where that comes from.
        #[serde(default)]
        rtt_from: Option<RttFrom>,
        /// Whether the player had chosen the region: latency steps do not hold then.
        #[serde(default)]
        chosen: bool,
        /// What the node was ranked by.
        points: Points,
        /// How long it had waited, milliseconds.
        waited_ms: u32,
        /// The latency step that was in force.
        step: Option<LatencyStep>,
    },
}

/// What a cluster lacks: its replicas are placed together at one site, or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ClusterLack {
    /// How many replicas it has.
    pub replicas: u32,
    /// How many of them the best site has room for.
    pub best: u32,
    /// How many the best site would have room for if nothing ran there. Fewer than its replicas: it is placed
    /// nowhere, however long it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most: Option<u32>,
}

/// Nodes that a constraint excluded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Excluded {
    /// The first constraint that each of them fails.
    pub reason: ExcludedBy,
    /// How many they are.
    pub nodes: u32,
}

/// A constraint that a node fails, in the order in which they are checked.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum ExcludedBy {
    /// It is in a region that was not asked for.
    Region,
    /// It is farther away than any latency step allows.
    OutOfReach,
    /// Its GPU class is too low.
    GpuClass,
    /// Its GPU has too little memory.
    Vram,
    /// No video encoder works on it.
    NoEncoder,
    /// It takes no jobs.
    NoJobs,
    /// It runs apps in another way, or has no such container runtime.
    Runtime,
    /// It has not as many GPUs as the job asks for.
    Gpus,
    /// Too few of its GPUs are of the model.
    GpuModel,
    /// Too few of these have the memory.
    GpuMemory,
    /// It says that it has the memory, and receipts stand for less of it.
    GpuMemoryUnproved,
    /// Too few of these have the compute capability.
    GpuCapability,
    /// Too few of these are well.
    GpusSick,
    /// It cannot hold the job to so much disk.
    Disk,
    /// It is not trusted enough.
    Trust,
    /// The session needs more CPU, memory or uplink than it has in all.
    TooSmall,
    /// It costs too much.
    Price,
    /// It does not have the image, and must.
    ImageMissing,
    /// Its control stream is down.
    Offline,
    /// It takes no more sessions.
    Draining,
    /// It failed its checks, and has not passed one since.
    FailedChecks,
    /// It does not answer its commands.
    OutboxFull,
    /// All its slots are taken.
    SlotsTaken,
    /// Too much of its CPU is claimed.
    CpuTaken,
    /// Too much of its memory is claimed.
    MemoryTaken,
    /// Too much of its uplink is claimed.
    UplinkTaken,
    /// Too much of its disk is claimed.
    DiskTaken,
    /// Too few of its GPUs that suit are free.
    GpusTaken,
    /// No receipt says that it passed, and it has as many sessions as such a node may have.
    Unproven,
    /// The session was refused there, or starts fail there, and there is another node for it.
    Refused,
    /// What is free there is held for a job that has waited long, and this would put it off.
    Held,
    /// It could run it, and is too far away for the latency step in force.
    TooFar,
}

impl ExcludedBy {
    /// The constraint for people, as what is true of the nodes.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Region => "in a region that was not asked for",
            Self::OutOfReach => "farther away than any latency step allows",
            Self::GpuClass => "GPU class too low",
            Self::Vram => "too little GPU memory",
            Self::NoEncoder => "no video encoder works",
            Self::NoJobs => "taking no jobs",
            Self::Runtime => "another runtime",
            Self::Gpus => "with too few GPUs",
            Self::GpuModel => "with too few GPUs of that model",
            Self::GpuMemory => "with too little memory on such GPUs",
            Self::GpuMemoryUnproved => "with less GPU memory proved by receipts than is asked for",
            Self::GpuCapability => "with such GPUs of too low a compute capability",
            Self::GpusSick => "with such GPUs that are not well",
            Self::Disk => "too little disk for jobs, or none that is enforced",
            Self::Trust => "not trusted enough",
            Self::TooSmall => "too little CPU, memory or uplink in all",
            Self::Price => "too dear",
            Self::ImageMissing => "without the image",
            Self::Offline => "offline",
            Self::Draining => "draining",
            Self::FailedChecks => "failing their checks",
            Self::OutboxFull => "not answering commands",
            Self::SlotsTaken => "every slot taken",
            Self::CpuTaken => "too little CPU free",
            Self::MemoryTaken => "too little memory free",
            Self::UplinkTaken => "too little uplink free",
            Self::DiskTaken => "too little disk free",
            Self::GpusTaken => "such GPUs taken by other jobs",
            Self::Refused => "refusing it, or failing to start sessions",
            Self::Held => "held for a job that has waited long",
            Self::Unproven => {
                "not proven by receipts yet, and with as many sessions as that allows"
            }
            Self::TooFar => "too far away for now",
        }
    }
}

/// A score by its parts, 100 points to the millisecond of round trip. The node with the fewest is
/// best; one of the best few is taken at random.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Points {
    /// All together.
    pub total: u32,
    /// For the round trip.
    pub rtt: u32,
    /// For an image that has to be fetched first.
    pub image: u32,
    /// For a desktop that has to be started, where a ready one would do.
    #[serde(default)]
    pub desktop: u32,
    /// For a GPU that the session does not need.
    pub gpu: u32,
    /// For slots or CPU that are taken, whichever is more.
    pub load: u32,
    /// For the uplink that is set aside.
    pub uplink: u32,
    /// For what the node lacks of a full rank by receipts.
    pub receipts: u32,
    /// For its price.
    pub price: u32,
    /// For sessions of the same tenant that the node's operator has already.
    pub spread: u32,
}

/// A latency step of the policy.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema,
)]
pub struct LatencyStep {
    /// Which one, from 1.
    pub number: u32,
    /// Of how many.
    pub of: u32,
    /// Nodes up to this round trip are taken, milliseconds.
    pub rtt_ms_max: u32,
    /// It begins after so much waiting, milliseconds.
    pub from_ms: u32,
    /// It ends after so much waiting, milliseconds; null for the last one.
    pub until_ms: Option<u32>,
}
