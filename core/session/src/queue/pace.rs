//! How fast a line moves: an ETA that is rarely too short.
//!
//! A *line* is those who wait for the same: one kind of need, players of one place. Its clock runs only
//! while somebody is in it, and it remembers when somebody last left it, with a slot or without.
//!
//! At a rate of r a second, the nth to leave does so after about n/r seconds; nine in ten times it is
//! no more than (n + 1.28 * sqrt(n)) / r, and that is told. The time since somebody last left counts, so
//! that a line that stands still says so. Before some have left nothing is known, and "unknown" is told.

use nearlight_protocol::unit::MonoTime;
use std::collections::VecDeque;

/// Departures that are remembered: at most, and at least for an ETA.
const LEFT_MAX: usize = 24;
const LEFT_MIN: usize = 4;
/// Above its mean, nine in ten values of a normal distribution are below this many deviations.
const NINE_IN_TEN: f64 = 1.28;

/// The pace of one line.
#[derive(Clone, Debug, Default)]
pub struct Pace {
    waiting: u32,
    /// On the line's own clock, microseconds.
    left: VecDeque<u64>,
    clock_us: u64,
    looked_at: MonoTime,
}

impl Pace {
    /// Somebody joins the line at its end. Returns the place in it, from 1.
    pub fn join(&mut self, now: MonoTime) -> u32 {
        self.look(now);
        self.waiting = self.waiting.saturating_add(1);
        self.waiting
    }

    /// Somebody leaves the line, with a slot or without.
    pub fn leave(&mut self, now: MonoTime) {
        self.look(now);
        self.waiting = self.waiting.saturating_sub(1);
        self.left.push_back(self.clock_us);
        if self.left.len() > LEFT_MAX {
            self.left.pop_front();
        }
    }

    /// How many are in it.
    pub fn len(&self) -> u32 {
        self.waiting
    }

    /// Whether nobody is.
    pub fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Seconds within which nine in ten at this place of the line, from 1, have a slot; unknown
    /// before some have left it.
    pub fn eta_s(&mut self, place: u32, now: MonoTime) -> Option<u32> {
        self.look(now);
        let first = *self.left.front()?;
        if self.left.len() < LEFT_MIN || place == 0 {
            return None;
        }
        // From the first of them on, so that one fewer has left since.
        let each_s = (self.clock_us - first) as f64 / 1e6 / (self.left.len() - 1) as f64;
        let place = f64::from(place);
        let s = (place + NINE_IN_TEN * place.sqrt()) * each_s;
        Some(s.ceil().clamp(1.0, f64::from(u32::MAX)) as u32)
    }

    fn look(&mut self, now: MonoTime) {
        if self.waiting > 0 {
            self.clock_us += now.micros_since(self.looked_at);
        }
        self.looked_at = now;
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn at(s: u64) -> MonoTime {
        MonoTime(s * 1_000_000)
    }

    /// A line that somebody has left every 10 s for a minute, with two in it.
    fn steady() -> Pace {
        let mut pace = Pace::default();
        for n in 0..=6 {
            pace.join(at(10 * n));
            pace.join(at(10 * n));
            pace.leave(at(10 * n));
        }
        pace
    }

    #[test]
    fn an_eta_follows_the_pace_and_errs_on_the_long_side() {
        let mut pace = steady();
        assert_eq!(pace.eta_s(1, at(60)), Some(23));
        assert_eq!(pace.eta_s(4, at(60)), Some(66));
        assert_eq!(
            pace.eta_s(1, at(120)),
            Some(46),
            "it has stood still for a minute"
        );
        assert_eq!(pace.eta_s(0, at(60)), None);
    }

    #[test]
    fn nothing_is_known_before_some_have_left() {
        let mut pace = Pace::default();
        for n in 1..=3 {
            assert_eq!(pace.join(at(n)), n as u32);
        }
        for n in 4..=6 {
            pace.leave(at(n));
            assert_eq!(pace.eta_s(1, at(n)), None);
        }
        assert!(pace.is_empty());
    }

    #[test]
    fn the_time_in_which_nobody_waits_does_not_count() {
        let mut pace = steady();
        let before = pace.eta_s(1, at(60));
        for _ in 0..pace.len() {
            pace.leave(at(60));
        }
        pace.join(at(10_060));
        assert!(pace.eta_s(1, at(10_060)) <= before, "the night is no wait");
    }
}
