//! Who asks: a guest by cookie, or an API key. Secrets are looked up by their hash.

use super::Api;
use super::problem::{Refusal, forbidden, not_found, store_failed, too_many, unauthenticated};
use super::serve::Peer;
use crate::ledger::{Credential, CredentialHash, StoreError};
use crate::rate::network_of;
use crate::sessions::ShownSession;
use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, COOKIE};
use axum::http::request::Parts;
use nearlight_protocol::api::Role;
use nearlight_protocol::id::{SessionId, UserId};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// The guest's cookie.
pub(super) const GUEST_COOKIE: &str = "nearlight_guest";
/// What an API key starts with.
pub(crate) const KEY_PREFIX: &str = "nlk_";
/// Credentials kept in memory. Past it all are forgotten and looked up again.
const CACHED_MAX: usize = 10_000;
/// Longest secret that is worth hashing.
const SECRET_BYTES_MAX: usize = 256;

/// Whose rate it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum RateKey {
    /// A known caller's.
    User(UserId),
    /// An address's; of IPv6 the network, for a host has 2^64 of them.
    Address(IpAddr),
}

impl RateKey {
    pub(super) fn of(peer: Peer) -> Self {
        Self::Address(network_of(peer.0.ip()))
    }
}

/// SHA-256 of a secret. Secrets are random, so that no slow hash is needed.
pub(crate) fn credential_hash(secret: &str) -> CredentialHash {
    Sha256::digest(secret.as_bytes()).into()
}

/// Credentials that were looked up of late.
#[derive(Debug, Default)]
pub(crate) struct Identities {
    /// Held for a look-up, never across an await.
    cached: Mutex<HashMap<CredentialHash, Credential>>,
}

impl Identities {
    fn cached(&self, hash: &CredentialHash) -> Option<Credential> {
        let cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        cached.get(hash).cloned()
    }

    pub(super) fn keep(&self, credential: Credential) {
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if cached.len() >= CACHED_MAX {
            cached.clear();
        }
        cached.insert(credential.hash, credential);
    }
}

/// A known caller, within its rate.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) user: UserId,
    pub(super) name: String,
    pub(super) role: Role,
}

impl Caller {
    /// Whether it may do to `session` what its owner may.
    pub(super) fn may_use(&self, session: &ShownSession) -> bool {
        self.may_use_of(&session.user)
    }

    /// Whether it may do to `owner`'s sessions what that one may.
    pub(super) fn may_use_of(&self, owner: &UserId) -> bool {
        match self.role {
            Role::Guest => self.user == *owner,
            Role::Admin => true,
        }
    }

    pub(super) fn rate_key(&self) -> RateKey {
        RateKey::User(self.user.clone())
    }
}

impl From<Credential> for Caller {
    fn from(credential: Credential) -> Self {
        Self {
            user: credential.user,
            name: credential.name,
            role: credential.role,
        }
    }
}

impl FromRequestParts<Arc<Api>> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Refusal> {
        let peer = Peer::of(&parts.extensions);
        api.caller(&parts.headers, peer).await?.ok_or_else(|| {
            unauthenticated(
                "Send `Authorization: Bearer` with an API key, or become a guest with \
                 GET /v1/whoami first.",
            )
        })
    }
}

impl Api {
    /// Whoever the headers name. `None` if they name nobody, or a guest that is not known.
    pub(super) async fn caller(
        &self,
        headers: &HeaderMap,
        peer: Peer,
    ) -> Result<Option<Caller>, Refusal> {
        let found = match bearer(headers) {
            Some(key) => {
                let found = self.look_up(key, peer).await?;
                let wrong = || unauthenticated("The API key is not one of ours, or was revoked.");
                Some(found.ok_or_else(wrong)?)
            }
            None => match guest_secret(headers) {
                Some(secret) => self.look_up(secret, peer).await?,
                None => None,
            },
        };
        if let Some(caller) = &found {
            self.check_rate(caller)?;
        }
        Ok(found)
    }

    /// The caller of an API key.
    pub(super) async fn key_owner(&self, key: &str, peer: Peer) -> Result<Caller, Refusal> {
        let found = self.look_up(key, peer).await?;
        let wrong = || unauthenticated("The API key is not one of ours, or was revoked.");
        let caller = found.ok_or_else(wrong)?;
        self.check_rate(&caller)?;
        Ok(caller)
    }

    /// A session that the caller may use.
    pub(super) fn session_of(
        &self,
        caller: &Caller,
        id: &SessionId,
    ) -> Result<ShownSession, Refusal> {
        let session = self.sessions.directory().session(id);
        let session = session.ok_or_else(|| not_found("session"))?;
        if !caller.may_use(&session) {
            return Err(forbidden());
        }
        Ok(session)
    }

    /// An administrator's own tools are not held up: whoever has that key needs no flood.
    fn check_rate(&self, caller: &Caller) -> Result<(), Refusal> {
        match caller.role {
            Role::Guest => self.within_rate(caller.rate_key()),
            Role::Admin => Ok(()),
        }
    }

    pub(super) fn within_rate(&self, key: RateKey) -> Result<(), Refusal> {
        self.rates
            .requests
            .take(key, self.clock.now())
            .map_err(too_many)
    }

    async fn look_up(&self, secret: &str, peer: Peer) -> Result<Option<Caller>, Refusal> {
        if secret.len() > SECRET_BYTES_MAX {
            return Ok(None);
        }
        let hash = credential_hash(secret);
        if let Some(credential) = self.identities.cached(&hash) {
            return Ok(Some(credential.into()));
        }
        // A guess costs its address, before it costs us.
        self.within_rate(RateKey::of(peer))?;
        let found: Result<_, StoreError> = self.ledger.credential(hash).await;
        let Some(credential) = found.map_err(|e| store_failed(&e))? else {
            return Ok(None);
        };
        self.identities.keep(credential.clone());
        Ok(Some(credential.into()))
    }
}

/// The token of `Authorization: Bearer`.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn guest_secret(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == GUEST_COOKIE)
        .map(|(_, secret)| secret)
}
