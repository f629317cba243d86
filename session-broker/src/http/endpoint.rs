//! `POST /v1/sessions/{id}/endpoint`: where a job is reached, and the right to; and what the endpoint of
//! jobs asks of the API.

use super::Api;
use super::body::{JsonBody, SessionPath};
use super::caller::{Caller, RateKey};
use super::problem::{Refusal, bad_request, not_found, session_over, store_failed};
use super::serve::Peer;
use crate::access::Permission;
use crate::ledger::{Applied, BrokerId, Op, SpentTicket};
use crate::peers::{PeerClient, Way};
use crate::sessions::JobEndpoint;
use crate::tunnels::Place;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nearlight_kit::endpoint::site::Site;
use nearlight_protocol::api::{SessionKind, SessionState};
use nearlight_protocol::endpoint::scope::TicketScope;
use nearlight_protocol::endpoint::{CreateEndpoint, Endpoint, EndpointClaims};
use nearlight_protocol::grant::ISSUER;
use nearlight_protocol::id::{NodeId, SessionId};
use nearlight_protocol::limits::ENDPOINT_TICKET_S_MAX;
use nearlight_protocol::problem::Problem;
use nearlight_protocol::unit::UnixMillis;
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
    let session = api.session_of(&caller, Permission::CallJobs, &id)?;
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
    let scope = TicketScope::asked(body.methods, body.path);
    let scope = scope.map_err(|error| bad_request(format!("{error}.")))?;
    let now = api.clock.unix_ms();
    let claims = EndpointClaims {
        iss: ISSUER.to_owned(),
        aud: id.clone(),
        port,
        by: URL_SAFE_NO_PAD.encode(caller.who.hash),
        sub: caller.user,
        jti: ticket_id(),
        iat_ms: now,
        exp_ms: now + u64::from(for_s) * 1000,
        cookie_until_ms: None,
        node: None,
        scope,
    };
    let endpoint = api.addresses(site, claims, endpoint.place.as_ref());
    Ok((StatusCode::CREATED, Json(endpoint)))
}

fn ticket_id() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>())
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
        let names: Vec<_> = endpoint.ports.iter().map(|port| &port.name[..]).collect();
        return Err(bad_request(match names.is_empty() {
            true => "`port` names none of the job's ports.".to_owned(),
            false => format!(
                "`port` names none of the job's ports; it has {}.",
                names.join(", ")
            ),
        }));
    }
    let is_first = endpoint.ports.first().is_some_and(|port| port.name == name);
    Ok(if is_first { String::new() } else { name })
}

/// Another broker that holds a session.
#[derive(Debug)]
pub(crate) struct Elsewhere {
    pub(crate) name: BrokerId,
    pub(crate) way: Way,
    pub(crate) client: PeerClient,
}

impl Api {
    /// The addresses of a job for whoever has a ticket of these claims.
    fn addresses(&self, site: &Site, claims: EndpointClaims, place: Option<&Place>) -> Endpoint {
        let of = (&claims.aud, claims.port.as_str());
        let once = |node: Option<&NodeId>, until_ms: UnixMillis| {
            let within_ms = u64::from(self.ticket_s) * 1000;
            self.signer.endpoint_ticket(&EndpointClaims {
                jti: ticket_id(),
                exp_ms: claims.exp_ms.min(claims.iat_ms + within_ms),
                cookie_until_ms: Some(until_ms),
                node: node.cloned(),
                ..claims.clone()
            })
        };
        let path = claims.scope.path.as_str();
        let direct = place.and_then(|place| {
            let of_node = self.sessions.directory().direct_site(&place.node)?;
            // A node that says it is here would get what is meant for here; and no ticket goes out in the clear, but on
            // a machine where the broker's own do.
            let direct = Site::new(&of_node.domain, of_node.port, of_node.secure);
            let is_plain = direct.scheme() == "http" && site.scheme() != "http";
            (!site.overlaps(&direct) && !is_plain).then_some((direct, &place.node))
        });
        let until_ms = claims.direct_until_ms();
        let direct_open_url = direct
            .as_ref()
            .map(|(direct, node)| direct.url_once(of, path, &once(Some(node), until_ms)));
        Endpoint {
            url: site.url(of.0, of.1),
            open_url: site.url_once(of, path, &once(None, claims.exp_ms)),
            ticket: self.signer.endpoint_ticket(&claims),
            expires_at: claims.exp_ms,
            direct_url: direct.as_ref().map(|(direct, _)| direct.url(of.0, of.1)),
            direct_ticket: direct.as_ref().map(|(_, node)| {
                self.signer.endpoint_ticket(&EndpointClaims {
                    jti: ticket_id(),
                    exp_ms: until_ms,
                    node: Some((*node).clone()),
                    ..claims.clone()
                })
            }),
            direct_open_url,
            direct_expires_at: direct.is_some().then_some(until_ms),
        }
    }

    /// Whether the owner of an API key may talk to a session's job.
    pub(crate) async fn key_opens(
        &self,
        key: &str,
        endpoint: &JobEndpoint,
        peer: Peer,
    ) -> Result<bool, Refusal> {
        let caller = self.key_owner(key, peer).await?;
        caller.check(Permission::CallJobs)?;
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
        let way = region.peers.way(&name);
        Ok(way.map(|way| Elsewhere {
            name,
            way,
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
