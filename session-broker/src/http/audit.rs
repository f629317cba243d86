//! `GET /v1/audit`: what was done, by whom, from where.

use super::Api;
use super::body::Page;
use super::caller::Caller;
use super::problem::{Refusal, bad_request, store_failed};
use crate::access::Permission;
use axum::Json;
use axum::extract::State;
use nearlight_protocol::identity::AuditPage;
use nearlight_protocol::problem::Problem;
use std::sync::Arc;

/// The audit log, newest first. A page begins where the one before ends, whatever is added meanwhile.
#[utoipa::path(
    get, path = "/v1/audit", tag = "identity",
    security(("api_key" = [])),
    params(("before" = Option<String>, Query, description = "The `next` of the page before."),
           ("limit" = Option<u32>, Query, minimum = 1, maximum = 200,
            description = "Lines of a page, 100 without it.")),
    responses(
        (status = 200, body = AuditPage, description = "Lines of the log."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`bad-request`, `forbidden`, `unauthenticated`."),
    )
)]
pub(super) async fn show_audit(
    State(api): State<Arc<Api>>,
    caller: Caller,
    page: Page,
) -> Result<Json<AuditPage>, Refusal> {
    caller.check(Permission::SeeAudit)?;
    let before = page.before.as_deref().map(str::parse::<u64>).transpose();
    let before = before.map_err(|_| bad_request("`before` is the `next` of the page before."))?;
    let entries = api.ledger.audit(before, page.limit + 1).await;
    let mut entries = entries.map_err(|e| store_failed(&e))?;
    let more = entries.len() > page.limit as usize;
    entries.truncate(page.limit as usize);
    let next = entries.last().filter(|_| more).map(|entry| entry.id);
    Ok(Json(AuditPage { entries, next }))
}
