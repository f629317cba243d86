//! `POST /v1/sessions/{id}/endpoint`: where a job is reached, and the right to; and what the endpoint of
//! jobs asks of the API.

use super::Api;
use super::body::{JsonBody, SessionPath};
use super::caller::{Caller, RateKey};
use super::problem::{Refusal, bad_request, not_found, session_over, store_failed};
use super::serve::Peer;
use crate::access::Permission;
use crate::ledger::{Applied, BrokerId, Op, SpentTicket};
use crate::peers::PeerClient;
use crate::sessions::JobEndpoint;
use crate::tokens::EndpointClaims;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nearlight_protocol::api::{SessionKind, SessionState};
use nearlight_protocol::endpoint::{CreateEndpoint, Endpoint};
use nearlight_protocol::grant::ISSUER;
use nearlight_protocol::id::SessionId;
use nearlight_protocol::limits::ENDPOINT_TICKET_S_MAX;
use nearlight_protocol::problem::Problem;
use std::sync::Arc;

/// How long a ticket works if its caller does not say.
const TICKET_S: u32 = 3600;
/// Longest name of a port, as a job's spec has it.
const PORT_BYTES_MAX: usize = 15;

/// The address of a job, and a ticket for it.
#[utoipa::path(
    post, path = "/v1/sessions/{id}/endpoint", tag = "jobs",
    security(("api_key" = []), ("guest" = [])),
    params(("id" = String, Path, description = "The session.")),
    request_body = CreateEndpoint,
    responses(
        (status = 201, body = Endpoint, description = "The address, and a ticket."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`session-ended`, `not-found`, `forbidden`, `bad-request`, …"),
    )
)]
pub(super) async fn create_endpoint(
    State(api): State<Arc<Api>>,
    caller: Caller,
    SessionPath(id): SessionPath,
    JsonBody(body): JsonBody<CreateEndpoint>,
) -> Result<(StatusCode, Json<Endpoint>), Refusal> {
    let session = api.session_of(&caller, Permission::ChangeSessions, &id)?;
    if session.view.borrow().kind == SessionKind::App {
        return Err(bad_request(
            "The session runs an app. Only jobs have an endpoint; an app is played with a ticket of \
             POST /v1/sessions/{id}/tickets.",
        ));
    }
    let endpoint = api
        .sessions
        .endpoint_of(&id)
        .ok_or_else(|| not_found("session"))?;
    if matches!(
        endpoint.state,
        SessionState::Ending { .. } | SessionState::Ended { .. }
    ) {
        return Err(session_over());
    }
    let site = api.jobs.as_ref().ok_or_else(|| {
        bad_request("This broker has no endpoint for jobs. Its operator sets `jobs.listen`.")
    })?;
    let port = port_of(&endpoint, body.port.unwrap_or_default())?;
    let for_s = body.expires_s.unwrap_or(TICKET_S);
    if !(1..=ENDPOINT_TICKET_S_MAX).contains(&for_s) {
        return Err(bad_request(format!(
            "`expires_s` must be 1 to {ENDPOINT_TICKET_S_MAX}."
        )));
    }
    let now = api.clock.unix_ms();
    let claims = EndpointClaims {
        iss: ISSUER.to_owned(),
        aud: id.clone(),
        port: port.clone(),
        sub: caller.user,
        jti: URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>()),
        iat_ms: now,
        exp_ms: now + u64::from(for_s) * 1000,
        cookie_until_ms: None,
    };
    let url = site.url(&id, &port);
    let once = EndpointClaims {
        jti: URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>()),
        exp_ms: now + u64::from(api.ticket_s.min(for_s)) * 1000,
        cookie_until_ms: Some(claims.exp_ms),
        ..claims.clone()
    };
    let endpoint = Endpoint {
        open_url: site.url_once(&id, &port, &api.signer.endpoint_ticket(&once)),
        ticket: api.signer.endpoint_ticket(&claims),
        expires_at: claims.exp_ms,
        url,
    };
    Ok((StatusCode::CREATED, Json(endpoint)))
}

/// The name of a port that callers may use; empty for the first.
fn port_of(endpoint: &JobEndpoint, name: String) -> Result<String, Refusal> {
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let is_name = name.len() <= PORT_BYTES_MAX
        && name.bytes().all(is_plain)
        && !name.starts_with('-')
        && !name.ends_with('-');
    let is_there = endpoint.ports.is_empty()
        || name.is_empty()
        || endpoint.ports.iter().any(|port| port.name == name);
    if !is_name || !is_there {
        return Err(bad_request("`port` names none of the job's ports."));
    }
    let is_first = endpoint.ports.first().is_some_and(|port| port.name == name);
    Ok(if is_first { String::new() } else { name })
}

/// Another broker that holds a session.
#[derive(Debug)]
pub(crate) struct Elsewhere {
    pub(crate) name: BrokerId,
    /// `HOST:PORT`.
    pub(crate) address: String,
    pub(crate) client: PeerClient,
}

impl Api {
    /// Whether the owner of an API key may talk to a session's job.
    pub(crate) async fn key_opens(
        &self,
        key: &str,
        endpoint: &JobEndpoint,
        peer: Peer,
    ) -> Result<bool, Refusal> {
        let caller = self.key_owner(key, peer).await?;
        caller.check(Permission::ChangeSessions)?;
        Ok(endpoint.is_of(caller.whose()))
    }

    /// Somebody showed nothing that opens anything; too often is refused.
    pub(crate) fn guessed(&self, peer: Peer) -> Result<(), Refusal> {
        self.within_rate(RateKey::of(peer))
    }

    /// Marks an address as used, durably, before its cookie is given; `false` if it was.
    pub(crate) async fn spend_address(&self, claims: &EndpointClaims) -> Result<bool, Refusal> {
        let spend = Op::SpendTicket {
            ticket: claims.jti.clone(),
            on: SpentTicket {
                session: claims.aud.clone(),
                attachment: nearlight_kit::ids::attachment(),
            },
            at: self.clock.now(),
        };
        let applied = self.ledger.write(vec![spend]).await;
        let applied = applied.map_err(|e| store_failed(&e))?;
        Ok(matches!(applied.first(), Some(Applied::Done)))
    }

    /// The other broker that holds a session; `None` if none does.
    pub(crate) async fn elsewhere(
        &self,
        session: &SessionId,
        peer: Peer,
    ) -> Result<Option<Elsewhere>, Refusal> {
        let Some(region) = &self.region else {
            self.guessed(peer)?;
            return Ok(None);
        };
        let Some(name) = self.session_holder(region, session, peer).await? else {
            return Ok(None);
        };
        let address = region.peers.address(&name);
        Ok(address.map(|address| Elsewhere {
            name,
            address,
            client: region.peers.client.clone(),
        }))
    }

    /// A session is not where it was.
    pub(crate) fn moved_on(&self, session: &SessionId) {
        if let Some(region) = &self.region {
            region.peers.forget(session);
        }
    }
}
