//! Secrets that callers show: made from chance, looked up by their hash.

use crate::ledger::{CredentialHash, Secret};
use nearlight_protocol::id::KeyId;
pub(crate) use nearlight_protocol::identity::KEY_PREFIX;
use rand::Rng;
use sha2::{Digest, Sha256};

/// Characters behind it, of five bits each: 200 bits, of which [`SHOWN_CHARS`] may be known.
const KEY_CHARS: usize = 40;
/// Keys that were made before had so many.
const KEY_CHARS_MIN: usize = 32;
const KEY_ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Characters of a key that are shown in lists, to tell keys apart.
const SHOWN_CHARS: usize = 6;

/// SHA-256 of a secret. Secrets are random, so that no slow hash is needed.
pub(crate) fn credential_hash(secret: &str) -> CredentialHash {
    Sha256::digest(secret.as_bytes()).into()
}

/// What a checker's account has in a secret's place: its certificate is looked up by it. No text that anybody sends has it
/// for a hash, for it is that of bytes which are no text.
pub(crate) fn certified_hash(account: &KeyId) -> CredentialHash {
    Sha256::new()
        .chain_update([0xff])
        .chain_update(b"nearlight checker by certificate 1\0")
        .chain_update(account.as_str())
        .finalize()
        .into()
}

/// A new API key's secret.
pub(crate) fn new_key() -> String {
    let mut rng = rand::rng();
    let body = (0..KEY_CHARS).map(|_| {
        let at = rng.random_range(0..KEY_ALPHABET.len());
        char::from(KEY_ALPHABET[at])
    });
    KEY_PREFIX.chars().chain(body).collect()
}

/// Whether this may be an API key.
pub(crate) fn is_key(text: &str) -> bool {
    text.starts_with(KEY_PREFIX) && text.len() >= KEY_PREFIX.len() + KEY_CHARS_MIN
}

/// What the ledger may know of a key's secret.
pub(crate) fn kept(secret: &str) -> Secret {
    Secret {
        hash: credential_hash(secret),
        prefix: secret
            .chars()
            .take(KEY_PREFIX.len() + SHOWN_CHARS)
            .collect(),
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_new_key_is_one_and_little_of_it_is_shown() {
        let key = new_key();
        assert!(is_key(&key) && key != new_key());
        assert_eq!(key.len(), 44);
        let kept = kept(&key);
        assert!(key.starts_with(&kept.prefix) && kept.prefix.len() == 10);
    }
}
