//! A pass: what an assigned checker signs, so that the player program that it starts meets the node that is to be
//! checked. The program shows it to the broker, and has no key; the node never sees it.
//!
//! As text: `ROUND.NODE.CHECKER.SIGNATURE`: decimal digits, two key ids in hex, hex.
//!
//! **Invariants.** It is of one round of one network, for its value is signed, of one node and of one checker. One
//! spelling each.
//!
//! **What it does not know:** whether the checker is assigned, and whether the pass was used: brokers keep that.

use crate::encoding::{array_from_hex, hex};
use crate::key::{KeyId, PublicKey, SecretKey};
use crate::log::tree::Hash;
use std::fmt;

/// The longest text of one.
pub const PASS_BYTES_MAX: usize = 300;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pass {
    /// Of which round.
    pub round: u64,
    /// The node's receipt key, by id.
    pub node: KeyId,
    /// Whose it is, by id.
    pub checker: KeyId,
    signature: [u8; 64],
}

impl Pass {
    /// Signs one, for a round with this value.
    #[must_use]
    pub fn sign(checker: &SecretKey, (round, value): (u64, &Hash), node: KeyId) -> Self {
        let id = checker.public().id();
        let signature = checker.sign(&said((round, value), &node, &id));
        Self {
            round,
            node,
            checker: id,
            signature,
        }
    }

    /// Reads one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > PASS_BYTES_MAX {
            return None;
        }
        let mut parts = text.split('.');
        let read = Self {
            round: parts.next()?.parse().ok()?,
            node: KeyId::from_hex(parts.next()?)?,
            checker: KeyId::from_hex(parts.next()?)?,
            signature: array_from_hex(parts.next()?)?,
        };
        // One spelling: no sign, no leading zero, nothing behind it.
        (read.to_string() == text).then_some(read)
    }

    /// Whether this key of its checker signed it for a round with this value.
    #[must_use]
    pub fn holds(&self, key: &PublicKey, value: &Hash) -> bool {
        let message = said((self.round, value), &self.node, &self.checker);
        key.id() == self.checker && key.verifies(&message, &self.signature)
    }
}

impl fmt::Display for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signature = hex(&self.signature);
        write!(
            f,
            "{}.{}.{}.{signature}",
            self.round, self.node, self.checker
        )
    }
}

fn said((round, value): (u64, &Hash), node: &KeyId, checker: &KeyId) -> Vec<u8> {
    let value = hex(value);
    format!("nearlight stream pass v1\n{round}\n{value}\n{node}\n{checker}\n").into_bytes()
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_pass_is_of_one_round_one_node_and_one_checker() {
        let key = SecretKey::from_seed(&[1; 32]);
        let other = SecretKey::from_seed(&[2; 32]).public();
        let pass = Pass::sign(&key, (7, &[3; 32]), KeyId([4; 32]));
        assert!(pass.holds(&key.public(), &[3; 32]));
        assert!(
            !pass.holds(&key.public(), &[5; 32]),
            "another network's round"
        );
        assert!(!pass.holds(&other, &[3; 32]));
        let text = pass.to_string();
        assert_eq!(Pass::parse(&text), Some(pass));
        for (from, to) in [("7.", "8."), ("0404", "0405")] {
            let moved = Pass::parse(&text.replacen(from, to, 1)).unwrap();
            assert!(!moved.holds(&key.public(), &[3; 32]), "{to}");
        }
        for spelling in ["07.", "+7.", "", "7"] {
            assert_eq!(
                Pass::parse(&text.replacen("7.", spelling, 1)),
                None,
                "{spelling}"
            );
        }
        assert_eq!(Pass::parse(&format!("{text}.")), None);
        assert_eq!(Pass::parse(&"7.".repeat(PASS_BYTES_MAX)), None);
    }
}
