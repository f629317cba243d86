//! `[checks]`: how nodes are checked.

use super::InvalidConfig;
use serde::{Deserialize, Serialize};

/// The longest round, seconds.
const ROUND_S_MAX: u32 = 3600;
/// The largest committee.
const COMMITTEE_MAX: u32 = 16;

/// What the file says, and the broker runs with. The file explains each.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "configs/session-broker.toml is their documentation"
)]
pub struct Checks {
    pub round_s: u32,
    pub committee: u32,
    pub capacity_s: u32,
    pub class: String,
}

impl Checks {
    pub(super) fn checked(self) -> Result<Self, InvalidConfig> {
        let wrong = |key, problem: String| Err(InvalidConfig::Value { key, problem });
        if !(1..=ROUND_S_MAX).contains(&self.round_s) {
            let problem = format!("is {}; give 1 to {ROUND_S_MAX} seconds", self.round_s);
            return wrong("checks.round_s", problem);
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
        Ok(self)
    }
}
