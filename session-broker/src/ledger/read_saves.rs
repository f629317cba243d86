//! Reading back where saves are, and whether a key has a session.

use super::phase_row::parse;
use super::{SavedAt, StoreError};
use nearlight_protocol::id::{AppId, UserId};
use sqlx::{AnyPool, Row};

/// See [`super::Ledger::newest_save`].
pub(super) async fn newest_save(
    pool: &AnyPool,
    user: UserId,
    app: AppId,
) -> Result<Option<SavedAt>, StoreError> {
    let row = sqlx::query(
        "SELECT node_id, used_ms FROM save_location WHERE user_id = $1 AND app_id = $2
         ORDER BY used_ms DESC, node_id LIMIT 1",
    )
    .bind(user.as_str())
    .bind(app.as_str())
    .fetch_optional(pool)
    .await
    .map_err(StoreError::NotApplied)?;
    let Some(row) = row else { return Ok(None) };
    let used_ms = u64::try_from(row.get::<i64, _>("used_ms"));
    Ok(Some(SavedAt {
        node: parse(row.get("node_id"))?,
        used_ms: used_ms.map_err(|_| StoreError::Corrupt("used_ms of a save".to_owned()))?,
    }))
}

/// See [`super::Ledger::has_key`].
pub(super) async fn has_key(pool: &AnyPool, user: UserId, key: String) -> Result<bool, StoreError> {
    let row = sqlx::query("SELECT 1 AS one FROM idempotency WHERE user_id = $1 AND idem_key = $2")
        .bind(user.as_str())
        .bind(key)
        .fetch_optional(pool)
        .await
        .map_err(StoreError::NotApplied)?;
    Ok(row.is_some())
}
