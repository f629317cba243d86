//! What is over for so long that nobody asks for it any more.

use crate::ledger::StoreError;
use crate::ledger::phase_row::to_ms;
use crate::ledger::tx::Tx;
use nearlight_protocol::unit::MonoTime;
use serde::Serialize;

/// Longer than a guest's cookie lives.
const GUESTS_KEPT_MS: i64 = 400 * 24 * 3600 * 1000;
/// For so long one sees which keys there were.
const VOID_KEYS_KEPT_MS: i64 = 365 * 24 * 3600 * 1000;

/// Guests go in batches, for there may be many.
const PRUNE: [&str; 6] = [
    "DELETE FROM audit WHERE at_ms < (SELECT r.before FROM {rows before bigint})",
    "DELETE FROM login WHERE expires_ms < (SELECT r.at FROM {rows at bigint})
         OR ended_ms < (SELECT r.at FROM {rows at bigint})",
    "DELETE FROM credential WHERE hash IN (SELECT c.hash FROM credential c
         JOIN {rows guests_before bigint} ON c.created_ms < r.guests_before
         WHERE c.role = 'guest' LIMIT 5000)",
    "DELETE FROM api_key_secret WHERE expires_ms < (SELECT r.at FROM {rows at bigint})",
    "DELETE FROM api_key_secret WHERE key_id IN (SELECT k.key_id FROM api_key k
         JOIN {rows keys_before bigint} ON k.revoked_ms < r.keys_before OR k.expires_ms < r.keys_before)",
    "DELETE FROM api_key WHERE revoked_ms < (SELECT r.keys_before FROM {rows keys_before bigint})
         OR expires_ms < (SELECT r.keys_before FROM {rows keys_before bigint})",
];

#[derive(Debug, Serialize)]
struct Bounds {
    before: i64,
    at: i64,
    guests_before: i64,
    keys_before: i64,
}

/// Lines of the audit log of before `audit_before` go, and of identity what ended long before `now`.
pub(super) async fn prune(
    tx: &mut Tx,
    audit_before: MonoTime,
    now: MonoTime,
) -> Result<(), StoreError> {
    let at = to_ms(now);
    let bounds = Bounds {
        before: to_ms(audit_before),
        at,
        guests_before: at - GUESTS_KEPT_MS,
        keys_before: at - VOID_KEYS_KEPT_MS,
    };
    for statement in PRUNE {
        tx.run(statement, &[&bounds]).await?;
    }
    Ok(())
}
