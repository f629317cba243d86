//! Values of rounds that drand gave, as a broker tells their signatures: each is verified, or it counts for nothing.
//!
//! **Invariants.** A value is of the round of drand that the rule says. Of the newest rounds all signatures are verified, so
//! that none in which a check was due is hidden behind a made-up one; of older ones those that say that something was due.
//! A round that is told to have none is named, and so is one of which nothing is told, or no signature; not where drand itself
//! says what the value was, and nothing was due by it: what would be `left-out` in a round with a value, and nothing else.
//!
//! **What it does not know:** whether relays had a value in time that the broker says it did not get.

use super::duties::{CAPACITY_S, Values, due, panel};
use super::history::History;
use super::log::garbled;
use super::told::RoundTold;
use super::{AuditError, Finding, Oddity, Source, streams};
use nearlight_proof::beacon::used::{Beacon, Timetable};
use nearlight_proof::encoding::{array_from_hex, sha256};
use nearlight_proof::log::tree::Hash;
use nearlight_proof::porc::panel;
use nearlight_proof::porc::schedule;
use nearlight_proof::receipt::directory::Role;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// Rounds of one answer.
const ROUNDS_BEFORE: u64 = 4096;
/// The newest rounds, of which every signature is verified: a week of minutes.
const ALL_VERIFIED: u64 = 7 * 1440;
/// Rounds without a value that are named.
const NAMED_MAX: usize = 5;
/// Rounds without a value of which drand itself is asked, the newest.
const ASKED_MAX: usize = 256;
const DAY_MS: u64 = 24 * 3600 * 1000;

/// `GET /v1/beacon/{round}?before=`, or what an export has of it.
#[derive(Debug, Deserialize)]
struct Told {
    round: u64,
    #[serde(default)]
    signature: Option<String>,
    #[serde(default)]
    before: Vec<String>,
    /// Whether nothing is said by what is missing.
    #[serde(default)]
    partial: bool,
}

/// Signatures by round, empty where there is none.
#[derive(Debug, Default)]
struct Signatures {
    of: BTreeMap<u64, String>,
    /// Whether nothing is said by what is missing.
    partial: bool,
}

/// What is asked for.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    /// The newest round.
    pub(super) last: u64,
    /// What is told of rounds, which matter for that.
    pub(super) told: &'a BTreeMap<u64, RoundTold>,
    pub(super) now_ms: u64,
}

/// What was drawn.
#[derive(Debug, Default)]
pub(super) struct Drawn {
    pub(super) values: Values,
    /// Rounds that are void, and in which by drand's own value nothing of the node was due.
    pub(super) void: usize,
}

/// The values of the rounds that matter to the node, and of those that are wanted besides.
pub(super) fn drawn<S: Source>(
    source: &mut S,
    (history, table): (&History<'_>, &Timetable),
    wanted: &Wanted<'_>,
    findings: &mut Vec<Finding>,
) -> Result<Drawn, AuditError<S::Error>> {
    let (node, last) = (history.node(), wanted.last);
    let known = history.directory().find(&node, Role::Node);
    let outside = |of: &Beacon| matches!(of, Beacon::Drand(_));
    let mut uses = table.uses().iter().filter(|of| outside(&of.beacon));
    let (Some((_, entry)), Some(begins)) = (known, uses.next()) else {
        return Ok(Drawn::default());
    };
    let anchor = table.anchor();
    let since = anchor.round_at(entry.from_s.saturating_mul(1000));
    let first = since.unwrap_or(1).max(begins.from_round);
    if first > last {
        return Ok(Drawn::default());
    }
    let told = told(source, (first, last))?;
    let checked: BTreeSet<u64> = history.checks().map(|check| check.porc.round).collect();
    let rendered = streams::rendered(history, anchor);
    let judged = streams::first_judged(history, anchor);
    let a_day = (DAY_MS / anchor.round_ms).max(1);
    let matters = |number: u64, value: Hash| {
        let round = schedule::Round {
            number,
            value,
            a_day,
        };
        wanted.told.contains_key(&number)
            || checked.contains(&number)
            || rendered.contains(&number)
            || schedule::capacity_is_due(&round, &entry.operator)
            || streams::is_drawn(judged, &round, &node)
    };
    let (mut values, mut without, mut garbled) = (Values::new(), Vec::new(), Vec::new());
    for round in (first..=last).filter(|round| table.drand(*round).is_some()) {
        let Some(text) = told.of.get(&round).filter(|text| !text.is_empty()) else {
            without.push(round);
            continue;
        };
        let Some(signature): Option<[u8; 48]> = array_from_hex(text) else {
            garbled.push(round);
            continue;
        };
        let of_it = matters(round, sha256(&[&signature]));
        if !of_it && round.saturating_add(ALL_VERIFIED) <= last {
            continue;
        }
        match table.value(round, &signature) {
            Ok(value) => values.extend(of_it.then_some((round, value))),
            Err(why) => findings.push(Finding {
                oddity: Oddity::WrongAssignment,
                entries: Vec::new(),
                words: format!("round {round}: the signature that is told is none {why}"),
            }),
        }
    }
    if told.of.is_empty() {
        findings.push(Finding {
            oddity: Oddity::NotTold,
            entries: Vec::new(),
            words: format!("of the values of rounds {first} to {last} nothing is told"),
        });
        let void = 0;
        return Ok(Drawn { values, void });
    }
    // The round of this moment may wait for its value.
    without.retain(|round| *round < last);
    let mut void = 0;
    if told.partial {
        let words = "of the values of some rounds nothing is told by what was saved, nor whether something was due in them";
        findings.extend(of_rounds(Oddity::NotTold, words, &without));
    } else {
        let was_due = |round, value| was_due(history, wanted, &rendered, (round, value));
        let (more, idle) = by_drand(source, table, &without, was_due);
        findings.extend(more);
        void = idle;
    }
    let words = "what is told as a signature is not 96 hex digits";
    findings.extend(of_rounds(Oddity::WrongAssignment, words, &garbled));
    Ok(Drawn { values, void })
}

/// Whether a check was due in a round that has no value by the broker's word, if this is its value: as of any other round, with
/// the newest that is told in its place for whether streams are checked, and who plays.
fn was_due(
    history: &History<'_>,
    wanted: &Wanted<'_>,
    rendered: &BTreeSet<u64>,
    (round, value): (u64, Hash),
) -> bool {
    if !due(history, &Values::from([(round, value)])).is_empty() {
        return true;
    }
    let Some(newest) = wanted.told.values().next_back() else {
        return false;
    };
    let takes = (newest.committee(), CAPACITY_S);
    let panel = panel(history.directory(), history.anchor(), takes);
    let drawn = panel::Drawn { round, value };
    let order = panel.whole_order(&drawn, &history.node());
    order.is_ok_and(|(_, order)| {
        streams::was_due(newest, (&drawn, wanted.now_ms), (&order, history), rendered)
    })
}

/// Whether something was due in rounds that are told to have no value, by the values that drand itself says: what is odd, and
/// of how many it is known that nothing was.
fn by_drand<S: Source>(
    source: &mut S,
    table: &Timetable,
    without: &[u64],
    was_due: impl Fn(u64, Hash) -> bool,
) -> (Vec<Finding>, usize) {
    let (mut due, mut unknown, mut wrong, mut idle) = (Vec::new(), Vec::new(), Vec::new(), 0);
    let asked = without.len().saturating_sub(ASKED_MAX);
    for (place, round) in without.iter().copied().enumerate() {
        let of = table.drand(round).filter(|_| place >= asked);
        let told = of.and_then(|(_, of)| source.drand(of));
        let signature = told.as_deref().and_then(array_from_hex);
        let value = signature.and_then(|of: [u8; 48]| table.value(round, &of).ok());
        match value {
            Some(value) if was_due(round, value) => due.push(round),
            Some(_) => idle += 1,
            None if told.is_some() => wrong.push(round),
            None => unknown.push(round),
        }
    }
    let words = "without a value, by the broker's word, and by the one that drand had a check of the node was due";
    let due = of_rounds(Oddity::LeftOut, words, &due);
    let words = "without a value, by the broker's word, though drand had one, and so without anybody who was assigned (--relay \
                 asks drand whether a check was due)";
    let unknown = of_rounds(Oddity::NotTold, words, &unknown);
    let words = "without a value, by the broker's word, and what the relay says of them is no signature of the rounds of drand that \
                 the rule names (its URL needs the hash of drand's chain)";
    let wrong = of_rounds(Oddity::NotTold, words, &wrong);
    let found = due.into_iter().chain(unknown).chain(wrong);
    (found.collect(), idle)
}

fn of_rounds(oddity: Oddity, words: &str, rounds: &[u64]) -> Option<Finding> {
    let named = rounds.iter().rev().take(NAMED_MAX).map(u64::to_string);
    let named = named.collect::<Vec<_>>().join(", ");
    let more = match rounds.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        older => format!(", and {older} older ones"),
    };
    (!rounds.is_empty()).then(|| Finding {
        oddity,
        entries: Vec::new(),
        words: format!("{words}: {named}{more}"),
    })
}

/// What is told of rounds, page by page from the newest.
fn told<S: Source>(
    source: &mut S,
    (first, last): (u64, u64),
) -> Result<Signatures, AuditError<S::Error>> {
    let mut known = Signatures::default();
    let mut at = last;
    while at >= first && at > 0 {
        let before = at.saturating_sub(first).min(ROUNDS_BEFORE);
        let Some(bytes) = source.round(at, before)? else {
            // The newest waits for its value, or has not begun on the broker's clock.
            if last.saturating_sub(at) > 1 {
                return Ok(known);
            }
            at -= 1;
            continue;
        };
        let told: Option<Told> = serde_json::from_slice(&bytes).ok();
        let told = told.filter(|told| told.round == at && told.before.len() as u64 <= before);
        let path = format!("/v1/beacon/{at}?before={before}");
        let told = told.ok_or_else(|| garbled(&path, "not the rounds that were asked for"))?;
        known.partial |= told.partial;
        known.of.insert(at, told.signature.unwrap_or_default());
        let older = (0..at).rev().zip(told.before);
        known.of.extend(older);
        at = at.saturating_sub(before).saturating_sub(1);
    }
    Ok(known)
}
