//! `checker run` where rounds take their values from drand: it works by the round's own signature, and says why it does not.

use crate::scripted::{Asked, Member, Scripted, duty, network, reports};
use nearlight_proof::beacon::drand::fixture::Signer;
use nearlight_proof::beacon::used::{Beacon, Timetable, Used};
use nearlight_proof::encoding::{hex, sha256};
use nearlight_proof::receipt::fixture::key;
use serde_json::{Value, json};
use std::path::Path;

fn signer() -> Signer {
    Signer::new(31)
}

/// Rounds from 5 on take their values from the signer.
fn used() -> Used {
    Used {
        anchor: network().anchor.anchor,
        beacon: Beacon::Drand(signer().network(1_000, 3)),
        from_round: 5,
    }
}

/// A duty of that round, with the value of the round of drand that is so many away from the one of the rule.
fn drawn(round: u64, away: u64) -> Value {
    let mut table = Timetable::new(network().anchor);
    table.add(used()).unwrap();
    let (_, of) = table.drand(round).unwrap();
    let signature = signer().sign(of + away);
    let mut duty = duty(round);
    duty["value"] = json!(hex(&sha256(&[&signature])));
    duty["signature"] = json!(hex(&signature));
    duty
}

fn why(asked: &[Asked], round: u64) -> Option<String> {
    let reports = reports(asked);
    let of = reports.iter().find(|said| said["round"] == round)?;
    Some(of["outcome"]["why"].as_str()?.to_owned())
}

#[test]
fn a_value_that_is_not_its_rounds_is_not_worked_by_and_said() {
    let broker = Scripted::start();
    let member = Member::new(&broker);
    let entry = String::from_utf8(used().sign(&key(99)).unwrap()).unwrap();
    broker.change(|script| {
        script.beacons = vec![entry];
        // The chain's value where drand's is due, another round's, and one that nobody signed.
        let mut unsigned = drawn(9, 0);
        unsigned["signature"] = Value::Null;
        script.due = vec![duty(7), drawn(8, 1), unsigned];
    });
    let beacon = used().beacon.to_string();
    let program = Path::new(crate::scripted::PROGRAM);
    let running = member.run_as(program, &["--beacon", &beacon]);
    let asked = broker.until("all to be reported", |asked| reports(asked).len() == 3);
    assert!(
        !asked.iter().any(|of| of.path.ends_with("/alive")),
        "{asked:?}"
    );
    for round in [7, 9] {
        let why = why(&asked, round).unwrap();
        assert!(why.contains("no signature of drand"), "{why}");
    }
    let other = why(&asked, 8).unwrap();
    assert!(
        other.contains("of drand, which it takes its value from by rule"),
        "{other}"
    );
    broker.change(|script| script.due = vec![drawn(10, 0)]);
    broker.until("the node to be asked", |asked| {
        asked.iter().any(|of| of.path.ends_with("/alive"))
    });
    running.signal("-TERM");
    assert!(running.ended().status.success());

    // Started again, and the broker has taken the entry back: it was seen.
    broker.change(|script| {
        script.beacons.clear();
        script.due = vec![duty(11)];
    });
    let running = member.run_as(program, &["--beacon", &beacon]);
    let asked = broker.until("the round to be reported", |asked| why(asked, 11).is_some());
    assert!(why(&asked, 11).unwrap().contains("no signature of drand"));
    running.signal("-TERM");
    assert!(running.ended().status.success());

    // Without --beacon a network of drand that is not quicknet is nobody's that one knows.
    broker.change(|script| script.due = vec![drawn(12, 0)]);
    let running = member.run_as(program, &[]);
    let asked = broker.until("the round to be reported", |asked| why(asked, 12).is_some());
    assert!(why(&asked, 12).unwrap().contains("not quicknet"));
    running.signal("-TERM");
    assert!(running.ended().status.success());
}
