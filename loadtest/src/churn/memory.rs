//! Whether memory grows: the median of the last tenth of a run against that of the second tenth.
//!
//! The first tenth fills pools; a median is blind to the moment at which a sample falls.

use serde::Serialize;

/// Resident memory, one sample after the other.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    kib: Vec<u64>,
}

/// How memory grew.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Growth {
    /// The second tenth of the run.
    pub early_kib: u64,
    /// The last tenth of the run.
    pub late_kib: u64,
    /// Of the early.
    pub percent: f64,
}

impl Memory {
    pub(super) fn add(&mut self, kib: u64) {
        self.kib.push(kib);
    }

    pub(super) fn growth(&self) -> Growth {
        let count = self.kib.len();
        let tenth = (count / 10).max(1);
        let part = |from: usize| median(self.kib.get(from..(from + tenth).min(count)));
        let (early_kib, late_kib) = (part(tenth.min(count.saturating_sub(1))), {
            part(count.saturating_sub(tenth))
        });
        Growth {
            early_kib,
            late_kib,
            percent: 100.0 * (late_kib as f64 / early_kib.max(1) as f64 - 1.0),
        }
    }
}

fn median(samples: Option<&[u64]>) -> u64 {
    let mut samples = samples.unwrap_or_default().to_vec();
    samples.sort_unstable();
    samples.get(samples.len() / 2).copied().unwrap_or(0)
}

#[cfg(test)]
mod test {
    use super::*;

    fn growth(kib: impl IntoIterator<Item = u64>) -> Growth {
        let mut memory = Memory::default();
        kib.into_iter().for_each(|kib| memory.add(kib));
        memory.growth()
    }

    #[test]
    fn what_fills_at_first_and_then_stands_does_not_grow() {
        let start = (0..10).map(|n| n * 100);
        assert_eq!(
            growth(start.chain(std::iter::repeat_n(1000, 90))).percent,
            0.0
        );
    }

    #[test]
    fn what_leaks_grows() {
        let leaking = growth((0..100).map(|n| 1000 + n));
        assert_eq!((leaking.early_kib, leaking.late_kib), (1015, 1095));
        assert!(leaking.percent > 7.0);
    }

    #[test]
    fn short_runs_have_a_growth_too() {
        assert_eq!(growth([]).percent, -100.0);
        assert_eq!(growth([7]).percent, 0.0);
        assert_eq!(growth([10, 11]).percent, 0.0);
        assert_eq!(growth([10, 10, 20]).percent, 100.0);
    }
}
