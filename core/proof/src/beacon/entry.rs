//! An entry of the log about rounds: an envelope of its own type that the directory's key alone signed.

use crate::canon;
use crate::key::{PublicKey, SecretKey};
use crate::receipt::envelope::Envelope;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Written as one.
pub(super) fn sign<T: Serialize>(kind: &str, said: &T, authority: &SecretKey) -> Option<Vec<u8>> {
    let value = serde_json::to_value(said).ok()?;
    let mut envelope = Envelope::new(kind, canon::to_bytes(&value));
    envelope.sign(authority);
    Some(envelope.to_bytes())
}

/// Reads one of this type that `authority` signed, and nobody else.
pub(super) fn open<T: DeserializeOwned>(
    kind: &str,
    bytes: &[u8],
    authority: &PublicKey,
) -> Option<T> {
    let envelope = Envelope::parse(bytes).ok()?;
    let one = envelope.signatures.len() == 1 && envelope.payload_type == kind;
    if !one || !envelope.signed_by(authority) {
        return None;
    }
    let value = canon::strict(&envelope.payload).ok()?;
    serde_json::from_value(value).ok()
}
