//! Reading back what tickets and watch links are for.

use super::phase_row::{hex, ms, parse, unhex};
use super::{CredentialHash, SpentTicket, StoreError, WatchLinkRow};
use nearlight_protocol::unit::UnixMillis;
use sqlx::any::AnyRow;
use sqlx::{AnyPool, Row};

/// See [`super::Ledger::spent_ticket`].
pub(super) async fn spent_ticket(
    pool: &AnyPool,
    ticket: String,
) -> Result<Option<SpentTicket>, StoreError> {
    let row =
        sqlx::query("SELECT session_id, attachment_id FROM ticket_spend WHERE ticket_id = $1")
            .bind(ticket)
            .fetch_optional(pool)
            .await
            .map_err(StoreError::NotApplied)?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(SpentTicket {
        session: parse(row.get("session_id"))?,
        attachment: parse(row.get("attachment_id"))?,
    }))
}

/// See [`super::Ledger::watch_link`].
pub(super) async fn watch_link(
    pool: &AnyPool,
    hash: CredentialHash,
) -> Result<Option<WatchLinkRow>, StoreError> {
    let row = sqlx::query("SELECT * FROM watch_link WHERE hash = $1")
        .bind(hex(&hash))
        .fetch_optional(pool)
        .await
        .map_err(StoreError::NotApplied)?;
    row.as_ref().map(link).transpose()
}

/// See [`super::Ledger::watch_links`].
pub(super) async fn watch_links(
    pool: &AnyPool,
    now_ms: UnixMillis,
) -> Result<Vec<WatchLinkRow>, StoreError> {
    let mut links = sqlx::query(
        "SELECT w.* FROM watch_link w JOIN session s ON s.session_id = w.session_id
         WHERE w.revoked_ms IS NULL AND w.expires_ms > $1 AND s.ended_ms IS NULL",
    )
    .bind(ms(now_ms))
    .fetch_all(pool)
    .await
    .map_err(StoreError::NotApplied)?
    .iter()
    .map(link)
    .collect::<Result<Vec<_>, _>>()?;
    links.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    Ok(links)
}

fn link(row: &AnyRow) -> Result<WatchLinkRow, StoreError> {
    let time = |column: &str| {
        u64::try_from(row.get::<i64, _>(column))
            .map_err(|_| StoreError::Corrupt(format!("{column} of a watch link")))
    };
    Ok(WatchLinkRow {
        id: parse(row.get("link_id"))?,
        hash: unhex(row.get("hash"))?,
        session: parse(row.get("session_id"))?,
        created_ms: time("created_ms")?,
        expires_ms: time("expires_ms")?,
    })
}
