//! `GET /v1/sessions/{id}/logs`: what a job's program wrote, as server-sent events.
//!
//! Events and not plain text, for a log is read for hours over connections that break: each line has an id, and whoever
//! comes back says the last one, which browsers do by themselves. They also keep standard error apart.

use super::super::Api;
use super::super::body::SessionPath;
use super::super::caller::Caller;
use super::super::problem::Refusal;
use super::{Cut, Of, check_job, to_node, while_it_holds};
use crate::access::Permission;
use crate::tunnels::Busy;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Method, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use nearlight_protocol::id::SessionId;
use nearlight_protocol::identity::AuditAction;
use nearlight_protocol::inside::LogLine;
use nearlight_protocol::problem::Problem;
use nearlight_protocol::tunnel::INSIDE_LOGS;
use std::sync::Arc;

/// Where a browser goes on reading.
const LAST_EVENT_ID: &str = "last-event-id";

/// A job's log, oldest line first; the newest 8 MiB are kept. For whoever may see the session. Of a job that is over its
/// last node keeps the log for some days: it is read the same way, also when the session is listed no more.
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
                        with the last id. At the end of the job it does so, and goes on in what is kept."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`job-not-ready`; `session-ended` where its log is not kept or not any more, and `node-unreachable` where \
                        the node that keeps it is away, each with how long it is kept; `bad-request` for an app, `not-found`, …"),
    )
)]
pub(in super::super) async fn read_logs(
    State(api): State<Arc<Api>>,
    caller: Caller,
    SessionPath(id): SessionPath,
    of: Of,
    request: Request,
) -> Result<Response, Refusal> {
    caller.check(Permission::SeeSessions)?;
    if !api.is_listed_alive(&id) {
        return read_ended(api, caller, (id, of), request).await;
    }
    let session = api.session_of(&caller, Permission::SeeSessions, &id)?;
    check_job(&session)?;
    let member = of.session_in(&session)?;
    if !api.is_listed_alive(&member) {
        // A replica that is done, of a cluster that goes on.
        return read_ended(api, caller, (id, of), request).await;
    }
    let place = api.place_to_read(&member)?;
    let asked = api.ask_inside(&place, INSIDE_LOGS, asked_of_node(&request)?);
    let answered = asked.await?;
    lines(api, caller, &id, answered).await
}

/// The log of a job that is over.
async fn read_ended(
    api: Arc<Api>,
    caller: Caller,
    (id, of): (SessionId, Of),
    request: Request,
) -> Result<Response, Refusal> {
    let ended = api.ended_job(&caller, &id, of).await?;
    if let Some(holder) = api.other_broker_of(&ended.place.node, &request) {
        let answered = api.logs_from_other(&holder, &id, request).await;
        return answered.map_err(|refusal| ended.explain(&api, refusal));
    }
    let asked = api.ask_inside(&ended.place, INSIDE_LOGS, asked_of_node(&request)?);
    let answered = asked
        .await
        .map_err(|refusal| ended.explain(&api, refusal))?;
    lines(api, caller, &id, answered).await
}

/// What the node is asked.
fn asked_of_node(request: &Request) -> Result<axum::http::Request<Body>, Refusal> {
    let query = for_node(request.uri().query().unwrap_or_default());
    let mut onward = to_node(Method::GET, &format!("/{query}"), Body::empty())?;
    if let Some(last) = request.headers().get(LAST_EVENT_ID) {
        onward.headers_mut().insert(LAST_EVENT_ID, last.clone());
    }
    Ok(onward)
}

/// The node's answer, as the caller gets it.
async fn lines(
    api: Arc<Api>,
    caller: Caller,
    id: &SessionId,
    (answer, busy): (axum::http::Response<Incoming>, Busy),
) -> Result<Response, Refusal> {
    // Whoever says that they go on reading is noted, too: anybody can name a line that is the first.
    api.note(caller.audit(&api, AuditAction::SessionLogs, id, ""))
        .await?;
    let lines = while_it_holds(api, caller, answer.into_body(), busy, Cut::Ends);
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
