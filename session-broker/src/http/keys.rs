//! `/v1/keys`: API keys. A secret is told once, by the answer that makes it.
//!
//! **Invariant.** Nobody gets a key from here that may more than theirs, holds more sessions, or lasts longer.

use super::Api;
use super::body::{JsonBody, KeyPath, Page, checked_name};
use super::caller::Caller;
use super::problem::{Refusal, bad_request, forbidden, not_found, store_failed};
use super::tenants::within_reach;
use crate::access::{Permission, Permissions, Reach};
use crate::ledger::{Applied, IdentityChange, KeyRow, Of, Op};
use crate::secret;
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use nearlight_protocol::api::Role;
use nearlight_protocol::id::{KeyId, TenantId};
use nearlight_protocol::identity::{
    ApiKey, AuditAction, CreateKey, KeyList, NewKey, RotateKey, Scope,
};
use nearlight_protocol::limits::KEY_OVERLAP_S_MAX;
use nearlight_protocol::problem::Problem;
use std::sync::Arc;

/// For how long a former secret goes on working unless the caller says otherwise.
const OVERLAP_S: u32 = 24 * 3600;

/// Makes a key. Its secret is told only now.
#[utoipa::path(
    post, path = "/v1/keys", tag = "identity",
    security(("api_key" = [])),
    request_body = CreateKey,
    responses(
        (status = 201, body = NewKey, description = "The key with its secret.",
         headers(("location" = String, description = "Its path."))),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`bad-request`, `not-found` for an unknown tenant, `forbidden` also for a \
                        key that may more than the caller, `unauthenticated`, …"),
    )
)]
pub(super) async fn create_key(
    State(api): State<Arc<Api>>,
    caller: Caller,
    JsonBody(body): JsonBody<CreateKey>,
) -> Result<Response, Refusal> {
    api.check_create_rate(&caller)?;
    let action = AuditAction::KeyCreate;
    api.check_noted(&caller, Permission::ChangeKeys, action, &body.name)
        .await?;
    let tenant = tenant_of(&caller, &body)?;
    if let Some(tenant) = &tenant {
        api.tenant(tenant).await?;
    }
    let permissions = checked_scopes(&body)?;
    if !caller.permissions.cover(permissions) {
        api.note_denied(&caller, action, &body.name).await?;
        return Err(forbidden("The key would be allowed more than you are."));
    }
    let (mut key, secret) = new_key(&api, &body, tenant)?;
    let maker = api.maker_key(&caller).await?;
    if let Some(maker) = &maker {
        key.expires_ms = key.expires_ms.or(maker.expires_ms);
        key.sessions_max = key.sessions_max.or(maker.sessions_max);
    }
    if let Some(beyond) = beyond(&key, maker.as_ref()) {
        api.note_denied(&caller, action, &body.name).await?;
        return Err(beyond);
    }
    let detail = format!("{}, {}", key.name, key.role.name());
    let op = Op::Identity {
        audit: Some(caller.audit(&api, action, &key.id, detail)),
        change: IdentityChange::AddKey {
            key: key.clone(),
            secret: secret::kept(&secret),
            if_no_admin: false,
        },
    };
    if api.change(op).await? == Applied::QuotaUsedUp {
        return Err(bad_request(
            "Your tenant has 1000 keys that hold, as many as one may have. Revoke some.",
        ));
    }
    Ok(told(StatusCode::CREATED, key, secret))
}

/// What a key has that the key of whoever gets it has not.
fn beyond(key: &KeyRow, of: Option<&KeyRow>) -> Option<Refusal> {
    let of = of.filter(|of| of.id != key.id)?;
    if is_more(key.expires_ms, of.expires_ms) {
        return Some(forbidden("The key would go on after your own has ended."));
    }
    is_more(key.sessions_max, of.sessions_max)
        .then(|| forbidden("The key would hold more sessions than your own may."))
}

/// Whether one bound allows more than another; none is no bound.
fn is_more<T: Ord>(one: Option<T>, than: Option<T>) -> bool {
    than.is_some_and(|than| one.is_none_or(|one| one > than))
}

/// The tenant of a new key.
fn tenant_of(caller: &Caller, body: &CreateKey) -> Result<Option<TenantId>, Refusal> {
    let tenant = match Reach::of(caller.role) {
        Reach::All => body.tenant.clone(),
        Reach::Tenant | Reach::Own => {
            let own = caller.tenant().cloned();
            if body.tenant.is_some() && body.tenant != own {
                return Err(not_found("tenant"));
            }
            own
        }
    };
    match (body.role, tenant) {
        (Role::Guest, _) => Err(bad_request("Guests have a cookie, no key.")),
        (Role::Tenant, None) => Err(bad_request("The role `tenant` needs `tenant`.")),
        (Role::Admin | Role::Operator, Some(_)) => Err(bad_request(
            "The roles `admin` and `operator` belong to no tenant.",
        )),
        (Role::Player | Role::Tenant, Some(tenant)) => Ok(Some(tenant)),
        (Role::Player | Role::Operator | Role::Admin, None) => Ok(None),
    }
}

/// What the key will be allowed.
fn checked_scopes(body: &CreateKey) -> Result<Permissions, Refusal> {
    let whole = Permissions::of(body.role, None).scopes();
    if let Some(scope) = body.scopes.iter().find(|scope| !whole.contains(scope)) {
        let (role, scope) = (body.role.name(), scope.name());
        return Err(bad_request(format!(
            "The role `{role}` has nothing of the scope `{scope}`."
        )));
    }
    Ok(Permissions::of(body.role, scopes_of(body).as_deref()))
}

/// In a request none are all that the role allows.
fn scopes_of(body: &CreateKey) -> Option<Vec<Scope>> {
    let mut scopes = body.scopes.clone();
    scopes.sort_unstable();
    scopes.dedup();
    (!scopes.is_empty()).then_some(scopes)
}

fn new_key(
    api: &Api,
    body: &CreateKey,
    tenant: Option<TenantId>,
) -> Result<(KeyRow, String), Refusal> {
    if body.expires_s == Some(0) {
        return Err(bad_request("`expires_s` is at least 1."));
    }
    let secret = secret::new_key();
    let now_ms = api.clock.unix_ms();
    let key = KeyRow {
        id: nearlight_kit::ids::key(),
        user: nearlight_kit::ids::user(),
        tenant,
        name: checked_name(&body.name)?,
        role: body.role,
        scopes: scopes_of(body),
        is_beyond: false,
        prefix: secret::kept(&secret).prefix,
        sessions_max: body.sessions_max,
        created_ms: now_ms,
        expires_ms: body.expires_s.map(|s| now_ms + u64::from(s) * 1000),
        last_used_ms: None,
        revoked_ms: None,
    };
    Ok((key, secret))
}

/// All keys; a tenant sees its own.
#[utoipa::path(
    get, path = "/v1/keys", tag = "identity",
    security(("api_key" = [])),
    params(("after" = Option<String>, Query, description = "The `next` of the page before."),
           ("limit" = Option<u32>, Query, minimum = 1, maximum = 200,
            description = "Keys of a page, 100 without it.")),
    responses(
        (status = 200, body = KeyList, description = "The keys, without their secrets."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`bad-request`, `forbidden`, `unauthenticated`, `too-many-requests`."),
    )
)]
pub(super) async fn list_keys(
    State(api): State<Arc<Api>>,
    caller: Caller,
    page: Page,
) -> Result<Json<KeyList>, Refusal> {
    caller.check(Permission::SeeKeys)?;
    let after = page.after.as_deref().map(str::parse::<KeyId>).transpose();
    let after = after.map_err(|_| bad_request("`after` is the `next` of the page before."))?;
    let Some(of) = within_reach(&caller) else {
        return Ok(Json(KeyList {
            keys: Vec::new(),
            next: None,
        }));
    };
    let keys = api.ledger.keys(of, after, page.limit + 1).await;
    let mut keys = keys.map_err(|e| store_failed(&e))?;
    let more = keys.len() > page.limit as usize;
    keys.truncate(page.limit as usize);
    let next = keys.last().filter(|_| more).map(|key| key.id.clone());
    let keys = keys.into_iter().map(ApiKey::from).collect();
    Ok(Json(KeyList { keys, next }))
}

/// Gives a key a new secret. The former one goes on for a while, so that programs can change over.
#[utoipa::path(
    post, path = "/v1/keys/{id}/rotate", tag = "identity",
    security(("api_key" = [])),
    params(("id" = String, Path, description = "The key.")),
    request_body = RotateKey,
    responses(
        (status = 200, body = NewKey, description = "The key with its new secret."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`bad-request`, `not-found`, also for a key that is void, `forbidden` also \
                        for a key that may more than the caller, …"),
    )
)]
pub(super) async fn rotate_key(
    State(api): State<Arc<Api>>,
    caller: Caller,
    KeyPath(id): KeyPath,
    JsonBody(body): JsonBody<RotateKey>,
) -> Result<Response, Refusal> {
    api.check_create_rate(&caller)?;
    let action = AuditAction::KeyRotate;
    let mut key = api.key_within_reach(&caller, action, &id).await?;
    // Whoever gets the new secret may what the key may.
    if !caller
        .permissions
        .cover(Permissions::of(key.role, key.scopes.as_deref()))
    {
        api.note_denied(&caller, action, id.as_str()).await?;
        return Err(forbidden("The key is allowed more than you are."));
    }
    let maker = api.maker_key(&caller).await?;
    if let Some(beyond) = beyond(&key, maker.as_ref()) {
        api.note_denied(&caller, action, id.as_str()).await?;
        return Err(beyond);
    }
    if key.is_beyond {
        return Err(forbidden(
            "The key names scopes that this broker does not know, so that whether it is allowed more than you are \
             cannot be said here. Rotate it once all brokers run the version that made it, or make a new key.",
        ));
    }
    if key.prefix.is_empty() {
        return Err(forbidden(
            "The key is a checker's account, which has no secret: its checker shows a certificate.",
        ));
    }
    let overlap_s = body.overlap_s.unwrap_or(OVERLAP_S);
    if overlap_s > KEY_OVERLAP_S_MAX {
        return Err(bad_request(format!(
            "`overlap_s` is at most {KEY_OVERLAP_S_MAX}."
        )));
    }
    let secret = secret::new_key();
    let kept = secret::kept(&secret);
    key.prefix.clone_from(&kept.prefix);
    let detail = format!("{}, overlap of {overlap_s} s", key.name);
    let op = Op::Identity {
        audit: Some(caller.audit(&api, action, &id, detail)),
        change: IdentityChange::RotateKey {
            key: id,
            secret: kept,
            former_until_ms: api.clock.unix_ms() + u64::from(overlap_s) * 1000,
            at: api.clock.now(),
        },
    };
    if api.change(op).await? == Applied::Missing {
        return Err(not_found("key"));
    }
    Ok(told(StatusCode::OK, key, secret))
}

/// Revokes a key: nothing is done with it any more. Once is enough.
#[utoipa::path(
    delete, path = "/v1/keys/{id}", tag = "identity",
    security(("api_key" = [])),
    params(("id" = String, Path, description = "The key.")),
    responses(
        (status = 204, description = "It is void."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`not-found`, `forbidden`, `unauthenticated`, `too-many-requests`."),
    )
)]
pub(super) async fn revoke_key(
    State(api): State<Arc<Api>>,
    caller: Caller,
    KeyPath(id): KeyPath,
) -> Result<StatusCode, Refusal> {
    let action = AuditAction::KeyRevoke;
    let key = api.key_within_reach(&caller, action, &id).await?;
    let op = Op::Identity {
        audit: Some(caller.audit(&api, action, &id, key.name)),
        change: IdentityChange::RevokeKey {
            key: id,
            at: api.clock.now(),
        },
    };
    api.change(op).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl Api {
    /// A key that the caller may change. What is out of reach is answered like what does not exist.
    async fn key_within_reach(
        &self,
        caller: &Caller,
        action: AuditAction,
        id: &KeyId,
    ) -> Result<KeyRow, Refusal> {
        self.check_noted(caller, Permission::ChangeKeys, action, id.as_str())
            .await?;
        let found = self.ledger.keys(Of::Key(id.clone()), None, 1).await;
        let found = found.map_err(|e| store_failed(&e))?.pop();
        let reached = |key: &KeyRow| match Reach::of(caller.role) {
            Reach::All => true,
            Reach::Tenant => key.tenant.is_some() && key.tenant.as_ref() == caller.tenant(),
            Reach::Own => false,
        };
        let found = found.filter(reached);
        found.ok_or_else(|| not_found("key"))
    }
}

impl Api {
    /// The key that a caller comes with, as it was made: one secret of it may end before it does.
    async fn maker_key(&self, caller: &Caller) -> Result<Option<KeyRow>, Refusal> {
        let Some(id) = &caller.who.key else {
            return Ok(None);
        };
        let found = self.ledger.keys(Of::Key(id.clone()), None, 1).await;
        let found = found.map_err(|e| store_failed(&e))?.pop();
        found.map(Some).ok_or_else(|| not_found("key"))
    }
}

fn told(status: StatusCode, key: KeyRow, secret: String) -> Response {
    let location = format!("/v1/keys/{}", key.id);
    let new = NewKey {
        key: key.into(),
        secret,
    };
    (status, [(header::LOCATION, location)], Json(new)).into_response()
}

impl From<KeyRow> for ApiKey {
    fn from(row: KeyRow) -> Self {
        Self {
            scopes: Permissions::of(row.role, row.scopes.as_deref()).scopes(),
            id: row.id,
            name: row.name,
            user: row.user,
            role: row.role,
            tenant: row.tenant,
            prefix: row.prefix,
            sessions_max: row.sessions_max,
            created_unix_ms: row.created_ms,
            expires_unix_ms: row.expires_ms,
            last_used_unix_ms: row.last_used_ms,
            revoked_unix_ms: row.revoked_ms,
        }
    }
}

#[cfg(test)]
mod test {
    use super::is_more;

    #[test]
    fn no_bound_is_more_than_any() {
        assert!(is_more(None, Some(1)) && is_more(Some(2), Some(1)));
        assert!(!is_more(Some(1), Some(1)) && !is_more(Some(9), None));
        assert!(!is_more::<u32>(None, None));
    }
}
