//! `/v1/disputes`: contesting a receipt of a check. The dispute stands in the log, filed by this broker for whoever may;
//! nodes and checkers hand in their own, signed, at `/v1/receipts`.

use super::Api;
use super::body::JsonBody;
use super::caller::{Caller, RateKey};
use super::problem::{Refusal, bad_request, log_failed, not_found, receipt_refused, store_failed};
use super::serve::Peer;
use crate::access::Permission;
use crate::ledger::{CheckRow, DisputeBy};
use crate::receipts::{Entry, NotAdmitted};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{Extensions, StatusCode};
use nearlight_proof::encoding::hex;
use nearlight_proof::key::KeyId;
use nearlight_proof::log::tree::leaf;
use nearlight_proof::receipt::predicate::{Dispute as Claim, Predicate};
use nearlight_proof::receipt::statement::{
    Assurance, Countersign, EVIDENCE_MAX, Evidence, Head, Statement, Subject,
};
use nearlight_protocol::dispute::{CreateDispute, Dispute};
use nearlight_protocol::identity::AuditAction;
use nearlight_protocol::limits::API_BODY_BYTES_MAX;
use nearlight_protocol::plain::is_plain_text;
use nearlight_protocol::problem::Problem;
use std::sync::Arc;

/// The longest reason, bytes.
const REASON_BYTES_MAX: usize = 200;

/// Contests a receipt of a check. The evidence that it names is put beside the log afterwards; a referee executes it
/// again, and decides by the deadline.
#[utoipa::path(
    post, path = "/v1/disputes", tag = "log",
    security(("api_key" = [])),
    request_body = CreateDispute,
    responses(
        (status = 201, body = Dispute, description = "It stands in the log."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`not-found`: no receipt of a check that counts is there. `bad-request`: the time for disputes is \
                        over, … `forbidden`, `unauthenticated`, `log-unavailable`."),
    )
)]
pub(super) async fn create_dispute(
    State(api): State<Arc<Api>>,
    caller: Caller,
    JsonBody(wanted): JsonBody<CreateDispute>,
) -> Result<(StatusCode, Json<Dispute>), Refusal> {
    let (action, subject) = (AuditAction::DisputeCreate, wanted.receipt.to_string());
    let checked = api.check_noted(&caller, Permission::ChangeNodes, action, &subject);
    checked.await?;
    let log = api.log()?;
    let evidence = evidence_of(&wanted)?;
    let target = target(&api, wanted.receipt).await?;
    let now_s = api.clock.unix_ms() / 1000;
    let last_s = last_s(&api, &target);
    if now_s >= last_s {
        return Err(bad_request(
            "The time for disputes over this receipt is over.",
        ));
    }
    let statement = Statement {
        subject: Subject {
            name: "receipt".to_owned(),
            sha256: KeyId::from_hex(&target.leaf).ok_or_else(|| not_found("receipt"))?,
        },
        head: Head {
            issuer: log.speakers().0,
            issued_at_s: now_s,
            countersign: Countersign::None,
            assurance: Assurance::Timing,
            does_not_prove: Vec::new(),
            evidence,
        },
        predicate: Predicate::Dispute(Claim {
            claim: wanted.reason.clone(),
            deadline_s: last_s,
        }),
    };
    let (logged, leaf) = log.say(&statement, false).await.map_err(log_failed)?;
    api.note(caller.audit(&api, action, subject, logged.place.to_string()))
        .await?;
    let dispute = Dispute {
        index: logged.place,
        leaf,
        receipt: wanted.receipt,
        deadline_s: last_s,
        verdict: None,
    };
    Ok((StatusCode::CREATED, Json(dispute)))
}

/// A dispute, and the verdict that ended it.
#[utoipa::path(
    get, path = "/v1/disputes/{index}", tag = "log",
    params(("index" = u64, Path, description = "Its place in the log.")),
    responses(
        (status = 200, body = Dispute, description = "The dispute."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`not-found`, also for a moment after it was filed; `too-many-requests`."),
    )
)]
pub(super) async fn show_dispute(
    State(api): State<Arc<Api>>,
    extensions: Extensions,
    Path(index): Path<String>,
) -> Result<Json<Dispute>, Refusal> {
    api.within_rate(RateKey::of(Peer::of(&extensions)))?;
    let place: u64 = index.parse().map_err(|_| not_found("dispute"))?;
    let row = api.ledger.dispute(DisputeBy::Place(place)).await;
    let row = row.map_err(|e| store_failed(&e))?;
    let row = row.ok_or_else(|| not_found("dispute"))?;
    Ok(Json(Dispute {
        index: row.place,
        leaf: row.leaf,
        receipt: row.target,
        deadline_s: row.deadline_s,
        verdict: row.verdict,
    }))
}

/// Whether the log takes a dispute that somebody signed, so that what stands there is decided: over a check that counts, of
/// whom that concerns, in time, and once. What is no dispute, or stands there already, passes.
pub(super) async fn may_be_filed(api: &Api, entry: &Entry) -> Result<(), Refusal> {
    if !entry.is_dispute() {
        return Ok(());
    }
    let refused = |why: &str| Err(receipt_refused(&NotAdmitted::Form(why.to_owned())));
    let failed = |error| store_failed(&error);
    let known = DisputeBy::Leaf(entry.leaf().to_owned());
    if api.ledger.dispute(known).await.map_err(failed)?.is_some() {
        return Ok(());
    }
    let (issuer, target) = entry.said_of();
    let checked = api.ledger.checked(vec![target.to_owned()]).await;
    let Some(check) = checked.map_err(failed)?.pop() else {
        return refused(
            "no receipt of a check that counts has the leaf that it disputes; of one that was appended just now try again in a moment",
        );
    };
    if ![check.of.node.as_str(), check.checker.as_str()].contains(&issuer) {
        return refused(
            "a receipt is disputed by the node that it is about or by who issued it; others file at `POST /v1/disputes`",
        );
    }
    if api.clock.unix_ms() / 1000 >= last_s(api, &check) {
        return refused("the time for disputes over this receipt is over");
    }
    let again = api.ledger.has_disputed(issuer.to_owned(), check.place);
    match again.await.map_err(failed)? {
        true => refused("this key has disputed that receipt already"),
        false => Ok(()),
    }
}

/// Until when one can dispute a receipt, Unix seconds.
fn last_s(api: &Api, check: &CheckRow) -> u64 {
    let terms = api.verdicts.as_ref().map(|verdicts| verdicts.terms());
    terms.map_or(0, |terms| check.issued_at_s + terms.dispute_ms / 1000)
}

/// The receipt that is contested, if it is one of a check that counts.
async fn target(api: &Api, place: u64) -> Result<CheckRow, Refusal> {
    let bytes = api.log()?.entry(place).await.map_err(log_failed)?;
    let bytes = bytes.ok_or_else(|| not_found("receipt"))?;
    let known = api.ledger.checked(vec![hex(&leaf(&bytes))]).await;
    let known = known.map_err(|e| store_failed(&e))?.pop();
    known.ok_or_else(|| not_found("receipt"))
}

fn evidence_of(wanted: &CreateDispute) -> Result<Vec<Evidence>, Refusal> {
    if wanted.reason.is_empty() || !is_plain_text(&wanted.reason, REASON_BYTES_MAX) {
        return Err(bad_request(format!(
            "`reason` is plain text of 1 to {REASON_BYTES_MAX} bytes."
        )));
    }
    if wanted.evidence.len() > EVIDENCE_MAX {
        return Err(bad_request(format!(
            "`evidence` takes at most {EVIDENCE_MAX} pieces."
        )));
    }
    let piece = |named: &nearlight_protocol::dispute::EvidenceName| {
        let fits = (1..=API_BODY_BYTES_MAX as u64).contains(&named.bytes);
        let sha256 = KeyId::from_hex(&named.sha256).filter(|_| fits)?;
        Some(Evidence {
            sha256,
            bytes: named.bytes,
            kept_until_s: 0,
        })
    };
    let pieces: Option<Vec<Evidence>> = wanted.evidence.iter().map(piece).collect();
    pieces.ok_or_else(|| {
        bad_request("A piece of evidence has a `sha256` of 64 hex digits, and 1 to 65,536 `bytes`.")
    })
}
