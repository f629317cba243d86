//! A request that changes the protocol, such as to WebSocket.
//!
//! On the tunnel it is an extended CONNECT (RFC 8441), which is HTTP/2's own way: the stream's DATA frames
//! are the bytes, its windows and its reset hold. A framing of ours inside of bodies would need both again. The
//! head is HTTP/1.1's, key and all, for it is the caller and the container who shake hands.

use super::containers::Containers;
use super::endpoints::{Opened, Place, PortAt};
use super::flow::{Flow, Moved};
use super::proxy::{headers_of, uri_of, within};
use axum::body::Body;
use axum::http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header, response,
};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use nearlight_kit::hop::{strip_connection, strip_ours};
use nearlight_kit::problem::ProblemResponse;
use nearlight_kit::shutdown::Shutdown;
use nearlight_kit::splice::splice;
use nearlight_protocol::problem::ProblemType;
use nearlight_protocol::tunnel::{METHOD, REFUSED_STATUS, STATUS, UPGRADE_TO};
use std::sync::Arc;

/// Asks the container for what a tunnel asks, and joins both ends if it changes the protocol.
pub(super) async fn ask(
    mut request: Request<Incoming>,
    (opened, port): (&Arc<Opened>, &PortAt),
    place: Place,
    tasks: Shutdown,
) -> Result<Response<Body>, ProblemResponse> {
    let tunnel = hyper::upgrade::on(&mut request);
    let wrong = || ProblemResponse::new(ProblemType::BadRequest, "The upgrade is none.");
    let text = |name: &str| request.headers().get(name).cloned().ok_or_else(wrong);
    let method = Method::from_bytes(text(METHOD)?.as_bytes()).map_err(|_| wrong())?;
    let to = text(UPGRADE_TO)?;
    let asked = (method, request.uri(), request.headers().clone());
    let (mut head, answered) = change(asked, to, port).await?;
    let (container, to) = match answered {
        Answered::Changed(container, to) => (container, to),
        Answered::Refused(body) => {
            // Any 2xx would change the stream: what the container says travels apart.
            let status = HeaderValue::from(head.status.as_u16());
            head.headers.insert(STATUS, status);
            head.status =
                StatusCode::from_u16(REFUSED_STATUS).unwrap_or(StatusCode::NOT_IMPLEMENTED);
            return Ok(Response::from_parts(head, body));
        }
    };
    if let Some(to) = to {
        head.headers.insert(UPGRADE_TO, to);
    }
    head.status = StatusCode::OK;
    join((tunnel, container), opened, place, tasks);
    Ok(Response::from_parts(head, Body::empty()))
}

/// The same for a caller at this node, over HTTP/1.1: the answer is the container's own.
pub(super) async fn ask_for_caller(
    request: Request<()>,
    (to, caller): (HeaderValue, OnUpgrade),
    (opened, port): (&Arc<Opened>, &PortAt),
    (place, tasks): (Place, Shutdown),
) -> Result<Response<Body>, ProblemResponse> {
    let (head, ()) = request.into_parts();
    let asked = (head.method, &head.uri, head.headers);
    let (mut head, answered) = change(asked, to.clone(), port).await?;
    let (container, changed_to) = match answered {
        Answered::Changed(container, to) => (container, to),
        Answered::Refused(body) => {
            let body = Flow::new(body, opened.clone(), Arc::new(Moved::now()), Some(place));
            return Ok(Response::from_parts(head, Body::new(body)));
        }
    };
    let upgrade = HeaderValue::from_static("upgrade");
    head.headers.insert(header::CONNECTION, upgrade);
    head.headers
        .insert(header::UPGRADE, changed_to.unwrap_or(to));
    join((caller, container), opened, place, tasks);
    Ok(Response::from_parts(head, Body::empty()))
}

/// What a container says to a change.
enum Answered {
    /// Its end of the connection, and what it has changed to, in its own words.
    Changed(OnUpgrade, Option<HeaderValue>),
    /// It does not change.
    Refused(Body),
}

/// Asks the container to change the protocol.
async fn change(
    (method, uri, headers): (Method, &Uri, HeaderMap),
    to: HeaderValue,
    port: &PortAt,
) -> Result<(response::Parts, Answered), ProblemResponse> {
    let mut onward = Request::new(Body::empty());
    *onward.method_mut() = method;
    *onward.uri_mut() = uri_of(uri, port)?;
    let mut headers = headers_of(headers, uri);
    let upgrade = HeaderValue::from_static("upgrade");
    headers.insert(header::CONNECTION, upgrade);
    headers.insert(header::UPGRADE, to);
    *onward.headers_mut() = headers;
    let mut answer = within(&Moved::now(), Containers::request(&port.containers, onward)).await?;
    let is_changed = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
    let container = is_changed.then(|| hyper::upgrade::on(&mut answer));
    let (mut head, body) = answer.into_parts();
    let to = head.headers.get(header::UPGRADE).cloned();
    strip_connection(&mut head.headers);
    strip_ours(&mut head.headers);
    let answered = match container {
        Some(container) => Answered::Changed(container, to),
        None => Answered::Refused(Body::new(body)),
    };
    Ok((head, answered))
}

/// Joins both ends, until one leaves or the endpoint is closed.
fn join(ends: (OnUpgrade, OnUpgrade), opened: &Arc<Opened>, place: Place, tasks: Shutdown) {
    let opened = opened.clone();
    tasks.spawn(async move {
        let stop = opened.closed.clone();
        if let Err(error) = splice(ends, &opened.seen, stop).await {
            tracing::debug!(%error, "a changed connection ended");
        }
        drop(place);
    });
}
