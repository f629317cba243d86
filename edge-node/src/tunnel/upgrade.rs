//! A request that changes the protocol, such as to WebSocket.
//!
//! On the tunnel it is an extended CONNECT (RFC 8441), which is HTTP/2's own way: the stream's DATA frames
//! are the bytes, its windows and its reset hold. A framing of ours inside of bodies would need both again. The
//! head is HTTP/1.1's, key and all, for it is the caller and the container who shake hands.

use super::containers::Containers;
use super::endpoints::{Opened, PortAt};
use super::proxy::{Moved, headers_of, uri_of, within};
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use nearlight_kit::hop::{strip_connection, strip_ours};
use nearlight_kit::problem::ProblemResponse;
use nearlight_kit::shutdown::Shutdown;
use nearlight_kit::splice::splice;
use nearlight_protocol::problem::ProblemType;
use nearlight_protocol::tunnel::{METHOD, REFUSED_STATUS, STATUS, UPGRADE_TO};
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// Asks the container to change the protocol, and joins both ends if it does.
pub(super) async fn ask(
    mut request: Request<Incoming>,
    (opened, port): (&Arc<Opened>, &PortAt),
    place: OwnedSemaphorePermit,
    tasks: Shutdown,
) -> Result<Response<Body>, ProblemResponse> {
    let tunnel = hyper::upgrade::on(&mut request);
    let onward = onward(&request, port)?;
    let mut answer = within(&Moved::now(), Containers::request(&port.containers, onward)).await?;
    let is_changed = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
    let container = is_changed.then(|| hyper::upgrade::on(&mut answer));
    let (mut head, body) = answer.into_parts();
    let to = head.headers.get(header::UPGRADE).cloned();
    strip_connection(&mut head.headers);
    strip_ours(&mut head.headers);
    let Some(container) = container else {
        // Any 2xx would change the stream: what the container says travels apart.
        let status = HeaderValue::from(head.status.as_u16());
        head.headers.insert(STATUS, status);
        head.status = StatusCode::from_u16(REFUSED_STATUS).unwrap_or(StatusCode::NOT_IMPLEMENTED);
        return Ok(Response::from_parts(head, Body::new(body)));
    };
    if let Some(to) = to {
        head.headers.insert(UPGRADE_TO, to);
    }
    head.status = StatusCode::OK;
    let opened = opened.clone();
    tasks.spawn(async move {
        let stop = opened.closed.clone();
        if let Err(error) = splice((tunnel, container), &opened.seen, stop).await {
            tracing::debug!(%error, "a changed connection ended");
        }
        drop(place);
    });
    Ok(Response::from_parts(head, Body::empty()))
}

/// The request as the container sees it.
fn onward(request: &Request<Incoming>, port: &PortAt) -> Result<Request<Body>, ProblemResponse> {
    let wrong = || ProblemResponse::new(ProblemType::BadRequest, "The upgrade is none.");
    let text = |headers: &HeaderMap, name: &str| headers.get(name).cloned();
    let method = text(request.headers(), METHOD).ok_or_else(wrong)?;
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| wrong())?;
    let to = text(request.headers(), UPGRADE_TO).ok_or_else(wrong)?;
    let mut onward = Request::new(Body::empty());
    *onward.method_mut() = method;
    *onward.uri_mut() = uri_of(request.uri(), port)?;
    let mut headers = headers_of(request.headers().clone(), request.uri());
    let upgrade = HeaderValue::from_static("upgrade");
    headers.insert(header::CONNECTION, upgrade);
    headers.insert(header::UPGRADE, to);
    *onward.headers_mut() = headers;
    Ok(onward)
}
