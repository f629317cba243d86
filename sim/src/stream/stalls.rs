//! A browser's machine that has other things to do for a moment: what arrives meanwhile is stamped at
//! the end, all at once, and feedback waits until then too.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// How often and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Stalls {
    /// The share of the time, 0 to 1.
    pub share: f64,
    /// The shortest, microseconds.
    pub least_us: u64,
    /// The longest.
    pub most_us: u64,
}

impl Stalls {
    /// Beginning and end of each stall of a run.
    pub(super) fn over(self, length_us: u64, seed: u64) -> Vec<(u64, u64)> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x7374_616c_6c73);
        let mean_us = (self.least_us + self.most_us) as f64 / 2.0;
        let apart_us = mean_us * (1.0 - self.share) / self.share;
        let (mut stalls, mut at_us) = (Vec::new(), 0);
        while at_us < length_us {
            at_us += (apart_us * 2.0 * rng.random::<f64>()) as u64;
            let end_us = at_us + rng.random_range(self.least_us..=self.most_us);
            stalls.push((at_us, end_us));
            at_us = end_us;
        }
        stalls
    }
}

/// When a stall that holds at `at_us` ends; `at_us` if there is none.
pub(super) fn over_at(stalls: &[(u64, u64)], at_us: u64) -> u64 {
    let next = stalls.partition_point(|(_, end_us)| *end_us <= at_us);
    match stalls.get(next) {
        Some((from_us, end_us)) if *from_us <= at_us => *end_us,
        _ => at_us,
    }
}
