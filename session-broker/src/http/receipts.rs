//! `/v1/receipts`, `/v1/evidence` and `/v1/directory`: handing receipts in, and finding them again.
//!
//! Whoever hands one in needs no key of the API: the signatures say whose it is.

use super::Api;
use super::body::{JsonBody, asked, bytes, check_type};
use super::caller::{Caller, RateKey};
use super::problem::{
    Refusal, bad_request, evidence_refused, log_failed, not_found, receipt_refused, store_failed,
    too_many,
};
use super::serve::Peer;
use crate::access::Permission;
use crate::ledger::{Applied, DirectoryKey, LogChange, ReceiptQuery, ReceiptRow};
use crate::receipts::{Entry, KEYS_MAX, role_name};
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{Extensions, StatusCode};
use axum::response::IntoResponse;
use nearlight_proof::encoding::{array_from_hex, hex};
use nearlight_proof::key::{KeyId, PublicKey};
use nearlight_proof::log::tile::ENTRY_BYTES_MAX;
use nearlight_proof::receipt::directory::Role;
use nearlight_protocol::id::NodeId;
use nearlight_protocol::identity::AuditAction;
use nearlight_protocol::limits::PAGE_ENTRIES_MAX;
use nearlight_protocol::plain::is_plain_text;
use nearlight_protocol::problem::Problem;
use nearlight_protocol::receipt::{
    Directory, KeyWindow, Placed, Receipt, ReceiptList, ReceiptSummary,
};
use serde::Deserialize;
use std::sync::Arc;

const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";

/// Appends a receipt to the log: an envelope (DSSE) of a kind of docs/receipts.md, signed by a key of the
/// directory. The same envelope has one place, however often it is sent.
#[utoipa::path(
    post, path = "/v1/receipts", tag = "log",
    request_body(content = String, content_type = "application/vnd.dsse.envelope.v1+json",
        description = "The envelope, at most 65,535 bytes."),
    responses(
        (status = 201, body = Placed, description = "It stands in the log for good."),
        (status = 200, body = Placed, description = "It stood there already; of a revocation of what is revoked, the entry that did so."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`receipt-refused`, `body-too-large`; `forbidden`: it revokes what is another one's; `log-unavailable`, also while the disk is almost full; `too-many-requests` with \
                        `Retry-After`: its issuer has used its share of the log up (docs/receipts.md)."),
    )
)]
pub(super) async fn append_receipt(
    State(api): State<Arc<Api>>,
    request: Request,
) -> Result<(StatusCode, Json<Placed>), Refusal> {
    let log = api.log()?;
    check_type(request.headers(), ENVELOPE)?;
    let key = RateKey::of(Peer::of(request.extensions()));
    let body = bytes(request, &()).await?;
    if body.len() > ENTRY_BYTES_MAX {
        return Err(super::body::too_large());
    }
    let keys = log.keys().await.map_err(log_failed)?;
    let now_s = api.clock.unix_ms() / 1000;
    let entry = Entry::admitted(body.to_vec(), &keys.directory, now_s).map_err(|error| {
        // A guess costs its address; what is signed by whom we know does not.
        match api.within_rate(key) {
            Ok(()) => receipt_refused(&error),
            Err(too_many) => too_many,
        }
    })?;
    super::disputes::may_be_filed(&api, &entry).await?;
    let revoked = super::revocations::may_be_entered(&api, &entry, &keys.directory).await?;
    if let Some(by) = revoked {
        return Ok((StatusCode::OK, Json(by)));
    }
    let leaf = entry.leaf().to_owned();
    let logged = log.append_given(entry, &keys.directory).await;
    let logged = logged.map_err(log_failed)?.map_err(too_many)?;
    let status = match logged.is_new {
        true => StatusCode::CREATED,
        false => StatusCode::OK,
    };
    let index = logged.place;
    Ok((status, Json(Placed { index, leaf })))
}

/// Which receipts to list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// Those about a node: its key id, 64 hex digits, or its own id, for the key that it has now.
    node: Option<String>,
    /// Those about anything: a key id, a session's commitment, or the leaf of a receipt that is revoked or
    /// disputed.
    about: Option<String>,
    /// The one with this leaf.
    leaf: Option<String>,
    /// Those before this place.
    before: Option<u64>,
    /// How many, at most 200.
    limit: Option<u32>,
}

/// Lists receipts, newest first.
#[utoipa::path(
    get, path = "/v1/receipts", tag = "log", params(ListQuery),
    responses(
        (status = 200, body = ReceiptList, description = "The receipts, without their envelopes."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`bad-request`, `not-found`: this broker keeps no log."),
    )
)]
pub(super) async fn list_receipts(
    State(api): State<Arc<Api>>,
    extensions: Extensions,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<ReceiptList>, Refusal> {
    api.log()?;
    api.within_rate_of(&extensions)?;
    let query = asked(query)?;
    let node = query.node.map(|node| api.key_of(node)).transpose()?;
    let about = node.or(query.about);
    for digits in [&about, &query.leaf].into_iter().flatten() {
        if array_from_hex::<32>(digits).is_none() {
            return Err(bad_request("Keys and leaves are 64 lower-case hex digits."));
        }
    }
    let page = PAGE_ENTRIES_MAX;
    let max = query.limit.unwrap_or(page).clamp(1, page);
    let of = ReceiptQuery {
        about,
        leaf: query.leaf,
        before: query.before,
        max,
    };
    let rows = api.ledger.receipts(of).await;
    let rows = rows.map_err(|e| store_failed(&e))?;
    let next = (rows.len() as u32 == max).then(|| rows.last().map(|row| row.place));
    Ok(Json(ReceiptList {
        next_before: next.flatten(),
        receipts: rows.into_iter().map(summary).collect(),
    }))
}

impl Api {
    /// A node's key id: itself, or that of the key that the node of this id has now.
    fn key_of(&self, node: String) -> Result<String, Refusal> {
        let Ok(id) = node.parse::<NodeId>() else {
            return Ok(node);
        };
        let known = self.node_keys.of(&id);
        known
            .map(|known| known.key_id.clone())
            .ok_or_else(|| not_found("node with a receipt key"))
    }
}

fn summary(row: ReceiptRow) -> ReceiptSummary {
    ReceiptSummary {
        index: row.place,
        leaf: row.leaf,
        kind: row.kind,
        issuer: row.issuer,
        about: row.about,
        issued_at_s: row.issued_at_s,
    }
}

/// One receipt with its proof: what a verifier takes, offline.
#[utoipa::path(
    get, path = "/v1/receipts/{index}", tag = "log",
    params(("index" = u64, Path, description = "Its place in the log.")),
    responses(
        (status = 200, body = Receipt, description = "The receipt. Its proof is made anew, under the newest checkpoint that has it."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`not-found`, `log-unavailable`."),
    )
)]
pub(super) async fn show_receipt(
    State(api): State<Arc<Api>>,
    extensions: Extensions,
    Path(index): Path<String>,
) -> Result<Json<Receipt>, Refusal> {
    let log = api.log()?;
    api.within_rate_of(&extensions)?;
    let place: u64 = index.parse().map_err(|_| not_found("receipt"))?;
    let shown = log.show(place).await.map_err(log_failed)?;
    let shown = shown.ok_or_else(|| not_found("receipt"))?;
    Ok(Json(Receipt {
        index: place,
        // Entries are JSON, which is text.
        envelope: String::from_utf8_lossy(&shown.envelope).into_owned(),
        proof: shown.proof,
    }))
}

/// Which receipt names a piece of evidence.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct NamedBy {
    /// Its leaf, 64 hex digits. Without it one of the newest receipts has to name the bytes.
    receipt: Option<String>,
}

/// Puts what a receipt rests on beside the log. A receipt that stands there has to name it.
#[utoipa::path(
    put, path = "/v1/evidence/{sha256}", tag = "log",
    params(("sha256" = String, Path, description = "SHA-256 of the bytes, 64 hex digits."), NamedBy),
    request_body(content = [u8], content_type = "application/octet-stream",
        description = "The bytes, at most 65,536 of them."),
    responses(
        (status = 204, description = "It is kept for as long as the receipt says, and 90 days at least."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`receipt-refused`: no receipt names these bytes. `body-too-large`, `evidence-expired`, …"),
    )
)]
pub(super) async fn put_evidence(
    State(api): State<Arc<Api>>,
    Path(sha256): Path<String>,
    query: Result<Query<NamedBy>, QueryRejection>,
    request: Request,
) -> Result<StatusCode, Refusal> {
    let log = api.log()?;
    let receipt = asked(query)?.receipt;
    api.within_rate_of(request.extensions())?;
    check_type(request.headers(), "application/octet-stream")?;
    let body = bytes(request, &()).await?;
    let put = log
        .put_evidence(&sha256, receipt.as_deref(), body.to_vec())
        .await;
    put.map_err(evidence_refused)?;
    Ok(StatusCode::NO_CONTENT)
}

/// What a receipt rests on.
#[utoipa::path(
    get, path = "/v1/evidence/{sha256}", tag = "log",
    params(("sha256" = String, Path, description = "SHA-256 of the bytes, as the receipt has it.")),
    responses(
        (status = 200, content_type = "application/octet-stream", body = [u8], description = "The bytes."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`not-found`; `evidence-expired`: it was there, for as long as the receipt said."),
    )
)]
pub(super) async fn get_evidence(
    State(api): State<Arc<Api>>,
    extensions: Extensions,
    Path(sha256): Path<String>,
) -> Result<impl IntoResponse, Refusal> {
    let log = api.log()?;
    api.within_rate_of(&extensions)?;
    let bytes = log.evidence(&sha256).await.map_err(evidence_refused)?;
    let headers = [
        (CONTENT_TYPE, "application/octet-stream"),
        (CACHE_CONTROL, "public, max-age=86400, immutable"),
    ];
    Ok((headers, bytes))
}

/// Whose keys are whose: the newest edition, signed, as it stands in the log; and the keys to believe it by,
/// for who believes this broker.
#[utoipa::path(
    get, path = "/v1/directory", tag = "log",
    responses(
        (status = 200, body = Directory, description = "The directory."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`not-found`: this broker keeps no log. `log-unavailable`."),
    )
)]
pub(super) async fn show_directory(
    State(api): State<Arc<Api>>,
    extensions: Extensions,
) -> Result<Json<Directory>, Refusal> {
    let log = api.log()?;
    api.within_rate_of(&extensions)?;
    let keys = log.keys().await.map_err(log_failed)?;
    let log_key = log.log_key().ok_or_else(super::problem::log_not_yet)?;
    let policy = log.policy().ok_or_else(super::problem::log_not_yet)?;
    Ok(Json(Directory {
        envelope: String::from_utf8_lossy(&keys.edition.to_bytes()).into_owned(),
        directory_key: hex(log.directory_key().as_bytes()),
        log_key: log_key.to_string(),
        policy,
    }))
}

/// Puts a key into the directory, or changes its window.
#[utoipa::path(
    put, path = "/v1/directory/keys/{key}", tag = "log",
    security(("api_key" = [])),
    params(("key" = String, Path, description = "The Ed25519 public key, 64 hex digits.")),
    request_body = KeyWindow,
    responses(
        (status = 204, description = "It counts from then on, and stands in the log's directory."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`bad-request`, `forbidden`, `unauthenticated`, `too-many-requests`, …"),
    )
)]
pub(super) async fn put_directory_key(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(key): Path<String>,
    JsonBody(window): JsonBody<KeyWindow>,
) -> Result<StatusCode, Refusal> {
    let action = AuditAction::DirectoryKeyPut;
    api.check_noted(&caller, Permission::ChangeNodes, action, &key)
        .await?;
    let log = api.log()?;
    let role = checked_key(&key, &window)?;
    let change = LogChange::PutKey {
        key: DirectoryKey {
            key: key.clone(),
            role: role_name(role),
            operator: window.operator.clone(),
            licence: window.licence.clone(),
            from_s: window.from_s,
            until_s: window.until_s,
            revoked_at_s: None,
        },
        most: KEYS_MAX,
        at_s: api.clock.unix_ms() / 1000,
    };
    let audit = Some(caller.audit(&api, action, &key, window.role));
    match log.change_keys(change, audit).await.map_err(log_failed)? {
        Applied::QuotaUsedUp => Err(bad_request(format!(
            "The directory has {KEYS_MAX} keys, which is all that it has room for."
        ))),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}

/// Says that a key does not count any more. What it signed before stays valid.
#[utoipa::path(
    delete, path = "/v1/directory/keys/{key}", tag = "log",
    security(("api_key" = [])),
    params(("key" = String, Path, description = "The Ed25519 public key, 64 hex digits.")),
    responses(
        (status = 204, description = "It does not count from now on. Once is enough."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`not-found`, `forbidden`, `unauthenticated`, …"),
    )
)]
pub(super) async fn revoke_directory_key(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(key): Path<String>,
) -> Result<StatusCode, Refusal> {
    let action = AuditAction::DirectoryKeyRevoke;
    api.check_noted(&caller, Permission::ChangeNodes, action, &key)
        .await?;
    let log = api.log()?;
    let change = LogChange::RevokeKey {
        key: key.clone(),
        at_s: api.clock.unix_ms() / 1000,
    };
    let audit = Some(caller.audit(&api, action, &key, ""));
    match log.change_keys(change, audit).await.map_err(log_failed)? {
        Applied::Missing => Err(not_found("key")),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}

/// Refuses what would make the directory unreadable. Its role.
fn checked_key(key: &str, window: &KeyWindow) -> Result<Role, Refusal> {
    if PublicKey::from_hex(key).is_none() {
        return Err(bad_request(
            "The key is no Ed25519 public key in 64 lower-case hex digits.",
        ));
    }
    let role: Option<Role> = serde_json::from_value(window.role.clone().into()).ok();
    let role = role.filter(|role| !matches!(role, Role::Log));
    let role = role.ok_or_else(|| {
        bad_request("`role` is one of witness, broker, checker, node and referee.")
    })?;
    let licence = window.licence.as_deref();
    if licence.is_some_and(|licence| KeyId::from_hex(licence).is_none()) {
        return Err(bad_request(
            "`licence` is a key id of 64 lower-case hex digits.",
        ));
    }
    if window.operator.is_empty() || !is_plain_text(&window.operator, 64) {
        return Err(bad_request("`operator` is plain text of 1 to 64 bytes."));
    }
    if window.from_s >= window.until_s || window.until_s > nearlight_proof::INTEGER_MAX {
        return Err(bad_request(
            "`from_s` is before `until_s`, in Unix seconds.",
        ));
    }
    Ok(role)
}
