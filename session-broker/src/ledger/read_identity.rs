//! Reading back who somebody is: credentials, tenants, keys, the audit log.

use super::StoreError;
use super::identity::priority;
use super::identity::{Credential, CredentialHash, KeyRow, Membership, Of, TenantRow};
use super::phase_row::{hex, ms, parse};
use super::resources::Amounts;
use nearlight_protocol::api::Role;
use nearlight_protocol::id::{KeyId, TenantId, UserId};
use nearlight_protocol::identity::{AuditEntry, Scope};
use nearlight_protocol::unit::{U64, UnixMillis};
use sqlx::any::AnyRow;
use sqlx::{AnyPool, AssertSqlSafe, Row};

/// Guests that are remembered of a player, the latest.
const FORMER_MAX: i64 = 8;

const GUEST: &str =
    "SELECT user_id, name, role FROM credential WHERE hash = $1 AND revoked_ms IS NULL";

const KEY: &str = "
    SELECT k.key_id, k.user_id, k.name, k.role, k.scopes, k.sessions_max, k.expires_ms,
        s.expires_ms AS secret_until, k.tenant_id, t.sessions_max AS tenant_max, t.suspended_ms,
        t.priority
    FROM api_key_secret s JOIN api_key k ON k.key_id = s.key_id
    LEFT JOIN tenant t ON t.tenant_id = k.tenant_id
    WHERE s.hash = $1 AND k.revoked_ms IS NULL";

const LOGIN: &str = "
    SELECT p.user_id, p.name, l.expires_ms FROM login l JOIN player p ON p.user_id = l.user_id
    WHERE l.hash = $1 AND l.ended_ms IS NULL";

const FORMER: &str = "
    SELECT guest_id FROM player_guest WHERE user_id = $1 ORDER BY linked_ms DESC LIMIT $2";

/// See [`super::Ledger::credential`].
pub(super) async fn credential(
    pool: &AnyPool,
    hash: CredentialHash,
) -> Result<Option<Credential>, StoreError> {
    let find = async |statement: &'static str| {
        let query = sqlx::query(statement).bind(hex(&hash));
        query
            .fetch_optional(pool)
            .await
            .map_err(StoreError::NotApplied)
    };
    if let Some(row) = find(GUEST).await? {
        let (name, role) = (row.get::<&str, _>("name"), role(row.get("role"))?);
        let user = parse(row.get("user_id"))?;
        return Ok(Some(Credential::plain(hash, user, name, role)));
    }
    if let Some(row) = find(KEY).await? {
        return of_key(hash, &row).map(Some);
    }
    let Some(row) = find(LOGIN).await? else {
        return Ok(None);
    };
    let user: UserId = parse(row.get("user_id"))?;
    let former = sqlx::query(FORMER)
        .bind(user.as_str())
        .bind(FORMER_MAX)
        .fetch_all(pool)
        .await
        .map_err(StoreError::NotApplied)?;
    let former = former.iter().map(|row| parse(row.get("guest_id")));
    Ok(Some(Credential {
        former: former.collect::<Result<_, _>>()?,
        expires_ms: Some(time(row.get("expires_ms"))?),
        ..Credential::plain(hash, user, row.get("name"), Role::Player)
    }))
}

fn of_key(hash: CredentialHash, row: &AnyRow) -> Result<Credential, StoreError> {
    let tenant: Option<&str> = row.get("tenant_id");
    let membership = |tenant: &str| {
        Ok(Membership {
            tenant: parse(tenant)?,
            sessions_max: number(row.get("tenant_max"))?,
            suspended: row.get::<Option<i64>, _>("suspended_ms").is_some(),
            priority: priority(row.get("priority"))?,
        })
    };
    let ends: [Option<i64>; 2] = [row.get("expires_ms"), row.get("secret_until")];
    let ends = ends.into_iter().flatten().min().map(time).transpose()?;
    Ok(Credential {
        scopes: scopes(row.get("scopes")),
        key: Some(parse(row.get("key_id"))?),
        tenant: tenant.map(membership).transpose()?,
        sessions_max: number(row.get("sessions_max"))?,
        expires_ms: ends,
        ..Credential::plain(
            hash,
            parse(row.get("user_id"))?,
            row.get("name"),
            role(row.get("role"))?,
        )
    })
}

const TENANTS: &str = "
    SELECT t.tenant_id, t.name, t.sessions_max, t.gpus_max, t.cpu_milli_max, t.mem_mib_max,
        t.suspended_ms, t.priority, t.budget_micro_month, t.created_ms, q.used, h.gpus_used,
        h.cpu_milli_used, h.mem_mib_used
    FROM tenant t
    LEFT JOIN quota q ON q.user_id = t.tenant_id
    LEFT JOIN (SELECT s.tenant_id, CAST(SUM(s.gpus) AS BIGINT) AS gpus_used,
            CAST(SUM(s.cpu_milli) AS BIGINT) AS cpu_milli_used,
            CAST(SUM(s.mem_mib) AS BIGINT) AS mem_mib_used
        FROM session s WHERE s.tenant_id IS NOT NULL AND s.ended_ms IS NULL GROUP BY s.tenant_id) h
        ON h.tenant_id = t.tenant_id";

/// See [`super::Ledger::tenants`].
pub(super) async fn tenants(pool: &AnyPool, of: Of) -> Result<Vec<TenantRow>, StoreError> {
    let text = match of {
        Of::Everyone => TENANTS.to_owned(),
        Of::Tenant(_) => format!("{TENANTS} WHERE t.tenant_id = $1"),
        Of::Key(_) => return Ok(Vec::new()),
    };
    // Made of constants of this file alone.
    let mut query = sqlx::query(AssertSqlSafe(text));
    if let Of::Tenant(tenant) = &of {
        query = query.bind(tenant.as_str());
    }
    let rows = query
        .fetch_all(pool)
        .await
        .map_err(StoreError::NotApplied)?;
    let mut tenants = rows.iter().map(tenant).collect::<Result<Vec<_>, _>>()?;
    // Engines sort text each in its own way.
    tenants.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    Ok(tenants)
}

/// See [`super::Ledger::tenant_budgets`].
pub(super) async fn tenant_budgets(pool: &AnyPool) -> Result<Vec<(TenantId, u64)>, StoreError> {
    let limited = "
        SELECT t.tenant_id, t.budget_micro_month FROM tenant t WHERE t.budget_micro_month IS NOT NULL";
    let rows = sqlx::query(limited).fetch_all(pool).await;
    let rows = rows.map_err(StoreError::NotApplied)?;
    let budget = |row: &AnyRow| {
        let budget = time(row.get("budget_micro_month"))?;
        Ok((parse(row.get("tenant_id"))?, budget))
    };
    rows.iter().map(budget).collect()
}

fn tenant(row: &AnyRow) -> Result<TenantRow, StoreError> {
    let sum = |column: &str| time(row.get::<Option<i64>, _>(column).unwrap_or(0));
    Ok(TenantRow {
        id: parse(row.get("tenant_id"))?,
        name: row.get("name"),
        sessions_max: number(row.get("sessions_max"))?,
        sessions_used: number(row.get("used"))?.unwrap_or(0),
        max: Amounts {
            gpus: number(row.get("gpus_max"))?,
            cpu_milli: number(row.get("cpu_milli_max"))?,
            mem_mib: number(row.get("mem_mib_max"))?,
        },
        used: Amounts {
            gpus: sum("gpus_used")?,
            cpu_milli: sum("cpu_milli_used")?,
            mem_mib: sum("mem_mib_used")?,
        },
        suspended: row.get::<Option<i64>, _>("suspended_ms").is_some(),
        priority: priority(row.get("priority"))?,
        budget_micro_month: row
            .get::<Option<i64>, _>("budget_micro_month")
            .map(time)
            .transpose()?,
        created_ms: time(row.get("created_ms"))?,
    })
}

/// Ids are ASCII of one length, so that text order is their order in the "C" collation alone; the
/// engine compares, and pages follow its order.
const KEYS: &str = "
    SELECT k.key_id, k.user_id, k.tenant_id, k.name, k.role, k.scopes, k.sessions_max, k.created_ms,
        k.expires_ms, k.last_used_ms, k.revoked_ms, (SELECT s.prefix FROM api_key_secret s WHERE s.key_id = k.key_id
        ORDER BY s.created_ms DESC, s.hash LIMIT 1) AS prefix
    FROM api_key k WHERE k.key_id > $1";

/// See [`super::Ledger::keys`].
pub(super) async fn keys(
    pool: &AnyPool,
    of: Of,
    after: Option<KeyId>,
    max: u32,
) -> Result<Vec<KeyRow>, StoreError> {
    let only = match of {
        Of::Everyone => "",
        Of::Tenant(_) => "AND k.tenant_id = $3",
        Of::Key(_) => "AND k.key_id = $3",
    };
    // Made of constants of this file alone.
    let text = AssertSqlSafe(format!("{KEYS} {only} ORDER BY k.key_id LIMIT $2"));
    let after = after.map_or_else(String::new, |key| key.to_string());
    let mut query = sqlx::query(text).bind(after).bind(i64::from(max));
    match &of {
        Of::Everyone => {}
        Of::Tenant(tenant) => query = query.bind(tenant.as_str()),
        Of::Key(key) => query = query.bind(key.as_str()),
    }
    let rows = query
        .fetch_all(pool)
        .await
        .map_err(StoreError::NotApplied)?;
    rows.iter().map(key).collect()
}

fn key(row: &AnyRow) -> Result<KeyRow, StoreError> {
    let tenant: Option<&str> = row.get("tenant_id");
    let at = |column: &str| row.get::<Option<i64>, _>(column).map(time).transpose();
    Ok(KeyRow {
        id: parse(row.get("key_id"))?,
        user: parse(row.get("user_id"))?,
        tenant: tenant.map(parse).transpose()?,
        name: row.get("name"),
        role: role(row.get("role"))?,
        scopes: scopes(row.get("scopes")),
        is_beyond: is_beyond(row.get("scopes")),
        prefix: row.get::<Option<String>, _>("prefix").unwrap_or_default(),
        sessions_max: number(row.get("sessions_max"))?,
        created_ms: time(row.get("created_ms"))?,
        expires_ms: at("expires_ms")?,
        last_used_ms: at("last_used_ms")?,
        revoked_ms: at("revoked_ms")?,
    })
}

/// See [`super::Ledger::audit`].
pub(super) async fn audit(
    pool: &AnyPool,
    before: Option<u64>,
    max: u32,
) -> Result<Vec<AuditEntry>, StoreError> {
    let before = before.map_or(i64::MAX, ms);
    let rows =
        sqlx::query("SELECT * FROM audit WHERE audit_id < $1 ORDER BY audit_id DESC LIMIT $2")
            .bind(before)
            .bind(i64::from(max))
            .fetch_all(pool)
            .await
            .map_err(StoreError::NotApplied)?;
    rows.iter().map(entry).collect()
}

fn entry(row: &AnyRow) -> Result<AuditEntry, StoreError> {
    let text = |column: &str| row.get::<Option<&str>, _>(column);
    Ok(AuditEntry {
        id: U64(time(row.get("audit_id"))?),
        at_unix_ms: time(row.get("at_ms"))?,
        request: row.get("request_id"),
        user: text("user_id").map(parse).transpose()?,
        role: text("role").map(role).transpose()?,
        key: text("key_id").map(parse).transpose()?,
        tenant: text("tenant_id").map(parse).transpose()?,
        address: text("address").map(str::to_owned),
        action: word(row.get("action"))?,
        subject: row.get("subject"),
        outcome: word(row.get("outcome"))?,
        detail: row.get("detail"),
    })
}

fn role(text: &str) -> Result<Role, StoreError> {
    parse(text)
}

/// Those that this broker knows: what a newer one has written beside them allows nothing here. A key of which none is
/// known allows nothing at all.
fn scopes(text: &str) -> Option<Vec<Scope>> {
    let mut names = text.split_whitespace().peekable();
    names.peek()?;
    Some(names.filter_map(|name| name.parse().ok()).collect())
}

/// Whether a newer broker has written some that this one does not know.
fn is_beyond(text: &str) -> bool {
    let mut names = text.split_whitespace();
    names.any(|name| name.parse::<Scope>().is_err())
}

fn word<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_value(serde_json::Value::String(text.to_owned()))
        .map_err(|e| StoreError::Corrupt(e.to_string()))
}

fn time(column: i64) -> Result<UnixMillis, StoreError> {
    u64::try_from(column).map_err(|_| StoreError::Corrupt(format!("{column} is no time")))
}

fn number(column: Option<i64>) -> Result<Option<u32>, StoreError> {
    let number = column.map(u32::try_from).transpose();
    number.map_err(|_| StoreError::Corrupt("a number is out of range".to_owned()))
}
