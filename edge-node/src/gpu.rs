//! The GPUs of this host, as NVML tells, or where it counts none, the render nodes of Intel and AMD.
//! Every value is optional by itself: a MIG slice, a laptop and a data-centre card each leave out
//! others.
//!
//! A GPU is for games or for jobs, as the operator says ([`share`]). Those for jobs are on a [`board`], are looked at
//! now and then ([`watch`], [`nvml`]), and are offered while they are well ([`health`]).
//!
//! **What it does not know:** whether containers can use them. The first start that asks finds out.

pub(crate) mod board;
mod health;
mod nvml;
mod reading;
pub(crate) mod share;
pub(crate) mod telling;
pub(crate) mod watch;
pub(crate) mod xids;

pub(crate) use board::Used;
#[cfg(test)]
pub(crate) use reading::Process;
pub(crate) use reading::Reading;

use crate::runtime::plan::{AppGpu, RenderNode};
use nearlight_protocol::limits::NODE_GPUS_MAX;
use nvml_wrapper::Nvml;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Makers whose GPUs Mesa drives, as PCI numbers them.
const MAKERS: [(&str, &str); 2] = [("0x1002", "AMD"), ("0x8086", "Intel")];

/// One GPU.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gpu {
    /// How it is addressed; without it no container can be given a GPU of NVIDIA's.
    pub(crate) uuid: Option<String>,
    /// Its model.
    pub(crate) model: Option<String>,
    /// Its memory, MiB.
    pub(crate) vram_mib: Option<u64>,
    /// Where it sits, as sysfs and Vulkan write it: `0000:01:00.0`.
    pub(crate) pci: Option<String>,
    /// Through which programs render on it.
    pub(crate) render_node: Option<RenderNode>,
    /// CUDA compute capability, times ten; 0 where it is not known.
    pub(crate) compute_capability: u32,
    /// Whether the model has video encoders.
    pub(crate) encodes: bool,
    /// Whether it is cut into MIG slices: then these are had, and not the whole.
    pub(crate) is_cut: bool,
    /// Of a slice: the GPU that it is of.
    pub(crate) parent: Option<String>,
    /// Whether jobs have it, and no game.
    pub(crate) for_jobs: bool,
}

impl Gpu {
    fn is_by_mesa(&self) -> bool {
        let maker = |model: &str| MAKERS.iter().any(|(_, maker)| model.starts_with(maker));
        self.model.as_deref().is_some_and(maker) && self.render_node.is_some()
    }
}

/// An address of NVML's as sysfs has it: the domain has four digits there and eight here, 00000000:01:00.0.
pub(crate) fn pci_address(bus_id: &str) -> Option<String> {
    let short = bus_id.to_ascii_lowercase();
    let short = short.strip_prefix("0000").filter(|s| s.len() == 12)?;
    Some(short.to_owned())
}

/// The render node of a PCI device, by its address in sysfs.
pub(crate) fn render_node(sysfs: &Path, dev: &Path, bus_id: &str) -> Option<RenderNode> {
    let short = pci_address(bus_id)?;
    let nodes = fs::read_dir(sysfs.join("bus/pci/devices").join(short).join("drm")).ok()?;
    let name = nodes
        .flatten()
        .filter_map(|node| node.file_name().into_string().ok())
        .find(|name| name.starts_with("renderD"))?;
    let path = dev.join(name);
    let gid = fs::metadata(&path).ok()?.gid();
    Some(RenderNode { path, gid })
}

/// GPUs that need no library of their maker's: Mesa drives what has a render node. Others' (virtual
/// ones above all) may have a node and nothing behind it.
fn by_render_nodes(sysfs: &Path, dev: &Path) -> Vec<Gpu> {
    let Ok(nodes) = fs::read_dir(sysfs.join("class/drm")) else {
        return Vec::new();
    };
    let mut names: Vec<_> = nodes
        .flatten()
        .filter_map(|node| node.file_name().into_string().ok())
        .filter(|name| name.starts_with("renderD"))
        .collect();
    names.sort_unstable();
    let gpus = names.iter().filter_map(|name| {
        let vendor = sysfs.join("class/drm").join(name).join("device/vendor");
        let vendor = fs::read_to_string(vendor).ok()?;
        let (_, maker) = MAKERS.iter().find(|(id, _)| vendor.trim() == *id)?;
        let path = dev.join(name);
        let gid = fs::metadata(&path).ok()?.gid();
        let device = sysfs.join("class/drm").join(name).join("device");
        let at = fs::canonicalize(&device).ok()?;
        // AMD's driver says so, in bytes; Intel's have the host's memory.
        let vram = fs::read_to_string(device.join("mem_info_vram_total")).ok();
        let vram = vram.and_then(|bytes| bytes.trim().parse::<u64>().ok());
        Some(Gpu {
            vram_mib: vram.map(|bytes| bytes / (1024 * 1024)),
            model: Some(format!("{maker} GPU")),
            pci: at.file_name().and_then(|at| at.to_str()).map(str::to_owned),
            render_node: Some(RenderNode { path, gid }),
            ..Gpu::default()
        })
    });
    gpus.collect()
}

/// The GPUs of this host; often none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gpus(Vec<Gpu>);

impl From<Vec<Gpu>> for Gpus {
    fn from(all: Vec<Gpu>) -> Self {
        Self(all)
    }
}

impl Gpus {
    /// Asks NVML, then the kernel. That neither knows one is nothing to worry about.
    pub(crate) fn probe() -> Self {
        let nvidia = Self::ask_nvml();
        if !nvidia.0.is_empty() {
            return nvidia;
        }
        let others = by_render_nodes(Path::new("/sys"), Path::new("/dev/dri"));
        for gpu in &others {
            tracing::info!(model = ?gpu.model, node = ?gpu.render_node, "GPU found");
        }
        if others.is_empty() {
            tracing::info!("no GPU: apps render in software");
        }
        Self(others)
    }

    /// No library or no driver means no GPU of NVIDIA's.
    fn ask_nvml() -> Self {
        let library = match Nvml::init() {
            Ok(library) => library,
            Err(error) => {
                tracing::info!(%error, "no GPU of NVIDIA's: NVML does not answer");
                return Self::default();
            }
        };
        let all = nvml::inventory(&library);
        for gpu in &all {
            tracing::info!(uuid = ?gpu.uuid, model = ?gpu.model, vram_mib = ?gpu.vram_mib, slice = gpu.parent.is_some(), "GPU found");
        }
        Self(all)
    }

    /// The GPUs that are no slices of others.
    pub(crate) fn whole(&self) -> impl Iterator<Item = &Gpu> {
        self.0.iter().filter(|gpu| gpu.parent.is_none())
    }

    /// Whether none is for games.
    pub(crate) fn has_none_for_apps(&self) -> bool {
        self.of_apps().next().is_none()
    }

    fn of_apps(&self) -> impl Iterator<Item = &Gpu> {
        self.whole().filter(|gpu| !gpu.for_jobs && !gpu.is_cut)
    }

    /// Memory of the largest that is for games, MiB; 0 where nobody knows.
    pub(crate) fn vram_mib_for_apps(&self) -> u32 {
        let most = self.of_apps().filter_map(|gpu| gpu.vram_mib).max();
        u32::try_from(most.unwrap_or(0)).unwrap_or(u32::MAX)
    }

    /// Their models, where they are known; slices are of those.
    pub(crate) fn models(&self) -> Vec<String> {
        self.whole().filter_map(|gpu| gpu.model.clone()).collect()
    }

    /// Those that can be told apart, as jobs claim them.
    pub(crate) fn for_jobs(&self) -> Vec<nearlight_protocol::control::Gpu> {
        let whole_or_slice = self.0.iter().filter(|gpu| gpu.for_jobs && !gpu.is_cut);
        let known = whole_or_slice.filter_map(|gpu| {
            Some(nearlight_protocol::control::Gpu {
                uuid: gpu.uuid.clone()?,
                model: gpu.model.clone().unwrap_or_default(),
                vram_mib: u32::try_from(gpu.vram_mib.unwrap_or(0)).unwrap_or(u32::MAX),
                compute_capability: gpu.compute_capability,
                sick: String::new(),
                encodes: Some(gpu.encodes),
                slice_of: gpu.parent.clone(),
                proved_mib: None,
            })
        });
        known.take(NODE_GPUS_MAX).collect()
    }

    /// The GPUs that desktops may see (`CUDA_VISIBLE_DEVICES`), where some are not for them; `None`: whatever is there.
    pub(crate) fn visible_to_apps(&self) -> Option<String> {
        let for_jobs = self.0.iter().any(|gpu| gpu.for_jobs);
        let uuids = self.of_apps().filter_map(|gpu| gpu.uuid.clone());
        for_jobs.then(|| uuids.collect::<Vec<_>>().join(","))
    }

    /// Those that an app can be given.
    pub(crate) fn for_apps(&self) -> Vec<AppGpu> {
        let usable = self
            .of_apps()
            .filter(|gpu| gpu.uuid.is_some() || gpu.is_by_mesa());
        let given = usable.map(|gpu| AppGpu {
            uuid: gpu.uuid.clone(),
            render_node: gpu.render_node.clone(),
        });
        given.collect()
    }
}

/// Every GPU and slice, as if all were for jobs.
pub(crate) fn all_as_for_jobs() -> Vec<nearlight_protocol::control::Gpu> {
    let mut all = Gpus::ask_nvml();
    all.set_aside(&share::ForJobs::Word(share::Word::All));
    all.for_jobs()
}

/// Every GPU and slice, with one look at each, for a check.
pub(crate) fn looked() -> Vec<(Gpu, Reading)> {
    let Ok(library) = Nvml::init() else {
        return Vec::new();
    };
    let all = nvml::inventory(&library).into_iter().map(|gpu| {
        let reading = gpu.uuid.as_deref();
        let reading = reading.and_then(|uuid| nvml::read_one(&library, uuid));
        (gpu, reading.unwrap_or_default())
    });
    all.collect()
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn gpus_of_intel_and_amd_are_known_by_their_nodes_and_virtual_ones_are_none() {
        let root = tempfile::tempdir().unwrap();
        let (sysfs, dev) = (root.path().join("sys"), root.path().join("dri"));
        fs::create_dir_all(&dev).unwrap();
        for (name, vendor) in [
            ("renderD130", "0x1af4"),
            ("renderD129", "0x1002"),
            ("renderD128", "0x8086"),
            ("card0", "0x8086"),
        ] {
            let device = sysfs.join("class/drm").join(name).join("device");
            fs::create_dir_all(&device).unwrap();
            fs::write(device.join("vendor"), format!("{vendor}\n")).unwrap();
            fs::write(dev.join(name), "").unwrap();
        }
        let amds = sysfs.join("class/drm/renderD129/device");
        fs::write(amds.join("mem_info_vram_total"), "17163091968\n").unwrap();
        let found = Gpus(by_render_nodes(&sysfs, &dev));
        assert_eq!(found.models(), ["Intel GPU", "AMD GPU"]);
        assert_eq!(found.vram_mib_for_apps(), 16_368);
        let given = found.for_apps();
        assert!(given.iter().all(|gpu| gpu.uuid.is_none()));
        let nodes = given
            .iter()
            .map(|gpu| gpu.render_node.clone().unwrap().path);
        let wanted = ["renderD128", "renderD129"].map(|name| dev.join(name));
        assert_eq!(nodes.collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn the_memory_for_apps_is_that_of_the_largest_that_is_for_them() {
        let with = |mib: Option<u64>, for_jobs| Gpu {
            vram_mib: mib,
            for_jobs,
            ..Gpu::default()
        };
        let all = [with(Some(81_920), true), with(Some(8_192), false)];
        let mut gpus = Gpus(all.to_vec());
        assert_eq!(gpus.vram_mib_for_apps(), 8_192);
        gpus.0.push(with(Some(24_576), false));
        gpus.0.push(with(None, false));
        assert_eq!(gpus.vram_mib_for_apps(), 24_576);
        assert_eq!(Gpus::default().vram_mib_for_apps(), 0);
    }

    #[test]
    fn a_gpu_of_nvidias_that_cannot_be_addressed_is_given_to_nobody() {
        let gpu = Gpu {
            model: Some("NVIDIA L4".to_owned()),
            render_node: Some(RenderNode {
                path: "/dev/dri/renderD128".into(),
                gid: 105,
            }),
            ..Gpu::default()
        };
        assert!(Gpus(vec![gpu]).for_apps().is_empty());
    }

    #[test]
    fn a_render_node_is_found_by_the_address_that_nvml_gives() {
        let root = tempfile::tempdir().unwrap();
        let (sysfs, dev) = (root.path().join("sys"), root.path().join("dri"));
        let drm = sysfs.join("bus/pci/devices/0000:c1:00.0/drm");
        fs::create_dir_all(drm.join("card1")).unwrap();
        fs::create_dir_all(drm.join("renderD129")).unwrap();
        fs::create_dir_all(&dev).unwrap();
        let of = |bus_id: &str| render_node(&sysfs, &dev, bus_id);
        assert_eq!(of("00000000:C1:00.0"), None, "no device file, no node");
        fs::write(dev.join("renderD129"), "").unwrap();
        let found = of("00000000:C1:00.0").unwrap();
        assert_eq!(found.path, dev.join("renderD129"));
        assert_eq!(found.gid, nix::unistd::getegid().as_raw());
        for other in ["00000000:02:00.0", "", "0000", "00000000:../../../x"] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
