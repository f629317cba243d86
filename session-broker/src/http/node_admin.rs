//! What an operator does with nodes: lets them in, drains them, shuts them out.

use super::Api;
use super::body::{JsonBody, MaybeJson, NodePath};
use super::caller::Caller;
use super::problem::{Refusal, bad_request, invite_refused, standing_refused};
use crate::access::Permission;
use crate::enrol::StandingChange;
use crate::ledger::Reclaim;
use crate::time::from_unix_ms;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use nearlight_protocol::api::{CreateJoinToken, DrainNode, NewJoinToken};
use nearlight_protocol::id::NodeId;
use nearlight_protocol::identity::AuditAction;
use nearlight_protocol::limits::{
    JOIN_TOKEN_S_MAX, NODE_NAME_BYTES_MAX, OPERATOR_BYTES_MAX, RECLAIM_REASON_BYTES_MAX,
    RECLAIM_S_MAX,
};
use nearlight_protocol::plain::is_plain_text;
use nearlight_protocol::problem::Problem;
use std::sync::Arc;

/// Makes a join token: whoever has it comes in as a node, once.
#[utoipa::path(
    post, path = "/v1/join-tokens", tag = "nodes",
    security(("api_key" = [])),
    request_body = CreateJoinToken,
    responses(
        (status = 201, body = NewJoinToken, description = "The token. It is told only now."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`bad-request`, `forbidden`, `unauthenticated`, …"),
    )
)]
pub(super) async fn create_join_token(
    State(api): State<Arc<Api>>,
    caller: Caller,
    JsonBody(wanted): JsonBody<CreateJoinToken>,
) -> Result<(StatusCode, Json<NewJoinToken>), Refusal> {
    let action = AuditAction::JoinTokenCreate;
    let checked = api.check_noted(&caller, Permission::ChangeNodes, action, "");
    checked.await?;
    let expires_s = wanted.expires_s.unwrap_or(1);
    if !(1..=JOIN_TOKEN_S_MAX).contains(&expires_s) {
        return Err(bad_request(format!(
            "`expires_s` takes 1 to {JOIN_TOKEN_S_MAX} seconds."
        )));
    }
    for (key, text) in [("name", &wanted.name), ("region", &wanted.region)] {
        if !is_plain_text(text, NODE_NAME_BYTES_MAX) {
            return Err(bad_request(format!(
                "`{key}` takes at most {NODE_NAME_BYTES_MAX} bytes without control characters."
            )));
        }
    }
    if !is_plain_text(&wanted.operator, OPERATOR_BYTES_MAX) {
        return Err(bad_request(format!(
            "`operator` takes at most {OPERATOR_BYTES_MAX} bytes without control characters."
        )));
    }
    let detail = wanted.name.clone();
    let made = api.registrar.invite(wanted).await.map_err(invite_refused)?;
    api.note(caller.audit(&api, action, "", detail)).await?;
    Ok((StatusCode::CREATED, Json(made)))
}

/// Shuts a node out for good: its stream closes, its sessions end, and it is never taken again.
#[utoipa::path(
    delete, path = "/v1/nodes/{node}", tag = "nodes",
    security(("api_key" = [])),
    params(("node" = String, Path, description = "The node.")),
    responses(
        (status = 204, description = "It is shut out. Once is enough."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`not-found`, `forbidden`, `unauthenticated`, …"),
    )
)]
pub(super) async fn revoke_node(
    State(api): State<Arc<Api>>,
    caller: Caller,
    NodePath(node): NodePath,
) -> Result<StatusCode, Refusal> {
    decide(&api, &caller, node, StandingChange::Revoke, "").await
}

/// Drains a node: it takes no new sessions, and those that it runs go on, or end in `reclaim_s` as `preempted`, of
/// which players, jobs and webhooks are told at once. It holds until it is ended, through restarts of both sides;
/// of several, the last one's word holds.
#[utoipa::path(
    post, path = "/v1/nodes/{node}/drain", tag = "nodes",
    security(("api_key" = [])),
    params(("node" = String, Path, description = "The node.")),
    request_body(content = Option<DrainNode>, description = "What becomes of what it runs; it goes on without."),
    responses(
        (status = 204, description = "It takes no new sessions."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`not-found`, `forbidden`, `unauthenticated`, …"),
    )
)]
pub(super) async fn drain_node(
    State(api): State<Arc<Api>>,
    caller: Caller,
    NodePath(node): NodePath,
    MaybeJson(wanted): MaybeJson<DrainNode>,
) -> Result<StatusCode, Refusal> {
    let action = AuditAction::NodeDrain;
    let checked = api.check_noted(&caller, Permission::ChangeNodes, action, node.as_str());
    checked.await?;
    let reclaim = reclaim_of(&api, wanted)?;
    let detail = reclaim
        .as_ref()
        .map_or_else(String::new, |(reclaim, in_s)| {
            format!("what it runs ends in {in_s} s. {}", reclaim.reason)
        });
    let change = StandingChange::Drain(reclaim.map(|(reclaim, _)| reclaim));
    decide(&api, &caller, node, change, detail.trim_end()).await
}

/// What a drain says of what the node runs, and in how many seconds that ends.
fn reclaim_of(api: &Api, wanted: DrainNode) -> Result<Option<(Reclaim, u32)>, Refusal> {
    let DrainNode { reclaim_s, reason } = wanted;
    if !is_plain_text(&reason, RECLAIM_REASON_BYTES_MAX) {
        return Err(bad_request(format!(
            "`reason` takes at most {RECLAIM_REASON_BYTES_MAX} bytes without control characters."
        )));
    }
    let Some(in_s) = reclaim_s else {
        return match reason.is_empty() {
            true => Ok(None),
            false => Err(bad_request("`reason` says why `reclaim_s`: give both.")),
        };
    };
    if !(1..=RECLAIM_S_MAX).contains(&in_s) {
        return Err(bad_request(format!(
            "`reclaim_s` takes 1 to {RECLAIM_S_MAX} seconds."
        )));
    }
    let until = from_unix_ms(api.clock.unix_ms() + u64::from(in_s) * 1000);
    Ok(Some((Reclaim { until, reason }, in_s)))
}

/// Ends a drain.
#[utoipa::path(
    delete, path = "/v1/nodes/{node}/drain", tag = "nodes",
    security(("api_key" = [])),
    params(("node" = String, Path, description = "The node.")),
    responses(
        (status = 204, description = "It takes sessions again, unless it is shut out."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`not-found`, `forbidden`, `unauthenticated`, …"),
    )
)]
pub(super) async fn undrain_node(
    State(api): State<Arc<Api>>,
    caller: Caller,
    NodePath(node): NodePath,
) -> Result<StatusCode, Refusal> {
    decide(&api, &caller, node, StandingChange::Undrain, "").await
}

/// Vets a node: jobs go to it that do not say that any node will do. It holds until it is ended.
#[utoipa::path(
    post, path = "/v1/nodes/{node}/vet", tag = "nodes",
    security(("api_key" = [])),
    params(("node" = String, Path, description = "The node.")),
    responses(
        (status = 204, description = "It is vetted."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`not-found`, `forbidden`, `unauthenticated`, …"),
    )
)]
pub(super) async fn vet_node(
    State(api): State<Arc<Api>>,
    caller: Caller,
    NodePath(node): NodePath,
) -> Result<StatusCode, Refusal> {
    decide(&api, &caller, node, StandingChange::Vet, "").await
}

/// Ends a node's vetting. Jobs that it runs go on.
#[utoipa::path(
    delete, path = "/v1/nodes/{node}/vet", tag = "nodes",
    security(("api_key" = [])),
    params(("node" = String, Path, description = "The node.")),
    responses(
        (status = 204, description = "It is not vetted."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`not-found`, `forbidden`, `unauthenticated`, …"),
    )
)]
pub(super) async fn unvet_node(
    State(api): State<Arc<Api>>,
    caller: Caller,
    NodePath(node): NodePath,
) -> Result<StatusCode, Refusal> {
    decide(&api, &caller, node, StandingChange::Unvet, "").await
}

async fn decide(
    api: &Api,
    caller: &Caller,
    node: NodeId,
    change: StandingChange,
    detail: &str,
) -> Result<StatusCode, Refusal> {
    let action = match change {
        StandingChange::Drain(_) => AuditAction::NodeDrain,
        StandingChange::Undrain => AuditAction::NodeUndrain,
        StandingChange::Revoke => AuditAction::NodeRevoke,
        StandingChange::Vet => AuditAction::NodeVet,
        StandingChange::Unvet => AuditAction::NodeUnvet,
    };
    let subject = node.to_string();
    let checked = api.check_noted(caller, Permission::ChangeNodes, action, &subject);
    checked.await?;
    let decided = api.sessions.decide(node, change).await;
    decided.map_err(standing_refused)?;
    api.note(caller.audit(api, action, subject, detail)).await?;
    Ok(StatusCode::NO_CONTENT)
}
