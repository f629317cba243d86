//! What a broker tells of a round's assignments, as an audit reads it: `GET /v1/assignments?round=`, or a line of an
//! export. Members that it does not need are left alone.

use nearlight_proof::beacon::anchor::Anchor;
use nearlight_proof::key::KeyId;
use nearlight_proof::log::tree::Hash;
use nearlight_proof::porc::committee::Checker;
use nearlight_proof::porc::schedule::{Due, Duty};
use nearlight_proof::porc::streams::could_play;
use serde::Deserialize;

/// The longest that a check may be said to take, seconds: a day, as brokers take it.
const CAPACITY_S_MAX: u64 = 86_400;
/// The most that a committee may be said to have.
const COMMITTEE_MAX: usize = 64;

#[derive(Debug, Deserialize)]
struct Shown {
    round: u64,
    value: KeyId,
    #[serde(default)]
    began_unix_ms: u64,
    committees: Vec<u32>,
    checkers_root: KeyId,
    checkers: Vec<CheckerTold>,
    assignments: Vec<RowTold>,
}

#[derive(Debug, Deserialize)]
struct CheckerTold {
    key_id: KeyId,
    operator: String,
    #[serde(default)]
    plays_since_s: Option<u64>,
}

/// An assignment.
#[derive(Debug, Deserialize)]
pub(super) struct RowTold {
    pub(super) duty: String,
    pub(super) node_key_id: KeyId,
    pub(super) checker: KeyId,
    pub(super) place: u32,
    pub(super) until_unix_ms: u64,
    pub(super) state: String,
    pub(super) why: String,
    pub(super) leaf: String,
}

/// A round.
#[derive(Debug)]
pub(super) struct RoundTold {
    pub(super) round: u64,
    pub(super) value: Hash,
    pub(super) checkers_root: KeyId,
    /// When it began, as the broker says.
    pub(super) began_ms: u64,
    /// Whether streams are checked, as the broker says.
    pub(super) streams: bool,
    committee: usize,
    checkers: Vec<CheckerTold>,
    rows: Vec<RowTold>,
}

impl RoundTold {
    /// `None` for anything else than a broker answers.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let shown: Shown = serde_json::from_slice(bytes).ok()?;
        let committee = usize::try_from(*shown.committees.get(1)?).ok()?;
        Some(Self {
            round: shown.round,
            value: shown.value.0,
            checkers_root: shown.checkers_root,
            began_ms: shown.began_unix_ms,
            streams: shown.committees.get(2).is_some_and(|takes| *takes > 0),
            committee: Some(committee).filter(|of| (1..=COMMITTEE_MAX).contains(of))?,
            checkers: shown.checkers,
            rows: shown.assignments,
        })
    }

    /// How many checkers a capacity check takes.
    pub(super) const fn committee(&self) -> usize {
        self.committee
    }

    /// For how long one may take, seconds, by the first assignments of one: those who stand in have until later.
    pub(super) fn capacity_s(&self, anchor: &Anchor) -> Option<u64> {
        let began_ms = anchor.begins_ms(self.round);
        let probes = self
            .rows
            .iter()
            .filter(|row| Due::of_name(&row.duty).is_some_and(|due| due.duty == Duty::Capacity));
        let ends_ms = probes.map(|row| row.until_unix_ms).min()?;
        let takes_ms = ends_ms.checked_sub(began_ms).filter(|takes| *takes > 0)?;
        Some((takes_ms / 1000).min(CAPACITY_S_MAX))
    }

    /// The set, as the broker says.
    pub(super) fn set(&self) -> Vec<Checker> {
        let one = |of: &CheckerTold| Checker {
            key: of.key_id,
            operator: of.operator.clone(),
        };
        self.checkers.iter().map(one).collect()
    }

    /// Whether a checker has played streams since before the round began, as it told the broker.
    pub(super) fn plays(&self, checker: &KeyId) -> bool {
        let of = self.checkers.iter().find(|of| of.key_id == *checker);
        let since_s = of.and_then(|of| of.plays_since_s);
        since_s.is_some_and(|since_s| could_play(since_s, self.began_ms))
    }

    /// The assignments about a node.
    pub(super) fn of(&self, node: &KeyId) -> impl Iterator<Item = &RowTold> {
        self.rows.iter().filter(move |row| row.node_key_id == *node)
    }
}
