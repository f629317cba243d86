//! Reading back usage, rate cards and budgets.

use super::StoreError;
use super::phase_row::{epoch_value, ms, parse};
use super::share::BrokerId;
use super::usage::{
    Bill, Budgeted, CardRow, ClaimLine, Item, UsageLine, UsagePlace, UsageQuery, VolumeLine,
};
use nearlight_protocol::id::TenantId;
use nearlight_protocol::usage::UsageFacts;
use nearlight_session::bill::{Held, Kept, Line, Metered};
use sqlx::any::AnyRow;
use sqlx::{AnyPool, AssertSqlSafe, Row};

const CLAIMS: &str = "
    SELECT session_id, slot_id, epoch, user_id, tenant_id, kind, app_id, node_id, region,
        cpu_milli, mem_mib, gpus, labels, began_ms, ended_ms, cpu_ms, mem_mib_peak, gpu_mem_mib_peak,
        gpu_mem_mib_mean, gpu_busy_percent_mean, score_permille, score_receipt FROM usage_interval
    WHERE began_ms < $1 AND (ended_ms IS NULL OR ended_ms > $2)
        AND (began_ms, session_id, slot_id, epoch) > ($3, $4, $5, $6)";

/// As if they were claims: [`UsagePlace`] says what stands for what.
const VOLUMES: &str = "
    SELECT volume_id, '', size_mib, '', owner, 'volume', name, node_id, region,
        CAST(0 AS BIGINT), CAST(0 AS BIGINT), '[]', labels, began_ms, ended_ms, CAST(NULL AS BIGINT),
        CAST(NULL AS BIGINT), CAST(NULL AS BIGINT), CAST(NULL AS BIGINT), CAST(NULL AS BIGINT),
        CAST(NULL AS BIGINT), CAST(NULL AS BIGINT)
    FROM volume_usage
    WHERE began_ms < $1 AND (ended_ms IS NULL OR ended_ms > $2)
        AND (began_ms, volume_id, '', size_mib) > ($3, $4, $5, $6)";

/// See [`super::Ledger::usage_lines`].
pub(super) async fn lines(pool: &AnyPool, of: UsageQuery) -> Result<Vec<UsageLine>, StoreError> {
    let (claims, volumes) = match of.tenant {
        Some(_) => ("AND tenant_id = $8", "AND owner = $8"),
        None => ("", ""),
    };
    // Made of constants of this file alone.
    let order = "ORDER BY began_ms, session_id, slot_id, epoch LIMIT $7";
    let text = format!("{CLAIMS} {claims} UNION ALL {VOLUMES} {volumes} {order}");
    let text = AssertSqlSafe(text);
    let (began, session, slot, epoch) = match of.after {
        Some(UsagePlace {
            began_ms,
            session,
            slot,
            epoch,
        }) => (ms(began_ms), session, slot, ms(epoch)),
        None => (-1, String::new(), String::new(), -1),
    };
    let mut query = sqlx::query(text)
        .bind(ms(of.to_ms))
        .bind(ms(of.from_ms))
        .bind(began)
        .bind(session)
        .bind(slot)
        .bind(epoch)
        .bind(i64::from(of.max));
    if let Some(tenant) = &of.tenant {
        query = query.bind(tenant.as_str());
    }
    let rows = query.fetch_all(pool).await;
    rows.map_err(StoreError::NotApplied)?
        .iter()
        .map(line)
        .collect()
}

fn line(row: &AnyRow) -> Result<UsageLine, StoreError> {
    match row.get("kind") {
        "volume" => volume(row).map(UsageLine::Volume),
        kind => claim(row, kind).map(UsageLine::Claim),
    }
}

fn volume(row: &AnyRow) -> Result<VolumeLine, StoreError> {
    let owner: &str = row.get("tenant_id");
    let ended: Option<i64> = row.get("ended_ms");
    Ok(VolumeLine {
        volume: parse(row.get("session_id"))?,
        name: row.get("app_id"),
        // A user who has no tenant is no payer.
        tenant: owner.parse().ok(),
        node: parse(row.get("node_id"))?,
        region: row.get("region"),
        kept: Kept {
            mib: unsigned(row.get("epoch"))?,
        },
        labels: json(row.get("labels"))?,
        began_ms: unsigned(row.get("began_ms"))?,
        ended_ms: ended.map(unsigned).transpose()?,
    })
}

fn claim(row: &AnyRow, kind: &str) -> Result<ClaimLine, StoreError> {
    let tenant: Option<&str> = row.get("tenant_id");
    let slot: &str = row.get("slot_id");
    let ended: Option<i64> = row.get("ended_ms");
    Ok(ClaimLine {
        session: parse(row.get("session_id"))?,
        slot: (!slot.is_empty()).then(|| parse(slot)).transpose()?,
        epoch: epoch_value(row.get("epoch"))?,
        node: parse(row.get("node_id"))?,
        bill: Bill {
            user: parse(row.get("user_id"))?,
            tenant: tenant.map(parse::<TenantId>).transpose()?,
            item: Item::read(kind, row.get("app_id"))?,
            region: row.get("region"),
            metered: metered(row)?,
            score_receipt: fact(row, "score_receipt")?,
            labels: json(row.get("labels"))?,
        },
        began_ms: unsigned(row.get("began_ms"))?,
        ended_ms: ended.map(unsigned).transpose()?,
        used: UsageFacts {
            cpu_ms: fact(row, "cpu_ms")?,
            mem_mib_peak: fact(row, "mem_mib_peak")?,
            gpu_mem_mib_peak: fact(row, "gpu_mem_mib_peak")?,
            gpu_mem_mib_mean: fact(row, "gpu_mem_mib_mean")?,
            gpu_busy_percent_mean: fact(row, "gpu_busy_percent_mean")?,
        },
    })
}

fn fact<T: TryFrom<i64>>(row: &AnyRow, column: &str) -> Result<Option<T>, StoreError> {
    row.get::<Option<i64>, _>(column).map(unsigned).transpose()
}

fn metered(row: &AnyRow) -> Result<Metered, StoreError> {
    Ok(Metered {
        cpu_milli: unsigned(row.get("cpu_milli"))?,
        mem_mib: unsigned(row.get("mem_mib"))?,
        gpus: json(row.get("gpus"))?,
        score_permille: fact(row, "score_permille")?,
    })
}

fn for_budget(row: &AnyRow) -> Result<Line, StoreError> {
    let ended: Option<i64> = row.get("ended_ms");
    Ok(Line {
        held: Held::Claim(metered(row)?),
        began_ms: unsigned(row.get("began_ms"))?,
        ended_ms: ended.map(unsigned).transpose()?,
    })
}

/// See [`super::Ledger::rate_cards`].
pub(super) async fn cards(pool: &AnyPool) -> Result<Vec<CardRow>, StoreError> {
    let rows = sqlx::query("SELECT * FROM rate_card ORDER BY declared_ms")
        .fetch_all(pool)
        .await;
    let rows = rows.map_err(StoreError::NotApplied)?;
    let card = |row: &AnyRow| {
        Ok(CardRow {
            declared_ms: unsigned(row.get("declared_ms"))?,
            from_ms: unsigned(row.get("from_ms"))?,
            card: row.get("card"),
        })
    };
    rows.iter().map(card).collect()
}

/// A cluster pays for its other replicas, of all its runs.
const BUDGETED: &str = "
    SELECT b.budget_micro, b.session_id AS payer, u.* FROM session s
    JOIN session_budget b ON b.session_id = s.session_id
    JOIN usage_interval u ON u.session_id = s.session_id
    WHERE s.ended_ms IS NULL AND s.holder = $1
    UNION ALL
    SELECT b.budget_micro, b.session_id AS payer, u.* FROM session s
    JOIN session_budget b ON b.session_id = s.session_id
    JOIN cluster_replica m ON m.cluster_id = s.session_id AND m.cluster_rank > 0
    JOIN usage_interval u ON u.session_id = m.session_id
    WHERE s.ended_ms IS NULL AND s.holder = $1
    ORDER BY payer, began_ms";

/// See [`super::Ledger::budgeted`].
pub(super) async fn budgeted(
    pool: &AnyPool,
    holder: &BrokerId,
) -> Result<Vec<Budgeted>, StoreError> {
    let rows = sqlx::query(BUDGETED).bind(holder.as_str()).fetch_all(pool);
    let rows = rows.await.map_err(StoreError::NotApplied)?;
    let mut found: Vec<Budgeted> = Vec::new();
    for row in &rows {
        let session = parse(row.get("payer"))?;
        let line = for_budget(row)?;
        match found.last_mut().filter(|last| last.session == session) {
            Some(last) => last.lines.push(line),
            None => found.push(Budgeted {
                session,
                budget_micro: unsigned(row.get("budget_micro"))?,
                lines: vec![line],
            }),
        }
    }
    Ok(found)
}

fn json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|e| StoreError::Corrupt(e.to_string()))
}

fn unsigned<T: TryFrom<i64>>(column: i64) -> Result<T, StoreError> {
    T::try_from(column).map_err(|_| StoreError::Corrupt(format!("{column} is out of range")))
}
