//! `checker run` as a process, against a broker of the test: stopped and killed in the middle, with a broker that is away,
//! and with state that cannot be written.

#![allow(
    clippy::unwrap_used,
    reason = "a test says what it could not do by failing"
)]

mod beacon;
mod certificate;
mod doctor;
mod evidence;
mod pki;
mod private_ca;
mod probes;
mod revoke;
mod scripted;
mod streams;
mod traffic;
mod witness;

use scripted::{Asked, Member, Scripted, duty, problem, reports};
use serde_json::json;

fn is_asking(asked: &[Asked]) -> bool {
    asked.iter().any(|of| of.path.ends_with("/alive"))
}

#[test]
fn stopped_in_the_middle_it_says_what_it_missed_and_frees_its_key() {
    let broker = Scripted::start();
    let member = Member::new(&broker);
    broker.change(|script| (script.due, script.holds) = (vec![duty(7)], true));
    let running = member.run();
    broker.until("the node to be asked", is_asking);
    running.signal("-TERM");
    let output = running.ended();
    assert!(output.status.success(), "{output:?}");
    let asked = broker.until("the key to be free", |asked| {
        asked.iter().any(|of| of.method == "DELETE")
    });
    let said = reports(&asked);
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(
        (&said[0]["round"], &said[0]["outcome"]["is"]),
        (&json!(7), &json!("missed"))
    );
    assert_eq!(said[0]["outcome"]["why"], "the checker was stopped");
}

#[test]
fn a_broker_that_is_away_is_asked_until_it_is_back() {
    let broker = Scripted::start();
    let member = Member::new(&broker);
    broker.change(|script| script.away = 2);
    let running = member.run();
    let count = |asked: &[Asked]| asked.iter().filter(|of| of.is_for_assignments()).count();
    let asked = broker.until("it to be asked a third time", |asked| count(asked) >= 3);
    assert!(reports(&asked).is_empty());
    // Away once more, with something due: what is due is done once it is back.
    let before = count(&asked);
    broker.change(|script| (script.away, script.due) = (1, vec![duty(8)]));
    let asked = broker.until("what is due to be reported", |asked| {
        !reports(asked).is_empty()
    });
    assert!(count(&asked) > before);
    let instances: std::collections::BTreeSet<_> =
        asked.iter().filter_map(Asked::instance).collect();
    assert_eq!(instances.len(), 1, "the same copy all the time");
    running.signal("-TERM");
    assert!(running.ended().status.success());
}

#[test]
fn state_that_cannot_be_written_stops_nothing() {
    let broker = Scripted::start();
    let member = Member::new(&broker);
    // Nothing can be put in the place of a directory, as nothing can be written to a disk that is full.
    let running = member.run();
    broker.until("the first question", |asked| {
        asked.iter().any(Asked::is_for_assignments)
    });
    let state = member.dir.path().join("traffic.json");
    // The program may be writing it at this moment.
    while std::fs::create_dir_all(state.join("full")).is_err() {
        let _ = std::fs::remove_file(&state);
    }
    broker.change(|script| script.due = vec![duty(7)]);
    broker.until("a report", |asked| reports(asked).len() == 1);
    broker.change(|script| script.due = vec![duty(8)]);
    broker.until("another report", |asked| reports(asked).len() == 2);
    running.signal("-TERM");
    let output = running.ended();
    assert!(output.status.success(), "{output:?}");
}

/// Its key is held by the copy that was killed, until the broker's lease of it is over: it says so, and comes in after.
#[test]
fn killed_and_started_again_it_waits_for_its_lease_and_reports_once() {
    let broker = Scripted::start();
    let member = Member::new(&broker);
    broker.change(|script| (script.due, script.holds) = (vec![duty(7)], true));
    let running = member.run();
    broker.until("the node to be asked", is_asking);
    running.signal("-KILL");
    assert!(!running.ended().status.success());
    let output = member.run().ended();
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("Another copy"),
        "{output:?}"
    );
    broker.change(|script| (script.holder, script.holds) = (None, false));
    let again = member.run();
    let asked = broker.until("the duty to be reported", |asked| {
        !reports(asked).is_empty()
    });
    assert_eq!(reports(&asked).len(), 1);
    let instances: std::collections::BTreeSet<_> =
        asked.iter().filter_map(Asked::instance).collect();
    assert_eq!(instances.len(), 3, "each start is a copy of its own");
    again.signal("-TERM");
    assert!(again.ended().status.success());
    assert_eq!(
        reports(&broker.until("the end", |_| true)).len(),
        1,
        "never twice"
    );
}

/// What the broker cannot do or does not know is nothing that the node did: another checker asks.
#[test]
fn the_brokers_own_trouble_is_not_put_on_record_against_the_node() {
    let broker = Scripted::start();
    let member = Member::new(&broker);
    let running = member.run();
    let placed = |asked: &[Asked]| asked.iter().any(|of| of.path == "/v1/receipts");
    let troubles = [
        (500, "internal"),
        (429, "too-many-requests"),
        (503, "log-unavailable"),
        (404, "not-found"),
    ];
    for (round, (status, name)) in (7..).zip(troubles) {
        broker.change(|script| {
            script.alive = Some((status, problem(name, "trouble")));
            script.due = vec![duty(round)];
            script.asked.clear();
        });
        let asked = broker.until("a report", |asked| !reports(asked).is_empty());
        let outcome = &reports(&asked)[0]["outcome"];
        assert_eq!(outcome["is"], "missed", "{name}: {outcome}");
        assert_eq!(outcome["why"], "the broker: trouble", "{name}");
        assert!(!placed(&asked), "{name}");
    }
    // The broker that should know says that the node is silent, and says so again.
    broker.change(|script| {
        script.alive = Some((503, problem("node-unreachable", "it is silent")));
        script.due = vec![duty(20)];
        script.asked.clear();
    });
    let asked = broker.until("a report", |asked| !reports(asked).is_empty());
    let outcome = &reports(&asked)[0]["outcome"];
    assert_eq!(outcome["is"], "receipt", "{outcome}");
    assert_eq!(
        asked
            .iter()
            .filter(|of| of.path.ends_with("/alive"))
            .count(),
        2
    );
    assert!(placed(&asked));
    running.signal("-TERM");
    assert!(running.ended().status.success());
}
