//! `/v1/sessions/{id}/quality` and `/receipt`: what a player's program measured, and what came of it.

use super::Api;
use super::body::{JsonBody, SessionPath};
use super::caller::Caller;
use super::problem::{Refusal, bad_request, not_found, store_failed};
use crate::access::Permission;
use crate::ledger::SessionReceiptRow;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use nearlight_kit::problem::ProblemResponse;
use nearlight_proof::receipt::quality::Quality;
use nearlight_protocol::id::SessionId;
use nearlight_protocol::problem::{Problem, ProblemType};
use nearlight_protocol::quality::{PlayerSaid, SAMPLE_KEY_HEADER, SessionReceipt};
use std::sync::Arc;

/// What a player's program has measured so far. Each replaces the one before of the same key; the last one before
/// the receipt is made counts.
#[utoipa::path(
    post, path = "/v1/sessions/{id}/quality", tag = "sessions",
    security(("api_key" = []), ("guest" = [])),
    params(("id" = String, Path, description = "The session.")),
    request_body = PlayerSaid,
    responses(
        (status = 204, description = "It is noted; or this broker keeps no log, and nothing is."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`bad-request` for a sample or signature that is none, or one too late; `not-found`, `forbidden`, …"),
    )
)]
pub(super) async fn put_sample(
    State(api): State<Arc<Api>>,
    caller: Caller,
    SessionPath(id): SessionPath,
    JsonBody(said): JsonBody<PlayerSaid>,
) -> Result<StatusCode, Refusal> {
    api.session_of(&caller, Permission::ChangeSessions, &id)?;
    if let Some(quality) = Quality::read(&said.sample) {
        api.nearness.player_took(&id, quality.rtt_us[0]);
    }
    if let Some(Err(error)) = api.desk.player_said(&id, said) {
        return Err(bad_request(format!("{error}.")));
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Where the receipt of a session is. It is made within a minute of the end of a session that was played.
#[utoipa::path(
    get, path = "/v1/sessions/{id}/receipt", tag = "sessions",
    security(("api_key" = []), ("guest" = [])),
    params(("id" = String, Path, description = "The session.")),
    responses(
        (status = 200, body = SessionReceipt, description = "It stands in the log."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`not-found` while there is none, with why; `forbidden`, `unauthenticated`, …"),
    )
)]
pub(super) async fn show_session_receipt(
    State(api): State<Arc<Api>>,
    caller: Caller,
    SessionPath(id): SessionPath,
) -> Result<Json<SessionReceipt>, Refusal> {
    caller.check(Permission::SeeSessions)?;
    let rows = api.ledger.session_receipts(vec![id.clone()]).await;
    let rows = rows.map_err(|error| store_failed(&error))?;
    let row = rows.into_iter().next();
    // What is another's is answered like what is not there.
    let is_theirs = |row: &SessionReceiptRow| caller.whose().takes(&row.user, row.tenant.as_ref());
    match row {
        Some(row) if is_theirs(&row) => {
            // Sessions that are over are remembered for an hour.
            let session = api.sessions.directory().session(&id);
            let node = session.and_then(|session| session.view.borrow().node.clone());
            let node_rank = match node {
                Some(node) => Some(api.node_rank(&node).await?),
                None => None,
            };
            Ok(Json(SessionReceipt {
                index: row.place,
                leaf: row.leaf,
                salt: row.salt,
                agreement: row.agreement,
                node_rank,
            }))
        }
        Some(_) => Err(not_found("session")),
        None => {
            api.knows_of(&caller, &id).await?;
            Err(none_yet())
        }
    }
}

impl Api {
    /// Whether there is such a session for this caller.
    async fn knows_of(&self, caller: &Caller, id: &SessionId) -> Result<(), Refusal> {
        if self.sessions.directory().session(id).is_none() {
            return self.over(caller, id).await.map(drop);
        }
        let session = self.session_of(caller, Permission::SeeSessions, id);
        session.map(drop)
    }

    /// The key of the page that asks for a ticket, if it made one.
    pub(super) fn note_sample_key(&self, session: &SessionId, headers: &HeaderMap) {
        let key = headers.get(SAMPLE_KEY_HEADER);
        if let Some(key) = key.and_then(|key| key.to_str().ok()) {
            self.desk.key_came(session, key);
        }
    }
}

fn none_yet() -> Refusal {
    ProblemResponse::new(
        ProblemType::NotFound,
        "The session has no receipt yet. It is made within a minute of the session's end, if somebody played it, its \
         node measures, and this broker keeps a log.",
    )
}
