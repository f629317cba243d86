//! One request to a job, step by step.

use super::onward::to_node;
use super::{Jobs, forward, upgrade};
use crate::http::Peer;
use crate::sessions::JobEndpoint;
use crate::tunnels::{Busy, Place, TunnelError};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderValue, Method, Response, StatusCode, header, request};
use axum::middleware::from_fn;
use axum::response::IntoResponse;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::upgrade::OnUpgrade;
use nearlight_kit::endpoint::head::{change_of, host_of, is_ambiguous, to_caller, uri_onward};
use nearlight_kit::endpoint::right::{Jar, Shown, access, shown};
use nearlight_kit::endpoint::site::Target;
use nearlight_kit::problem::{ProblemResponse, handed_on};
use nearlight_kit::uploading::Uploading;
use nearlight_protocol::api::SessionState;
use nearlight_protocol::job::PortAccess;
use nearlight_protocol::problem::ProblemType;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Of an upload nothing comes for so long: the caller is gone, or has forgotten it.
const UPLOAD_IDLE_MAX: Duration = Duration::from_secs(600);
/// Seconds after which a job that starts, or a node that is away, may be there.
const START_RETRY_S: u32 = 2;
const NODE_RETRY_S: u32 = 2;

/// The whole service.
pub(crate) fn router(jobs: Arc<Jobs>) -> Router {
    Router::new()
        .fallback(answer)
        .layer(from_fn(handed_on))
        .with_state(jobs)
}

/// Another broker has found out what a request is for, and that it is held here.
#[derive(Clone, Debug)]
pub(super) struct Given(pub(super) Target);

/// What is asked, in the pieces that the steps need.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) what: What,
    pub(super) body: Body,
    /// The protocol that it changes to, and the connection that changes.
    pub(super) change: Option<(HeaderValue, OnUpgrade)>,
}

/// All of it that can be looked at from anywhere.
#[derive(Debug)]
pub(super) struct What {
    pub(super) head: request::Parts,
    pub(super) host: Authority,
    pub(super) target: Target,
    pub(super) peer: Peer,
    pub(super) changes: bool,
}

async fn answer(State(jobs): State<Arc<Jobs>>, request: Request) -> Response<Body> {
    let started = Instant::now();
    let (outcome, response) = match jobs.answer(request).await {
        Ok(response) => ("answered", response),
        Err(refusal) => ("refused", refusal.into_response()),
    };
    crate::metrics::endpoint(outcome, started.elapsed());
    response
}

/// There is nothing: no word of what there could be.
pub(super) fn nothing() -> Response<Body> {
    (StatusCode::NOT_FOUND, "Not found\n").into_response()
}

impl Jobs {
    async fn answer(self: &Arc<Self>, request: Request) -> Result<Response<Body>, ProblemResponse> {
        let given = request.extensions().get::<Given>().cloned();
        let is_given = given.is_some();
        let Some(asked) = self.read(request, given) else {
            return Ok(nothing());
        };
        if is_ambiguous(&asked.what.head) {
            let refusal = ProblemResponse::new(
                ProblemType::BadRequest,
                "The request says twice where its body ends. Send one of Content-Length and \
                 Transfer-Encoding.",
            );
            return Ok(([(header::CONNECTION, "close")], refusal).into_response());
        }
        match self.api.sessions.endpoint_of(&asked.what.target.session) {
            Some(endpoint) => self.held(asked, &endpoint).await,
            None if is_given => Ok(StatusCode::MISDIRECTED_REQUEST.into_response()),
            None => forward::elsewhere(self, asked).await,
        }
    }

    /// Who is asked for what; `None` if that is nobody.
    fn read(&self, mut request: Request, given: Option<Given>) -> Option<Asked> {
        let peer = Peer::of(request.extensions());
        let change = change_of(&mut request);
        let (head, body) = request.into_parts();
        if head.method == Method::CONNECT {
            return None;
        }
        let host = host_of(&head)?;
        let target = match given {
            Some(Given(target)) => target,
            None => self.site.find(&host)?,
        };
        let what = What {
            head,
            host,
            target,
            peer,
            changes: change.is_some(),
        };
        Some(Asked { what, body, change })
    }

    /// A request about a session of this broker.
    async fn held(
        self: &Arc<Self>,
        asked: Asked,
        endpoint: &JobEndpoint,
    ) -> Result<Response<Body>, ProblemResponse> {
        let Asked { what, body, change } = asked;
        let Some(access) = access(&endpoint.ports, &what.target.port) else {
            return Ok(nothing());
        };
        let jar = Jar::of_broker(self.site.is_secure());
        let shown = shown(&what.head.headers, &what.head.uri, jar);
        let is_open = access == PortAccess::Public && !matches!(shown, Shown::Address(..));
        if !is_open && let Some(instead) = self.permit(&what, &shown, endpoint).await? {
            return Ok(instead);
        }
        let place = ready_at(endpoint)?;
        // Whom nobody knows has a share, that there is something left for the others.
        let used_up = is_open && self.tunnels.is_share_used_up(place, what.peer);
        let is_stranger = is_open && !self.knows(&what, &shown, (endpoint, used_up)).await;
        let stranger = is_stranger.then_some(what.peer);
        let request = self.to_node(&what, &shown, place)?;
        if let Some(change) = change {
            return upgrade::ask(self, request, change, (place, stranger)).await;
        }
        let (head, ()) = request.into_parts();
        let body = Body::new(Uploading::new(body, UPLOAD_IDLE_MAX));
        let sent = self
            .tunnels
            .send(place, stranger, Request::from_parts(head, body))
            .await;
        let (answer, busy) = sent.map_err(|error| unanswered(&error))?;
        Ok(back(answer, busy))
    }

    /// The head of a request on the tunnel.
    fn to_node(
        &self,
        what: &What,
        shown: &Shown,
        place: &Place,
    ) -> Result<axum::http::Request<()>, ProblemResponse> {
        let scheme = self.site.scheme();
        let uri = uri_onward(&what.head.uri, &what.host, scheme);
        let mut request = axum::http::Request::new(());
        *request.method_mut() = what.head.method.clone();
        *request.uri_mut() =
            uri.ok_or_else(|| ProblemResponse::new(ProblemType::BadRequest, "The path is none."))?;
        let headers = what.head.headers.clone();
        *request.headers_mut() = to_node(headers, shown, (&what.target, place), scheme);
        Ok(request)
    }
}

/// Where the session takes requests, or why it takes none.
fn ready_at(endpoint: &JobEndpoint) -> Result<&Place, ProblemResponse> {
    let state = match &endpoint.state {
        SessionState::Ready | SessionState::Playing | SessionState::Detached => {
            return endpoint.place.as_ref().ok_or_else(unreachable);
        }
        SessionState::Queued { position, .. } => format!("queued, at position {position}"),
        SessionState::Placing => "being placed".to_owned(),
        SessionState::Starting { .. } => "starting".to_owned(),
        SessionState::Ending { reason } => return Err(over("ending", reason.sentence())),
        SessionState::Ended { detail, .. } => return Err(over("over", detail)),
    };
    let detail = format!("The job is {state}. Its session's events say when it is ready.");
    Err(ProblemResponse::new(ProblemType::JobNotReady, detail).retry_after_s(START_RETRY_S))
}

fn over(how: &str, why: &str) -> ProblemResponse {
    let detail = format!("The job is {how}: {why} Start another one.");
    ProblemResponse::new(ProblemType::SessionEnded, detail)
}

fn unreachable() -> ProblemResponse {
    ProblemResponse::new(
        ProblemType::NodeUnreachable,
        "The job may go on; its node cannot be reached at the moment. Try again.",
    )
    .retry_after_s(NODE_RETRY_S)
}

pub(super) fn unanswered(error: &TunnelError) -> ProblemResponse {
    match error {
        TunnelError::Crowded => ProblemResponse::new(
            ProblemType::TooManyRequests,
            "The job has as many requests under way as it may. Come back in 1 s.",
        )
        .retry_after_s(1),
        TunnelError::Share => ProblemResponse::new(
            ProblemType::TooManyRequests,
            "Your address has as many requests under way at this job as one may have without a ticket. Come \
             back in 1 s.",
        )
        .retry_after_s(1),
        TunnelError::Unreachable => unreachable(),
        TunnelError::BrokeOff(cause) => ProblemResponse::new(
            ProblemType::JobUnreachable,
            "The way to the job broke off before it answered. Try again if the request may be done \
             twice.",
        )
        .caused_by(cause),
    }
}

/// The answer of the node as the caller gets it.
pub(super) fn back(answer: Response<Incoming>, busy: Busy) -> Response<Body> {
    let (mut head, body) = answer.into_parts();
    to_caller(&mut head.headers);
    let body = Downloading { body, _busy: busy };
    Response::from_parts(head, Body::new(body))
}

/// A body on its way to the caller; while it is, its request counts.
struct Downloading {
    body: Incoming,
    _busy: Busy,
}

impl hyper::body::Body for Downloading {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
