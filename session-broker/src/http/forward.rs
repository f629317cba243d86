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

use super::Api;
use super::caller::{RateKey, bearer};
use super::duties::ALIVE_WITHIN;
use super::inside::onward;
use super::problem::{Refusal, node_unreachable, store_failed, too_many};
use super::serve::Peer;
use crate::ledger::BrokerId;
use crate::peers::{AT_HAND, AWAITED, Hub, PeerError, PeerEvent, Peers};
use crate::probes::STEP_WITHIN;
use crate::secret::{KEY_PREFIX, credential_hash};
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{
    Extensions, HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header, request,
};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use nearlight_kit::hop::{strip_connection, strip_ours};
use nearlight_kit::problem::{ProblemResponse, REQUEST_ID_HEADER, current_request};
use nearlight_protocol::id::{NodeId, RequestId, SessionId};
use nearlight_protocol::problem::ProblemType;
use nearlight_session::lifecycle::Phase;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Who asked the first broker: `ADDRESS:PORT`.
pub(crate) const CLIENT: HeaderName = HeaderName::from_static("x-nearlight-client");
/// How long a request waits for a session that was given to this broker a moment ago.
const TAKE_UP_WITHIN: Duration = Duration::from_secs(8);
const TAKE_UP_LOOK: Duration = Duration::from_millis(10);
/// The events of a session. Its holder pings every 15 s: past three pings it hangs, or its machine is gone.
const EVENTS: &str = "/events";
const SILENCE_MAX: Duration = Duration::from_secs(45);
/// When to try again where callers have too much under way to another broker.
pub(super) const RETRY_AFTER_S: u32 = 1;
/// What a connection means for itself alone (RFC 9110 section 7.6.1), and what is written anew.
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];

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

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Subject {
    Session(SessionId),
    WatchLink(String),
    Node(NodeId),
    /// A node that a checker asks: what is between brokers is not the node's fault.
    Checked(NodeId),
}

fn subject(method: &Method, uri: &Uri) -> Option<Subject> {
    let path = uri.path();
    if path == "/v1/probes" || path.starts_with("/v1/probes/") {
        let mut named = uri.query().unwrap_or_default().split('&');
        let node = named.find_map(|of| of.strip_prefix("node="))?;
        return node.parse().ok().map(Subject::Checked);
    }
    let mut parts = path.strip_prefix("/v1/")?.split('/');
    match (parts.next()?, parts.next()?, parts.next()) {
        ("sessions", id, _) => id.parse().ok().map(Subject::Session),
        ("watch", token, _) => Some(Subject::WatchLink(token.to_owned())),
        ("nodes", id, Some("probe")) if *method == Method::POST => {
            id.parse().ok().map(Subject::Node)
        }
        ("nodes", id, Some("alive")) => id.parse().ok().map(Subject::Checked),
        _ => None,
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
        is_forwarded: bool,
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
        if let Some(holder) = region.peers.holder(&session).filter(|_| !is_forwarded) {
            return Ok(Some(holder));
        }
        // A guess costs its address, before it costs us.
        if !is_forwarded {
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
            match self.holder(region, subject, from, false).await? {
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

impl Region {
    /// What a peer answers to a request of somebody else.
    pub(super) async fn ask(
        &self,
        holder: &BrokerId,
        head: &request::Parts,
        body: Bytes,
        from: Peer,
    ) -> Result<Response, Unreachable> {
        let way = self.peers.way(holder).ok_or(Unreachable::Gone)?;
        let mut request = Request::new(Body::from(body));
        *request.method_mut() = head.method.clone();
        *request.headers_mut() = as_handed_on(head.headers.clone(), from);
        let within = awaited(head.uri.path());
        let path = head.uri.path_and_query();
        let path = path.map_or("/", axum::http::uri::PathAndQuery::as_str);
        let client = &self.peers.client;
        let asked = way.hand_on(client, (path, request), from.0.ip(), within);
        let (answer, passage) = asked.await?;
        let (mut head, body) = answer.into_parts();
        let is_pinged = is_events(&head.headers) && path.ends_with(EVENTS);
        HOP_BY_HOP.iter().for_each(|name| {
            head.headers.remove(name);
        });
        let body = passage.body(body, is_pinged.then_some(SILENCE_MAX));
        Ok(Response::from_parts(head, body))
    }
}

fn is_events(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
}

/// How long a peer may take for the head of its answer.
fn awaited(path: &str) -> Duration {
    if path.starts_with("/v1/probes") {
        // A node computes a leg meanwhile, and the peer waits for it.
        return STEP_WITHIN + AWAITED;
    }
    if path.ends_with("/alive") {
        return ALIVE_WITHIN + AT_HAND;
    }
    let is_at_hand =
        !path.contains("/whep") && !path.ends_with("/probe") && !path.contains("/logs");
    if is_at_hand { AT_HAND } else { AWAITED }
}

/// Whether doing it twice is doing it once. A PATCH adds candidates to a set; tickets are signed and kept nowhere.
fn is_repeatable(method: &Method, path: &str) -> bool {
    let signs = path.ends_with("/tickets") || path.ends_with("/endpoint");
    method.is_idempotent() || *method == Method::PATCH || (*method == Method::POST && signs)
}

/// A caller's headers as a peer gets them: a word of ours in them is ours, for the peer believes it.
fn as_handed_on(mut headers: HeaderMap, from: Peer) -> HeaderMap {
    strip_connection(&mut headers);
    strip_ours(&mut headers);
    HOP_BY_HOP.iter().for_each(|name| {
        headers.remove(name);
    });
    if let Ok(client) = HeaderValue::from_str(&from.0.to_string()) {
        headers.insert(CLIENT, client);
    }
    if let Ok(id) = HeaderValue::from_str(current_request().as_str()) {
        headers.insert(REQUEST_ID_HEADER, id);
    }
    headers
}

/// Why a peer was not asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreachable {
    /// It is not there any more.
    #[error("the broker is not there")]
    Gone,
    /// It did not answer.
    #[error(transparent)]
    Peer(#[from] PeerError),
}

impl Unreachable {
    /// Whether it may have done what it was asked for.
    fn leaves_open(&self) -> bool {
        match self {
            Self::Gone | Self::Peer(PeerError::Request(_) | PeerError::Full) => false,
            Self::Peer(PeerError::Http(error)) => !error.is_connect(),
            Self::Peer(PeerError::Late(_) | PeerError::Broken(_) | PeerError::Gone) => true,
        }
    }
}

/// A session that was given to this broker is not this broker's.
pub(super) fn not_held() -> Refusal {
    ProblemResponse::new(
        ProblemType::NotFound,
        "This broker does not hold the session.",
    )
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_caller_says_nothing_in_our_name_to_a_peer() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-nearlight-endpoint", "ses_01 web"),
            ("x-nearlight-client", "192.0.2.9:1"),
            ("x-nearlight-session", "ses_01"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("te", "trailers"),
            ("content-length", "3"),
            ("authorization", "Bearer k"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        let from = Peer("192.0.2.1:7".parse().unwrap());
        let headers = as_handed_on(headers, from);
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        let id = REQUEST_ID_HEADER;
        let mut expected = ["authorization", "x-nearlight-client", id.as_str()];
        expected.sort_unstable();
        assert_eq!(names, expected);
        assert_eq!(headers[CLIENT], "192.0.2.1:7");
    }

    #[test]
    fn what_makes_something_is_not_asked_for_again_where_it_may_have_been_made() {
        for (method, tail, expected) in [
            (Method::GET, "", true),
            (Method::DELETE, "", true),
            (Method::PUT, "/saves", true),
            (Method::PATCH, "/whep/att_x", true),
            (Method::POST, "/tickets", true),
            (Method::POST, "/endpoint", true),
            (Method::POST, "/watch-links", false),
            (Method::POST, "/whep", false),
            (Method::POST, "/exec", false),
        ] {
            let path = format!("/v1/sessions/ses_x{tail}");
            assert_eq!(is_repeatable(&method, &path), expected, "{method} {path}");
        }
        assert!(!Unreachable::Gone.leaves_open());
        assert!(!Unreachable::Peer(PeerError::Full).leaves_open());
        assert!(Unreachable::Peer(PeerError::Gone).leaves_open());
    }

    #[test]
    fn a_request_is_about_what_its_path_names() {
        let subject = |method: &Method, path: &str| subject(method, &path.parse().unwrap());
        let id = SessionId::from_parts(1, [0; 10]);
        let node = NodeId::from_parts(1, [0; 10]);
        let session = Some(Subject::Session(id.clone()));
        for tail in ["", "/events", "/whep/att_x", "/"] {
            assert_eq!(
                subject(&Method::GET, &format!("/v1/sessions/{id}{tail}")),
                session
            );
        }
        let watch = subject(&Method::POST, "/v1/watch/secret/whep");
        assert_eq!(watch, Some(Subject::WatchLink("secret".to_owned())));
        let probe = format!("/v1/nodes/{node}/probe");
        assert_eq!(
            subject(&Method::POST, &probe),
            Some(Subject::Node(node.clone()))
        );
        for path in [
            format!("/v1/nodes/{node}/alive"),
            format!("/v1/probes?node={node}"),
            format!("/v1/probes/{id}/fill?a=1&node={node}"),
        ] {
            let checked = Some(Subject::Checked(node.clone()));
            assert_eq!(subject(&Method::POST, &path), checked, "{path}");
        }
        let long = awaited("/v1/probes/x/fill");
        assert!(long > STEP_WITHIN && awaited("/v1/nodes/x/alive") > ALIVE_WITHIN);
        for other in [
            "/v1/sessions",
            "/v1/sessions/x",
            "/v1/apps",
            "/",
            "/play/x",
            "/v1/nodes/x",
            "/v1/probes",
            "/v1/probes/x?node=y",
        ] {
            assert_eq!(subject(&Method::GET, other), None, "{other}");
        }
    }
}
