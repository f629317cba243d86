//! What the node has, as it tells the broker: claims, until somebody proves them.

use crate::config::Config;
use crate::encoders::Encoder;
use crate::gpu::Gpus;
use crate::identity::Identity;
use crate::job::keeper::Stored;
use crate::journal::Journal;
use nearlight_protocol::app::GpuClass;
use nearlight_protocol::control::{self, ImageFault, JobHost, WarmReady};
use nearlight_protocol::limits::CONTROL_MESSAGE_BYTES_MAX;

/// What the node has beside its slots.
#[derive(Clone, Debug)]
pub(crate) struct Inventory {
    cpu_milli: u32,
    mem_mib: u32,
    encode_cpu_milli: u32,
    gpu: GpuClass,
    gpu_models: Vec<String>,
    vram_mib: u32,
    encoders: Vec<String>,
    runtime: &'static str,
    /// What it offers to jobs, if it takes any. Its GPUs fall sick, and are well again.
    pub(crate) jobs: Option<JobHost>,
    /// What the line carries, kbit/s.
    pub(crate) uplink_kbps: Option<u32>,
    /// Images that are here; looked at again now and then.
    pub(crate) images: Vec<String>,
    /// Images that could not be fetched.
    pub(crate) image_faults: Vec<ImageFault>,
    /// Why nothing can be started, if so.
    pub(crate) fault: String,
    /// Desktops that are kept ready.
    pub(crate) warm: Vec<WarmReady>,
}

impl Inventory {
    pub(crate) fn new(
        config: &Config,
        gpus: &Gpus,
        encoders: &[Encoder],
        runtime: &'static str,
        jobs: Option<JobHost>,
    ) -> Self {
        Self {
            cpu_milli: config.cpu_milli,
            mem_mib: config.mem_mib,
            encode_cpu_milli: encode_cpu_milli(config, encoders),
            gpu: class(gpus, encoders),
            gpu_models: gpus.models(),
            vram_mib: gpus.vram_mib_for_apps(),
            encoders: encoders
                .iter()
                .map(|encoder| encoder.name.clone())
                .collect(),
            runtime,
            jobs,
            uplink_kbps: config.uplink_kbps,
            images: Vec::new(),
            image_faults: Vec::new(),
            fault: String::new(),
            warm: Vec::new(),
        }
    }

    /// What the node keeps for jobs.
    pub(crate) fn set_stored(&mut self, stored: Stored) {
        if let Some(jobs) = &mut self.jobs {
            (jobs.volumes, jobs.assets) = (Some(stored.volumes), stored.assets);
        }
    }

    /// The message of it.
    pub(crate) fn describe(&self, node: &Identity, journal: &Journal) -> control::Inventory {
        let slots = journal
            .entries()
            .filter(|entry| node.slots.contains(&entry.slot))
            .map(|entry| control::Slot {
                id: entry.slot,
                epoch: entry.epoch.into(),
            })
            .collect();
        fit(
            control::Inventory {
                slots,
                cpu_milli: self.cpu_milli,
                mem_mib: self.mem_mib,
                encode_cpu_milli: self.encode_cpu_milli,
                gpu: self.gpu,
                gpu_models: self.gpu_models.clone(),
                vram_mib: self.vram_mib,
                encoders: self.encoders.clone(),
                runtime: self.runtime.to_owned(),
                images: self.images.clone(),
                image_faults: self.image_faults.clone(),
                fault: self.fault.clone(),
                warm: self.warm.clone(),
                uplink_kbps: self.uplink_kbps,
                jobs: self.jobs.clone(),
            },
            CONTROL_MESSAGE_BYTES_MAX - ENVELOPE_BYTES,
        )
    }
}

/// What a message of an inventory has beside it.
const ENVELOPE_BYTES: usize = 64;

/// An inventory that one message takes. The longest of those lists goes by halves that cost a look where something
/// is missing, and no more.
fn fit(mut told: control::Inventory, bytes_max: usize) -> control::Inventory {
    while bytes(&told) > bytes_max {
        let mut none = Vec::new();
        let assets = told
            .jobs
            .as_mut()
            .map_or(&mut none, |jobs| &mut jobs.assets);
        let lens = [told.images.len(), told.image_faults.len(), assets.len()];
        // Of some that are alike the last: an asset that is not told is found all the same by who gets here.
        match lens.into_iter().enumerate().max_by_key(|(_, len)| *len) {
            Some((0, len @ 1..)) => told.images.truncate(len / 2),
            Some((1, len @ 1..)) => told.image_faults.truncate(len / 2),
            Some((_, len @ 1..)) => assets.truncate(len / 2),
            // The stream says what it cannot send.
            Some(_) | None => return told,
        }
        tracing::warn!(
            "the inventory is too large for one message, and goes without some of what is here"
        );
    }
    told
}

fn bytes(told: &control::Inventory) -> usize {
    serde_json::to_string(told).map_or(0, |text| text.len())
}

/// CPU of a session whose pictures a GPU encodes: desktop, sound and packets.
const BESIDE_GPU_MILLI: u32 = 250;
/// CPU of one that is encoded by CPU, at 720p60.
const BY_CPU_MILLI: u32 = 1000;
/// CPU that a slot's app has before anything is left for its encoder.
const APP_MILLI: u32 = 1000;

/// CPU that a session takes beside its app. Where the slots' shares are too small for both, the
/// operator has more slots than cores for them, and the encoder takes what is over.
fn encode_cpu_milli(config: &Config, encoders: &[Encoder]) -> u32 {
    let slots = u32::try_from(config.slots).unwrap_or(u32::MAX).max(1);
    let over = (config.cpu_milli / slots).saturating_sub(APP_MILLI);
    match encoders.first() {
        Some(best) if best.is_hardware() => BESIDE_GPU_MILLI.min(over),
        Some(_) | None => BY_CPU_MILLI.min(over),
    }
}

/// A GPU encodes if an encoder of one was seen to encode; that it renders is the driver's word.
fn class(gpus: &Gpus, encoders: &[Encoder]) -> GpuClass {
    if gpus.has_none_for_apps() {
        GpuClass::None
    } else if encoders.iter().any(Encoder::is_hardware) {
        GpuClass::RenderEncode
    } else {
        GpuClass::Render
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::gpu::Gpu;
    use nearlight_protocol::worker::VideoCodec;

    #[test]
    fn an_inventory_fits_in_one_message_and_keeps_what_costs_most_to_miss() {
        let host = crate::preflight::host();
        let args = clap::Parser::parse_from(["edge-node"]);
        let config = Config::load(&args, &host).unwrap();
        let mut inventory = Inventory::new(
            &config,
            &Gpus::from(vec![]),
            &[],
            "docker",
            Some(JobHost::default()),
        );
        inventory.images = (0..512)
            .map(|n| format!("{n}{}", "i".repeat(400)))
            .collect();
        inventory.image_faults = (0..256)
            .map(|n| ImageFault {
                image: format!("{n}{}", "i".repeat(400)),
                detail: "\"".repeat(400),
            })
            .collect();
        let jobs = inventory.jobs.as_mut().unwrap();
        jobs.assets = (0..512)
            .map(|n| format!("{n}{}", "a".repeat(110)))
            .collect();
        let data = tempfile::tempdir().unwrap();
        let journal = Journal::open(data.path(), &[]).unwrap();
        let node = Identity {
            node: nearlight_kit::ids::node(),
            slots: Vec::new(),
        };
        let told = inventory.describe(&node, &journal);
        let message = control::FromEdge::Inventory(told.clone());
        let bytes = serde_json::to_string(&message).unwrap().len();
        assert!(bytes <= CONTROL_MESSAGE_BYTES_MAX, "{bytes}");
        assert!(told.images.len() >= 128 && !told.jobs.unwrap().assets.is_empty());
        assert_eq!(told.images[..], inventory.images[..told.images.len()]);
    }

    #[test]
    fn an_encoder_takes_what_a_slots_share_leaves_to_it() {
        let encoder = |name: &str| Encoder {
            codec: VideoCodec::H264,
            name: name.to_owned(),
        };
        let with = |cpu_milli, slots, name| {
            let host = crate::preflight::host();
            let args = clap::Parser::parse_from(["edge-node"]);
            let mut config = Config::load(&args, &host).unwrap();
            (config.cpu_milli, config.slots) = (cpu_milli, slots);
            encode_cpu_milli(&config, &[encoder(name)])
        };
        assert_eq!(with(8000, 4, "x264enc"), 1000);
        assert_eq!(with(8000, 2, "x264enc"), 1000, "it uses no more");
        assert_eq!(with(3000, 2, "x264enc"), 500);
        assert_eq!(
            with(2000, 2, "x264enc"),
            0,
            "two cores, two slots: as before"
        );
        assert_eq!(with(8000, 4, "nvh264enc"), 250);
    }

    #[test]
    fn the_class_is_what_was_seen() {
        let encoder = |name: &str| Encoder {
            codec: VideoCodec::H264,
            name: name.to_owned(),
        };
        let one = Gpus::from(vec![Gpu::default()]);
        let none = Gpus::from(vec![]);
        let soft = [encoder("x264enc")];
        let hard = [encoder("nvh264enc"), encoder("x264enc")];
        assert_eq!(class(&none, &soft), GpuClass::None);
        assert_eq!(class(&none, &hard), GpuClass::None);
        assert_eq!(class(&one, &soft), GpuClass::Render);
        assert_eq!(class(&one, &hard), GpuClass::RenderEncode);
    }
}
