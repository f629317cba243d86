//! `/v1/checkers/me/account`: how a checker's word compares with what its rounds came to, and what came of that.
//!
//! **What it does not know:** what a check earns, and when: `verdicts/stakes.rs` moves it, this reads it back.

use super::Api;
use super::caller::Caller;
use super::problem::{Refusal, store_failed};
use super::stakes::transfer;
use crate::ledger::{AccountRow, SLASHED, TransferRow};
use crate::stakes::Settlement;
use axum::Json;
use axum::extract::State;
use nearlight_protocol::checker::{CheckerAccount, CheckerAgreement, CheckerReward, RewardState};
use nearlight_protocol::problem::Problem;
use nearlight_protocol::stake::StakeTransfer;
use nearlight_protocol::unit::U64;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Days of checks that are compared: as many as verdicts count for a rank.
const DAYS: u32 = 30;
const DAY_S: u64 = 24 * 3600;
const DAY_MS: u64 = DAY_S * 1000;
/// Transfers of an account that are looked at, newest first.
const TRANSFERS: u32 = 200;

/// How the word of the checker that asks compares with what its rounds came to, its stake and its rewards.
#[utoipa::path(
    get, path = "/v1/checkers/me/account", tag = "checkers",
    security(("checker" = [])),
    responses(
        (status = 200, body = CheckerAccount, description = "Of the last 30 days; of transfers the newest."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`forbidden`: no checker's certificate was shown. `unauthenticated`, …"),
    )
)]
pub(super) async fn my_account(
    State(api): State<Arc<Api>>,
    caller: Caller,
) -> Result<Json<CheckerAccount>, Refusal> {
    let key = api.checker(&caller).await?.key_id;
    let failed = |error| store_failed(&error);
    let since_s = (api.clock.unix_ms() / 1000).saturating_sub(u64::from(DAYS) * DAY_S);
    let agreement = api.ledger.agreement(key.clone(), since_s).await;
    let agreement = agreement.map_err(failed)?;
    let (stake, earned) = (format!("checker/{key}"), format!("earned/{key}"));
    let accounts = api.ledger.balances().await.map_err(failed)?;
    let free = |id: &str| {
        let own = accounts.iter().find(|row| row.id == id);
        U64(own.map_or(0, AccountRow::free_micro))
    };
    let rewards = api.ledger.transfers(earned.clone(), TRANSFERS).await;
    let taken = api.ledger.transfers(stake.clone(), TRANSFERS).await;
    let taken = taken.map_err(failed)?;
    let terms = api.verdicts.as_ref().map(|verdicts| verdicts.terms());
    let dispute_ms = terms.map_or(0, |terms| terms.dispute_ms);
    Ok(Json(CheckerAccount {
        agreement: CheckerAgreement {
            days: DAYS,
            decided: agreement.decided,
            agreed: agreement.agreed,
            refuted: agreement.refuted,
        },
        stake_micro: free(&stake),
        earned_micro: free(&earned),
        reward_micro: U64(terms.map_or(0, |terms| terms.reward_micro)),
        slash_permille: terms.map_or(0, |terms| terms.slash_permille),
        dispute_days: u32::try_from(dispute_ms / DAY_MS).unwrap_or(u32::MAX),
        rewards: rewards_of(&rewards.map_err(failed)?, &earned),
        penalties: penalties_of(taken, &stake),
    }))
}

/// What was taken from a stake, or is held to be; what was given back is none.
fn penalties_of(newest_first: Vec<TransferRow>, stake: &str) -> Vec<StakeTransfer> {
    let void: HashSet<String> = newest_first
        .iter()
        .filter(|row| row.kind == "void")
        .filter_map(|row| row.ends.clone())
        .collect();
    let taken = newest_first.into_iter().filter(|row| {
        let is_its = row.debit == stake && row.credit == SLASHED;
        is_its && row.ends.is_none() && !void.contains(&row.id)
    });
    taken.map(transfer).collect()
}

/// What was held for an account, and whether that was ended since. What ends it is newer, so it is in the list.
fn rewards_of(newest_first: &[TransferRow], account: &str) -> Vec<CheckerReward> {
    let ends = newest_first.iter();
    let ends: HashMap<&str, &str> = ends
        .filter_map(|row| Some((row.ends.as_deref()?, row.kind.as_str())))
        .collect();
    let held = newest_first
        .iter()
        .filter(|row| row.kind == "pending" && row.credit == account);
    held.map(|row| CheckerReward {
        receipts: row.receipts.clone(),
        amount_micro: U64(row.amount_micro),
        state: match ends.get(row.id.as_str()) {
            None => RewardState::Held,
            Some(&"post") => RewardState::Paid,
            Some(_) => RewardState::Void,
        },
        reason: row.reason.clone(),
        at_unix_ms: row.at_ms,
        until_unix_ms: row.until_ms,
    })
    .collect()
}

#[cfg(test)]
mod test {
    use super::*;

    fn row(id: &str, kind: &str, ends: Option<&str>) -> TransferRow {
        TransferRow {
            id: id.to_owned(),
            kind: kind.to_owned(),
            debit: "pool".to_owned(),
            credit: "earned/a".to_owned(),
            amount_micro: 5,
            ends: ends.map(str::to_owned),
            receipts: vec![3],
            reason: String::new(),
            at_ms: 1,
            until_ms: None,
            round: None,
            holds_with: String::new(),
        }
    }

    #[test]
    fn a_reward_is_held_until_it_is_ended() {
        let deposit = TransferRow {
            kind: "posted".to_owned(),
            ..row("deposit", "posted", None)
        };
        let rows = [
            row("end/r3", "void", Some("r3")),
            row("end/r2", "post", Some("r2")),
            row("r3", "pending", None),
            row("r2", "pending", None),
            row("r1", "pending", None),
            deposit,
        ];
        let states: Vec<RewardState> = rewards_of(&rows, "earned/a")
            .into_iter()
            .map(|of| of.state)
            .collect();
        use RewardState::{Held, Paid, Void};
        assert_eq!(states, [Void, Paid, Held]);
        assert!(rewards_of(&rows, "earned/b").is_empty());
        let slash = |id: &str, kind: &str, ends: Option<&str>| TransferRow {
            debit: "checker/a".to_owned(),
            credit: SLASHED.to_owned(),
            ..row(id, kind, ends)
        };
        let rows = vec![
            slash("end/s2", "void", Some("s2")),
            slash("end/s1", "post", Some("s1")),
            slash("s3", "pending", None),
            slash("s2", "pending", None),
            slash("s1", "pending", None),
        ];
        let penalties = penalties_of(rows, "checker/a");
        let ids: Vec<&str> = penalties.iter().map(|of| of.id.as_str()).collect();
        assert_eq!(ids, ["s3", "s1"], "each once, and none that was given back");
    }
}
