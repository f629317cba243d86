//! `checker status`: what this checker was assigned, what it missed and why; how often it said what rounds came to; and
//! each reward by its formula (docs/proof.md, Stakes).

use nearlight_proof::porc::schedule::{Due, Duty as Kind};
use nearlight_protocol::checker::{
    Assignment, CheckerAccount, CheckerAgreement, CheckerStanding, RewardState,
};
use nearlight_protocol::unit::rfc3339;

/// Missed ones that are shown.
const MISSED_MAX: usize = 20;
/// Rewards that are shown, and penalties.
const REWARDS_MAX: usize = 20;

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

/// How its word compares with what its rounds came to, and what came of that.
#[must_use]
pub fn account(of: &CheckerAccount) -> String {
    let CheckerAgreement {
        days,
        decided,
        agreed,
        refuted,
    } = of.agreement;
    let mut out = match decided {
        0 => format!("no round that it had a seat in was decided in the last {days} days\n"),
        // Rounded down: 100 % is all of them.
        _ => format!(
            "it said what {agreed} of {decided} decided rounds came to ({} %) in the last {days} days; execution refuted it in {refuted}\n",
            agreed.saturating_mul(100) / decided
        ),
    };
    out += &format!(
        "stake {}, earned {} micro-units\nan accepted check earns {} micro-units from the pool, paid {} days after its round was decided if that stands; \
         a refuted one costs {} of each 1000 at stake\n",
        of.stake_micro.0, of.earned_micro.0, of.reward_micro.0, of.dispute_days, of.slash_permille
    );
    for reward in of.rewards.iter().take(REWARDS_MAX) {
        let until = reward
            .until_unix_ms
            .map_or_else(String::new, |at| format!(" until {}", rfc3339(at)));
        let state = match reward.state {
            RewardState::Held => format!("held{until}"),
            RewardState::Paid => "paid".to_owned(),
            RewardState::Void => "void: its round came to something else".to_owned(),
        };
        let receipts = places(&reward.receipts);
        out += &format!(
            "+{} for {}, receipt {receipts}: {state}\n",
            reward.amount_micro.0, reward.reason
        );
    }
    for penalty in of.penalties.iter().take(REWARDS_MAX) {
        let receipts = places(&penalty.receipts);
        out += &format!(
            "-{} for {}, receipt {receipts}\n",
            penalty.amount_micro.0, penalty.reason
        );
    }
    out
}

fn places(receipts: &[u64]) -> String {
    let places: Vec<String> = receipts.iter().map(u64::to_string).collect();
    places.join(", ")
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
    use nearlight_protocol::checker::{Checker, CheckerReward};
    use nearlight_protocol::stake::StakeTransfer;
    use nearlight_protocol::unit::U64;

    #[test]
    fn each_reward_is_told_with_its_formula_and_each_penalty_with_its_receipts() {
        let reward = |state, receipt| CheckerReward {
            receipts: vec![receipt],
            amount_micro: U64(10),
            state,
            reason: "a check of round 7 that was accepted".to_owned(),
            at_unix_ms: 0,
            until_unix_ms: Some(1_000),
        };
        let mut of = CheckerAccount {
            agreement: CheckerAgreement {
                days: 30,
                decided: 3,
                agreed: 2,
                refuted: 1,
            },
            stake_micro: U64(900),
            earned_micro: U64(20),
            reward_micro: U64(10),
            slash_permille: 100,
            dispute_days: 7,
            rewards: vec![reward(RewardState::Held, 3), reward(RewardState::Void, 4)],
            penalties: vec![StakeTransfer {
                id: "slash".to_owned(),
                kind: "posted".to_owned(),
                debit: "checker/c".to_owned(),
                credit: "slashed".to_owned(),
                amount_micro: U64(100),
                receipts: vec![5, 6],
                reason: "execution refuted what it said of round 8".to_owned(),
                at_unix_ms: 0,
                until_unix_ms: None,
            }],
        };
        let text = account(&of);
        for says in [
            "2 of 3 decided rounds came to (66 %)",
            "earns 10 micro-units from the pool, paid 7 days after",
            "+10 for a check of round 7 that was accepted, receipt 3: held until 1970-01-01T00:00:01",
            "receipt 4: void",
            "-100 for execution refuted what it said of round 8, receipt 5, 6",
        ] {
            assert!(text.contains(says), "{says}: {text}");
        }
        of.agreement = CheckerAgreement {
            days: 30,
            ..CheckerAgreement::default()
        };
        assert!(
            account(&of).starts_with("no round"),
            "nothing is divided by nothing"
        );
    }

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
