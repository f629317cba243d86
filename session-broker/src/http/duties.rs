//! What checkers are assigned and say of it, and the question whether a node is there.

use super::Api;
use super::body::{JsonBody, NodePath, asked};
use super::caller::Caller;
use super::checkers::shown;
use super::problem::{
    Refusal, bad_request, checks_failed, forbidden, not_found, report_refused, store_failed,
};
use crate::checks::{Meetings, SeenRound, is_probe};
use crate::ledger::{Applied, AssignmentQuery, AssignmentRow, CheckChange, CheckerRow, Op};
use axum::Json;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Method, StatusCode};
use nearlight_kit::problem::ProblemResponse;
use nearlight_proof::encoding::{array_from_hex, hex, sha256};
use nearlight_proof::key::KeyId;
use nearlight_proof::porc::alive::{ALIVE, Challenge};
use nearlight_proof::porc::schedule::{CPU, Due, Duty as DutyKind};
use nearlight_protocol::checker::{
    ASSIGNMENTS_WAIT_S_MAX, Alive, AskAlive, Assignment, CHECKER_PLAYS_HEADER, CheckerStanding,
    Duty, INSTANCE_HOLDS_S, MyAssignments, Outcome, Report, WHY_BYTES_MAX,
};
use nearlight_protocol::plain::is_plain_text;
use nearlight_protocol::problem::{Problem, ProblemType};
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How often who waits for assignments looks again: other brokers write them, too.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// For a node's answer that it is there.
pub(super) const ALIVE_WITHIN: Duration = Duration::from_secs(15);
/// Assignments of a checker's standing.
const STANDING_MAX: u32 = 200;
/// Which copies of a checker there are: names of their own making.
const INSTANCE_BYTES: std::ops::RangeInclusive<usize> = 16..=64;

/// Which copy of the checker asks, and what it knows.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Waiting {
    /// A name that this copy made up when it started, 16 to 64 characters: of two copies the second is refused.
    instance: String,
    /// `version` of the last answer: it is waited for another one.
    version: Option<String>,
    /// Seconds to wait, at most 30; 0 without it.
    wait_s: Option<u32>,
}

/// Which copy of the checker asks.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Instance {
    /// A name that this copy made up when it started.
    instance: String,
}

/// What is due for the checker that asks. Asking holds its key for 45 s: another copy of it is refused until then.
#[utoipa::path(
    get, path = "/v1/checkers/me/assignments", tag = "checkers",
    security(("checker" = [])),
    params(Waiting, ("nearlight-checker-plays" = Option<String>, Header,
        description = "Any value: the checker plays streams, and may be assigned some.")),
    responses(
        (status = 200, body = MyAssignments, description = "What is due now."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`forbidden`: no checker's certificate was shown, or another copy of the checker runs. `unauthenticated`, …"),
    )
)]
pub(super) async fn my_assignments(
    State(api): State<Arc<Api>>,
    caller: Caller,
    headers: HeaderMap,
    query: Result<Query<Waiting>, QueryRejection>,
) -> Result<Json<MyAssignments>, Refusal> {
    let checker = api.checker(&caller).await?;
    let query = asked(query)?;
    let plays = headers.contains_key(CHECKER_PLAYS_HEADER);
    let held = (INSTANCE_HOLDS_S, Some(plays));
    api.hold(&checker, &query.instance, held).await?;
    let wait_s = query.wait_s.unwrap_or(0).min(ASSIGNMENTS_WAIT_S_MAX);
    let until = Instant::now() + Duration::from_secs(wait_s.into());
    let checks = api.checks()?;
    let mut changed = checks.changed();
    loop {
        changed.mark_unchanged();
        let of = AssignmentQuery::Due {
            checker: checker.key_id.clone(),
            now_ms: api.clock.unix_ms(),
        };
        let rows = checks.assignments(of).await.map_err(|e| store_failed(&e))?;
        let version = version_of(&rows);
        let is_new = query.version.as_deref() != Some(version.as_str());
        if is_new || Instant::now() >= until || api.stop.is_cancelled() {
            let assignments = api.duties(rows).await?;
            let class = checks.class().to_owned();
            let beacons = checks.entries().await.map_err(checks_failed)?;
            return Ok(Json(MyAssignments {
                assignments,
                class,
                version,
                beacons,
            }));
        }
        let next = (Instant::now() + LOOK_EVERY).min(until);
        tokio::select! {
            _ = changed.changed() => {}
            () = tokio::time::sleep_until(next) => {}
            () = api.stop.cancelled() => {}
        }
    }
}

/// What came of an assignment.
#[utoipa::path(
    post, path = "/v1/checkers/me/reports", tag = "checkers",
    security(("checker" = [])), params(Instance),
    request_body = Report,
    responses(
        (status = 204, description = "It is settled. One that was missed goes to another checker."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`not-found`: no such assignment of this checker is due. `bad-request`: it does not say what it should. `forbidden`, …"),
    )
)]
pub(super) async fn report(
    State(api): State<Arc<Api>>,
    caller: Caller,
    query: Result<Query<Instance>, QueryRejection>,
    JsonBody(said): JsonBody<Report>,
) -> Result<StatusCode, Refusal> {
    let checker = api.checker(&caller).await?;
    let instance = asked(query)?.instance;
    if checker.instance != instance {
        return Err(another_copy());
    }
    if let Outcome::Missed { why } = &said.outcome
        && !is_plain_text(why, WHY_BYTES_MAX)
    {
        return Err(bad_request(format!(
            "`why` takes at most {WHY_BYTES_MAX} bytes without control characters."
        )));
    }
    let taken = api.checks()?.report(&checker, &said).await;
    if let Some(session) = taken.map_err(report_refused)? {
        api.end_given_up(session).await;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// The checker that asks, and its newest assignments.
#[utoipa::path(
    get, path = "/v1/checkers/me", tag = "checkers",
    security(("checker" = [])),
    responses(
        (status = 200, body = CheckerStanding, description = "The checker."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`forbidden`: no checker's certificate was shown. `unauthenticated`, …"),
    )
)]
pub(super) async fn my_standing(
    State(api): State<Arc<Api>>,
    caller: Caller,
) -> Result<Json<CheckerStanding>, Refusal> {
    let checker = api.checker(&caller).await?;
    let of = AssignmentQuery::Of {
        checker: checker.key_id.clone(),
        max: STANDING_MAX,
    };
    let rows = api.checks()?.assignments(of).await;
    let rows = rows.map_err(|e| store_failed(&e))?;
    Ok(Json(CheckerStanding {
        checker: shown(checker, api.clock.unix_ms()),
        assignments: rows.into_iter().map(shown_assignment).collect(),
    }))
}

/// This copy of the checker stops: another one may run at once.
#[utoipa::path(
    delete, path = "/v1/checkers/me/instance", tag = "checkers",
    security(("checker" = [])), params(Instance),
    responses(
        (status = 204, description = "The key is free."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`forbidden`, `unauthenticated`, …"),
    )
)]
pub(super) async fn end_instance(
    State(api): State<Arc<Api>>,
    caller: Caller,
    query: Result<Query<Instance>, QueryRejection>,
) -> Result<StatusCode, Refusal> {
    let checker = api.checker(&caller).await?;
    let instance = asked(query)?.instance;
    api.hold(&checker, &instance, (0, None)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Asks a node, for a checker, whether it is there. The broker carries the question and cannot answer it.
#[utoipa::path(
    post, path = "/v1/nodes/{node}/alive", tag = "checkers",
    security(("checker" = [])),
    params(("node" = String, Path, description = "The node.")),
    request_body = AskAlive,
    responses(
        (status = 200, body = Alive, description = "The node's signature over the question."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`forbidden`, `not-found`; `node-unreachable`: it does not answer; `internal` if another broker has the node and cannot be asked, …"),
    )
)]
pub(super) async fn ask_alive(
    State(api): State<Arc<Api>>,
    caller: Caller,
    NodePath(node): NodePath,
    JsonBody(wanted): JsonBody<AskAlive>,
) -> Result<Json<Alive>, Refusal> {
    let checker = api.checker(&caller).await?;
    if wanted.checker != checker.key_id {
        return Err(forbidden("`checker` is another one than who asks."));
    }
    let directory = api.sessions.directory();
    if !directory.knows(&node) {
        return Err(not_found("node"));
    }
    if directory.stream(&node).is_none() {
        return Err(super::prove::node_away(
            directory.node_holder(&node).is_some(),
        ));
    }
    let digits =
        || bad_request("`value`, `checker` and `nonce` are 64 lower-case hex digits each.");
    let challenge = Challenge {
        round: wanted.round,
        beacon: array_from_hex(&wanted.value).ok_or_else(digits)?,
        node: KeyId([0; 32]),
        checker: KeyId::from_hex(&wanted.checker).ok_or_else(digits)?,
        nonce: array_from_hex(&wanted.nonce).ok_or_else(digits)?,
    };
    let probes = api.inside.tunnels().probes();
    let place = probes.ask(&node, &caller.user, Instant::now());
    let place = place.ok_or_else(|| super::problem::too_many(1))?;
    let message = Bytes::copy_from_slice(&challenge.to_bytes());
    let answer = async {
        let sent = api
            .ask_prover(&place, (Method::POST, ALIVE), message)
            .await
            .map_err(super::prove::NoAnswer::silence)?;
        let body = to_bytes(Body::new(sent.0.into_body()), 64).await;
        body.map_err(|_| super::problem::node_unreachable())
    };
    let answer = tokio::time::timeout(ALIVE_WITHIN, answer).await;
    probes.close(&place.session);
    let answer = answer.map_err(|_| super::problem::node_unreachable())??;
    let signature = hex(&answer);
    Ok(Json(Alive { signature }))
}

impl Api {
    /// A copy of a checker runs for so long, 0 for not any more; and whether it plays streams.
    async fn hold(
        &self,
        checker: &CheckerRow,
        instance: &str,
        (hold_s, plays): (u32, Option<bool>),
    ) -> Result<(), Refusal> {
        let is_name = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        if !INSTANCE_BYTES.contains(&instance.len()) || !instance.bytes().all(is_name) {
            return Err(bad_request(
                "`instance` is 16 to 64 letters, digits and dashes.",
            ));
        }
        let now_ms = self.clock.unix_ms();
        let until_ms = match hold_s {
            0 => 0,
            hold_s => now_ms + u64::from(hold_s) * 1000,
        };
        let change = CheckChange::Hold {
            key_id: checker.key_id.clone(),
            instance: instance.to_owned(),
            until_ms,
            plays,
            now_ms,
        };
        let audit = None;
        match self.change(Op::Check { change, audit }).await? {
            Applied::Done => Ok(()),
            Applied::RaceLost => Err(another_copy()),
            _ => Err(forbidden("The checker was shut out.")),
        }
    }

    /// Assignments with what their checker needs.
    async fn duties(&self, rows: Vec<AssignmentRow>) -> Result<Vec<Duty>, Refusal> {
        let checks = self.checks()?;
        let mut rounds: HashMap<u64, SeenRound> = HashMap::new();
        let mut meetings: HashMap<u64, Meetings> = HashMap::new();
        let mut duties = Vec::new();
        for row in rows {
            if !rounds.contains_key(&row.round) {
                let seen = checks.round(row.round).await.map_err(checks_failed)?;
                rounds.extend(seen.map(|seen| (row.round, seen)));
            }
            let key = self.node_keys.of(&row.node);
            let key = key.filter(|key| key.key_id == row.node_key);
            let Some((seen, key)) = rounds.get(&row.round).zip(key) else {
                continue;
            };
            if is_probe(&row) && !meetings.contains_key(&row.round) {
                let met = checks.meetings(seen).await.map_err(checks_failed)?;
                meetings.insert(row.round, met);
            }
            let met = meetings.get(&row.round);
            let meets_unix_ms = met.and_then(|met| met.moment_ms(&row, &key.operator));
            let due = Due::of_name(&row.duty);
            let of_gpu = due.filter(|due| due.gpu != CPU);
            let class = of_gpu
                .as_ref()
                .and_then(|due| checks.class_of(&row.node, &due.gpu));
            // Of a GPU whose model this broker has not heard another one, which holds the node, says it.
            if of_gpu.is_some() && class.is_none() {
                continue;
            }
            let is_stream = row.duty == DutyKind::Stream.name();
            let app = checks.stream_app().filter(|_| is_stream);
            duties.push(Duty {
                class,
                app: app.map(str::to_owned),
                meets_unix_ms,
                value: hex(&seen.round.value),
                signature: seen.signature.map(|of| hex(&of)),
                checkers: seen.root.to_string(),
                node_key: key.key.clone(),
                assignment: shown_assignment(row),
            });
        }
        Ok(duties)
    }
}

pub(super) fn shown_assignment(row: AssignmentRow) -> Assignment {
    Assignment {
        round: row.round,
        duty: row.duty,
        node: row.node,
        node_key_id: row.node_key,
        checker: row.checker,
        place: row.place,
        due_unix_ms: row.due_ms,
        until_unix_ms: row.until_ms,
        state: row.state.name().to_owned(),
        why: row.why,
        leaf: row.leaf,
    }
}

/// Another one whenever another set is due.
fn version_of(rows: &[AssignmentRow]) -> String {
    let one = |row: &AssignmentRow| format!("{} {} {}\n", row.round, row.duty, row.node_key);
    let mut names: Vec<String> = rows.iter().map(one).collect();
    names.sort();
    hex(&sha256(&[names.concat().as_bytes()])[..8])
}

fn another_copy() -> Refusal {
    ProblemResponse::new(
        ProblemType::Forbidden,
        format!(
            "Another copy of this checker runs, or ran until a moment ago: a key is one checker's. Stop one of them; after \
             {INSTANCE_HOLDS_S} s the key is free."
        ),
    )
}
