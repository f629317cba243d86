//! Reading back join tokens, and what was decided about nodes.

use super::phase_row::{from_ms, hex, parse, unhex};
use super::{CredentialHash, Decided, JoinTokenRow, Reclaim, Redeemed, Standing, StoreError};
use nearlight_protocol::id::NodeId;
use sqlx::any::AnyRow;
use sqlx::{AnyPool, Row};

/// See [`super::Ledger::join_token`].
pub(super) async fn join_token(
    pool: &AnyPool,
    hash: CredentialHash,
) -> Result<Option<JoinTokenRow>, StoreError> {
    let row = sqlx::query("SELECT * FROM join_token WHERE hash = $1")
        .bind(hex(&hash))
        .fetch_optional(pool)
        .await
        .map_err(StoreError::NotApplied)?;
    let Some(row) = row else { return Ok(None) };
    let time = |column: &str| {
        u64::try_from(row.get::<i64, _>(column))
            .map_err(|_| StoreError::Corrupt(format!("{column} of a join token")))
    };
    let key_hash: Option<&str> = row.get("key_hash");
    let node: Option<&str> = row.get("node_id");
    let used = match (key_hash, node) {
        (Some(key_hash), Some(node)) => Some(Redeemed {
            key_hash: unhex(key_hash)?,
            node: parse(node)?,
        }),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => {
            return Err(StoreError::Corrupt("who used a join token".to_owned()));
        }
    };
    Ok(Some(JoinTokenRow {
        hash,
        name: row.get("name"),
        region: row.get("region"),
        operator: row.get("operator"),
        created_ms: time("created_ms")?,
        expires_ms: time("expires_ms")?,
        used,
    }))
}

/// See [`super::Ledger::standings`].
pub(super) async fn standings(pool: &AnyPool) -> Result<Vec<(NodeId, Decided)>, StoreError> {
    let rows = sqlx::query(
        "SELECT node_id, drained_ms, revoked_ms, vetted_ms, reclaim_ms, reclaim_of_ms, reclaim_reason,
                operator
         FROM node_standing
         WHERE drained_ms IS NOT NULL OR revoked_ms IS NOT NULL OR vetted_ms IS NOT NULL
             OR operator <> ''",
    )
    .fetch_all(pool)
    .await
    .map_err(StoreError::NotApplied)?;
    rows.iter()
        .map(|row| {
            let is = |column| row.get::<Option<i64>, _>(column).is_some();
            let standing = match (is("revoked_ms"), is("drained_ms")) {
                (true, _) => Standing::Revoked,
                (false, true) => Standing::Drained,
                (false, false) => Standing::Active,
            };
            let vetted = is("vetted_ms");
            let decided = Decided {
                standing,
                vetted,
                reclaim: (standing == Standing::Drained)
                    .then(|| reclaim(row))
                    .flatten(),
                operator: row.get("operator"),
            };
            Ok((parse(row.get("node_id"))?, decided))
        })
        .collect()
}

/// What belongs to the drain that holds.
fn reclaim(row: &AnyRow) -> Option<Reclaim> {
    let of = |column| row.get::<Option<i64>, _>(column);
    let until = of("reclaim_ms").filter(|_| of("reclaim_of_ms") == of("drained_ms"))?;
    Some(Reclaim {
        until: from_ms(until),
        reason: row.get("reclaim_reason"),
    })
}
