//! Verdicts: what follows from a piece of the log is written once, and read back.

use super::*;
use crate::ledger::{Agreement, CheckRow, Folded, RoundOf, VerdictReads, VerdictRow, VoidKey};

fn of(node: &str, round: u64) -> RoundOf {
    RoundOf {
        node: node.to_owned(),
        round,
        gpu: "cpu\u{0}".to_owned(),
    }
}

/// As it is read back: a NUL reaches no engine.
fn read(of: RoundOf) -> RoundOf {
    RoundOf {
        gpu: "cpu\u{fffd}".to_owned(),
        ..of
    }
}

fn check(place: u64, round: u64, finding: &str) -> CheckRow {
    CheckRow {
        place,
        of: of("n", round),
        checker: format!("{place:064x}"),
        leaf: format!("leaf {place}"),
        finding: finding.to_owned(),
        score_permille: 900,
        issued_at_s: 100 + place,
        seat: (place != 3).then_some(4),
        reason: "late".to_owned(),
        blocks: (place != 3).then_some(64),
        revoked: None,
    }
}

fn verdict(node: &str, round: u64, state: &str, places: &[u64]) -> VerdictRow {
    VerdictRow {
        of: of(node, round),
        state: state.to_owned(),
        finding: "pass".to_owned(),
        score_permille: 900,
        at_s: 100 + round,
        places: places.to_vec(),
        liars: vec!["l".to_owned()],
        ground: "right".to_owned(),
        blocks: Some(64),
    }
}

fn fold(from: u64, to: u64, checks: Vec<CheckRow>, verdicts: Vec<VerdictRow>) -> Op {
    Op::Log {
        change: LogChange::Fold(Box::new(Folded {
            from,
            to,
            told_s: 100 * to,
            checks,
            revoked: Vec::new(),
            void_keys: Vec::new(),
            verdicts,
            disputes: Vec::new(),
            ended: Vec::new(),
            transfers: Vec::new(),
        })),
        audit: None,
    }
}

pub(super) async fn a_piece_of_the_log_does_what_it_does_once(place: Place) {
    let store = Store::open(place).await;
    let first = || {
        let verdicts = vec![verdict("n", 7, "open", &[2])];
        fold(0, 3, vec![check(2, 7, "pass")], verdicts)
    };
    assert_eq!(store.write(first()).await, Applied::Done);
    assert_eq!(store.write(first()).await, Applied::RaceLost, "once");
    let stale = fold(2, 9, vec![check(8, 7, "fail")], Vec::new());
    assert_eq!(store.write(stale).await, Applied::RaceLost);
    let verdicts = vec![
        verdict("n", 7, "passed", &[2, 3]),
        verdict("m", 6, "failed", &[]),
    ];
    let second = fold(3, 5, vec![check(3, 7, "pass")], verdicts);
    assert_eq!(store.write(second).await, Applied::Done);

    let ledger = &store.ledger;
    let asked = RoundOf {
        gpu: "cpu\u{fffd}".to_owned(),
        ..of("n", 7)
    };
    let (row, checks) = ledger.round(asked).await.unwrap();
    let row = row.unwrap();
    assert_eq!((row.state.as_str(), &row.places), ("passed", &vec![2, 3]));
    assert_eq!(row.liars, ["l"]);
    assert_eq!(row.ground, "right");
    let places: Vec<u64> = checks.iter().map(|check| check.place).collect();
    assert_eq!(places, [2, 3]);
    let seats: Vec<Option<u32>> = checks.iter().map(|check| check.seat).collect();
    assert_eq!(seats, [Some(4), None]);
    assert_eq!(checks[0].of, read(of("n", 7)));
    // Several in one: each has its own, and what is not there is left out.
    let several = vec![read(of("n", 7)), read(of("m", 6)), read(of("n", 8))];
    let mut seen = ledger.rounds(several).await.unwrap();
    let (same, same_checks) = seen.remove(&read(of("n", 7))).unwrap();
    assert_eq!((same.as_ref(), &same_checks), (Some(&row), &checks));
    let (other, no_checks) = seen.remove(&read(of("m", 6))).unwrap();
    assert_eq!(
        (other.unwrap().state.as_str(), no_checks),
        ("failed", vec![])
    );
    assert!(seen.is_empty());
    assert!(ledger.rounds(Vec::new()).await.unwrap().is_empty());
    let (none, no_checks) = ledger.round(of("n", 8)).await.unwrap();
    assert_eq!((none, no_checks.len()), (None, 0));

    let new = ledger.new_verdicts(0, 0).await.unwrap();
    assert_eq!((new.next, new.told_s, new.rows.len()), (5, 500, 2));
    let new = ledger.new_verdicts(3, 107).await.unwrap();
    assert_eq!(
        (new.next, new.rows.len()),
        (5, 1),
        "what is old is left out"
    );
    assert_eq!(ledger.new_verdicts(5, 0).await.unwrap().rows.len(), 0);
    let of_node = ledger.verdicts_of("n".to_owned(), 9).await.unwrap();
    assert_eq!(of_node.len(), 1);
    first_words_are_compared(&store).await;
    what_is_revoked_stays_so(&store).await;

    let leaves = vec!["leaf 3".to_owned(), "leaf 9".to_owned()];
    let found = ledger.checked(leaves).await.unwrap();
    assert_eq!((found.len(), found[0].place), (1, 3));
}

/// The first word of a round counts, from a seat; what is not decided, and what is old, does not.
async fn first_words_are_compared(store: &Store) {
    let said = |place, round, finding: &str| CheckRow {
        checker: "c".to_owned(),
        ..check(place, round, finding)
    };
    let checks = vec![
        said(10, 11, "inconclusive"),
        said(11, 11, "pass"),
        said(12, 11, "fail"),
        said(13, 12, "fail"),
        said(14, 13, "pass"),
        CheckRow {
            seat: None,
            ..said(15, 14, "pass")
        },
    ];
    let undecided = VerdictRow {
        finding: "inconclusive".to_owned(),
        ..verdict("n", 13, "split", &[14])
    };
    let refuted = VerdictRow {
        liars: vec!["c".to_owned()],
        ..verdict("n", 12, "settled", &[13])
    };
    let decided = [11, 14].map(|round| verdict("n", round, "passed", &[round]));
    let verdicts = [vec![undecided, refuted], decided.to_vec()].concat();
    assert_eq!(
        store.write(fold(5, 20, checks, verdicts)).await,
        Applied::Done
    );
    let agreement = async |since_s| {
        store
            .ledger
            .agreement("c".to_owned(), since_s)
            .await
            .unwrap()
    };
    let all = Agreement {
        decided: 2,
        agreed: 1,
        refuted: 1,
    };
    assert_eq!(agreement(0).await, all);
    assert_eq!(agreement(112).await.decided, 1, "the older one is left out");
    assert_eq!(agreement(1_000).await, Agreement::default());
}

/// The first entry that revokes a check stays, and of a key the earliest time.
async fn what_is_revoked_stays_so(store: &Store) {
    let void = |from_s, place| VoidKey {
        key_id: "c".to_owned(),
        from_s,
        place,
    };
    let fold = |from, to, revoked: &[(u64, u64)], key| Op::Log {
        change: LogChange::Fold(Box::new(Folded {
            from,
            to,
            revoked: revoked.to_vec(),
            void_keys: vec![key],
            ..Folded::default()
        })),
        audit: None,
    };
    let first = fold(20, 22, &[(11, 20)], void(100, 20));
    assert_eq!(store.write(first).await, Applied::Done);
    let later = fold(22, 24, &[(11, 22), (13, 22)], void(200, 22));
    assert_eq!(store.write(later).await, Applied::Done);
    let ledger = &store.ledger;
    let leaves = [11, 12, 13].map(|place| format!("leaf {place}"));
    let found = ledger.checked(leaves.to_vec()).await.unwrap();
    let revoked: Vec<Option<u64>> = found.iter().map(|check| check.revoked).collect();
    assert_eq!(revoked, [Some(20), None, Some(22)]);
    assert_eq!(ledger.void_keys().await.unwrap(), [void(100, 20)]);
    let earlier = fold(24, 25, &[], void(50, 24));
    assert_eq!(store.write(earlier).await, Applied::Done);
    assert_eq!(ledger.void_keys().await.unwrap(), [void(50, 24)]);
    // Its second word of round 11 is the first now; that it was refuted in round 12 it does not take back.
    let agreement = ledger.agreement("c".to_owned(), 0).await.unwrap();
    let expected = Agreement {
        decided: 2,
        agreed: 0,
        refuted: 1,
    };
    assert_eq!(agreement, expected);
    let by = ledger.checks_by("c".to_owned(), 0, 0).await.unwrap();
    assert!(by.is_empty(), "no receipt of these stands in the log");
}
