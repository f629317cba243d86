//! A request that changes the protocol: HTTP/1.1 with the caller, an extended CONNECT on the tunnel.
//!
//! **Invariant.** What comes after the change is not looked at, so whoever asks for it has the right to all of that.

use super::Jobs;
use super::serve::{back, unanswered};
use crate::http::Peer;
use crate::tunnels::Place;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::ext::Protocol;
use hyper::upgrade::OnUpgrade;
use nearlight_kit::endpoint::head::to_caller;
use nearlight_kit::problem::ProblemResponse;
use nearlight_kit::splice::splice;
use nearlight_protocol::tunnel::{METHOD, STATUS, UPGRADE, UPGRADE_TO};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// Asks the job to change the protocol, and joins both connections if it does.
pub(super) async fn ask(
    jobs: &Arc<Jobs>,
    request: Request<()>,
    (to, caller): (HeaderValue, OnUpgrade),
    (place, stranger): (&Place, Option<Peer>),
) -> Result<Response<Body>, ProblemResponse> {
    let mut request = request.map(|()| Body::empty());
    mark(&mut request, to.clone());
    let sent = jobs.tunnels.send(place, stranger, request).await;
    let (mut answer, busy) = sent.map_err(|error| unanswered(&error))?;
    if answer.status() != StatusCode::OK {
        let status = answer
            .headers()
            .get(STATUS)
            .and_then(|value| value.to_str().ok());
        if let Some(status) = status.and_then(|status| status.parse().ok()) {
            *answer.status_mut() = status;
        }
        return Ok(back(answer, busy));
    }
    let node = hyper::upgrade::on(&mut answer);
    let (mut head, _) = answer.into_parts();
    let to = head.headers.get(UPGRADE_TO).cloned().unwrap_or(to);
    to_caller(&mut head.headers);
    let upgrade = HeaderValue::from_static("upgrade");
    head.headers.insert(header::CONNECTION, upgrade);
    head.headers.insert(header::UPGRADE, to);
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = head.headers;
    let stop = jobs.shutdown.token();
    jobs.shutdown.spawn(async move {
        let seen = AtomicU64::new(0);
        if let Err(error) = splice((caller, node), &seen, stop).await {
            tracing::debug!(%error, "a changed connection ended");
        }
        drop(busy);
    });
    Ok(response)
}

fn mark(request: &mut Request<Body>, to: HeaderValue) {
    let method = HeaderValue::from_str(request.method().as_str());
    let headers = request.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    if let Ok(method) = method {
        headers.insert(HeaderName::from_static(METHOD), method);
    }
    headers.insert(HeaderName::from_static(UPGRADE_TO), to);
    *request.method_mut() = Method::CONNECT;
    let protocol = Protocol::from_static(UPGRADE);
    request.extensions_mut().insert(protocol);
}
