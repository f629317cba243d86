//! A beacon for closed networks: a hash chain that is spent backwards.
//!
//! Whoever runs it draws a secret, hashes it `length` times and puts the end (the anchor) into the
//! log before round 1. Round r's value is the one that hashes to round r-1's; so each value is fixed
//! by the anchor, and nobody but its maker knows it before it is published. The maker does know:
//! a closed network trusts it not to tell a node, and docs/proof.md says so.

use crate::key::KeyId;

/// The most rounds that one check hashes through.
pub const ROUNDS_MAX: u64 = 1 << 20;

/// One step of the chain.
#[must_use]
pub fn step(value: &[u8; 32]) -> [u8; 32] {
    *blake3::Hasher::new()
        .update(b"nearlight beacon chain/v1")
        .update(value)
        .finalize()
        .as_bytes()
}

/// The value of `round` of a chain of `length` rounds from its secret; round 0 is the anchor.
/// `None` beyond the end, or for a chain longer than [`ROUNDS_MAX`].
#[must_use]
pub fn value(secret: &[u8; 32], length: u64, round: u64) -> Option<[u8; 32]> {
    let steps = length.checked_sub(round).filter(|_| length <= ROUNDS_MAX)?;
    Some((0..steps).fold(*secret, |value, _| step(&value)))
}

/// Whether `value` is the chain's of `round`, given an earlier value that is known: the anchor, or
/// any round that was verified. Hashes once for each round between.
#[must_use]
pub fn verify(known: (u64, &KeyId), round: u64, value: &[u8; 32]) -> bool {
    let Some(steps) = round
        .checked_sub(known.0)
        .filter(|steps| (1..=ROUNDS_MAX).contains(steps))
    else {
        return false;
    };
    (0..steps).fold(*value, |value, _| step(&value)) == known.1.0
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn every_round_leads_to_the_anchor() {
        let secret = [5; 32];
        let anchor = KeyId(value(&secret, 100, 0).unwrap());
        for round in [1, 2, 50, 100] {
            let value = value(&secret, 100, round).unwrap();
            assert!(verify((0, &anchor), round, &value));
            assert!(!verify((0, &anchor), round - 1, &value));
            assert!(!verify((0, &anchor), round, &[0; 32]));
        }
        assert_eq!(value(&secret, 100, 101), None);
        assert!(!verify((0, &anchor), u64::MAX, &secret));
        let known = KeyId(value(&secret, 100, 40).unwrap());
        assert!(verify((40, &known), 42, &value(&secret, 100, 42).unwrap()));
    }
}
