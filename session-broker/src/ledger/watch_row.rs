//! Watch links as rows.

use super::phase_row::{parse, to_ms};
use super::{Applied, CredentialHash, StoreError, WatchLinkRow};
use nearlight_protocol::id::{SessionId, WatchLinkId};
use nearlight_protocol::unit::{MonoTime, UnixMillis};
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqlitePool, SqliteRow};

pub(super) async fn add(
    tx: &mut SqliteConnection,
    link: &WatchLinkRow,
    links_max: u32,
) -> Result<Applied, StoreError> {
    let insert = sqlx::query(
        "INSERT INTO watch_link (link_id, hash, session_id, created_ms, expires_ms)
         SELECT ?, ?, ?, ?, ?
         WHERE (SELECT COUNT(*) FROM watch_link
                WHERE session_id = ? AND revoked_ms IS NULL AND expires_ms > ?) < ?",
    )
    .bind(link.id.as_str())
    .bind(link.hash.to_vec())
    .bind(link.session.as_str())
    .bind(ms(link.created_ms))
    .bind(ms(link.expires_ms))
    .bind(link.session.as_str())
    .bind(ms(link.created_ms))
    .bind(i64::from(links_max));
    let done = insert.execute(tx).await.map_err(StoreError::NotApplied)?;
    Ok(match done.rows_affected() {
        0 => Applied::QuotaUsedUp,
        _ => Applied::Done,
    })
}

pub(super) async fn revoke(
    tx: &mut SqliteConnection,
    session: &SessionId,
    link: &WatchLinkId,
    at: MonoTime,
) -> Result<Applied, StoreError> {
    let update = sqlx::query(
        "UPDATE watch_link SET revoked_ms = COALESCE(revoked_ms, ?)
         WHERE link_id = ? AND session_id = ?",
    )
    .bind(to_ms(at))
    .bind(link.as_str())
    .bind(session.as_str());
    let done = update.execute(tx).await.map_err(StoreError::NotApplied)?;
    Ok(match done.rows_affected() {
        0 => Applied::Missing,
        _ => Applied::Done,
    })
}

/// Those that are void since before `before_ms`, however they came to be so.
pub(super) async fn prune(tx: &mut SqliteConnection, before_ms: i64) -> Result<(), StoreError> {
    let delete = sqlx::query("DELETE FROM watch_link WHERE expires_ms < ? OR revoked_ms < ?")
        .bind(before_ms)
        .bind(before_ms);
    delete.execute(tx).await.map_err(StoreError::NotApplied)?;
    Ok(())
}

pub(super) async fn one(
    pool: &SqlitePool,
    hash: CredentialHash,
) -> Result<Option<WatchLinkRow>, StoreError> {
    let row = sqlx::query("SELECT * FROM watch_link WHERE hash = ?")
        .bind(hash.to_vec())
        .fetch_optional(pool)
        .await
        .map_err(StoreError::NotApplied)?;
    row.as_ref().map(read).transpose()
}

pub(super) async fn holding(
    pool: &SqlitePool,
    now_ms: UnixMillis,
) -> Result<Vec<WatchLinkRow>, StoreError> {
    sqlx::query(
        "SELECT w.* FROM watch_link w JOIN session s ON s.session_id = w.session_id
         WHERE w.revoked_ms IS NULL AND w.expires_ms > ? AND s.phase <> 'ended'
         ORDER BY w.link_id",
    )
    .bind(ms(now_ms))
    .fetch_all(pool)
    .await
    .map_err(StoreError::NotApplied)?
    .iter()
    .map(read)
    .collect()
}

fn read(row: &SqliteRow) -> Result<WatchLinkRow, StoreError> {
    let corrupt = |what: &str| StoreError::Corrupt(format!("{what} of a watch link"));
    let time = |column: &str| u64::try_from(row.get::<i64, _>(column)).map_err(|_| corrupt(column));
    let hash: &[u8] = row.get("hash");
    Ok(WatchLinkRow {
        id: parse(row.get("link_id"))?,
        hash: hash.try_into().map_err(|_| corrupt("hash"))?,
        session: parse(row.get("session_id"))?,
        created_ms: time("created_ms")?,
        expires_ms: time("expires_ms")?,
    })
}

fn ms(at: UnixMillis) -> i64 {
    i64::try_from(at).unwrap_or(i64::MAX)
}
