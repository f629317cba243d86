//! `/v1/tenants`: organisations whose members see each other's sessions.

use super::Api;
use super::body::{JsonBody, TenantPath, checked_name};
use super::caller::Caller;
use super::doubt::Doubt;
use super::problem::{Refusal, bad_request, name_taken, not_found, store_failed};
use crate::access::{Permission, Reach};
use crate::ledger::{Amounts, Applied, IdentityChange, Of, Op, TenantRow};
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use nearlight_protocol::id::TenantId;
use nearlight_protocol::identity::{
    AuditAction, Priority, Tenant, TenantChange, TenantList, TenantSettings,
};
use nearlight_protocol::limits::BUDGET_MICRO_MAX;
use nearlight_protocol::problem::Problem;
use std::sync::Arc;

/// Makes a tenant. Its members come in by keys.
#[utoipa::path(
    post, path = "/v1/tenants", tag = "identity",
    security(("api_key" = [])),
    request_body = TenantSettings,
    responses(
        (status = 201, body = Tenant, description = "The tenant.",
         headers(("location" = String, description = "Its path."))),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`bad-request`, `name-taken`, `forbidden`, `unauthenticated`, …"),
    )
)]
pub(super) async fn create_tenant(
    State(api): State<Arc<Api>>,
    caller: Caller,
    JsonBody(body): JsonBody<TenantSettings>,
) -> Result<Response, Refusal> {
    let action = AuditAction::TenantCreate;
    api.check_noted(&caller, Permission::ChangeTenants, action, &body.name)
        .await?;
    let tenant = TenantRow {
        id: nearlight_kit::ids::tenant(),
        name: checked_name(&body.name)?,
        sessions_max: body.sessions_max,
        sessions_used: 0,
        max: limits(&body),
        used: Amounts::default(),
        suspended: body.suspended,
        priority: body.priority,
        budget_micro_month: checked_budget(body.budget_micro_per_month)?,
        created_ms: api.clock.unix_ms(),
    };
    let change = IdentityChange::AddTenant(tenant.clone());
    let of = (&tenant.id, made_text(&tenant));
    api.change_tenant(&caller, action, change, of).await?;
    let location = format!("/v1/tenants/{}", tenant.id);
    let shown = Json(Tenant::from(tenant));
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], shown).into_response())
}

/// All tenants; a tenant sees itself.
#[utoipa::path(
    get, path = "/v1/tenants", tag = "identity",
    security(("api_key" = [])),
    responses(
        (status = 200, body = TenantList, description = "The tenants."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`forbidden`, `unauthenticated`, `too-many-requests`."),
    )
)]
pub(super) async fn list_tenants(
    State(api): State<Arc<Api>>,
    caller: Caller,
) -> Result<Json<TenantList>, Refusal> {
    caller.check(Permission::SeeTenants)?;
    let Some(of) = within_reach(&caller) else {
        return Ok(Json(TenantList {
            tenants: Vec::new(),
        }));
    };
    let tenants = api.ledger.tenants(of).await.map_err(|e| store_failed(&e))?;
    let tenants = tenants.into_iter().map(Tenant::from).collect();
    Ok(Json(TenantList { tenants }))
}

/// Changes what is said of a tenant: what is left out stays, `null` lifts a limit.
#[utoipa::path(
    patch, path = "/v1/tenants/{id}", tag = "identity",
    security(("api_key" = [])),
    params(("id" = String, Path, description = "The tenant.")),
    request_body = TenantChange,
    responses(
        (status = 200, body = Tenant, description = "The tenant as it is now."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`bad-request`, `not-found`, `name-taken`, `forbidden`, …"),
    )
)]
pub(super) async fn change_tenant(
    State(api): State<Arc<Api>>,
    caller: Caller,
    TenantPath(id): TenantPath,
    JsonBody(body): JsonBody<TenantChange>,
) -> Result<Json<Tenant>, Refusal> {
    let action = AuditAction::TenantChange;
    api.check_noted(&caller, Permission::ChangeTenants, action, id.as_str())
        .await?;
    let known = api.tenant(&id).await?;
    let name = body.name.as_deref().map(checked_name).transpose()?;
    if let Some(budget) = body.budget_micro_per_month {
        checked_budget(budget)?;
    }
    let said = TenantChange { name, ..body };
    let detail = said_text(&known.name, &said);
    let change = IdentityChange::SetTenant {
        tenant: id.clone(),
        change: Box::new(said),
        at: api.clock.now(),
    };
    api.change_tenant(&caller, action, change, (&id, detail))
        .await?;
    Ok(Json(api.tenant(&id).await?.into()))
}

/// What is said of a tenant, for the audit log.
fn said_text(known: &str, said: &TenantChange) -> String {
    let mut text = said.name.as_deref().unwrap_or(known).to_owned();
    let wide = |max: Option<Option<u32>>| max.map(|max| max.map(u64::from));
    let limits = [
        (wide(said.sessions_max), "sessions"),
        (wide(said.gpus_max), "GPUs"),
        (wide(said.cpu_milli_max), "thousandths of a core"),
        (wide(said.mem_mib_max), "MiB of memory"),
        (said.budget_micro_per_month, "millionths a month"),
    ];
    for (limit, what) in limits {
        match limit {
            Some(Some(max)) => text.push_str(&format!(", {max} {what}")),
            Some(None) => text.push_str(&format!(", any number of {what}")),
            None => {}
        }
    }
    text.push_str(match said.suspended {
        Some(true) => ", suspended",
        Some(false) => ", not suspended",
        None => "",
    });
    text.push_str(match said.priority {
        Some(Priority::Low) => ", low priority",
        Some(Priority::Normal) => ", normal priority",
        Some(Priority::High) => ", high priority",
        None => "",
    });
    text
}

/// What a tenant's sessions may have together.
const fn limits(body: &TenantSettings) -> Amounts<Option<u32>> {
    Amounts {
        gpus: body.gpus_max,
        cpu_milli: body.cpu_milli_max,
        mem_mib: body.mem_mib_max,
    }
}

/// A new tenant, for the audit log.
fn made_text(tenant: &TenantRow) -> String {
    let limit = tenant.sessions_max.map(|max| format!(", {max} sessions"));
    let limit = limit.unwrap_or_default();
    let suspended = if tenant.suspended { ", suspended" } else { "" };
    let priority = match tenant.priority {
        Priority::Low => ", low priority",
        Priority::Normal => "",
        Priority::High => ", high priority",
    };
    let budget = tenant.budget_micro_month;
    let budget = budget.map(|micro| format!(", {micro} millionths a month"));
    let budget = budget.unwrap_or_default();
    let (name, resources) = (&tenant.name, limits_text(&tenant.max));
    format!("{name}{limit}{resources}{suspended}{priority}{budget}")
}

fn limits_text(max: &Amounts<Option<u32>>) -> String {
    let limits = [
        (max.gpus, "GPUs"),
        (max.cpu_milli, "thousandths of a core"),
        (max.mem_mib, "MiB of memory"),
    ];
    let set = limits
        .iter()
        .filter_map(|(max, what)| Some((*max.as_ref()?, what)));
    set.map(|(max, what)| format!(", {max} {what}")).collect()
}

/// A budget as JSON carries it whole, and the ledger too.
pub(super) fn checked_budget(micro: Option<u64>) -> Result<Option<u64>, Refusal> {
    if micro.is_some_and(|micro| micro > BUDGET_MICRO_MAX) {
        return Err(bad_request(format!(
            "A budget is at most {BUDGET_MICRO_MAX} millionths."
        )));
    }
    Ok(micro)
}

/// Whose keys and tenants a caller sees; `None` for nobody's.
pub(super) fn within_reach(caller: &Caller) -> Option<Of> {
    match Reach::of(caller.role) {
        Reach::All => Some(Of::Everyone),
        Reach::Tenant => caller.tenant().cloned().map(Of::Tenant),
        Reach::Own => None,
    }
}

impl Api {
    pub(super) async fn tenant(&self, id: &TenantId) -> Result<TenantRow, Refusal> {
        let found = self.ledger.tenants(Of::Tenant(id.clone())).await;
        let found = found.map_err(|e| store_failed(&e))?.pop();
        found.ok_or_else(|| not_found("tenant"))
    }

    async fn change_tenant(
        &self,
        caller: &Caller,
        action: AuditAction,
        change: IdentityChange,
        (tenant, detail): (&TenantId, String),
    ) -> Result<(), Refusal> {
        let audit = Some(caller.audit(self, action, tenant, detail));
        match self.change(Op::Identity { change, audit }).await? {
            Applied::Missing => Err(not_found("tenant")),
            Applied::NameTaken => Err(name_taken("tenant")),
            Applied::Done
            | Applied::Ordered { .. }
            | Applied::OrderedAll { .. }
            | Applied::Replayed { .. }
            | Applied::AppVersion { .. }
            | Applied::KeyReused
            | Applied::QuotaUsedUp
            | Applied::TenantQuotaUsedUp
            | Applied::BeyondTenant(_)
            | Applied::RaceLost
            | Applied::TicketSpent
            | Applied::Removed { .. }
            | Applied::Skipped => Ok(()),
        }
    }

    /// Makes a change of identity, durably; whatever it voids is void from now on.
    pub(super) async fn change(&self, op: Op) -> Result<Applied, Refusal> {
        let doubt = Doubt::of(&op);
        let written = self.ledger.write(vec![op]).await;
        // Also if the ledger failed: what is there now is not known.
        if let Some(doubt) = doubt {
            self.identities.doubt(doubt);
        }
        let applied = written.map_err(|e| store_failed(&e))?.pop();
        Ok(applied.unwrap_or(Applied::Missing))
    }
}

impl From<TenantRow> for Tenant {
    fn from(row: TenantRow) -> Self {
        let narrow = |sum: u64| u32::try_from(sum).unwrap_or(u32::MAX);
        Self {
            id: row.id,
            name: row.name,
            sessions_max: row.sessions_max,
            sessions_used: row.sessions_used,
            gpus_max: row.max.gpus,
            gpus_used: narrow(row.used.gpus),
            cpu_milli_max: row.max.cpu_milli,
            cpu_milli_used: narrow(row.used.cpu_milli),
            mem_mib_max: row.max.mem_mib,
            mem_mib_used: narrow(row.used.mem_mib),
            suspended: row.suspended,
            priority: row.priority,
            budget_micro_per_month: row.budget_micro_month,
            created_unix_ms: row.created_ms,
        }
    }
}
