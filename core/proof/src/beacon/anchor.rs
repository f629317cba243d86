//! A chain's anchor as it stands in the log: an envelope of its own type, signed by the key that signs the directory.
//!
//! It is appended before round 1 begins, so that whoever runs the chain cannot choose it later.

use super::{chain, entry};
use crate::key::{KeyId, PublicKey, SecretKey};
use serde::{Deserialize, Serialize};

/// The type of its payload.
pub const CHAIN: &str = "application/vnd.nearlight.chain.v1+json";

/// A chain of rounds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anchor {
    /// Its end: round 0.
    pub anchor: KeyId,
    /// When round 1 begins, Unix milliseconds.
    pub genesis_ms: u64,
    /// How many rounds there are.
    pub length: u64,
    /// How long one is, milliseconds.
    pub round_ms: u64,
}

impl Anchor {
    /// As an entry of the log.
    #[must_use]
    pub fn sign(&self, authority: &SecretKey) -> Option<Vec<u8>> {
        let bytes = entry::sign(CHAIN, self, authority)?;
        Self::open(&bytes, &authority.public())?;
        Some(bytes)
    }

    /// Reads one that `authority` signed.
    #[must_use]
    pub fn open(bytes: &[u8], authority: &PublicKey) -> Option<Self> {
        let read: Self = entry::open(CHAIN, bytes, authority)?;
        let fits = read.round_ms > 0 && (1..=chain::ROUNDS_MAX).contains(&read.length);
        fits.then_some(read)
    }

    /// The round of this moment; 0 before the first, `None` after the last.
    #[must_use]
    pub const fn round_at(&self, unix_ms: u64) -> Option<u64> {
        let Some(since) = unix_ms.checked_sub(self.genesis_ms) else {
            return Some(0);
        };
        let round = since / self.round_ms + 1;
        if round > self.length {
            None
        } else {
            Some(round)
        }
    }

    /// When a round begins, Unix milliseconds.
    #[must_use]
    pub const fn begins_ms(&self, round: u64) -> u64 {
        let before = self.round_ms.saturating_mul(round.saturating_sub(1));
        self.genesis_ms.saturating_add(before)
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn an_anchor_is_signed_and_its_rounds_follow_each_other() {
        let key = SecretKey::from_seed(&[4; 32]);
        let anchor = Anchor {
            anchor: KeyId([9; 32]),
            genesis_ms: 1_000,
            length: 3,
            round_ms: 10,
        };
        let bytes = anchor.sign(&key).unwrap();
        assert_eq!(Anchor::open(&bytes, &key.public()), Some(anchor.clone()));
        let other = SecretKey::from_seed(&[5; 32]).public();
        assert_eq!(Anchor::open(&bytes, &other), None);
        let rounds = [999, 1_000, 1_009, 1_010, 1_029, 1_030].map(|at| anchor.round_at(at));
        let expected = [Some(0), Some(1), Some(1), Some(2), Some(3), None];
        assert_eq!(rounds, expected);
        assert_eq!((anchor.begins_ms(1), anchor.begins_ms(3)), (1_000, 1_020));
        let endless = Anchor {
            round_ms: 0,
            ..anchor
        };
        assert_eq!(endless.sign(&key), None);
    }
}
