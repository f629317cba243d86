//! An opening computed anew, from what of it is kept as evidence: everything but the words of rows.

use super::super::super::check;
use super::super::super::commit::Commitment;
use super::super::super::compute::Factor;
use super::super::super::memory::{Fill, Reads, SEGMENT_READS};
use super::{Lane, Left, Plan, Wrong, hashes, path_len, place, segment_reads};
use crate::log::tree::Hash;

/// What came of computing a part of an opening anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Drawn.
    pub drawn: usize,
    /// Computed anew, and compared.
    pub compared: usize,
    /// Of these so many differ.
    pub differ: usize,
    /// The first that differs.
    pub wrong: Option<Wrong>,
}

/// What came of computing an opening anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Again {
    /// Rows of C, each in full.
    pub rows: Part,
    /// Blocks of the fill.
    pub blocks: Part,
    /// A segment of reads each.
    pub lanes: Part,
    /// Tiles.
    pub tiles: Part,
}

impl Part {
    const fn of(drawn: usize) -> Self {
        Self {
            drawn,
            compared: 0,
            differ: 0,
            wrong: None,
        }
    }

    fn compared(&mut self, found: Result<(), Wrong>) {
        self.compared += 1;
        self.differ += usize::from(found.is_err());
        self.wrong = self.wrong.or(found.err());
    }
}

impl Plan {
    /// What of an opening is kept as evidence: all but the rows' words, which anybody computes. `None` for an opening
    /// of another length.
    #[must_use]
    pub fn brief(&self, opening: &[u8]) -> Option<Vec<u8>> {
        if opening.len() != self.bytes() {
            return None;
        }
        let mut brief = Vec::with_capacity(self.brief_bytes());
        let mut left = Left(opening);
        for row in &self.rows {
            left.words(self.sizes.rows as usize);
            hashes(&mut brief, &left.hashes(path_len(*row, self.sizes.rows)));
        }
        brief.extend(left.0);
        Some(brief)
    }

    /// How many bytes that has.
    #[must_use]
    pub fn brief_bytes(&self) -> usize {
        self.bytes() - self.rows.len() * self.sizes.rows as usize * 4
    }

    /// Computes anew what was opened, and compares each with what was committed to. Of the rows, which take the
    /// longest, the first `rows_max`.
    ///
    /// # Errors
    /// [`Wrong::Length`] for evidence of another plan; any other is told in [`Again`].
    pub fn again(
        &self,
        brief: &[u8],
        (seed, reads, fill): (&Hash, &Reads, &Fill),
        roots: &Commitment,
        rows_max: usize,
    ) -> Result<Again, Wrong> {
        if brief.len() != self.brief_bytes() {
            return Err(Wrong::Length);
        }
        let sizes = &self.sizes;
        let mut left = Left(brief);
        let rows = self.rows_again(&mut left, seed, &roots.matrix, rows_max);
        let mut blocks = Part::of(self.blocks.len());
        for (block, rebuilt) in self.blocks.iter().zip(fill.digests(&self.blocks)) {
            let path = left.hashes(path_len(*block, sizes.blocks));
            let place = place((&roots.fill, sizes.blocks), *block, &path);
            let found = check::block(&place, &rebuilt);
            blocks.compared(found.map_err(|flaw| Wrong::Block(*block, flaw)));
        }
        let (of_lanes, rest) = left.0.split_at(self.lane_bytes().min(left.0.len()));
        Ok(Again {
            rows,
            blocks,
            lanes: self.lanes_again(of_lanes, (reads, fill), &roots.reads),
            tiles: self.tiles_again(&mut Left(rest), seed, &roots.frames),
        })
    }

    fn rows_again(&self, left: &mut Left<'_>, seed: &Hash, root: &Hash, most: usize) -> Part {
        let size = self.sizes.rows;
        let (a, b) = (Factor::a(seed, size), Factor::b(seed, size));
        let mut part = Part::of(self.rows.len());
        for (turn, row) in self.rows.iter().enumerate() {
            let path = left.hashes(path_len(*row, size));
            if turn < most {
                let found = check::computed_row(&place((root, size), *row, &path), &a, &b);
                part.compared(found.map_err(|flaw| Wrong::Row(*row, flaw)));
            }
        }
        part
    }

    /// Each by itself: where the next one begins does not depend on what is in this one.
    fn lanes_again(&self, mut bytes: &[u8], both: (&Reads, &Fill), root: &Hash) -> Part {
        let mut part = Part::of(self.lanes.len());
        for lane in &self.lanes {
            let alone = Self {
                sizes: self.sizes,
                rows: Vec::new(),
                blocks: Vec::new(),
                lanes: vec![lane.clone()],
                tiles: Vec::new(),
            };
            part.compared(alone.check_lanes(&mut Left(bytes), both, root));
            bytes = bytes.split_at(alone.lane_bytes().min(bytes.len())).1;
        }
        part
    }

    fn tiles_again(&self, left: &mut Left<'_>, seed: &Hash, root: &Hash) -> Part {
        let sizes = &self.sizes;
        let roots = left.hashes(sizes.frames as usize);
        let mut part = Part::of(self.tiles.len());
        for (frame, tile) in &self.tiles {
            let path = left.hashes(path_len(*tile, sizes.tiles));
            let found = check::scene(seed, root, &roots, sizes.frames, *frame).and_then(|scene| {
                let of_frame = &roots[*frame as usize];
                check::tile(
                    &place((of_frame, sizes.tiles), *tile, &path),
                    &scene,
                    sizes.steps,
                )
            });
            part.compared(found.map_err(|flaw| Wrong::Tile(*frame, *tile, flaw)));
        }
        part
    }

    fn lane_bytes(&self) -> usize {
        let sizes = &self.sizes;
        let kept = sizes.reads.div_ceil(SEGMENT_READS) as usize;
        let one = |lane: &Lane| {
            let words = kept + segment_reads(sizes, lane.segment);
            words * 4 + path_len(lane.lane, sizes.lanes) * 32
        };
        self.lanes.iter().map(one).sum()
    }
}
