//! Rows that are no longer needed.

use crate::ledger::StoreError;
use crate::ledger::phase_row::to_ms;
use crate::ledger::tx::Tx;
use nearlight_protocol::unit::MonoTime;
use serde::Serialize;
use sqlx::Row;

const ENDED_LONGEST_AGO: &str = "
    SELECT session_id FROM session
    WHERE ended_ms < (SELECT r.before FROM {rows before bigint})
    ORDER BY ended_ms, session_id LIMIT (SELECT r.n FROM {rows n bigint})";

const SWEEP: [&str; 9] = [
    "DELETE FROM claim WHERE session_id IN (SELECT r.session_id FROM {rows session_id text})",
    "DELETE FROM session_budget
         WHERE session_id IN (SELECT r.session_id FROM {rows session_id text})",
    "DELETE FROM ticket_spend
         WHERE session_id IN (SELECT r.session_id FROM {rows session_id text})",
    "DELETE FROM watch_link WHERE session_id IN (SELECT r.session_id FROM {rows session_id text})",
    "DELETE FROM job_spec WHERE session_id IN (SELECT r.session_id FROM {rows session_id text})",
    "DELETE FROM job_secret WHERE session_id IN (SELECT r.session_id FROM {rows session_id text})",
    "DELETE FROM cluster_replica
         WHERE cluster_id IN (SELECT r.session_id FROM {rows session_id text})",
    "DELETE FROM session_label
         WHERE session_id IN (SELECT r.session_id FROM {rows session_id text})",
    "DELETE FROM session WHERE session_id IN (SELECT r.session_id FROM {rows session_id text})",
];

const PRUNE: [&str; 5] = [
    "DELETE FROM idempotency WHERE created_ms < (SELECT r.before FROM {rows before bigint})",
    "DELETE FROM ticket_spend WHERE spent_ms < (SELECT r.before FROM {rows before bigint})
         AND session_id NOT IN (SELECT session_id FROM session WHERE ended_ms IS NULL)",
    "DELETE FROM outbox WHERE created_ms < (SELECT r.before FROM {rows before bigint})
         AND session_id NOT IN (SELECT session_id FROM session WHERE ended_ms IS NULL)",
    "DELETE FROM watch_link WHERE expires_ms < (SELECT r.before FROM {rows before bigint})
         OR revoked_ms < (SELECT r.before FROM {rows before bigint})",
    "DELETE FROM join_token WHERE expires_ms < (SELECT r.before FROM {rows before bigint})",
];

/// A guest's cookie is over after a year, and nobody finds the way to its saves any more.
const SAVES_KEPT_MS: i64 = 400 * 24 * 3600 * 1000;
const PRUNE_SAVES: &str =
    "DELETE FROM save_location WHERE used_ms < (SELECT r.before FROM {rows before bigint})";

/// A bill can be written, and doubted, for a year after its last second. What runs stays.
const USAGE_KEPT_MS: i64 = 400 * 24 * 3600 * 1000;
const PRUNE_USAGE: &str =
    "DELETE FROM usage_interval WHERE ended_ms < (SELECT r.before FROM {rows before bigint})";

const PRUNE_VOLUME_USAGE: &str =
    "DELETE FROM volume_usage WHERE ended_ms < (SELECT r.before FROM {rows before bigint})";

/// What became of a notice can be looked up for a week.
const DELIVERIES_KEPT_MS: i64 = 7 * 24 * 3600 * 1000;
const PRUNE_DELIVERIES: &str = "DELETE FROM webhook_delivery WHERE state <> 'waiting'
    AND created_ms < (SELECT r.before FROM {rows before bigint})";

/// What may go.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Upkeep {
    /// So many sessions that ended before, with what belongs to them.
    Sweep(MonoTime, u32),
    /// Keys, tickets, orders, links and join tokens from before, and usage from long before.
    Prune(MonoTime),
}

#[derive(Debug, Serialize)]
struct Bound {
    before: i64,
    n: u32,
}

#[derive(Debug, Serialize)]
struct Swept<'a> {
    session_id: &'a str,
}

pub(crate) async fn carry_out(tx: &mut Tx, upkeep: &[Upkeep]) -> Result<(), StoreError> {
    for work in upkeep {
        match *work {
            Upkeep::Sweep(before, n) => sweep(tx, to_ms(before), n).await?,
            Upkeep::Prune(before) => {
                let before = to_ms(before);
                for statement in PRUNE {
                    tx.run(statement, &[Bound { before, n: 0 }]).await?;
                }
                let kept = [
                    (PRUNE_SAVES, SAVES_KEPT_MS),
                    (PRUNE_USAGE, USAGE_KEPT_MS),
                    (PRUNE_VOLUME_USAGE, USAGE_KEPT_MS),
                    (PRUNE_DELIVERIES, DELIVERIES_KEPT_MS),
                ];
                for (statement, kept_ms) in kept {
                    let before = before.saturating_sub(kept_ms);
                    tx.run(statement, &[Bound { before, n: 0 }]).await?;
                }
            }
        }
    }
    Ok(())
}

async fn sweep(tx: &mut Tx, before: i64, n: u32) -> Result<(), StoreError> {
    let ended = tx.ask(ENDED_LONGEST_AGO, &[Bound { before, n }]).await?;
    let swept = ended.iter().map(|row| Swept {
        session_id: row.get("session_id"),
    });
    let swept: Vec<Swept<'_>> = swept.collect();
    for statement in SWEEP {
        tx.run(statement, &swept).await?;
    }
    Ok(())
}
