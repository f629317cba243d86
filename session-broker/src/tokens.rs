//! What the broker signs: grants for edges, attach tickets for players. EdDSA JWTs with one key,
//! told apart by their `typ` header (RFC 8725 section 3.11).
//!
//! Brokers that share a ledger sign with a key each, and believe each other's ([`Signer::trust`]).
//!
//! **Invariants.** Only `EdDSA` is accepted, only with the id of a key that is known, only with the
//! `typ` that the caller asks for. The key never leaves its file, which is 0600.
//!
//! **What it does not know:** whether a ticket was spent (the ledger does), or who may have one.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use nearlight_kit::files::write_atomic;
use nearlight_proof::key::SecretKey;
use nearlight_protocol::endpoint::EndpointClaims;
use nearlight_protocol::grant::{
    ENDPOINT_SCOPED_TYP, ENDPOINT_TYP, GRANT_TYP, Grant, ISSUER, TICKET_TYP,
};
use nearlight_protocol::id::{SessionId, UserId};
use nearlight_protocol::unit::UnixMillis;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

/// The DER of an Ed25519 private key (RFC 8410 section 7) up to its 32 bytes.
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];
const SEED_BYTES: usize = 32;
/// The `typ` of what a browser keeps while its player is at the provider.
const LOGIN_TYP: &str = "nearlight-login+jwt";
/// The `typ` of what a program polls with while its player is at the provider.
const DEVICE_TYP: &str = "nearlight-device+jwt";

/// Why there is no signing key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The key's file cannot be read or written.
    #[error("cannot use the signing key {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is no key.
    #[error("{} is not a signing key of ours; restore it, or delete it (running sessions end)", path.display())]
    NotAKey {
        /// Which.
        path: PathBuf,
    },
    /// The key cannot be used.
    #[error("cannot use the signing key")]
    Crypto(#[source] jsonwebtoken::errors::Error),
}

/// Why a token is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It has another purpose, or is of another kind.
    #[error("the token has the type `{0}`")]
    Type(String),
    /// It is signed with a key that is not known.
    #[error("the token is signed with a key that is not known")]
    Key,
    /// Signature, algorithm or claims are wrong.
    #[error("the token does not verify")]
    Invalid(#[source] jsonwebtoken::errors::Error),
    /// It is no longer valid.
    #[error("the token is expired")]
    Expired,
    /// It is for another session.
    #[error("the token is for another session")]
    OtherSession,
}

/// The claims of an attach ticket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketClaims {
    /// [`ISSUER`].
    pub iss: String,
    /// The one session that it opens.
    pub aud: SessionId,
    /// Who asked for it.
    pub sub: UserId,
    /// Its id: it is spent once.
    pub jti: String,
    /// When it was signed.
    pub iat_ms: UnixMillis,
    /// When it is void.
    pub exp_ms: UnixMillis,
    /// Whether it ends another attachment.
    pub take_over: bool,
}

/// What a browser keeps while its player is at the provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginClaims {
    /// [`ISSUER`].
    pub iss: String,
    /// Comes back in the address.
    pub state: String,
    /// Comes back in the ID token.
    pub nonce: String,
    /// For the token endpoint (PKCE).
    pub verifier: String,
    /// The page to come back to.
    pub back: String,
    /// The guest that the browser was.
    pub guest: Option<UserId>,
    /// When it is void.
    pub exp_ms: UnixMillis,
}

/// What a program polls with while its player is at the provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceClaims {
    /// [`ISSUER`].
    pub iss: String,
    /// The provider's code.
    pub device_code: String,
    /// When it is void.
    pub exp_ms: UnixMillis,
}

/// The broker's signing key, and those that it believes.
#[derive(Clone)]
pub struct Signer {
    /// As it was read: `jsonwebtoken` would read its key, and multiply for the public half, once a signature.
    sign: Arc<SecretKey>,
    key_id: String,
    /// Our own first. Held for a look-up.
    known: Arc<RwLock<Vec<Known>>>,
}

/// A public key.
#[derive(Clone)]
struct Known {
    key_id: String,
    verify: DecodingKey,
    jwk: Jwk,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer")
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

impl Signer {
    /// The key in `path`, made if there is none.
    ///
    /// # Errors
    /// [`KeyError`] if the file is not usable. It is never overwritten: with another key every
    /// running session's grant would be void.
    pub fn open(path: &Path) -> Result<Self, KeyError> {
        let file = |source| KeyError::File {
            path: path.to_owned(),
            source,
        };
        if !path.exists() {
            let seed: [u8; SEED_BYTES] = rand::random();
            let text = format!("{}\n", URL_SAFE_NO_PAD.encode(seed));
            write_atomic(path, text.as_bytes(), 0o600).map_err(file)?;
        }
        let text = std::fs::read_to_string(path).map_err(file)?;
        let seed: [u8; SEED_BYTES] = URL_SAFE_NO_PAD
            .decode(text.trim())
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or_else(|| KeyError::NotAKey {
                path: path.to_owned(),
            })?;
        Self::from_seed(&seed)
    }

    fn from_seed(seed: &[u8; SEED_BYTES]) -> Result<Self, KeyError> {
        let mut der = PKCS8_PREFIX.to_vec();
        der.extend(seed);
        let read = EncodingKey::from_ed_der(&der);
        let mut jwk = Jwk::from_encoding_key(&read, Algorithm::EdDSA).map_err(KeyError::Crypto)?;
        let verify = DecodingKey::from_jwk(&jwk).map_err(KeyError::Crypto)?;
        let public = verify.try_get_as_bytes().map_err(KeyError::Crypto)?;
        let key_id = URL_SAFE_NO_PAD.encode(&Sha256::digest(public)[..12]);
        jwk.common.key_id = Some(key_id.clone());
        jwk.common.public_key_use = Some(jsonwebtoken::jwk::PublicKeyUse::Signature);
        let own = Known {
            key_id: key_id.clone(),
            verify,
            jwk,
        };
        Ok(Self {
            sign: Arc::new(SecretKey::from_seed(seed)),
            key_id,
            known: Arc::new(RwLock::new(vec![own])),
        })
    }

    /// Our own public key, a JWK.
    pub fn public_key(&self) -> String {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let own = known.first().map(|known| &known.jwk);
        serde_json::to_string(&own).expect("a JWK is strings")
    }

    /// Believes what these keys sign, JWKs of brokers that share the ledger, and no others but our own.
    /// What is no key is passed over.
    pub fn trust<'a>(&self, keys: impl Iterator<Item = &'a str>) {
        let mut others: Vec<Known> = keys.filter_map(known_of).collect();
        others.retain(|other| other.key_id != self.key_id);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.truncate(1);
        known.append(&mut others);
    }

    /// The public keys, as a JWK set (RFC 7517, RFC 8037).
    pub fn jwks(&self) -> serde_json::Value {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let keys = known.iter().map(|known| known.jwk.clone()).collect();
        serde_json::to_value(JwkSet { keys }).expect("a JWK set is strings")
    }

    /// Signs a grant.
    pub fn grant(&self, grant: &Grant) -> String {
        self.encode(GRANT_TYP, grant)
    }

    /// The grant in `token`, if we signed it.
    ///
    /// # Errors
    /// [`TokenError`] for anything else.
    pub fn verify_grant(&self, token: &str) -> Result<Grant, TokenError> {
        self.decode(GRANT_TYP, token)
    }

    /// Signs a ticket.
    pub fn ticket(&self, claims: &TicketClaims) -> String {
        self.encode(TICKET_TYP, claims)
    }

    /// The ticket in `token`, if we signed it for `session`. Its time is not checked: the resource
    /// that it opened outlives it.
    ///
    /// # Errors
    /// [`TokenError`] for anything else.
    pub fn verify_ticket(
        &self,
        token: &str,
        session: &SessionId,
    ) -> Result<TicketClaims, TokenError> {
        let claims: TicketClaims = self.decode(TICKET_TYP, token)?;
        if claims.aud != *session {
            return Err(TokenError::OtherSession);
        }
        Ok(claims)
    }

    /// Signs an endpoint ticket.
    pub fn endpoint_ticket(&self, claims: &EndpointClaims) -> String {
        self.encode(claims.typ(), claims)
    }

    /// The endpoint ticket in `token`, if we signed it. Its session, port and time are the caller's to
    /// check.
    ///
    /// # Errors
    /// [`TokenError`] for anything else.
    pub fn verify_endpoint_ticket(&self, token: &str) -> Result<EndpointClaims, TokenError> {
        let scoped = self.decode(ENDPOINT_SCOPED_TYP, token);
        scoped.or_else(|_| self.decode(ENDPOINT_TYP, token))
    }

    /// Signs what a browser keeps while its player is at the provider.
    pub fn login(&self, claims: &LoginClaims) -> String {
        self.encode(LOGIN_TYP, claims)
    }

    /// What a browser has kept, if we signed it. Its time is not checked.
    ///
    /// # Errors
    /// [`TokenError`] for anything else.
    pub fn verify_login(&self, token: &str) -> Result<LoginClaims, TokenError> {
        self.decode(LOGIN_TYP, token)
    }

    /// Signs what a program polls with.
    pub fn device(&self, claims: &DeviceClaims) -> String {
        self.encode(DEVICE_TYP, claims)
    }

    /// What a program polls with, if we signed it. Its time is not checked.
    ///
    /// # Errors
    /// [`TokenError`] for anything else.
    pub fn verify_device(&self, token: &str) -> Result<DeviceClaims, TokenError> {
        self.decode(DEVICE_TYP, token)
    }

    /// A JWS in its compact form (RFC 7515 section 7.1).
    fn encode<T: Serialize>(&self, typ: &str, claims: &T) -> String {
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(typ.to_owned());
        header.kid = Some(self.key_id.clone());
        let header = serde_json::to_vec(&header).expect("a header is strings");
        let claims = serde_json::to_vec(claims).expect("claims are plain JSON");
        let mut token = URL_SAFE_NO_PAD.encode(header);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = self.sign.sign(token.as_bytes());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        token
    }

    fn decode<T: for<'de> Deserialize<'de>>(
        &self,
        typ: &str,
        token: &str,
    ) -> Result<T, TokenError> {
        let header = jsonwebtoken::decode_header(token).map_err(TokenError::Invalid)?;
        if header.typ.as_deref() != Some(typ) {
            return Err(TokenError::Type(header.typ.unwrap_or_default()));
        }
        let verify = self.key(header.kid.as_deref())?;
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[ISSUER]);
        // Our times are milliseconds under names of their own; the audience is checked by type.
        validation.set_required_spec_claims(&["iss"]);
        validation.validate_exp = false;
        validation.validate_aud = false;
        jsonwebtoken::decode(token, &verify, &validation)
            .map(|token| token.claims)
            .map_err(TokenError::Invalid)
    }

    fn key(&self, key_id: Option<&str>) -> Result<DecodingKey, TokenError> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let known = known.iter().find(|k| Some(k.key_id.as_str()) == key_id);
        known.map(|k| k.verify.clone()).ok_or(TokenError::Key)
    }
}

fn known_of(jwk: &str) -> Option<Known> {
    let jwk: Jwk = serde_json::from_str(jwk).ok()?;
    Some(Known {
        key_id: jwk.common.key_id.clone()?,
        verify: DecodingKey::from_jwk(&jwk).ok()?,
        jwk,
    })
}

impl TicketClaims {
    /// Whether it can still be used for an attachment.
    ///
    /// # Errors
    /// [`TokenError::Expired`].
    pub fn check_time(&self, now_ms: UnixMillis) -> Result<(), TokenError> {
        if now_ms >= self.exp_ms {
            return Err(TokenError::Expired);
        }
        Ok(())
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use nearlight_protocol::id::{NodeId, SlotId};
    use nearlight_protocol::unit::U64;
    use std::os::unix::fs::PermissionsExt;

    fn signer(seed: u8) -> Signer {
        Signer::from_seed(&[seed; SEED_BYTES]).unwrap()
    }

    fn session(n: u64) -> SessionId {
        SessionId::from_parts(n, [0; 10])
    }

    fn grant() -> Grant {
        Grant {
            iss: ISSUER.to_owned(),
            session: session(1),
            node: NodeId::from_parts(2, [0; 10]),
            slot: SlotId::from_parts(3, [0; 10]),
            epoch: U64(u64::MAX),
            user: UserId::from_parts(4, [0; 10]),
            iat_ms: 5,
            gpus: Vec::new(),
            row: None,
        }
    }

    fn ticket() -> TicketClaims {
        TicketClaims {
            iss: ISSUER.to_owned(),
            aud: session(1),
            sub: UserId::from_parts(4, [0; 10]),
            jti: "t".to_owned(),
            iat_ms: 0,
            exp_ms: 1000,
            take_over: false,
        }
    }

    #[test]
    fn a_grant_round_trips_and_verifies_with_the_published_key() {
        let signer = signer(7);
        let token = signer.grant(&grant());
        assert_eq!(signer.verify_grant(&token).unwrap(), grant());
        let jwks: JwkSet = serde_json::from_value(signer.jwks()).unwrap();
        let kid = jsonwebtoken::decode_header(&token).unwrap().kid.unwrap();
        let key = DecodingKey::from_jwk(jwks.find(&kid).unwrap()).unwrap();
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_required_spec_claims(&["iss"]);
        let claims: Grant = jsonwebtoken::decode(&token, &key, &validation)
            .unwrap()
            .claims;
        assert_eq!(claims, grant());
    }

    #[test]
    fn a_token_of_one_kind_is_none_of_another() {
        let signer = signer(7);
        let grant = signer.grant(&grant());
        let ticket = signer.ticket(&ticket());
        assert!(signer.verify_grant(&ticket).is_err());
        assert!(signer.verify_ticket(&grant, &session(1)).is_err());
    }

    #[test]
    fn foreign_changed_and_unsigned_tokens_are_refused() {
        let ours = signer(7);
        let token = ours.grant(&grant());
        assert!(signer(8).verify_grant(&token).is_err());
        let (head, signature) = token.rsplit_once('.').unwrap();
        let (header, _) = head.split_once('.').unwrap();
        let mut other = grant();
        other.epoch = U64(9);
        let payload = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&other).unwrap());
        let changed = format!("{header}.{payload}.{signature}");
        let none = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"none","typ":"{GRANT_TYP}"}}"#));
        for bad in [
            changed,
            format!("{none}.{payload}."),
            String::new(),
            "a.b.c".to_owned(),
        ] {
            assert!(ours.verify_grant(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_ticket_is_for_one_session_and_a_short_time() {
        let signer = signer(7);
        let token = signer.ticket(&ticket());
        let claims = signer.verify_ticket(&token, &session(1)).unwrap();
        assert!(claims.check_time(999).is_ok());
        assert!(matches!(claims.check_time(1000), Err(TokenError::Expired)));
        assert!(matches!(
            signer.verify_ticket(&token, &session(2)),
            Err(TokenError::OtherSession)
        ));
    }

    #[test]
    fn the_key_file_is_private_kept_and_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("signing.key");
        let token = Signer::open(&path).unwrap().grant(&grant());
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(Signer::open(&path).unwrap().verify_grant(&token).is_ok());
        std::fs::write(&path, "not a key").unwrap();
        assert!(matches!(Signer::open(&path), Err(KeyError::NotAKey { .. })));
    }

    #[test]
    fn a_program_polls_with_what_was_signed_for_that() {
        let signer = signer(1);
        let claims = DeviceClaims {
            iss: ISSUER.to_owned(),
            device_code: "code".to_owned(),
            exp_ms: 7,
        };
        let token = signer.device(&claims);
        assert_eq!(signer.verify_device(&token).unwrap(), claims);
        assert!(signer.verify_login(&token).is_err(), "of another kind");
        assert!(signer.verify_device("code").is_err(), "made up");
    }
}
