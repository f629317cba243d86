//! The last stage: one of the best few, at random, so that many deciders do not all take the first.

use crate::score::Why;

/// Who differs by no more than this is an equal, load aside: two milliseconds' worth of points.
const EQUAL_POINTS: u32 = 200;

/// The index of the one to take, of `ranked` (best first, not empty). Only those that differ from
/// the best by load alone, or next to it, are equals: nobody waits for an image pull or plays on a
/// farther node to spread the load.
pub(crate) fn pick(
    ranked: &[Why],
    best_few: usize,
    chance: &mut impl FnMut(usize) -> usize,
) -> usize {
    let best = ranked[0].without_load();
    let equals = ranked
        .iter()
        .take(best_few.max(1))
        .take_while(|why| why.without_load().abs_diff(best) <= EQUAL_POINTS)
        .count();
    chance(equals).min(equals - 1)
}
