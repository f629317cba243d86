//! How many sessions a user or a tenant holds at once: taken with a session's row, given back when it is
//! ending. And what a tenant's sessions have together, which their rows say.

use super::sessions::{Create, Creates};
use crate::ledger::StoreError;
use crate::ledger::plan::At;
use crate::ledger::resources::{Amounts, Beyond};
use crate::ledger::tx::Tx;
use nearlight_protocol::id::{TenantId, UserId};
use serde::Serialize;
use sqlx::Row;
use sqlx::any::AnyRow;
use std::collections::{BTreeMap, BTreeSet, HashSet};

pub(super) const OPEN: &str = "
    INSERT INTO quota (user_id, used) SELECT r.user_id, 0 FROM {rows user_id text}
    WHERE TRUE ON CONFLICT DO NOTHING";

pub(super) const TAKE: &str = "
    UPDATE quota SET used = quota.used + r.n FROM {rows user_id text, n bigint, cap bigint}
    WHERE quota.user_id = r.user_id AND quota.used <= r.cap - r.n
    RETURNING quota.user_id AS user_id";

pub(super) const RETURN: &str = "
    UPDATE quota SET used = CASE WHEN quota.used > r.n THEN quota.used - r.n ELSE 0 END
    FROM {rows user_id text, n bigint} WHERE quota.user_id = r.user_id";

/// Tenants with a limit beside the number of sessions, and what their live sessions have.
pub(super) const TENANTS_HAVE: &str = "
    SELECT t.tenant_id, t.gpus_max, t.cpu_milli_max, t.mem_mib_max,
        CAST(COALESCE(SUM(s.gpus), 0) AS BIGINT) AS gpus,
        CAST(COALESCE(SUM(s.cpu_milli), 0) AS BIGINT) AS cpu_milli,
        CAST(COALESCE(SUM(s.mem_mib), 0) AS BIGINT) AS mem_mib
    FROM {rows tenant_id text} JOIN tenant t ON t.tenant_id = r.tenant_id
    LEFT JOIN session s ON s.tenant_id = t.tenant_id AND s.ended_ms IS NULL
    WHERE t.gpus_max IS NOT NULL OR t.cpu_milli_max IS NOT NULL OR t.mem_mib_max IS NOT NULL
    GROUP BY t.tenant_id, t.gpus_max, t.cpu_milli_max, t.mem_mib_max";

/// Whose quota it is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Holder {
    User,
    Tenant,
}

#[derive(Debug, Serialize)]
pub(super) struct Quota<'a> {
    pub(super) user_id: &'a str,
    pub(super) n: i64,
    pub(super) cap: i64,
}

/// Those within their holder's quota, and those beyond it. Per holder all at once; where that is too
/// much, one by one in their order.
pub(super) async fn take<'a>(
    tx: &mut Tx,
    creates: Creates<'a>,
    of: Holder,
) -> Result<(Creates<'a>, Creates<'a>), StoreError> {
    let mut by_holder: BTreeMap<&str, Quota<'_>> = BTreeMap::new();
    for (_, create) in &creates {
        let Some((user_id, cap)) = create.place(of) else {
            continue;
        };
        let quota = by_holder
            .entry(user_id)
            .or_insert(Quota { user_id, n: 0, cap });
        quota.n += create.counts_as;
        quota.cap = quota.cap.min(cap);
    }
    let mut wanted: Vec<Quota<'_>> = by_holder.into_values().collect();
    let mut taken = HashSet::new();
    // Most users have a row.
    take_together(tx, &mut wanted, &mut taken).await?;
    if tx.run(OPEN, &wanted).await? > 0 {
        take_together(tx, &mut wanted, &mut taken).await?;
    }
    let (mut within, mut beyond) = (Vec::new(), Vec::new());
    for create in creates {
        let Some((user_id, cap)) = create.1.place(of) else {
            within.push(create);
            continue;
        };
        let n = create.1.counts_as;
        let one = Quota { user_id, n, cap };
        if taken.contains(user_id) || !tx.ask(TAKE, &[one]).await?.is_empty() {
            within.push(create);
        } else {
            beyond.push(create);
        }
    }
    Ok((within, beyond))
}

/// Moves those that are within their quotas.
async fn take_together(
    tx: &mut Tx,
    wanted: &mut Vec<Quota<'_>>,
    taken: &mut HashSet<String>,
) -> Result<(), StoreError> {
    let rows = tx.ask(TAKE, wanted).await?;
    taken.extend(rows.iter().map(|row| row.get::<String, _>("user_id")));
    wanted.retain(|quota| !taken.contains(quota.user_id));
    Ok(())
}

#[derive(Debug, Serialize)]
struct Tenant<'a> {
    tenant_id: &'a str,
}

/// Those whose tenants may have what they ask for, one by one in their order, and those that ask for too much.
pub(super) async fn within_tenants<'a>(
    tx: &mut Tx,
    creates: Creates<'a>,
) -> Result<(Creates<'a>, Vec<(&'a (At, Create<'a>), Beyond)>), StoreError> {
    let tenants: BTreeSet<&str> = creates.iter().filter_map(|(_, c)| c.tenant()).collect();
    if tenants.is_empty() {
        return Ok((creates, Vec::new()));
    }
    let tenants = tenants.into_iter().map(|tenant_id| Tenant { tenant_id });
    let tenants: Vec<Tenant<'_>> = tenants.collect();
    let mut limited = BTreeMap::new();
    for row in tx.ask(TENANTS_HAVE, &tenants).await? {
        let tenant: String = row.get("tenant_id");
        limited.insert(tenant, (limits(&row)?, used(&row)?));
    }
    let (mut within, mut beyond) = (Vec::new(), Vec::new());
    for create in creates {
        let of = create.1.tenant().and_then(|tenant| limited.get_mut(tenant));
        let Some((max, used)) = of else {
            within.push(create);
            continue;
        };
        let asked = create.1.asked();
        match max.beyond(used, &asked) {
            Some(lack) => beyond.push((create, lack)),
            None => {
                *used = used.and(&asked);
                within.push(create);
            }
        }
    }
    Ok((within, beyond))
}

fn limits(row: &AnyRow) -> Result<Amounts<Option<u32>>, StoreError> {
    let max = |column: &str| {
        let max = row.get::<Option<i64>, _>(column).map(u32::try_from);
        max.transpose().map_err(|_| out_of_range(column))
    };
    Ok(Amounts {
        gpus: max("gpus_max")?,
        cpu_milli: max("cpu_milli_max")?,
        mem_mib: max("mem_mib_max")?,
    })
}

fn used(row: &AnyRow) -> Result<Amounts<u64>, StoreError> {
    let sum = |column: &str| {
        let sum = u64::try_from(row.get::<i64, _>(column));
        sum.map_err(|_| out_of_range(column))
    };
    Ok(Amounts {
        gpus: sum("gpus")?,
        cpu_milli: sum("cpu_milli")?,
        mem_mib: sum("mem_mib")?,
    })
}

fn out_of_range(column: &str) -> StoreError {
    StoreError::Corrupt(format!("{column} is out of range"))
}

/// A place that a user or a tenant has again.
#[derive(Debug)]
pub(crate) struct Return<'a>(&'a str);

impl<'a> Return<'a> {
    pub(super) const fn to(holder: &'a str) -> Self {
        Self(holder)
    }

    pub(in crate::ledger) fn of(
        user: &'a UserId,
        tenant: Option<&'a TenantId>,
    ) -> impl Iterator<Item = Self> {
        std::iter::once(user.as_str())
            .chain(tenant.map(TenantId::as_str))
            .map(Self)
    }
}

pub(crate) async fn give_back(tx: &mut Tx, returns: Vec<Return<'_>>) -> Result<(), StoreError> {
    let mut by_user: BTreeMap<&str, i64> = BTreeMap::new();
    for Return(user) in returns {
        *by_user.entry(user).or_default() += 1;
    }
    let quota = |(user_id, n)| Quota { user_id, n, cap: 0 };
    let rows: Vec<Quota<'_>> = by_user.into_iter().map(quota).collect();
    tx.run(RETURN, &rows).await?;
    Ok(())
}
