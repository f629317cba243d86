//! What an ID token must say to be taken (OpenID Connect Core 1.0 section 3.1.3.7).

use super::Identified;
use crate::config::OidcSettings;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use nearlight_protocol::plain::is_plain;
use serde::Deserialize;

/// Clocks of two hosts may differ by so many seconds.
const LEEWAY_S: u64 = 60;
/// Longest name of a player, characters.
const NAME_CHARS_MAX: usize = 80;
/// Longest `sub`, bytes (section 2).
const SUBJECT_BYTES_MAX: usize = 255;
/// Those with a public key: with a shared secret everybody who has it could sign.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// Why an ID token is not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    /// It is signed by a key that the provider does not list.
    #[error("its key is not among the provider's")]
    UnknownKey,
    /// Its algorithm is none that we take.
    #[error("its algorithm is not taken")]
    Algorithm,
    /// Signature, issuer, audience or time are wrong.
    #[error("it does not verify: {0}")]
    Invalid(#[from] jsonwebtoken::errors::Error),
    /// It was made for another one's attempt.
    #[error("it has another attempt's nonce")]
    Nonce,
    /// It was made for somebody else.
    #[error("it was made for another program")]
    Party,
    /// It names nobody.
    #[error("it names nobody")]
    Subject,
}

/// The claims that we look at.
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    azp: Option<String>,
    nonce: Option<String>,
    name: Option<String>,
    preferred_username: Option<String>,
    email: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Claims {
    /// The claims of `token`, if it is one for us, and for the attempt of this nonce where there is one.
    pub(super) fn verified(
        token: &str,
        keys: &JwkSet,
        settings: &OidcSettings,
        nonce: Option<&str>,
    ) -> Result<Self, Refused> {
        let header = jsonwebtoken::decode_header(token)?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(Refused::Algorithm);
        }
        let key = match (&header.kid, keys.keys.as_slice()) {
            (Some(kid), _) => keys.find(kid),
            // Without a name there must be no choice.
            (None, [only]) => Some(only),
            (None, _) => None,
        };
        let key = DecodingKey::from_jwk(key.ok_or(Refused::UnknownKey)?)?;
        let mut validation = Validation::new(header.alg);
        validation.leeway = LEEWAY_S;
        validation.validate_nbf = true;
        validation.set_issuer(&[&settings.issuer]);
        validation.set_audience(&[&settings.client_id]);
        validation.set_required_spec_claims(&["exp", "iss", "sub", "aud"]);
        let claims: Self = jsonwebtoken::decode(token, &key, &validation)?.claims;
        if nonce.is_some() && claims.nonce.as_deref() != nonce {
            return Err(Refused::Nonce);
        }
        let others = match &claims.aud {
            Audience::One(one) => *one != settings.client_id,
            Audience::Several(several) => several.len() > 1,
        };
        let party = claims.azp.as_ref();
        if party.is_some_and(|azp| *azp != settings.client_id) || (others && party.is_none()) {
            return Err(Refused::Party);
        }
        if !(1..=SUBJECT_BYTES_MAX).contains(&claims.sub.len()) {
            return Err(Refused::Subject);
        }
        Ok(claims)
    }

    pub(super) fn identified(self) -> Identified {
        let names = [self.name, self.preferred_username, self.email];
        let name = names
            .into_iter()
            .flatten()
            .find(|name| !name.trim().is_empty());
        let name = name.unwrap_or_else(|| "player".to_owned());
        let plain = name.trim().chars().filter(|c| is_plain(*c));
        Identified {
            issuer: self.iss,
            subject: self.sub,
            name: plain.take(NAME_CHARS_MAX).collect(),
        }
    }
}

/// A JWK set as it comes.
#[derive(Debug, Deserialize)]
pub(super) struct LooseKeys {
    keys: Vec<serde_json::Value>,
}

impl LooseKeys {
    /// The keys that can be read.
    pub(super) fn known(self) -> JwkSet {
        let known = |key| serde_json::from_value::<Jwk>(key).ok();
        JwkSet {
            keys: self.keys.into_iter().filter_map(known).collect(),
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use jsonwebtoken::{EncodingKey, Header};
    use serde_json::{Value, json};

    const SEED: [u8; 32] = [7; 32];
    const PKCS8_PREFIX: [u8; 16] = [
        0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04,
        0x20,
    ];

    fn signing(seed: [u8; 32]) -> EncodingKey {
        EncodingKey::from_ed_der(&[&PKCS8_PREFIX[..], &seed].concat())
    }

    fn keys() -> JwkSet {
        let mut key = Jwk::from_encoding_key(&signing(SEED), Algorithm::EdDSA).unwrap();
        key.common.key_id = Some("k".to_owned());
        JwkSet { keys: vec![key] }
    }

    fn settings() -> OidcSettings {
        OidcSettings {
            issuer: "https://idp.example".to_owned(),
            client_id: "us".to_owned(),
            client_secret: None,
            scopes: vec!["openid".to_owned()],
            public_url: None,
            login_days: 1,
            ca: None,
        }
    }

    fn claims() -> Value {
        let now = jsonwebtoken::get_current_timestamp();
        json!({
            "iss": "https://idp.example", "sub": "s", "aud": "us", "nonce": "n",
            "exp": now + 300, "iat": now, "name": " Ann\u{7} "
        })
    }

    fn verify(claims: &Value, seed: [u8; 32], kid: Option<&str>) -> Result<Claims, Refused> {
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = kid.map(str::to_owned);
        let token = jsonwebtoken::encode(&header, claims, &signing(seed)).unwrap();
        Claims::verified(&token, &keys(), &settings(), Some("n"))
    }

    #[test]
    fn a_token_for_us_and_this_attempt_is_taken() {
        let identified = verify(&claims(), SEED, Some("k")).unwrap().identified();
        assert_eq!(
            (identified.subject.as_str(), identified.name.as_str()),
            ("s", "Ann")
        );
        assert!(verify(&claims(), SEED, None).is_ok(), "there is one key");
    }

    #[test]
    fn every_other_token_is_refused() {
        let now = jsonwebtoken::get_current_timestamp();
        for (key, value) in [
            ("iss", json!("https://idp.example/")),
            ("iss", Value::Null),
            ("aud", json!("them")),
            ("aud", json!(["us", "them"])),
            ("aud", json!([])),
            ("azp", json!("them")),
            ("nonce", json!("m")),
            ("nonce", Value::Null),
            ("exp", json!(now - 120)),
            ("exp", Value::Null),
            ("nbf", json!(now + 120)),
            ("sub", json!("")),
            ("sub", Value::Null),
        ] {
            let mut claims = claims();
            claims[key] = value.clone();
            let refused = verify(&claims, SEED, Some("k"));
            assert!(refused.is_err(), "{key} {value}: {refused:?}");
        }
        assert!(
            verify(&claims(), [8; 32], Some("k")).is_err(),
            "another key"
        );
        let unknown = verify(&claims(), SEED, Some("l"));
        assert!(matches!(unknown, Err(Refused::UnknownKey)), "{unknown:?}");
    }

    #[test]
    fn a_shared_secret_signs_nothing() {
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some("k".to_owned());
        let key = EncodingKey::from_secret(b"secret");
        let token = jsonwebtoken::encode(&header, &claims(), &key).unwrap();
        let refused = Claims::verified(&token, &keys(), &settings(), Some("n"));
        assert!(matches!(refused, Err(Refused::Algorithm)), "{refused:?}");
    }

    #[test]
    fn keys_that_cannot_be_read_are_passed_over() {
        let known = serde_json::to_value(&keys().keys[0]).unwrap();
        let keys = json!({ "keys": [known, { "kty": "RSA", "kid": 5 }] });
        let keys: LooseKeys = serde_json::from_value(keys).unwrap();
        assert_eq!(keys.known().keys.len(), 1);
    }
}
