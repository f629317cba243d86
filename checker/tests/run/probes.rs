//! A probe whose node, or whose broker, does not answer as it should.

use crate::scripted::{Asked, Member, Scripted, duty, reports};
use nearlight_proof::receipt::envelope::Envelope;
use nearlight_proof::receipt::predicate::{Finding, Predicate};
use nearlight_proof::receipt::statement::Statement;
use serde_json::{Value, json};

/// A check of what the node can do.
pub(crate) fn capacity(round: u64) -> Value {
    let mut duty = duty(round);
    duty["duty"] = json!("capacity");
    duty
}

/// What a checker says of a node that answers the first step so: its report, and the receipt if it wrote one.
fn probed(
    (broker, round): (&Scripted, u64),
    begin: (Vec<u8>, usize),
    ends_with_step: bool,
) -> (Value, Option<(Finding, String)>) {
    broker.change(|script| {
        (script.begin, script.ends_with_step) = (Some(begin), ends_with_step);
        script.due = vec![capacity(round)];
        script.asked.clear();
    });
    let asked = broker.until("a report", |asked| !reports(asked).is_empty());
    let written = asked.iter().find(|of| of.path == "/v1/receipts");
    (reports(&asked)[0]["outcome"].clone(), written.map(found))
}

fn found(handed_in: &Asked) -> (Finding, String) {
    let envelope = Envelope::parse(handed_in.text.as_bytes()).unwrap();
    let statement = Statement::parse(&envelope).unwrap();
    let Predicate::Porc(porc) = statement.predicate else {
        panic!("a receipt of another kind");
    };
    (porc.finding, porc.reason)
}

/// It was the checker that had a missed assignment, as often as the node liked, and nothing was on record of the node.
#[test]
fn a_node_that_answers_too_much_fails_and_one_that_breaks_off_is_on_record() {
    let broker = Scripted::start();
    let member = Member::new(&broker);
    broker.change(|script| script.room = 100);
    let running = member.run();

    for (round, length) in [(7, 97), (8, 98), (9, 100_000)] {
        let (said, written) = probed((&broker, round), (vec![7; length], length), false);
        assert_eq!(said["is"], "receipt", "{length}: {said}");
        let (finding, why) = written.unwrap();
        assert_eq!(finding, Finding::Fail, "{length}: {why}");
        assert!(why.starts_with("the answer to `begin`: "), "{why}");
    }

    let (said, written) = probed((&broker, 10), (vec![7; 40], 96), false);
    assert_eq!(said["is"], "receipt", "{said}");
    let (finding, why) = written.unwrap();
    assert_eq!(finding, Finding::Inconclusive, "{why}");
    assert!(
        why.starts_with("the answer to `begin` broke off: "),
        "{why}"
    );

    // The broker went away in the middle: nobody can tell whose doing it was.
    let (said, written) = probed((&broker, 11), (vec![7; 40], 96), true);
    assert_eq!((&said["is"], &written), (&Value::from("missed"), &None));
    let why = said["why"].as_str().unwrap();
    assert!(why.contains("does not answer `begin`"), "{why}");

    running.signal("-TERM");
    assert!(running.ended().status.success());
}
