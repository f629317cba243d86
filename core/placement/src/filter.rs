//! First stage: which nodes can run the session now, and if not, why not.

use crate::fleet::{NodeView, SessionRequest};

/// The first reason for which a node cannot run a session now. In the order of the checks: what
/// never changes for this node and request comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Its GPU class is too low.
    GpuClass,
    /// No video encoder works on it.
    NoEncoder,
    /// The session needs more CPU, memory or uplink than the node has in all.
    TooSmall,
    /// Its control stream is down.
    Offline,
    /// It takes no more sessions.
    Draining,
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
}

impl Reason {
    /// Whether the node could run the session at another time.
    pub const fn passes(self) -> bool {
        match self {
            Self::GpuClass | Self::NoEncoder | Self::TooSmall => false,
            Self::Offline
            | Self::Draining
            | Self::OutboxFull
            | Self::SlotsTaken
            | Self::CpuTaken
            | Self::MemoryTaken
            | Self::UplinkTaken => true,
        }
    }

    /// The reason as a label of a metric.
    pub const fn label(self) -> &'static str {
        match self {
            Self::GpuClass => "gpu-class",
            Self::NoEncoder => "no-encoder",
            Self::TooSmall => "too-small",
            Self::Offline => "offline",
            Self::Draining => "draining",
            Self::OutboxFull => "outbox-full",
            Self::SlotsTaken => "slots-taken",
            Self::CpuTaken => "cpu-taken",
            Self::MemoryTaken => "memory-taken",
            Self::UplinkTaken => "uplink-taken",
        }
    }
}

/// Whether `node` can run `request` now.
pub(crate) fn check(node: &NodeView, request: &SessionRequest) -> Result<(), Reason> {
    let less = |uplink: Option<u32>| uplink.is_some_and(|kbps| kbps < request.kbps);
    let cpu_milli = node.cpu_milli_for(request);
    let checks = [
        (node.gpu < request.gpu, Reason::GpuClass),
        (!node.encodes, Reason::NoEncoder),
        (
            node.cpu_milli_total < cpu_milli
                || node.mem_mib_total < request.mem_mib
                || less(node.uplink_kbps_total),
            Reason::TooSmall,
        ),
        (!node.attached, Reason::Offline),
        (node.draining, Reason::Draining),
        (node.outbox_full, Reason::OutboxFull),
        (node.slots_free.is_empty(), Reason::SlotsTaken),
        (node.cpu_milli_free < cpu_milli, Reason::CpuTaken),
        (node.mem_mib_free < request.mem_mib, Reason::MemoryTaken),
        (less(node.uplink_kbps_free), Reason::UplinkTaken),
    ];
    match checks.into_iter().find(|(fails, _)| *fails) {
        Some((_, reason)) => Err(reason),
        None => Ok(()),
    }
}
