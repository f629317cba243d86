//! `GET /v1/nodes`: the fleet, as everyone may see it, and `GET /v1/nodes/{node}`: one node of it.

use super::Api;
use super::body::NodePath;
use super::caller::Caller;
use super::forward::Forwarded;
use super::problem::{Refusal, not_found};
use super::serve::Peer;
use crate::access::Permission;
use axum::Json;
use axum::extract::State;
use axum::http::{Extensions, HeaderMap};
use axum::response::{IntoResponse, Response};
use nearlight_protocol::api::{Node, NodeList, NodeStatus};
use nearlight_protocol::problem::Problem;
use std::sync::Arc;

/// All nodes that ever attached, with what they have free now. Those that are shut out are shown to
/// administrators alone.
#[utoipa::path(
    get, path = "/v1/nodes", tag = "nodes",
    security(("api_key" = []), ("guest" = [])),
    responses(
        (status = 200, body = NodeList, description = "All nodes."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`unauthenticated`, `too-many-requests`."),
    )
)]
pub(super) async fn list_nodes(
    State(api): State<Arc<Api>>,
    caller: Caller,
) -> Result<Json<NodeList>, Refusal> {
    caller.check(Permission::SeeNodes)?;
    let nodes = api.sessions.directory().nodes();
    let shown = nodes
        .iter()
        .filter_map(|node| as_seen_by(&api, &caller, node));
    let nodes = shown.collect();
    Ok(Json(NodeList { nodes }))
}

/// One node. To operators and administrators it shows what the list does not: what the node read of its GPUs last.
#[utoipa::path(
    get, path = "/v1/nodes/{node}", tag = "nodes",
    security(("api_key" = []), ("guest" = [])),
    params(("node" = String, Path, description = "The node.")),
    responses(
        (status = 200, body = Node, description = "The node."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`not-found`, `unauthenticated`, `too-many-requests`."),
    )
)]
pub(super) async fn show_node(
    State(api): State<Arc<Api>>,
    caller: Caller,
    NodePath(id): NodePath,
    headers: HeaderMap,
    extensions: Extensions,
) -> Result<Response, Refusal> {
    caller.check(Permission::SeeNodes)?;
    let known = api.sessions.directory().node(&id);
    let shown = known.and_then(|node| as_seen_by(&api, &caller, &node));
    let shown = shown.ok_or_else(|| not_found("node"))?;
    // What is read of GPUs is where the node is attached; all else of it is here as well.
    let may_be_elsewhere = !shown.gpus.is_empty() && !Forwarded::is(&extensions);
    if may_be_elsewhere {
        let from = Peer::of(&extensions);
        if let Some(answer) = api.ask_node_holder(&id, &headers, from).await {
            return Ok(answer);
        }
    }
    Ok(Json(shown).into_response())
}

/// A node as this caller may see it, if at all.
fn as_seen_by(api: &Api, caller: &Caller, node: &Node) -> Option<Node> {
    let sees_all = caller.check(Permission::ChangeNodes).is_ok();
    if node.status == NodeStatus::Revoked && !sees_all {
        return None;
    }
    let mut node = node.clone();
    if !sees_all {
        node.image_faults.clear();
        node.fault.clear();
        node.gpus.clear();
    }
    if let Some(known) = api.node_keys.of(&node.id) {
        node.receipt_key.clone_from(&known.key);
        node.receipt_key_id.clone_from(&known.key_id);
        node.operator.clone_from(&known.operator);
    }
    Some(node)
}
