//! `POST /v1/nodes/{node}/probe`: a line check. The browser and the node look at the path between
//! them before anything is played; the broker only brings them together.

use super::Api;
use super::body::{NodePath, check_type};
use super::caller::{Caller, RateKey};
use super::problem::{Refusal, node_unreachable, not_found, too_many};
use super::relay::{Relay, SDP, offer};
use super::serve::Peer;
use crate::access::Permission;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use nearlight_protocol::problem::Problem;
use std::sync::Arc;

/// Opens a connection to a node that carries a line check, and nothing else, for some seconds.
#[utoipa::path(
    post, path = "/v1/nodes/{node}/probe", tag = "nodes",
    security(("api_key" = []), ("guest" = [])),
    params(("node" = String, Path, description = "The node.")),
    request_body(content = String, content_type = "application/sdp",
                 description = "An offer of data channels alone."),
    responses(
        (status = 201, content_type = "application/sdp", body = String,
         description = "The answer, with every candidate of the node."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`not-found`, `invalid-offer`, `node-unreachable`, `too-many-requests`, …"),
    )
)]
pub(super) async fn probe_node(
    State(api): State<Arc<Api>>,
    caller: Caller,
    NodePath(node): NodePath,
    request: Request,
) -> Result<Response, Refusal> {
    caller.check(Permission::SeeNodes)?;
    check_type(request.headers(), SDP)?;
    // By address: guests cost nothing, and each check costs the node some of its uplink.
    let key = RateKey::of(Peer::of(request.extensions()));
    let taken = api.rates.viewers.take(key, api.clock.now());
    taken.map_err(too_many)?;
    let sdp = offer(request).await?;
    let Some(stream) = api.sessions.directory().stream(&node) else {
        return Err(match api.sessions.directory().knows(&node) {
            true => node_unreachable(),
            false => not_found("node"),
        });
    };
    let sdp = Relay(stream).probe(sdp).await?;
    let headers = [(header::CONTENT_TYPE, SDP)];
    Ok((StatusCode::CREATED, headers, sdp).into_response())
}
