//! What this node proves: its GPUs, each by a program of its own, or its CPU.
//!
//! ```text
//!   [prover] adapter empty: GPUs of NVML and of sysfs --by PCI address--+
//!   [prover] adapter named: whatever has that in its name ---------------+--> edge-prover --list --> devices
//!   none of them -------------------------------------------------------> the CPU
//! ```
//!
//! A GPU that no Vulkan and no GL driver shows cannot be proved: it is said once, and the node proves what is left. With a
//! program of another edition it proves nothing, and says so to whoever asks: its answers would be wrong.
//!
//! **Invariants.** An id names one thing for as long as the machine stays as it is. A slice of a GPU, and one that is cut
//! into slices, are none: Vulkan knows no slices.
//!
//! **What it does not know:** whether a device is free.

use super::program::{self, ListError, Program};
use super::{CPU, Limits, WORK_PER_THREAD};
use crate::config::Config;
use crate::gpu::{Gpu, Gpus};
use nearlight_proof::porc::exchange::begin::Bounds;
use nearlight_proof::porc::exchange::program::Device as Found;
use nearlight_protocol::control::Proves;
use nearlight_protocol::limits::NODE_GPUS_MAX;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a GPU does in its time at most: a hundred times the largest class.
const WORK_OF_GPU: u64 = 1_000_000_000_000_000;

/// Who computes.
#[derive(Clone, Debug)]
pub(super) enum By {
    /// Threads of this program.
    Cpu {
        /// How many.
        threads: u32,
    },
    /// A program that is started for each probe.
    Program(Arc<Program>),
}

/// Something that can be proved.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    /// Its id, as receipts name it.
    pub(super) id: String,
    /// Its model, as its driver says; empty of the CPU.
    model: String,
    /// The GPU as sessions have it; `None` of one that they cannot be told to have.
    uuid: Option<String>,
    /// The memory that it has, MiB, where its driver says it.
    pub(super) card_mib: Option<u32>,
    pub(super) bounds: Bounds,
    pub(super) by: By,
}

/// Who uses what of this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Uses {
    /// Sessions that are here, of any kind.
    pub(crate) sessions: usize,
    /// The GPUs that they have, by UUID.
    pub(crate) gpus: BTreeSet<String>,
}

impl Device {
    /// The host's own CPU.
    pub(super) fn cpu(limits: &Limits) -> Self {
        Self {
            id: CPU.to_owned(),
            model: String::new(),
            uuid: None,
            card_mib: None,
            bounds: Bounds {
                mem_mib: limits.mem_mib.into(),
                work: WORK_PER_THREAD * u64::from(limits.threads),
            },
            by: By::Cpu {
                threads: limits.threads,
            },
        }
    }

    fn gpu(found: &Found, known: Option<&Gpu>, (limits, program): (&Limits, Program)) -> Self {
        let uuid = known.and_then(|gpu| gpu.uuid.clone());
        let model = known.and_then(|gpu| gpu.model.clone());
        let (mem_mib, work) = match found.is_software {
            true => (
                limits.mem_mib.into(),
                WORK_PER_THREAD * u64::from(limits.threads),
            ),
            false => (
                known.and_then(|gpu| gpu.vram_mib).unwrap_or(u64::MAX),
                WORK_OF_GPU,
            ),
        };
        Self {
            id: uuid.clone().unwrap_or_else(|| found.id.clone()),
            model: model.unwrap_or_else(|| found.name.clone()),
            uuid,
            card_mib: known
                .and_then(|gpu| gpu.vram_mib)
                .and_then(|mib| mib.try_into().ok()),
            bounds: Bounds {
                mem_mib: mem_mib.min(found.fill_mib),
                work,
            },
            by: By::Program(Arc::new(program)),
        }
    }

    /// Whether some session has it. What cannot be told apart every session has.
    pub(super) fn is_used(&self, uses: &Uses) -> bool {
        match &self.uuid {
            Some(uuid) => uses.gpus.contains(uuid),
            None => uses.sessions > 0,
        }
    }

    /// As the broker is told.
    pub(super) fn told(&self) -> Proves {
        Proves {
            gpu: self.id.clone(),
            model: self.model.clone(),
        }
    }
}

/// What this node proves, or why nothing. The programs of GPUs are asked which they find.
pub(crate) async fn find(
    config: &Config,
    gpus: &Gpus,
    root: bool,
) -> (Vec<Device>, Result<(), String>) {
    let limits = &config.prover;
    let cpu = vec![Device::cpu(limits)];
    if !limits.take {
        return (cpu, Err("`prover.take` is false".to_owned()));
    }
    if gpus.whole().next().is_none() && limits.adapter.is_empty() {
        return (cpu, Ok(()));
    }
    match program::list(config, root).await {
        Err(error @ ListError::Edition(_)) => {
            tracing::error!(%error, "this node proves nothing");
            (cpu, Err(error.to_string()))
        }
        found => (of_gpus(found, config, gpus, root), Ok(())),
    }
}

/// The GPUs that can be proved, or the CPU if there are none.
fn of_gpus(
    found: Result<Vec<Found>, ListError>,
    config: &Config,
    gpus: &Gpus,
    root: bool,
) -> Vec<Device> {
    let limits = &config.prover;
    let cpu = vec![Device::cpu(limits)];
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!(%error, "no GPU is proved, and the CPU is; see docs/gpu.md");
            return cpu;
        }
    };
    let program = |found: &Found| Program::new(config, root, found);
    let devices = matching(&found, gpus, limits, program);
    if devices.is_empty() {
        let names: Vec<&str> = found.iter().map(|of| of.name.as_str()).collect();
        tracing::warn!(
            ?names,
            "no GPU is proved, and the CPU is: Vulkan and GL show none of them; see docs/gpu.md"
        );
        return cpu;
    }
    for device in &devices {
        tracing::info!(
            gpu = device.id,
            model = device.model,
            fill_mib = device.bounds.mem_mib,
            "a GPU is proved"
        );
    }
    devices
}

fn matching(
    found: &[Found],
    gpus: &Gpus,
    limits: &Limits,
    program: impl Fn(&Found) -> Program,
) -> Vec<Device> {
    let wanted = limits.adapter.to_lowercase();
    let devices = found.iter().filter_map(|found| {
        let at = |gpu: &&Gpu| gpu.pci.as_deref() == Some(found.pci.as_str());
        let known = gpus.whole().find(at);
        let is_wanted = match wanted.is_empty() {
            true => known.is_some_and(|gpu| !gpu.is_cut),
            false => found.name.to_lowercase().contains(&wanted),
        };
        is_wanted.then(|| Device::gpu(found, known, (limits, program(found))))
    });
    devices.take(NODE_GPUS_MAX).collect()
}

#[cfg(test)]
mod test {
    use super::*;

    fn found(id: &str, name: &str, pci: &str) -> Found {
        Found {
            id: id.to_owned(),
            name: name.to_owned(),
            pci: pci.to_owned(),
            is_software: pci.is_empty(),
            fill_mib: 4_000,
        }
    }

    fn limits(adapter: &str) -> Limits {
        Limits {
            take: true,
            threads: 2,
            mem_mib: 256,
            adapter: adapter.to_owned(),
        }
    }

    fn gpu(n: u32, is_cut: bool) -> Gpu {
        Gpu {
            uuid: Some(format!("GPU-{n}")),
            model: Some("NVIDIA L4".to_owned()),
            vram_mib: Some(2_000),
            pci: Some(format!("0000:0{n}:00.0")),
            is_cut,
            ..Gpu::default()
        }
    }

    fn of(gpus: Vec<Gpu>, adapter: &str) -> Vec<Device> {
        let all = [
            found("pci-0000:01:00.0", "NVIDIA L4", "0000:01:00.0"),
            found("pci-0000:02:00.0", "NVIDIA L4", "0000:02:00.0"),
            found("adapter-2", "llvmpipe (LLVM 15)", ""),
        ];
        let program = |found: &Found| Program::at("/bin/false".into(), found);
        matching(&all, &Gpus::from(gpus), &limits(adapter), program)
    }

    fn ids(devices: &[Device]) -> Vec<&str> {
        devices.iter().map(|of| of.id.as_str()).collect()
    }

    #[test]
    fn gpus_are_found_by_their_address_and_slices_are_none() {
        let both = of(vec![gpu(1, false), gpu(2, true)], "");
        assert_eq!(ids(&both), ["GPU-1"]);
        let told = both[0].told();
        assert_eq!(
            (told.gpu.as_str(), told.model.as_str()),
            ("GPU-1", "NVIDIA L4")
        );
        assert_eq!(
            both[0].bounds.mem_mib, 2_000,
            "what it has, not what could be reached"
        );
        assert_eq!(both[0].card_mib, Some(2_000));
        assert_eq!(ids(&of(Vec::new(), "")), [""; 0]);
    }

    #[test]
    fn an_adapter_is_taken_by_its_name_and_held_to_the_hosts_limits() {
        let devices = of(vec![gpu(1, false)], "LLVM");
        assert_eq!(ids(&devices), ["adapter-2"]);
        assert_eq!(devices[0].bounds, Device::cpu(&limits("")).bounds);
        assert_eq!(
            ids(&of(vec![gpu(2, false)], "l4")),
            ["pci-0000:01:00.0", "GPU-2"]
        );
    }

    #[test]
    fn a_gpu_is_used_by_who_has_it_and_what_cannot_be_told_apart_by_everybody() {
        let devices = of(vec![gpu(1, false), gpu(2, false)], "");
        let uses = Uses {
            sessions: 1,
            gpus: ["GPU-2".to_owned()].into(),
        };
        let used: Vec<bool> = devices.iter().map(|of| of.is_used(&uses)).collect();
        assert_eq!(used, [false, true], "beside a session on another GPU");
        assert!(Device::cpu(&limits("")).is_used(&uses));
        assert!(!Device::cpu(&limits("")).is_used(&Uses::default()));
    }
}
