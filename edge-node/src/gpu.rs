//! The GPUs of this host, as NVML tells. Every value is optional by itself: a MIG slice, a laptop and
//! a data-centre card each leave out others.
//!
//! **What it does not know:** whether containers can use them. The first start that asks finds out.

use crate::runtime::plan::{AppGpu, RenderNode};
use nvml_wrapper::Nvml;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// One GPU.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gpu {
    /// How it is addressed; without it no container can be given this GPU.
    pub(crate) uuid: Option<String>,
    /// Its model.
    pub(crate) model: Option<String>,
    /// Its memory, MiB.
    pub(crate) vram_mib: Option<u64>,
    /// Through which programs render on it.
    pub(crate) render_node: Option<RenderNode>,
}

/// The render node of a PCI device, by its address in sysfs.
pub(crate) fn render_node(sysfs: &Path, dev: &Path, bus_id: &str) -> Option<RenderNode> {
    // NVML writes the domain with eight digits, sysfs with four: 00000000:01:00.0.
    let short = bus_id.to_ascii_lowercase();
    let short = short.strip_prefix("0000").filter(|s| s.len() == 12)?;
    let nodes = fs::read_dir(sysfs.join("bus/pci/devices").join(short).join("drm")).ok()?;
    let name = nodes
        .flatten()
        .filter_map(|node| node.file_name().into_string().ok())
        .find(|name| name.starts_with("renderD"))?;
    let path = dev.join(name);
    let gid = fs::metadata(&path).ok()?.gid();
    Some(RenderNode { path, gid })
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
    /// Asks NVML. No library or no driver means no GPU, which is nothing to worry about.
    pub(crate) fn probe() -> Self {
        let nvml = match Nvml::init() {
            Ok(nvml) => nvml,
            Err(error) => {
                tracing::info!(%error, "no GPU: NVML does not answer, apps render in software");
                return Self::default();
            }
        };
        let count = nvml.device_count().unwrap_or(0);
        let all = (0..count).filter_map(|index| {
            let device = match nvml.device_by_index(index) {
                Ok(device) => device,
                Err(error) => {
                    tracing::warn!(index, %error, "a GPU cannot be used");
                    return None;
                }
            };
            let gpu = Gpu {
                uuid: device.uuid().ok(),
                model: device.name().ok(),
                vram_mib: device.memory_info().ok().map(|m| m.total / (1024 * 1024)),
                render_node: device.pci_info().ok().and_then(|pci| {
                    let (sysfs, dev) = (Path::new("/sys"), Path::new("/dev/dri"));
                    render_node(sysfs, dev, &pci.bus_id)
                }),
            };
            tracing::info!(index, model = ?gpu.model, vram_mib = ?gpu.vram_mib, "GPU found");
            Some(gpu)
        });
        Self(all.collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Their models, where they are known.
    pub(crate) fn models(&self) -> Vec<String> {
        self.0.iter().filter_map(|gpu| gpu.model.clone()).collect()
    }

    /// Those that an app can be given.
    pub(crate) fn for_apps(&self) -> Vec<AppGpu> {
        let addressed = self.0.iter().filter_map(|gpu| {
            Some(AppGpu {
                uuid: gpu.uuid.clone()?,
                render_node: gpu.render_node.clone(),
            })
        });
        addressed.collect()
    }
}

#[cfg(test)]
mod test {
    use super::*;

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
