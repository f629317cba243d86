//! What a round that changes does to stakes and rewards. No clock, no IO.
//!
//! | the round | operator of the node | checkers |
//! |---|---|---|
//! | comes to pass, or to fail | | a reward each whose word it is: held for the time of disputes |
//! | comes to fail | a share of the stake is held for the time of disputes | |
//! | is settled: fail | what is held is taken | as below |
//! | is settled: pass | what is held is given back | as below |
//! | settled, a liar is named | | a share of the liar's stake is taken at once; no reward |
//! | one who has no seat in it is refuted | | the same, and nothing else changes |
//!
//! What is held and due is posted if the round still comes to what it was held for, and void otherwise: a
//! round that became a split meanwhile costs nobody anything. Every penalty names its receipts.

use crate::ledger::{
    Amount, CheckRow, Move, POOL, RoundOf, SLASHED, Transfer, TransferRow, VerdictRow,
};
use nearlight_protocol::unit::UnixMillis;

/// What things cost, as the configuration says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StakeTerms {
    /// Of a stake, thousandths.
    pub(crate) slash_permille: u32,
    /// Of a check that was accepted, micro-units.
    pub(crate) reward_micro: u64,
    /// For how long one can dispute, milliseconds.
    pub(crate) dispute_ms: u64,
}

/// The account of an operator's stake.
fn operator(name: &str) -> String {
    format!("operator/{name}")
}

/// The account of a checker's stake.
fn checker(key_id: &str) -> String {
    format!("checker/{key_id}")
}

/// The account of what a checker has earned.
fn earned(key_id: &str) -> String {
    format!("earned/{key_id}")
}

/// A round that changed.
#[derive(Debug)]
pub(super) struct Changed<'a> {
    /// As it was.
    pub(super) before: Option<&'a VerdictRow>,
    /// As it is.
    pub(super) after: &'a VerdictRow,
    /// All of its checks.
    pub(super) checks: &'a [CheckRow],
    /// Those that weigh in it.
    pub(super) weighing: &'a [CheckRow],
    /// Refuted checkers that have no seat in it, by their keys.
    pub(super) strangers: &'a [String],
    /// Who runs the node.
    pub(super) operator: &'a str,
    /// What earlier changes hold.
    pub(super) pending: &'a [TransferRow],
    /// Now, by the log: when the newest receipt was issued.
    pub(super) at_ms: UnixMillis,
}

/// What moves.
pub(super) fn moves(changed: &Changed<'_>, terms: &StakeTerms) -> Vec<Transfer> {
    let mut moves = of_the_round(changed, terms);
    moves.extend(
        changed
            .strangers
            .iter()
            .map(|key| liar(changed, key, terms)),
    );
    moves
}

fn of_the_round(changed: &Changed<'_>, terms: &StakeTerms) -> Vec<Transfer> {
    let after = changed.after;
    let was = changed
        .before
        .map(|row| (row.state.as_str(), row.finding.as_str()));
    if was == Some((after.state.as_str(), after.finding.as_str())) && after.state != "settled" {
        // More of the same: only who has not been rewarded yet is.
        return rewards(changed, terms);
    }
    let mut moves = Vec::new();
    if after.state == "settled" && was.is_none_or(|(state, _)| state != "settled") {
        moves.extend(changed.pending.iter().filter_map(|held| {
            let is_liars = after.liars.iter().any(|key| held.credit == earned(key));
            let settles = held.debit.starts_with("operator/") || is_liars;
            settles.then(|| ended(held, after, !is_liars, changed.at_ms))
        }));
        moves.extend(after.liars.iter().map(|key| liar(changed, key, terms)));
    }
    if after.finding == "fail" && after.state == "failed" {
        moves.push(held_from_operator(changed, terms));
    }
    moves.extend(rewards(changed, terms));
    moves
}

/// What becomes of what is due: its round decides.
pub(super) fn due(held: &TransferRow, verdict: Option<&VerdictRow>, at_ms: UnixMillis) -> Transfer {
    let holds = verdict.is_some_and(|verdict| verdict.finding == held.holds_with);
    end(held, holds, at_ms)
}

fn ended(held: &TransferRow, after: &VerdictRow, may_hold: bool, at_ms: UnixMillis) -> Transfer {
    end(held, may_hold && after.finding == held.holds_with, at_ms)
}

fn end(held: &TransferRow, holds: bool, at_ms: UnixMillis) -> Transfer {
    let (does, verb) = match holds {
        true => (Move::Post(held.id.clone()), "holds"),
        false => (Move::Void(held.id.clone()), "does not hold"),
    };
    Transfer {
        id: format!("end/{}", held.id),
        does,
        debit: held.debit.clone(),
        credit: held.credit.clone(),
        amount: Amount::Micro(held.amount_micro),
        receipts: held.receipts.clone(),
        reason: format!("what it was held for {verb}: {}", held.reason),
        at_ms,
        round: held.round.clone(),
    }
}

fn of_round(of: &RoundOf) -> String {
    format!("{}/{}/{}", of.node, of.round, of.gpu)
}

fn held_from_operator(changed: &Changed<'_>, terms: &StakeTerms) -> Transfer {
    let after = changed.after;
    Transfer {
        id: format!("slash/{}/{}", of_round(&after.of), after.places.len()),
        does: Move::Pending {
            until_ms: changed.at_ms.saturating_add(terms.dispute_ms),
            holds_with: "fail".to_owned(),
        },
        debit: operator(changed.operator),
        credit: SLASHED.to_owned(),
        amount: Amount::Permille(terms.slash_permille),
        receipts: after.places.clone(),
        reason: format!(
            "all checkers say that the node failed round {}",
            after.of.round
        ),
        at_ms: changed.at_ms,
        round: Some(after.of.clone()),
    }
}

fn liar(changed: &Changed<'_>, key: &str, terms: &StakeTerms) -> Transfer {
    let after = changed.after;
    let own = changed.checks.iter().filter(|check| check.checker == key);
    Transfer {
        id: format!("slash/{}/liar/{key}", of_round(&after.of)),
        does: Move::Posted,
        debit: checker(key),
        credit: SLASHED.to_owned(),
        amount: Amount::Permille(terms.slash_permille),
        receipts: own.map(|check| check.place).collect(),
        reason: format!("execution refuted what it said of round {}", after.of.round),
        at_ms: changed.at_ms,
        round: Some(after.of.clone()),
    }
}

/// One for each check that weighs, and whose word the round is. One that there is already is left as it is.
fn rewards(changed: &Changed<'_>, terms: &StakeTerms) -> Vec<Transfer> {
    let after = changed.after;
    let counts = matches!(after.finding.as_str(), "pass" | "fail");
    let mut paid = std::collections::BTreeSet::new();
    let accepted = changed.weighing.iter().filter(|check| {
        counts
            && check.finding == after.finding
            && !after.liars.contains(&check.checker)
            && paid.insert(check.checker.as_str())
    });
    accepted
        .map(|check| Transfer {
            id: format!("reward/{}", check.leaf),
            does: Move::Pending {
                until_ms: changed.at_ms.saturating_add(terms.dispute_ms),
                holds_with: after.finding.clone(),
            },
            debit: POOL.to_owned(),
            credit: earned(&check.checker),
            amount: Amount::Micro(terms.reward_micro),
            receipts: vec![check.place],
            reason: format!("a check of round {} that was accepted", after.of.round),
            at_ms: changed.at_ms,
            round: Some(after.of.clone()),
        })
        .collect()
}

#[cfg(test)]
mod test {
    use super::*;

    const TERMS: StakeTerms = StakeTerms {
        slash_permille: 100,
        reward_micro: 5,
        dispute_ms: 1_000,
    };

    fn of() -> RoundOf {
        RoundOf {
            node: "n".to_owned(),
            round: 7,
            gpu: "cpu".to_owned(),
        }
    }

    fn row(state: &str, finding: &str, liars: &[&str]) -> VerdictRow {
        VerdictRow {
            of: of(),
            state: state.to_owned(),
            finding: finding.to_owned(),
            score_permille: 900,
            at_s: 1,
            places: vec![3, 4],
            liars: liars.iter().map(|key| (*key).to_owned()).collect(),
        }
    }

    fn check(place: u64, checker: &str, finding: &str) -> CheckRow {
        CheckRow {
            place,
            of: of(),
            checker: checker.to_owned(),
            leaf: format!("leaf{place}"),
            finding: finding.to_owned(),
            score_permille: 900,
            issued_at_s: 1,
            reason: String::new(),
            seat: Some(0),
        }
    }

    fn held(id: &str, debit: &str, credit: &str, holds_with: &str) -> TransferRow {
        TransferRow {
            id: id.to_owned(),
            kind: "pending".to_owned(),
            debit: debit.to_owned(),
            credit: credit.to_owned(),
            amount_micro: 9,
            ends: None,
            receipts: vec![3],
            reason: String::new(),
            at_ms: 1,
            until_ms: Some(2),
            round: Some(of()),
            holds_with: holds_with.to_owned(),
        }
    }

    fn ids(
        before: Option<&VerdictRow>,
        after: &VerdictRow,
        checks: &[CheckRow],
        pending: &[TransferRow],
    ) -> Vec<String> {
        let changed = Changed {
            before,
            after,
            checks,
            weighing: checks,
            strangers: &[],
            operator: "host",
            pending,
            at_ms: 10,
        };
        let moves = moves(&changed, &TERMS);
        assert!(
            moves.iter().all(|of| !of.receipts.is_empty()),
            "each cites its receipts"
        );
        let verb = |of: &Transfer| match &of.does {
            Move::Posted => "posted",
            Move::Pending { .. } => "pending",
            Move::Post(_) => "post",
            Move::Void(_) => "void",
        };
        moves
            .iter()
            .map(|of| format!("{} {} {}>{}", verb(of), of.id, of.debit, of.credit))
            .collect()
    }

    #[test]
    fn a_pass_rewards_and_a_failure_is_held_from_the_operator() {
        let passes = [check(3, "a", "pass"), check(4, "b", "pass")];
        let passed = row("passed", "pass", &[]);
        let expected = [
            "pending reward/leaf3 pool>earned/a",
            "pending reward/leaf4 pool>earned/b",
        ];
        assert_eq!(ids(None, &passed, &passes, &[]), expected);
        let open = row("open", "inconclusive", &[]);
        assert!(ids(None, &open, &passes, &[]).is_empty());
        let fails = [check(3, "a", "fail"), check(4, "b", "fail")];
        let failed = row("failed", "fail", &[]);
        let expected = [
            "pending slash/n/7/cpu/2 operator/host>slashed",
            "pending reward/leaf3 pool>earned/a",
            "pending reward/leaf4 pool>earned/b",
        ];
        assert_eq!(ids(Some(&open), &failed, &fails, &[]), expected);
        let split = row("split", "inconclusive", &[]);
        assert!(
            ids(Some(&failed), &split, &fails, &[]).is_empty(),
            "what is held waits"
        );
    }

    #[test]
    fn a_won_dispute_gives_back_and_takes_from_the_liar() {
        let checks = [check(3, "a", "pass"), check(4, "l", "fail")];
        let pending = [
            held("slash", "operator/host", "slashed", "fail"),
            held("reward/leaf4", POOL, "earned/l", "fail"),
            held("reward/leaf3", POOL, "earned/a", "pass"),
        ];
        let failed = row("failed", "fail", &[]);
        let won = row("settled", "pass", &["l"]);
        let expected = [
            "void end/slash operator/host>slashed",
            "void end/reward/leaf4 pool>earned/l",
            "posted slash/n/7/cpu/liar/l checker/l>slashed",
            "pending reward/leaf3 pool>earned/a",
        ];
        assert_eq!(ids(Some(&failed), &won, &checks, &pending), expected);
        assert!(
            !ids(Some(&won), &won, &checks, &[])
                .iter()
                .any(|id| id.contains("liar")),
            "once"
        );
        let lost = row("settled", "fail", &[]);
        let expected = [
            "post end/slash operator/host>slashed",
            "pending reward/leaf4 pool>earned/l",
        ];
        assert_eq!(ids(Some(&failed), &lost, &checks, &pending), expected);
    }

    #[test]
    fn what_is_due_is_decided_by_its_round() {
        let slash = held("slash", "operator/host", SLASHED, "fail");
        let does = |verdict: Option<&VerdictRow>| due(&slash, verdict, 9).does;
        let (post, void) = (
            Move::Post("slash".to_owned()),
            Move::Void("slash".to_owned()),
        );
        assert_eq!(does(Some(&row("failed", "fail", &[]))), post);
        assert_eq!(does(Some(&row("split", "inconclusive", &[]))), void);
        assert_eq!(does(Some(&row("settled", "pass", &[]))), void);
        assert_eq!(does(None), void);
    }
}
