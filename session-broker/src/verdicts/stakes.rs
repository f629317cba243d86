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
//! Of a round with a check that is revoked, what is held from stakes and does not hold any more is given back at once, and what
//! was taken, too; the check earns nothing, and what it earned goes back to the pool. What an account does not have is not
//! moved. A checker moves no stake by what it takes back: of a round that has come to something only the network revokes.
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
    /// What earlier changes held, what moved in the end and was not given back; as far as it is asked.
    pub(super) moved: &'a [TransferRow],
    /// Checks that are revoked now.
    pub(super) revoked: &'a [CheckRow],
    /// Now, by the log: when the newest receipt was issued.
    pub(super) at_ms: UnixMillis,
}

/// What moves.
pub(super) fn moves(changed: &Changed<'_>, terms: &StakeTerms) -> Vec<Transfer> {
    let mut moves = of_revoked(changed);
    moves.extend(of_the_round(changed, terms));
    moves.extend(
        changed
            .strangers
            .iter()
            .map(|key| liar(changed, key, terms)),
    );
    moves
}

/// What was held or moved for what is void.
fn of_revoked(changed: &Changed<'_>) -> Vec<Transfer> {
    let mut revocations: Vec<u64> = Vec::new();
    for by in changed.revoked.iter().filter_map(|check| check.revoked) {
        if !revocations.contains(&by) {
            revocations.push(by);
        }
    }
    if revocations.is_empty() {
        return Vec::new();
    }
    let own = |of: &TransferRow| {
        let mut revoked = changed.revoked.iter();
        let check = revoked.find(|check| of.id == reward(check))?;
        check.revoked
    };
    // A reward is one check's; of a stake all that are revoked were a part.
    let cites = |of: &TransferRow| match own(of) {
        Some(revocation) => vec![revocation],
        None => revocations.clone(),
    };
    let is_void = |of: &&TransferRow| {
        let is_stake = of.credit == SLASHED;
        (is_stake && !holds(of, Some(changed.after))) || own(of).is_some()
    };
    let ended = changed.pending.iter().filter(is_void).map(|held| {
        let mut ended = end(held, false, changed.at_ms);
        ended.receipts.extend(cites(held));
        ended
    });
    let given_back = changed.moved.iter().filter(is_void);
    let given_back = given_back.map(|of| Transfer {
        id: format!("back/{}", of.id),
        does: Move::Posted,
        debit: of.credit.clone(),
        credit: of.debit.clone(),
        amount: Amount::Micro(of.amount_micro),
        receipts: [of.receipts.clone(), cites(of)].concat(),
        reason: format!("what it rested on is revoked: {}", of.reason),
        at_ms: changed.at_ms,
        round: of.round.clone(),
    });
    ended.chain(given_back).collect()
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
        let mut known = changed.pending.iter().chain(changed.moved);
        known.any(|of| of.debit.starts_with(OPERATOR) && holds(of, Some(after)))
    };
    let is_wrong = |row: &VerdictRow| row.ground == Ground::Wrong.name();
    let is_wrong_now = is_wrong(after) && !changed.before.is_some_and(is_wrong);
    if (after.state == "failed" || is_wrong_now) && !is_held() {
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

fn seen(checks: &[CheckRow]) -> usize {
    let seated = || checks.iter().filter(|check| check.seat.is_some());
    seated().count() + seated().filter(|check| check.revoked.is_some()).count()
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
        // It grows with each check and each revocation: no two fails of a round have one name.
        _ => (
            seen(changed.checks).to_string(),
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

fn reward(check: &CheckRow) -> String {
    format!("reward/{}", check.leaf)
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
            id: reward(check),
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
mod test;
