//! The GPUs of this host, as NVML tells. Every value is optional by itself: a MIG slice, a laptop and
//! a data-centre card each leave out others.
//!
//! **What it does not know:** whether containers can use them. The first start that asks finds out.

use nvml_wrapper::Nvml;

/// One GPU.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gpu {
    /// How it is addressed; without it no container can be given this GPU.
    pub(crate) uuid: Option<String>,
    /// Its model.
    pub(crate) model: Option<String>,
    /// Its memory, MiB.
    pub(crate) vram_mib: Option<u64>,
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

    /// How they are addressed.
    pub(crate) fn uuids(&self) -> Vec<String> {
        self.0.iter().filter_map(|gpu| gpu.uuid.clone()).collect()
    }
}
