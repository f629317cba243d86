//! Reading back who checks whom.

use super::checks::{
    AssignmentQuery, AssignmentRow, AssignmentState, BeaconRow, ChainRow, CheckerRow,
    CheckerTokenRow, DrawnRounds, LicenceRow, NodeKeyRow,
};
use super::phase_row::{hex, ms, parse};
use super::{CredentialHash, StoreError};
use sqlx::any::AnyRow;
use sqlx::{AnyPool, Row};

/// Rows of one answer.
const ROWS_MAX: i64 = 20_000;

/// See [`super::Ledger::node_keys`].
pub(super) async fn node_keys(pool: &AnyPool, now_s: u64) -> Result<Vec<NodeKeyRow>, StoreError> {
    let rows = sqlx::query(
        "SELECT n.node_id, n.key_hex, n.key_id, n.from_s, COALESCE(d.operator, n.operator) AS operator
         FROM node_key n LEFT JOIN directory_key d ON d.key_hex = n.key_hex AND d.role = 'node'
         WHERE n.until_s > $1",
    )
        .bind(ms(now_s))
        .fetch_all(pool)
        .await
        .map_err(StoreError::NotApplied)?;
    let one = |row: &AnyRow| {
        Ok(NodeKeyRow {
            node: parse(row.get("node_id"))?,
            key: row.get("key_hex"),
            key_id: row.get("key_id"),
            operator: row.get("operator"),
            from_s: number(row, "from_s")?,
        })
    };
    rows.iter().map(one).collect()
}

/// See [`super::Ledger::licences`].
pub(super) async fn licences(pool: &AnyPool) -> Result<Vec<LicenceRow>, StoreError> {
    let rows = sqlx::query("SELECT * FROM licence ORDER BY created_ms, key_hex")
        .fetch_all(pool)
        .await
        .map_err(StoreError::NotApplied)?;
    let one = |row: &AnyRow| {
        Ok(LicenceRow {
            key: row.get("key_hex"),
            key_id: row.get("key_id"),
            owner: row.get("owner"),
            created_ms: number(row, "created_ms")?,
            revoked_ms: maybe(row, "revoked_ms"),
        })
    };
    rows.iter().map(one).collect()
}

/// See [`super::Ledger::checker_token`].
pub(super) async fn checker_token(
    pool: &AnyPool,
    hash: CredentialHash,
) -> Result<Option<CheckerTokenRow>, StoreError> {
    let row = sqlx::query("SELECT * FROM checker_token WHERE hash = $1")
        .bind(hex(&hash))
        .fetch_optional(pool)
        .await
        .map_err(StoreError::NotApplied)?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(CheckerTokenRow {
        hash,
        operator: row.get("operator"),
        licence: row.get("licence"),
        created_ms: number(&row, "created_ms")?,
        expires_ms: number(&row, "expires_ms")?,
        used_by: row.get("key_hex"),
    }))
}

/// See [`super::Ledger::checkers`].
pub(super) async fn checkers(pool: &AnyPool) -> Result<Vec<CheckerRow>, StoreError> {
    let rows = sqlx::query("SELECT * FROM checker ORDER BY joined_s, key_hex")
        .fetch_all(pool)
        .await
        .map_err(StoreError::NotApplied)?;
    let one = |row: &AnyRow| {
        Ok(CheckerRow {
            key: row.get("key_hex"),
            key_id: row.get("key_id"),
            operator: row.get("operator"),
            licence: row.get("licence"),
            user: parse(row.get("user_id"))?,
            joined_s: number(row, "joined_s")?,
            revoked_s: maybe(row, "revoked_s"),
            instance: row.get("instance"),
            instance_until_ms: number(row, "instance_until_ms")?,
            plays_since_ms: Some(number(row, "plays_since_ms")?).filter(|since| *since > 0),
        })
    };
    rows.iter().map(one).collect()
}

/// See [`super::Ledger::chain`].
pub(super) async fn chain(pool: &AnyPool) -> Result<Option<ChainRow>, StoreError> {
    let row = sqlx::query("SELECT * FROM beacon_chain WHERE one = 1")
        .fetch_optional(pool)
        .await
        .map_err(StoreError::NotApplied)?;
    let Some(row) = row else { return Ok(None) };
    let used = sqlx::query("SELECT * FROM beacon_used ORDER BY from_round")
        .fetch_all(pool)
        .await
        .map_err(StoreError::NotApplied)?;
    let one = |row: &AnyRow| {
        Ok(BeaconRow {
            from_round: number(row, "from_round")?,
            beacon: row.get("beacon"),
        })
    };
    Ok(Some(ChainRow {
        used: used.iter().map(one).collect::<Result<_, StoreError>>()?,
        anchor: row.get("anchor"),
        genesis_ms: number(&row, "genesis_ms")?,
        round_ms: number(&row, "round_ms")?,
        length: number(&row, "length")?,
    }))
}

/// See [`super::Ledger::drawn`].
pub(super) async fn drawn(
    pool: &AnyPool,
    (from, to): (u64, u64),
) -> Result<DrawnRounds, StoreError> {
    let rows = sqlx::query("SELECT * FROM beacon_round WHERE round >= $1 AND round <= $2 LIMIT $3")
        .bind(ms(from))
        .bind(ms(to))
        .bind(ROWS_MAX)
        .fetch_all(pool)
        .await
        .map_err(StoreError::NotApplied)?;
    let one = |row: &AnyRow| Ok((number(row, "round")?, row.get("signature")));
    rows.iter().map(one).collect()
}

/// See [`super::Ledger::assignments`].
pub(super) async fn assignments(
    pool: &AnyPool,
    of: AssignmentQuery,
) -> Result<Vec<AssignmentRow>, StoreError> {
    let query = match of {
        AssignmentQuery::Round(round) => sqlx::query(
            "SELECT * FROM assignment WHERE round = $1 ORDER BY node_key, duty, place LIMIT $2",
        )
        .bind(ms(round))
        .bind(ROWS_MAX),
        AssignmentQuery::Due { checker, now_ms } => sqlx::query(
            "SELECT * FROM assignment WHERE checker = $1 AND state = 'due' AND due_ms <= $2
                AND until_ms > $2 ORDER BY until_ms, node_key LIMIT 32",
        )
        .bind(checker)
        .bind(ms(now_ms)),
        AssignmentQuery::DueOf {
            checker,
            node,
            duty,
            now_ms,
        } => sqlx::query(
            "SELECT * FROM assignment WHERE checker = $1 AND until_ms > $2 AND state = 'due'
                AND due_ms <= $2 AND node_id = $3 AND duty = $4 ORDER BY until_ms DESC LIMIT 1",
        )
        .bind(checker)
        .bind(ms(now_ms))
        .bind(node.to_string())
        .bind(duty),
        AssignmentQuery::Of { checker, max } => sqlx::query(
            "SELECT * FROM assignment WHERE checker = $1 ORDER BY until_ms DESC, node_key LIMIT $2",
        )
        .bind(checker)
        .bind(i64::from(max)),
        AssignmentQuery::Node { node_key, max } => sqlx::query(
            "SELECT * FROM assignment WHERE node_key = $1
             ORDER BY round DESC, duty, place LIMIT $2",
        )
        .bind(node_key)
        .bind(i64::from(max)),
        AssignmentQuery::Capacity { node_key, max } => sqlx::query(
            // In the words of the index, which walks past no round of another duty.
            "SELECT * FROM assignment WHERE node_key = $1 AND duty <> 'alive' AND duty <> 'stream'
             ORDER BY round DESC, duty, place LIMIT $2",
        )
        .bind(node_key)
        .bind(i64::from(max)),
        AssignmentQuery::Overdue { now_ms } => sqlx::query(
            "SELECT * FROM assignment WHERE state = 'due' AND until_ms <= $1
             ORDER BY until_ms LIMIT $2",
        )
        .bind(ms(now_ms))
        .bind(ROWS_MAX),
        AssignmentQuery::ForDuty {
            node_key,
            duty,
            place,
        } => sqlx::query(
            "SELECT * FROM assignment WHERE node_key = $1 AND duty = $2 AND place >= $3 LIMIT 1",
        )
        .bind(node_key)
        .bind(duty)
        .bind(i64::from(place)),
        AssignmentQuery::One {
            round,
            node_key,
            duty,
            checker,
        } => sqlx::query(
            "SELECT * FROM assignment
             WHERE round = $1 AND node_key = $2 AND duty = $3 AND checker = $4",
        )
        .bind(ms(round))
        .bind(node_key)
        .bind(duty)
        .bind(checker),
    };
    let rows = query.fetch_all(pool).await;
    let rows = rows.map_err(StoreError::NotApplied)?;
    rows.iter().map(assignment).collect()
}

fn assignment(row: &AnyRow) -> Result<AssignmentRow, StoreError> {
    let state = AssignmentState::of_ledger(row.get("state"), row.get("void"));
    let session: String = row.get("session_id");
    let session = Some(session).filter(|session| !session.is_empty());
    Ok(AssignmentRow {
        round: number(row, "round")?,
        node_key: row.get("node_key"),
        node: parse(row.get("node_id"))?,
        duty: row.get("duty"),
        checker: row.get("checker"),
        place: u32::try_from(number(row, "place")?).unwrap_or(u32::MAX),
        due_ms: number(row, "due_ms")?,
        until_ms: number(row, "until_ms")?,
        state: state.ok_or_else(|| StoreError::Corrupt("state of an assignment".to_owned()))?,
        why: row.get("why"),
        leaf: row.get("leaf"),
        session: session.map(|session| parse(&session)).transpose()?,
    })
}

fn number(row: &AnyRow, column: &'static str) -> Result<u64, StoreError> {
    let number: i64 = row.get(column);
    u64::try_from(number).map_err(|_| StoreError::Corrupt(column.to_owned()))
}

fn maybe(row: &AnyRow, column: &'static str) -> Option<u64> {
    row.get::<Option<i64>, _>(column)
        .and_then(|number| u64::try_from(number).ok())
}
