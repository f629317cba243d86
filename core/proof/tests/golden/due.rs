//! What is due in rounds: who plays a node's stream, what is wrong with who is told to, and in which moment nodes meet.

use nearlight_proof::encoding::hex;
use nearlight_proof::key::KeyId;
use nearlight_proof::porc::committee::{Candidate, Checker, STAND_INS, assign};
use nearlight_proof::porc::meeting::Meeting;
use nearlight_proof::porc::mixer::hash;
use nearlight_proof::porc::schedule::{Round, stream_is_due};
use nearlight_proof::porc::streams::{Assigned, could_play, players, wrong};
use serde_json::{Value, json};

const A_DAY: u64 = 1440;
const BEGAN_MS: u64 = 1_800_000_000_000;
const BEGAN_S: u64 = BEGAN_MS / 1000;
const NODE: KeyId = KeyId([10; 32]);

/// Checkers: key, who runs it, since when it plays. The fifth is of the node's operator.
const CHECKERS: [(u8, &str, Option<u64>); 7] = [
    (21, "north", Some(BEGAN_S - 3600)),
    (22, "north", None),
    (23, "east", Some(BEGAN_S - 2)),
    (24, "east", Some(BEGAN_S - 1)),
    (25, "south", Some(BEGAN_S - 3600)),
    (26, "west", Some(BEGAN_S + 5)),
    (27, "west", Some(0)),
];

pub(crate) fn due() -> Value {
    let streams: Vec<Value> = (0..40)
        .map(|number| stream(number, number % 8 == 0))
        .collect();
    json!({
        "a_day": A_DAY, "began_ms": BEGAN_MS, "stand_ins": STAND_INS, "node": NODE, "operator": "south",
        "checkers": CHECKERS.map(|(key, operator, plays_since_s)| json!({
            "key_id": KeyId([key; 32]), "operator": operator, "plays_since_s": plays_since_s,
        })),
        "drawn": drawn(),
        "streams": streams,
        "told": told(),
        "meetings": meetings(),
    })
}

fn value(number: u64) -> [u8; 32] {
    hash("golden", &[&number.to_le_bytes()])
}

/// Rounds of three days in which the node's stream is drawn though nobody plays.
fn drawn() -> Vec<u64> {
    let is = |number: &u64| {
        let round = Round {
            number: *number,
            value: value(*number),
            a_day: A_DAY,
        };
        stream_is_due(&round, &NODE, false)
    };
    (0..3 * A_DAY).filter(is).collect()
}

fn order(number: u64) -> Vec<KeyId> {
    let set = CHECKERS.map(|(key, operator, _)| Checker {
        key: KeyId([key; 32]),
        operator: operator.to_owned(),
    });
    let node = Candidate {
        key: NODE,
        operator: "south".to_owned(),
    };
    let order = assign(&value(number), &node, &set, set.len());
    order.into_iter().map(|checker| checker.key).collect()
}

fn could(key: &KeyId) -> bool {
    let mut known = CHECKERS.iter().filter(|of| KeyId([of.0; 32]) == *key);
    let since_s = known.next().and_then(|of| of.2);
    since_s.is_some_and(|since_s| could_play(since_s, BEGAN_MS))
}

/// Whether it is due, in which order checkers may be asked, and who is.
fn stream(number: u64, renders: bool) -> Value {
    let round = Round {
        number,
        value: value(number),
        a_day: A_DAY,
    };
    let order = order(number);
    let asked: Vec<&KeyId> = players(&order, could).collect();
    json!({
        "round": number, "value": hex(&round.value), "renders": renders,
        "due": stream_is_due(&round, &NODE, renders), "order": order, "asked": asked,
    })
}

/// Assignments of a round as they may be told: those that follow, and others.
fn told() -> Value {
    let order = order(5);
    let asked: Vec<KeyId> = players(&order, could).copied().collect();
    let row = |checker: KeyId, is_missed| {
        let place = order.iter().position(|key| *key == checker);
        Assigned {
            checker,
            place: place.unwrap_or(0) as u32,
            is_missed,
        }
    };
    let cannot = *order.iter().find(|key| !could(key)).expect("one of them");
    let stranger = KeyId([99; 32]);
    let moved = Assigned {
        place: 6,
        ..row(asked[0], false)
    };
    let cases = [
        ("nobody", vec![]),
        ("the first that could", vec![row(asked[0], false)]),
        (
            "both stand in",
            vec![
                row(asked[0], true),
                row(asked[1], true),
                row(asked[2], false),
            ],
        ),
        ("the second", vec![row(asked[1], false)]),
        (
            "one that stands in for nobody",
            vec![row(asked[0], false), row(asked[1], false)],
        ),
        ("one that does not play", vec![row(cannot, false)]),
        ("a stranger", vec![row(stranger, false)]),
        ("another place", vec![moved]),
    ];
    let shown = |rows: &[Assigned]| -> Vec<Value> {
        let one = |of: &Assigned| {
            json!({
                "checker": of.checker, "place": of.place, "state": if of.is_missed { "missed" } else { "done" },
            })
        };
        rows.iter().map(one).collect()
    };
    let case = |(name, rows): (&str, Vec<Assigned>)| {
        let found = wrong(&rows, &order, could);
        let found: Vec<Value> = found
            .iter()
            .map(|of| json!([of.name(), of.checker()]))
            .collect();
        json!({ "name": name, "rows": shown(&rows), "wrong": found })
    };
    let cases: Vec<Value> = cases.into_iter().map(case).collect();
    json!({ "value": hex(&value(5)), "cases": cases })
}

/// Groups of one, four and nine cells, and a window that is short.
fn meetings() -> Vec<Value> {
    let groups = [(2, 900_000), (500, 900_000), (1100, 7_200_000), (3, 40_000)];
    let nodes: [u8; 3] = [40, 41, 42];
    let meeting = |(probes, window_ms)| {
        let of = Meeting {
            value: value(3),
            began_ms: BEGAN_MS,
            window_ms,
            committee: 3,
            probes,
        };
        let moments = |node: u8| {
            let node = KeyId([node; 32]);
            let moments: Vec<Option<u64>> =
                (0..4).map(|place| of.moment_ms(&node, place)).collect();
            json!({ "node": node, "cell": of.cell(&node), "moments_ms": moments })
        };
        json!({
            "value": hex(&of.value), "window_ms": window_ms, "committee": 3, "probes": probes, "cells": of.cells(),
            "nodes": nodes.map(moments),
        })
    };
    groups.into_iter().map(meeting).collect()
}
