//! What placement is told of a session that wants a node.

use crate::node::Trust;
use nearlight_protocol::app::GpuClass;
use std::collections::BTreeMap;
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
    /// The runtime it must have; `None` for any.
    pub runtime: Option<String>,
    /// The regions it may run in; empty for any.
    pub regions: Vec<String>,
    /// Trust class, or better.
    pub trust: Trust,
    /// The most it may cost, thousandths of the currency an hour; `None` for no limit.
    pub price_milli_h_max: Option<u32>,
    /// Estimated round trips from the player to each region.
    pub rtts: Rtts,
    /// How many of its tenant's sessions each operator has.
    pub held: BTreeMap<String, u32>,
    /// How long it has waited, milliseconds.
    pub waited_ms: u64,
}

/// Estimated round trips from one player to the regions, nearest first. A clone is cheap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rtts(Arc<[(String, u32)]>);

impl Default for Rtts {
    /// Nothing is known.
    fn default() -> Self {
        Self(Arc::new([]))
    }
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
        Self(sorted.into())
    }

    /// Milliseconds to a region, if they are known.
    pub fn to(&self, region: &str) -> Option<u32> {
        let found = self.0.iter().find(|(name, _)| name == region);
        found.map(|(_, ms)| *ms)
    }

    /// All of them, nearest first.
    pub(crate) fn nearest_first(&self) -> &[(String, u32)] {
        &self.0
    }
}
