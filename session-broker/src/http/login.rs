//! `/v1/login`: a player is identified by an OpenID provider, and comes back with a cookie.
//!
//! ```text
//!   GET /v1/login --cookie of the attempt--> provider -> GET /v1/login/callback --player's cookie--> page
//! ```
//!
//! The attempt's cookie is signed by us, holds state, nonce and verifier, and names the guest that the
//! browser was: the guest's own cookie is `Strict` and does not come along when the provider sends the
//! browser back. It is `Lax`, for it has to; the player's cookie is `Strict` again.

use super::Api;
use super::caller::{Caller, RateKey, bearer};
use super::cookies::{self, ATTEMPT, GUEST, Kept, PLAYER};
use super::problem::{Refusal, bad_request, not_found, too_many};
use super::serve::Peer;
use crate::ledger::{Applied, AuditRow, Credential, IdentityChange, Login, Op};
use crate::oidc::{Attempt, Identified, OidcError, Provider};
use crate::secret::credential_hash;
use crate::tokens::LoginClaims;
use axum::Json;
use axum::extract::{FromRequestParts, Query, State};
use axum::http::header::{HOST, LOCATION};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nearlight_kit::problem::ProblemResponse;
use nearlight_protocol::api::Role;
use nearlight_protocol::grant::ISSUER;
use nearlight_protocol::identity::{AuditAction, AuditOutcome, LoginOptions};
use nearlight_protocol::problem::{Problem, ProblemType};
use serde::Deserialize;
use std::sync::Arc;

const LOGIN_PATH: &str = "/v1/login";
const CALLBACK_PATH: &str = "/v1/login/callback";
/// Where a login that came to nothing ends: the lobby says so.
const FAILED: &str = "/?login=failed";
/// For how long one may stay at the provider.
const ATTEMPT_S: u64 = 600;
/// Seconds after which a provider that is away, or busy, may be asked again.
const PROVIDER_RETRY_S: u32 = 5;
/// Longest path to come back to.
const BACK_BYTES_MAX: usize = 200;

/// How one can get in here.
#[utoipa::path(
    get, path = "/v1/login/options", tag = "callers",
    responses((status = 200, body = LoginOptions, description = "What this broker takes."))
)]
pub(super) async fn login_options(State(api): State<Arc<Api>>) -> Json<LoginOptions> {
    Json(LoginOptions {
        login_path: api.login_path(),
        guests: api.guests,
    })
}

/// Sends a browser to the provider. A guest who logs in for the first time becomes the player, with
/// sessions and saves.
#[utoipa::path(
    get, path = "/v1/login", tag = "callers",
    params(("back" = Option<String>, Query,
            description = "The path of the page to come back to, `/` without it.")),
    responses(
        (status = 303, description = "To the provider.",
         headers(("location" = String, description = "The provider."),
                 ("set-cookie" = String, description = "Of this attempt."))),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`not-found` where no provider is configured, `bad-request`, \
                        `provider-unreachable`, `too-many-requests`."),
    )
)]
pub(super) async fn begin_login(
    State(api): State<Arc<Api>>,
    Back(back): Back,
    headers: HeaderMap,
    extensions: Extensions,
) -> Result<Response, Refusal> {
    let provider = api.provider()?;
    let peer = Peer::of(&extensions);
    let taken = api.rates.guests.take(RateKey::of(peer), api.clock.now());
    taken.map_err(too_many)?;
    let guest = api.caller(&headers, peer).await?;
    let guest = guest.filter(|caller| caller.role == Role::Guest);
    let attempt = Attempt::new();
    let redirect = api.redirect(provider, &headers)?;
    let at = provider.begin(&attempt, &redirect).await;
    let at = at.map_err(provider_failed)?;
    let claims = LoginClaims {
        iss: ISSUER.to_owned(),
        state: attempt.state,
        nonce: attempt.nonce,
        verifier: attempt.verifier,
        back,
        guest: guest.map(|caller| caller.user),
        exp_ms: api.clock.unix_ms() + ATTEMPT_S * 1000,
    };
    let token = api.signer.login(&claims);
    api.go(&at, &[(ATTEMPT, &token, ATTEMPT_S)])
}

#[derive(Deserialize)]
pub(super) struct Answered {
    code: Option<String>,
    state: Option<String>,
    error: Option<String>,
}

/// Takes a browser that comes back from the provider, and sends it to the page that it left.
#[utoipa::path(
    get, path = "/v1/login/callback", tag = "callers",
    params(("code" = Option<String>, Query, description = "The provider's code."),
           ("state" = Option<String>, Query, description = "Of the attempt."),
           ("error" = Option<String>, Query, description = "The provider's refusal.")),
    responses(
        (status = 303, description = "To the page; to `/?login=failed` if nobody was identified.",
         headers(("location" = String, description = "The page."),
                 ("set-cookie" = String, description = "The player's."))),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`not-found` where no provider is configured, `bad-request`, \
                        `too-many-requests`, `internal`."),
    )
)]
pub(super) async fn finish_login(
    State(api): State<Arc<Api>>,
    answered: Result<Query<Answered>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
    extensions: Extensions,
) -> Result<Response, Refusal> {
    let provider = api.provider()?;
    let Query(answered) = answered.map_err(|error| bad_request(format!("{error}.")))?;
    let peer = Peer::of(&extensions);
    api.within_rate(RateKey::of(peer))?;
    let over = (ATTEMPT, "", 0);
    let Some(claims) = api.attempt(&headers, answered.state.as_deref()) else {
        tracing::info!("a browser came back from the provider that had not left, or too late");
        return api.go(FAILED, &[over]);
    };
    let Some(code) = answered.code else {
        let error = answered.error.unwrap_or_default();
        tracing::info!(error, "the provider identified nobody");
        return api.go(FAILED, &[over]);
    };
    let attempt = Attempt {
        state: claims.state,
        nonce: claims.nonce,
        verifier: claims.verifier,
    };
    let redirect = api.redirect(provider, &headers)?;
    let identified = match provider.finish(&attempt, &redirect, &code).await {
        Ok(identified) => identified,
        Err(error @ (OidcError::Provider(_) | OidcError::Token(_))) => {
            tracing::warn!(%error, "nobody was identified");
            return api.go(FAILED, &[over]);
        }
        Err(error @ OidcError::Busy) => return Err(provider_failed(error)),
    };
    let days = u64::from(provider.settings().login_days);
    let player = api.log_in(identified, claims.guest, days, peer).await?;
    let player = (PLAYER, player.as_str(), days * 24 * 3600);
    api.go(&claims.back, &[over, player, (GUEST, "", 0)])
}

/// Ends this browser's or program's login. Sessions go on, and are there after the next one.
#[utoipa::path(
    post, path = "/v1/logout", tag = "callers",
    responses(
        (status = 204, description = "The cookie, or the login's secret as a key, is void; once is enough.",
         headers(("set-cookie" = String, description = "None from now on."))),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`too-many-requests`, `internal`."),
    )
)]
pub(super) async fn logout(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    extensions: Extensions,
) -> Result<Response, Refusal> {
    let peer = Peer::of(&extensions);
    api.within_rate(RateKey::of(peer))?;
    let shown = cookies::shown(&headers, [PLAYER], api.https);
    for secret in shown.chain(bearer(&headers)) {
        let who = api.cookie_owner(secret, peer).await?;
        // Keys are revoked, by whoever may; guests have no login that could end.
        let has_login = |who: &Arc<Credential>| who.role == Role::Player && who.key.is_none();
        if let Some(who) = who.filter(has_login) {
            let caller = Caller::new(who, peer);
            let op = Op::Identity {
                audit: Some(caller.audit(&api, AuditAction::Logout, &caller.user, "")),
                change: IdentityChange::LogOut {
                    hash: caller.who.hash,
                    at: api.clock.now(),
                },
            };
            api.change(op).await?;
        }
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    cookies::set(response.headers_mut(), PLAYER, ("", 0), api.https)?;
    Ok(response)
}

impl Api {
    /// Where players log in.
    pub(super) fn login_path(&self) -> Option<String> {
        self.provider.as_ref().map(|_| LOGIN_PATH.to_owned())
    }

    pub(super) fn provider(&self) -> Result<&Provider, Refusal> {
        self.provider.as_ref().ok_or_else(|| not_found("login"))
    }

    /// Where the provider sends browsers back to.
    fn redirect(&self, provider: &Provider, headers: &HeaderMap) -> Result<String, Refusal> {
        if let Some(url) = &provider.settings().public_url {
            return Ok(format!("{}{CALLBACK_PATH}", url.trim_end_matches('/')));
        }
        // It is one of our names: every request has passed that check.
        let host = headers.get(HOST).and_then(|host| host.to_str().ok());
        let host = host.ok_or_else(|| bad_request("There is no Host."))?;
        let scheme = if self.https { "https" } else { "http" };
        Ok(format!("{scheme}://{host}{CALLBACK_PATH}"))
    }

    /// The attempt with which this browser left, if `state` is its own. One begun at a broker of before, which writes
    /// no cookie that counts here, is begun again.
    fn attempt(&self, headers: &HeaderMap, state: Option<&str>) -> Option<LoginClaims> {
        let token = cookies::own(headers, ATTEMPT, self.https)?;
        let claims = self.signer.verify_login(token).ok()?;
        let in_time = claims.exp_ms > self.clock.unix_ms();
        (in_time && state == Some(claims.state.as_str())).then_some(claims)
    }

    /// Notes a login, durably; the secret of its cookie, or of its program.
    pub(super) async fn log_in(
        &self,
        identified: Identified,
        guest: Option<nearlight_protocol::id::UserId>,
        days: u64,
        peer: Peer,
    ) -> Result<String, Refusal> {
        let secret = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
        let now_ms = self.clock.unix_ms();
        let audit = AuditRow {
            at_ms: now_ms,
            request: nearlight_kit::problem::current_request().to_string(),
            user: None,
            role: Some(Role::Player),
            key: None,
            tenant: None,
            address: Some(peer.0.ip().to_string()),
            action: AuditAction::Login,
            subject: identified.subject.clone(),
            outcome: AuditOutcome::Done,
            detail: format!("{} of {}", identified.name, identified.issuer),
        };
        let login = Login {
            hash: credential_hash(&secret),
            issuer: identified.issuer,
            subject: identified.subject,
            name: identified.name,
            user: nearlight_kit::ids::user(),
            guest,
            at_ms: now_ms,
            expires_ms: now_ms + days * 24 * 3600 * 1000,
        };
        let op = Op::Identity {
            change: IdentityChange::LogIn(Box::new(login)),
            audit: Some(Box::new(audit)),
        };
        match self.change(op).await? {
            Applied::Done => Ok(secret),
            other => Err(ProblemResponse::internal(format!("a login was {other:?}"))),
        }
    }

    /// Sends a browser elsewhere, with cookies to keep for so long.
    fn go(&self, to: &str, kept: &[(Kept, &str, u64)]) -> Result<Response, Refusal> {
        let mut response = StatusCode::SEE_OTHER.into_response();
        let headers = response.headers_mut();
        let to = HeaderValue::from_str(to).map_err(ProblemResponse::internal)?;
        headers.insert(LOCATION, to);
        for (kept, value, age_s) in kept {
            cookies::set(headers, *kept, (value, *age_s), self.https)?;
        }
        Ok(response)
    }
}

pub(super) fn provider_failed(error: OidcError) -> Refusal {
    match error {
        OidcError::Busy => too_many(PROVIDER_RETRY_S),
        OidcError::Provider(_) | OidcError::Token(_) => {
            tracing::warn!(%error, "nobody can log in");
            ProblemResponse::new(
                ProblemType::ProviderUnreachable,
                "The provider that says who players are does not answer. Try again in a while.",
            )
            .retry_after_s(PROVIDER_RETRY_S)
        }
    }
}

/// The page to come back to: a path of ours, and never another site's address.
pub(super) struct Back(String);

#[derive(Deserialize)]
struct BackQuery {
    back: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Back {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let query = Query::<BackQuery>::from_request_parts(parts, state).await;
        let Query(query) = query.map_err(|error| bad_request(format!("{error}.")))?;
        let back = query.back.unwrap_or_else(|| "/".to_owned());
        if is_own_path(&back) {
            return Ok(Self(back));
        }
        Err(bad_request(
            "`back` is the path of a page here, such as `/`.",
        ))
    }
}

fn is_own_path(path: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/_-.~".contains(&b);
    path.len() <= BACK_BYTES_MAX
        && path.starts_with('/')
        && !path.contains("//")
        && path.bytes().all(plain)
}

#[cfg(test)]
mod test {
    use super::is_own_path;

    #[test]
    fn one_comes_back_to_a_page_of_ours_alone() {
        for own in ["/", "/play/ses_01", "/a.b"] {
            assert!(is_own_path(own), "{own}");
        }
        for foreign in [
            "",
            "a",
            "//evil",
            "/\\evil",
            "/a//b",
            "https://evil",
            "/a?b",
            "/%2f/evil",
            "/a\r\nb",
        ] {
            assert!(!is_own_path(foreign), "{foreign}");
        }
    }
}
