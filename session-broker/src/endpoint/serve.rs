//! One request to a job, step by step.

use super::onward::{host_of, is_ambiguous, to_caller, to_node, uri_to_node};
use super::right::{Shown, access, cookie, is_own_doing, opens, shown};
use super::site::Target;
use super::{Jobs, forward, upgrade};
use crate::http::Peer;
use crate::sessions::JobEndpoint;
use crate::tunnels::{Busy, Place, TunnelError};
use crate::uploading::Uploading;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderValue, Method, Response, StatusCode, Version, header, request};
use axum::middleware::from_fn;
use axum::response::IntoResponse;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::upgrade::OnUpgrade;
use nearlight_kit::hop::upgrade_of;
use nearlight_kit::problem::{ProblemResponse, handed_on};
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
    changes: bool,
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
        let is_http1 = request.version() == Version::HTTP_11;
        let to = upgrade_of(request.headers())
            .filter(|to| is_http1 && upgrade::may(to, request.headers()));
        let change = to.map(|to| (to, hyper::upgrade::on(&mut request)));
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
        let shown = shown(&what.head.headers, &what.head.uri, self.site.is_secure());
        let is_open = access == PortAccess::Public && !matches!(shown, Shown::Address(..));
        if !is_open && let Some(instead) = self.permit(&what, &shown, endpoint).await? {
            return Ok(instead);
        }
        let place = ready_at(endpoint)?;
        let request = self.to_node(&what, &shown, place)?;
        if let Some(change) = change {
            return upgrade::ask(self, request, change, place).await;
        }
        let (head, ()) = request.into_parts();
        let body = Body::new(Uploading::new(body, UPLOAD_IDLE_MAX));
        let sent = self
            .tunnels
            .send(place, Request::from_parts(head, body))
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
        let uri = uri_to_node(&what.head.uri, &what.host, scheme);
        let mut request = axum::http::Request::new(());
        *request.method_mut() = what.head.method.clone();
        *request.uri_mut() =
            uri.ok_or_else(|| ProblemResponse::new(ProblemType::BadRequest, "The path is none."))?;
        let headers = what.head.headers.clone();
        *request.headers_mut() = to_node(headers, shown, (&what.target, place), scheme);
        Ok(request)
    }

    /// What is answered in place of the job, if it is not for this caller. Whoever shows a key that
    /// holds, and may not know of the session, is answered as if there were none.
    async fn permit(
        &self,
        what: &What,
        shown: &Shown,
        endpoint: &JobEndpoint,
    ) -> Result<Option<Response<Body>>, ProblemResponse> {
        let now_ms = self.api.clock.unix_ms();
        let of = (&what.target, &*endpoint.ports);
        let opened = |token: &str| opens(&self.api.signer, token, of, now_ms);
        let is_right =
            |token: &String| opened(token).is_some_and(|right| right.cookie_until_ms.is_none());
        match shown {
            Shown::Key(key) => {
                let is_theirs = self.api.key_opens(key, endpoint, what.peer).await?;
                Ok((!is_theirs).then(nothing))
            }
            Shown::Ticket(ticket) if is_right(ticket) => Ok(None),
            Shown::Cookies(cookies) if cookies.iter().any(is_right) => {
                let origin = format!("{}://{}", self.site.scheme(), what.host);

                if is_own_doing(&what.head.headers, &origin, what.changes) {
                    return Ok(None);
                }
                Err(ProblemResponse::new(
                    ProblemType::OriginRefused,
                    "The request comes from a page of another origin. Send a ticket in place of the \
                     cookie.",
                ))
            }
            Shown::Address(ticket, rest) => {
                let claims =
                    opened(ticket).and_then(|claims| Some((claims.cookie_until_ms?, claims)));
                let reads = matches!(what.head.method, Method::GET | Method::HEAD);
                let Some((until_ms, claims)) = claims.filter(|_| reads) else {
                    return Err(
                        self.refused(what.peer, "The address has worked, or its time is over.")
                    );
                };
                if !self.api.spend_address(&claims).await? {
                    return Err(self.refused(what.peer, "The address has worked; it works once."));
                }
                let kept = self
                    .api
                    .signer
                    .endpoint_ticket(&crate::tokens::EndpointClaims {
                        exp_ms: until_ms,
                        cookie_until_ms: None,
                        ..claims
                    });
                let for_s = until_ms.saturating_sub(now_ms) / 1000;
                let cookie = cookie(&kept, for_s, self.site.is_secure());
                let headers = [
                    (header::LOCATION, rest.clone()),
                    (header::SET_COOKIE, cookie),
                    (header::CACHE_CONTROL, "no-store".to_owned()),
                    (header::REFERRER_POLICY, "no-referrer".to_owned()),
                ];
                Ok(Some((StatusCode::SEE_OTHER, headers).into_response()))
            }
            Shown::Ticket(_) | Shown::Cookies(_) => Err(self.refused(
                what.peer,
                "The ticket is expired, or for another session or port.",
            )),
            Shown::Nothing => Err(self.refused(what.peer, "The job is not for everybody.")),
        }
    }

    /// A caller who shows nothing that opens the port. Guesses have a rate.
    fn refused(&self, peer: Peer, why: &str) -> ProblemResponse {
        if let Err(too_many) = self.api.guessed(peer) {
            return too_many;
        }
        ProblemResponse::new(
            ProblemType::Unauthenticated,
            format!(
                "{why} Ask for a ticket with POST to the session's `endpoint` and send it as \
                 `Authorization: Bearer`, or open its `open_url` in the browser."
            ),
        )
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
