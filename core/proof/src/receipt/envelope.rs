//! Envelopes (DSSE 1.0): a payload, its type, and signatures over both.
//!
//! An entry of a log is an envelope in RFC 8785 form, with one or two signatures, each with the full
//! id of its key: no byte of it is free. What a signature covers is [`pae`], never the JSON around.

use crate::canon::{self, ordered};
use crate::encoding::{array_from_base64, base64, from_base64};
use crate::key::{KeyId, PublicKey, SecretKey};
use crate::log::tile::ENTRY_BYTES_MAX;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// The type of a payload that is an in-toto Statement.
pub const IN_TOTO: &str = "application/vnd.in-toto+json";
/// The most signatures: the issuer's and the node's.
pub const SIGNATURES_MAX: usize = 2;

/// Why bytes are no envelope of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// More than an entry of a log may have.
    #[error("the envelope is longer than 65,535 bytes; put the evidence beside it, by its hash")]
    Length,
    /// Not JSON in RFC 8785 form.
    #[error("the envelope: {0}")]
    Form(#[from] canon::CanonError),
    /// JSON, but not payload, payloadType and one or two signatures with key ids.
    #[error("the envelope has other members than payload, payloadType and its signatures")]
    Members,
}

/// An envelope that was taken apart. Nothing of it is verified yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// What the payload is.
    pub payload_type: String,
    /// What is signed.
    pub payload: Vec<u8>,
    /// Who signed, in order, by key id.
    pub signatures: Vec<(KeyId, [u8; 64])>,
}

/// An envelope as it is written.
#[derive(Serialize, Deserialize)]
struct Form<'a> {
    #[serde(borrow)]
    payload: Cow<'a, str>,
    #[serde(borrow, rename = "payloadType")]
    payload_type: Cow<'a, str>,
    #[serde(borrow)]
    signatures: Vec<Signature<'a>>,
}

#[derive(Serialize, Deserialize)]
struct Signature<'a> {
    keyid: KeyId,
    #[serde(borrow)]
    sig: Cow<'a, str>,
}

impl Envelope {
    /// An envelope that nobody has signed yet.
    #[must_use]
    pub fn new(payload_type: &str, payload: Vec<u8>) -> Self {
        Self {
            payload_type: payload_type.to_owned(),
            payload,
            signatures: Vec::new(),
        }
    }

    /// Reads an entry of a log.
    ///
    /// # Errors
    /// Every [`EnvelopeError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        if bytes.len() > ENTRY_BYTES_MAX {
            return Err(EnvelopeError::Length);
        }
        // What is written anew from what was understood must be what was read: one form, nothing twice, nothing skipped.
        match Self::read(bytes).filter(|envelope| envelope.to_bytes() == bytes) {
            Some(envelope) => Ok(envelope),
            None => Err(canon::strict(bytes).map_or_else(Into::into, |_| EnvelopeError::Members)),
        }
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let form: Form<'_> = serde_json::from_slice(bytes).ok()?;
        if !(1..=SIGNATURES_MAX).contains(&form.signatures.len()) {
            return None;
        }
        let signatures = form.signatures.iter();
        let one =
            |signature: &Signature<'_>| Some((signature.keyid, array_from_base64(&signature.sig)?));
        Some(Self {
            payload_type: form.payload_type.into_owned(),
            payload: from_base64(&form.payload)?,
            signatures: signatures.map(one).collect::<Option<_>>()?,
        })
    }

    /// The entry of a log that this envelope is.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let one = |(key, signature): &(KeyId, [u8; 64])| Signature {
            keyid: *key,
            sig: base64(signature).into(),
        };
        let form = Form {
            payload: base64(&self.payload).into(),
            payload_type: (&*self.payload_type).into(),
            signatures: self.signatures.iter().map(one).collect(),
        };
        ordered::write(&form).expect("it has no numbers, and its members are in order")
    }

    /// Adds a signature.
    pub fn sign(&mut self, secret: &SecretKey) {
        let signature = secret.sign(&pae(&self.payload_type, &self.payload));
        self.signatures.push((secret.public().id(), signature));
    }

    /// Whether this key signed.
    #[must_use]
    pub fn signed_by(&self, key: &PublicKey) -> bool {
        let message = pae(&self.payload_type, &self.payload);
        let id = key.id();
        self.signatures
            .iter()
            .any(|(signer, signature)| *signer == id && key.verifies(&message, signature))
    }
}

/// DSSE's pre-authentication encoding: what a signature covers.
#[must_use]
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!(
        "DSSEv1 {} {payload_type} {} ",
        payload_type.len(),
        payload.len()
    );
    [head.as_bytes(), payload].concat()
}

#[cfg(test)]
mod test {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn the_encoding_of_the_dsse_vector() {
        let vectors: Value =
            serde_json::from_str(include_str!("../../vectors/public.json")).unwrap();
        let text = |name: &str| vectors["dsse"][name].as_str().unwrap();
        assert_eq!(
            pae(text("type"), text("body").as_bytes()),
            text("pae").as_bytes()
        );
        let envelope: Value = serde_json::from_str(text("envelope")).unwrap();
        let payload = from_base64(envelope["payload"].as_str().unwrap()).unwrap();
        assert_eq!(payload, text("body").as_bytes());
    }

    #[test]
    fn an_entry_has_one_spelling() {
        let secret = SecretKey::from_seed(&[1; 32]);
        let mut envelope = Envelope::new(IN_TOTO, b"{}".to_vec());
        envelope.sign(&secret);
        let bytes = envelope.to_bytes();
        assert_eq!(Envelope::parse(&bytes), Ok(envelope.clone()));
        assert!(envelope.signed_by(&secret.public()));
        let mut value: Value = serde_json::from_slice(&bytes).unwrap();
        value["more"] = json!(1);
        let more = canon::to_bytes(&value);
        assert_eq!(Envelope::parse(&more), Err(EnvelopeError::Members));
        let spaced = serde_json::to_vec_pretty(&value).unwrap();
        assert!(matches!(
            Envelope::parse(&spaced),
            Err(EnvelopeError::Form(_))
        ));
        envelope.payload = vec![0; 60_000];
        assert_eq!(
            Envelope::parse(&envelope.to_bytes()),
            Err(EnvelopeError::Length)
        );
        envelope.signatures.clear();
        envelope.payload.clear();
        assert_eq!(
            Envelope::parse(&envelope.to_bytes()),
            Err(EnvelopeError::Members)
        );
    }
}
