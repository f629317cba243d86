//! `regions`, `[placement]` and `[geoip]`: where sessions can run, and how near is near enough.

use super::{InvalidConfig, at_least, given};
use nearlight_placement::{LatencyStep, Policy};
use nearlight_protocol::limits::{REGION_BYTES_MAX, RTT_MS_MAX};
use nearlight_protocol::plain::is_plain_text;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::PathBuf;
use url::{Host, Url};

/// Regions that one broker knows places and beacons of.
const REGIONS_MAX: usize = 256;
/// Latency steps of a policy.
const STEPS_MAX: usize = 16;

/// A region, as the file says it. The file explains each key.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "configs/session-broker.toml is their documentation"
)]
pub struct RegionFile {
    pub name: String,
    #[serde(default)]
    pub title: String,
    #[serde(default)]
    pub beacon: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latitude: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longitude: Option<f64>,
}

/// How sessions are placed, as the file says it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "configs/session-broker.toml is their documentation"
)]
pub struct PlacementFile {
    pub steps: Vec<StepFile>,
    pub rtt_ms_unknown: u32,
    pub best_few: u32,
}

/// A latency step, as the file says it.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "configs/session-broker.toml is their documentation"
)]
pub struct StepFile {
    pub rtt_ms_max: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_s: Option<u32>,
}

/// Where addresses are said to be.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "configs/session-broker.toml is their documentation"
)]
pub struct GeoipFile {
    pub file: PathBuf,
}

/// A region that the operator described.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RegionSettings {
    /// As its nodes have it.
    pub name: String,
    /// For people.
    pub title: String,
    /// What browsers time there.
    pub beacon: Option<String>,
    /// Degrees north and east.
    pub place: Option<(f64, f64)>,
}

/// What nearness is made of.
#[derive(Clone, Debug, Serialize)]
pub struct NearnessSettings {
    /// In the operator's order.
    pub regions: Vec<RegionSettings>,
    /// How sessions are placed.
    #[serde(skip)]
    pub policy: Policy,
    /// A MaxMind DB of cities.
    pub geoip: Option<PathBuf>,
}

impl NearnessSettings {
    /// Checks what the file says.
    ///
    /// # Errors
    /// [`InvalidConfig::Value`] with the key.
    pub(super) fn checked(
        regions: Vec<RegionFile>,
        placement: &PlacementFile,
        geoip: GeoipFile,
    ) -> Result<Self, InvalidConfig> {
        let regions: Vec<RegionSettings> =
            regions.into_iter().map(region).collect::<Result<_, _>>()?;
        let mut names = BTreeSet::new();
        if let Some(twice) = regions.iter().find(|region| !names.insert(&region.name)) {
            return Err(wrong("regions", format!("has `{}` twice", twice.name)));
        }
        if regions.len() > REGIONS_MAX {
            let problem = format!("has {} regions; at most {REGIONS_MAX}", regions.len());
            return Err(wrong("regions", problem));
        }
        Ok(Self {
            regions,
            policy: policy(placement)?,
            geoip: given(geoip.file),
        })
    }
}

fn wrong(key: &'static str, problem: String) -> InvalidConfig {
    InvalidConfig::Value { key, problem }
}

fn region(file: RegionFile) -> Result<RegionSettings, InvalidConfig> {
    let fails = |problem: &str| Err(wrong("regions", format!("`{}` {problem}", file.name)));
    if file.name.is_empty() || !is_plain_text(&file.name, REGION_BYTES_MAX) {
        return fails(
            "is no name; give 1 to 64 bytes without control characters, as the nodes' `region` has it",
        );
    }
    let place = match (file.latitude, file.longitude) {
        (None, None) => None,
        (Some(north), Some(east)) if north.abs() <= 90.0 && east.abs() <= 180.0 => {
            Some((north, east))
        }
        (Some(_), Some(_)) => {
            return fails("is nowhere; latitude is -90 to 90, longitude -180 to 180");
        }
        (Some(_), None) | (None, Some(_)) => {
            return fails("needs both latitude and longitude, or neither");
        }
    };
    if !file.beacon.is_empty() && !is_beacon(&file.beacon) {
        return fails(
            "has a beacon that browsers would not ask; give an https URL, or http on a loopback \
             address",
        );
    }
    Ok(RegionSettings {
        title: if file.title.is_empty() {
            file.name.clone()
        } else {
            file.title
        },
        name: file.name,
        beacon: (!file.beacon.is_empty()).then_some(file.beacon),
        place,
    })
}

/// Whether a page of ours may ask it. Its origin also goes into a header, so it must be one.
fn is_beacon(text: &str) -> bool {
    let Ok(url) = Url::parse(text) else {
        return false;
    };
    let is_loopback = match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    let is_plain = url.username().is_empty() && url.password().is_none();
    is_plain && (url.scheme() == "https" || url.scheme() == "http" && is_loopback)
}

fn policy(file: &PlacementFile) -> Result<Policy, InvalidConfig> {
    at_least("placement.best_few", file.best_few, 1)?;
    let steps = &file.steps;
    let key = "placement.steps";
    if steps.len() > STEPS_MAX {
        return Err(wrong(key, format!("has more than {STEPS_MAX} steps")));
    }
    if !steps.is_sorted_by(|a, b| a.rtt_ms_max < b.rtt_ms_max) {
        return Err(wrong(key, "must widen from step to step".to_owned()));
    }
    if steps.iter().rev().skip(1).any(|step| step.for_s.is_none()) {
        let problem = "need `for_s`, seconds, in every step but the last";
        return Err(wrong(key, problem.to_owned()));
    }
    if steps.iter().any(|step| step.rtt_ms_max > RTT_MS_MAX) {
        let problem = format!("go beyond {RTT_MS_MAX} ms, which is as far as anything counts");
        return Err(wrong(key, problem));
    }
    let step = |step: &StepFile| LatencyStep {
        rtt_ms_max: step.rtt_ms_max,
        for_s: step.for_s,
    };
    Ok(Policy {
        steps: steps.iter().map(step).collect(),
        rtt_ms_unknown: file.rtt_ms_unknown,
        best_few: usize::try_from(file.best_few).unwrap_or(usize::MAX),
        ..Policy::default()
    })
}

#[cfg(test)]
mod test {
    use super::*;

    fn defaults() -> (Vec<RegionFile>, PlacementFile) {
        let parsed = super::super::Parsed::load(None).unwrap();
        (parsed.regions, parsed.placement)
    }

    fn named(name: &str) -> RegionFile {
        RegionFile {
            name: name.to_owned(),
            ..RegionFile::default()
        }
    }

    fn check(regions: Vec<RegionFile>, change: impl FnOnce(&mut PlacementFile)) -> String {
        let mut placement = defaults().1;
        change(&mut placement);
        let geoip = GeoipFile {
            file: PathBuf::new(),
        };
        match NearnessSettings::checked(regions, &placement, geoip) {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_region_has_a_name_of_its_own_and_a_beacon_that_browsers_ask() {
        let with = |beacon: &str| RegionFile {
            beacon: beacon.to_owned(),
            ..named("fra")
        };
        for good in [
            "",
            "https://fra.example/v1/beacon",
            "http://127.0.0.1:9/v1/beacon",
            "http://[::1]:9/",
            "http://localhost/",
        ] {
            assert_eq!(check(vec![with(good)], |_| {}), "", "{good}");
        }
        for bad in [
            "http://fra.example/",
            "ftp://a/",
            "fra.example",
            "https://a:b@c/",
        ] {
            assert!(check(vec![with(bad)], |_| {}).contains("beacon"), "{bad}");
        }
        assert!(check(vec![named("a"), named("a")], |_| {}).contains("`a` twice"));
        assert!(check(vec![named("")], |_| {}).contains("no name"));
        let half = RegionFile {
            latitude: Some(1.0),
            ..named("a")
        };
        assert!(check(vec![half.clone()], |_| {}).contains("both"));
        let nowhere = RegionFile {
            longitude: Some(181.0),
            ..half
        };
        assert!(check(vec![nowhere], |_| {}).contains("nowhere"));
    }

    #[test]
    fn steps_widen_and_all_but_the_last_end() {
        let step = |rtt_ms_max, for_s| StepFile { rtt_ms_max, for_s };
        let of = |steps: Vec<StepFile>| check(Vec::new(), |p| p.steps = steps);
        assert_eq!(of(vec![]), "");
        assert_eq!(of(vec![step(20, Some(1)), step(40, None)]), "");
        assert!(of(vec![step(20, None), step(40, None)]).contains("for_s"));
        assert!(of(vec![step(20, Some(1)), step(20, None)]).contains("widen"));
        assert!(of(vec![step(1001, None)]).contains("1000 ms"));
        assert!(check(Vec::new(), |p| p.best_few = 0).contains("best_few"));
    }
}
