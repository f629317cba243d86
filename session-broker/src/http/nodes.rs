//! `GET /v1/nodes`: the fleet, as everyone may see it.

use super::Api;
use super::caller::Caller;
use super::problem::Refusal;
use crate::access::Permission;
use axum::Json;
use axum::extract::State;
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
    let sees_all = caller.check(Permission::ChangeNodes).is_ok();
    let nodes = api.sessions.directory().nodes();
    let shown = nodes
        .iter()
        .filter(|node| node.status != NodeStatus::Revoked || sees_all);
    let as_seen = |node: &Arc<Node>| {
        let mut node = (**node).clone();
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
        node
    };
    let nodes = shown.map(as_seen).collect();
    Ok(Json(NodeList { nodes }))
}
