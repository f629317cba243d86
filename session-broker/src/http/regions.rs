//! `GET /v1/regions`: where sessions can run, and how far that is. `GET /v1/beacon`: what a browser times.

use super::Api;
use super::caller::Caller;
use super::problem::Refusal;
use super::serve::Peer;
use crate::access::Permission;
use crate::config::RegionSettings;
use crate::ledger::Estimate;
use axum::Json;
use axum::extract::State;
use axum::http::{Extensions, StatusCode};
use axum::response::IntoResponse;
use nearlight_kit::beacon;
use nearlight_protocol::limits::BEACONS_MAX;
use nearlight_protocol::problem::Problem;
use nearlight_protocol::region::{Region, RegionList, RegionState};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Where sessions can run, nearest first as far as the broker can tell from where the caller asks. Time
/// the beacons, and send what came of it with a create: that counts for more.
#[utoipa::path(
    get, path = "/v1/regions", tag = "nodes",
    security(("api_key" = []), ("guest" = [])),
    responses(
        (status = 200, body = RegionList, description = "All regions; at most six have a beacon."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`unauthenticated`, `too-many-requests`."),
    )
)]
pub(super) async fn list_regions(
    State(api): State<Arc<Api>>,
    caller: Caller,
    extensions: Extensions,
) -> Result<Json<RegionList>, Refusal> {
    caller.check(Permission::SeeNodes)?;
    let player = Peer::of(&extensions).0.ip();
    let estimates = api.nearness.estimates(player, &[]);
    let states = api.sessions.directory().regions();
    let regions = listed(api.nearness.regions(), &states, &estimates);
    Ok(Json(RegionList { regions }))
}

/// What the operator described, then what nodes say beside it; nearest first.
fn listed(
    described: &[RegionSettings],
    states: &BTreeMap<String, RegionState>,
    estimates: &[Estimate],
) -> Vec<Region> {
    let known: BTreeSet<&str> = described
        .iter()
        .map(|region| region.name.as_str())
        .collect();
    let others = states.keys().filter(|name| !known.contains(name.as_str()));
    let others = others.map(|name| RegionSettings {
        name: name.clone(),
        title: name.clone(),
        beacon: None,
        place: None,
    });
    let all = described.iter().cloned().chain(others);
    let mut regions: Vec<Region> = all
        .map(|region| {
            let state = states.get(&region.name).copied();
            let estimate = estimates.iter().find(|e| e.region == region.name);
            Region {
                latitude: region.place.map(|(north, _)| north),
                longitude: region.place.map(|(_, east)| east),
                state: state.unwrap_or(RegionState::Offline),
                rtt_ms: estimate.map(|e| e.ms),
                rtt_from: estimate.map(|e| e.from),
                name: region.name,
                title: region.title,
                beacon: region.beacon,
            }
        })
        .collect();
    regions.sort_by_key(|region| region.rtt_ms.unwrap_or(u32::MAX));
    let beacons = regions.iter_mut().filter(|region| region.beacon.is_some());
    beacons
        .skip(BEACONS_MAX)
        .for_each(|region| region.beacon = None);
    regions
}

/// Answers at once, for whoever times the way here. Pages of other origins may: it tells nothing.
#[utoipa::path(
    get, path = "/v1/beacon", tag = "operations",
    responses((status = 204, description = "Nothing, as fast as can be."))
)]
pub(super) async fn beacon() -> impl IntoResponse {
    (StatusCode::NO_CONTENT, beacon::HEADERS)
}

#[cfg(test)]
mod test {
    use super::*;
    use nearlight_protocol::region::RttFrom;

    fn described(name: &str) -> RegionSettings {
        RegionSettings {
            name: name.to_owned(),
            title: name.to_uppercase(),
            beacon: Some(format!("https://{name}.example/")),
            place: None,
        }
    }

    fn estimate(region: &str, ms: u32) -> Estimate {
        Estimate {
            region: region.to_owned(),
            ms,
            from: RttFrom::Distance,
        }
    }

    #[test]
    fn the_nearest_come_first_and_six_have_beacons() {
        let all: Vec<RegionSettings> = ["a", "b", "c", "d", "e", "f", "g", "h"]
            .map(described)
            .into();
        let estimates = [estimate("g", 10), estimate("h", 9), estimate("a", 200)];
        let shown = listed(&all, &BTreeMap::new(), &estimates);
        let names: Vec<&str> = shown.iter().map(|region| region.name.as_str()).collect();
        assert_eq!(names, ["h", "g", "a", "b", "c", "d", "e", "f"]);
        let timed = shown.iter().filter(|region| region.beacon.is_some());
        assert_eq!(timed.count(), BEACONS_MAX);
        assert!(shown[6].beacon.is_none() && shown[0].beacon.is_some());
        assert_eq!(shown[0].rtt_from, Some(RttFrom::Distance));
    }

    #[test]
    fn a_region_that_only_nodes_know_is_listed_too() {
        let states = [
            ("b".to_owned(), RegionState::Queue),
            ("z".to_owned(), RegionState::Room),
        ];
        let shown = listed(&[described("b"), described("c")], &states.into(), &[]);
        let states: Vec<_> = shown.iter().map(|r| (r.title.as_str(), r.state)).collect();
        let expected = [
            ("B", RegionState::Queue),
            ("C", RegionState::Offline),
            ("z", RegionState::Room),
        ];
        assert_eq!(states, expected);
    }
}
