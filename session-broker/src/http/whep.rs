//! `/v1/sessions/{id}/whep` (draft-ietf-wish-whep): a viewer's offer, relayed to the edge.
//!
//! The broker checks who asks and how often; what the SDP says is between browser and edge. A
//! ticket opens one attachment, and from then on stands for it: PATCH and DELETE take the same
//! Bearer token. Owners may use their API key instead.

use super::Api;
use super::body::{AttachmentPath, SessionPath, check_type};
use super::caller::{Caller, bearer};
use super::problem::{
    Refusal, not_found, session_lost, store_failed, ticket_invalid, unauthenticated,
};
use super::relay::{
    ACCEPT_POST, FRAGMENT, Relay, SDP, attached, expect_answer, expect_done, offer, sdp_text,
};
use super::serve::Peer;
use super::ticket::attachable;
use crate::access::Permission;
use crate::ledger::{Applied, Op, SpentTicket};
use crate::secret::KEY_PREFIX;
use crate::sessions::ShownSession;
use crate::tokens::TicketClaims;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use nearlight_protocol::control::{ViewerRole, WhepAction};
use nearlight_protocol::id::{AttachmentId, SessionId};
use nearlight_protocol::problem::Problem;
use std::sync::Arc;

/// Attaches a viewer: an SDP offer in, the edge's answer out.
#[utoipa::path(
    post, path = "/v1/sessions/{id}/whep", tag = "attachments",
    security(("ticket" = []), ("api_key" = [])),
    params(("id" = String, Path, description = "The session.")),
    request_body(content = String, content_type = "application/sdp", description = "The offer."),
    responses(
        (status = 201, content_type = "application/sdp", body = String,
         description = "The answer, with every candidate of the node.",
         headers(("location" = String, description = "The attachment."),
                 ("etag" = String, description = "The ICE session."),
                 ("accept-patch" = String, description = "Trickled candidates are taken."))),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`ticket-invalid`, `invalid-offer`, `attached-elsewhere`, \
                        `session-not-ready`, `session-ended`, `session-lost`, \
                        `node-unreachable`, …"),
    )
)]
pub(super) async fn attach(
    State(api): State<Arc<Api>>,
    SessionPath(id): SessionPath,
    request: Request,
) -> Result<Response, Refusal> {
    let peer = Peer::of(request.extensions());
    let headers = request.headers().clone();
    check_type(&headers, SDP)?;
    let right = api.right_to(&id, &headers, peer).await?;
    let session = api.session_by(&right, &id).await?;
    if let Right::Ticket(claims) = &right {
        claims
            .check_time(api.clock.unix_ms())
            .map_err(|error| ticket_invalid().caused_by(error))?;
    }
    attachable(&session, right.take_over())?;
    let sdp = offer(request).await?;
    let attachment = nearlight_kit::ids::attachment();
    let take_over = right.take_over();
    let relay = api.way_to(&session)?;
    if let Right::Ticket(claims) = right {
        api.spend(claims, &id, &attachment).await?;
    }
    let asked = WhepAction::Offer {
        attachment: attachment.clone(),
        sdp,
        role: ViewerRole::Player { take_over },
    };
    let sdp = expect_answer(relay.whep(&id, asked).await?)?;
    api.nearness.plays(&id, peer.0.ip());
    let path = format!("/v1/sessions/{id}/whep");
    let relays = api.ice_servers(id.as_str());
    Ok(attached(&path, &attachment, &relays, sdp))
}

/// What the endpoint takes. No CORS: pages of other origins do not attach.
#[utoipa::path(
    options, path = "/v1/sessions/{id}/whep", tag = "attachments",
    params(("id" = String, Path, description = "The session.")),
    responses((status = 204, description = "`Accept-Post: application/sdp`."))
)]
pub(super) async fn whep_options() -> impl IntoResponse {
    (
        StatusCode::NO_CONTENT,
        [(ACCEPT_POST, SDP), (header::ALLOW, "OPTIONS, POST")],
    )
}

/// Hands trickled candidates to the edge (RFC 8840).
#[utoipa::path(
    patch, path = "/v1/sessions/{id}/whep/{attachment}", tag = "attachments",
    security(("ticket" = []), ("api_key" = [])),
    params(("id" = String, Path, description = "The session."),
           ("attachment" = String, Path, description = "The attachment.")),
    request_body(content = String, content_type = "application/trickle-ice-sdpfrag"),
    responses(
        (status = 204, description = "The edge has them."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`ticket-invalid`, `not-found`, `node-unreachable`, …"),
    )
)]
pub(super) async fn patch_attachment(
    State(api): State<Arc<Api>>,
    AttachmentPath(id, attachment): AttachmentPath,
    request: Request,
) -> Result<StatusCode, Refusal> {
    let peer = Peer::of(request.extensions());
    let headers = request.headers().clone();
    check_type(&headers, FRAGMENT)?;
    let fragment = sdp_text(request).await?;
    let relay = api.attachment(&id, &attachment, &headers, peer).await?;
    let patch = WhepAction::Patch {
        attachment,
        fragment,
    };
    expect_done(relay.whep(&id, patch).await?)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends an attachment. The session is kept for its grace.
#[utoipa::path(
    delete, path = "/v1/sessions/{id}/whep/{attachment}", tag = "attachments",
    security(("ticket" = []), ("api_key" = [])),
    params(("id" = String, Path, description = "The session."),
           ("attachment" = String, Path, description = "The attachment.")),
    responses(
        (status = 200, description = "It is gone."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`ticket-invalid`, `not-found`, `node-unreachable`, …"),
    )
)]
pub(super) async fn end_attachment(
    State(api): State<Arc<Api>>,
    AttachmentPath(id, attachment): AttachmentPath,
    request: Request,
) -> Result<StatusCode, Refusal> {
    let peer = Peer::of(request.extensions());
    let headers = request.headers().clone();
    let relay = api.attachment(&id, &attachment, &headers, peer).await?;
    let delete = WhepAction::Delete { attachment };
    expect_done(relay.whep(&id, delete).await?)?;
    Ok(StatusCode::OK)
}

/// What allows a viewer's request.
enum Right {
    /// A ticket for the session, its time not checked.
    Ticket(TicketClaims),
    /// The API key of somebody who may change sessions within reach.
    Key(Box<Caller>),
}

impl Right {
    fn take_over(&self) -> bool {
        match self {
            Self::Ticket(claims) => claims.take_over,
            Self::Key(_) => false,
        }
    }
}

impl Api {
    /// What the headers allow, before anybody looks whether there is such a session: who may not know
    /// of it is answered the same whether it exists or not.
    async fn right_to(
        &self,
        id: &SessionId,
        headers: &HeaderMap,
        peer: Peer,
    ) -> Result<Right, Refusal> {
        let token = bearer(headers).ok_or_else(|| {
            unauthenticated("Send `Authorization: Bearer` with a ticket of the session.")
        })?;
        if token.starts_with(KEY_PREFIX) {
            let caller = self.key_owner(token, peer).await?;
            caller.check(Permission::ChangeSessions)?;
            return Ok(Right::Key(Box::new(caller)));
        }
        let claims = self.signer.verify_ticket(token, id);
        claims
            .map(Right::Ticket)
            .map_err(|error| ticket_invalid().caused_by(error))
    }

    /// The session that a right is to.
    async fn session_by(&self, right: &Right, id: &SessionId) -> Result<ShownSession, Refusal> {
        match right {
            Right::Ticket(claims) => match self.sessions.directory().session(id) {
                Some(session) => Ok(session),
                None => Err(self.why_gone(claims, id).await),
            },
            Right::Key(caller) => self.session_of(caller, Permission::ChangeSessions, id),
        }
    }

    /// What has become of a session for which we signed a ticket. Rows stay for longer than tickets
    /// hold: one that is not there was lost.
    async fn why_gone(&self, claims: &TicketClaims, id: &SessionId) -> Refusal {
        if claims.check_time(self.clock.unix_ms()).is_err() {
            return not_found("session");
        }
        match self.ledger.session(id.clone()).await {
            Ok(None) => session_lost(),
            Ok(Some(_)) => not_found("session"),
            Err(error) => store_failed(&error),
        }
    }

    /// The way to an attachment that the caller may use.
    async fn attachment(
        &self,
        id: &SessionId,
        attachment: &AttachmentId,
        headers: &HeaderMap,
        peer: Peer,
    ) -> Result<Relay, Refusal> {
        let right = self.right_to(id, headers, peer).await?;
        let session = self.session_by(&right, id).await?;
        if let Right::Ticket(claims) = right {
            let spent = self.ledger.spent_ticket(claims.jti).await;
            let spent = spent.map_err(|e| store_failed(&e))?;
            if spent.is_none_or(|on| on.attachment != *attachment) {
                return Err(ticket_invalid());
            }
        }
        self.way_to(&session)
    }

    /// Marks a ticket as used, durably, before anything is done with it.
    async fn spend(
        &self,
        claims: TicketClaims,
        session: &SessionId,
        attachment: &AttachmentId,
    ) -> Result<(), Refusal> {
        let spend = Op::SpendTicket {
            ticket: claims.jti,
            on: SpentTicket {
                session: session.clone(),
                attachment: attachment.clone(),
            },
            at: self.clock.now(),
        };
        let applied = self.ledger.write(vec![spend]).await;
        match applied.map_err(|e| store_failed(&e))?.first() {
            Some(Applied::Done) => Ok(()),
            Some(_) | None => Err(ticket_invalid()),
        }
    }
}
