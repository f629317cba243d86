//! What entries are read as, and what checks come to.

use super::*;
use nearlight_proof::receipt::fixture::{entry, key, listed, porc, statement};

fn directory() -> Directory {
    let of = |n, role, operator| listed(&key(n).public(), role, operator, (100, 200));
    let keys = vec![
        of(1, Role::Checker, "east"),
        of(2, Role::Checker, "host"),
        of(9, Role::Node, "host"),
    ];
    let authority = key(50);
    let bytes = Directory::sign(1, 100, keys, &authority).unwrap();
    Directory::open(&bytes, &authority.public()).unwrap()
}

fn entry_of(checker: u8, node: u8, finding: Finding, signs: bool, at_s: u64) -> Vec<u8> {
    let (checker, node) = (key(checker), key(node));
    let predicate = Predicate::Porc(Box::new(porc(finding)));
    let mut said = statement(&checker, node.public().id(), at_s, predicate);
    said.head.countersign = match signs {
        true => Countersign::Node(node.public().id()),
        false => Countersign::Refused("no".to_owned()),
    };
    match signs {
        true => entry(&said, &[&checker, &node]),
        false => entry(&said, &[&checker]),
    }
}

#[test]
fn a_receipt_counts_if_its_keys_do() {
    let directory = directory();
    let rounds = Rounds {
        directory: &directory,
        chain: None,
        drawn: &BTreeMap::new(),
        committee: 3,
        capacity_s: 900,
    };
    let told_s = std::cell::Cell::new(0);
    let row_of = |bytes: &[u8]| {
        let entry = Placed {
            place: 3,
            leaf: "leaf".to_owned(),
            bytes: bytes.to_vec(),
            issued_at_s: 0,
        };
        match read(entry, &rounds, told_s.get()) {
            Some(Entry::Check(row, _)) => Some(row),
            _ => None,
        }
    };
    let found = |bytes: &[u8]| row_of(bytes).map(|row| row.finding);
    let good = entry_of(1, 9, Finding::Pass, true, 150);
    assert_eq!(found(&good).as_deref(), Some("pass"));
    let row = row_of(&good).unwrap();
    assert_eq!((row.place, row.of.round, row.score_permille), (3, 7, 900));
    assert_eq!(row.blocks, Some(porc(Finding::Pass).sizes.blocks));
    let failed = entry_of(1, 9, Finding::Fail, false, 150);
    assert_eq!(found(&failed).as_deref(), Some("fail"));
    let unsigned = entry_of(1, 9, Finding::Pass, false, 150);
    assert_eq!(found(&unsigned).as_deref(), Some("inconclusive"));
    assert_eq!(
        found(&entry_of(2, 9, Finding::Pass, true, 150)),
        None,
        "of the node's operator"
    );
    assert_eq!(
        found(&entry_of(3, 9, Finding::Pass, true, 150)),
        None,
        "no checker"
    );
    assert_eq!(
        found(&entry_of(1, 8, Finding::Fail, false, 150)),
        None,
        "no node"
    );
    assert_eq!(
        found(&entry_of(1, 9, Finding::Pass, true, 99)),
        None,
        "before its window"
    );
    assert_eq!(row.leaf, "leaf");
    assert_eq!(row.issued_at_s, 150);
    told_s.set(170);
    let late = row_of(&good).unwrap();
    assert_eq!(late.issued_at_s, 170, "not before what stands before it");
    assert_eq!(found(b"{}"), None);
}

fn none() -> Round {
    Round::default()
}

fn round() -> RoundOf {
    RoundOf {
        node: "n".to_owned(),
        round: 7,
        gpu: "cpu".to_owned(),
    }
}

fn said(place: u64, finding: &str) -> CheckRow {
    CheckRow {
        place,
        of: round(),
        checker: format!("{place:064x}"),
        leaf: String::new(),
        finding: finding.to_owned(),
        score_permille: 900 + place as u32,
        issued_at_s: 100 + place,
        reason: String::new(),
        seat: Some(0),
        blocks: Some(100 - place as u32),
        revoked: None,
    }
}

/// A checker that lied lost, and what it had said of the memory counted still.
#[test]
fn what_a_liar_or_a_stand_in_says_of_the_memory_counts_for_nothing() {
    let of = round();
    let mut checks = [1, 2, 3, 4].map(|place| said(place, "pass")).to_vec();
    checks[3].finding = "fail".to_owned();
    let settled = |finding, liars: &[u64]| Round::Settled {
        finding,
        score_permille: 901,
        liars: liars
            .iter()
            .filter_map(|place| KeyId::from_hex(&format!("{place:064x}")))
            .collect(),
        ground: Ground::Right,
    };
    let blocks =
        |round: &Round, checks: &[CheckRow]| super::settled(&of, round, (checks, 3), 0).blocks;
    assert_eq!(blocks(&settled(Finding::Pass, &[4]), &checks), Some(97));
    assert_eq!(blocks(&settled(Finding::Pass, &[3, 4]), &checks), Some(98));
    // One who stands in behind those who said enough.
    checks[3] = said(5, "pass");
    checks[3].seat = Some(1);
    assert_eq!(verdict(&of, &checks, none(), (3, 0)).blocks, Some(97));
    checks[2].finding = "inconclusive".to_owned();
    assert_eq!(
        verdict(&of, &checks, none(), (3, 0)).blocks,
        Some(95),
        "it weighs"
    );
}

#[test]
fn a_round_follows_from_its_checks_but_for_what_was_settled() {
    let of = round();
    let check = said;
    let passes = [check(1, "pass"), check(2, "pass"), check(3, "pass")];
    let passed = verdict(&of, &passes, none(), (3, 0));
    assert_eq!(
        (passed.state.as_str(), passed.score_permille),
        ("passed", 901)
    );
    assert_eq!(
        (passed.at_s, passed.places.as_slice()),
        (103, &[1, 2, 3][..])
    );
    assert_eq!(passed.blocks, Some(97), "the least");
    let mut unsure = passes.to_vec();
    unsure.push(check(9, "inconclusive"));
    assert_eq!(verdict(&of, &unsure, none(), (3, 0)).blocks, Some(97));
    let mut more = passes.to_vec();
    more.push(check(4, "fail"));
    let split = verdict(&of, &more, round_of(&passed), (3, 0));
    assert_eq!(
        (split.state.as_str(), split.finding.as_str()),
        ("split", "inconclusive")
    );
    // The same contradiction of one who has no seat is on record, and no more.
    let mut stranger = more.clone();
    stranger[3].seat = None;
    let still = verdict(&of, &stranger, round_of(&passed), (3, 0));
    assert_eq!(still, passed);
    assert_eq!(weighing(&stranger, 3).len(), 3);
    let settled = Round::Settled {
        finding: Finding::Pass,
        score_permille: 901,
        liars: vec![KeyId([4; 32])],
        ground: Ground::Right,
    };
    let settled = super::settled(&of, &settled, (&more, 3), 0);
    assert_eq!(settled.ground, "right");
    more.push(check(5, "fail"));
    let after = verdict(&of, &more, round_of(&settled), (3, 0));
    assert_eq!(
        (after.state.as_str(), after.finding.as_str()),
        ("settled", "pass")
    );
    assert_eq!((after.liars.len(), after.places.len()), (1, 5));
}
