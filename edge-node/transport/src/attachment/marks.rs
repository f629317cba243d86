//! Marks of frames that wait to leave together: a packet for each would cost the node a send, and the
//! viewer an answer, for what is only told afterwards.

use crate::limits::{MARKS_TOGETHER, MARKS_WAIT};
use nearlight_protocol::notice::Mark;
use std::time::Instant;

/// The marks that have yet to leave.
#[derive(Debug, Default)]
pub(super) struct Marks {
    waiting: Vec<Mark>,
    /// Since when the first of them waits.
    since: Option<Instant>,
}

impl Marks {
    pub(super) fn add(&mut self, now: Instant, mark: Mark) {
        self.since.get_or_insert(now);
        self.waiting.push(mark);
    }

    /// All of them, if they are enough or the first has waited long enough; else none.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<Mark> {
        let waited = |at: Instant| now.saturating_duration_since(at) >= MARKS_WAIT;
        if self.waiting.len() < MARKS_TOGETHER && !self.since.is_some_and(waited) {
            return Vec::new();
        }
        self.since = None;
        std::mem::take(&mut self.waiting)
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn mark(number: usize) -> Mark {
        let number = number as u64;
        Mark::Pong {
            client_us: number,
            host_us: number,
        }
    }

    #[test]
    fn marks_leave_when_they_are_enough() {
        let (mut marks, now) = (Marks::default(), Instant::now());
        for round in 0..3 {
            for n in 1..MARKS_TOGETHER {
                marks.add(now, mark(n));
                assert_eq!(marks.take_due(now), [], "round {round}");
            }
            marks.add(now, mark(MARKS_TOGETHER));
            let all: Vec<Mark> = (1..=MARKS_TOGETHER).map(mark).collect();
            assert_eq!(marks.take_due(now), all, "round {round}");
        }
    }

    #[test]
    fn a_mark_that_no_other_follows_leaves_after_a_while() {
        let (mut marks, now) = (Marks::default(), Instant::now());
        assert_eq!(marks.take_due(now + MARKS_WAIT), []);
        marks.add(now, mark(1));
        marks.add(now + MARKS_WAIT / 2, mark(2));
        let soon = now + MARKS_WAIT.mul_f64(0.9);
        assert_eq!(marks.take_due(soon), []);
        assert_eq!(marks.take_due(now + MARKS_WAIT), [mark(1), mark(2)]);
        // The next one waits from its own time on.
        marks.add(now + MARKS_WAIT, mark(3));
        assert_eq!(marks.take_due(now + MARKS_WAIT), []);
    }
}
