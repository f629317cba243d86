//! `GET /v1/sessions/{id}/logs`: what a job's program wrote, as server-sent events.
//!
//! Events and not plain text, for a log is read for hours over connections that break: each line has an id, and whoever
//! comes back says the last one, which browsers do by themselves. They also keep standard error apart.

use super::super::Api;
use super::super::body::SessionPath;
use super::super::caller::Caller;
use super::super::problem::Refusal;
use super::{Of, check_job, to_node, while_it_holds};
use crate::access::Permission;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Method, Uri, header};
use axum::response::{IntoResponse, Response};
use nearlight_protocol::identity::AuditAction;
use nearlight_protocol::inside::LogLine;
use nearlight_protocol::problem::Problem;
use nearlight_protocol::tunnel::INSIDE_LOGS;
use std::sync::Arc;

/// Where a browser goes on reading.
const LAST_EVENT_ID: &str = "last-event-id";

/// A job's log, oldest line first; the newest 8 MiB are kept. For whoever may see the session.
#[utoipa::path(
    get, path = "/v1/sessions/{id}/logs", tag = "jobs",
    security(("api_key" = [])),
    params(("id" = String, Path, description = "The session."),
           ("replica" = Option<u32>, Query, description = "Of a cluster: which replica's, from 0; 0 otherwise."),
           ("follow" = Option<bool>, Query, description = "Whether to go on with what comes."),
           ("since" = Option<u32>, Query, description = "Only what is newer: seconds since the Unix epoch."),
           ("tail" = Option<u32>, Query, description = "Only the last so many lines."),
           ("after" = Option<String>, Query, description = "Only what comes after the line of this id."),
           ("last-event-id" = Option<String>, Header, description = "The same, as browsers say it.")),
    responses(
        (status = 200, content_type = "text/event-stream", body = LogLine,
         description = "`event: line` with a LogLine as JSON and its `id`; `event: gap` where lines were lost, for the \
                        log has a bound; `event: end` where no more comes. A stream without it broke off: ask again \
                        with the last id."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`job-not-ready`, `session-ended`, `bad-request` for an app, `not-found`, `node-unreachable`, …"),
    )
)]
pub(in super::super) async fn read_logs(
    State(api): State<Arc<Api>>,
    caller: Caller,
    SessionPath(id): SessionPath,
    of: Of,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let session = api.session_of(&caller, Permission::SeeSessions, &id)?;
    check_job(&session)?;
    let place = api.place_inside(&of.session_in(&session)?)?;
    let query = for_node(uri.query().unwrap_or_default());
    let mut request = to_node(Method::GET, &format!("/{query}"), Body::empty())?;
    if let Some(last) = headers.get(LAST_EVENT_ID) {
        request.headers_mut().insert(LAST_EVENT_ID, last.clone());
    }
    let (answer, busy) = api.ask_inside(&place, INSIDE_LOGS, request).await?;
    // Whoever says that they go on reading is noted, too: anybody can name a line that is the first.
    api.note(caller.audit(&api, AuditAction::SessionLogs, &id, ""))
        .await?;
    let lines = while_it_holds(api, caller, answer.into_body(), busy);
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, Body::from_stream(lines)).into_response())
}

/// The query without what is the broker's.
fn for_node(query: &str) -> String {
    let pairs = query.split('&');
    let pairs: Vec<_> = pairs
        .filter(|pair| !pair.is_empty() && pair.split('=').next() != Some("replica"))
        .collect();
    match pairs.is_empty() {
        true => String::new(),
        false => format!("?{}", pairs.join("&")),
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_node_is_not_asked_for_a_replica() {
        for (query, expected) in [
            ("", ""),
            ("replica=2", ""),
            ("follow=true&replica=2&tail=3", "?follow=true&tail=3"),
            ("tail=3", "?tail=3"),
        ] {
            assert_eq!(for_node(query), expected);
        }
    }
}
