//! Receipts against records: who lies is found out by executing what was drawn once more.

use super::super::exam::{Exam, Miss};
use super::super::record::{Record, RecordError};
use super::node::{Cheat, Node};
use super::{begin, checker, class, secrets};
use crate::key::{KeyId, SecretKey};
use crate::porc::contest::{Case, LATE_OPENING, Ruling};
use crate::porc::exchange::Step;
use crate::receipt::predicate::{Finding, Porc};

/// What both sides have after a probe.
struct Held {
    porc: Porc,
    checkers: Record,
    nodes: Record,
    opening: Vec<u8>,
    node: SecretKey,
}

fn held(number: u8, cheat: Cheat) -> Held {
    held_of(number, cheat, |_, answer| answer)
}

/// As [`held`], where the checker gets something else than the node has as its answers.
fn held_of(number: u8, cheat: Cheat, sends: impl Fn(Step, Vec<u8>) -> Vec<u8>) -> Held {
    let mut node = Node::new(cheat);
    let (key, class) = (checker(), class());
    let both = (&key, node.key.public());
    let mut exam = Exam::new(begin(number), secrets(number), both, &class).unwrap();
    let mut now_us = 1_000;
    while let Some(ask) = exam.ask(now_us) {
        match node.answer(&mut now_us, ask.step, &ask.message) {
            Ok(answer) => exam.answer(now_us, &sends(ask.step, answer)),
            Err(why) => exam.miss(Miss::Refused(why)),
        }
    }
    let opened = node.said.iter().find(|(step, _)| *step == Step::Open);
    Held {
        porc: exam.result().unwrap(),
        checkers: exam.record().clone(),
        nodes: node.record(),
        opening: opened.map_or_else(Vec::new, |(_, answer)| answer[64..].to_vec()),
        node: node.key,
    }
}

impl Held {
    fn rule(&self, porc: &Porc, record: &Record) -> Ruling {
        let case = Case {
            porc,
            issuer: &checker().public(),
            node: &self.node.public(),
            record,
            opening: &self.opening,
        };
        case.rule()
    }

    /// The receipt of one who lies.
    fn lie(&self, finding: Finding, reason: &str) -> Porc {
        Porc {
            finding,
            reason: reason.to_owned(),
            ..self.porc.clone()
        }
    }
}

fn undecided(ruling: Ruling, words: &str) {
    match ruling {
        Ruling::Undecided { why } => assert!(why.contains(words), "{words}: {why}"),
        other => panic!("{words}: {other:?}"),
    }
}

#[test]
fn a_checker_that_says_fail_of_a_right_opening_is_refuted() {
    let held = held(1, Cheat::None);
    assert_eq!(held.porc.finding, Finding::Pass);
    assert_eq!(held.checkers, held.nodes, "both have the same record");
    let liar = held.lie(Finding::Fail, "row 7 of C: made up");
    let Ruling::Refuted { finding, step } = held.rule(&liar, &held.nodes) else {
        panic!("refuted");
    };
    assert_eq!(finding, Finding::Pass);
    assert!(
        step.starts_with("40 rows, 16 blocks, 3 lanes and 20 tiles"),
        "{step}"
    );
    // One that denies what it signed that it had.
    let mut denies = held.lie(
        Finding::Fail,
        "the answer to `reads` was later than the class allows",
    );
    (denies.read_root, denies.open_secret) = (KeyId([0; 32]), KeyId([0; 32]));
    let ruling = held.rule(&denies, &held.nodes);
    assert!(
        matches!(&ruling, Ruling::Refuted { step, .. } if step.contains("denies")),
        "{ruling:?}"
    );
    let honest = held.rule(&held.porc, &held.nodes);
    assert!(matches!(honest, Ruling::Upheld { .. }));
}

#[test]
fn a_cheat_stays_caught_and_its_step_is_named() {
    let row = held(1, Cheat::Row(7));
    assert_eq!(row.porc.finding, Finding::Fail);
    for record in [&row.checkers, &row.nodes] {
        let Ruling::Upheld { step } = row.rule(&row.porc, record) else {
            panic!("upheld");
        };
        assert!(
            step.starts_with("element 3 of row 7 of C was opened as"),
            "{step}"
        );
    }
    // A checker that covers it.
    let covers = row.lie(Finding::Pass, "");
    let Ruling::Refuted { finding, step } = row.rule(&covers, &row.checkers) else {
        panic!("refuted");
    };
    assert_eq!(finding, Finding::Fail);
    assert!(step.starts_with("element 3"), "{step}");
    let tiles = held(2, Cheat::SkipTiles(50));
    let ruling = tiles.rule(&tiles.porc, &tiles.nodes);
    assert!(
        matches!(&ruling, Ruling::Upheld { step } if step.contains("tile")),
        "{ruling:?}"
    );
}

#[test]
fn what_nobody_can_execute_stays_undecided() {
    let held = held(1, Cheat::None);
    let late = held.lie(Finding::Fail, LATE_OPENING);
    undecided(held.rule(&late, &held.nodes), "late");
    let nothing = held.lie(Finding::Inconclusive, "a session starts");
    undecided(held.rule(&nothing, &held.nodes), "nothing certain");
    let refused = self::held(1, Cheat::Refuse(Step::Reads));
    let liar = held.lie(Finding::Fail, "x");
    undecided(
        held.rule(&liar, &refused.checkers),
        "did not ask for the opening",
    );
    let other = self::held(2, Cheat::None);
    undecided(held.rule(&liar, &other.nodes), "another probe");
    // Nobody is refuted by an opening that the node did not sign.
    let mut made_up = self::held(1, Cheat::None);
    made_up.opening[0] ^= 1;
    undecided(
        made_up.rule(&liar, &made_up.nodes),
        "not the one that the node signed",
    );
}

/// A node that computed everything right answers `open` with something that it did not sign, and shows the right opening
/// afterwards: the checker said what was so, and what the node sent is in no record.
#[test]
fn nobody_is_refuted_by_an_opening_that_was_not_signed_in_its_time() {
    let empty: fn(Vec<u8>) -> Vec<u8> = |_| Vec::new();
    let flipped: fn(Vec<u8>) -> Vec<u8> = |mut answer| {
        answer[5] ^= 1;
        answer
    };
    for instead in [empty, flipped] {
        let held = held_of(1, Cheat::None, |step, answer| match step {
            Step::Open => instead(answer),
            _ => answer,
        });
        assert_eq!(held.porc.finding, Finding::Fail, "{}", held.porc.reason);
        undecided(held.rule(&held.porc, &held.nodes), "unsigned");
        let made_up = held.lie(Finding::Fail, "row 7 of C: made up");
        assert!(matches!(
            held.rule(&made_up, &held.nodes),
            Ruling::Refuted { .. }
        ));
    }
}

#[test]
fn a_record_is_one_spelling_and_every_word_of_it_is_signed() {
    let held = held(1, Cheat::None);
    let bytes = held.nodes.to_bytes();
    assert!(bytes.len() < 16 * 1024, "{} bytes", bytes.len());
    assert_eq!(Record::parse(&bytes), Ok(held.nodes.clone()));
    let spaced = String::from_utf8(bytes.clone())
        .unwrap()
        .replacen(':', ": ", 1);
    assert_eq!(Record::parse(spaced.as_bytes()), Err(RecordError::Shape));
    assert!(held.nodes.replay(&held.node.public()).is_ok());
    let stranger = SecretKey::from_seed(&[77; 32]).public();
    assert_eq!(
        held.nodes.replay(&stranger).unwrap_err(),
        RecordError::Said(0)
    );
    // Any digit of a word: what stands after it proves nothing.
    let text = String::from_utf8(bytes).unwrap();
    for (at, _) in text.match_indices("\"value\":\"") {
        let mut flipped = text.clone().into_bytes();
        let digit = at + "\"value\":\"".len();
        flipped[digit] = if flipped[digit] == b'0' { b'1' } else { b'0' };
        let record = Record::parse(&flipped).unwrap();
        assert!(record.replay(&held.node.public()).is_err(), "{at}");
    }
}
