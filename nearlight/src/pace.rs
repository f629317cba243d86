//! How fast a transfer goes: a bar, its rate and the time that is left, from what was said of it so far.
//!
//! The rate is that of the last [`WINDOW`], so that a line that slows down is seen to. A total that grows, as it does
//! while an image's layers become known, moves the bar back and nothing else; less done than before is another transfer
//! (an asset after the image), which begins anew.
//!
//! **What it does not know:** the clock, the terminal.

use std::collections::VecDeque;
use std::time::Duration;

/// What the rate is of.
const WINDOW: Duration = Duration::from_secs(10);
/// Less than this says nothing of a rate.
const RATE_AFTER: Duration = Duration::from_secs(1);
const BAR_CELLS: u64 = 20;

/// What was said of a transfer, newest last: when, and how many bytes were done.
#[derive(Debug, Default)]
pub(crate) struct Pace(VecDeque<(Duration, u64)>);

impl Pace {
    /// So many bytes are done of so many: a line of it.
    pub(crate) fn line(&mut self, at: Duration, done: u64, total: u64) -> String {
        if self.0.back().is_some_and(|(_, before)| *before > done) {
            self.0.clear();
        }
        self.0.push_back((at, done));
        while let Some((second, _)) = self.0.get(1)
            && at.saturating_sub(*second) >= WINDOW
        {
            self.0.pop_front();
        }
        let mut line = bar(done, total);
        let Some(per_s) = self.bytes_per_s() else {
            return line;
        };
        line.push_str(&format!(
            " {}.{} MB/s",
            per_s / 1_000_000,
            per_s / 100_000 % 10
        ));
        if let Some(left_s) = total.saturating_sub(done).checked_div(per_s) {
            line.push_str(&format!(", {}:{:02} left", left_s / 60, left_s % 60));
        }
        line
    }

    fn bytes_per_s(&self) -> Option<u64> {
        let ((began, from), (now, to)) = (self.0.front()?, self.0.back()?);
        let span = now.saturating_sub(*began);
        let millis = u64::try_from(span.as_millis()).ok()?;
        (span >= RATE_AFTER).then(|| (to - from).saturating_mul(1000) / millis)
    }
}

fn bar(done: u64, total: u64) -> String {
    let share = |of: u64| done.min(total).saturating_mul(of).checked_div(total);
    let (cells, percent) = (share(BAR_CELLS).unwrap_or(0), share(100).unwrap_or(0));
    let cell = |n| if n < cells { '#' } else { '-' };
    let cells: String = (0..BAR_CELLS).map(cell).collect();
    format!("[{cells}] {percent:>3}%")
}

#[cfg(test)]
mod test {
    use super::*;

    const MB: u64 = 1_000_000;

    fn at(pace: &mut Pace, second: u64, done_mb: u64, total_mb: u64) -> String {
        pace.line(Duration::from_secs(second), done_mb * MB, total_mb * MB)
    }

    #[test]
    fn a_line_has_a_bar_and_then_a_rate_and_the_time_that_is_left() {
        let mut pace = Pace::default();
        let empty = "[--------------------]   0%";
        assert_eq!(at(&mut pace, 0, 0, 0), empty, "nothing is known yet");
        assert_eq!(at(&mut pace, 0, 0, 400), empty);
        let line = at(&mut pace, 2, 100, 400);
        assert_eq!(line, "[#####---------------]  25% 50.0 MB/s, 0:06 left");
        let line = at(&mut pace, 2, 400, 400);
        assert!(line.starts_with("[####################] 100%"), "{line}");
        assert!(line.ends_with("0:00 left"), "{line}");
    }

    #[test]
    fn the_rate_is_of_the_last_seconds_and_a_stop_is_told_from_slow() {
        let mut pace = Pace::default();
        for second in 0..10 {
            at(&mut pace, second, second * 100, 100_000);
        }
        for second in 10..30 {
            at(&mut pace, second, 900 + second - 10, 100_000);
        }
        let line = at(&mut pace, 30, 920, 100_000);
        assert!(line.contains(" 1.0 MB/s, 1651:20 left"), "{line}");
        for second in 31..45 {
            at(&mut pace, second, 920, 100_000);
        }
        let line = at(&mut pace, 45, 920, 100_000);
        assert!(line.ends_with(" 0.0 MB/s"), "no time is known: {line}");
    }

    #[test]
    fn the_next_transfer_begins_anew() {
        let mut pace = Pace::default();
        at(&mut pace, 0, 0, 10);
        at(&mut pace, 5, 10, 10);
        assert_eq!(at(&mut pace, 6, 2, 20), "[##------------------]  10%");
        assert!(at(&mut pace, 8, 4, 20).ends_with(" 1.0 MB/s, 0:16 left"));
    }
}
