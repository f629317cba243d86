//! The chain of hashes that rounds take their values from, held so that any round's is near.
//!
//! **Invariants.** What is told of a round is told once it has begun, and leads to the anchor.
//!
//! **What it does not know:** what time it is.

use nearlight_proof::beacon::anchor::Anchor;
use nearlight_proof::beacon::chain::step;
use nearlight_proof::key::KeyId;
use std::fmt;

/// Rounds of a chain: two years of minutes.
pub(super) const LENGTH: u64 = 1 << 20;
/// Rounds between two values that are kept.
const STRIDE: u64 = 1024;

/// What a chain begins with. It is never shown.
#[derive(Clone, Copy)]
pub(crate) struct ChainSecret(pub(crate) [u8; 32]);

impl fmt::Debug for ChainSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChainSecret")
    }
}

/// Every [`STRIDE`]th value, the anchor first.
pub(super) struct Marks {
    values: Vec<[u8; 32]>,
    length: u64,
}

impl Marks {
    /// Hashes through a chain of `length` rounds, a multiple of [`STRIDE`]: a tenth of a second for two years.
    pub(super) fn of(secret: &ChainSecret, length: u64) -> Self {
        let mut value = secret.0;
        let mut values = vec![value];
        for left in (0..length).rev() {
            value = step(&value);
            if left % STRIDE == 0 {
                values.push(value);
            }
        }
        values.reverse();
        Self { values, length }
    }

    /// Round 0.
    pub(super) fn anchor(&self) -> KeyId {
        KeyId(self.values.first().copied().unwrap_or_default())
    }

    fn value(&self, round: u64) -> Option<[u8; 32]> {
        let mark = round.div_ceil(STRIDE);
        let at = usize::try_from(mark).ok()?;
        let value = *self.values.get(at).filter(|_| round <= self.length)?;
        Some((0..mark * STRIDE - round).fold(value, |value, _| step(&value)))
    }
}

/// The chain of this ledger.
pub(crate) struct Chain {
    pub(crate) anchor: Anchor,
    /// As it stands in the log.
    pub(crate) envelope: Vec<u8>,
    marks: Marks,
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain")
            .field("anchor", &self.anchor)
            .finish_non_exhaustive()
    }
}

impl Chain {
    pub(super) const fn new(anchor: Anchor, envelope: Vec<u8>, marks: Marks) -> Self {
        Self {
            anchor,
            envelope,
            marks,
        }
    }

    /// The value of a round that has begun; `None` for another.
    pub(crate) fn value(&self, round: u64, now_ms: u64) -> Option<[u8; 32]> {
        let begun = round >= 1 && self.anchor.begins_ms(round) <= now_ms;
        begun.then(|| self.marks.value(round)).flatten()
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use nearlight_proof::beacon::chain;

    #[test]
    fn any_round_is_the_chains_and_none_is_told_before_it_begins() {
        let secret = ChainSecret([7; 32]);
        let marks = Marks::of(&secret, 3 * STRIDE);
        let anchor = Anchor {
            anchor: marks.anchor(),
            genesis_ms: 10_000,
            length: 3 * STRIDE,
            round_ms: 1_000,
        };
        let chain = Chain::new(anchor, Vec::new(), marks);
        let late = u64::MAX;
        for round in [1, 2, STRIDE - 1, STRIDE, STRIDE + 1, 3 * STRIDE] {
            let expected = chain::value(&secret.0, 3 * STRIDE, round);
            assert_eq!(chain.value(round, late), expected, "{round}");
        }
        assert_eq!(chain.value(3 * STRIDE + 1, late), None);
        assert_eq!(chain.value(0, late), None, "the anchor is no round");
        assert_eq!(chain.value(2, 10_999), None);
        assert!(chain.value(2, 11_000).is_some());
        assert!(!format!("{secret:?}").contains('7'));
    }
}
