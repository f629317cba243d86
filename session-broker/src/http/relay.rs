//! What is relayed to an edge and back: SDP in, SDP out. The broker does not read it.

use super::Api;
use super::body::{bytes, too_large};
use super::problem::{Refusal, node_unreachable, relay_failed, whep_refused};
use crate::control::Stream;
use crate::sessions::ShownSession;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use nearlight_kit::problem::ProblemResponse;
use nearlight_protocol::attach::IceServer;
use nearlight_protocol::control::{ToEdge, WhepAction, WhepResult};
use nearlight_protocol::id::{AttachmentId, RequestId, SessionId};
use nearlight_protocol::limits::SDP_BYTES_MAX;
use nearlight_protocol::problem::ProblemType;
use std::sync::Arc;
use std::time::Instant;

pub(super) const SDP: &str = "application/sdp";
pub(super) const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
pub(super) const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");
pub(super) const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");

/// The way to a node.
pub(super) struct Relay(pub(super) Arc<Stream>);

impl Relay {
    /// Asks about an attachment of a session.
    pub(super) async fn whep(
        &self,
        session: &SessionId,
        action: WhepAction,
    ) -> Result<WhepResult, Refusal> {
        self.ask(|request| ToEdge::Whep {
            request,
            session: session.clone(),
            action,
        })
        .await
    }

    /// Asks for the answer to a line check's offer.
    pub(super) async fn probe(&self, sdp: String) -> Result<String, Refusal> {
        let asked = self.ask(|request| ToEdge::Probe { request, sdp }).await?;
        expect_answer(asked)
    }

    async fn ask(&self, message: impl FnOnce(RequestId) -> ToEdge) -> Result<WhepResult, Refusal> {
        let started = Instant::now();
        let request = nearlight_kit::problem::current_request();
        let result = self.0.ask(request.clone(), message(request)).await;
        let outcome = match &result {
            Ok(WhepResult::Answer { .. } | WhepResult::Done) => "done",
            Ok(WhepResult::Refused { .. }) => "refused",
            Err(_) => "unreachable",
        };
        crate::metrics::whep(outcome, started.elapsed());
        result.map_err(relay_failed)
    }
}

impl Api {
    /// The way to the node that runs a session.
    pub(super) fn way_to(&self, session: &ShownSession) -> Result<Relay, Refusal> {
        let node = session.view.borrow().node.clone();
        let stream = node.and_then(|node| self.sessions.directory().stream(&node));
        stream.map(Relay).ok_or_else(node_unreachable)
    }
}

/// An SDP offer, as far as anyone but the edge looks at it.
pub(super) async fn offer(request: Request) -> Result<String, Refusal> {
    let sdp = sdp_text(request).await?;
    if !sdp.starts_with("v=0") {
        return Err(ProblemResponse::new(
            ProblemType::InvalidOffer,
            "The body is not an SDP offer.",
        ));
    }
    Ok(sdp)
}

pub(super) async fn sdp_text(request: Request) -> Result<String, Refusal> {
    let bytes = bytes(request, &()).await?;
    if bytes.len() > SDP_BYTES_MAX {
        return Err(too_large());
    }
    String::from_utf8(bytes.to_vec())
        .map_err(|_| ProblemResponse::new(ProblemType::InvalidOffer, "The body is not UTF-8 text."))
}

/// The answer in what an edge said to an offer.
pub(super) fn expect_answer(result: WhepResult) -> Result<String, Refusal> {
    match result {
        WhepResult::Answer { sdp } => Ok(sdp),
        WhepResult::Refused { reason, detail } => Err(whep_refused(reason, &detail)),
        WhepResult::Done => Err(ProblemResponse::internal(
            "the edge answered an offer with done",
        )),
    }
}

pub(super) fn expect_done(result: WhepResult) -> Result<(), Refusal> {
    match result {
        WhepResult::Done => Ok(()),
        WhepResult::Refused { reason, detail } => Err(whep_refused(reason, &detail)),
        WhepResult::Answer { .. } => Err(ProblemResponse::internal(
            "the edge answered with an SDP unasked",
        )),
    }
}

/// `201` with the answer, for an attachment under `whep_path`, and the relays that it may use.
pub(super) fn attached(
    whep_path: &str,
    attachment: &AttachmentId,
    relays: &[IceServer],
    sdp: String,
) -> Response {
    let headers = [
        (header::CONTENT_TYPE, SDP.to_owned()),
        (header::LOCATION, format!("{whep_path}/{attachment}")),
        (header::ETAG, format!("\"{attachment}\"")),
        (ACCEPT_PATCH, FRAGMENT.to_owned()),
    ];
    let mut response = (StatusCode::CREATED, headers, sdp).into_response();
    let links = relays.iter().flat_map(link_values);
    for value in links.filter_map(|text| HeaderValue::from_str(&text).ok()) {
        response.headers_mut().append(header::LINK, value);
    }
    response
}

/// One link a URL, as draft-ietf-wish-whep section 4.4 has it.
fn link_values(server: &IceServer) -> impl Iterator<Item = String> {
    server.urls.iter().map(|url| {
        let (username, credential) = (&server.username, &server.credential);
        format!(
            "<{url}>; rel=\"ice-server\"; username=\"{username}\"; credential=\"{credential}\"; \
             credential-type=\"password\""
        )
    })
}
