//! A request for a session that another broker holds: on to that broker, once, as it is.
//!
//! The holder decides who may ask, for it has the session. Only what this connection means for itself is
//! taken out, and who asks is said in a header that the listener for peers alone takes.

use super::Jobs;
use super::serve::{Asked, Given, nothing};
use crate::http::{CLIENT, Elsewhere};
use crate::peers::PeerError;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use axum::middleware::Next;
use axum::response::IntoResponse;
use nearlight_kit::endpoint::site::Target;
use nearlight_kit::hop::{strip_connection, strip_ours};
use nearlight_kit::problem::ProblemResponse;
use nearlight_kit::splice::splice;
use nearlight_protocol::problem::ProblemType;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tower_service::Service as _;

/// What a forwarded request is for: the session, a space, and the port's name.
const TARGET: HeaderName = HeaderName::from_static("x-nearlight-endpoint");
/// To the head of the answer. An upload comes before it, and the holder has deadlines of its own.
const ANSWERED_WITHIN: Duration = Duration::from_secs(6 * 3600);

/// Answers what peers forward for jobs, and leaves the rest.
pub(crate) async fn of_peer(
    State(jobs): State<Router>,
    mut request: Request,
    next: Next,
) -> Response<Body> {
    let Some(value) = request.headers_mut().remove(TARGET) else {
        return next.run(request).await;
    };
    let Some(target) = value.to_str().ok().and_then(parse) else {
        return nothing();
    };
    request.extensions_mut().insert(Given(target));
    let mut jobs = jobs;
    match jobs.call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

fn parse(text: &str) -> Option<Target> {
    let (session, port) = text.split_once(' ').unwrap_or((text, ""));
    Some(Target {
        session: session.parse().ok()?,
        port: port.to_owned(),
    })
}

/// Asks the broker that holds the session, if there is one.
pub(super) async fn elsewhere(
    jobs: &Arc<Jobs>,
    asked: Asked,
) -> Result<Response<Body>, ProblemResponse> {
    let session = asked.what.target.session.clone();
    let peer = asked.what.peer;
    let Some(holder) = jobs.api.elsewhere(&session, peer).await? else {
        return Ok(nothing());
    };
    let (request, change) = onward(asked);
    let path = request
        .uri()
        .path_and_query()
        .map_or("/", |path| path.as_str());
    let path = path.to_owned();
    let (client, from) = (&holder.client, peer.0.ip());
    let sent = holder
        .way
        .hand_on(client, (&path, request), from, ANSWERED_WITHIN);
    let (mut answer, passage) = match sent.await {
        Ok(answered) => answered,
        Err(PeerError::Full) => {
            crate::metrics::forwarded("full");
            let detail = "Too much is under way to the job's broker. Try again.";
            let refused = ProblemResponse::new(ProblemType::TooManyRequests, detail);
            return Err(refused.retry_after_s(1));
        }
        Err(error) => {
            jobs.api.moved_on(&session);
            return Err(away(&holder).caused_by(error));
        }
    };
    if answer.status() == StatusCode::MISDIRECTED_REQUEST {
        jobs.api.moved_on(&session);
        return Err(away(&holder));
    }
    let node = (answer.status() == StatusCode::SWITCHING_PROTOCOLS)
        .then(|| hyper::upgrade::on(&mut answer));
    let (mut head, body) = answer.into_parts();
    let to = head.headers.get(header::UPGRADE).cloned();
    strip_connection(&mut head.headers);
    strip_ours(&mut head.headers);
    if let (Some(node), Some(to), Some((_, caller))) = (node, to, change) {
        let upgrade = HeaderValue::from_static("upgrade");
        head.headers.insert(header::CONNECTION, upgrade);
        head.headers.insert(header::UPGRADE, to);
        let stop = jobs.shutdown.token();
        jobs.shutdown.spawn(async move {
            let seen = AtomicU64::new(0);
            tokio::select! {
                joined = splice((caller, node), &seen, stop) => if let Err(error) = joined {
                    tracing::debug!(%error, "a changed connection ended");
                },
                () = passage.gone() => {}
            }
        });
        let response = (StatusCode::SWITCHING_PROTOCOLS, head.headers);
        return Ok(response.into_response());
    }
    Ok(Response::from_parts(head, passage.body(body, None)))
}

type Change = Option<(HeaderValue, hyper::upgrade::OnUpgrade)>;

/// The request as it goes to the holder.
fn onward(asked: Asked) -> (Request, Change) {
    let Asked { what, body, change } = asked;
    let mut request = Request::new(body);
    *request.method_mut() = what.head.method;
    *request.uri_mut() = what.head.uri;
    *request.headers_mut() = what.head.headers;
    let headers = request.headers_mut();
    strip_connection(headers);
    strip_ours(headers);
    let target = format!("{} {}", what.target.session, what.target.port);
    let lines = [
        (header::HOST, what.host.to_string()),
        (TARGET, target.trim_end().to_owned()),
        (CLIENT, what.peer.0.to_string()),
    ];
    for (name, value) in lines {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
    if let Some((to, _)) = &change {
        let upgrade = HeaderValue::from_static("upgrade");
        headers.insert(header::CONNECTION, upgrade);
        headers.insert(header::UPGRADE, to.clone());
    }
    (request, change)
}

fn away(holder: &Elsewhere) -> ProblemResponse {
    tracing::info!(broker = %holder.name, "cannot forward a request to a job");
    let detail = "The job's broker cannot be reached, or another one takes over. Try again.";
    ProblemResponse::new(ProblemType::NodeUnreachable, detail).retry_after_s(1)
}

#[cfg(test)]
mod test {
    use super::*;
    use nearlight_protocol::id::SessionId;

    #[test]
    fn a_target_is_a_session_and_a_port() {
        let session = SessionId::from_parts(1, [0; 10]);
        let check = |text: &str, expected: Option<&str>| {
            let found = parse(text).map(|target| (target.session, target.port));
            let expected = expected.map(|port| (session.clone(), port.to_owned()));
            assert_eq!(found, expected, "{text}");
        };
        check(session.as_str(), Some(""));
        check(&format!("{session} web"), Some("web"));
        check("web", None);
        check("", None);
    }
}
