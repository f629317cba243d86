//! `/v1/revocations`: a receipt, or what a key signed, is void. The entry stands in the log, by this broker's key for whoever
//! may; checkers hand in their own, signed, at `/v1/receipts`.

use super::Api;
use super::body::JsonBody;
use super::caller::Caller;
use super::problem::{
    Refusal, bad_request, forbidden, log_failed, not_found, receipt_refused, store_failed,
};
use crate::access::Permission;
use crate::ledger::{CheckRow, ReceiptQuery, ReceiptRow};
use crate::receipts::{Entry, NotAdmitted};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use nearlight_proof::encoding::hex;
use nearlight_proof::key::KeyId;
use nearlight_proof::log::tree::leaf;
use nearlight_proof::receipt::directory::{Directory, Role};
use nearlight_proof::receipt::predicate::{Predicate, Revoke};
use nearlight_proof::receipt::statement::{Assurance, Countersign, Head, Statement, Subject};
use nearlight_protocol::identity::AuditAction;
use nearlight_protocol::limits::PAGE_ENTRIES_MAX;
use nearlight_protocol::plain::is_plain_text;
use nearlight_protocol::problem::Problem;
use nearlight_protocol::receipt::Placed;
use nearlight_protocol::revocation::{CreateRevocation, Revocation};
use std::sync::Arc;

/// The longest reason, bytes.
const REASON_BYTES_MAX: usize = 200;
/// The kind of entry that this is about.
const KIND: &str = "revoke/v1";

/// Says in the log that a receipt, or what a checker's key signed from some time on, is void. Checks that it is of weigh
/// nothing from then on. It cannot be undone.
#[utoipa::path(
    post, path = "/v1/revocations", tag = "log",
    security(("api_key" = [])),
    request_body = CreateRevocation,
    responses(
        (status = 201, body = Revocation, description = "It stands in the log."),
        (status = 200, body = Revocation, description = "The receipt was revoked already, by this entry."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`not-found`: no such receipt, or no checker's key. `receipt-refused`: it is none that one revokes. \
                        `bad-request`, `forbidden`, `unauthenticated`, `log-unavailable`."),
    )
)]
pub(super) async fn create_revocation(
    State(api): State<Arc<Api>>,
    caller: Caller,
    JsonBody(wanted): JsonBody<CreateRevocation>,
) -> Result<(StatusCode, Json<Revocation>), Refusal> {
    let action = AuditAction::ReceiptRevoke;
    let named = match (wanted.receipt, &wanted.key) {
        (Some(receipt), _) => receipt.to_string(),
        (None, key) => key.clone().unwrap_or_default(),
    };
    let checked = api.check_noted(&caller, Permission::ChangeCheckers, action, &named);
    checked.await?;
    let log = api.log()?;
    if wanted.reason.is_empty() || !is_plain_text(&wanted.reason, REASON_BYTES_MAX) {
        return Err(bad_request(format!(
            "`reason` is plain text of 1 to {REASON_BYTES_MAX} bytes."
        )));
    }
    let keys = log.keys().await.map_err(log_failed)?;
    let (subject, from_s) = match (wanted.receipt, &wanted.key, wanted.from_s) {
        (Some(place), None, None) => {
            let row = receipt_at(&api, place).await?;
            if let Some(by) = revoked_by(&api, &row, &keys.directory).await? {
                return Ok((StatusCode::OK, Json(shown(by, row.leaf))));
            }
            may_be_revoked(&row)?;
            (of_receipt(&row)?, 0)
        }
        (None, Some(key), Some(from_s)) => (of_key(key, &keys.directory)?, from_s),
        _ => {
            return Err(bad_request(
                "Name `receipt`, or `key` and `from_s`, and not both.",
            ));
        }
    };
    if from_s > nearlight_proof::INTEGER_MAX {
        return Err(bad_request("`from_s` is in Unix seconds."));
    }
    let void = subject.sha256.to_string();
    let statement = Statement {
        subject,
        head: Head {
            issuer: log.speakers().0,
            issued_at_s: api.clock.unix_ms() / 1000,
            countersign: Countersign::None,
            assurance: Assurance::Timing,
            does_not_prove: Vec::new(),
            evidence: Vec::new(),
        },
        predicate: Predicate::Revoke(Revoke {
            from_s,
            reason: wanted.reason,
        }),
    };
    let (logged, leaf) = log.say(&statement, false).await.map_err(log_failed)?;
    let index = logged.place;
    api.note(caller.audit(&api, action, named, index.to_string()))
        .await?;
    Ok((
        StatusCode::CREATED,
        Json(shown(Placed { index, leaf }, void)),
    ))
}

/// Whether the log takes a revocation that somebody signed: of what is its own, and once. What is none passes; of a receipt that
/// is revoked already the entry that did so.
pub(super) async fn may_be_entered(
    api: &Api,
    entry: &Entry,
    directory: &Directory,
) -> Result<Option<Placed>, Refusal> {
    if !entry.is_of_kind(KIND) {
        return Ok(None);
    }
    let (issuer, subject) = entry.said_of();
    let is_networks = is_networks(issuer, directory);
    if subject == issuer || (is_networks && of_key(subject, directory).is_ok()) {
        return Ok(None);
    }
    let Some(row) = receipt_of(api, subject).await? else {
        return match of_key(subject, directory) {
            Ok(_) => Err(forbidden(
                "What a key signed is revoked by that key itself, by a broker or by a referee.",
            )),
            Err(_) => Err(refused(
                "no receipt of this log has the leaf that it revokes, and no checker's key that id",
            )),
        };
    };
    if row.issuer != issuer && !is_networks {
        return Err(forbidden(
            "A receipt is revoked by who issued it, by a broker or by a referee.",
        ));
    }
    may_be_revoked(&row)?;
    if let Some(by) = revoked_by(api, &row, directory).await? {
        return Ok(Some(by));
    }
    if !is_networks && has_come_to_something(api, &row).await? {
        return Err(refused(
            "its round has come to something, which nobody takes back alone: ask the operator of the log, or dispute it",
        ));
    }
    Ok(None)
}

/// Whether a check has a seat in a round that is not open any more.
async fn has_come_to_something(api: &Api, row: &ReceiptRow) -> Result<bool, Refusal> {
    let Some(check) = check_of(api, row).await?.filter(|of| of.seat.is_some()) else {
        return Ok(false);
    };
    let round = api.ledger.round(check.of).await;
    let (verdict, _) = round.map_err(|error| store_failed(&error))?;
    Ok(verdict.is_some_and(|of| of.state != "open"))
}

/// What the ledger has of a receipt, if that is a check that counts.
async fn check_of(api: &Api, row: &ReceiptRow) -> Result<Option<CheckRow>, Refusal> {
    let found = api.ledger.checked(vec![row.leaf.clone()]).await;
    Ok(found.map_err(|error| store_failed(&error))?.pop())
}

/// What stands for itself: a check, a stream, a session.
fn may_be_revoked(row: &ReceiptRow) -> Result<(), Refusal> {
    match row.kind.as_str() {
        "porc/v1" | "porw/v1" | "session/v1" => Ok(()),
        "verdict/v1" => Err(refused(
            "a verdict is not revoked: revoke the receipts that it rests on, or dispute them",
        )),
        KIND => Err(refused(
            "a revocation is not revoked: what it is of is void for good",
        )),
        "dispute/v1" => Err(refused("a dispute is not revoked: a verdict ends it")),
        kind => Err(refused(&format!("an entry of kind {kind} is no receipt"))),
    }
}

fn refused(why: &str) -> Refusal {
    receipt_refused(&NotAdmitted::Form(why.to_owned()))
}

/// Whether a key is one of those that may revoke anything.
fn is_networks(issuer: &str, directory: &Directory) -> bool {
    let has = |key: KeyId, role| directory.find(&key, role).is_some();
    let key = KeyId::from_hex(issuer);
    key.is_some_and(|key| has(key, Role::Broker) || has(key, Role::Referee))
}

/// The entry that revokes a receipt, if one does: of a check that counts the one that did so, for others are of no effect.
async fn revoked_by(
    api: &Api,
    receipt: &ReceiptRow,
    directory: &Directory,
) -> Result<Option<Placed>, Refusal> {
    if let Some(check) = check_of(api, receipt).await? {
        let Some(place) = check.revoked else {
            return Ok(None);
        };
        let bytes = api.log()?.entry(place).await.map_err(log_failed)?;
        let leaf = bytes.map(|bytes| hex(&leaf(&bytes)));
        return Ok(leaf.map(|leaf| Placed { index: place, leaf }));
    }
    let about = ReceiptQuery {
        about: Some(receipt.leaf.clone()),
        leaf: None,
        before: None,
        max: PAGE_ENTRIES_MAX,
    };
    let rows = api.ledger.receipts(about).await;
    let rows = rows.map_err(|error| store_failed(&error))?.into_iter();
    let mut revocations = rows.filter(|row| row.kind == KIND);
    let by =
        revocations.find(|row| row.issuer == receipt.issuer || is_networks(&row.issuer, directory));
    Ok(by.map(|row| Placed {
        index: row.place,
        leaf: row.leaf,
    }))
}

/// The entry with this leaf.
async fn receipt_of(api: &Api, leaf: &str) -> Result<Option<ReceiptRow>, Refusal> {
    let of = ReceiptQuery {
        about: None,
        leaf: Some(leaf.to_owned()),
        before: None,
        max: 1,
    };
    let rows = api.ledger.receipts(of).await;
    Ok(rows.map_err(|error| store_failed(&error))?.pop())
}

async fn receipt_at(api: &Api, place: u64) -> Result<ReceiptRow, Refusal> {
    let bytes = api.log()?.entry(place).await.map_err(log_failed)?;
    let bytes = bytes.ok_or_else(|| not_found("receipt"))?;
    let row = receipt_of(api, &hex(&leaf(&bytes))).await?;
    row.ok_or_else(|| not_found("receipt"))
}

fn shown(by: Placed, subject: String) -> Revocation {
    Revocation {
        index: by.index,
        leaf: by.leaf,
        subject,
    }
}

/// A receipt that is to be void.
fn of_receipt(row: &ReceiptRow) -> Result<Subject, Refusal> {
    Ok(Subject {
        name: "receipt".to_owned(),
        sha256: KeyId::from_hex(&row.leaf).ok_or_else(|| not_found("receipt"))?,
    })
}

/// A checker's key that is to be void.
fn of_key(id: &str, directory: &Directory) -> Result<Subject, Refusal> {
    let known = KeyId::from_hex(id);
    let known = known.filter(|key| directory.find(key, Role::Checker).is_some());
    Ok(Subject {
        name: "key".to_owned(),
        sha256: known.ok_or_else(|| not_found("checker's key"))?,
    })
}
