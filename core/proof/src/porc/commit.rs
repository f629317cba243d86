//! Commit, then open: the roots come first, and what is opened follows from a secret revealed later.

use super::mixer::hash;
use crate::log::tree::{Hash, Hasher};
use std::collections::BTreeSet;

/// How the trees of a proof are hashed: BLAKE3 over `0x01 || left || right`, in the shape of RFC
/// 6962. A leaf is the BLAKE3 of 64 KiB, 16 KiB or so, which no two hashes are.
#[derive(Clone, Copy, Debug)]
pub struct CommitHasher;

impl Hasher for CommitHasher {
    fn parent(left: &Hash, right: &Hash) -> Hash {
        *blake3::Hasher::new()
            .update(&[1])
            .update(left)
            .update(right)
            .finalize()
            .as_bytes()
    }

    fn empty() -> Hash {
        *blake3::hash(&[]).as_bytes()
    }
}

/// What a node commits to, before anything is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commitment {
    /// Root over the digests of the rows of C.
    pub matrix: Hash,
    /// Root over the digests of the blocks.
    pub fill: Hash,
    /// Root over the digests of the lanes' values.
    pub reads: Hash,
    /// Root over the roots of the frames.
    pub frames: Hash,
}

impl Commitment {
    /// The key of what is opened: nobody knows it before the commitment is made, neither side can
    /// choose it, and anyone can draw the same later.
    #[must_use]
    pub fn open_key(&self, open_secret: &Hash) -> Hash {
        let roots: [&[u8]; 5] = [
            open_secret,
            &self.matrix,
            &self.fill,
            &self.reads,
            &self.frames,
        ];
        hash("porc/v1 open", &roots)
    }
}

/// `count` different numbers below `limit`, in order; all of them if there are no more.
#[must_use]
pub fn draw(open_key: &Hash, what: &str, limit: u64, count: usize) -> BTreeSet<u64> {
    let mut drawn = BTreeSet::new();
    if limit <= count as u64 {
        return (0..limit).collect();
    }
    for turn in 0_u64.. {
        if drawn.len() == count {
            break;
        }
        let [a, b, c, d, e, f, g, h, ..] = hash(
            "porc/v1 draw",
            &[open_key, what.as_bytes(), &turn.to_le_bytes()],
        );
        let word = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        drawn.insert(((u128::from(word) * u128::from(limit)) >> 64) as u64);
    }
    drawn
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn draws_are_different_and_within() {
        let drawn = draw(&[1; 32], "rows", 1000, 256);
        assert_eq!(drawn.len(), 256);
        assert!(drawn.iter().all(|n| *n < 1000));
        assert_ne!(drawn, draw(&[2; 32], "rows", 1000, 256));
        assert_ne!(drawn, draw(&[1; 32], "tiles", 1000, 256));
        assert_eq!(draw(&[1; 32], "rows", 5, 256).len(), 5);
        assert!(draw(&[1; 32], "rows", 0, 256).is_empty());
    }

    /// 10% skipped, 64 opened: caught with 99.88%; 2% skipped, 256 opened: with 99.43%.
    #[test]
    fn skipping_is_caught_as_often_as_stated() {
        for (share, opened, least) in [(10, 64, 0.9988), (2, 256, 0.9943)] {
            let probes = 4_000_u32;
            let caught = (0..probes).filter(|probe| {
                let key = hash("probe", &[&probe.to_le_bytes()]);
                draw(&key, "tiles", 16_000, opened)
                    .iter()
                    .any(|tile| tile % 100 < share)
            });
            let rate = caught.count() as f64 / f64::from(probes);
            // Three standard deviations of so many probes.
            let slack = 3.0 * (least * (1.0 - least) / f64::from(probes)).sqrt();
            assert!(rate >= least - slack, "{share}% skipped: caught {rate}");
        }
    }
}
