//! Order statistics, as docs/performance.md defines them.

/// The smallest value that at least `share` of `sample` does not exceed (nearest rank); none of
/// nothing, for a figure of nothing is none.
pub(super) fn quantile(sample: &[f64], share: f64) -> Option<f64> {
    let mut sorted = sample.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

/// The nearest-rank median.
pub(super) fn median(sample: &[f64]) -> Option<f64> {
    quantile(sample, 0.5)
}

/// The three figures of a latency that was measured in several runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    /// Median over the runs of each run's own.
    pub(super) p50: f64,
    /// Likewise.
    pub(super) p90: f64,
    /// Over all values of all runs.
    pub(super) p99: f64,
}

impl Spread {
    /// Of `runs`, of which empty ones do not count.
    pub(super) fn over(runs: &[Vec<f64>]) -> Option<Self> {
        let middle = |share| {
            let of_each: Vec<_> = runs.iter().filter_map(|run| quantile(run, share)).collect();
            median(&of_each)
        };
        Some(Self {
            p50: middle(0.5)?,
            p90: middle(0.9)?,
            p99: quantile(&runs.concat(), 0.99)?,
        })
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn quantiles_are_values_of_the_sample() {
        let sample: Vec<_> = (1..=100).rev().map(f64::from).collect();
        for (share, value) in [
            (0.0, 1.0),
            (0.5, 50.0),
            (0.9, 90.0),
            (0.99, 99.0),
            (1.0, 100.0),
        ] {
            assert_eq!(quantile(&sample, share), Some(value));
        }
        assert_eq!(quantile(&[3.0], 0.99), Some(3.0));
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn the_middle_is_of_the_runs_and_the_tail_of_all() {
        let run = |base: f64| (0..100).map(|i| base + f64::from(i) / 100.0).collect();
        let spread = Spread::over(&[run(10.0), run(30.0), run(20.0), vec![]]).unwrap();
        assert_eq!((spread.p50, spread.p90, spread.p99), (20.49, 20.89, 30.96));
        assert_eq!(Spread::over(&[vec![]]), None);
    }
}
