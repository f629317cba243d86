//! What checkers and owners of licences sign to become members of a network: short texts, one spelling each.
//!
//! **What it does not know:** who is admitted, and how tokens are made.

use crate::encoding::{array_from_hex, hex, sha256};
use crate::key::{KeyId, PublicKey, SecretKey};
use std::fmt;

/// What a checker signs with its key to come in with a token, and to have the key of this request certified.
#[must_use]
pub fn join(token: &str, key: &PublicKey, request: &str) -> Vec<u8> {
    let token = hex(&sha256(&[token.as_bytes()]));
    let key = hex(key.as_bytes());
    let request = hex(&sha256(&[request.as_bytes()]));
    format!("nearlight checker join v2\n{token}\n{key}\n{request}\n").into_bytes()
}

/// A licence's owner says that a checker may act for it.
///
/// As text: `LICENCE-KEY.UNTIL.SIGNATURE`, hex, Unix seconds, hex.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delegation {
    licence: PublicKey,
    until_s: u64,
    signature: [u8; 64],
}

impl Delegation {
    /// Signs one, with the licence's key.
    #[must_use]
    pub fn sign(licence: &SecretKey, checker: &PublicKey, until_s: u64) -> Self {
        let public = licence.public();
        Self {
            licence: public,
            until_s,
            signature: licence.sign(&said(&public, checker, until_s)),
        }
    }

    /// Reads one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (licence, rest) = text.split_once('.')?;
        let (until, signature) = rest.split_once('.')?;
        let until_s: u64 = until.parse().ok()?;
        let read = Self {
            licence: PublicKey::from_hex(licence)?,
            until_s,
            signature: array_from_hex(signature)?,
        };
        // One spelling: no sign, no leading zero.
        (read.to_string() == text).then_some(read)
    }

    /// The licence, by id.
    #[must_use]
    pub fn licence(&self) -> KeyId {
        self.licence.id()
    }

    /// Until when it holds, Unix seconds.
    #[must_use]
    pub const fn until_s(&self) -> u64 {
        self.until_s
    }

    /// Whether the licence's owner has delegated to this checker, and it still holds.
    #[must_use]
    pub fn holds(&self, checker: &PublicKey, now_s: u64) -> bool {
        let message = said(&self.licence, checker, self.until_s);
        now_s < self.until_s && self.licence.verifies(&message, &self.signature)
    }
}

impl fmt::Display for Delegation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (licence, signature) = (hex(self.licence.as_bytes()), hex(&self.signature));
        write!(f, "{licence}.{}.{signature}", self.until_s)
    }
}

fn said(licence: &PublicKey, checker: &PublicKey, until_s: u64) -> Vec<u8> {
    let (licence, checker) = (hex(licence.as_bytes()), hex(checker.as_bytes()));
    format!("nearlight delegation v1\n{licence}\n{checker}\n{until_s}\n").into_bytes()
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_delegation_is_for_one_checker_until_its_end_and_has_one_spelling() {
        let (owner, checker) = (
            SecretKey::from_seed(&[1; 32]),
            SecretKey::from_seed(&[2; 32]),
        );
        let other = SecretKey::from_seed(&[3; 32]).public();
        let given = Delegation::sign(&owner, &checker.public(), 100);
        assert!(given.holds(&checker.public(), 99));
        assert!(!given.holds(&checker.public(), 100));
        assert!(!given.holds(&other, 99));
        let text = given.to_string();
        assert_eq!(Delegation::parse(&text), Some(given));
        let later = text.replacen(".100.", ".200.", 1);
        assert!(
            !Delegation::parse(&later)
                .unwrap()
                .holds(&checker.public(), 99)
        );
        for spelling in [".0100.", ".+100.", "."] {
            assert_eq!(
                Delegation::parse(&text.replacen(".100.", spelling, 1)),
                None
            );
        }
    }

    #[test]
    fn a_join_is_for_one_token_one_key_and_one_request() {
        let key = SecretKey::from_seed(&[2; 32]);
        let public = key.public();
        let signature = key.sign(&join("nlc_a", &public, "request"));
        let holds = |token: &str, request: &str| {
            public.verifies(&join(token, &public, request), &signature)
        };
        assert!(holds("nlc_a", "request"));
        assert!(!holds("nlc_b", "request") && !holds("nlc_a", "another"));
    }
}
