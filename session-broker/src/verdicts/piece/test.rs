//! What revocations, and words of a referee beside them, make of a round.

use super::*;
use crate::verdicts::revoked;
use nearlight_proof::receipt::predicate::Finding;

const LEAST: usize = 3;

fn of() -> RoundOf {
    RoundOf {
        node: "n".to_owned(),
        round: 7,
        gpu: "cpu".to_owned(),
    }
}

fn check(place: u64, finding: &str) -> CheckRow {
    CheckRow {
        place,
        of: of(),
        checker: format!("{place:064x}"),
        leaf: format!("{:064x}", 100 + place),
        finding: finding.to_owned(),
        score_permille: 900,
        issued_at_s: 100,
        reason: String::new(),
        seat: Some(0),
        blocks: None,
        revoked: None,
    }
}

fn open(findings: &[&str]) -> Open {
    let checks = findings.iter().zip(1..);
    let checks = checks.map(|(finding, place)| check(place, finding));
    Open::of((None, checks.collect()))
}

fn key(hex: u64) -> KeyId {
    KeyId::from_hex(&format!("{hex:064x}")).unwrap()
}

/// A verdict over the first check that rests on what most of these say.
fn most(finding: Finding, receipts: &[u64], liars: &[u64]) -> Verdict {
    Verdict {
        receipts: receipts.iter().map(|place| key(100 + place)).collect(),
        dispute: None,
        finding,
        score_permille: 0,
        liars: liars.iter().map(|place| key(*place)).collect(),
        step: String::new(),
        reason: "most say so".to_owned(),
    }
}

fn end(open: &mut Open, verdict: Verdict) {
    let dispute = DisputeRow {
        place: 20,
        leaf: String::new(),
        issuer: String::new(),
        target: 1,
        of: of(),
        claim: String::new(),
        deadline_s: 0,
        verdict: None,
    };
    let ending = Settling {
        place: 21,
        dispute: String::new(),
        verdict,
        issued_at_s: 300,
    };
    open.end(&dispute, ending);
}

fn states(open: &Open) -> (String, String) {
    let row = open.after(&of(), LEAST);
    (row.state, row.finding)
}

/// For a bribe one of three would open a round again that all of them failed, or take a right word out of a split.
#[test]
fn what_a_round_has_come_to_only_the_network_takes_back() {
    for findings in [&["fail"; 3], &["pass"; 3], &["fail", "pass", "pass"]] {
        let mut round = open(findings);
        let before = states(&round);
        let own = revoked::test::of_place(8, false);
        assert!(!round.revoke(1, &own, LEAST), "{findings:?}");
        assert_eq!(states(&round), before);
        let networks = revoked::test::of_place(9, true);
        assert!(round.revoke(1, &networks, LEAST));
        assert_eq!(states(&round).0, "open");
        assert_eq!(round.checks[0].revoked, Some(9));
    }
    let mut early = open(&["fail", "fail"]);
    assert!(early.revoke(1, &revoked::test::of_place(8, false), LEAST));
    let mut settled = open(&["fail", "fail", "pass"]);
    end(&mut settled, most(Finding::Fail, &[1, 2, 3], &[]));
    assert!(!settled.revoke(3, &revoked::test::of_place(8, false), LEAST));
    assert_eq!(states(&settled), ("settled".to_owned(), "fail".to_owned()));
}

/// It was signed before the revocation and stands behind it.
#[test]
fn a_word_of_most_that_counts_what_is_revoked_settles_nothing() {
    let mut round = open(&["fail", "fail", "pass", "pass"]);
    let word = most(Finding::Fail, &[1, 2, 3], &[]);
    assert!(!round.is_stale(&word));
    assert!(round.revoke(1, &revoked::test::of_place(8, true), LEAST));
    assert!(round.is_stale(&word));
    assert!(!round.is_stale(&most(Finding::Pass, &[2, 3, 4], &[])));
    // As a liar it did not count; and execution does not rest on whose word it was.
    assert!(!round.is_stale(&most(Finding::Pass, &[1, 2, 3], &[1])));
    let executed = Verdict {
        reason: nearlight_proof::porc::round::BY_EXECUTION.to_owned(),
        ..word
    };
    assert!(!round.is_stale(&executed));
}

#[test]
fn who_was_refuted_stays_named_when_most_settle_the_round_anew() {
    let mut round = open(&["fail", "fail", "pass"]);
    end(&mut round, most(Finding::Pass, &[1, 2, 3], &[1]));
    assert!(round.revoke(2, &revoked::test::of_place(8, true), LEAST));
    assert_eq!(states(&round).0, "split");
    end(&mut round, most(Finding::Pass, &[1, 3], &[]));
    let row = round.after(&of(), LEAST);
    assert_eq!(
        (row.state.as_str(), row.ground.as_str()),
        ("settled", "majority")
    );
    assert_eq!(row.liars, [key(1).to_string()]);
}
