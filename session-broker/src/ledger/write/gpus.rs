//! The GPUs of claims, one by one: taken with a claim, all or none, and gone with it.
//!
//! **Invariant.** No two live claims have one GPU: the table's key refuses it, whoever decided.

use super::claims::Release;
use crate::ledger::StoreError;
use crate::ledger::phase_row::epoch_column;
use crate::ledger::tx::Tx;
use nearlight_session::Claim;
use serde::Serialize;
use sqlx::Row;
use std::collections::{BTreeSet, HashMap};

/// A broker of before releases a claim and leaves these: what no live claim has is nobody's.
const CLEAR: &str = "
    DELETE FROM claim_gpu WHERE (node_id, gpu_uuid) IN
        (SELECT r.node_id, r.gpu_uuid FROM {rows node_id text, gpu_uuid text})
        AND NOT EXISTS (SELECT 1 FROM claim c WHERE c.slot_id = claim_gpu.slot_id
            AND c.epoch = claim_gpu.epoch AND {still c.released_ms IS NULL})";

const TAKE: &str = "
    INSERT INTO claim_gpu (node_id, gpu_uuid, slot_id, epoch)
    SELECT r.node_id, r.gpu_uuid, r.slot_id, r.epoch
    FROM {rows node_id text, gpu_uuid text, slot_id text, epoch bigint}
    WHERE TRUE ON CONFLICT DO NOTHING
    RETURNING slot_id AS won";

const FREE: &str = "
    DELETE FROM claim_gpu WHERE (slot_id, epoch) IN
        (SELECT r.slot_id, r.epoch FROM {rows slot_id text, epoch bigint})";

/// What finds rows by their keys.
#[cfg(test)]
pub(in crate::ledger) const BY_KEY: &[&str] = &[CLEAR, FREE];

#[derive(Debug, Serialize)]
struct Taken<'a> {
    node_id: &'a str,
    gpu_uuid: &'a str,
    slot_id: &'a str,
    epoch: i64,
}

/// Gives GPUs to claims that were made. Returns the slots of those that did not get all of theirs: what
/// was written has to be undone then.
pub(super) async fn take<'a>(
    tx: &mut Tx,
    claims: impl Iterator<Item = (&'a Claim, &'a [String])>,
) -> Result<BTreeSet<String>, StoreError> {
    let mut rows = Vec::new();
    let mut missing: HashMap<&str, usize> = HashMap::new();
    for (claim, gpus) in claims.filter(|(_, gpus)| !gpus.is_empty()) {
        missing.insert(claim.slot.as_str(), gpus.len());
        for gpu in gpus {
            rows.push(Taken {
                node_id: claim.node.as_str(),
                gpu_uuid: gpu,
                slot_id: claim.slot.as_str(),
                epoch: epoch_column(claim.epoch)?,
            });
        }
    }
    if rows.is_empty() {
        return Ok(BTreeSet::new());
    }
    tx.run(CLEAR, &rows).await?;
    for row in tx.ask(TAKE, &rows).await? {
        if let Some(left) = missing.get_mut(row.get::<&str, _>("won")) {
            *left -= 1;
        }
    }
    let refused = missing.into_iter().filter(|(_, left)| *left > 0);
    Ok(refused.map(|(slot, _)| slot.to_owned()).collect())
}

/// Takes the GPUs of claims that are over back.
pub(super) async fn free(tx: &mut Tx, releases: &[Release<'_>]) -> Result<(), StoreError> {
    tx.run(FREE, releases).await?;
    Ok(())
}
