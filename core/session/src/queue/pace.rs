//! How fast a line moves: an ETA that is rarely too short.
//!
//! A *line* is those who wait for the same: one kind of need, players of one place. Its clock runs only
//! while somebody is in it, and it remembers when somebody last left it, with a slot or without.
//!
//! At a rate of r a second, the nth to leave does so after about n/r seconds; nine in ten times it is
//! no more than (n + 1.28 * sqrt(n)) / r, and both are told. The time since somebody last left counts, so
//! that a line that stands still says so. Before some have left nothing is known, and nothing is told.

use super::Eta;
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
        self.step_out(now);
        self.left.push_back(self.clock_us);
        if self.left.len() > LEFT_MAX {
            self.left.pop_front();
        }
    }

    /// Somebody goes on waiting elsewhere, which says nothing of how fast this line moves.
    pub fn step_out(&mut self, now: MonoTime) {
        self.look(now);
        self.waiting = self.waiting.saturating_sub(1);
    }

    /// When it was last joined or left.
    pub(super) fn looked_at(&self) -> MonoTime {
        self.looked_at
    }

    /// How many are in it.
    pub fn len(&self) -> u32 {
        self.waiting
    }

    /// Whether nobody is.
    pub fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// When it is the turn of whoever has this place of the line, from 1; unknown before some have
    /// left it.
    pub fn eta(&self, place: u32, now: MonoTime) -> Option<Eta> {
        let first = *self.left.front()?;
        if self.left.len() < LEFT_MIN || place == 0 {
            return None;
        }
        // From the first of them on, so that one fewer has left since.
        let clock_us = self.clock_at(now);
        let each_s = (clock_us - first) as f64 / 1e6 / (self.left.len() - 1) as f64;
        let place = f64::from(place);
        let seconds = |turns: f64| (turns * each_s).ceil().clamp(1.0, f64::from(u32::MAX)) as u32;
        Some(Eta {
            half_s: Some(seconds(place)),
            most_s: Some(seconds(place + NINE_IN_TEN * place.sqrt())),
        })
    }

    /// The line's own clock.
    fn clock_at(&self, now: MonoTime) -> u64 {
        let runs = self.waiting > 0;
        self.clock_us
            + if runs {
                now.micros_since(self.looked_at)
            } else {
                0
            }
    }

    fn look(&mut self, now: MonoTime) {
        self.clock_us = self.clock_at(now);
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

    fn most_s(pace: &Pace, place: u32, now: MonoTime) -> Option<u32> {
        pace.eta(place, now).map(|eta| eta.most_s.unwrap())
    }

    #[test]
    fn an_eta_follows_the_pace_and_errs_on_the_long_side() {
        let pace = steady();
        let eta = |half_s, most_s| {
            let (half_s, most_s) = (Some(half_s), Some(most_s));
            Some(Eta { half_s, most_s })
        };
        assert_eq!(pace.eta(1, at(60)), eta(10, 23));
        assert_eq!(pace.eta(4, at(60)), eta(40, 66));
        assert_eq!(
            pace.eta(1, at(120)),
            eta(20, 46),
            "it has stood still for a minute"
        );
        assert_eq!(pace.eta(0, at(60)), None);
    }

    #[test]
    fn nothing_is_known_before_some_have_left() {
        let mut pace = Pace::default();
        for n in 1..=3 {
            assert_eq!(pace.join(at(n)), n as u32);
        }
        for n in 4..=6 {
            pace.leave(at(n));
            assert_eq!(pace.eta(1, at(n)), None);
        }
        assert!(pace.is_empty());
    }

    #[test]
    fn the_time_in_which_nobody_waits_does_not_count() {
        let mut pace = steady();
        let before = most_s(&pace, 1, at(60));
        for _ in 0..pace.len() {
            pace.leave(at(60));
        }
        pace.join(at(10_060));
        assert!(
            most_s(&pace, 1, at(10_060)) <= before,
            "the night is no wait"
        );
    }

    #[test]
    fn who_goes_on_waiting_elsewhere_says_nothing_of_the_pace() {
        let mut pace = steady();
        let before = pace.eta(1, at(60));
        pace.step_out(at(60));
        assert_eq!(pace.eta(1, at(60)), before);
    }
}
