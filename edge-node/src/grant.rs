//! Grants: the broker's signed orders, checked against the keys of the last welcome.
//!
//! **Invariant.** A [`Grant`] that comes out of [`GrantKeys::verify`] was signed by a key of the
//! broker as a grant (not as a ticket), for this node, for one of its slots.
//!
//! Endpoint tickets are signed with the same keys, and checked here where callers reach jobs at this node.
//!
//! **What it does not know:** epochs. The journal decides whether a grant is too old.

use crate::identity::Identity;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, Validation};
use nearlight_protocol::endpoint::EndpointClaims;
use nearlight_protocol::grant::{ENDPOINT_SCOPED_TYP, ENDPOINT_TYP, GRANT_TYP, Grant, ISSUER};
use serde::de::DeserializeOwned;

/// Bytes of a public key (RFC 8032 section 5.1.5).
const ED25519_BYTES: usize = 32;

/// The keys that sign grants.
#[derive(Clone)]
pub(crate) struct GrantKeys {
    /// By key id, where the set has ids.
    keys: Vec<(Option<String>, DecodingKey)>,
}

/// Why a grant is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GrantError {
    /// It is no token, or its header is not that of what is asked for.
    #[error("it is not a grant")]
    NotAGrant,
    /// No key of the broker made the signature, or a claim is missing.
    #[error("its signature or its claims are not valid: {0}")]
    Invalid(#[source] jsonwebtoken::errors::Error),
    /// It is for somebody else.
    #[error("it is for another node, {0}")]
    OtherNode(nearlight_protocol::id::NodeId),
    /// It is for a slot that this node does not have.
    #[error("this node has no slot {0}")]
    OtherSlot(nearlight_protocol::id::SlotId),
}

/// The key set of a welcome has no key that we can use.
#[derive(Debug, thiserror::Error)]
#[error("the broker's key set has no usable Ed25519 key")]
pub(crate) struct NoKeys;

impl GrantKeys {
    /// Takes the Ed25519 keys of a JWK set; others are none of our business.
    pub(crate) fn from_jwks(jwks: &serde_json::Value) -> Result<Self, NoKeys> {
        let set = jwks.get("keys").and_then(|keys| keys.as_array());
        // A set may hold kinds of keys that we cannot even parse; they must not hide the others.
        let keys: Vec<_> = set
            .ok_or(NoKeys)?
            .iter()
            .filter_map(|key| serde_json::from_value::<Jwk>(key.clone()).ok())
            .filter_map(|jwk| {
                let key = DecodingKey::from_jwk(&jwk).ok()?;
                // The length too: a verifier cuts its bytes out without looking.
                let usable = key.family() == AlgorithmFamily::Ed
                    && (key.try_get_as_bytes()).is_ok_and(|bytes| bytes.len() == ED25519_BYTES);
                usable.then_some((jwk.common.key_id, key))
            })
            .collect();
        if keys.is_empty() {
            return Err(NoKeys);
        }
        Ok(Self { keys })
    }

    /// Checks a grant for `node`.
    pub(crate) fn verify(&self, token: &str, node: &Identity) -> Result<Grant, GrantError> {
        check_addressee(self.claims(token, &[GRANT_TYP])?, node)
    }

    /// Checks an endpoint ticket. Its session, port and time are the caller's to check.
    pub(crate) fn verify_ticket(&self, token: &str) -> Result<EndpointClaims, GrantError> {
        self.claims(token, &[ENDPOINT_TYP, ENDPOINT_SCOPED_TYP])
    }

    /// The claims of a token of one of these types, if a key of the broker signed it.
    fn claims<T: DeserializeOwned>(&self, token: &str, types: &[&str]) -> Result<T, GrantError> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| GrantError::NotAGrant)?;
        if !header
            .typ
            .as_deref()
            .is_some_and(|typ| types.contains(&typ))
        {
            return Err(GrantError::NotAGrant);
        }
        let mut rules = Validation::new(Algorithm::EdDSA);
        rules.set_issuer(&[ISSUER]);
        // Age is the epoch's business: a grant is valid until its slot has a newer one. Tickets have a time of
        // their own.
        rules.set_required_spec_claims(&["iss"]);
        rules.validate_exp = false;
        rules.validate_aud = false;

        let mut refusal = GrantError::NotAGrant;
        let fitting = self
            .keys
            .iter()
            .filter(|(kid, _)| header.kid.is_none() || kid.is_none() || *kid == header.kid);
        for (_, key) in fitting {
            match jsonwebtoken::decode::<T>(token, key, &rules) {
                Ok(token) => return Ok(token.claims),
                Err(error) => refusal = GrantError::Invalid(error),
            }
        }
        Err(refusal)
    }
}

impl std::fmt::Debug for GrantKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.keys.iter().map(|(kid, _)| kid))
            .finish()
    }
}

fn check_addressee(grant: Grant, node: &Identity) -> Result<Grant, GrantError> {
    if grant.node != node.node {
        return Err(GrantError::OtherNode(grant.node));
    }
    if !node.slots.contains(&grant.slot) {
        return Err(GrantError::OtherSlot(grant.slot));
    }
    Ok(grant)
}

#[cfg(test)]
#[path = "grant/test.rs"]
mod test;
