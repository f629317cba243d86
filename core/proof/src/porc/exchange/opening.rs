//! What is opened, and its bytes. Which rows, blocks, lanes and tiles follows from the open secret, and with the
//! sizes so does the length of every part: nothing in it says how long it is.
//!
//! ```text
//!   each row: its words, its path | each block: its path | each lane: kept values, one segment's words, its path
//!   roots of all frames           | each tile: its path in its frame
//! ```
//!
//! Words are 4 bytes, little endian.

use super::super::check::{self, Flaw, Place, Segment};
use super::super::commit::{Commitment, draw};
use super::super::compute::RowTest;
use super::super::memory::{self, Fill, Reads, SEGMENT_READS};
use super::trees::{Tree, path_len};
use crate::log::tree::Hash;
use crate::receipt::predicate::Sizes;
use serde::{Deserialize, Serialize};

mod again;

pub use again::{Again, Part};

/// Rows that are opened.
pub const ROWS: usize = 256;
/// Blocks that are opened.
pub const BLOCKS: usize = 256;
/// Lanes of which a segment is opened.
pub const LANES: usize = 16;
/// Words of such a segment that are rebuilt.
pub const WORDS: usize = 16;
/// Tiles that are opened.
pub const TILES: usize = 256;

/// What is to be opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    sizes: Sizes,
    /// Rows of C.
    pub rows: Vec<u32>,
    /// Blocks of the fill.
    pub blocks: Vec<u32>,
    /// A segment of each of these lanes.
    pub lanes: Vec<Lane>,
    /// Frame and tile.
    pub tiles: Vec<(u32, u32)>,
}

/// A segment of a lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lane {
    /// Which lane.
    pub lane: u32,
    /// Which of its segments.
    pub segment: u32,
    /// Which of the words are rebuilt, by their place in the segment.
    pub words: Vec<u64>,
}

/// The trees of a node that has done all of it.
#[derive(Debug)]
pub struct Trees {
    /// Over the rows of C.
    pub matrix: Tree,
    /// Over the blocks.
    pub fill: Tree,
    /// Over the lanes' values.
    pub reads: Tree,
    /// One a frame, over its tiles.
    pub tiles: Vec<Tree>,
}

/// What a node still holds when it opens.
pub trait Held {
    /// A row of C.
    fn row(&self, index: u32) -> Vec<u32>;
    /// The values that a lane kept.
    fn kept(&self, lane: u32) -> Vec<u32>;
    /// A word of the fill.
    fn word(&self, place: memory::Place) -> u32;
}

/// In which part of an opening something is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// It is not as long as what was drawn.
    #[error("the opening has another length than what was drawn")]
    Length,
    /// A row of C.
    #[error("row {0} of C: {1}")]
    Row(u32, Flaw),
    /// A block of the fill.
    #[error("block {0}: {1}")]
    Block(u32, Flaw),
    /// The reads of a lane.
    #[error("lane {0} of the reads: {1}")]
    Lane(u32, Flaw),
    /// A tile, by frame and number.
    #[error("tile {1} of frame {0}: {2}")]
    Tile(u32, u32, Flaw),
}

fn small(drawn: u64) -> u32 {
    // Drawn below a limit of 32 bits.
    u32::try_from(drawn).unwrap_or(u32::MAX)
}

impl Plan {
    /// What this key draws.
    #[must_use]
    pub fn draw(sizes: &Sizes, open_key: &Hash) -> Self {
        let some = |what: &str, limit: u32, count| -> Vec<u32> {
            let drawn = draw(open_key, what, limit.into(), count);
            drawn.into_iter().map(small).collect()
        };
        let segments = sizes.reads.div_ceil(SEGMENT_READS);
        let lane = |lane| {
            let segment = some(&format!("segment {lane}"), segments, 1)[0];
            let reads = segment_reads(sizes, segment) as u64;
            let words = draw(open_key, &format!("words {lane}"), reads, WORDS);
            Lane {
                lane,
                segment,
                words: words.into_iter().collect(),
            }
        };
        let tiles = u64::from(sizes.frames) * u64::from(sizes.tiles);
        let at = |tile| {
            (
                small(tile / u64::from(sizes.tiles)),
                small(tile % u64::from(sizes.tiles)),
            )
        };
        Self {
            sizes: *sizes,
            rows: some("rows", sizes.rows, ROWS),
            blocks: some("blocks", sizes.blocks, BLOCKS),
            lanes: some("lanes", sizes.lanes, LANES)
                .into_iter()
                .map(lane)
                .collect(),
            tiles: draw(open_key, "tiles", tiles, TILES)
                .into_iter()
                .map(at)
                .collect(),
        }
    }

    /// How many bytes the opening has.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let sizes = &self.sizes;
        let paths = |of: &[u32], leaves| -> usize { of.iter().map(|i| path_len(*i, leaves)).sum() };
        let lanes: Vec<u32> = self.lanes.iter().map(|of| of.lane).collect();
        let tiles: Vec<u32> = self.tiles.iter().map(|of| of.1).collect();
        let hashes = paths(&self.rows, sizes.rows)
            + paths(&self.blocks, sizes.blocks)
            + paths(&lanes, sizes.lanes)
            + sizes.frames as usize
            + paths(&tiles, sizes.tiles);
        let segments = sizes.reads.div_ceil(SEGMENT_READS) as usize;
        let of_lane = |lane: &Lane| segments + segment_reads(sizes, lane.segment);
        let words =
            self.rows.len() * sizes.rows as usize + self.lanes.iter().map(of_lane).sum::<usize>();
        hashes * 32 + words * 4
    }

    /// Opens it.
    pub fn open(&self, reads: &Reads, trees: &Trees, held: &impl Held) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes());
        for row in &self.rows {
            words(&mut out, &held.row(*row));
            hashes(&mut out, &trees.matrix.path(*row));
        }
        for block in &self.blocks {
            hashes(&mut out, &trees.fill.path(*block));
        }
        for lane in &self.lanes {
            let kept = held.kept(lane.lane);
            words(&mut out, &kept);
            words(&mut out, &self.found(lane, &kept, reads, held));
            hashes(&mut out, &trees.reads.path(lane.lane));
        }
        let roots: Vec<Hash> = trees.tiles.iter().map(Tree::root).collect();
        hashes(&mut out, &roots);
        for (frame, tile) in &self.tiles {
            let path = trees.tiles.get(*frame as usize).map(|of| of.path(*tile));
            hashes(&mut out, &path.unwrap_or_default());
        }
        out
    }

    /// The words that a segment's reads find.
    fn found(&self, lane: &Lane, kept: &[u32], reads: &Reads, held: &impl Held) -> Vec<u32> {
        let before = lane
            .segment
            .checked_sub(1)
            .and_then(|at| kept.get(at as usize));
        let mut value = before.copied().unwrap_or_else(|| reads.start(lane.lane));
        let first = lane.segment * SEGMENT_READS;
        let turns = first..first + segment_reads(&self.sizes, lane.segment) as u32;
        turns
            .map(|turn| {
                let word = held.word(reads.place(value));
                value = reads.next(value, turn, word);
                word
            })
            .collect()
    }

    /// Looks at an opening: everything that was drawn is what was committed to, and what the seed asks for.
    ///
    /// # Errors
    /// The first that is [`Wrong`].
    pub fn check(
        &self,
        opening: &[u8],
        (seed, open_key): (&Hash, &Hash),
        (reads, fill): (&Reads, &Fill),
        roots: &Commitment,
    ) -> Result<(), Wrong> {
        if opening.len() != self.bytes() {
            return Err(Wrong::Length);
        }
        let mut left = Left(opening);
        self.check_rows(&mut left, (seed, open_key), &roots.matrix)?;
        for (block, rebuilt) in self.blocks.iter().zip(fill.digests(&self.blocks)) {
            let path = left.hashes(path_len(*block, self.sizes.blocks));
            let place = place((&roots.fill, self.sizes.blocks), *block, &path);
            check::block(&place, &rebuilt).map_err(|flaw| Wrong::Block(*block, flaw))?;
        }
        self.check_lanes(&mut left, (reads, fill), &roots.reads)?;
        self.check_tiles(&mut left, seed, &roots.frames)
    }

    fn check_rows(
        &self,
        left: &mut Left<'_>,
        (seed, key): (&Hash, &Hash),
        root: &Hash,
    ) -> Result<(), Wrong> {
        let size = self.sizes.rows;
        let test = RowTest::new(seed, size, key);
        for row in &self.rows {
            let words = left.words(size as usize);
            let path = left.hashes(path_len(*row, size));
            let place = place((root, size), *row, &path);
            check::row(&place, &test, &words).map_err(|flaw| Wrong::Row(*row, flaw))?;
        }
        Ok(())
    }

    fn check_lanes(
        &self,
        left: &mut Left<'_>,
        both: (&Reads, &Fill),
        root: &Hash,
    ) -> Result<(), Wrong> {
        let sizes = &self.sizes;
        for lane in &self.lanes {
            let kept = left.words(sizes.reads.div_ceil(SEGMENT_READS) as usize);
            let found = left.words(segment_reads(sizes, lane.segment));
            let path = left.hashes(path_len(lane.lane, sizes.lanes));
            let opened = Segment {
                kept: &kept,
                segment: lane.segment,
                found: &found,
            };
            let place = place((root, sizes.lanes), lane.lane, &path);
            let words = lane.words.iter().copied();
            check::segment(&place, both, sizes.reads, &opened, words)
                .map_err(|flaw| Wrong::Lane(lane.lane, flaw))?;
        }
        Ok(())
    }

    fn check_tiles(&self, left: &mut Left<'_>, seed: &Hash, root: &Hash) -> Result<(), Wrong> {
        let sizes = &self.sizes;
        let roots = left.hashes(sizes.frames as usize);
        for (frame, tile) in &self.tiles {
            let wrong = |flaw| Wrong::Tile(*frame, *tile, flaw);
            let scene = check::scene(seed, root, &roots, sizes.frames, *frame).map_err(wrong)?;
            let path = left.hashes(path_len(*tile, sizes.tiles));
            let place = place((&roots[*frame as usize], sizes.tiles), *tile, &path);
            check::tile(&place, &scene, sizes.steps).map_err(wrong)?;
        }
        Ok(())
    }
}

/// What an opening has of rows and lanes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    rows: Vec<(u32, Vec<u32>)>,
    lanes: Vec<(Lane, Vec<u32>, Vec<u32>)>,
}

impl Opened {
    /// The words of a row of C.
    #[must_use]
    pub fn row(&self, index: u32) -> Option<&[u32]> {
        let row = self.rows.iter().find(|(of, _)| *of == index);
        row.map(|(_, words)| words.as_slice())
    }

    /// A lane's kept values, which segment was opened, and the words that its reads found.
    #[must_use]
    pub fn lane(&self, index: u32) -> Option<(&[u32], u32, &[u32])> {
        let lane = self.lanes.iter().find(|(of, ..)| of.lane == index);
        lane.map(|(of, kept, found)| (kept.as_slice(), of.segment, found.as_slice()))
    }
}

impl Plan {
    /// The rows and lanes of an opening; `None` if it is not as long as what was drawn.
    #[must_use]
    pub fn opened(&self, opening: &[u8]) -> Option<Opened> {
        if opening.len() != self.bytes() {
            return None;
        }
        let (sizes, mut left) = (&self.sizes, Left(opening));
        let rows = self.rows.iter().map(|row| {
            let words = left.words(sizes.rows as usize);
            left.hashes(path_len(*row, sizes.rows));
            (*row, words)
        });
        let rows = rows.collect();
        for block in &self.blocks {
            left.hashes(path_len(*block, sizes.blocks));
        }
        let lanes = self.lanes.iter().map(|lane| {
            let kept = left.words(sizes.reads.div_ceil(SEGMENT_READS) as usize);
            let found = left.words(segment_reads(sizes, lane.segment));
            left.hashes(path_len(lane.lane, sizes.lanes));
            (lane.clone(), kept, found)
        });
        let lanes = lanes.collect();
        Some(Opened { rows, lanes })
    }
}

/// Reads of a segment: the last one of a lane may be short.
fn segment_reads(sizes: &Sizes, segment: u32) -> usize {
    let before = segment.saturating_mul(SEGMENT_READS);
    sizes.reads.saturating_sub(before).min(SEGMENT_READS) as usize
}

const fn place<'a>((root, leaves): (&'a Hash, u32), index: u32, path: &'a [Hash]) -> Place<'a> {
    Place {
        root,
        leaves,
        index,
        path,
    }
}

fn words(out: &mut Vec<u8>, words: &[u32]) {
    words.iter().for_each(|word| out.extend(word.to_le_bytes()));
}

fn hashes(out: &mut Vec<u8>, hashes: &[Hash]) {
    hashes.iter().for_each(|hash| out.extend(hash));
}

/// What is left of an opening. Its length was compared before.
struct Left<'a>(&'a [u8]);

impl Left<'_> {
    fn words(&mut self, count: usize) -> Vec<u32> {
        let (words, rest) = self.0.split_at((count * 4).min(self.0.len()));
        self.0 = rest;
        let words = words.as_chunks::<4>().0;
        words.iter().map(|word| u32::from_le_bytes(*word)).collect()
    }

    fn hashes(&mut self, count: usize) -> Vec<Hash> {
        let (hashes, rest) = self.0.split_at((count * 32).min(self.0.len()));
        self.0 = rest;
        hashes.as_chunks::<32>().0.to_vec()
    }
}
