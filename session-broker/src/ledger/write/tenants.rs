//! Tenants: made, and changed in what is said of them.

use super::identity::done_or;
use crate::ledger::dialect::Foreign;
use crate::ledger::identity::{TenantRow, priority_value};
use crate::ledger::phase_row::{ms, to_ms};
use crate::ledger::tx::Tx;
use crate::ledger::{Applied, StoreError};
use nearlight_protocol::id::TenantId;
use nearlight_protocol::identity::TenantChange;
use nearlight_protocol::unit::{MonoTime, UnixMillis};
use serde::Serialize;

const ADD_TENANT: &str = "
    INSERT INTO tenant (tenant_id, name, sessions_max, created_ms, suspended_ms, priority,
        budget_micro_month, gpus_max, cpu_milli_max, mem_mib_max)
    SELECT r.tenant_id, r.name, r.sessions_max, r.at, r.suspended_ms, r.priority, r.budget,
        r.gpus_max, r.cpu_milli_max, r.mem_mib_max
    FROM {rows tenant_id text, name text, sessions_max bigint, at bigint, suspended_ms bigint,
        priority bigint, budget bigint, gpus_max bigint, cpu_milli_max bigint, mem_mib_max bigint}
    WHERE TRUE ON CONFLICT DO NOTHING";

const NAME_OF_ANOTHER: &str = "
    SELECT t.tenant_id FROM tenant t JOIN {rows tenant_id text, name text} ON t.name = r.name
    WHERE t.tenant_id <> r.tenant_id";

/// What is not said is NULL; [`LIFTED`] is no limit.
const SET_TENANT: &str = "
    UPDATE tenant SET name = COALESCE(r.name, tenant.name),
        priority = COALESCE(r.priority, tenant.priority),
        sessions_max = NULLIF(COALESCE(r.sessions_max, tenant.sessions_max), -1),
        budget_micro_month = NULLIF(COALESCE(r.budget, tenant.budget_micro_month), -1),
        gpus_max = NULLIF(COALESCE(r.gpus_max, tenant.gpus_max), -1),
        cpu_milli_max = NULLIF(COALESCE(r.cpu_milli_max, tenant.cpu_milli_max), -1),
        mem_mib_max = NULLIF(COALESCE(r.mem_mib_max, tenant.mem_mib_max), -1),
        suspended_ms = CASE WHEN r.suspended_ms = -1 THEN NULL
            ELSE COALESCE(tenant.suspended_ms, r.suspended_ms) END
    FROM {rows tenant_id text, name text, sessions_max bigint, suspended_ms bigint,
        priority bigint, budget bigint, gpus_max bigint, cpu_milli_max bigint, mem_mib_max bigint}
    WHERE tenant.tenant_id = r.tenant_id";

pub(super) async fn add(tx: &mut Tx, tenant: &TenantRow) -> Result<Applied, StoreError> {
    let row = [Tenant::of(tenant, tenant.created_ms)];
    let added = tx.run(ADD_TENANT, &row).await?;
    Ok(done_or(added > 0, Applied::NameTaken))
}

pub(super) async fn set(
    tx: &mut Tx,
    tenant: &TenantId,
    change: &TenantChange,
    at: MonoTime,
) -> Result<Applied, StoreError> {
    let row = [Said::of(tenant, change, to_ms(at))];
    if !tx.ask(NAME_OF_ANOTHER, &row).await?.is_empty() {
        return Ok(Applied::NameTaken);
    }
    let set = tx.run(SET_TENANT, &row).await?;
    Ok(done_or(set > 0, Applied::Missing))
}

#[derive(Debug, Serialize)]
struct Tenant<'a> {
    tenant_id: &'a str,
    name: Foreign<'a>,
    sessions_max: Option<u32>,
    at: i64,
    suspended_ms: Option<i64>,
    priority: i64,
    budget: Option<i64>,
    gpus_max: Option<u32>,
    cpu_milli_max: Option<u32>,
    mem_mib_max: Option<u32>,
}

impl<'a> Tenant<'a> {
    fn of(tenant: &'a TenantRow, at_ms: UnixMillis) -> Self {
        Self {
            tenant_id: tenant.id.as_str(),
            name: Foreign(&tenant.name),
            sessions_max: tenant.sessions_max,
            at: ms(at_ms),
            suspended_ms: tenant.suspended.then_some(ms(at_ms)),
            priority: priority_value(tenant.priority),
            budget: tenant.budget_micro_month.map(ms),
            gpus_max: tenant.max.gpus,
            cpu_milli_max: tenant.max.cpu_milli,
            mem_mib_max: tenant.max.mem_mib,
        }
    }
}

/// Stands for no limit any more, where NULL is nothing said.
const LIFTED: i64 = -1;

/// What is said of a tenant.
#[derive(Debug, Serialize)]
struct Said<'a> {
    tenant_id: &'a str,
    name: Option<Foreign<'a>>,
    sessions_max: Option<i64>,
    suspended_ms: Option<i64>,
    priority: Option<i64>,
    budget: Option<i64>,
    gpus_max: Option<i64>,
    cpu_milli_max: Option<i64>,
    mem_mib_max: Option<i64>,
}

impl<'a> Said<'a> {
    fn of(tenant: &'a TenantId, change: &'a TenantChange, at_ms: i64) -> Self {
        let limit = |said: Option<Option<u32>>| said.map(|max| max.map_or(LIFTED, i64::from));
        let suspended = |is: bool| if is { at_ms } else { LIFTED };
        let budget = change.budget_micro_per_month;
        Self {
            tenant_id: tenant.as_str(),
            name: change.name.as_deref().map(Foreign),
            sessions_max: limit(change.sessions_max),
            suspended_ms: change.suspended.map(suspended),
            priority: change.priority.map(priority_value),
            budget: budget.map(|micro| micro.map_or(LIFTED, ms)),
            gpus_max: limit(change.gpus_max),
            cpu_milli_max: limit(change.cpu_milli_max),
            mem_mib_max: limit(change.mem_mib_max),
        }
    }
}
