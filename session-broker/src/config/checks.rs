//! `[checks]`: how nodes are checked.

use super::InvalidConfig;
use nearlight_proof::beacon::used::Beacon;
use nearlight_protocol::id::AppId;
use serde::{Deserialize, Serialize};
use url::Url;

/// The longest round, seconds.
const ROUND_S_MAX: u32 = 3600;
/// The largest committee.
const COMMITTEE_MAX: u32 = 16;

/// The shortest and the longest time for a probe of a stream, seconds: it plays 15, and waits for the session's receipt.
const STREAM_S_MIN: u32 = 45;
const STREAM_S_MAX: u32 = 900;

/// The longest time for disputes, days: a third of that for which evidence is kept at least.
const DISPUTE_DAYS_MAX: u32 = nearlight_proof::receipt::verify::DISPUTE_DAYS_MAX as u32;
/// The most that a check may earn, micro-units.
const REWARD_MAX: u64 = 1_000_000_000;

/// A round of checks has at least so many rounds of a beacon outside: half of it is waited for one.
const PERIODS_MIN: u64 = 4;
/// The most relays of one.
const RELAYS_MAX: usize = 16;

/// What the file says, and the broker runs with. The file explains each.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "configs/session-broker.toml is their documentation"
)]
pub struct Checks {
    pub beacon: Beacon,
    pub beacon_relays: Vec<String>,
    pub round_s: u32,
    pub committee: u32,
    pub capacity_s: u32,
    pub class: String,
    pub gpu_class: String,
    pub stream_app: String,
    pub stream_s: u32,
    pub dispute_days: u32,
    pub slash_permille: u32,
    pub reward_micro: u64,
}

impl Checks {
    pub(super) fn checked(self, guests: bool) -> Result<Self, InvalidConfig> {
        let wrong = |key, problem: String| Err(InvalidConfig::Value { key, problem });
        if !(1..=ROUND_S_MAX).contains(&self.round_s) {
            let problem = format!("is {}; give 1 to {ROUND_S_MAX} seconds", self.round_s);
            return wrong("checks.round_s", problem);
        }
        if let Some((key, problem)) = self.wrong_beacon() {
            return wrong(key, problem);
        }
        if !(1..=COMMITTEE_MAX).contains(&self.committee) {
            let problem = format!("is {}; give 1 to {COMMITTEE_MAX}", self.committee);
            return wrong("checks.committee", problem);
        }
        if !(self.round_s..=86_400).contains(&self.capacity_s) {
            let problem = "is less than a round, or more than a day".to_owned();
            return wrong("checks.capacity_s", problem);
        }
        if self.class.is_empty() || self.class.len() > 64 {
            let problem = "is no class of a table; give its name, such as software".to_owned();
            return wrong("checks.class", problem);
        }
        if self.gpu_class.len() > 64 {
            let problem = "is no class of a table; give its name, or nothing".to_owned();
            return wrong("checks.gpu_class", problem);
        }
        let app = &self.stream_app;
        if !app.is_empty() && app.parse::<AppId>().is_err() {
            let problem = "is no name of the catalogue; give one, or nothing".to_owned();
            return wrong("checks.stream_app", problem);
        }
        if !app.is_empty() && !guests {
            let problem =
                "checkers play as guests, and `guests` is off; take one of both back".to_owned();
            return wrong("checks.stream_app", problem);
        }
        if !(STREAM_S_MIN..=STREAM_S_MAX).contains(&self.stream_s) {
            let problem = format!(
                "is {}; give {STREAM_S_MIN} to {STREAM_S_MAX}",
                self.stream_s
            );
            return wrong("checks.stream_s", problem);
        }
        if !(1..=DISPUTE_DAYS_MAX).contains(&self.dispute_days) {
            let problem = format!("is {}; give 1 to {DISPUTE_DAYS_MAX}", self.dispute_days);
            return wrong("checks.dispute_days", problem);
        }
        if self.slash_permille > 1_000 {
            let problem = format!("is {}; give 0 to 1000", self.slash_permille);
            return wrong("checks.slash_permille", problem);
        }
        if self.reward_micro > REWARD_MAX {
            let problem = format!("is {}; give 0 to {REWARD_MAX}", self.reward_micro);
            return wrong("checks.reward_micro", problem);
        }
        Ok(self)
    }

    fn wrong_beacon(&self) -> Option<(&'static str, String)> {
        let Beacon::Drand(network) = self.beacon else {
            return None;
        };
        let least_s = PERIODS_MIN * network.period_s();
        if u64::from(self.round_s) < least_s {
            let problem = format!(
                "is {}; `checks.beacon` takes rounds of {least_s} seconds or more",
                self.round_s
            );
            return Some(("checks.round_s", problem));
        }
        let relays = &self.beacon_relays;
        let is_web = |url: &String| {
            let known = Url::parse(url);
            known.is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        };
        let fit = (1..=RELAYS_MAX).contains(&relays.len()) && relays.iter().all(is_web);
        let problem = || format!("are 1 to {RELAYS_MAX} URLs, each with the chain's hash");
        (!fit).then(|| ("checks.beacon_relays", problem()))
    }
}
