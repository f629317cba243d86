//! `/v1/login/device`: a program's player is identified in a browser elsewhere (RFC 8628), and the program
//! gets the login's secret, which it sends as a key.
//!
//! The broker asks the provider, for it alone has the client's secret; the program waits with the code that
//! is its own. Nothing of that is kept here, so any broker of a region can be asked next: the code is handed out in a
//! token that we sign, and what we did not sign stops here.
//!
//! **Invariant.** No number of programs that poll, or that make codes up, keeps a browser from being identified.

use super::Api;
use super::body::JsonBody;
use super::caller::RateKey;
use super::login::provider_failed;
use super::problem::{Refusal, bad_request, not_found, too_many};
use super::serve::Peer;
use crate::oidc::{OidcError, Polled};
use crate::tokens::DeviceClaims;
use axum::Json;
use axum::extract::State;
use axum::http::Extensions;
use nearlight_protocol::grant::ISSUER;
use nearlight_protocol::identity::{DeviceLogin, DeviceLoginState, PollDeviceLogin};
use nearlight_protocol::limits::DEVICE_CODE_BYTES_MAX;
use nearlight_protocol::problem::Problem;
use std::sync::Arc;

/// Begins a login that is finished in a browser elsewhere: show the address and the code, and poll.
#[utoipa::path(
    post, path = "/v1/login/device", tag = "callers",
    responses(
        (status = 200, body = DeviceLogin, description = "What to show, and what to poll with."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`not-found` where no provider is configured, or it has no such flow; \
                        `provider-unreachable`, `too-many-requests`."),
    )
)]
pub(super) async fn begin_device_login(
    State(api): State<Arc<Api>>,
    extensions: Extensions,
) -> Result<Json<DeviceLogin>, Refusal> {
    let provider = api.provider()?;
    let peer = Peer::of(&extensions);
    let taken = api.rates.guests.take(RateKey::of(peer), api.clock.now());
    taken.map_err(too_many)?;
    let begun = provider.begin_device().await.map_err(provider_failed)?;
    let begun = begun.ok_or_else(|| not_found("device login"))?;
    let claims = DeviceClaims {
        iss: ISSUER.to_owned(),
        device_code: begun.device_code,
        exp_ms: api.clock.unix_ms() + u64::from(begun.expires_in) * 1000,
    };
    Ok(Json(DeviceLogin {
        device_code: api.signer.device(&claims),
        user_code: begun.user_code,
        verification_uri: begun.verification_uri,
        verification_uri_complete: begun.verification_uri_complete,
        expires_s: begun.expires_in,
        interval_s: begun.interval,
    }))
}

/// What became of a login that was begun. Once somebody has agreed, the secret is told, this once.
#[utoipa::path(
    post, path = "/v1/login/device/poll", tag = "callers",
    request_body = PollDeviceLogin,
    responses(
        (status = 200, body = DeviceLoginState, description = "Whether somebody has agreed."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`not-found` where no provider is configured, `bad-request`, \
                        `provider-unreachable`, `too-many-requests`, `internal`."),
    )
)]
pub(super) async fn poll_device_login(
    State(api): State<Arc<Api>>,
    extensions: Extensions,
    JsonBody(asked): JsonBody<PollDeviceLogin>,
) -> Result<Json<DeviceLoginState>, Refusal> {
    let provider = api.provider()?;
    let peer = Peer::of(&extensions);
    api.within_rate(RateKey::of(peer))?;
    if !(1..=DEVICE_CODE_BYTES_MAX).contains(&asked.device_code.len()) {
        return Err(bad_request("`device_code` is what the login began with."));
    }
    // One that was made up is over as one that was used is; nobody is asked.
    let claims = api.signer.verify_device(&asked.device_code).ok();
    let now_ms = api.clock.unix_ms();
    let Some(claims) = claims.filter(|claims| claims.exp_ms > now_ms) else {
        return Ok(Json(DeviceLoginState::Expired));
    };
    let polled = provider.poll_device(&claims.device_code, peer.0.ip());
    let identified = match polled.await {
        Ok(Polled::Identified(identified)) => identified,
        Ok(Polled::Pending { slower }) => return Ok(Json(DeviceLoginState::Pending { slower })),
        Ok(Polled::Denied) => return Ok(Json(DeviceLoginState::Denied)),
        Ok(Polled::Expired) => return Ok(Json(DeviceLoginState::Expired)),
        Err(error @ (OidcError::Provider(_) | OidcError::Token(_) | OidcError::Busy)) => {
            return Err(provider_failed(error));
        }
    };
    let days = u64::from(provider.settings().login_days);
    let secret = api.log_in(identified, None, days, peer).await?;
    Ok(Json(DeviceLoginState::Done { secret }))
}
