//! Requests about what another broker holds: forwarded to it, once.
//!
//! A caller may ask any broker. Who is asked about a session (or a node, for a line check) that another
//! one holds hands the request on as it is, with the caller's own credentials, and the answer back. A
//! request that was forwarded is never forwarded again (I6): whoever gets one for what it does not hold
//! says so with `421`, and the first broker looks the holder up anew, once. What came to the first one meanwhile
//! is answered there. Where no answer came, what it would not do to do twice is not asked again: its holder may have
//! done it.
//!
//! **Invariant.** That a holder does not answer is for those who may know of the session: to others it says no
//! more than that there is none.
//!
//! - [`mod@subject`]: what a request is about.
//! - [`ask`]: the question to one peer.

mod ask;
mod subject;

use super::Api;
use super::caller::{Certified, RateKey, bearer};
use super::inside::onward;
use super::problem::{Refusal, node_unreachable, store_failed, too_many};
use super::serve::Peer;
use crate::ledger::BrokerId;
use crate::peers::{Hub, PeerError, PeerEvent, Peers};
use crate::secret::{KEY_PREFIX, credential_hash};
use ask::{Unreachable, is_repeatable};
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{Extensions, HeaderMap, HeaderName, Method, StatusCode, request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use nearlight_kit::problem::{ProblemResponse, REQUEST_ID_HEADER};
use nearlight_protocol::id::{NodeId, RequestId, SessionId};
use nearlight_protocol::problem::ProblemType;
use nearlight_session::lifecycle::Phase;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use subject::{Subject, subject};
use tokio::sync::mpsc;

/// Who asked the first broker: `ADDRESS:PORT`.
pub(crate) const CLIENT: HeaderName = HeaderName::from_static("x-nearlight-client");
/// The checker that showed the first broker its certificate (`kit::pki::CheckerName`).
pub(crate) const CHECKER: HeaderName = HeaderName::from_static("x-nearlight-checker");
/// How long a request waits for a session that was given to this broker a moment ago.
const TAKE_UP_WITHIN: Duration = Duration::from_secs(8);
const TAKE_UP_LOOK: Duration = Duration::from_millis(10);
/// When to try again where callers have too much under way to another broker.
pub(super) const RETRY_AFTER_S: u32 = 1;

/// What HTTP has of the other brokers.
#[derive(Clone, Debug)]
pub(crate) struct Region {
    pub(crate) peers: Arc<Peers>,
    pub(crate) events: mpsc::Sender<PeerEvent>,
    pub(crate) hub: Arc<Hub>,
}

/// The request comes from another broker, which a caller had asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Forwarded;

impl Forwarded {
    /// Whether a request is such a one.
    pub(super) fn is(extensions: &Extensions) -> bool {
        extensions.get::<Self>().is_some()
    }
}

fn is_log(method: &Method, path: &str) -> bool {
    *method == Method::GET && path.ends_with("/logs")
}

/// Takes who asked from the broker that forwards.
pub(super) async fn mark(mut request: Request, next: Next) -> Response {
    let client = request.headers_mut().remove(CLIENT);
    let client = client.as_ref().and_then(|value| value.to_str().ok());
    if let Some(client) = client.and_then(|text| text.parse::<SocketAddr>().ok()) {
        request.extensions_mut().insert(Peer(client));
    }
    let checker = request.headers_mut().remove(CHECKER);
    let checker = checker.as_ref().and_then(|value| value.to_str().ok());
    if let Some(name) = checker.and_then(|text| text.parse().ok()) {
        request.extensions_mut().insert(Certified(name));
    }
    // One request, one id: or an answer from elsewhere could be told from one from here.
    let id = request.headers_mut().remove(REQUEST_ID_HEADER);
    let id = id.as_ref().and_then(|value| value.to_str().ok());
    if let Some(id) = id.and_then(|text| text.parse::<RequestId>().ok()) {
        request.extensions_mut().insert(id);
    }
    request.extensions_mut().insert(Forwarded);
    next.run(request).await
}

/// Hands a request to the broker that holds what it is about, if that is another one.
pub(super) async fn to_holder(
    State(api): State<Arc<Api>>,
    request: Request,
    next: Next,
) -> Response {
    let Some(region) = &api.region else {
        return next.run(request).await;
    };
    let Some(subject) = subject(request.method(), request.uri()) else {
        return next.run(request).await;
    };
    let is_forwarded = Forwarded::is(request.extensions());
    let from = Peer::of(request.extensions());
    let holder = match api.holder(region, &subject, from, is_forwarded).await {
        Ok(None) => return next.run(request).await,
        Ok(Some(holder)) => holder,
        Err(refusal) => return refusal.into_response(),
    };
    // The log of a session that is over is at its node, and whoever holds the session has nothing of it.
    if is_log(request.method(), request.uri().path()) {
        match api.is_over(&subject).await {
            Ok(true) => return next.run(request).await,
            Ok(false) => {}
            Err(refusal) => return refusal.into_response(),
        }
    }
    if is_forwarded {
        return StatusCode::MISDIRECTED_REQUEST.into_response();
    }
    if let Subject::Session(session) = &subject
        && onward::is_stream(request.method(), request.uri().path())
    {
        let (head, body) = request.into_parts();
        let again = Request::from_parts(head.clone(), Body::empty());
        let request = Request::from_parts(head, body);
        return match onward::hand_on(&api, (region, session), &holder, request, from).await {
            Ok(answer) => answer,
            Err(refusal) => api.unanswered(session, refusal, (again, next), from).await,
        };
    }
    let (head, body) = request.into_parts();
    let body = match super::body::whole(body).await {
        Ok(body) => body,
        Err(refusal) => return refusal.into_response(),
    };
    let asked = (&head, body.clone());
    let answer = api.forward(region, &subject, holder, asked, from).await;
    let again = Request::from_parts(head, Body::from(body));
    match (answer, &subject) {
        (Ok(Some(answer)), _) => answer,
        (Ok(None), _) => next.run(again).await,
        (Err(refusal), Subject::Session(session)) => {
            api.unanswered(session, refusal, (again, next), from).await
        }
        (Err(refusal), Subject::WatchLink(_) | Subject::Node(_) | Subject::Checked(_)) => {
            refusal.into_response()
        }
    }
}

impl Api {
    /// The answer where a session's holder gives none. Who may not know that the session is there is answered here, by
    /// what answers for a session that is not.
    async fn unanswered(
        &self,
        session: &SessionId,
        refusal: Refusal,
        (request, next): (Request, Next),
        from: Peer,
    ) -> Response {
        match self.may_know(session, request.headers(), from).await {
            Ok(true) => refusal.into_response(),
            Ok(false) => next.run(request).await,
            Err(refusal) => refusal.into_response(),
        }
    }

    /// Whether the caller may know that a session is there.
    async fn may_know(
        &self,
        session: &SessionId,
        headers: &HeaderMap,
        from: Peer,
    ) -> Result<bool, Refusal> {
        if let Some(ticket) = bearer(headers).filter(|token| !token.starts_with(KEY_PREFIX)) {
            return Ok(self.signer.verify_ticket(ticket, session).is_ok());
        }
        let Ok(Some(caller)) = self.caller(headers, from).await else {
            return Ok(false);
        };
        let found = self.ledger.session(session.clone()).await;
        let found = found.map_err(|e| store_failed(&e))?;
        Ok(found.is_some_and(|(row, _)| caller.whose().takes(&row.user, row.tenant.as_ref())))
    }

    /// Whether what a request is about is a session that is over.
    async fn is_over(&self, subject: &Subject) -> Result<bool, Refusal> {
        let Subject::Session(session) = subject else {
            return Ok(false);
        };
        let found = self.ledger.session(session.clone()).await;
        let found = found.map_err(|e| store_failed(&e))?;
        Ok(found.is_some_and(|(row, _)| matches!(row.phase, Phase::Ended { .. })))
    }

    /// The other broker that holds what a request is about; `None` if it is held here, or nowhere.
    async fn holder(
        &self,
        region: &Region,
        subject: &Subject,
        from: Peer,
        is_anew: bool,
    ) -> Result<Option<BrokerId>, Refusal> {
        let session = match subject {
            Subject::Node(node) | Subject::Checked(node) => {
                return Ok(self.sessions.directory().node_holder(node));
            }
            Subject::Session(session) => session.clone(),
            Subject::WatchLink(token) => {
                let hash = credential_hash(token);
                if self.links.find(&hash, self.clock.unix_ms()).is_some() {
                    return Ok(None);
                }
                self.within_rate(RateKey::of(from))?;
                let link = self.ledger.watch_link(hash).await;
                match link.map_err(|e| store_failed(&e))? {
                    Some(link) => link.session,
                    None => return Ok(None),
                }
            }
        };
        if self.sessions.directory().session(&session).is_some() {
            return Ok(None);
        }
        if let Some(holder) = region.peers.holder(&session).filter(|_| !is_anew) {
            return Ok(Some(holder));
        }
        // A guess costs its address, before it costs us.
        if !is_anew {
            self.within_rate(RateKey::of(from))?;
        }
        let found = self.ledger.session(session.clone()).await;
        let Some((row, holder)) = found.map_err(|e| store_failed(&e))? else {
            return Ok(None);
        };
        if holder != *region.peers.me() {
            let is_over = matches!(row.phase, Phase::Ended { .. });
            if is_over && region.peers.address(&holder).is_none() {
                // Its broker is gone, and nobody lists it any more.
                return Ok(None);
            }
            region.peers.remember(session, holder.clone());
            return Ok(Some(holder));
        }
        if row.phase == Phase::Queued {
            self.taken_up(&session).await;
        }
        Ok(None)
    }

    /// The other broker that holds a session; `None` if it is held here, or nowhere.
    pub(super) async fn session_holder(
        &self,
        region: &Region,
        session: &SessionId,
        from: Peer,
    ) -> Result<Option<BrokerId>, Refusal> {
        let subject = Subject::Session(session.clone());
        self.holder(region, &subject, from, false).await
    }

    /// Waits for a session that was given to this broker, and is not here yet.
    async fn taken_up(&self, session: &SessionId) {
        let here = async {
            while self.sessions.directory().session(session).is_none() {
                tokio::time::sleep(TAKE_UP_LOOK).await;
            }
        };
        // Of one that ended long ago nobody hears any more.
        let _ = tokio::time::timeout(TAKE_UP_WITHIN, here).await;
    }

    /// The holder's answer; `None` if what the request is about came here meanwhile, or is nowhere.
    async fn forward(
        &self,
        region: &Region,
        subject: &Subject,
        holder: BrokerId,
        (head, body): (&request::Parts, Bytes),
        from: Peer,
    ) -> Result<Option<Response>, Refusal> {
        let mut holder = holder;
        for _ in 0..2 {
            let asked = region.ask(&holder, head, body.clone(), from).await;
            match asked {
                Ok(answer) if answer.status() == StatusCode::MISDIRECTED_REQUEST => {}
                Ok(answer) => {
                    crate::metrics::forwarded("answered");
                    return Ok(Some(answer));
                }
                Err(Unreachable::Peer(PeerError::Full)) => {
                    crate::metrics::forwarded("full");
                    return Err(too_many(RETRY_AFTER_S));
                }
                Err(error) => {
                    tracing::info!(broker = %holder, error = &error as &dyn std::error::Error,
                        "cannot forward a request");
                    if error.leaves_open() && !is_repeatable(&head.method, head.uri.path()) {
                        if let Subject::Session(session) = subject {
                            region.peers.forget(session);
                        }
                        break;
                    }
                }
            }
            // It moved, or its holder is gone and another one takes over.
            if let Subject::Session(session) = subject {
                region.peers.forget(session);
            }
            // Whose a link's session was is what this broker remembers of the session, not of the link.
            let is_anew = matches!(subject, Subject::WatchLink(_));
            match self.holder(region, subject, from, is_anew).await? {
                Some(next) => holder = next,
                // Its holder is gone, which is no doing of its own.
                None if matches!(subject, Subject::Checked(_)) => break,
                None => {
                    crate::metrics::forwarded("moved-here");
                    return Ok(None);
                }
            }
        }
        crate::metrics::forwarded("unreachable");
        Err(match subject {
            Subject::Checked(_) => super::prove::node_away(true),
            Subject::Session(_) | Subject::WatchLink(_) | Subject::Node(_) => node_unreachable(),
        })
    }

    /// What another broker answers to a request without a body by the same caller; `None` if the
    /// session is held here or nowhere, or its holder does not answer.
    pub(super) async fn ask_holder(
        &self,
        session: &SessionId,
        (method, path): (Method, &str),
        headers: &HeaderMap,
        from: Peer,
    ) -> Option<Response> {
        let subject = Subject::Session(session.clone());
        let asked = (method, path);
        self.ask_holder_of(&subject, asked, headers, from).await
    }

    /// What the broker that a node is attached to says of the node to the same caller; `None` if that is this
    /// broker, or none, or it does not answer or know the question.
    pub(super) async fn ask_node_holder(
        &self,
        node: &NodeId,
        headers: &HeaderMap,
        from: Peer,
    ) -> Option<Response> {
        let path = format!("/v1/nodes/{node}");
        let (subject, asked) = (Subject::Node(node.clone()), (Method::GET, path.as_str()));
        self.ask_holder_of(&subject, asked, headers, from).await
    }

    async fn ask_holder_of(
        &self,
        subject: &Subject,
        (method, path): (Method, &str),
        headers: &HeaderMap,
        from: Peer,
    ) -> Option<Response> {
        let region = self.region.as_ref()?;
        let holder = self.holder(region, subject, from, false).await.ok()??;
        let request = Request::builder().method(method).uri(path);
        let request = request.body(()).ok()?;
        let (mut head, ()) = request.into_parts();
        head.headers = headers.clone();
        let asked = (&head, Bytes::new());
        let answer = self.forward(region, subject, holder, asked, from).await;
        let answer = answer.ok().flatten();
        answer.filter(|answer| answer.status().is_success())
    }
}

/// A session that was given to this broker is not this broker's.
pub(super) fn not_held() -> Refusal {
    ProblemResponse::new(
        ProblemType::NotFound,
        "This broker does not hold the session.",
    )
}
