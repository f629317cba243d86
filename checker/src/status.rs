//! `checker status`: what this checker was assigned, what it missed and why.

use nearlight_proof::porc::schedule::{Due, Duty as Kind};
use nearlight_protocol::checker::{Assignment, CheckerStanding};
use nearlight_protocol::unit::rfc3339;

/// Missed ones that are shown.
const MISSED_MAX: usize = 20;

/// For people.
#[must_use]
pub fn lines(of: &CheckerStanding, bytes: u64) -> String {
    let checker = &of.checker;
    let running = match (checker.revoked_s, checker.running) {
        (Some(at), _) => format!("shut out at {}", rfc3339(at * 1000)),
        (None, true) => "running".to_owned(),
        (None, false) => "not running".to_owned(),
    };
    let licence = checker.licence.as_deref().unwrap_or("none");
    let plays = match checker.plays_since_s {
        Some(_) => "plays streams",
        None => "plays no streams: it has no `checker-play`, or does not run",
    };
    let mut out = format!(
        "checker {}\nrun by {}, licence {licence}\n{running}, {plays}\n{}\n",
        checker.key_id,
        checker.operator,
        counts(&of.assignments),
    );
    let missed = of.assignments.iter();
    let missed = missed.filter(|a| a.state == "missed" || a.state == "void");
    for one in missed.take(MISSED_MAX) {
        out += &line(one);
    }
    out += &format!("{} MB sent and received in this month\n", bytes / 1_000_000);
    out
}

/// How many of each state, of all and of each duty.
fn counts(assignments: &[Assignment]) -> String {
    let count = |of: &[&Assignment]| {
        let states = ["done", "missed", "void", "due"].map(|state| {
            let of_state = of.iter().filter(|a| a.state == state).count();
            format!("{of_state} {state}")
        });
        states.join(", ")
    };
    let all: Vec<&Assignment> = assignments.iter().collect();
    let mut out = format!("of its last {} assignments: {}", all.len(), count(&all));
    let kind = |a: &Assignment| Due::of_name(&a.duty).map(|due| due.duty);
    for duty in Kind::ALL {
        let of: Vec<&Assignment> = assignments
            .iter()
            .filter(|a| kind(a) == Some(duty))
            .collect();
        if !of.is_empty() {
            out += &format!("\n  {}: {}", duty.name(), count(&of));
        }
    }
    out
}

fn line(missed: &Assignment) -> String {
    format!(
        "{} {} of {} in round {} (until {}): {}\n",
        missed.state,
        missed.duty,
        missed.node,
        missed.round,
        rfc3339(missed.until_unix_ms),
        missed.why
    )
}

#[cfg(test)]
mod test {
    use super::*;
    use nearlight_protocol::checker::Checker;

    #[test]
    fn what_was_missed_is_said_with_why() {
        let assignment = |duty: &str, state: &str, why: &str| Assignment {
            round: 7,
            duty: duty.to_owned(),
            node: nearlight_kit::ids::node(),
            node_key_id: "n".to_owned(),
            checker: "c".to_owned(),
            place: 0,
            due_unix_ms: 0,
            until_unix_ms: 1_000,
            state: state.to_owned(),
            why: why.to_owned(),
            leaf: String::new(),
        };
        let standing = CheckerStanding {
            checker: Checker {
                key_id: "c".to_owned(),
                key: "k".to_owned(),
                operator: "west".to_owned(),
                licence: None,
                joined_s: 1,
                revoked_s: None,
                running: true,
                plays_since_s: Some(9),
            },
            assignments: vec![
                assignment("alive", "done", ""),
                assignment("alive", "missed", "it was stopped"),
                assignment("stream", "void", "no free slot"),
            ],
        };
        let text = lines(&standing, 2_500_000);
        assert!(
            text.contains("3 assignments: 1 done, 1 missed, 1 void, 0 due"),
            "{text}"
        );
        assert!(
            text.contains("stream: 0 done, 0 missed, 1 void") && text.contains("plays streams"),
            "{text}"
        );
        assert!(
            text.contains("void stream of") && text.contains("no free slot"),
            "{text}"
        );
        assert!(
            text.contains("in round 7") && text.contains("it was stopped"),
            "{text}"
        );
        assert!(text.contains("2 MB"), "{text}");
    }
}
