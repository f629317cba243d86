//! The blocks: four passes over 16,384 words, each pass over the words of the one before it.
//!
//! First a chain. Then from the last word to the first, to the last, to the first again: each word takes in the word
//! before it, what stood in its place, and two words elsewhere that the word before it chooses, as they stand at that
//! moment. What stood there is gone, and cannot be had back: every word that is taken in is both mixed and added.
//! So to make one word of the last pass anew takes words of the pass before it that nobody kept, and each of those
//! three more. Whoever keeps fewer than all ends with nearly the whole block (docs/proof.md has the arithmetic).
//!
//! Blocks do not depend on one another: a GPU makes one a thread, and a CPU some at a time, for a step waits for the
//! step before it.

use super::super::mixer::{digest, hash, mix, words};
use super::{BLOCK_WORDS, Place};
use crate::log::tree::Hash;

/// Steps that a block takes, one after the other.
pub const BLOCK_STEPS: u64 = 4 * BLOCK_WORDS as u64;
/// So many blocks are made at a time: they fit into a core's own cache.
const TOGETHER: usize = 4;

/// What the blocks of a probe follow from.
#[derive(Clone, Copy, Debug)]
pub struct Fill {
    key: [u32; 8],
}

impl Fill {
    /// The blocks of this seed.
    #[must_use]
    pub fn new(seed: &Hash) -> Self {
        Self {
            key: words(&hash("porc/v2 fill", &[seed])),
        }
    }

    /// The words that blocks are made from.
    #[must_use]
    pub const fn key(&self) -> [u32; 8] {
        self.key
    }

    /// Block `index`. The oracle of the fill.
    #[must_use]
    pub fn block(&self, index: u32) -> Vec<u32> {
        let mut block = Vec::new();
        self.each(&[index], |_, made| made.clone_into(&mut block));
        block
    }

    /// These blocks, some at a time, in this order: `with` gets each with its place in `indices`.
    pub fn each(&self, indices: &[u32], mut with: impl FnMut(usize, &[u32])) {
        let mut made = vec![0; BLOCK_WORDS];
        let mut at = 0;
        let (some, rest) = indices.as_chunks::<TOGETHER>();
        for indices in some {
            let blocks = self.together(*indices);
            for lane in 0..TOGETHER {
                for (word, all) in made.iter_mut().zip(blocks.iter()) {
                    *word = all[lane];
                }
                with(at, &made);
                at += 1;
            }
        }
        for index in rest {
            let block = self.together([*index]);
            with(at, block.as_flattened());
            at += 1;
        }
    }

    /// The digest of block `index`: its leaf.
    #[must_use]
    pub fn digest(&self, index: u32) -> Hash {
        digest(&self.block(index))
    }

    /// The digests of these blocks.
    #[must_use]
    pub fn digests(&self, indices: &[u32]) -> Vec<Hash> {
        let mut digests = Vec::with_capacity(indices.len());
        self.each(indices, |_, block| digests.push(digest(block)));
        digests
    }

    /// The words at these places, each from a block that is made for it.
    #[must_use]
    pub fn words(&self, places: &[Place]) -> Vec<u32> {
        let blocks: Vec<_> = places.iter().map(|place| place.block).collect();
        let mut words = Vec::with_capacity(places.len());
        self.each(&blocks, |at, block| words.push(block[places[at].word]));
        words
    }

    /// Blocks side by side, word by word.
    fn together<const N: usize>(&self, indices: [u32; N]) -> Vec<[u32; N]> {
        let mut made = vec![[0; N]; BLOCK_WORDS];
        let blocks: &mut [[u32; N]; BLOCK_WORDS] =
            made.as_mut_slice().try_into().expect("its length");
        let of = |index: u32| mix(mix(index ^ self.key[0]).wrapping_add(self.key[1]));
        let keys = indices.map(of);
        let mut last = keys;
        for (j, all) in blocks.iter_mut().enumerate() {
            for lane in 0..N {
                last[lane] = mix(last[lane] ^ self.key[j & 7]).wrapping_add(keys[lane]);
            }
            *all = last;
        }
        let places = || 0..BLOCK_WORDS;
        for j in places().rev().chain(places()).chain(places().rev()) {
            step(blocks, j, &mut last);
        }
        made
    }
}

/// One word of each block, in a pass after the first.
#[inline]
fn step<const N: usize>(blocks: &mut [[u32; N]; BLOCK_WORDS], j: usize, last: &mut [u32; N]) {
    for lane in 0..N {
        let word = last[lane];
        let (old, a, b) = (
            blocks[j][lane],
            blocks[word as usize % BLOCK_WORDS][lane],
            blocks[(word >> 18) as usize][lane],
        );
        last[lane] = taken(word, old, a, b);
        blocks[j][lane] = last[lane];
    }
}

/// The word after `word`, where `old` stood, with two from elsewhere.
const fn taken(word: u32, old: u32, a: u32, b: u32) -> u32 {
    mix(word ^ old ^ a.rotate_left(7) ^ b.rotate_left(13))
        .wrapping_add(old)
        .wrapping_add(a)
        .wrapping_add(b)
}
