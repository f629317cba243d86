//! `GET /v1/whoami`: who the caller is. Whoever is nobody becomes a guest here.

use super::Api;
use super::caller::{Caller, RateKey};
use super::cookies::{self, GUEST};
use super::problem::{Refusal, store_failed, too_many, unauthenticated};
use super::serve::Peer;
use crate::ledger::{Credential, Op};
use crate::secret::credential_hash;
use axum::Json;
use axum::extract::State;
use axum::http::{Extensions, HeaderMap};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nearlight_protocol::api::{Role, WhoAmI};
use nearlight_protocol::problem::Problem;
use std::sync::Arc;

/// A year: a guest's saves are found again.
const COOKIE_AGE_S: u64 = 365 * 24 * 3600;

/// Who you are. A caller without key or cookie is made a guest, by cookie, where guests are taken.
#[utoipa::path(
    get, path = "/v1/whoami", tag = "callers",
    responses(
        (status = 200, body = WhoAmI, description = "The caller.",
         headers(("set-cookie" = String, description = "Of a new guest."))),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`unauthenticated` for a wrong key, or where no guests are taken; \
                        `too-many-requests`."),
    )
)]
pub(super) async fn whoami(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    extensions: Extensions,
) -> Result<Response, Refusal> {
    let peer = Peer::of(&extensions);
    if let Some(caller) = api.caller(&headers, peer).await? {
        // Under the name that it came by: a plain cookie may be of another host's choice, however old it is.
        return Ok(Json(answer(&api, &caller)).into_response());
    }
    let (caller, secret) = api.new_guest(peer).await?;
    let mut response = Json(answer(&api, &caller)).into_response();
    let kept = (secret.as_str(), COOKIE_AGE_S);
    cookies::set(response.headers_mut(), GUEST, kept, api.https)?;
    Ok(response)
}

fn answer(api: &Api, caller: &Caller) -> WhoAmI {
    WhoAmI {
        name: caller.who.name.clone(),
        role: caller.role,
        user: caller.user.clone(),
        tenant: caller.tenant().cloned(),
        key: caller.who.key.clone(),
        scopes: caller.permissions.scopes(),
        login_path: api.login_path().filter(|_| caller.role == Role::Guest),
    }
}

impl Api {
    async fn new_guest(&self, peer: Peer) -> Result<(Caller, String), Refusal> {
        if !self.guests {
            return Err(unauthenticated(
                "This broker takes no guests. Log in, or send `Authorization: Bearer` with an API \
                 key; GET /v1/login/options says what it takes.",
            ));
        }
        let now = self.clock.now();
        self.rates
            .guests
            .take(RateKey::of(peer), now)
            .map_err(too_many)?;
        let secret = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
        let (hash, user) = (credential_hash(&secret), nearlight_kit::ids::user());
        let credential = Credential::plain(hash, user, "guest", Role::Guest);
        let add = Op::AddCredential {
            credential: credential.clone(),
            at: now,
        };
        let written = self.ledger.write(vec![add]).await;
        written.map_err(|e| store_failed(&e))?;
        Ok((Caller::new(Arc::new(credential), peer), secret))
    }
}
