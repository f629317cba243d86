//! `/v1/sessions/{id}/exec`: a command in a job. `POST` says which and gives a ticket, `GET` is the WebSocket.
//!
//! Two steps, for a browser's WebSocket can show no key and say no command: both would have to stand in its address, which
//! is logged. The ticket stands in a subprotocol. And whatever is wrong is an answer with words, where a WebSocket that is
//! refused tells a page nothing at all.
//!
//! **Invariants.** A ticket is used once, within [`TICKET_FOR`], at the broker that holds the session, for the very command that it was
//! made for. Cookies open nothing here, and neither does a page of another origin.

use super::super::Api;
use super::super::body::{JsonBody, SessionPath};
use super::super::caller::{Caller, RateKey};
use super::super::guard::is_own_origin;
use super::super::problem::{Refusal, bad_request, forbidden, ticket_invalid, too_many};
use super::super::serve::Peer;
use super::talk::{Talk, Told};
use super::{Of, noted, to_node};
use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::ext::Protocol;
use nearlight_kit::hop::{lists, upgrade_of};
use nearlight_protocol::id::SessionId;
use nearlight_protocol::identity::AuditAction;
use nearlight_protocol::inside::{CreateExec, CreatedExec, SUBPROTOCOL, TICKET_SUBPROTOCOL};
use nearlight_protocol::problem::Problem;
use nearlight_protocol::tunnel::{INSIDE_EXEC, UPGRADE};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// How long a ticket works.
const TICKET_FOR: Duration = Duration::from_secs(60);
/// Tickets that wait, of all callers and of one owner: a tenant makes as many keys as it likes.
const TICKETS_MAX: usize = 4096;
const TICKETS_OF_ONE_MAX: usize = 32;

/// Commands that were asked for, and not begun.
#[derive(Debug, Default)]
pub(super) struct Execs(Mutex<HashMap<String, Waiting>>);

#[derive(Clone, Debug)]
struct Waiting {
    session: SessionId,
    /// In whose container: of a cluster, one replica's session.
    inside: SessionId,
    caller: Caller,
    order: CreateExec,
    until: Instant,
}

impl Execs {
    /// A ticket; `None` if too many wait.
    fn give(&self, waiting: Waiting) -> Option<String> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        all.retain(|_, of| of.until > now);
        let owner = waiting.caller.owner();
        let of_one = all.values().filter(|of| of.caller.owner() == owner);
        if all.len() >= TICKETS_MAX || of_one.count() >= TICKETS_OF_ONE_MAX {
            return None;
        }
        let ticket = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
        all.insert(ticket.clone(), waiting);
        Some(ticket)
    }

    /// What a ticket is for. It is void afterwards.
    fn take(&self, ticket: &str, session: &SessionId) -> Option<Waiting> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_its = |of: &Waiting| of.session == *session && of.until > Instant::now();
        let found = all.get(ticket).is_some_and(is_its);
        found.then(|| all.remove(ticket)).flatten()
    }
}

/// A ticket for a command in a job. It runs once the WebSocket is open, as the job's own user, and ends with it: nothing that
/// it started stays.
#[utoipa::path(
    post, path = "/v1/sessions/{id}/exec", tag = "jobs",
    security(("api_key" = [])),
    params(("id" = String, Path, description = "The session."),
           ("replica" = Option<u32>, Query, description = "Of a cluster: in which replica, from 0; 0 otherwise.")),
    request_body = CreateExec,
    responses(
        (status = 201, body = CreatedExec, description = "The ticket, and where it is used."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`bad-request` for a command that is none or an app, `forbidden` without the scope `sessions:enter`, \
                        `job-not-ready`, `session-ended`, `not-found`, `too-many-requests`, …"),
    )
)]
pub(in super::super) async fn create_exec(
    State(api): State<Arc<Api>>,
    caller: Caller,
    SessionPath(id): SessionPath,
    of: Of,
    JsonBody(order): JsonBody<CreateExec>,
) -> Result<(StatusCode, Json<CreatedExec>), Refusal> {
    let entered = api.job_to_enter(&caller, AuditAction::SessionExec, &id);
    let inside = of.session_in(&entered.await?)?;
    if let Some(fault) = order.fault() {
        return Err(bad_request(fault));
    }
    api.place_inside(&inside)?;
    let expires_at = api.clock.unix_ms() + u64::try_from(TICKET_FOR.as_millis()).unwrap_or(0);
    let waiting = Waiting {
        session: id.clone(),
        inside,
        caller,
        order,
        until: Instant::now() + TICKET_FOR,
    };
    let ticket = api.inside.execs.give(waiting).ok_or_else(|| too_many(1))?;
    let created = CreatedExec {
        ticket,
        path: format!("/v1/sessions/{id}/exec"),
        protocol: SUBPROTOCOL.to_owned(),
        expires_at,
    };
    Ok((StatusCode::CREATED, Json(created)))
}

/// The WebSocket of a command: subprotocols `nearlight.exec.v1` and `nearlight.ticket.TICKET`. Messages are binary: a byte for the
/// kind, and its bytes. To the command 0 input, 1 end of input, 4 columns and rows (16 bits each, big-endian), 5 a signal's
/// number; from it 8 started, 2 output, 3 standard error, and last 6 its status (32 bits, big-endian) or 7 why there is none.
#[utoipa::path(
    get, path = "/v1/sessions/{id}/exec", tag = "jobs",
    params(("id" = String, Path, description = "The session."),
           ("sec-websocket-protocol" = String, Header,
            description = "`nearlight.exec.v1, nearlight.ticket.TICKET`; the ticket is used once.")),
    responses(
        (status = 101, description = "The protocol is WebSocket from here on."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`ticket-invalid`, `bad-request` for what is no WebSocket, `origin-refused`, `job-not-ready`, `too-many-requests` \
                        with 16 commands in the job, …"),
    )
)]
pub(in super::super) async fn attach_exec(
    State(api): State<Arc<Api>>,
    SessionPath(id): SessionPath,
    mut request: Request,
) -> Result<Response, Refusal> {
    let peer = Peer::of(request.extensions());
    let shaken = Shaken::of(request.headers())?;
    if !is_own_origin(request.headers()) {
        return Err(forbidden(
            "The request comes from a page of another origin.",
        ));
    }
    let Some(waiting) = api.inside.execs.take(&shaken.ticket, &id) else {
        // A guess costs its address.
        api.within_rate(RateKey::of(peer))?;
        return Err(ticket_invalid());
    };
    let Waiting {
        inside,
        caller,
        order,
        ..
    } = waiting;
    if !api.still_holds(&caller).await {
        return Err(ticket_invalid());
    }
    let place = api.place_inside(&inside)?;
    let mut onward = to_node(Method::CONNECT, "/", Body::empty())?;
    onward
        .extensions_mut()
        .insert(Protocol::from_static(UPGRADE));
    let (mut answer, busy) = api.ask_inside(&place, INSIDE_EXEC, onward).await?;
    // Nothing runs yet: the order comes on the stream.
    let words = serde_json::to_string(&order.command).unwrap_or_default();
    let terminal = if order.tty { "terminal " } else { "" };
    let detail = noted(&format!("{terminal}{words}"));
    api.note(caller.audit(&api, AuditAction::SessionExec, &id, detail))
        .await?;
    let talk = Talk {
        api: api.clone(),
        caller: caller.clone(),
        order,
        node: hyper::upgrade::on(&mut answer),
        browser: hyper::upgrade::on(&mut request),
    };
    let tasks = api.inside.tasks.clone();
    tasks.spawn(async move {
        let told = talk.run().await;
        drop(busy);
        let Told { status, into, out } = told;
        let status = status.map_or_else(|| "none".to_owned(), |status| status.to_string());
        let detail = format!("status {status}, {into} bytes in, {out} bytes out");
        let row = caller.audit(&api, AuditAction::SessionExecEnd, &id, detail);
        if api.note(row).await.is_err() {
            tracing::warn!(session_id = %id, "the end of a command is not in the audit log");
        }
    });
    Ok(shaken.into_response())
}

/// A WebSocket's handshake (RFC 6455), and the ticket in it.
#[derive(Debug)]
struct Shaken {
    accept: String,
    ticket: String,
}

impl Shaken {
    fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        let wrong = || {
            bad_request(
                "Open a WebSocket here, with the subprotocols `nearlight.exec.v1` and `nearlight.ticket.TICKET`. POST \
                 to this path gives the ticket.",
            )
        };
        let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let is_socket =
            upgrade_of(headers).is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"));
        let is_version = text(&header::SEC_WEBSOCKET_VERSION) == Some("13");
        if !is_socket
            || !is_version
            || !lists(headers, &header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL)
        {
            return Err(wrong());
        }
        let key = headers.get(header::SEC_WEBSOCKET_KEY).ok_or_else(wrong)?;
        let offers = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
        let mut offers = offers
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','));
        let ticket = offers.find_map(|offer| offer.trim().strip_prefix(TICKET_SUBPROTOCOL));
        Ok(Self {
            accept: derive_accept_key(key.as_bytes()),
            ticket: ticket.ok_or_else(wrong)?.to_owned(),
        })
    }
}

impl IntoResponse for Shaken {
    fn into_response(self) -> Response {
        let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        let protocol = HeaderValue::from_static(SUBPROTOCOL);
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
        if let Ok(accept) = HeaderValue::from_str(&self.accept) {
            headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        }
        response
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::ledger::{Credential, Membership};
    use nearlight_protocol::api::Role;
    use nearlight_protocol::id::TenantId;
    use nearlight_protocol::identity::Priority;

    fn waiting(tenant: Option<&TenantId>) -> Waiting {
        let user = nearlight_kit::ids::user();
        let of = |tenant: &TenantId| Membership {
            tenant: tenant.clone(),
            sessions_max: None,
            suspended: false,
            priority: Priority::Normal,
        };
        let who = Credential {
            tenant: tenant.map(of),
            ..Credential::plain([1; 32], user, "a key", Role::Player)
        };
        let session = nearlight_kit::ids::session();
        Waiting {
            inside: session.clone(),
            session,
            caller: Caller::new(Arc::new(who), Peer(([192, 0, 2, 1], 1).into())),
            order: serde_json::from_str(r#"{"command":["true"]}"#).unwrap(),
            until: Instant::now() + TICKET_FOR,
        }
    }

    #[tokio::test]
    async fn a_tenants_keys_have_its_tickets_together() {
        let execs = Execs::default();
        let tenant = nearlight_kit::ids::tenant();
        for _ in 0..TICKETS_OF_ONE_MAX {
            assert!(execs.give(waiting(Some(&tenant))).is_some());
        }
        assert!(
            execs.give(waiting(Some(&tenant))).is_none(),
            "another key of it"
        );
        let other = nearlight_kit::ids::tenant();
        assert!(execs.give(waiting(Some(&other))).is_some());
        assert!(execs.give(waiting(None)).is_some());
    }

    #[test]
    fn a_handshake_is_a_websockets_with_a_ticket() {
        let check = |lines: &[(&'static str, &str)], expected: Option<(&str, &str)>| {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(*name, value.parse().unwrap());
            }
            let found = Shaken::of(&headers).ok();
            let found = found
                .as_ref()
                .map(|of| (of.accept.as_str(), of.ticket.as_str()));
            assert_eq!(found, expected, "{lines:?}");
        };
        let socket = [
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        let with = |protocols| [&socket[..], &[("sec-websocket-protocol", protocols)]].concat();
        let accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
        let both = "nearlight.exec.v1, nearlight.ticket.abc";
        check(&with(both), Some((accept, "abc")));
        check(&with("nearlight.ticket.abc"), None);
        check(&with("nearlight.exec.v1"), None);
        check(&socket, None);
        check(&with(both)[1..], None);
        check(&with(both)[2..], None);
    }
}
