//! What share of the packets does not arrive, over a moment and over seconds.

use std::collections::VecDeque;

/// Reports remembered, by time and by count.
const KEPT_US: u64 = 3_000_000;
const REPORTS_MAX: usize = 128;

/// The losses that reports told of.
#[derive(Debug, Default)]
pub(super) struct Losses {
    /// When a report came, the packets it settled, and those of them that are missing.
    reports: VecDeque<(u64, u32, u32)>,
}

impl Losses {
    /// Takes a report: packets that arrived, that are missing, and that are missing no longer.
    pub(super) fn add(&mut self, arrived: u32, missing: u32, found: u32, now_us: u64) {
        // A packet that was only late is taken back, from the newest report that has one to spare.
        let mut found = found;
        for report in self.reports.iter_mut().rev() {
            let back = found.min(report.2);
            report.2 -= back;
            found -= back;
        }
        self.reports.push_back((now_us, arrived + missing, missing));
        while self.reports.len() > REPORTS_MAX
            || self
                .reports
                .front()
                .is_some_and(|(at, _, _)| now_us.saturating_sub(*at) > KEPT_US)
        {
            self.reports.pop_front();
        }
    }

    /// The share that is missing of what was reported within `window_us`, 0 to 1, if at least
    /// `packets_min` were.
    pub(super) fn share_over(&self, window_us: u64, packets_min: u32, now_us: u64) -> f64 {
        let recent = self.reports.iter().rev();
        let recent = recent.take_while(|(at, _, _)| now_us.saturating_sub(*at) <= window_us);
        let (packets, missing) = recent.fold((0, 0), |(p, m), (_, packets, missing)| {
            (p + packets, m + missing)
        });
        if packets < packets_min.max(1) {
            return 0.0;
        }
        f64::from(missing) / f64::from(packets)
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn losses_are_shares_of_a_window_and_late_packets_are_none() {
        let mut losses = Losses::default();
        losses.add(90, 10, 0, 0);
        losses.add(100, 0, 0, 1_000_000);
        assert!((losses.share_over(2_000_000, 1, 1_000_000) - 0.05).abs() < 1e-9);
        assert!(losses.share_over(500_000, 1, 1_000_000) < 1e-9);
        assert!(losses.share_over(2_000_000, 500, 1_000_000) < 1e-9);
        losses.add(10, 0, 10, 1_100_000);
        assert!(losses.share_over(2_000_000, 1, 1_100_000) < 1e-9);
        losses.add(0, 0, u32::MAX, 1_200_000);
    }
}
