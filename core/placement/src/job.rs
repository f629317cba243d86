//! What a job asks of a node beside a slot, CPU and memory, and why a node cannot give it.

use crate::reason::Reason;
use nearlight_protocol::control::{Gpu, JobHost};
use nearlight_protocol::job::{ContainerRuntime, GpuNeed};

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
}

impl JobNeed {
    /// Why a node never takes it, of what stands in `host` alone.
    pub(crate) fn lasting(&self, host: Option<&JobHost>) -> Option<Reason> {
        let Some(host) = host else {
            return Some(Reason::NoJobs);
        };
        if !host.runtimes.contains(&self.runtime) {
            Some(Reason::Runtime)
        } else if !self.has_gpus(&host.gpus) {
            Some(Reason::Gpus)
        } else if host.disk_mib < self.disk_new_mib()
            || (self.has_volumes && host.volumes.is_none())
        {
            Some(Reason::Disk)
        } else {
            None
        }
    }

    /// Disk that it takes in all: its own, and what its volumes take beside.
    pub const fn disk_new_mib(&self) -> u32 {
        self.disk_mib.saturating_add(self.volumes_mib)
    }

    /// How many GPUs it takes.
    pub const fn gpus(&self) -> u32 {
        match &self.gpu {
            Some(need) => need.count,
            None => 0,
        }
    }

    fn has_gpus(&self, gpus: &[Gpu]) -> bool {
        let Some(need) = &self.gpu else {
            return true;
        };
        let suit = gpus.iter().filter(|gpu| gpu_suits(gpu, need)).count();
        u32::try_from(suit).unwrap_or(u32::MAX) >= need.count
    }
}

/// Whether a GPU is what a job asks for, and well.
pub fn gpu_suits(gpu: &Gpu, need: &GpuNeed) -> bool {
    let is_model = |model: &String| {
        let has = gpu.model.to_ascii_lowercase();
        has.contains(&model.to_ascii_lowercase())
    };
    gpu.sick.is_empty()
        && need.model.as_ref().is_none_or(is_model)
        && gpu.vram_mib >= need.vram_mib
        && gpu.compute_capability >= need.compute_capability
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
            sick: String::new(),
        }
    }

    fn host() -> JobHost {
        JobHost {
            runtimes: vec![ContainerRuntime::Runc],
            disk_mib: 4096,
            gpus: vec![
                gpu("NVIDIA H100 80GB HBM3", 81_920, 90),
                gpu("NVIDIA L4", 23_034, 89),
            ],
            assets: Vec::new(),
            volumes: Some(Vec::new()),
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
        check(|n| n.gpu = gpus(2, two), Some(Reason::Gpus));
        check(|n| n.gpu = gpus(1, |g| g.vram_mib = 80_000), None);
        check(
            |n| n.gpu = gpus(2, |g| g.vram_mib = 80_000),
            Some(Reason::Gpus),
        );
        check(
            |n| n.gpu = gpus(2, |g| g.compute_capability = 90),
            Some(Reason::Gpus),
        );
        let mut sick = host();
        sick.gpus[0].sick = "XID 79".to_owned();
        let need = JobNeed {
            gpu: gpus(2, |_| {}),
            ..JobNeed::default()
        };
        assert_eq!(need.lasting(Some(&sick)), Some(Reason::Gpus));
    }
}
