//! `checker status`: what this checker was assigned, what it missed and why.

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
    let count = |state: &str| of.assignments.iter().filter(|a| a.state == state).count();
    let mut out = format!(
        "checker {}\nrun by {}, licence {licence}\n{running}\nof its last {} assignments: {} done, {} missed, {} due\n",
        checker.key_id,
        checker.operator,
        of.assignments.len(),
        count("done"),
        count("missed"),
        count("due"),
    );
    let missed = of.assignments.iter().filter(|a| a.state == "missed");
    for one in missed.take(MISSED_MAX) {
        out += &line(one);
    }
    out += &format!("{} MB sent and received in this month\n", bytes / 1_000_000);
    out
}

fn line(missed: &Assignment) -> String {
    format!(
        "missed {} of {} in round {} (until {}): {}\n",
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
        let assignment = |state: &str, why: &str| Assignment {
            round: 7,
            duty: "alive".to_owned(),
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
            },
            assignments: vec![
                assignment("done", ""),
                assignment("missed", "it was stopped"),
            ],
        };
        let text = lines(&standing, 2_500_000);
        assert!(
            text.contains("2 assignments: 1 done, 1 missed, 0 due"),
            "{text}"
        );
        assert!(
            text.contains("in round 7") && text.contains("it was stopped"),
            "{text}"
        );
        assert!(text.contains("2 MB"), "{text}");
    }
}
