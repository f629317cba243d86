//! `/v1/checkers`, `/v1/checker-tokens` and `/v1/licences`: who is a checker, and how one becomes it.
//!
//! A checker proves with a signature that it has its key, and gets a certificate of the network's CA for another one,
//! with which it does all else on the node listener ([`super::certified`]). Behind the certificate is an account that has
//! no secret: an API key that may probe nodes and nothing else, and which nobody can show.
//! Its key comes into the directory with who runs it; that a licence's owner delegated to it, they signed.

use super::Api;
use super::body::JsonBody;
use super::caller::{Caller, RateKey};
use super::problem::{Refusal, bad_request, checks_failed, enrol_refused, not_found, store_failed};
use super::serve::Peer;
use crate::access::Permission;
use crate::checks::{Chain, Checks};
use crate::enrol::EnrolError;
use crate::ledger::{
    Applied, AuditRow, CheckChange, CheckerJoins, CheckerRow, CheckerTokenRow, KeyRow, LicenceRow,
    Op, Secret,
};
use crate::receipts::{FAR_S, KEYS_MAX};
use crate::secret;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{Extensions, StatusCode};
use nearlight_kit::pki::{CheckerName, SigningRequest};
use nearlight_kit::problem::ProblemResponse;
use nearlight_proof::encoding::{array_from_hex, hex};
use nearlight_proof::key::{KeyId, PublicKey};
use nearlight_proof::membership::{Delegation, join};
use nearlight_proof::porc::committee::EARLY_S;
use nearlight_protocol::api::Role;
use nearlight_protocol::checker::{
    AdmitChecker, CHECKER_TOKEN_PREFIX, Checker, CheckerList, GiveLicence, JoinChecker,
    JoinedChecker, Licence, LicenceList, NewCheckerToken,
};
use nearlight_protocol::identity::{AuditAction, AuditOutcome, Scope};
use nearlight_protocol::limits::{JOIN_TOKEN_S_MAX, OPERATOR_BYTES_MAX};
use nearlight_protocol::plain::is_plain_text;
use nearlight_protocol::problem::{Problem, ProblemType};
use std::sync::Arc;

/// How long a token works unless its maker says otherwise, seconds.
const TOKEN_S: u32 = 15 * 60;

/// Makes a token with which a checker comes in, once.
#[utoipa::path(
    post, path = "/v1/checker-tokens", tag = "checkers",
    security(("api_key" = [])),
    request_body = AdmitChecker,
    responses(
        (status = 201, body = NewCheckerToken, description = "The token. It is told only now."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`bad-request`, `forbidden`, `not-found` for an unknown licence, `unauthenticated`, …"),
    )
)]
pub(super) async fn create_checker_token(
    State(api): State<Arc<Api>>,
    caller: Caller,
    JsonBody(wanted): JsonBody<AdmitChecker>,
) -> Result<(StatusCode, Json<NewCheckerToken>), Refusal> {
    let action = AuditAction::CheckerAdmit;
    let checked = api.check_noted(
        &caller,
        Permission::ChangeCheckers,
        action,
        &wanted.operator,
    );
    checked.await?;
    api.checks()?;
    let operator = checked_name("operator", &wanted.operator)?;
    let expires_s = wanted.expires_s.unwrap_or(TOKEN_S);
    if !(1..=JOIN_TOKEN_S_MAX).contains(&expires_s) {
        return Err(bad_request(format!(
            "`expires_s` takes 1 to {JOIN_TOKEN_S_MAX} seconds."
        )));
    }
    if let Some(licence) = &wanted.licence {
        let known = api.ledger.licences().await.map_err(|e| store_failed(&e))?;
        let holds = |of: &LicenceRow| of.key_id == *licence && of.revoked_ms.is_none();
        if !known.iter().any(holds) {
            return Err(not_found("licence"));
        }
    }
    let token = format!("{CHECKER_TOKEN_PREFIX}{}", hex(&rand::random::<[u8; 32]>()));
    let now_ms = api.clock.unix_ms();
    let expires_ms = now_ms + u64::from(expires_s) * 1000;
    let change = CheckChange::AddToken(CheckerTokenRow {
        hash: secret::credential_hash(&token),
        operator: operator.clone(),
        licence: wanted.licence,
        created_ms: now_ms,
        expires_ms,
        used_by: None,
    });
    let audit = caller.audit(&api, action, &operator, "");
    api.change(check(change, audit)).await?;
    let made = NewCheckerToken {
        token,
        expires_unix_ms: expires_ms,
    };
    Ok((StatusCode::CREATED, Json(made)))
}

/// A checker comes in. The token and the signature are its right; the same key with the same token is the same
/// checker, and gets a new certificate, by which the former one is void.
#[utoipa::path(
    post, path = "/v1/checkers", tag = "checkers",
    request_body = JoinChecker,
    responses(
        (status = 201, body = JoinedChecker, description = "It is a checker, and its key stands in the directory."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`join-token-invalid`, `name-taken`: the key is another's, or was shut out; `bad-request`, …"),
    )
)]
pub(super) async fn join_checker(
    State(api): State<Arc<Api>>,
    extensions: Extensions,
    JsonBody(asked): JsonBody<JoinChecker>,
) -> Result<(StatusCode, Json<JoinedChecker>), Refusal> {
    let peer = Peer::of(&extensions);
    api.within_rate(RateKey::of(peer))?;
    let checks = api.checks()?;
    let key = proved(&asked)?;
    let request = SigningRequest::parse(&asked.request);
    let request = request.map_err(|error| enrol_refused(error.into()))?;
    if !api.registrar.has_address() {
        return Err(enrol_refused(EnrolError::NoAddress));
    }
    let token = secret::credential_hash(&asked.token);
    let known = api.ledger.checker_token(token).await;
    let known = known.map_err(|e| store_failed(&e))?.ok_or_else(void)?;
    let now_ms = api.clock.unix_ms();
    let until_s = delegated(&known, &asked, &key, now_ms / 1000)?;
    let chain = checks.chain().await.map_err(checks_failed)?;
    let key_id = key.id().to_string();
    let account = account(&key_id, now_ms);
    let name = CheckerName::new(&key_id, account.id.clone()).ok_or_else(no_key)?;
    let joins = CheckerJoins {
        token,
        key: asked.key.clone(),
        key_id: key_id.clone(),
        until_s,
        early_s: EARLY_S,
        most: KEYS_MAX,
        secret: Secret {
            hash: secret::certified_hash(&account.id),
            prefix: String::new(),
        },
        api_key: account,
        at_ms: now_ms,
    };
    let audit = Box::new(AuditRow {
        at_ms: now_ms,
        request: nearlight_kit::problem::current_request().to_string(),
        user: None,
        role: None,
        key: None,
        tenant: None,
        address: Some(peer.0.ip().to_string()),
        action: AuditAction::CheckerJoin,
        subject: key_id.clone(),
        outcome: AuditOutcome::Done,
        detail: known.operator.clone(),
    });
    let change = CheckChange::Join(Box::new(joins));
    match api.change(check(change, audit)).await? {
        Applied::Missing => return Err(void()),
        Applied::NameTaken => return Err(taken()),
        Applied::QuotaUsedUp => return Err(full()),
        _ => api.log()?.keys_changed(),
    }
    tracing::info!(
        checker = key_id,
        operator = known.operator,
        "a checker comes in"
    );
    let certificate = api.registrar.certify_checker(&name, &request);
    let joined = JoinedChecker {
        certificate: certificate.map_err(enrol_refused)?,
        key_id,
        operator: known.operator,
        directory_key: hex(api.log()?.directory_key().as_bytes()),
        chain: shown_chain(chain),
    };
    Ok((StatusCode::CREATED, Json(joined)))
}

/// All checkers that ever came in.
#[utoipa::path(
    get, path = "/v1/checkers", tag = "checkers",
    responses(
        (status = 200, body = CheckerList, description = "The checkers, oldest first."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`not-found`: this broker keeps no log. `too-many-requests`."),
    )
)]
pub(super) async fn list_checkers(
    State(api): State<Arc<Api>>,
    extensions: Extensions,
) -> Result<Json<CheckerList>, Refusal> {
    api.checks()?;
    api.within_rate(RateKey::of(Peer::of(&extensions)))?;
    let rows = api.ledger.checkers().await.map_err(|e| store_failed(&e))?;
    let now_ms = api.clock.unix_ms();
    let checkers = rows.into_iter().map(|row| shown(row, now_ms)).collect();
    Ok(Json(CheckerList { checkers }))
}

/// Shuts a checker out for good: it is assigned nothing more, its certificate is void, and its key does not count for
/// what is issued from now on.
#[utoipa::path(
    delete, path = "/v1/checkers/{checker}", tag = "checkers",
    security(("api_key" = [])),
    params(("checker" = String, Path, description = "The id of its key.")),
    responses(
        (status = 204, description = "It is shut out. Once is enough."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`not-found`, `forbidden`, `unauthenticated`, …"),
    )
)]
pub(super) async fn revoke_checker(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(checker): Path<String>,
) -> Result<StatusCode, Refusal> {
    let action = AuditAction::CheckerRevoke;
    let checked = api.check_noted(&caller, Permission::ChangeCheckers, action, &checker);
    checked.await?;
    let audit = caller.audit(&api, action, &checker, "");
    let change = CheckChange::Revoke {
        key_id: checker,
        at_ms: api.clock.unix_ms(),
    };
    match api.change(check(change, audit)).await? {
        Applied::Missing => return Err(not_found("checker")),
        _ => api.log()?.keys_changed(),
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Gives a licence to the owner of a key, who delegates it to checkers with `checker delegate`.
#[utoipa::path(
    post, path = "/v1/licences", tag = "checkers",
    security(("api_key" = [])),
    request_body = GiveLicence,
    responses(
        (status = 201, body = Licence, description = "The licence, or the one that there was with another name."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`bad-request`, `name-taken`: it was taken back; `forbidden`, `unauthenticated`, …"),
    )
)]
pub(super) async fn give_licence(
    State(api): State<Arc<Api>>,
    caller: Caller,
    JsonBody(wanted): JsonBody<GiveLicence>,
) -> Result<(StatusCode, Json<Licence>), Refusal> {
    let action = AuditAction::LicenceGive;
    let checked = api.check_noted(&caller, Permission::ChangeCheckers, action, &wanted.owner);
    checked.await?;
    let owner = checked_name("owner", &wanted.owner)?;
    let key = PublicKey::from_hex(&wanted.key).ok_or_else(no_key)?;
    let row = LicenceRow {
        key: wanted.key,
        key_id: key.id().to_string(),
        owner,
        created_ms: api.clock.unix_ms(),
        revoked_ms: None,
    };
    let audit = caller.audit(&api, action, &row.key_id, row.owner.clone());
    let change = CheckChange::PutLicence(row.clone());
    match api.change(check(change, audit)).await? {
        Applied::Missing => Err(ProblemResponse::new(
            ProblemType::NameTaken,
            "That licence was taken back. Give one to another key.",
        )),
        _ => Ok((StatusCode::CREATED, Json(shown_licence(row)))),
    }
}

/// All licences.
#[utoipa::path(
    get, path = "/v1/licences", tag = "checkers",
    security(("api_key" = [])),
    responses(
        (status = 200, body = LicenceList, description = "The licences, oldest first."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`forbidden`, `unauthenticated`, …"),
    )
)]
pub(super) async fn list_licences(
    State(api): State<Arc<Api>>,
    caller: Caller,
) -> Result<Json<LicenceList>, Refusal> {
    caller.check(Permission::ChangeCheckers)?;
    let rows = api.ledger.licences().await.map_err(|e| store_failed(&e))?;
    let licences = rows.into_iter().map(shown_licence).collect();
    Ok(Json(LicenceList { licences }))
}

/// Takes a licence back, and shuts out every checker that acts for it.
#[utoipa::path(
    delete, path = "/v1/licences/{licence}", tag = "checkers",
    security(("api_key" = [])),
    params(("licence" = String, Path, description = "The licence's id.")),
    responses(
        (status = 204, description = "It does not count any more. Once is enough."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`not-found`, `forbidden`, `unauthenticated`, …"),
    )
)]
pub(super) async fn revoke_licence(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(licence): Path<String>,
) -> Result<StatusCode, Refusal> {
    let action = AuditAction::LicenceRevoke;
    let checked = api.check_noted(&caller, Permission::ChangeCheckers, action, &licence);
    checked.await?;
    let audit = caller.audit(&api, action, &licence, "");
    let change = CheckChange::RevokeLicence {
        key_id: licence,
        at_ms: api.clock.unix_ms(),
    };
    match api.change(check(change, audit)).await? {
        Applied::Missing => return Err(not_found("licence")),
        _ => api.log()?.keys_changed(),
    }
    Ok(StatusCode::NO_CONTENT)
}

impl Api {
    /// Who checks whom, where a log is kept.
    pub(super) fn checks(&self) -> Result<&Arc<Checks>, Refusal> {
        self.checks.as_ref().ok_or_else(|| not_found("log"))
    }
}

fn check(change: CheckChange, audit: Box<AuditRow>) -> Op {
    let audit = Some(audit);
    Op::Check { change, audit }
}

/// The key, which whoever asks has proved to have.
fn proved(asked: &JoinChecker) -> Result<PublicKey, Refusal> {
    let key = PublicKey::from_hex(&asked.key).ok_or_else(no_key)?;
    let signature: Option<[u8; 64]> = array_from_hex(&asked.signature);
    let message = join(&asked.token, &key, &asked.request);
    match signature.filter(|signature| key.verifies(&message, signature)) {
        Some(_) => Ok(key),
        None => Err(bad_request(
            "The signature is not the key's over this token and this request for a certificate.",
        )),
    }
}

/// Until when the key counts: for as long as its licence is delegated to it, if it acts for one.
fn delegated(
    token: &CheckerTokenRow,
    asked: &JoinChecker,
    key: &PublicKey,
    now_s: u64,
) -> Result<u64, Refusal> {
    let given = asked.delegation.as_deref().map(Delegation::parse);
    match (&token.licence, given) {
        (None, None) => Ok(FAR_S),
        (None, Some(_)) => Err(bad_request("The token is for a checker without a licence.")),
        (Some(licence), Some(Some(given))) => {
            let is_of = KeyId::from_hex(licence) == Some(given.licence());
            match is_of && given.holds(key, now_s) {
                true => Ok(given.until_s().min(FAR_S)),
                false => Err(bad_request(
                    "The delegation is of another licence, for another key, or over.",
                )),
            }
        }
        (Some(_), _) => Err(bad_request(
            "The token is for a checker that acts for a licence: send what `checker delegate` of the licence's owner prints.",
        )),
    }
}

fn account(key_id: &str, now_ms: u64) -> KeyRow {
    KeyRow {
        id: nearlight_kit::ids::key(),
        user: nearlight_kit::ids::user(),
        tenant: None,
        name: format!("checker {}", key_id.get(..16).unwrap_or_default()),
        role: Role::Operator,
        scopes: Some(vec![Scope::NodesProbe]),
        is_beyond: false,
        prefix: String::new(),
        sessions_max: None,
        created_ms: now_ms,
        expires_ms: None,
        last_used_ms: None,
        revoked_ms: None,
    }
}

fn checked_name(what: &str, name: &str) -> Result<String, Refusal> {
    match name.is_empty() || !is_plain_text(name, OPERATOR_BYTES_MAX) {
        true => Err(bad_request(format!(
            "`{what}` is plain text of 1 to {OPERATOR_BYTES_MAX} bytes."
        ))),
        false => Ok(name.to_owned()),
    }
}

pub(super) fn shown(row: CheckerRow, now_ms: u64) -> Checker {
    Checker {
        running: row.revoked_s.is_none() && row.instance_until_ms > now_ms,
        key_id: row.key_id,
        key: row.key,
        operator: row.operator,
        licence: row.licence,
        joined_s: row.joined_s,
        revoked_s: row.revoked_s,
        plays_since_s: row.plays_since_ms.map(|since| since / 1000),
    }
}

pub(super) fn shown_chain(chain: &Chain) -> nearlight_protocol::checker::Chain {
    nearlight_protocol::checker::Chain {
        anchor: chain.anchor.anchor.to_string(),
        genesis_unix_ms: chain.anchor.genesis_ms,
        round_ms: chain.anchor.round_ms,
        length: chain.anchor.length,
        envelope: String::from_utf8_lossy(&chain.envelope).into_owned(),
    }
}

fn shown_licence(row: LicenceRow) -> Licence {
    Licence {
        id: row.key_id,
        key: row.key,
        owner: row.owner,
        created_unix_ms: row.created_ms,
        revoked_unix_ms: row.revoked_ms,
    }
}

fn no_key() -> Refusal {
    bad_request("The key is no Ed25519 public key in 64 lower-case hex digits.")
}

fn void() -> Refusal {
    ProblemResponse::new(
        ProblemType::JoinTokenInvalid,
        "The token was used, its time is over, or there never was one. Ask for another: `nearlight checker admit`.",
    )
}

fn taken() -> Refusal {
    ProblemResponse::new(
        ProblemType::NameTaken,
        "The key was shut out, stands in the directory already, or is run by somebody else. Make another one: `checker init`.",
    )
}

fn full() -> Refusal {
    bad_request(format!(
        "The directory has {KEYS_MAX} keys, which is all that it has room for."
    ))
}
