use super::*;
use nearlight_protocol::checker::Assignment;

#[test]
fn a_broker_that_is_away_is_asked_less_and_less_and_never_by_all_at_once() {
    assert_eq!(backoff(1, 1.0), Duration::from_secs(1));
    assert_eq!(backoff(1, 0.0), Duration::from_millis(500));
    assert_eq!(backoff(3, 1.0), Duration::from_secs(4));
    assert_eq!(backoff(40, 1.0), BACKOFF.1);
    assert!(backoff(4, 0.2) < backoff(4, 0.7));
}

pub(super) fn duty(round: u64, node: &str, name: &str) -> Duty {
    Duty {
        assignment: Assignment {
            round,
            duty: name.to_owned(),
            node: nearlight_kit::ids::node(),
            node_key_id: node.to_owned(),
            checker: String::new(),
            place: 0,
            due_unix_ms: 0,
            until_unix_ms: 0,
            state: "due".to_owned(),
            why: String::new(),
            leaf: String::new(),
        },
        value: String::new(),
        signature: None,
        checkers: String::new(),
        node_key: String::new(),
        class: None,
        app: None,
        meets_unix_ms: None,
    }
}

#[test]
fn gpus_of_one_node_and_round_are_probed_together_and_nothing_else() {
    let duties = [
        (7, "a", "alive"),
        (7, "a", "capacity/GPU-1"),
        (7, "b", "capacity"),
        (7, "a", "capacity/GPU-2"),
        (8, "a", "capacity/GPU-1"),
        (7, "b", "alive"),
        (7, "a", "sleep"),
    ];
    let duties = duties.map(|(round, node, name)| duty(round, node, name));
    let groups: Vec<Vec<String>> = together(duties.to_vec())
        .into_iter()
        .map(|group| group.into_iter().map(|of| of.assignment.duty).collect())
        .collect();
    let expected: [&[&str]; 6] = [
        &["alive"],
        &["capacity/GPU-1", "capacity/GPU-2"],
        &["capacity"],
        &["capacity/GPU-1"],
        &["alive"],
        &["sleep"],
    ];
    assert_eq!(groups, expected);
}

/// A wait of an hour ends when the checker is stopped, also one that begins afterwards.
#[test]
fn whoever_waits_is_woken_by_the_end() {
    let hour = Duration::from_secs(3600);
    let leaving = Arc::new(Leaving::default());
    assert!(!leaving.wait(Duration::from_millis(1)));
    let (waits, waited) = (leaving.clone(), leaving.clone());
    let waiter = std::thread::spawn(move || waits.wait(hour));
    waited.begin();
    assert!(waiter.join().unwrap());
    assert!(leaving.wait(hour));
}

#[test]
fn a_reason_is_short_and_on_one_line() {
    let Outcome::Missed { why } = missed(&format!("a\n{}", "ä".repeat(400))) else {
        panic!("another outcome");
    };
    assert!(why.len() <= WHY_BYTES_MAX && why.starts_with("aä"), "{why}");
}
