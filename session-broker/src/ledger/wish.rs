//! What placement knows of a session's player, kept with the session: a broker that takes it over, or
//! starts again, places it as the first one would have.

use nearlight_placement::Rtts;
use nearlight_protocol::id::NodeId;
use nearlight_protocol::region::RttFrom;
use serde::{Deserialize, Serialize};

/// Where a session should run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// The region that the player chose; `None` for the nearest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The node that has the player's saves, and must run it; `None` for any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub save: Option<NodeId>,
    /// The node that a checker's probe is to meet; `None` of everybody else's sessions. It never waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probed: Option<NodeId>,
    /// What an app may cost a second where it is placed, millionths of the currency's unit; `None` for no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_max: Option<u32>,
    /// Round trips to regions, as they were estimated when the session was created.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub estimates: Vec<Estimate>,
}

/// The round trip between a player and a region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Estimate {
    /// The region.
    pub region: String,
    /// Milliseconds.
    pub ms: u32,
    /// Who says so.
    pub from: RttFrom,
}

impl Wish {
    /// The one node that may run it.
    pub(crate) fn node(&self) -> Option<&NodeId> {
        self.probed.as_ref().or(self.save.as_ref())
    }

    /// The estimates as placement reads them.
    pub(crate) fn rtts(&self) -> Rtts {
        Rtts::new(self.estimates.iter().map(|e| (e.region.clone(), e.ms)))
    }

    /// Where the estimate for a region comes from.
    pub(crate) fn source(&self, region: &str) -> Option<RttFrom> {
        let found = self.estimates.iter().find(|e| e.region == region);
        found.map(|estimate| estimate.from)
    }
}
