//! `POST /v1/sessions/{id}/tickets`: the right to attach once.

use super::Api;
use super::body::{JsonBody, SessionPath};
use super::caller::Caller;
use super::problem::{Refusal, bad_request, session_over};
use crate::access::Permission;
use crate::sessions::ShownSession;
use crate::tokens::TicketClaims;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nearlight_kit::problem::ProblemResponse;
use nearlight_protocol::api::{SessionKind, SessionState};
use nearlight_protocol::attach::{CreateTicket, IceServer, Ticket};
use nearlight_protocol::grant::ISSUER;
use nearlight_protocol::problem::{Problem, ProblemType};
use std::sync::Arc;

/// A ticket for one attachment, valid for a minute.
#[utoipa::path(
    post, path = "/v1/sessions/{id}/tickets", tag = "attachments",
    security(("api_key" = []), ("guest" = [])),
    params(("id" = String, Path, description = "The session.")),
    request_body = CreateTicket,
    responses(
        (status = 201, body = Ticket, description = "The ticket."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`attached-elsewhere` (ask with `take_over`), `session-not-ready`, \
                        `session-ended`, `not-found`, `forbidden`, …"),
    )
)]
pub(super) async fn create_ticket(
    State(api): State<Arc<Api>>,
    caller: Caller,
    SessionPath(id): SessionPath,
    headers: HeaderMap,
    JsonBody(body): JsonBody<CreateTicket>,
) -> Result<(StatusCode, Json<Ticket>), Refusal> {
    let session = api.session_of(&caller, Permission::ChangeSessions, &id)?;
    attachable(&session, body.take_over)?;
    api.note_sample_key(&id, &headers);
    let now = api.clock.unix_ms();
    let claims = TicketClaims {
        iss: ISSUER.to_owned(),
        aud: id.clone(),
        sub: caller.user,
        jti: URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>()),
        iat_ms: now,
        exp_ms: now + u64::from(api.ticket_s) * 1000,
        take_over: body.take_over,
    };
    let ticket = Ticket {
        ticket: api.signer.ticket(&claims),
        expires_at: claims.exp_ms,
        ice_servers: api.ice_servers(id.as_str()),
        whep_path: format!("/v1/sessions/{id}/whep"),
    };
    Ok((StatusCode::CREATED, Json(ticket)))
}

impl Api {
    /// The relays that a viewer may use, with a credential that shows `what` it was given for.
    pub(super) fn ice_servers(&self, what: &str) -> Vec<IceServer> {
        let now_ms = self.clock.unix_ms();
        let relays = self.relays.as_ref();
        relays.map_or_else(Vec::new, |relays| relays.servers(what, now_ms))
    }
}

/// Whether the session can be attached to now. The edge has the last word.
pub(super) fn attachable(session: &ShownSession, take_over: bool) -> Result<(), Refusal> {
    let view = session.view.borrow();
    if view.kind == SessionKind::Job {
        return Err(bad_request("A job has no picture to attach to."));
    }
    let refusal = match view.state {
        SessionState::Ready | SessionState::Detached => return Ok(()),
        SessionState::Playing if take_over => return Ok(()),
        SessionState::Playing => ProblemResponse::new(
            ProblemType::AttachedElsewhere,
            "Another attachment holds the session. Ask with `take_over` to end it.",
        ),
        SessionState::Queued { .. } | SessionState::Placing | SessionState::Starting { .. } => {
            ProblemResponse::new(
                ProblemType::SessionNotReady,
                "The session has no picture yet. Its events say when.",
            )
            .retry_after_s(1)
        }
        SessionState::Ending { .. } | SessionState::Ended { .. } => session_over(),
    };
    Err(refusal)
}
