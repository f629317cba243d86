//! The memory leg: blocks that are dear to rebuild, then reads that depend on one another.
//!
//! A block is 16,384 words, made in passes ([`Fill`]) so that whoever did not keep a word makes nearly all of its block
//! anew to have it: up to 65,536 steps in a row, to answer one read.
//!
//! The reads come after the fill is committed, from a key that was secret until then: lanes side by
//! side, each read at a place that the last one chose.

use super::mixer::{below, hash, mix, words};
use crate::log::tree::Hash;
use serde::{Deserialize, Serialize};

mod fill;
#[cfg(test)]
pub(crate) mod thrifty;

pub use fill::{BLOCK_STEPS, Fill};

/// Words of a block: 64 KiB.
pub const BLOCK_WORDS: usize = 16_384;
/// After so many reads a lane's value is kept, and committed.
pub const SEGMENT_READS: u32 = 1_000;

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
mod test;
