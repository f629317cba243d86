//! Transfers, one by one in their order: what an account has is looked at and taken in one statement.

use crate::ledger::dialect::Foreign;
use crate::ledger::phase_row::ms;
use crate::ledger::stakes::{Amount, Move, OUTSIDE, Transfer};
use crate::ledger::tx::{Tx, json};
use crate::ledger::{Applied, StoreError};
use serde::Serialize;
use sqlx::Row;

/// The most that one transfer moves: sums of any number of them that a ledger has fit an integer.
const AMOUNT_MAX: u64 = 1 << 50;

const OPEN: &str = "
    INSERT INTO account (id, credits_micro, debits_micro, held_micro)
    SELECT r.id, 0, 0, 0 FROM {rows id text} WHERE TRUE ON CONFLICT (id) DO NOTHING";

const KNOWN: &str = "SELECT 1 AS one FROM transfer, {rows id text} WHERE transfer.id = r.id";

const FREE: &str = "
    SELECT account.credits_micro - account.debits_micro - account.held_micro AS free_micro
    FROM account, {rows id text} WHERE account.id = r.id";

const TAKE: &str = "
    UPDATE account SET debits_micro = account.debits_micro + r.moved, held_micro = account.held_micro + r.held
    FROM {rows id text, moved bigint, held bigint, beyond bigint}
    WHERE account.id = r.id AND (r.beyond = 1
        OR account.credits_micro - account.debits_micro - account.held_micro >= r.moved + r.held)";

const GIVE: &str = "
    UPDATE account SET credits_micro = account.credits_micro + r.amount
    FROM {rows id text, amount bigint} WHERE account.id = r.id";

const LET_GO: &str = "
    UPDATE account SET held_micro = account.held_micro - r.held, debits_micro = account.debits_micro + r.moved
    FROM {rows id text, held bigint, moved bigint} WHERE account.id = r.id";

const PENDING: &str = "
    SELECT transfer.debit, transfer.credit, transfer.amount_micro FROM transfer, {rows id text}
    WHERE transfer.id = r.id AND transfer.kind = 'pending'";

const ADD: &str = "
    INSERT INTO transfer (id, kind, debit, credit, amount_micro, ends, receipts, reason, at_ms, until_ms, node, round, gpu, holds_with)
    SELECT r.id, r.kind, r.debit, r.credit, r.amount, r.ends, r.receipts, r.reason, r.at, r.until, r.node, r.round, r.gpu, r.holds_with
    FROM {rows id text, kind text, debit text, credit text, amount bigint, ends text, receipts text, reason text, at bigint, until bigint, node text, round bigint, gpu text, holds_with text} WHERE TRUE
    ON CONFLICT DO NOTHING";

/// Of what was added in this transaction, and is not to be.
const TAKE_BACK: &str = "
    DELETE FROM transfer WHERE transfer.id IN (SELECT r.id FROM {rows id text})";

/// See [`Transfer`].
pub(super) async fn transfer(tx: &mut Tx, wanted: &Transfer) -> Result<Applied, StoreError> {
    let id = Foreign(&wanted.id);
    if !tx.ask(KNOWN, &[Id { id }]).await?.is_empty() {
        return Ok(Applied::Skipped);
    }
    match &wanted.does {
        Move::Posted => begin(tx, wanted, false).await,
        Move::Pending { .. } => begin(tx, wanted, true).await,
        Move::Post(pending) => end(tx, wanted, pending, true).await,
        Move::Void(pending) => end(tx, wanted, pending, false).await,
    }
}

async fn begin(tx: &mut Tx, wanted: &Transfer, is_held: bool) -> Result<Applied, StoreError> {
    let (debit, credit) = (Foreign(&wanted.debit), Foreign(&wanted.credit));
    tx.run(OPEN, &[Id { id: debit }, Id { id: credit }]).await?;
    let amount = match wanted.amount {
        Amount::Micro(micro) => micro,
        Amount::Permille(permille) => {
            let free = tx.ask(FREE, &[Id { id: debit }]).await?;
            let free: i64 = free.first().map_or(0, |row| row.get("free_micro"));
            let free = u128::try_from(free).unwrap_or(0);
            u64::try_from(free * u128::from(permille) / 1000).unwrap_or(0)
        }
    };
    if amount == 0 || amount > AMOUNT_MAX || wanted.debit == wanted.credit {
        return Ok(Applied::Skipped);
    }
    let (moved, held) = if is_held { (0, amount) } else { (amount, 0) };
    let take = Take {
        id: debit,
        moved,
        held,
        beyond: i64::from(wanted.debit == OUTSIDE),
    };
    // Whoever is first has the id.
    let row = Added::of(wanted, (&wanted.debit, &wanted.credit), amount)?;
    if tx.run(ADD, &[row]).await? == 0 {
        return Ok(Applied::Skipped);
    }
    if tx.run(TAKE, &[take]).await? == 0 {
        let id = Foreign(&wanted.id);
        tx.run(TAKE_BACK, &[Id { id }]).await?;
        return Ok(Applied::QuotaUsedUp);
    }
    if !is_held {
        let give = Give { id: credit, amount };
        tx.run(GIVE, &[give]).await?;
    }
    Ok(Applied::Done)
}

async fn end(
    tx: &mut Tx,
    wanted: &Transfer,
    pending: &str,
    moves: bool,
) -> Result<Applied, StoreError> {
    let found = tx
        .ask(
            PENDING,
            &[Id {
                id: Foreign(pending),
            }],
        )
        .await?;
    let Some(found) = found.first() else {
        return Ok(Applied::Skipped);
    };
    let (debit, credit): (String, String) = (found.get("debit"), found.get("credit"));
    let amount: i64 = found.get("amount_micro");
    let amount = u64::try_from(amount)
        .map_err(|_| StoreError::Corrupt("transfer.amount_micro".to_owned()))?;
    let row = Added::of(wanted, (&debit, &credit), amount)?;
    // Whoever is first ends it.
    if tx.run(ADD, &[row]).await? == 0 {
        return Ok(Applied::Skipped);
    }
    let let_go = LetGo {
        id: Foreign(&debit),
        held: amount,
        moved: if moves { amount } else { 0 },
    };
    tx.run(LET_GO, &[let_go]).await?;
    if moves {
        let id = Foreign(&credit);
        tx.run(GIVE, &[Give { id, amount }]).await?;
    }
    Ok(Applied::Done)
}

#[derive(Serialize)]
struct Id<'a> {
    id: Foreign<'a>,
}

#[derive(Serialize)]
struct Take<'a> {
    id: Foreign<'a>,
    moved: u64,
    held: u64,
    beyond: i64,
}

#[derive(Serialize)]
struct Give<'a> {
    id: Foreign<'a>,
    amount: u64,
}

#[derive(Serialize)]
struct LetGo<'a> {
    id: Foreign<'a>,
    held: u64,
    moved: u64,
}

#[derive(Serialize)]
struct Added<'a> {
    id: Foreign<'a>,
    kind: &'static str,
    debit: Foreign<'a>,
    credit: Foreign<'a>,
    amount: u64,
    ends: Option<&'a str>,
    receipts: String,
    reason: Foreign<'a>,
    at: i64,
    until: Option<i64>,
    node: &'a str,
    round: u64,
    gpu: Foreign<'a>,
    holds_with: &'a str,
}

impl<'a> Added<'a> {
    fn of(
        wanted: &'a Transfer,
        (debit, credit): (&'a str, &'a str),
        amount: u64,
    ) -> Result<Self, StoreError> {
        let (kind, ends, until, holds_with) = match &wanted.does {
            Move::Posted => ("posted", None, None, ""),
            Move::Pending {
                until_ms,
                holds_with,
            } => ("pending", None, Some(ms(*until_ms)), holds_with.as_str()),
            Move::Post(pending) => ("post", Some(pending.as_str()), None, ""),
            Move::Void(pending) => ("void", Some(pending.as_str()), None, ""),
        };
        let round = wanted.round.as_ref();
        Ok(Self {
            id: Foreign(&wanted.id),
            kind,
            debit: Foreign(debit),
            credit: Foreign(credit),
            amount,
            ends,
            receipts: json(&wanted.receipts)?,
            reason: Foreign(&wanted.reason),
            at: ms(wanted.at_ms),
            until,
            node: round.map_or("", |of| &of.node),
            round: round.map_or(0, |of| of.round),
            gpu: Foreign(round.map_or("", |of| &of.gpu)),
            holds_with,
        })
    }
}
