//! `/v1/sessions/{id}/watch-links`: the owner lets others watch, and stops it again.

use super::Api;
use super::body::{JsonBody, SessionPath, WatchLinkPath};
use super::caller::Caller;
use super::problem::{Refusal, bad_request, not_found, session_over, store_failed};
use crate::access::Permission;
use crate::ledger::{Applied, Op, WatchLinkRow};
use crate::secret::credential_hash;
use crate::sessions::ShownSession;
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nearlight_kit::problem::ProblemResponse;
use nearlight_protocol::api::{
    CreateWatchLink, NewWatchLink, SessionKind, SessionState, WatchLinkList,
};
use nearlight_protocol::limits::{WATCH_LINK_S_MAX, WATCH_LINKS_MAX};
use nearlight_protocol::problem::{Problem, ProblemType};
use std::sync::Arc;

/// Makes a watch link: whoever has its address sees and hears the session, and can do nothing else.
#[utoipa::path(
    post, path = "/v1/sessions/{id}/watch-links", tag = "watching",
    security(("api_key" = []), ("guest" = [])),
    params(("id" = String, Path, description = "The session.")),
    request_body = CreateWatchLink,
    responses(
        (status = 201, body = NewWatchLink, description = "The link. Its address is told only now.",
         headers(("location" = String, description = "Its path, to revoke it."))),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`bad-request`, `quota-exceeded` (16 links hold), `session-ended`, \
                        `not-found`, `forbidden`, `too-many-requests`, …"),
    )
)]
pub(super) async fn create_watch_link(
    State(api): State<Arc<Api>>,
    caller: Caller,
    SessionPath(id): SessionPath,
    JsonBody(body): JsonBody<CreateWatchLink>,
) -> Result<Response, Refusal> {
    let session = api.session_of(&caller, Permission::ChangeSessions, &id)?;
    if !(1..=WATCH_LINK_S_MAX).contains(&body.expires_s) {
        return Err(bad_request(format!(
            "`expires_s` takes 1 to {WATCH_LINK_S_MAX} seconds."
        )));
    }
    refuse_over(&session)?;
    if session.view.borrow().kind == SessionKind::Job {
        return Err(bad_request("A job has no picture to watch."));
    }
    api.check_create_rate(&caller)?;
    let token = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
    let now_ms = api.clock.unix_ms();
    let link = WatchLinkRow {
        id: nearlight_kit::ids::watch_link(),
        hash: credential_hash(&token),
        session: id.clone(),
        created_ms: now_ms,
        expires_ms: now_ms + u64::from(body.expires_s) * 1000,
    };
    let add = Op::AddWatchLink {
        link: link.clone(),
        links_max: WATCH_LINKS_MAX,
    };
    let applied = api.ledger.write(vec![add]).await;
    if applied.map_err(|e| store_failed(&e))?.first() != Some(&Applied::Done) {
        return Err(ProblemResponse::new(
            ProblemType::QuotaExceeded,
            format!("{WATCH_LINKS_MAX} watch links of this session hold. Revoke one first."),
        ));
    }
    api.links.add(link.clone());
    // It may have ended while the link was written down.
    if let Err(over) = refuse_over(&session) {
        api.links.session_over(&id);
        return Err(over);
    }
    let location = format!("/v1/sessions/{id}/watch-links/{}", link.id);
    let created = NewWatchLink {
        id: link.id,
        url: format!("/watch/{token}"),
        expires_unix_ms: link.expires_ms,
    };
    Ok((
        StatusCode::CREATED,
        [(header::LOCATION, location)],
        Json(created),
    )
        .into_response())
}

fn refuse_over(session: &ShownSession) -> Result<(), Refusal> {
    match session.view.borrow().state {
        SessionState::Ending { .. } | SessionState::Ended { .. } => Err(session_over()),
        SessionState::Queued { .. }
        | SessionState::Placing
        | SessionState::Starting { .. }
        | SessionState::Ready
        | SessionState::Playing
        | SessionState::Detached => Ok(()),
    }
}

/// The session's watch links that hold, without their addresses.
#[utoipa::path(
    get, path = "/v1/sessions/{id}/watch-links", tag = "watching",
    security(("api_key" = []), ("guest" = [])),
    params(("id" = String, Path, description = "The session.")),
    responses(
        (status = 200, body = WatchLinkList, description = "The links."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`not-found`, `forbidden`, `unauthenticated`, `too-many-requests`."),
    )
)]
pub(super) async fn list_watch_links(
    State(api): State<Arc<Api>>,
    caller: Caller,
    SessionPath(id): SessionPath,
) -> Result<Json<WatchLinkList>, Refusal> {
    api.session_of(&caller, Permission::SeeSessions, &id)?;
    let links = api.links.list(&id, api.clock.unix_ms());
    Ok(Json(WatchLinkList { links }))
}

/// Revokes a watch link: whoever watches on it is let go at once. Once is enough.
#[utoipa::path(
    delete, path = "/v1/sessions/{id}/watch-links/{link}", tag = "watching",
    security(("api_key" = []), ("guest" = [])),
    params(("id" = String, Path, description = "The session."),
           ("link" = String, Path, description = "The link.")),
    responses(
        (status = 204, description = "Nobody watches on it any more."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`not-found`, `forbidden`, `unauthenticated`, `too-many-requests`."),
    )
)]
pub(super) async fn revoke_watch_link(
    State(api): State<Arc<Api>>,
    caller: Caller,
    WatchLinkPath(id, link): WatchLinkPath,
) -> Result<StatusCode, Refusal> {
    api.session_of(&caller, Permission::ChangeSessions, &id)?;
    let revoke = Op::RevokeWatchLink {
        session: id.clone(),
        link: link.clone(),
        at: api.clock.now(),
    };
    let applied = api.ledger.write(vec![revoke]).await;
    if matches!(&applied, Ok(applied) if applied.first() == Some(&Applied::Missing)) {
        return Err(not_found("watch link"));
    }
    // Also if the ledger failed: whether it is revoked there is not known, so nobody watches on it.
    let stream = api.sessions.directory().way_to(&id);
    api.links.end(&id, &link, stream.as_deref());
    applied.map_err(|e| store_failed(&e))?;
    Ok(StatusCode::NO_CONTENT)
}
