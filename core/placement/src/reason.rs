//! Why a node cannot run a session now.

/// The first reason for which a node cannot run a session now. In the order of the checks: what
/// never changes for this node and request comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
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
    /// The session needs more CPU, memory or uplink than the node has in all.
    TooSmall,
    /// It costs too much.
    Price,
    /// It does not have the image, and the policy requires it.
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
    /// What is free there is held for one that has waited long, and this would put it off.
    Held,
    /// It could run it, but is too far away for the latency step in force.
    TooFar,
}

impl Reason {
    /// All of them, in the order of the checks.
    pub const ALL: [Self; 32] = [
        Self::Region,
        Self::OutOfReach,
        Self::GpuClass,
        Self::Vram,
        Self::NoEncoder,
        Self::NoJobs,
        Self::Runtime,
        Self::Gpus,
        Self::GpuModel,
        Self::GpuMemory,
        Self::GpuMemoryUnproved,
        Self::GpuCapability,
        Self::GpusSick,
        Self::Disk,
        Self::Trust,
        Self::TooSmall,
        Self::Price,
        Self::ImageMissing,
        Self::Offline,
        Self::Draining,
        Self::FailedChecks,
        Self::OutboxFull,
        Self::SlotsTaken,
        Self::CpuTaken,
        Self::MemoryTaken,
        Self::UplinkTaken,
        Self::DiskTaken,
        Self::GpusTaken,
        Self::Unproven,
        Self::Refused,
        Self::Held,
        Self::TooFar,
    ];

    /// Whether the node could run the session at another time.
    pub const fn passes(self) -> bool {
        match self {
            Self::Region
            | Self::OutOfReach
            | Self::GpuClass
            | Self::Vram
            | Self::NoEncoder
            | Self::NoJobs
            | Self::Runtime
            | Self::Gpus
            | Self::GpuModel
            | Self::GpuMemory
            | Self::GpuMemoryUnproved
            | Self::GpuCapability
            | Self::GpusSick
            | Self::Disk
            | Self::Trust
            | Self::TooSmall
            | Self::Price => false,
            Self::ImageMissing
            | Self::Offline
            | Self::Draining
            | Self::FailedChecks
            | Self::OutboxFull
            | Self::SlotsTaken
            | Self::CpuTaken
            | Self::MemoryTaken
            | Self::UplinkTaken
            | Self::DiskTaken
            | Self::GpusTaken
            | Self::Unproven
            | Self::Refused
            | Self::Held
            | Self::TooFar => true,
        }
    }

    /// Whether the node is there, and lacks what others hold: who waits for it may get it.
    pub const fn may_come_free(self) -> bool {
        match self {
            Self::ImageMissing
            | Self::OutboxFull
            | Self::SlotsTaken
            | Self::CpuTaken
            | Self::MemoryTaken
            | Self::UplinkTaken
            | Self::DiskTaken
            | Self::GpusTaken
            | Self::Unproven
            | Self::Held => true,
            Self::Region
            | Self::OutOfReach
            | Self::GpuClass
            | Self::Vram
            | Self::NoEncoder
            | Self::NoJobs
            | Self::Runtime
            | Self::Gpus
            | Self::GpuModel
            | Self::GpuMemory
            | Self::GpuMemoryUnproved
            | Self::GpuCapability
            | Self::GpusSick
            | Self::Disk
            | Self::Trust
            | Self::TooSmall
            | Self::Price
            | Self::Offline
            | Self::Draining
            | Self::FailedChecks
            | Self::Refused
            | Self::TooFar => false,
        }
    }

    /// The reason as a label of a metric.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Region => "region",
            Self::OutOfReach => "out-of-reach",
            Self::GpuClass => "gpu-class",
            Self::Vram => "vram",
            Self::NoEncoder => "no-encoder",
            Self::NoJobs => "no-jobs",
            Self::Runtime => "runtime",
            Self::Gpus => "gpus",
            Self::GpuModel => "gpu-model",
            Self::GpuMemory => "gpu-memory",
            Self::GpuMemoryUnproved => "gpu-memory-unproved",
            Self::GpuCapability => "gpu-capability",
            Self::GpusSick => "gpus-sick",
            Self::Disk => "disk",
            Self::Trust => "trust",
            Self::TooSmall => "too-small",
            Self::Price => "price",
            Self::ImageMissing => "image-missing",
            Self::Offline => "offline",
            Self::Draining => "draining",
            Self::FailedChecks => "failed-checks",
            Self::OutboxFull => "outbox-full",
            Self::SlotsTaken => "slots-taken",
            Self::CpuTaken => "cpu-taken",
            Self::MemoryTaken => "memory-taken",
            Self::UplinkTaken => "uplink-taken",
            Self::DiskTaken => "disk-taken",
            Self::GpusTaken => "gpus-taken",
            Self::Unproven => "unproven",
            Self::Refused => "refused",
            Self::Held => "held",
            Self::TooFar => "too-far",
        }
    }
}

#[cfg(test)]
mod test {
    use super::Reason;

    #[test]
    fn all_is_all_in_order_and_every_label_is_its_own() {
        assert!(Reason::ALL.is_sorted());
        let labels: std::collections::BTreeSet<_> = Reason::ALL.map(Reason::label).into();
        assert_eq!(labels.len(), Reason::ALL.len());
        let at = Reason::ALL.iter().position(|r| r.passes());
        assert!(Reason::ALL[at.unwrap()..].iter().all(|r| r.passes()));
    }
}
