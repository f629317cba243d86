//! Reading back what the ledger has of the log of receipts.

use super::phase_row::parse;
use super::receipts::{
    DirectoryKey, DirectoryRows, EvidenceRow, LogRow, ReceiptQuery, ReceiptRow, SessionReceiptRow,
};
use super::source::{LedgerAt, Source};
use super::{OpenError, StoreError};
use nearlight_protocol::id::SessionId;
use sqlx::any::AnyRow;
use sqlx::{AnyExecutor, AnyPool, AssertSqlSafe, Row};

/// See [`super::Ledger::receipt_log`].
pub(super) async fn log<'e>(source: impl AnyExecutor<'e>) -> Result<Option<LogRow>, StoreError> {
    let row = sqlx::query("SELECT * FROM receipt_log WHERE one = 1")
        .fetch_optional(source)
        .await
        .map_err(StoreError::NotApplied)?;
    let Some(row) = row else {
        return Ok(None);
    };
    Ok(Some(LogRow {
        origin: row.get("origin"),
        key: row.get("log_key"),
        size: number(&row, "size")?,
        root: row.get("root"),
        witnessed_size: number(&row, "witnessed_size")?,
        witnessed: row.get("witnessed"),
    }))
}

/// See [`super::Ledger::logged`].
pub(super) async fn logged(
    pool: &AnyPool,
    leaves: &[String],
) -> Result<Vec<(String, u64)>, StoreError> {
    let Some(list) = hex_list(leaves) else {
        return Ok(Vec::new());
    };
    // Hex digits alone, which were checked.
    let sql = AssertSqlSafe(format!(
        "SELECT leaf, place FROM receipt WHERE leaf IN ({list})"
    ));
    let rows = sqlx::query(sql)
        .fetch_all(pool)
        .await
        .map_err(StoreError::NotApplied)?;
    let one = |row: &AnyRow| Ok((row.get("leaf"), number(row, "place")?));
    rows.iter().map(one).collect()
}

/// See [`super::Ledger::receipts`].
pub(super) async fn receipts(
    pool: &AnyPool,
    of: ReceiptQuery,
) -> Result<Vec<ReceiptRow>, StoreError> {
    let before = of.before.unwrap_or(u64::MAX >> 1);
    let before = i64::try_from(before).unwrap_or(i64::MAX);
    let query = match (&of.leaf, &of.about) {
        (Some(leaf), _) => sqlx::query(
            "SELECT * FROM receipt WHERE place < $1 AND leaf = $3 ORDER BY place DESC LIMIT $2",
        )
        .bind(before)
        .bind(i64::from(of.max))
        .bind(leaf.clone()),
        (None, Some(about)) => sqlx::query(
            "SELECT * FROM receipt WHERE place < $1 AND about = $3 ORDER BY place DESC LIMIT $2",
        )
        .bind(before)
        .bind(i64::from(of.max))
        .bind(about.clone()),
        (None, None) => {
            sqlx::query("SELECT * FROM receipt WHERE place < $1 ORDER BY place DESC LIMIT $2")
                .bind(before)
                .bind(i64::from(of.max))
        }
    };
    let rows = query.fetch_all(pool).await;
    let rows = rows.map_err(StoreError::NotApplied)?;
    rows.iter().map(receipt).collect()
}

/// See [`super::Ledger::session_receipts`].
pub(super) async fn of_sessions(
    pool: &AnyPool,
    sessions: &[SessionId],
) -> Result<Vec<SessionReceiptRow>, StoreError> {
    if sessions.is_empty() {
        return Ok(Vec::new());
    }
    let quoted: Vec<String> = sessions.iter().map(|id| format!("'{id}'")).collect();
    // Ids are letters, digits and underscores alone: that is how they are read.
    let sql = AssertSqlSafe(format!(
        "SELECT * FROM session_receipt WHERE session_id IN ({})",
        quoted.join(",")
    ));
    let rows = sqlx::query(sql).fetch_all(pool).await;
    let rows = rows.map_err(StoreError::NotApplied)?;
    rows.iter().map(of_session).collect()
}

fn of_session(row: &AnyRow) -> Result<SessionReceiptRow, StoreError> {
    let tenant: Option<&str> = row.get("tenant_id");
    Ok(SessionReceiptRow {
        session: parse(row.get("session_id"))?,
        user: parse(row.get("user_id"))?,
        tenant: tenant.map(parse).transpose()?,
        place: number(row, "place")?,
        leaf: row.get("leaf"),
        salt: row.get("salt"),
        agreement: row.get("agreement"),
        logged_ms: number(row, "logged_ms")?,
    })
}

/// See [`super::Ledger::evidence`].
pub(super) async fn evidence(
    pool: &AnyPool,
    sha256: &str,
) -> Result<Option<EvidenceRow>, StoreError> {
    let row = sqlx::query("SELECT * FROM evidence WHERE sha256 = $1")
        .bind(sha256)
        .fetch_optional(pool)
        .await
        .map_err(StoreError::NotApplied)?;
    row.as_ref().map(one_evidence).transpose()
}

/// See [`super::Ledger::directory`].
pub(super) async fn directory(pool: &AnyPool) -> Result<DirectoryRows, StoreError> {
    // One statement, so that keys and edition are of one moment.
    let rows = sqlx::query(
        "SELECT e.serial, e.issued_at_s, k.key_hex, k.role, k.operator, k.licence, k.from_s,
            k.until_s, k.revoked_at_s
         FROM directory_edition e, directory_key k WHERE e.one = 1 ORDER BY k.added, k.key_hex, k.role",
    )
    .fetch_all(pool)
    .await
    .map_err(StoreError::NotApplied)?;
    let Some(first) = rows.first() else {
        return Ok(DirectoryRows::default());
    };
    Ok(DirectoryRows {
        serial: number(first, "serial")?,
        issued_at_s: number(first, "issued_at_s")?,
        keys: rows.iter().map(key).collect::<Result<_, _>>()?,
    })
}

/// See [`super::Ledger::directory_serial`].
pub(super) async fn directory_serial(pool: &AnyPool) -> Result<u64, StoreError> {
    let row = sqlx::query("SELECT serial FROM directory_edition WHERE one = 1")
        .fetch_optional(pool)
        .await
        .map_err(StoreError::NotApplied)?;
    row.map_or(Ok(0), |row| number(&row, "serial"))
}

/// See [`super::Ledger::checker_keys`].
pub(super) async fn checker_keys(pool: &AnyPool) -> Result<Vec<DirectoryKey>, StoreError> {
    let rows = sqlx::query("SELECT * FROM directory_key WHERE role = 'checker' ORDER BY key_hex")
        .fetch_all(pool)
        .await
        .map_err(StoreError::NotApplied)?;
    rows.iter().map(key).collect()
}

/// How many entries the log of receipts has, of a ledger that a broker may be working on.
///
/// # Errors
/// [`OpenError`] if it cannot be opened or read.
pub async fn log_size_beside(at: &LedgerAt) -> Result<u64, OpenError> {
    let source = Source::new(at)?;
    let name = source.name.clone();
    let connection = source.connect().await;
    let mut connection = connection.map_err(|source| OpenError::Open {
        name: name.clone(),
        source,
    })?;
    match log(&mut connection).await {
        Ok(row) => Ok(row.map_or(0, |row| row.size)),
        // One of before the log.
        Err(StoreError::NotApplied(sqlx::Error::Database(_))) => Ok(0),
        Err(source) => Err(OpenError::Change { name, source }),
    }
}

/// Quoted, for `IN`; `None` for none. Whatever is no hex is left out.
fn hex_list(leaves: &[String]) -> Option<String> {
    let is_hex = |leaf: &&String| {
        leaf.len() == 64 && leaf.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let quoted: Vec<String> = leaves
        .iter()
        .filter(is_hex)
        .map(|leaf| format!("'{leaf}'"))
        .collect();
    (!quoted.is_empty()).then(|| quoted.join(","))
}

fn receipt(row: &AnyRow) -> Result<ReceiptRow, StoreError> {
    Ok(ReceiptRow {
        place: number(row, "place")?,
        leaf: row.get("leaf"),
        kind: row.get("kind"),
        issuer: row.get("issuer"),
        about: row.get("about"),
        issued_at_s: number(row, "issued_at_s")?,
    })
}

fn one_evidence(row: &AnyRow) -> Result<EvidenceRow, StoreError> {
    Ok(EvidenceRow {
        sha256: row.get("sha256"),
        bytes: number(row, "bytes")?,
        kept_until_s: number(row, "kept_until_s")?,
    })
}

fn key(row: &AnyRow) -> Result<DirectoryKey, StoreError> {
    let revoked: Option<i64> = row.get("revoked_at_s");
    Ok(DirectoryKey {
        key: row.get("key_hex"),
        role: row.get("role"),
        operator: row.get("operator"),
        licence: row.get("licence"),
        from_s: number(row, "from_s")?,
        until_s: number(row, "until_s")?,
        revoked_at_s: revoked.and_then(|at| u64::try_from(at).ok()),
    })
}

fn number(row: &AnyRow, column: &'static str) -> Result<u64, StoreError> {
    let number: i64 = row.get(column);
    u64::try_from(number).map_err(|_| StoreError::Corrupt(column.to_owned()))
}
