//! Who may speak in a round, and what their reports come to.

use nearlight_proof::key::KeyId;
use nearlight_proof::porc::committee::{STAND_INS, is_of_set};
use nearlight_proof::porc::mixer::hash;
use nearlight_proof::porc::round::Round;
use nearlight_proof::porc::schedule::{self, capacity_is_due, is_first, is_in_time, is_there};
use nearlight_proof::porc::verdict::{CheckerReport, counted};
use nearlight_proof::receipt::predicate::Finding::{self, Fail, Inconclusive, Pass};
use serde_json::{Value, json};

const COMMITTEE: usize = 3;

/// A report: checker, seat, finding.
type Said = (u8, Option<u32>, Finding);

pub(crate) fn rounds() -> Value {
    json!({ "committee": COMMITTEE, "stand_ins": STAND_INS, "sets": sets(), "verdicts": verdicts(), "times": times(), "firsts": firsts(), "due": due() })
}

/// Windows of keys, and whether each is of the set of a round that began then.
fn sets() -> Vec<Value> {
    let windows = [
        (40, 500, None, 100),
        (40, 500, None, 101),
        (40, 500, None, 500),
        (40, 500, None, 501),
        (40, 500, Some(200), 200),
        (40, 500, Some(200), 201),
    ];
    let one = |(from_s, until_s, revoked_at_s, began_s)| {
        json!({
            "from_s": from_s, "until_s": until_s, "revoked_at_s": revoked_at_s, "began_s": began_s,
            "is_of_set": is_of_set((from_s, until_s, revoked_at_s), began_s),
        })
    };
    windows.into_iter().map(one).collect()
}

/// Of a round that began then, whether a node's key was there, and what was said of it in its time.
fn times() -> Vec<Value> {
    let cases = [
        (9_699, 9_700, 0),
        (9_700, 9_700, 0),
        (0, 9_699, 0),
        (0, 13_000, 13_000),
        (0, 13_001, 0),
        (0, 10_100, 13_001),
    ];
    let one = |(from_s, issued_at_s, told_s): (u64, u64, u64)| {
        let (began_s, capacity_s) = (10_000, 900);
        json!({
            "node_from_s": from_s, "issued_at_s": issued_at_s, "told_s": told_s, "began_s": began_s, "capacity_s": capacity_s,
            "is_there": is_there(from_s, began_s), "is_in_time": is_in_time((issued_at_s, told_s), began_s, capacity_s),
        })
    };
    cases.into_iter().map(one).collect()
}

/// Whether a round that began then is one of the first that a node could be checked in.
fn firsts() -> Vec<Value> {
    let cases: [(u64, &[u64], u64, u64); 9] = [
        (700, &[0, 0, 0], 1_000, 60),
        (700, &[0, 0, 0], 1_001, 60),
        (700, &[0, 0, 0], 1_600, 60),
        (700, &[0, 0, 0], 1_601, 60),
        (700, &[0, 0, 0], 8_200, 3_600),
        (700, &[6_000, 5_000, 0, 9], 5_061, 60),
        (700, &[6_000, 5_000, 0, 9], 5_661, 60),
        (700, &[0, 5_000, 9], 1_001, 60),
        (700, &[0, 0], 1_001, 60),
    ];
    let one = |(from_s, others, began_s, round_s): (u64, &[u64], u64, u64)| {
        json!({
            "node_from_s": from_s, "others_from_s": others, "began_s": began_s, "round_s": round_s,
            "is_first": is_first(from_s, others.iter().copied(), COMMITTEE, (began_s, round_s)),
        })
    };
    cases.into_iter().map(one).collect()
}

/// The rounds of a day, of made-up values, in which a check of an operator's nodes is due by the schedule.
fn due() -> Value {
    let a_day = 1_440;
    let is_due = |number: &u64| {
        let round = schedule::Round {
            number: *number,
            value: hash("golden", &[&number.to_le_bytes()]),
            a_day,
        };
        capacity_is_due(&round, "west")
    };
    json!({ "a_day": a_day, "operator": "west", "rounds": (0..a_day).filter(is_due).collect::<Vec<_>>() })
}

/// Reports in the order of the log, and what they come to.
fn verdicts() -> Vec<Value> {
    let cases: [(&str, &[Said]); 8] = [
        (
            "the committee agrees",
            &[(1, Some(0), Pass), (2, Some(1), Pass), (3, Some(2), Pass)],
        ),
        (
            "strangers outvote nobody",
            &[
                (9, None, Fail),
                (1, Some(0), Pass),
                (8, None, Fail),
                (2, Some(1), Pass),
                (3, Some(2), Pass),
            ],
        ),
        (
            "nobody has to stand in",
            &[
                (4, Some(3), Fail),
                (1, Some(0), Pass),
                (2, Some(1), Pass),
                (3, Some(2), Pass),
            ],
        ),
        (
            "one stands in for who says nothing certain",
            &[
                (1, Some(0), Inconclusive),
                (2, Some(1), Pass),
                (3, Some(2), Pass),
                (4, Some(3), Pass),
            ],
        ),
        (
            "who stands in contradicts",
            &[(2, Some(1), Pass), (3, Some(2), Pass), (4, Some(3), Fail)],
        ),
        (
            "strangers alone",
            &[(7, None, Pass), (8, None, Pass), (9, None, Pass)],
        ),
        (
            "a second word does not count",
            &[
                (1, Some(0), Fail),
                (1, Some(0), Pass),
                (2, Some(1), Fail),
                (3, Some(2), Fail),
            ],
        ),
        (
            "nobody is assigned, and all speak",
            &[
                (1, Some(0), Pass),
                (2, Some(0), Pass),
                (3, Some(0), Pass),
                (4, Some(0), Fail),
            ],
        ),
    ];
    cases
        .into_iter()
        .map(|(name, reports)| verdict(name, reports))
        .collect()
}

fn verdict(name: &str, said: &[Said]) -> Value {
    let reports: Vec<CheckerReport> = said
        .iter()
        .map(|(checker, seat, finding)| CheckerReport {
            checker: KeyId([*checker; 32]),
            finding: *finding,
            score_permille: 1_000 - u32::from(*checker),
            seat: *seat,
        })
        .collect();
    let shown = |of: &CheckerReport| {
        json!({
            "checker": of.checker, "seat": of.seat, "finding": of.finding, "score_permille": of.score_permille,
        })
    };
    let weigh = counted(&reports, COMMITTEE);
    let comes_to = Round::default().with(&reports, COMMITTEE);
    json!({
        "name": name,
        "reports": reports.iter().map(shown).collect::<Vec<_>>(),
        "weigh": weigh.iter().map(|of| of.checker).collect::<Vec<_>>(),
        "comes_to": comes_to.name(),
        "score_permille": comes_to.counts().map(|(_, score)| score),
    })
}
