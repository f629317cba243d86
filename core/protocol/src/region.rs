//! Regions, and how far they are from a player: `GET /v1/regions`, and what a create brings and is told.
//!
//! A region is one metro: its nodes share one round trip to a player. What the player's browser measures
//! is a claim of its own, and changes nothing but where its own sessions run.

use crate::placement::LatencyStep;
use serde::{Deserialize, Serialize};

/// `GET /v1/regions`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema)]
pub struct RegionList {
    /// Nearest first as far as the broker can tell, then as the operator has them.
    pub regions: Vec<Region>,
}

/// Where sessions can run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema)]
pub struct Region {
    /// Its name, as nodes and requests have it.
    pub name: String,
    /// Its name for people.
    pub title: String,
    /// Degrees north, where the operator says so.
    pub latitude: Option<f64>,
    /// Degrees east, where the operator says so.
    pub longitude: Option<f64>,
    /// An address that answers at once and stands where the nodes stand; the caller times it. At most
    /// [`crate::limits::BEACONS_MAX`] regions of an answer have one.
    pub beacon: Option<String>,
    /// Whether something can be played there now.
    pub state: RegionState,
    /// The round trip between caller and region as the broker estimates it, milliseconds.
    pub rtt_ms: Option<u32>,
    /// Where that comes from.
    pub rtt_from: Option<RttFrom>,
}

/// Whether something can be played in a region.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum RegionState {
    /// Some node has a free slot.
    Room,
    /// Nodes are there, and every slot is taken.
    Queue,
    /// No node takes sessions.
    Offline,
}

/// Where a round trip comes from, the best source first.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum RttFrom {
    /// The player's browser timed the region's beacon.
    Measured,
    /// Streams between the player's network and the region.
    Sessions,
    /// The distance between where the player's address is said to be and the region.
    Distance,
}

/// A round trip that the caller measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegionRtt {
    /// To this region.
    pub region: String,
    /// Milliseconds; counted as 1 to [`crate::limits::RTT_MS_MAX`].
    pub ms: u32,
}

/// Where a session runs, and why there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema)]
pub struct PlacedIn {
    /// The region.
    pub region: String,
    /// Whether the caller had chosen it.
    pub chosen: bool,
    /// The round trip that counted, milliseconds; null while nobody knows it.
    pub rtt_ms: Option<u32>,
    /// Where that comes from.
    pub rtt_from: Option<RttFrom>,
    /// The latency step that the region is near enough for; null where none was in force.
    pub step: Option<LatencyStep>,
}
