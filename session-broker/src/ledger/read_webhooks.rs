//! Reading back endpoints of webhooks, and what they are to be told.

use super::outside::{DeliveryRow, Due, OwnerId, WebhookRow};
use super::phase_row::ms;
use super::share::BrokerId;
use super::{Sealed, StoreError};
use nearlight_protocol::unit::UnixMillis;
use nearlight_protocol::webhook::DeliveryState;
use sqlx::any::AnyRow;
use sqlx::{AnyPool, Row};

const WEBHOOK: &str = "
    SELECT w.*, (SELECT COUNT(*) FROM webhook_delivery d
        WHERE d.owner = w.owner AND d.state = 'waiting') AS waiting
    FROM webhook w WHERE w.owner = $1";

const DELIVERIES: &str = "
    SELECT * FROM webhook_delivery WHERE owner = $1 ORDER BY created_ms DESC, delivery_id DESC LIMIT $2";

/// Of each owner a few: one whose endpoint is dead holds up nobody else. So do many of them: whoever's endpoint has
/// failed is counted apart, also with notices that are new. What this broker delivers at the moment is among them.
const DUE: &str = "
    SELECT * FROM (
        SELECT of_owner.*, ROW_NUMBER() OVER (PARTITION BY of_owner.failing
            ORDER BY of_owner.mine, of_owner.next_ms, of_owner.delivery_id) AS place
        FROM (
            SELECT d.*, CASE WHEN d.holder = $2 THEN 0 ELSE 1 END AS mine,
                CASE WHEN f.owner IS NULL THEN CAST(0 AS BIGINT) ELSE CAST(1 AS BIGINT) END AS failing,
                ROW_NUMBER() OVER (PARTITION BY d.owner
                    ORDER BY CASE WHEN d.holder = $2 THEN 0 ELSE 1 END, d.next_ms, d.delivery_id) AS nth
            FROM webhook_delivery d
            LEFT JOIN (SELECT owner FROM webhook_delivery
                WHERE state = 'waiting' AND problem <> '' GROUP BY owner) AS f ON f.owner = d.owner
            WHERE d.state = 'waiting' AND (d.next_ms <= $1 OR d.holder = $2)) AS of_owner
        WHERE of_owner.nth <= $3) AS due
    WHERE due.place <= $4 ORDER BY due.failing, due.next_ms";

/// See [`super::Ledger::webhook`].
pub(super) async fn webhook(
    pool: &AnyPool,
    owner: OwnerId,
) -> Result<Option<WebhookRow>, StoreError> {
    let row = sqlx::query(WEBHOOK)
        .bind(owner.as_str())
        .fetch_optional(pool);
    let Some(row) = row.await.map_err(StoreError::NotApplied)? else {
        return Ok(None);
    };
    let former: Option<String> = row.get("former");
    let until: Option<i64> = row.get("former_until_ms");
    let until = until.map(unsigned).transpose()?;
    Ok(Some(WebhookRow {
        url: row.get("url"),
        sealed: Sealed(row.get("sealed")),
        former: former.map(Sealed).zip(until),
        created_ms: unsigned(row.get("created_ms"))?,
        waiting: unsigned(row.get("waiting"))?,
        lost: unsigned(row.get("lost"))?,
    }))
}

/// See [`super::Ledger::deliveries`].
pub(super) async fn deliveries(
    pool: &AnyPool,
    owner: OwnerId,
    max: u32,
) -> Result<Vec<DeliveryRow>, StoreError> {
    let rows = sqlx::query(DELIVERIES)
        .bind(owner.as_str())
        .bind(i64::from(max))
        .fetch_all(pool)
        .await
        .map_err(StoreError::NotApplied)?;
    rows.iter().map(delivery).collect()
}

/// See [`super::Ledger::due_deliveries`].
pub(super) async fn due(
    pool: &AnyPool,
    me: &BrokerId,
    now_ms: UnixMillis,
    [of_owner, max]: [u32; 2],
) -> Result<Vec<Due>, StoreError> {
    let rows = sqlx::query(DUE)
        .bind(ms(now_ms))
        .bind(me.as_str())
        .bind(i64::from(of_owner))
        .bind(i64::from(max))
        .fetch_all(pool)
        .await
        .map_err(StoreError::NotApplied)?;
    let due = |row: &AnyRow| {
        Ok(Due {
            row: delivery(row)?,
            is_failing: row.get::<i64, _>("failing") != 0,
        })
    };
    rows.iter().map(due).collect()
}

fn delivery(row: &AnyRow) -> Result<DeliveryRow, StoreError> {
    let state = match row.get("state") {
        "waiting" => DeliveryState::Waiting,
        "delivered" => DeliveryState::Delivered,
        "dropped" => DeliveryState::Dropped,
        other => return Err(StoreError::Corrupt(format!("a delivery is `{other}`"))),
    };
    Ok(DeliveryRow {
        id: row.get("delivery_id"),
        owner: OwnerId::read(row.get("owner")),
        session: row.get("session_id"),
        kind: row.get("event"),
        body: row.get("body"),
        state,
        attempts: unsigned(row.get("attempts"))?,
        next_ms: unsigned(row.get("next_ms"))?,
        created_ms: unsigned(row.get("created_ms"))?,
        problem: row.get("problem"),
    })
}

fn unsigned<T: TryFrom<i64>>(column: i64) -> Result<T, StoreError> {
    T::try_from(column).map_err(|_| StoreError::Corrupt(format!("{column} is out of range")))
}
