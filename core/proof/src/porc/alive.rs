//! Whether a node is there: a signature over something that nobody could know before the round.

use super::mixer::hash;
use crate::key::KeyId;
use crate::log::tree::Hash;

/// The name of the question in addresses.
pub const ALIVE: &str = "alive";
/// How long the question is on its way, bytes.
pub const CHALLENGE_BYTES: usize = 8 + 3 * 32;

/// What a node is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// The round.
    pub round: u64,
    /// Its value.
    pub beacon: Hash,
    /// The node's key.
    pub node: KeyId,
    /// The checker's key.
    pub checker: KeyId,
    /// What the checker made up.
    pub nonce: Hash,
}

impl Challenge {
    /// As it travels: without the node's key, which the node has.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; CHALLENGE_BYTES] {
        let mut bytes = [0; CHALLENGE_BYTES];
        bytes[..8].copy_from_slice(&self.round.to_le_bytes());
        bytes[8..40].copy_from_slice(&self.beacon);
        bytes[40..72].copy_from_slice(&self.checker.0);
        bytes[72..].copy_from_slice(&self.nonce);
        bytes
    }

    /// The question that came to the node of this key; `None` for bytes that are none.
    #[must_use]
    pub fn from_bytes(bytes: &[u8], node: KeyId) -> Option<Self> {
        let bytes: &[u8; CHALLENGE_BYTES] = bytes.try_into().ok()?;
        let (round, rest) = bytes.split_first_chunk::<8>()?;
        let (beacon, rest) = rest.split_first_chunk::<32>()?;
        let (checker, nonce) = rest.split_first_chunk::<32>()?;
        Some(Self {
            round: u64::from_le_bytes(*round),
            beacon: *beacon,
            node,
            checker: KeyId(*checker),
            nonce: nonce.try_into().ok()?,
        })
    }
}

/// What the node signs.
#[must_use]
pub fn message(challenge: &Challenge) -> Hash {
    let parts: [&[u8]; 5] = [
        &challenge.round.to_le_bytes(),
        &challenge.beacon,
        &challenge.node.0,
        &challenge.checker.0,
        &challenge.nonce,
    ];
    hash("porc/v1 alive", &parts)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_question_comes_as_it_was_sent_and_each_part_of_it_counts() {
        let asked = Challenge {
            round: 7,
            beacon: [1; 32],
            node: KeyId([2; 32]),
            checker: KeyId([3; 32]),
            nonce: [4; 32],
        };
        let bytes = asked.to_bytes();
        assert_eq!(Challenge::from_bytes(&bytes, asked.node), Some(asked));
        assert_eq!(Challenge::from_bytes(&bytes[1..], asked.node), None);
        for at in 0..bytes.len() {
            let mut other = bytes;
            other[at] ^= 1;
            let other = Challenge::from_bytes(&other, asked.node).unwrap();
            assert_ne!(message(&other), message(&asked));
        }
        let elsewhere = Challenge {
            node: KeyId([9; 32]),
            ..asked
        };
        assert_ne!(message(&elsewhere), message(&asked));
    }
}
