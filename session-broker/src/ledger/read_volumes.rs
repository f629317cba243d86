//! Reading volumes back.

use super::phase_row::parse;
use super::{StoreError, VolumeRow};
use sqlx::any::AnyRow;
use sqlx::{AnyPool, Row};

/// See [`super::Ledger::volumes`].
pub(super) async fn volumes(
    pool: &AnyPool,
    owner: Option<String>,
) -> Result<Vec<VolumeRow>, StoreError> {
    // Whose claim is over has it no more, whatever its row says.
    let rows = sqlx::query(
        "SELECT v.*, (SELECT MAX(c.session_id) FROM claim c
             WHERE c.session_id = v.used_by AND c.released_ms IS NULL) AS holder
         FROM volume v WHERE v.owner = $1 OR $1 = ''",
    )
    .bind(owner.unwrap_or_default())
    .fetch_all(pool)
    .await
    .map_err(StoreError::NotApplied)?;
    let mut volumes: Vec<VolumeRow> = rows.iter().map(volume).collect::<Result<_, _>>()?;
    volumes.sort_unstable_by(|a, b| (&a.owner, &a.name, &a.id).cmp(&(&b.owner, &b.name, &b.id)));
    Ok(volumes)
}

fn volume(row: &AnyRow) -> Result<VolumeRow, StoreError> {
    let holder: Option<&str> = row.get("holder");
    let is_set = |column: &str| row.get::<Option<i64>, _>(column).is_some();
    Ok(VolumeRow {
        id: parse(row.get("volume_id"))?,
        owner: row.get("owner"),
        name: row.get("name"),
        node: parse(row.get("node_id"))?,
        size_mib: number(row, "size_mib")?,
        used_by: holder.map(parse).transpose()?,
        created_ms: number(row, "created_ms")?,
        used_ms: number(row, "used_ms")?,
        made: is_set("made_ms"),
        lost: is_set("lost_ms"),
        deleted: is_set("deleted_ms"),
    })
}

fn number<T: TryFrom<i64>>(row: &AnyRow, column: &str) -> Result<T, StoreError> {
    let value: i64 = row.get(column);
    T::try_from(value).map_err(|_| StoreError::Corrupt(format!("{column} of a volume")))
}
