//! Usage that begins and ends, what things cost, and what sessions may cost.

use super::claims::Release;
use crate::ledger::StoreError;
use crate::ledger::dialect::Foreign;
use crate::ledger::phase_row::{epoch_column, int, ms, to_ms};
use crate::ledger::tx::{Tx, json};
use crate::ledger::usage::Bill;
use nearlight_protocol::id::{SessionId, TenantId};
use nearlight_protocol::unit::{MonoTime, UnixMillis};
use nearlight_protocol::usage::UsageFacts;
use nearlight_session::Claim;
use serde::Serialize;

const BEGIN: &str = "
    INSERT INTO usage_interval (session_id, slot_id, epoch, user_id, tenant_id, kind, app_id, node_id,
        region, cpu_milli, mem_mib, gpus, score_permille, score_receipt, labels, began_ms)
    SELECT r.session_id, r.slot_id, r.epoch, r.user_id, r.tenant_id, r.kind, r.item, r.node_id,
        r.region, r.cpu_milli, r.mem_mib, r.gpus, r.score_permille, r.score_receipt, r.labels, r.at
    FROM {rows session_id text, slot_id text, epoch bigint, user_id text, tenant_id text, kind text,
        item text, node_id text, region text, cpu_milli bigint, mem_mib bigint, gpus text,
        score_permille bigint, score_receipt bigint, labels text, at bigint}
    WHERE TRUE ON CONFLICT DO NOTHING";

/// The first end counts, and none is before its beginning. An older broker leaves the slot empty.
const END: &str = "
    UPDATE usage_interval SET ended_ms = CASE WHEN usage_interval.began_ms > r.billed
        THEN usage_interval.began_ms ELSE r.billed END
    FROM {rows session_id text, slot_id text, epoch bigint, billed bigint}
    WHERE usage_interval.session_id = r.session_id AND usage_interval.epoch = r.epoch
        AND {still usage_interval.slot_id IN (r.slot_id, '')}
        AND {still usage_interval.ended_ms IS NULL}";

/// Sums and peaks never shrink, however late a report comes or who has begun to count anew; of means the
/// last one counts. What is not known changes nothing.
const NOTE_USED: &str = "
    UPDATE usage_interval SET
        cpu_ms = CASE WHEN COALESCE(r.cpu_ms, 0) > COALESCE(usage_interval.cpu_ms, -1)
            THEN r.cpu_ms ELSE usage_interval.cpu_ms END,
        mem_mib_peak = CASE WHEN COALESCE(r.mem_mib_peak, 0) > COALESCE(usage_interval.mem_mib_peak, -1)
            THEN r.mem_mib_peak ELSE usage_interval.mem_mib_peak END,
        gpu_mem_mib_peak = CASE
            WHEN COALESCE(r.gpu_mem_mib_peak, 0) > COALESCE(usage_interval.gpu_mem_mib_peak, -1)
            THEN r.gpu_mem_mib_peak ELSE usage_interval.gpu_mem_mib_peak END,
        gpu_mem_mib_mean = COALESCE(r.gpu_mem_mib_mean, usage_interval.gpu_mem_mib_mean),
        gpu_busy_percent_mean = COALESCE(r.gpu_busy_percent_mean, usage_interval.gpu_busy_percent_mean)
    FROM {rows session_id text, slot_id text, epoch bigint, cpu_ms bigint, mem_mib_peak bigint,
        gpu_mem_mib_peak bigint, gpu_mem_mib_mean bigint, gpu_busy_percent_mean bigint}
    WHERE usage_interval.session_id = r.session_id AND usage_interval.epoch = r.epoch
        AND {still usage_interval.slot_id IN (r.slot_id, '')}";

/// A card that holds is never changed; one that does not yet is as it was written last.
const PUT_CARDS: &str = "
    INSERT INTO rate_card (declared_ms, from_ms, card)
    SELECT r.declared_ms, r.from_ms, r.card
    FROM {rows declared_ms bigint, from_ms bigint, card text}
    WHERE TRUE ON CONFLICT (declared_ms) DO UPDATE SET card = excluded.card
        WHERE rate_card.from_ms = excluded.from_ms AND excluded.from_ms = excluded.declared_ms";

/// Of a session that was not created there is nothing to limit.
const SET_BUDGETS: &str = "
    INSERT INTO session_budget (session_id, budget_micro)
    SELECT r.session_id, r.budget_micro FROM {rows session_id text, budget_micro bigint}
    WHERE EXISTS (SELECT 1 FROM session s WHERE s.session_id = r.session_id)
    ON CONFLICT DO NOTHING";

/// What finds rows by their keys.
#[cfg(test)]
pub(in crate::ledger) const BY_KEY: &[&str] = &[END, NOTE_USED];

/// A usage interval that begins.
#[derive(Debug, Serialize)]
pub(crate) struct Begin<'a> {
    session_id: &'a str,
    slot_id: &'a str,
    epoch: i64,
    user_id: &'a str,
    tenant_id: Option<&'a str>,
    kind: &'static str,
    item: Foreign<'a>,
    node_id: &'a str,
    region: Foreign<'a>,
    cpu_milli: u32,
    mem_mib: u32,
    gpus: String,
    score_permille: Option<u32>,
    score_receipt: Option<i64>,
    labels: String,
    at: i64,
}

impl<'a> Begin<'a> {
    pub(in crate::ledger) fn new(
        session: &'a SessionId,
        claim: &'a Claim,
        bill: &'a Bill,
        at: MonoTime,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            session_id: session.as_str(),
            slot_id: claim.slot.as_str(),
            epoch: epoch_column(claim.epoch)?,
            user_id: bill.user.as_str(),
            tenant_id: bill.tenant.as_ref().map(TenantId::as_str),
            kind: bill.item.kind(),
            item: Foreign(bill.item.name()),
            node_id: claim.node.as_str(),
            region: Foreign(&bill.region),
            cpu_milli: bill.metered.cpu_milli,
            mem_mib: bill.metered.mem_mib,
            gpus: json(&bill.metered.gpus)?,
            score_permille: bill.metered.score_permille,
            score_receipt: bill.score_receipt.map(ms),
            labels: json(&bill.labels)?,
            at: to_ms(at),
        })
    }
}

pub(crate) async fn begin(tx: &mut Tx, begun: &[Begin<'_>]) -> Result<(), StoreError> {
    tx.run(BEGIN, begun).await?;
    Ok(())
}

pub(super) async fn end(tx: &mut Tx, releases: &[Release<'_>]) -> Result<(), StoreError> {
    tx.run(END, releases).await?;
    Ok(())
}

/// What a claim's job has used so far.
#[derive(Debug, Serialize)]
pub(crate) struct Used<'a> {
    session_id: &'a str,
    slot_id: &'a str,
    epoch: i64,
    cpu_ms: Option<i64>,
    mem_mib_peak: Option<u32>,
    gpu_mem_mib_peak: Option<u32>,
    gpu_mem_mib_mean: Option<u32>,
    gpu_busy_percent_mean: Option<u32>,
}

impl<'a> Used<'a> {
    pub(in crate::ledger) fn new(
        session: &'a SessionId,
        claim: &'a Claim,
        facts: &UsageFacts,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            session_id: session.as_str(),
            slot_id: claim.slot.as_str(),
            epoch: epoch_column(claim.epoch)?,
            // A node may say anything; what no column holds is nothing.
            cpu_ms: facts.cpu_ms.and_then(|ms| i64::try_from(ms).ok()),
            mem_mib_peak: facts.mem_mib_peak,
            gpu_mem_mib_peak: facts.gpu_mem_mib_peak,
            gpu_mem_mib_mean: facts.gpu_mem_mib_mean,
            gpu_busy_percent_mean: facts.gpu_busy_percent_mean,
        })
    }
}

pub(crate) async fn note_used(tx: &mut Tx, used: &[Used<'_>]) -> Result<(), StoreError> {
    tx.run(NOTE_USED, used).await?;
    Ok(())
}

/// A rate card.
#[derive(Debug, Serialize)]
pub(crate) struct PutCard<'a> {
    declared_ms: i64,
    from_ms: i64,
    card: &'a str,
}

impl<'a> PutCard<'a> {
    /// It holds from what it declares on, and from no moment before `at_ms`.
    pub(in crate::ledger) fn new(
        declared_ms: UnixMillis,
        card: &'a str,
        at_ms: UnixMillis,
    ) -> Self {
        Self {
            declared_ms: ms(declared_ms),
            from_ms: ms(declared_ms.max(at_ms)),
            card,
        }
    }
}

pub(crate) async fn put_cards(tx: &mut Tx, cards: &[PutCard<'_>]) -> Result<(), StoreError> {
    tx.run(PUT_CARDS, cards).await?;
    Ok(())
}

/// What a session may cost.
#[derive(Debug, Serialize)]
pub(crate) struct SetBudget<'a> {
    session_id: &'a str,
    budget_micro: i64,
}

impl<'a> SetBudget<'a> {
    pub(in crate::ledger) fn new(session: &'a SessionId, micro: u64) -> Result<Self, StoreError> {
        Ok(Self {
            session_id: session.as_str(),
            budget_micro: int(micro)?,
        })
    }
}

pub(crate) async fn set_budgets(tx: &mut Tx, budgets: &[SetBudget<'_>]) -> Result<(), StoreError> {
    tx.run(SET_BUDGETS, budgets).await?;
    Ok(())
}
