//! What a checker does with what a node opens: rebuild it, or test it, and follow its path.
//!
//! Rows of C are sent and tested; blocks and tiles are rebuilt from the seed, so only their paths
//! are sent. Of the reads one segment of a lane is sent, replayed, and some of its words rebuilt.

use super::commit::CommitHasher;
use super::compute::{Factor, RowTest, product_row};
use super::memory::{self, Fill, Reads, SEGMENT_READS};
use super::mixer::digest;
use super::render::{Scene, frame_key};
use crate::log::tree::{self, Hash, includes};

/// What is wrong with an opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// It is not what the root stands for.
    #[error("what was opened is not what was committed to")]
    NotCommitted,
    /// It was committed to, and is not what the seed asks for.
    #[error("what was committed to is not what the seed asks for")]
    Wrong,
    /// Another number of words, values or roots than the probe has.
    #[error("the opening has another length than the probe asks for")]
    Shape,
}

/// Which leaf of a tree of how many, and the way to its root.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The root that was committed to.
    pub root: &'a Hash,
    /// Leaves of the tree.
    pub leaves: u32,
    /// Which leaf.
    pub index: u32,
    /// From its sibling up.
    pub path: &'a [Hash],
}

impl Place<'_> {
    fn holds(&self, leaf: &Hash) -> bool {
        let (size, index) = (u64::from(self.leaves), u64::from(self.index));
        includes::<CommitHasher>(self.root, size, index, leaf, self.path)
    }
}

/// A row of C.
///
/// # Errors
/// Every [`Flaw`].
pub fn row(place: &Place<'_>, test: &RowTest, row: &[u32]) -> Result<(), Flaw> {
    if !place.holds(&digest(row)) {
        return Err(Flaw::NotCommitted);
    }
    if test.accepts(place.index as usize, row) {
        Ok(())
    } else {
        Err(Flaw::Wrong)
    }
}

/// A row of C, computed in full from both factors: n^2 multiplications.
///
/// # Errors
/// [`Flaw::Wrong`].
pub fn computed_row(place: &Place<'_>, a: &Factor, b: &Factor) -> Result<(), Flaw> {
    if place.holds(&digest(&product_row(a, b, place.index as usize))) {
        Ok(())
    } else {
        Err(Flaw::Wrong)
    }
}

/// A block of the fill, rebuilt.
///
/// # Errors
/// [`Flaw::Wrong`]: a path proves nothing but what it leads from.
pub fn block(place: &Place<'_>, rebuilt: &Hash) -> Result<(), Flaw> {
    if place.holds(rebuilt) {
        Ok(())
    } else {
        Err(Flaw::Wrong)
    }
}

/// A tile, rebuilt from the root of the frame before.
///
/// # Errors
/// [`Flaw::Wrong`].
pub fn tile(place: &Place<'_>, scene: &Scene, steps: u32) -> Result<(), Flaw> {
    if place.holds(&scene.digest(place.index, steps)) {
        Ok(())
    } else {
        Err(Flaw::Wrong)
    }
}

/// The scene of a frame, from the roots of all frames that the node sent.
///
/// # Errors
/// [`Flaw::Shape`], or [`Flaw::NotCommitted`] if these are not the roots that were committed to.
pub fn scene(
    seed: &Hash,
    root: &Hash,
    roots: &[Hash],
    frames: u32,
    frame: u32,
) -> Result<Scene, Flaw> {
    if roots.len() != frames as usize || frame >= frames {
        return Err(Flaw::Shape);
    }
    if tree::root::<CommitHasher>(roots) != *root {
        return Err(Flaw::NotCommitted);
    }
    let previous = frame
        .checked_sub(1)
        .map_or([0; 32], |before| roots[before as usize]);
    Ok(Scene::new(&frame_key(seed, frame, &previous)))
}

/// One segment of a lane's reads.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// The lane's values after each segment, what its leaf is the digest of.
    pub kept: &'a [u32],
    /// Which segment.
    pub segment: u32,
    /// The words that its reads found.
    pub found: &'a [u32],
}

/// The reads of one segment: the lane's values are those that were committed to, the words lead from
/// one to the next, and those words whose turns are in `rebuilt` are what the fill holds.
///
/// # Errors
/// Every [`Flaw`].
pub fn segment(
    place: &Place<'_>,
    (reads, fill): (&Reads, &Fill),
    reads_of_lane: u32,
    opened: &Segment<'_>,
    rebuilt: impl IntoIterator<Item = u64>,
) -> Result<(), Flaw> {
    let segments = reads_of_lane.div_ceil(SEGMENT_READS);
    if opened.kept.len() != segments as usize || opened.segment >= segments {
        return Err(Flaw::Shape);
    }
    let first_turn = opened.segment * SEGMENT_READS;
    if opened.found.len() != (reads_of_lane - first_turn).min(SEGMENT_READS) as usize {
        return Err(Flaw::Shape);
    }
    if !place.holds(&digest(opened.kept)) {
        return Err(Flaw::NotCommitted);
    }
    let before = opened.segment.checked_sub(1);
    let start = before.map_or_else(|| reads.start(place.index), |b| opened.kept[b as usize]);
    let end = opened.kept[opened.segment as usize];
    let places = reads
        .replay(start, first_turn, opened.found, end)
        .ok_or(Flaw::Wrong)?;
    let of_turn = |turn| {
        let turn = usize::try_from(turn).ok()?;
        Some((*places.get(turn)?, *opened.found.get(turn)?))
    };
    let rebuilt: Option<Vec<_>> = rebuilt.into_iter().map(of_turn).collect();
    let (places, found): (Vec<memory::Place>, Vec<u32>) =
        rebuilt.ok_or(Flaw::Shape)?.into_iter().unzip();
    match fill.words(&places) == found {
        true => Ok(()),
        false => Err(Flaw::Wrong),
    }
}

#[cfg(test)]
#[path = "check/test.rs"]
mod test;
