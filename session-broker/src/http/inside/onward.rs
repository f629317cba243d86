//! A stream about a session that another broker holds: on to that broker, once, piece by piece.
//!
//! Other requests are small and read whole, so that they can be asked again elsewhere ([`super::super::forward`]). An archive or a
//! WebSocket is not; whoever is told that the session moved asks again.

use super::super::Api;
use super::super::forward::{CLIENT, RETRY_AFTER_S, Region};
use super::super::problem::{Refusal, node_unreachable, too_many};
use super::super::serve::Peer;
use crate::ledger::BrokerId;
use crate::peers::PeerError;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use nearlight_kit::hop::{strip_connection, strip_ours, upgrade_of};
use nearlight_kit::problem::{REQUEST_ID_HEADER, current_request};
use nearlight_kit::splice::splice;
use nearlight_protocol::id::SessionId;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// To the head of the answer. An upload comes before it, and the holder has deadlines of its own.
const ANSWERED_WITHIN: Duration = Duration::from_secs(6 * 3600);

/// Whether a request is a stream: files, or the WebSocket of a command.
pub(in super::super) fn is_stream(method: &Method, path: &str) -> bool {
    path.ends_with("/files") || (path.ends_with("/exec") && *method == Method::GET)
}

/// Has the holder answer.
pub(in super::super) async fn hand_on(
    api: &Api,
    (region, session): (&Region, &SessionId),
    holder: &BrokerId,
    mut request: Request,
    from: Peer,
) -> Result<Response, Refusal> {
    let away = || {
        region.peers.forget(session);
        crate::metrics::forwarded("unreachable");
        node_unreachable()
    };
    let way = region.peers.way(holder).ok_or_else(away)?;
    let to = upgrade_of(request.headers());
    let caller = to.is_some().then(|| hyper::upgrade::on(&mut request));
    let path = request.uri().path_and_query();
    let path = path.map_or("/", |path| path.as_str()).to_owned();
    let (head, body) = request.into_parts();
    let mut onward = Request::new(body);
    *onward.method_mut() = head.method;
    *onward.headers_mut() = head.headers;
    let headers = onward.headers_mut();
    strip_connection(headers);
    strip_ours(headers);
    if let Some(to) = &to {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, to.clone());
    }
    if let Ok(client) = HeaderValue::from_str(&from.0.to_string()) {
        headers.insert(CLIENT, client);
    }
    if let Ok(id) = HeaderValue::from_str(current_request().as_str()) {
        headers.insert(REQUEST_ID_HEADER, id);
    }
    let client = &region.peers.client;
    let asked = way.hand_on(client, (&path, onward), from.0.ip(), ANSWERED_WITHIN);
    let (mut answer, passage) = asked.await.map_err(|error| match error {
        PeerError::Full => {
            crate::metrics::forwarded("full");
            too_many(RETRY_AFTER_S)
        }
        error => away().caused_by(error),
    })?;
    if answer.status() == StatusCode::MISDIRECTED_REQUEST {
        return Err(away());
    }
    crate::metrics::forwarded("answered");
    let is_changed = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
    let node = is_changed.then(|| hyper::upgrade::on(&mut answer));
    let (mut head, body) = answer.into_parts();
    strip_connection(&mut head.headers);
    if let (Some(node), Some(caller), Some(to)) = (node, caller, to) {
        head.headers
            .insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        head.headers.insert(header::UPGRADE, to);
        let stop = api.stop.clone();
        api.inside.tasks.spawn(async move {
            let seen = AtomicU64::new(0);
            tokio::select! {
                joined = splice((caller, node), &seen, stop) => if let Err(error) = joined {
                    tracing::debug!(%error, "a command's connection ended");
                },
                () = passage.gone() => {}
            }
        });
        return Ok((StatusCode::SWITCHING_PROTOCOLS, head.headers).into_response());
    }
    Ok(Response::from_parts(head, passage.body(body, None)))
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn files_and_the_socket_are_streams_and_a_ticket_is_none() {
        for (method, path, expected) in [
            (Method::GET, "/v1/sessions/x/files", true),
            (Method::PUT, "/v1/sessions/x/files", true),
            (Method::GET, "/v1/sessions/x/exec", true),
            (Method::POST, "/v1/sessions/x/exec", false),
            (Method::GET, "/v1/sessions/x/logs", false),
            (Method::GET, "/v1/sessions/x", false),
        ] {
            assert_eq!(is_stream(&method, path), expected, "{method} {path}");
        }
    }
}
