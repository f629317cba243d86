//! The memory leg: blocks that are dear to rebuild, then reads that depend on one another.
//!
//! A block is 16,384 words. First each word follows from the one before. Then, from the last to the
//! first, each takes in the word after it and one elsewhere in the block, which the word after it
//! chooses. So no few words of a block stand for the others: whoever did not keep a block rebuilds
//! all of it, 32,768 steps in a row, to answer one read.
//!
//! The reads come after the fill is committed, from a key that was secret until then: lanes side by
//! side, each read at a place that the last one chose.

use super::mixer::{below, digest, hash, mix, words};
use crate::log::tree::Hash;
use serde::{Deserialize, Serialize};

/// Words of a block: 64 KiB.
pub const BLOCK_WORDS: usize = 16_384;
/// After so many reads a lane's value is kept, and committed.
pub const SEGMENT_READS: u32 = 1_000;

/// What the blocks of a probe follow from.
#[derive(Clone, Copy, Debug)]
pub struct Fill([u32; 8]);

impl Fill {
    /// The blocks of this seed.
    #[must_use]
    pub fn new(seed: &Hash) -> Self {
        Self(words(&hash("porc/v1 fill", &[seed])))
    }

    /// The words that blocks are made from.
    #[must_use]
    pub const fn key(&self) -> [u32; 8] {
        self.0
    }

    /// Block `index`. The oracle of the fill.
    #[must_use]
    pub fn block(&self, index: u32) -> Vec<u32> {
        let key = mix(mix(index ^ self.0[0]).wrapping_add(self.0[1]));
        let mut block = vec![0; BLOCK_WORDS];
        let mut word = key;
        for (j, place) in block.iter_mut().enumerate() {
            word = mix(word ^ self.0[j & 7]).wrapping_add(key);
            *place = word;
        }
        for j in (0..BLOCK_WORDS).rev() {
            let elsewhere = block[word as usize % BLOCK_WORDS];
            word = mix(word ^ block[j] ^ elsewhere.rotate_left(7)).wrapping_add(key);
            block[j] = word;
        }
        block
    }

    /// The digest of block `index`: its leaf.
    #[must_use]
    pub fn digest(&self, index: u32) -> Hash {
        digest(&self.block(index))
    }
}

/// The reads of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reads {
    key: [u32; 8],
    blocks: u32,
}

/// Where a read goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which block.
    pub block: u32,
    /// Which word of it.
    pub word: usize,
}

impl Reads {
    /// The reads over so many blocks, from the secret that was revealed after the fill.
    #[must_use]
    pub fn new(seed: &Hash, read_secret: &Hash, blocks: u32) -> Self {
        Self {
            key: words(&hash("porc/v1 read", &[seed, read_secret])),
            blocks,
        }
    }

    /// The words that places and values are mixed with.
    #[must_use]
    pub const fn key(&self) -> [u32; 8] {
        self.key
    }

    /// A lane's value before its first read.
    #[must_use]
    pub const fn start(&self, lane: u32) -> u32 {
        mix(mix(lane ^ self.key[0]).wrapping_add(self.key[1]))
    }

    /// Where a lane reads with this value.
    #[must_use]
    pub const fn place(&self, value: u32) -> Place {
        let block = below(mix(value ^ self.key[2]), self.blocks);
        Place {
            block,
            word: value as usize % BLOCK_WORDS,
        }
    }

    /// The value after read number `turn` found `word`. The number goes in, or the values would
    /// soon run in a circle.
    #[must_use]
    pub const fn next(&self, value: u32, turn: u32, word: u32) -> u32 {
        mix(value ^ word ^ self.key[(turn & 7) as usize]).wrapping_add(turn)
    }

    /// The values of a lane after every [`SEGMENT_READS`] reads, and after the last. The oracle of
    /// the reads; `word` reads a word of the fill.
    pub fn run(&self, lane: u32, reads: u32, mut word: impl FnMut(Place) -> u32) -> Vec<u32> {
        let (mut value, mut kept) = (self.start(lane), Vec::new());
        for turn in 0..reads {
            value = self.next(value, turn, word(self.place(value)));
            if (turn + 1).is_multiple_of(SEGMENT_READS) || turn + 1 == reads {
                kept.push(value);
            }
        }
        kept
    }

    /// The places of the reads of one segment, if from `value` they found these words and ended
    /// with `end`; `None` if they do not.
    #[must_use]
    pub fn replay(
        &self,
        value: u32,
        first_turn: u32,
        found: &[u32],
        end: u32,
    ) -> Option<Vec<Place>> {
        let (mut value, mut places) = (value, Vec::with_capacity(found.len()));
        for (turn, word) in (first_turn..).zip(found) {
            places.push(self.place(value));
            value = self.next(value, turn, *word);
        }
        (value == end).then_some(places)
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_lane_reads_what_the_fill_holds() {
        let fill = Fill::new(&[1; 32]);
        let blocks: Vec<_> = (0..5).map(|i| fill.block(i)).collect();
        let reads = Reads::new(&[1; 32], &[2; 32], 5);
        let mut found = Vec::new();
        let kept = reads.run(3, 2_500, |place| {
            let word = blocks[place.block as usize][place.word];
            found.push(word);
            word
        });
        assert_eq!(kept.len(), 3);
        let places = reads
            .replay(kept[0], 1_000, &found[1_000..2_000], kept[1])
            .unwrap();
        let distinct: std::collections::BTreeSet<_> =
            places.iter().map(|p| (p.block, p.word)).collect();
        assert!(
            distinct.len() > 950,
            "reads go everywhere: {}",
            distinct.len()
        );
        found[1_500] ^= 1;
        assert_eq!(
            reads.replay(kept[0], 1_000, &found[1_000..2_000], kept[1]),
            None
        );
    }

    /// A word that is wrong early in the making of a block changes all of it: no part stands alone.
    #[test]
    fn blocks_differ_everywhere() {
        let fill = Fill::new(&[1; 32]);
        let (a, b) = (fill.block(0), fill.block(1));
        assert!(a.iter().zip(&b).filter(|(x, y)| x == y).count() < 4);
        assert_ne!(fill.digest(0), fill.digest(1));
    }
}
