//! The signature of a notice, in the form of Standard Webhooks: pure.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nearlight_protocol::unit::UnixMillis;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use std::fmt;

/// What a secret begins with, for people and scanners.
const PREFIX: &str = "whsec_";
const SECRET_BYTES: usize = 32;

/// The system has no randomness.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the system gives no random bytes")]
pub(crate) struct SecretError;

/// What notices are signed with. Nothing that is printed shows it.
pub(crate) struct Secret(Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// A new one.
    pub(crate) fn random() -> Result<Self, SecretError> {
        let mut bytes = vec![0; SECRET_BYTES];
        let filled = SystemRandom::new().fill(&mut bytes);
        filled.map_err(|_| SecretError)?;
        Ok(Self(bytes))
    }

    /// One of these bytes.
    pub(crate) const fn of(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Its bytes, to be sealed.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// As its tenant gets it, once.
    pub(crate) fn shown(&self) -> String {
        format!("{PREFIX}{}", STANDARD.encode(&self.0))
    }
}

/// The headers of a notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Signed {
    pub(crate) id: String,
    /// Unix seconds.
    pub(crate) timestamp: String,
    /// One a secret.
    pub(crate) signature: String,
}

impl Signed {
    pub(crate) fn new(id: &str, at_ms: UnixMillis, body: &str, secrets: &[Secret]) -> Self {
        let timestamp = (at_ms / 1000).to_string();
        let text = format!("{id}.{timestamp}.{body}");
        let sign = |secret: &Secret| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, &secret.0);
            let tag = hmac::sign(&key, text.as_bytes());
            format!("v1,{}", STANDARD.encode(tag))
        };
        let signatures: Vec<String> = secrets.iter().map(sign).collect();
        Self {
            id: id.to_owned(),
            timestamp,
            signature: signatures.join(" "),
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use serde_json::{Value, json};

    /// What the clients' tests verify.
    const VECTORS: &str = include_str!("../../../clients/vectors/webhooks.json");

    fn vector(name: &str, secrets: &[Secret], body: &str) -> Value {
        let signed = Signed::new(
            "msg_01kb0000000000000000000000",
            1_767_225_600_000,
            body,
            secrets,
        );
        json!({
            "name": name,
            "secret": secrets[0].shown(),
            "body": body,
            "headers": {
                "webhook-id": signed.id,
                "webhook-timestamp": signed.timestamp,
                "webhook-signature": signed.signature,
            },
        })
    }

    /// The example of the specification's own libraries.
    #[test]
    fn a_signature_is_as_the_standard_has_it() {
        let secret = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let body = r#"{"test": 2432232314}"#;
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        let signed = Signed::new(id, 1_614_265_330_000, body, &[Secret::of(secret)]);
        let expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(signed.signature, expected);
        assert_eq!(signed.timestamp, "1614265330");
    }

    #[test]
    fn the_vectors_of_the_clients_are_what_is_sent() {
        let secret = |byte| Secret::of(vec![byte; SECRET_BYTES]);
        let body = r#"{"type":"session.ready","timestamp":"2026-01-01T00:00:00Z","data":{"labels":{"customer":"acmé"}}}"#;
        let made = json!([
            vector("one secret", &[secret(7)], body),
            vector("while it is rotated", &[secret(8), secret(7)], body),
            vector("an empty body", &[secret(7)], ""),
        ]);
        let kept: Value = serde_json::from_str(VECTORS).unwrap();
        let made_text = serde_json::to_string_pretty(&made).unwrap();
        assert_eq!(
            kept, made,
            "clients/vectors/webhooks.json is to be:\n{made_text}"
        );
    }

    #[test]
    fn a_secret_is_new_each_time_and_not_printed() {
        let [one, other] = [(); 2].map(|()| Secret::random().unwrap());
        assert_ne!(one.shown(), other.shown());
        assert!(one.shown().starts_with("whsec_"));
        assert_eq!(format!("{one:?}"), "Secret");
    }
}
