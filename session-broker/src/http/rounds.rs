//! The rounds that assignments follow from: their values, and who was to check whom in one.

use super::Api;
use super::body::asked;
use super::checkers::{shown, shown_chain};
use super::duties::shown_assignment;
use super::problem::{Refusal, checks_failed, not_found, store_failed};
use crate::checks::{Drawing, SeenRound, SetKey};
use crate::ledger::{AssignmentQuery, AssignmentRow, AssignmentState, CheckerRow};
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::Extensions;
use nearlight_proof::encoding::hex;
use nearlight_proof::porc::schedule::Duty as DutyKind;
use nearlight_protocol::checker::{BeaconRound, Checker, ROUNDS_BEFORE_MAX, RoundAssignments};
use nearlight_protocol::problem::Problem;
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::Arc;

/// How many rounds before are told.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Before {
    /// Signatures of so many rounds before it, at most 4096; none if it is not given.
    before: Option<u64>,
}

/// A round: what nobody could know before it began, if drand says it.
#[utoipa::path(
    get, path = "/v1/beacon/{round}", tag = "checkers",
    params(("round" = u64, Path, description = "Which round, from 1."), Before),
    responses(
        (status = 200, body = BeaconRound,
         description = "Its value, which leads to the chain's anchor or is of drand's signature; or that it is void."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`not-found`: it has not begun, has no value yet, or there are no rounds. `too-many-requests`."),
    )
)]
pub(super) async fn beacon_round(
    State(api): State<Arc<Api>>,
    extensions: Extensions,
    Path(round): Path<String>,
    query: Result<Query<Before>, QueryRejection>,
) -> Result<Json<BeaconRound>, Refusal> {
    let checks = api.checks()?;
    api.within_rate_of(&extensions)?;
    let round: u64 = round.parse().map_err(|_| not_found("round"))?;
    let before = asked(query)?.before.unwrap_or(0).min(ROUNDS_BEFORE_MAX);
    let chain = checks.begun_chain().await.map_err(checks_failed)?;
    let table = checks.timetable().await.map_err(checks_failed)?;
    let (chain, table) = chain.zip(table).ok_or_else(|| not_found("round"))?;
    let drawing = checks.drawing(&table, round).await.map_err(checks_failed)?;
    let (value, signature, void) = match drawing {
        Some(Drawing::Drawn(value, signature)) => (hex(&value), signature, false),
        Some(Drawing::Void) => (String::new(), None, true),
        Some(Drawing::Waits) | None => return Err(not_found("round")),
    };
    let first = round.saturating_sub(before).max(1);
    let told = checks.signatures((first, round)).await;
    let mut told = told.map_err(|e| store_failed(&e))?;
    let before = (first..round).rev();
    let before = before.map(|round| told.remove(&round).unwrap_or_default());
    Ok(Json(BeaconRound {
        round,
        value,
        began_unix_ms: table.anchor().begins_ms(round),
        chain: shown_chain(chain),
        beacon: table.beacon(round).to_string(),
        drand_round: table.drand(round).map(|(_, of)| of),
        signature: signature.map(|of| hex(&of)),
        void,
        before: before.collect(),
    }))
}

/// Which round.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct OfRound {
    /// Its number.
    round: u64,
}

/// Who was to check whom in a round, and what came of it: with the round's value and the checkers of then anyone can
/// work out who should have been.
#[utoipa::path(
    get, path = "/v1/assignments", tag = "checkers", params(OfRound),
    responses(
        (status = 200, body = RoundAssignments, description = "The round."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`not-found`: it has not begun, or there are no rounds. `bad-request`, `too-many-requests`."),
    )
)]
pub(super) async fn list_assignments(
    State(api): State<Arc<Api>>,
    extensions: Extensions,
    query: Result<Query<OfRound>, QueryRejection>,
) -> Result<Json<RoundAssignments>, Refusal> {
    let checks = api.checks()?;
    api.within_rate_of(&extensions)?;
    let round = asked(query)?.round;
    let seen = checks.round(round).await.map_err(checks_failed)?;
    let seen = seen.ok_or_else(|| not_found("round"))?;
    let rows = checks.assignments(AssignmentQuery::Round(round)).await;
    let rows = rows.map_err(|e| store_failed(&e))?;
    let known = api.ledger.checkers().await.map_err(|e| store_failed(&e))?;
    let now_ms = api.clock.unix_ms();
    let committee = checks.committee();
    let takes = |duty: DutyKind| match (duty, checks.stream_app()) {
        (DutyKind::Stream, None) => 0,
        _ => u32::try_from(duty.checkers(committee)).unwrap_or(u32::MAX),
    };
    // Its node is not told before it is played.
    let is_told = |row: &AssignmentRow| {
        row.duty != DutyKind::Stream.name()
            || row.state != AssignmentState::Due
            || row.until_ms <= now_ms
    };
    let told = rows.into_iter().filter(is_told);
    Ok(Json(RoundAssignments {
        round,
        value: hex(&seen.round.value),
        signature: seen.signature.map(|of| hex(&of)),
        began_unix_ms: seen.began_ms,
        committees: DutyKind::ALL.map(takes).to_vec(),
        checkers_root: seen.root.to_string(),
        checkers: of_set(&seen, known, now_ms),
        assignments: told.map(shown_assignment).collect(),
    }))
}

/// The set of a round; whether each runs, and since when it plays, is of now.
fn of_set(seen: &SeenRound, known: Vec<CheckerRow>, now_ms: u64) -> Vec<Checker> {
    let known = known.into_iter().map(|row| shown(row, now_ms));
    let now: HashMap<String, (bool, Option<u64>)> = known
        .map(|of| (of.key_id, (of.running, of.plays_since_s)))
        .collect();
    let one = |of: &SetKey| {
        let key_id = of.id.to_string();
        let (running, plays_since_s) = now.get(&key_id).copied().unwrap_or_default();
        Checker {
            running,
            plays_since_s,
            key_id,
            key: of.key.key.clone(),
            operator: of.key.operator.clone(),
            licence: of.key.licence.clone(),
            joined_s: of.joined_s(),
            revoked_s: of.key.revoked_at_s,
        }
    };
    seen.checkers.iter().map(one).collect()
}
