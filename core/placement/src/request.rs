//! What placement is told of a session that wants a node.

use crate::job::{JobNeed, choose_gpus};
use crate::node::Trust;
use crate::price::{Place, Rates};
use nearlight_protocol::app::GpuClass;
use nearlight_protocol::control::JobHost;
use nearlight_protocol::id::NodeId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a session needs, and what is known of its player.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionRequest {
    /// Thousandths of a core; at least one counts.
    pub cpu_milli: u32,
    /// MiB.
    pub mem_mib: u32,
    /// Uplink, kbit/s.
    pub kbps: u32,
    /// GPU class, or better.
    pub gpu: GpuClass,
    /// VRAM, MiB.
    pub vram_mib: u32,
    /// The image it runs.
    pub image: String,
    /// The app of which a ready desktop would do; `None` where none would.
    pub desktop: Option<String>,
    /// The runtime it must have; `None` for any.
    pub runtime: Option<String>,
    /// The regions it may run in; empty for any.
    pub regions: Vec<String>,
    /// The regions it may not run in.
    pub regions_not: Vec<String>,
    /// Trust class, or better.
    pub trust: Trust,
    /// What it costs.
    pub rates: Rates,
    /// The most it may cost, GPUs aside, millionths of the currency an hour; `None` for no limit.
    pub price_micro_h_max: Option<u64>,
    /// Estimated round trips from the player to each region.
    pub rtts: Rtts,
    /// How many of its tenant's sessions each operator has.
    pub held: BTreeMap<String, u32>,
    /// Nodes that it is not to go to, for its starts fail there.
    pub refused: BTreeSet<NodeId>,
    /// Nodes whose room is held for others.
    pub held_against: BTreeSet<NodeId>,
    /// What it asks for as a job; `None` for an app.
    pub job: Option<JobNeed>,
    /// How long it has waited, milliseconds.
    pub waited_ms: u64,
}

impl SessionRequest {
    /// Whether a node has to have the image already.
    pub(crate) fn needs_image_here(&self) -> bool {
        self.job.as_ref().is_some_and(|job| job.image_here)
    }

    /// How many GPUs it has for itself.
    pub fn gpus(&self) -> u32 {
        self.job.as_ref().map_or(0, JobNeed::gpus)
    }

    /// Its assets.
    pub(crate) fn assets(&self) -> &[String] {
        self.job.as_ref().map_or(&[], |job| &job.assets)
    }

    /// Disk that its volumes take beside, MiB.
    pub fn volumes_mib(&self) -> u32 {
        self.job.as_ref().map_or(0, |job| job.volumes_mib)
    }

    /// Disk that it takes in all, MiB.
    pub(crate) fn disk_new_mib(&self) -> u32 {
        self.job.as_ref().map_or(0, JobNeed::disk_new_mib)
    }

    /// Disk that it is held to, MiB.
    pub fn disk_mib(&self) -> u32 {
        self.job.as_ref().map_or(0, |job| job.disk_mib)
    }

    /// CPU that a session of this kind takes beside its own on a node whose encoder takes `milli`.
    pub fn encode_cpu_milli(&self, milli: u32) -> u32 {
        match self.job {
            Some(_) => 0,
            None => milli,
        }
    }

    /// Points for what it costs on a node whose GPUs in `free` no job has.
    pub(crate) fn price_on<'a>(
        &'a self,
        (permille, encode_cpu_milli): (u32, u32),
        free: u64,
        host: impl FnOnce() -> Option<&'a JobHost>,
    ) -> u32 {
        let wants = |job: &&JobNeed| job.gpu.is_some() && !self.rates.is_free();
        let job = self.job.as_ref().filter(wants);
        let chosen = job.and_then(|job| choose_gpus(&host()?.gpus, free, job));
        let gpus = chosen.iter().flatten();
        let rates = gpus.map(|gpu| self.rates.gpu(&gpu.model));
        self.rates.points(Place {
            permille,
            encode_cpu_milli: self.encode_cpu_milli(encode_cpu_milli),
            gpus: rates.fold(0, u64::saturating_add),
        })
    }

    /// Whether it costs more on a node than it may, GPUs aside.
    pub(crate) fn is_dear(&self, permille: u32, encode_cpu_milli: u32) -> bool {
        let place = Place {
            permille,
            encode_cpu_milli: self.encode_cpu_milli(encode_cpu_milli),
            gpus: 0,
        };
        self.price_micro_h_max
            .is_some_and(|max| self.rates.at(place) > max)
    }

    /// Whether a node's GPU is wasted on it.
    pub(crate) fn wastes_gpus(&self) -> bool {
        self.gpu == GpuClass::None && self.gpus() == 0
    }
}

/// Estimated round trips from one player to the regions, nearest first. A clone is cheap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rtts(Arc<Estimates>);

/// One after the other in memory, for a search reads them from the start.
#[derive(Debug, Default, PartialEq, Eq)]
struct Estimates {
    names: String,
    /// Where each name ends, and milliseconds.
    entries: Vec<(usize, u32)>,
}

impl Rtts {
    /// From regions and milliseconds. Of a region that comes twice the lesser counts; one that is
    /// missing is unknown.
    pub fn new(estimates: impl IntoIterator<Item = (String, u32)>) -> Self {
        let mut least: BTreeMap<String, u32> = BTreeMap::new();
        for (region, ms) in estimates {
            let known = least.entry(region).or_insert(ms);
            *known = ms.min(*known);
        }
        let mut sorted: Vec<(String, u32)> = least.into_iter().collect();
        sorted.sort_by(|(a, m), (b, n)| m.cmp(n).then_with(|| a.cmp(b)));
        let mut estimates = Estimates::default();
        for (region, ms) in sorted {
            estimates.names.push_str(&region);
            estimates.entries.push((estimates.names.len(), ms));
        }
        Self(Arc::new(estimates))
    }

    /// Milliseconds to a region, if they are known.
    pub fn to(&self, region: &str) -> Option<u32> {
        let found = self.nearest_first().find(|(name, _)| *name == region);
        found.map(|(_, ms)| ms)
    }

    /// All of them, nearest first.
    pub(crate) fn nearest_first(&self) -> NearestFirst<'_> {
        NearestFirst {
            names: &self.0.names,
            from: 0,
            entries: self.0.entries.iter(),
        }
    }
}

/// Regions with their round trips, nearest first.
#[derive(Clone, Debug)]
pub(crate) struct NearestFirst<'a> {
    names: &'a str,
    from: usize,
    entries: std::slice::Iter<'a, (usize, u32)>,
}

impl<'a> Iterator for NearestFirst<'a> {
    type Item = (&'a str, u32);

    fn next(&mut self) -> Option<Self::Item> {
        let (end, ms) = self.entries.next()?;
        let from = std::mem::replace(&mut self.from, *end);
        Some((&self.names[from..*end], *ms))
    }
}
