//! `/v1/stakes`: accounts of stakes and rewards. Only an administrator moves anything by hand.

use super::Api;
use super::body::{JsonBody, asked};
use super::caller::Caller;
use super::problem::{Refusal, bad_request, store_failed};
use crate::access::Permission;
use crate::ledger::{AccountRow, Amount, Applied, Move, OUTSIDE, POOL, Transfer, TransferRow};
use crate::stakes::Settlement;
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use nearlight_proof::key::KeyId;
use nearlight_protocol::identity::AuditAction;
use nearlight_protocol::plain::is_plain_text;
use nearlight_protocol::problem::Problem;
use nearlight_protocol::stake::{
    MoveStake, StakeAccount, StakeDirection, StakeList, StakeTransfer,
};
use nearlight_protocol::unit::U64;
use serde::Deserialize;
use std::sync::Arc;

/// The most that is moved by hand at once, micro-units.
const AMOUNT_MAX: u64 = 1 << 50;
/// Transfers that are shown.
const TRANSFERS: u32 = 100;

/// Which account to look at more closely.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct StakeQuery {
    /// An account's name: it alone, and its last transfers.
    account: Option<String>,
}

/// Lists the accounts of stakes and rewards; of one of them its last transfers, each with its receipts.
#[utoipa::path(
    get, path = "/v1/stakes", tag = "stakes",
    security(("api_key" = [])), params(StakeQuery),
    responses(
        (status = 200, body = StakeList, description = "The accounts."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`forbidden`, `unauthenticated`, `bad-request`."),
    )
)]
pub(super) async fn list_stakes(
    State(api): State<Arc<Api>>,
    caller: Caller,
    query: Result<Query<StakeQuery>, QueryRejection>,
) -> Result<Json<StakeList>, Refusal> {
    caller.check(Permission::ChangeNodes)?;
    let query = asked(query)?;
    let accounts = api.ledger.balances().await;
    let accounts = accounts.map_err(|e| store_failed(&e))?.into_iter();
    let transfers = match &query.account {
        Some(account) => api.ledger.transfers(account.clone(), TRANSFERS).await,
        None => Ok(Vec::new()),
    };
    let transfers = transfers.map_err(|e| store_failed(&e))?;
    let wanted = |row: &AccountRow| query.account.as_ref().is_none_or(|id| *id == row.id);
    Ok(Json(StakeList {
        accounts: accounts.filter(wanted).map(account).collect(),
        transfers: transfers.into_iter().map(transfer).collect(),
    }))
}

/// Deposits to an account, or withdraws from it what nothing holds.
#[utoipa::path(
    post, path = "/v1/stakes", tag = "stakes",
    security(("api_key" = [])),
    request_body = MoveStake,
    responses(
        (status = 200, body = StakeAccount, description = "The account afterwards; the same `id` moves once."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`bad-request` also if the account does not have as much, `forbidden`, `unauthenticated`, …"),
    )
)]
pub(super) async fn move_stake(
    State(api): State<Arc<Api>>,
    caller: Caller,
    JsonBody(wanted): JsonBody<MoveStake>,
) -> Result<Json<StakeAccount>, Refusal> {
    let action = AuditAction::StakeMove;
    let checked = api.check_noted(&caller, Permission::ChangeStakes, action, &wanted.account);
    checked.await?;
    check(&wanted)?;
    let (verb, debit, credit) = match wanted.direction {
        StakeDirection::Deposit => ("deposit", OUTSIDE.to_owned(), wanted.account.clone()),
        StakeDirection::Withdraw => ("withdraw", wanted.account.clone(), OUTSIDE.to_owned()),
    };
    let transfer = Transfer {
        id: format!("{verb}/{}/{}", wanted.account, wanted.id),
        does: Move::Posted,
        debit,
        credit,
        amount: Amount::Micro(wanted.amount_micro.0),
        receipts: Vec::new(),
        reason: format!("an administrator's {verb}"),
        at_ms: api.clock.unix_ms(),
        round: None,
    };
    let detail = format!("{verb} {}", wanted.amount_micro.0);
    let audit = Some(caller.audit(&api, action, &wanted.account, detail));
    let moved = api.ledger.carry_out(transfer, audit).await;
    if moved.map_err(|e| store_failed(&e))? == Applied::QuotaUsedUp {
        return Err(bad_request(
            "The account does not have as much; what is held until disputes are over cannot be withdrawn.",
        ));
    }
    let accounts = api.ledger.balances().await;
    let accounts = accounts.map_err(|e| store_failed(&e))?;
    let own = accounts.into_iter().find(|row| row.id == wanted.account);
    own.map(|row| Json(account(row)))
        .ok_or_else(|| super::problem::not_found("account"))
}

fn check(wanted: &MoveStake) -> Result<(), Refusal> {
    if wanted.id.is_empty() || !is_plain_text(&wanted.id, 64) {
        return Err(bad_request("`id` is plain text of 1 to 64 bytes."));
    }
    if !(1..=AMOUNT_MAX).contains(&wanted.amount_micro.0) {
        return Err(bad_request(format!(
            "`amount_micro` takes 1 to {AMOUNT_MAX}."
        )));
    }
    let is_account = match wanted.account.split_once('/') {
        None => wanted.account == POOL,
        Some(("operator", name)) => !name.is_empty() && is_plain_text(name, 64),
        Some(("checker" | "earned", key)) => KeyId::from_hex(key).is_some(),
        Some(_) => false,
    };
    match is_account {
        true => Ok(()),
        false => Err(bad_request(
            "`account` is `operator/NAME`, `checker/KEY` or `earned/KEY` with a key id of 64 hex digits, or `pool`.",
        )),
    }
}

fn account(row: AccountRow) -> StakeAccount {
    StakeAccount {
        account: row.id,
        credits_micro: U64(row.credits_micro),
        debits_micro: U64(row.debits_micro),
        held_micro: U64(row.held_micro),
    }
}

pub(super) fn transfer(row: TransferRow) -> StakeTransfer {
    StakeTransfer {
        id: row.id,
        kind: row.kind,
        debit: row.debit,
        credit: row.credit,
        amount_micro: U64(row.amount_micro),
        receipts: row.receipts,
        reason: row.reason,
        at_unix_ms: row.at_ms,
        until_unix_ms: row.until_ms,
    }
}
