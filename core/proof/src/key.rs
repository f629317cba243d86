//! Ed25519 keys and their ids.
//!
//! Verification is strict (RFC 8032 with canonical points and scalars, no key of small order): a
//! signature that one verifier takes, all of them take. A key's id is the SHA-256 of its 32 bytes;
//! note signatures use C2SP's shorter id, see [`crate::log::note`].
//!
//! **What it does not know:** where secret keys are kept, and who is trusted.

use crate::encoding::{array_from_hex, hex, sha256};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use std::fmt;

/// The SHA-256 of a public key; what statements name a key by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 32]);

impl KeyId {
    /// The id that 64 lower-case hex digits stand for.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        array_from_hex(text).map(Self)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// A public key: a point that is canonical and not of small order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// The key of these 32 bytes, or `None` if they are no key that strict verification takes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 32]) -> Option<Self> {
        let key = VerifyingKey::from_bytes(bytes).ok()?;
        let canonical = key.to_edwards().compress().to_bytes() == *bytes;
        (canonical && !key.is_weak()).then_some(Self(key))
    }

    /// The key of 64 lower-case hex digits.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        Self::from_bytes(&array_from_hex(text)?)
    }

    /// Its 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> KeyId {
        KeyId(sha256(&[self.as_bytes()]))
    }

    /// Whether `signature` is this key's, over `message`.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        let signature = Signature::from_bytes(signature);
        self.0.verify_strict(message, &signature).is_ok()
    }
}

/// A secret key. Its bytes are wiped when it goes, and never printed.
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// The key of this seed, RFC 8032's 32 secret bytes.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// Its signature over `message`.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(of {})", self.public().id())
    }
}

#[cfg(test)]
mod test {
    use super::*;

    /// RFC 8032 section 7.1, test 2.
    #[test]
    fn a_vector_of_rfc_8032() {
        let seed = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb";
        let public = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
        let key = SecretKey::from_seed(&array_from_hex(seed).unwrap());
        assert_eq!(hex(key.public().as_bytes()), public);
        let signature = key.sign(&[0x72]);
        assert_eq!(
            hex(&signature),
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
             085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        );
        assert!(key.public().verifies(&[0x72], &signature));
        assert!(!key.public().verifies(&[0x73], &signature));
    }

    #[test]
    fn weak_and_odd_keys_are_refused() {
        let mut identity = [0; 32];
        identity[0] = 1;
        assert!(PublicKey::from_bytes(&identity).is_none(), "small order");
        assert!(
            PublicKey::from_bytes(&[0xff; 32]).is_none(),
            "not canonical"
        );
        // y = p + 3 is a point under y = 3's other spelling.
        let mut odd = [0xff; 32];
        (odd[0], odd[31]) = (0xf0, 0x7f);
        assert!(PublicKey::from_bytes(&odd).is_none());
    }

    /// S + L for S verifies where S is not reduced; strictly it does not.
    #[test]
    fn a_signature_has_one_spelling() {
        let key = SecretKey::from_seed(&[7; 32]);
        let mut signature = key.sign(b"once");
        const ORDER: [u8; 32] = [
            0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9,
            0xde, 0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
        ];
        let mut carry = 0;
        for (byte, order) in signature[32..].iter_mut().zip(ORDER) {
            let sum = u16::from(*byte) + u16::from(order) + carry;
            *byte = sum as u8;
            carry = sum >> 8;
        }
        assert!(!key.public().verifies(b"once", &signature));
    }
}
