//! What a round that changes does to stakes and rewards. No clock, no IO.
//!
//! | the round | operator of the node | checkers |
//! |---|---|---|
//! | comes to pass, or to fail | | a reward each whose word it is: held for the time of disputes |
//! | comes to fail | a share of the stake is held for the time of disputes | |
//! | is settled: pass | what is held is given back | as below |
//! | is settled: fail, by what the node signed | a share is held, if none is | as below |
//! | settled, a liar is named | | a share of the liar's stake is held for the time of disputes; no reward |
//! | one who has no seat in it is refuted | | a share is taken at once, and nothing else changes |
//!
//! What is held is ended when the time for disputes is over and no dispute over the round is open: it is posted if the
//! round still comes to what it was held for, and void otherwise. A round that became a split meanwhile costs nobody
//! anything, and one that is settled anew takes nothing that it would have to give back. Every penalty names its receipts.

use crate::ledger::{
    Amount, CheckRow, Move, POOL, RoundOf, SLASHED, Transfer, TransferRow, VerdictRow,
};
use nearlight_proof::porc::round::Ground;
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

/// Accounts of operators' stakes begin so.
const OPERATOR: &str = "operator/";
/// What a liar's stake is held for.
const LIAR: &str = "liar";

/// The account of an operator's stake.
fn operator(name: &str) -> String {
    format!("{OPERATOR}{name}")
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
    if after.state == "settled" {
        let holds = |held: &&TransferRow| holds(held, Some(after));
        let is_stake = |held: &&TransferRow| held.credit == SLASHED;
        let stakes = changed.pending.iter().filter(is_stake);
        let void = stakes.filter(|held| !holds(held));
        moves.extend(void.map(|held| end(held, false, changed.at_ms)));
        let known = changed.before.map_or(&[][..], |row| &row.liars);
        let new = after.liars.iter().filter(|key| !known.contains(key));
        moves.extend(new.map(|key| held_from_liar(changed, key, terms)));
    }
    let is_held = || {
        let mut pending = changed.pending.iter();
        pending.any(|held| held.debit.starts_with(OPERATOR))
    };
    let is_wrong = |row: &VerdictRow| row.ground == Ground::Wrong.name();
    let is_wrong_now = is_wrong(after) && !changed.before.is_some_and(is_wrong);
    if after.state == "failed" || (is_wrong_now && !is_held()) {
        moves.push(held_from_operator(changed, terms));
    }
    moves.extend(rewards(changed, terms));
    moves
}

/// Whether what a transfer is held for is so by its round: a liar is still one, or the round comes to that finding, and
/// nobody is paid for a word that was refuted.
fn holds(held: &TransferRow, verdict: Option<&VerdictRow>) -> bool {
    let Some(verdict) = verdict else {
        return false;
    };
    let mut liars = verdict.liars.iter();
    match held.holds_with.as_str() {
        LIAR => liars.any(|key| held.debit == checker(key)),
        finding => verdict.finding == finding && liars.all(|key| held.credit != earned(key)),
    }
}

/// What becomes of what is due: its round decides.
pub(super) fn due(held: &TransferRow, verdict: Option<&VerdictRow>, at_ms: UnixMillis) -> Transfer {
    end(held, holds(held, verdict), at_ms)
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
    let (cause, reason) = match after.state.as_str() {
        "settled" => (
            "settled".to_owned(),
            "what the node signed fails, executed again, in",
        ),
        _ => (
            after.places.len().to_string(),
            "all checkers say that the node failed",
        ),
    };
    Transfer {
        id: format!("slash/{}/{cause}", of_round(&after.of)),
        does: Move::Pending {
            until_ms: changed.at_ms.saturating_add(terms.dispute_ms),
            holds_with: "fail".to_owned(),
        },
        debit: operator(changed.operator),
        credit: SLASHED.to_owned(),
        amount: Amount::Permille(terms.slash_permille),
        receipts: after.places.clone(),
        reason: format!("{reason} round {}", after.of.round),
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

/// As [`liar`], but given back if a later word of a referee rests on more and does not name it.
fn held_from_liar(changed: &Changed<'_>, key: &str, terms: &StakeTerms) -> Transfer {
    Transfer {
        does: Move::Pending {
            until_ms: changed.at_ms.saturating_add(terms.dispute_ms),
            holds_with: LIAR.to_owned(),
        },
        ..liar(changed, key, terms)
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
            ground: String::new(),
            blocks: None,
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
            blocks: None,
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
            "pending slash/n/7/cpu/liar/l checker/l>slashed",
            "pending reward/leaf3 pool>earned/a",
        ];
        let of_liar = due(&pending[1], Some(&won), 9).does;
        assert_eq!(of_liar, Move::Void("reward/leaf4".to_owned()));
        assert_eq!(ids(Some(&failed), &won, &checks, &pending), expected);
        assert!(
            !ids(Some(&won), &won, &checks, &[])
                .iter()
                .any(|id| id.contains("liar")),
            "once"
        );
        let lost = row("settled", "fail", &[]);
        assert_eq!(
            ids(Some(&failed), &lost, &checks, &pending),
            ["pending reward/leaf4 pool>earned/l"],
            "what is held stays so until nobody can dispute it any more"
        );
    }

    /// A lying committee has the round settled its way; the node wins a dispute of its own afterwards, and one of the
    /// refuted shows at last that the node had signed something wrong.
    #[test]
    fn a_round_that_is_settled_anew_holds_anew_and_gives_back() {
        let checks = [check(3, "a", "fail"), check(4, "b", "fail")];
        let slash = [held("slash", "operator/host", SLASHED, "fail")];
        let most = row("settled", "fail", &[]);
        let mut won = row("settled", "pass", &["a", "b"]);
        won.ground = "right".to_owned();
        let expected = [
            "void end/slash operator/host>slashed",
            "pending slash/n/7/cpu/liar/a checker/a>slashed",
            "pending slash/n/7/cpu/liar/b checker/b>slashed",
        ];
        assert_eq!(ids(Some(&most), &won, &checks, &slash), expected);
        let liars = [
            held("liar/a", "checker/a", SLASHED, LIAR),
            held("liar/b", "checker/b", SLASHED, LIAR),
        ];
        let taken = |verdict| due(&liars[0], Some(verdict), 9).does;
        assert_eq!(taken(&won), Move::Post("liar/a".to_owned()));
        let mut lost = row("settled", "fail", &[]);
        lost.ground = "wrong".to_owned();
        assert_eq!(taken(&lost), Move::Void("liar/a".to_owned()));
        let expected = [
            "void end/liar/a checker/a>slashed",
            "void end/liar/b checker/b>slashed",
            "pending slash/n/7/cpu/settled operator/host>slashed",
            "pending reward/leaf3 pool>earned/a",
            "pending reward/leaf4 pool>earned/b",
        ];
        assert_eq!(ids(Some(&won), &lost, &checks, &liars), expected);
        assert_eq!(ids(Some(&lost), &lost, &checks, &slash), expected[3..]);
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
