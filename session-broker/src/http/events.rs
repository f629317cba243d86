//! `GET /v1/sessions/{id}/events`: the session as server-sent events.

use super::Api;
use super::body::SessionPath;
use super::caller::Caller;
use super::identities::FRESH;
use super::problem::Refusal;
use super::serve::Peer;
use super::session::as_seen_by;
use crate::access::Permission;
use crate::sessions::ShownSession;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Extensions, HeaderMap, Method};
use axum::response::sse::{Event, KeepAlive};
use axum::response::{IntoResponse, Response, Sse};
use futures_util::{StreamExt, stream};
use nearlight_protocol::problem::Problem;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Proxies close what is silent for 30 s or a minute.
const PING_EVERY: Duration = Duration::from_secs(15);

/// The session, at once and after every change, as events named `session`.
#[utoipa::path(
    get, path = "/v1/sessions/{id}/events", tag = "sessions",
    security(("api_key" = []), ("guest" = [])),
    params(("id" = String, Path, description = "The session.")),
    responses(
        (status = 200, content_type = "text/event-stream", body = String,
         description = "`event: session`, `data:` a Session as JSON. The stream ends when the \
                        broker stops or forgets the session, or the caller's credential is void."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`not-found`, `forbidden`, `unauthenticated`, `too-many-requests`."),
    )
)]
pub(super) async fn watch_session(
    State(api): State<Arc<Api>>,
    caller: Caller,
    SessionPath(id): SessionPath,
    headers: HeaderMap,
    extensions: Extensions,
) -> Result<Response, Refusal> {
    let session = api.session_of(&caller, Permission::SeeSessions, &id)?;
    let stop = api.stop.clone();
    let watched = Watched {
        api: api.clone(),
        caller,
        session,
        first: true,
        stop,
    };
    let ping = KeepAlive::new().interval(PING_EVERY).text("ping");
    let here = Sse::new(stream::unfold(watched, next)).keep_alive(ping);
    let here = here.into_response();
    if api.region.is_none() {
        return Ok(here);
    }
    // It may move to another broker; whoever watches it need not know.
    let (head, body) = here.into_parts();
    let from = Peer::of(&extensions);
    let elsewhere = async move {
        let path = format!("/v1/sessions/{id}/events");
        let answer = api
            .ask_holder(&id, (Method::GET, &path), &headers, from)
            .await;
        answer.unwrap_or_default().into_body().into_data_stream()
    };
    let body = body.into_data_stream();
    let body = body.chain(stream::once(elsewhere).flatten());
    Ok(Response::from_parts(head, Body::from_stream(body)))
}

struct Watched {
    api: Arc<Api>,
    caller: Caller,
    session: ShownSession,
    first: bool,
    stop: CancellationToken,
}

/// The next event; the newest view counts, those that a slow reader missed do not.
async fn next(mut watched: Watched) -> Option<(Result<Event, Infallible>, Watched)> {
    while !std::mem::take(&mut watched.first) {
        let due = tokio::select! {
            changed = watched.session.view.changed() => changed.map(|()| true).ok()?,
            () = tokio::time::sleep(FRESH) => false,
            () = watched.stop.cancelled() => return None,
        };
        // A key that was revoked sees no more, not even silence.
        if !watched.api.still_holds(&watched.caller).await {
            return None;
        }
        if due {
            break;
        }
    }
    watched.session.view.mark_unchanged();
    let view = as_seen_by(&watched.caller, &watched.session);
    let data = serde_json::to_string(&view).expect("a session is strings and numbers");
    let event = Event::default().event("session").data(data);
    Some((Ok(event), watched))
}
