//! Third stage: one of the best few, at random, so that many deciders do not all take the first.

use crate::rank::Why;

/// The index of the one to take, of `ranked` (best first, not empty). Only those that differ from
/// the best by load alone are equals: nobody waits for an image pull to spread the load.
pub(crate) fn pick(
    ranked: &[Why],
    best_few: usize,
    chance: &mut impl FnMut(usize) -> usize,
) -> usize {
    let best = &ranked[0];
    let equals = ranked
        .iter()
        .take(best_few.max(1))
        .take_while(|w| w.pulls_image == best.pulls_image && w.wastes_gpu == best.wastes_gpu)
        .count();
    chance(equals).min(equals - 1)
}
