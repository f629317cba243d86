//! What a job asks of a node beside a slot, CPU and memory, and why a node cannot give it.

use crate::price::rate_of;
use crate::reason::Reason;
use nearlight_protocol::control::{Gpu, JobHost};
use nearlight_protocol::job::{ContainerRuntime, GpuNeed};
use nearlight_protocol::limits::NODE_GPUS_MAX;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a job asks of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobNeed {
    /// How its container is kept apart from the node's kernel.
    pub runtime: ContainerRuntime,
    /// Disk that it is held to, MiB.
    pub disk_mib: u32,
    /// GPUs, all of one node.
    pub gpu: Option<GpuNeed>,
    /// Whether no registry has its image: only a node that has it already can run it.
    pub image_here: bool,
    /// Whether it has volumes.
    pub has_volumes: bool,
    /// Disk that its volumes take beside: the whole of a new one, of another what it grows by, MiB.
    pub volumes_mib: u32,
    /// Its assets, by the names that nodes list them by.
    pub assets: Vec<String>,
    /// What its GPUs may cost; `None` for whatever they do.
    pub cap: Option<PriceCap>,
}

/// What a price cap leaves for GPUs, and what GPUs cost, in one unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PriceCap {
    /// For each of them; `None` if the rest of the job costs too much by itself.
    pub gpu_max: Option<u64>,
    /// A GPU whose model's name has this in it; of several, the longest counts.
    pub gpus: Arc<BTreeMap<String, u64>>,
    /// A GPU of any other model.
    pub gpu_other: u64,
}

impl PriceCap {
    fn affords(&self, gpu: &Gpu) -> bool {
        let rate = rate_of(&gpu.model, &self.gpus, self.gpu_other);
        self.gpu_max.is_some_and(|max| rate <= max)
    }
}

impl JobNeed {
    /// Why a node never takes it, of what stands in `host` alone.
    pub(crate) fn lasting(&self, host: Option<&JobHost>) -> Option<Reason> {
        let Some(host) = host else {
            return Some(Reason::NoJobs);
        };
        if !host.runtimes.contains(&self.runtime) {
            return Some(Reason::Runtime);
        }
        let gpus = self.gpu.as_ref();
        let lacks_gpus = gpus.and_then(|need| gpus_lack(&host.gpus, need));
        let lacks_disk =
            host.disk_mib < self.disk_new_mib() || (self.has_volumes && host.volumes.is_none());
        lacks_gpus
            .or_else(|| lacks_disk.then_some(Reason::Disk))
            .or_else(|| self.is_dear(&host.gpus).then_some(Reason::Price))
    }

    /// Disk that it takes in all: its own, and what its volumes take beside.
    pub const fn disk_new_mib(&self) -> u32 {
        self.disk_mib.saturating_add(self.volumes_mib)
    }

    /// Whether it costs more than it may on a node with these GPUs.
    fn is_dear(&self, gpus: &[Gpu]) -> bool {
        match (&self.cap, &self.gpu) {
            (None, _) => false,
            (Some(cap), None) => cap.gpu_max.is_none(),
            (Some(_), Some(need)) => !enough(self.suiting(gpus, u64::MAX).count(), need),
        }
    }

    /// Those of a node's GPUs in `free` that it can have.
    fn suiting<'a>(&'a self, gpus: &'a [Gpu], free: u64) -> impl Iterator<Item = &'a Gpu> {
        let numbered = gpus.iter().take(NODE_GPUS_MAX).enumerate();
        let free = numbered.filter(move |(at, _)| (free >> at) & 1 == 1);
        free.map(|(_, gpu)| gpu).filter(|gpu| {
            let suits = |need| gpu_suits(gpu, need);
            self.gpu.as_ref().is_some_and(suits)
                && self.cap.as_ref().is_none_or(|cap| cap.affords(gpu))
        })
    }

    /// How many GPUs it takes.
    pub const fn gpus(&self) -> u32 {
        match &self.gpu {
            Some(need) => need.count,
            None => 0,
        }
    }

    /// Whether enough of a node's GPUs suit it that are in `free`.
    pub(crate) fn has_free(&self, gpus: &[Gpu], free: u64) -> bool {
        let need = self.gpu.as_ref();
        need.is_none_or(|need| enough(self.suiting(gpus, free).count(), need))
    }
}

fn enough(gpus: usize, need: &GpuNeed) -> bool {
    u32::try_from(gpus).unwrap_or(u32::MAX) >= need.count
}

/// Whether a GPU meets a demand.
type Meets = fn(&Gpu, &GpuNeed) -> bool;

/// What is wanted of a GPU, one after the other, and what a node lacks that has too few.
const DEMANDS: [(Reason, Meets); 6] = [
    (Reason::Gpus, |_, _| true),
    (Reason::GpuModel, is_model),
    (Reason::GpuMemory, |gpu, need| gpu.vram_mib >= need.vram_mib),
    (Reason::GpuMemoryUnproved, |gpu, need| {
        gpu.proved_mib.is_none_or(|mib| mib >= need.vram_mib)
    }),
    (Reason::GpuCapability, |gpu, need| {
        gpu.compute_capability >= need.compute_capability
    }),
    (Reason::GpusSick, |gpu, _| gpu.sick.is_empty()),
];

fn is_model(gpu: &Gpu, need: &GpuNeed) -> bool {
    let has = gpu.model.to_ascii_lowercase();
    let model = need.model.as_ref();
    model.is_none_or(|model| has.contains(&model.to_ascii_lowercase()))
}

/// The first demand that too few GPUs meet together with all before it.
fn gpus_lack(gpus: &[Gpu], need: &GpuNeed) -> Option<Reason> {
    let mut left: Vec<&Gpu> = gpus.iter().take(NODE_GPUS_MAX).collect();
    DEMANDS.into_iter().find_map(|(reason, meets)| {
        left.retain(|gpu| meets(gpu, need));
        (!enough(left.len(), need)).then_some(reason)
    })
}

/// Whether a GPU is what a job asks for, and well.
pub fn gpu_suits(gpu: &Gpu, need: &GpuNeed) -> bool {
    DEMANDS.iter().all(|(_, meets)| meets(gpu, need))
}

/// Those of a node's GPUs in `free` that a job gets: the smallest that suit, so that the large ones are
/// left to who needs them; among equals by UUID. `None` if they are too few.
/// None for a job that asks for none.
pub fn choose_gpus<'a>(gpus: &'a [Gpu], free: u64, job: &'a JobNeed) -> Option<Vec<&'a Gpu>> {
    let Some(need) = &job.gpu else {
        return Some(Vec::new());
    };
    let mut suit: Vec<&Gpu> = job.suiting(gpus, free).collect();
    suit.sort_by(|a, b| {
        let size = |gpu: &Gpu| (gpu.vram_mib, gpu.compute_capability);
        size(a).cmp(&size(b)).then_with(|| a.uuid.cmp(&b.uuid))
    });
    let few = enough(suit.len(), need);
    suit.truncate(usize::try_from(need.count).unwrap_or(usize::MAX));
    few.then_some(suit)
}

#[cfg(test)]
mod test {
    use super::*;

    fn gpu(model: &str, vram_mib: u32, compute_capability: u32) -> Gpu {
        Gpu {
            uuid: format!("GPU-{model}"),
            model: model.to_owned(),
            vram_mib,
            compute_capability,
            ..Gpu::default()
        }
    }

    fn host() -> JobHost {
        JobHost {
            engine: String::new(),
            runtimes: vec![ContainerRuntime::Runc],
            disk_mib: 4096,
            gpus: vec![
                gpu("NVIDIA H100 80GB HBM3", 81_920, 90),
                gpu("NVIDIA L4", 23_034, 89),
            ],
            volumes: Some(Vec::new()),
            ..JobHost::default()
        }
    }

    fn check(change: impl FnOnce(&mut JobNeed), expected: Option<Reason>) {
        let mut need = JobNeed {
            disk_mib: 2048,
            ..JobNeed::default()
        };
        change(&mut need);
        assert_eq!(need.lasting(Some(&host())), expected, "{need:?}");
    }

    fn gpus(count: u32, change: impl FnOnce(&mut GpuNeed)) -> Option<GpuNeed> {
        let mut need = GpuNeed {
            count,
            model: None,
            vram_mib: 0,
            compute_capability: 0,
        };
        change(&mut need);
        Some(need)
    }

    #[test]
    fn a_node_takes_the_jobs_that_it_can_hold() {
        check(|_| {}, None);
        assert_eq!(JobNeed::default().lasting(None), Some(Reason::NoJobs));
        check(
            |n| n.runtime = ContainerRuntime::Kata,
            Some(Reason::Runtime),
        );
        check(|n| n.disk_mib = 4096, None);
        check(|n| n.disk_mib = 4097, Some(Reason::Disk));
        let enforces_none = JobHost {
            disk_mib: 0,
            ..host()
        };
        let need = JobNeed {
            disk_mib: 1,
            ..JobNeed::default()
        };
        assert_eq!(need.lasting(Some(&enforces_none)), Some(Reason::Disk));
    }

    #[test]
    fn what_volumes_take_has_to_be_there_beside_the_disk() {
        check(|n| n.volumes_mib = 2048, None);
        check(|n| n.volumes_mib = 2049, Some(Reason::Disk));
        check(|n| n.has_volumes = true, None);
        let keeps_none = JobHost {
            volumes: None,
            ..host()
        };
        let need = JobNeed {
            has_volumes: true,
            ..JobNeed::default()
        };
        assert_eq!(need.lasting(Some(&keeps_none)), Some(Reason::Disk));
    }

    #[test]
    fn gpus_are_counted_by_what_each_of_them_is() {
        check(|n| n.gpu = gpus(2, |_| {}), None);
        check(|n| n.gpu = gpus(3, |_| {}), Some(Reason::Gpus));
        check(
            |n| n.gpu = gpus(1, |g| g.model = Some("h100".to_owned())),
            None,
        );
        let two = |g: &mut GpuNeed| g.model = Some("H100".to_owned());
        check(|n| n.gpu = gpus(2, two), Some(Reason::GpuModel));
        check(|n| n.gpu = gpus(1, |g| g.vram_mib = 80_000), None);
        check(
            |n| n.gpu = gpus(2, |g| g.vram_mib = 80_000),
            Some(Reason::GpuMemory),
        );
        check(
            |n| n.gpu = gpus(2, |g| g.compute_capability = 90),
            Some(Reason::GpuCapability),
        );
        // Receipts stand for a third of the large one, and say nothing of the other.
        let mut proved = host();
        proved.gpus[0].proved_mib = Some(27_000);
        let lacks = |count, mib| {
            let need = JobNeed {
                gpu: gpus(count, |g| g.vram_mib = mib),
                ..JobNeed::default()
            };
            let chosen = choose_gpus(&proved.gpus, u64::MAX, &need).map(|of| of.len());
            (need.lasting(Some(&proved)), chosen)
        };
        assert_eq!(lacks(1, 27_000), (None, Some(1)));
        assert_eq!(lacks(1, 27_001), (Some(Reason::GpuMemoryUnproved), None));
        assert_eq!(lacks(1, 82_000), (Some(Reason::GpuMemory), None));
        assert_eq!(lacks(2, 23_000), (None, Some(2)));
        let mut sick = host();
        sick.gpus[0].sick = "XID 79".to_owned();
        let need = JobNeed {
            gpu: gpus(2, |_| {}),
            ..JobNeed::default()
        };
        assert_eq!(need.lasting(Some(&sick)), Some(Reason::GpusSick));
    }

    #[test]
    fn a_node_is_too_dear_whose_gpus_cost_more_than_the_cap_leaves() {
        let rates = [("H100".to_owned(), 700), ("L4".to_owned(), 90)].into();
        let cap = |gpu_max| {
            Some(PriceCap {
                gpu_max,
                gpus: Arc::new(BTreeMap::clone(&rates)),
                gpu_other: 5,
            })
        };
        check(|n| n.cap = cap(Some(0)), None);
        check(|n| n.cap = cap(None), Some(Reason::Price));
        let one = |n: &mut JobNeed, max| (n.gpu, n.cap) = (gpus(1, |_| {}), cap(Some(max)));
        check(|n| one(n, 90), None);
        check(|n| one(n, 89), Some(Reason::Price));
        let two = |n: &mut JobNeed, max| (n.gpu, n.cap) = (gpus(2, |_| {}), cap(Some(max)));
        check(|n| two(n, 700), None);
        check(|n| two(n, 699), Some(Reason::Price));
        let cheap = JobNeed {
            gpu: gpus(1, |_| {}),
            cap: cap(Some(100)),
            ..JobNeed::default()
        };
        let host = host();
        assert!(!cheap.has_free(&host.gpus, 0b01), "the H100 alone is free");
        let chosen = choose_gpus(&host.gpus, u64::MAX, &cheap).unwrap();
        assert_eq!(chosen[0].model, "NVIDIA L4");
        assert_eq!(choose_gpus(&host.gpus, 0b01, &cheap), None);
    }

    #[test]
    fn the_smallest_that_suit_are_taken_and_taken_ones_are_not() {
        let mut host = host().gpus;
        host.extend([gpu("NVIDIA L4", 23_034, 89), gpu("NVIDIA L40S", 46_068, 89)]);
        host[2].uuid = "GPU-A".to_owned();
        host[1].sick = "XID 79".to_owned();
        let chosen = |free: u64, need: Option<GpuNeed>| {
            let job = JobNeed {
                gpu: need,
                ..JobNeed::default()
            };
            let chosen = choose_gpus(&host, free, &job);
            chosen.map(|gpus| {
                let uuids = gpus.iter().map(|gpu| gpu.uuid.as_str());
                uuids.collect::<Vec<_>>().join(" ")
            })
        };
        let all = u64::MAX;
        assert_eq!(chosen(all, gpus(1, |_| {})).unwrap(), "GPU-A");
        let two = chosen(all, gpus(2, |_| {})).unwrap();
        assert_eq!(two, "GPU-A GPU-NVIDIA L40S");
        let large = gpus(1, |g| g.vram_mib = 30_000);
        assert_eq!(chosen(all, large.clone()).unwrap(), "GPU-NVIDIA L40S");
        let h100 = "GPU-NVIDIA H100 80GB HBM3";
        assert_eq!(chosen(all & !0b1000, large).unwrap(), h100);
        assert_eq!(chosen(0b0110, gpus(2, |_| {})), None, "one is sick");
        let job = JobNeed {
            gpu: gpus(3, |_| {}),
            ..JobNeed::default()
        };
        assert!(job.has_free(&host, all) && !job.has_free(&host, all & !1));
        assert!(JobNeed::default().has_free(&[], 0));
    }

    #[test]
    fn where_nobody_says_which_are_taken_all_are() {
        let state = |gpus_taken, gpus_held| crate::NodeState {
            gpus_taken,
            gpus_held,
            ..crate::NodeState::default()
        };
        assert_eq!(state(false, 0).gpus_free(), u64::MAX);
        assert_eq!(state(true, 0).gpus_free(), 0);
        assert_eq!(state(true, 0b101).gpus_free(), !0b101);
    }
}
