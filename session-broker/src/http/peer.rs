//! `/peer/v1`: what brokers that share the ledger say to each other. Only on the listener for peers.
//! Requests to jobs come with a header, whatever their path.

use super::Api;
use super::body::JsonBody;
use super::forward::{mark, not_held};
use super::problem::{Refusal, not_found, store_failed};
use crate::endpoint::of_peer;
use crate::peers::{FLEET_PATH, LEDGER_PATH, OFFER_PATH, Offer, PeerEvent, can_write};
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use nearlight_kit::problem::ProblemResponse;
use std::sync::Arc;

/// The service for peers: their own paths, and everything that they forward.
pub(crate) fn peer_service(api: Arc<Api>, public: Router, jobs: Option<Router>) -> Router {
    let own = Router::new()
        .route(FLEET_PATH, get(feed))
        .route(LEDGER_PATH, get(ledger))
        .route(OFFER_PATH, post(take))
        .with_state(api)
        .fallback_service(public);
    let all = match jobs {
        Some(jobs) => own.layer(from_fn_with_state(jobs, of_peer)),
        None => own,
    };
    all.layer(from_fn(mark))
}

/// This broker's nodes, line by line, for as long as the peer listens.
async fn feed(State(api): State<Arc<Api>>) -> Result<Response, Refusal> {
    let region = api.region.as_ref().ok_or_else(|| not_found("peer"))?;
    let lines = region.hub.clone().lines(api.stop.clone());
    let headers = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((headers, Body::from_stream(lines)).into_response())
}

/// Whether this broker can write to the ledger now: a peer that cannot sends its nodes here then.
async fn ledger(State(api): State<Arc<Api>>) -> StatusCode {
    match can_write(&*api.ledger).await {
        true => StatusCode::NO_CONTENT,
        false => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// A session was given to this broker.
async fn take(
    State(api): State<Arc<Api>>,
    JsonBody(offer): JsonBody<Offer>,
) -> Result<StatusCode, Refusal> {
    let region = api.region.as_ref().ok_or_else(|| not_found("peer"))?;
    let found = api.ledger.session(offer.session.clone()).await;
    let found = found.map_err(|e| store_failed(&e))?;
    let (_, holder) = found.ok_or_else(|| not_found("session"))?;
    if holder != *region.peers.me() {
        return Err(not_held());
    }
    let taken = PeerEvent::Take {
        session: offer.session,
        node: offer.node,
    };
    let sent = region.events.send(taken).await;
    sent.map_err(|_| ProblemResponse::internal("the broker is stopping"))?;
    Ok(StatusCode::NO_CONTENT)
}
