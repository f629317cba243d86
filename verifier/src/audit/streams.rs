//! Probes of streams: in which rounds one was due, who was to play, and whether what is told of that follows.
//!
//! A stream is due in a round that begins while the node has sessions. The log has the sessions that were played; those
//! that a checker played are none of them. So whoever reads the log knows rounds in which one was due, if not all.
//!
//! **Invariants.** Nothing is said of rounds before the first receipt of a stream of the node: whether streams were
//! checked then nobody knows. Nor of a round in which a checker may still play.
//!
//! **What it does not know:** who has a decoder. A checker tells its broker, and the broker is believed.

use super::duties::Values;
use super::history::History;
use super::told::{RoundTold, RowTold};
use nearlight_proof::beacon::anchor::Anchor;
use nearlight_proof::key::KeyId;
use nearlight_proof::porc::panel::Drawn;
use nearlight_proof::porc::schedule::{Round, stream_is_due};
use nearlight_proof::porc::streams::{Assigned, Wrong, wrong};
use std::collections::BTreeSet;

/// Rounds of streams that are asked for, the newest.
const ROUNDS_MAX: usize = 512;
/// A session is running for certain so long after its node began to measure, and before it ended, seconds: clocks differ.
const EDGE_S: u64 = 10;
/// The longest that a checker may have for one, milliseconds: brokers take no longer time.
const WINDOW_MS: u64 = 900_000;
const DAY_MS: u64 = 24 * 3600 * 1000;

/// The newest rounds in which a stream was due, for the node had sessions then, as the log says.
pub(super) fn rendered(history: &History<'_>, anchor: &Anchor) -> BTreeSet<u64> {
    let Some(first) = first_judged(history, anchor) else {
        return BTreeSet::new();
    };
    let mut rounds = BTreeSet::new();
    for (from_s, until_s) in history.sessions() {
        let (from_ms, until_ms) = (
            from_s.saturating_add(EDGE_S).saturating_mul(1000),
            until_s.saturating_sub(EDGE_S).saturating_mul(1000),
        );
        let last = anchor.round_at(until_ms).filter(|_| from_ms < until_ms);
        let Some(last) = last else { continue };
        let begun = (first..=last).rev();
        let during = begun.take_while(|round| anchor.begins_ms(*round) >= from_ms);
        rounds.extend(during.take(ROUNDS_MAX));
    }
    let older = rounds.len().saturating_sub(ROUNDS_MAX);
    rounds.into_iter().skip(older).collect()
}

/// Whether the value of a round draws the node's stream, of rounds that are judged.
pub(super) fn is_drawn(first: Option<u64>, round: &Round, node: &KeyId) -> bool {
    let is_judged = first.is_some_and(|first| first <= round.number);
    is_judged && stream_is_due(round, node, false)
}

/// The rounds of which the assignments of streams are looked at.
pub(super) fn wanted(history: &History<'_>, values: &Values) -> Vec<u64> {
    let Some(anchor) = history.anchor() else {
        return Vec::new();
    };
    let rendered = rendered(history, anchor);
    let first = first_judged(history, anchor);
    let a_day = (DAY_MS / anchor.round_ms).max(1);
    let is_due = |(number, value): &(&u64, &[u8; 32])| {
        let round = Round {
            number: **number,
            value: **value,
            a_day,
        };
        rendered.contains(number) || is_drawn(first, &round, &history.node())
    };
    let newest_first = values.iter().rev().filter(is_due);
    newest_first
        .map(|(number, _)| *number)
        .take(ROUNDS_MAX)
        .collect()
}

/// Whether a stream was due in a round, somebody could play, and nobody was assigned.
pub(super) fn is_left_out(
    told: &RoundTold,
    (drawn, now_ms): (&Drawn, u64),
    (order, history): (&[KeyId], &History<'_>),
    rendered: &BTreeSet<u64>,
) -> bool {
    let node = history.node();
    let mut rows = told.of(&node);
    let nobody = !rows.any(|row| row.duty == "stream");
    nobody && was_due(told, (drawn, now_ms), (order, history), rendered)
}

/// Whether a stream was due in a round that is over and somebody could play, by what is told of it; of a round of which nothing
/// is told by what is told of another.
pub(super) fn was_due(
    told: &RoundTold,
    (drawn, now_ms): (&Drawn, u64),
    (order, history): (&[KeyId], &History<'_>),
    rendered: &BTreeSet<u64>,
) -> bool {
    let Some(anchor) = history.anchor() else {
        return false;
    };
    let round = Round {
        number: drawn.round,
        value: drawn.value,
        a_day: (DAY_MS / anchor.round_ms).max(1),
    };
    let is_over = anchor.begins_ms(drawn.round).saturating_add(WINDOW_MS) <= now_ms;
    let is_due = || {
        let first = first_judged(history, anchor);
        let is_drawn = is_drawn(first, &round, &history.node());
        is_drawn || rendered.contains(&drawn.round)
    };
    told.streams && is_over && order.iter().any(|key| told.plays(key)) && is_due()
}

/// What is wrong with who was to play, and with what is told to be done.
pub(super) fn held_against(
    rows: &[&RowTold],
    (told, order): (&RoundTold, &[KeyId]),
    history: &History<'_>,
) -> Vec<String> {
    let assigned: Vec<Assigned> = rows
        .iter()
        .map(|row| Assigned {
            checker: row.checker,
            place: row.place,
            is_missed: row.state == "missed",
        })
        .collect();
    let wrong = wrong(&assigned, order, |key| told.plays(key));
    let mut words: Vec<String> = wrong.iter().map(in_words).collect();
    for row in rows.iter().filter(|row| row.state == "done") {
        let holds = |(leaf, issuer, _): (KeyId, KeyId, u64)| {
            leaf.to_string() == row.leaf && issuer == row.checker
        };
        if !history.streams().any(holds) {
            words.push(format!(
                "checker {} is told to be done, and the log has no such receipt",
                row.checker
            ));
        }
    }
    words
}

fn in_words(wrong: &Wrong) -> String {
    match wrong {
        Wrong::Misplaced(checker) => {
            format!("checker {checker} was assigned, and was not to be")
        }
        Wrong::PassedOver(checker) => {
            format!("checker {checker} should have been assigned, and was not")
        }
        Wrong::StandIns { stand_in, missed } => {
            format!("{stand_in} stand in, and {missed} missed it")
        }
    }
}

/// The round of the first receipt of a stream of the node.
pub(super) fn first_judged(history: &History<'_>, anchor: &Anchor) -> Option<u64> {
    let first_s = history.streams().map(|(_, _, at_s)| at_s).min()?;
    let first = anchor.round_at(first_s.saturating_mul(1000))?;
    Some(first.max(1))
}
