//! When a commit is shown and when apps may draw: the display's rate, without a capture timer.
//!
//! Two clocks that must not fight:
//! - the **rate** of what is captured: a commit is captured the moment it comes, unless the app
//!   runs ahead of the display's rate by more than one frame; then it waits for a tick, and a newer
//!   one replaces it. A second commit in one round of requests waits for the end of the round, so
//!   that a round costs one capture however many commits an app sends;
//! - the **ticks** on which frame callbacks go out, a fixed grid of the display's rate.
//!
//! A plain rate limit locks an app one tick late: the frame it drew on tick n waits for tick n+1,
//! whose callback makes it draw the next frame, which again comes too early. So a tick that
//! captured a waiting frame sends no callbacks, unless the tick before did the same (an app that
//! ignores callbacks must not starve one that waits for them).
//!
//! The rate is a virtual-scheduling leaky bucket (ITU-T I.371, GCRA): `due` is when the next frame
//! would come if the app kept the rate exactly.
//!
//! **What it does not know:** surfaces, timers, what a frame is.

/// Whether a commit is captured at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Capture it now.
    Now,
    /// Keep it for the next tick or the end of the round; a newer commit replaces it.
    Later,
}

/// What to do on a tick, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// Capture the commit that waits.
    pub capture: bool,
    /// Let apps draw: send the frame callbacks.
    pub callbacks: bool,
}

/// The pacing of one display. Times are microseconds of one clock.
#[derive(Debug)]
pub struct Pacer {
    interval_us: u64,
    due_us: u64,
    waiting: Waiting,
    captured_in_round: bool,
    callbacks_held: bool,
}

/// Whether a commit waits, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    Nothing,
    ForRound,
    ForTick,
}

impl Pacer {
    /// A display of `hz`.
    pub fn new(hz: u32) -> Self {
        Self {
            interval_us: 1_000_000 / u64::from(hz.max(1)),
            due_us: 0,
            waiting: Waiting::Nothing,
            captured_in_round: false,
            callbacks_held: false,
        }
    }

    /// Time between two frames.
    pub fn interval_us(&self) -> u64 {
        self.interval_us
    }

    /// The first tick after `now`.
    pub fn next_tick_us(&self, now: u64) -> u64 {
        (now / self.interval_us + 1) * self.interval_us
    }

    /// The app committed a picture.
    pub fn on_commit(&mut self, now: u64) -> Verdict {
        if self.waiting != Waiting::Nothing {
            return Verdict::Later;
        }
        if now + self.interval_us < self.due_us {
            self.waiting = Waiting::ForTick;
            return Verdict::Later;
        }
        if self.captured_in_round {
            self.waiting = Waiting::ForRound;
            return Verdict::Later;
        }
        self.captured(now);
        Verdict::Now
    }

    /// A round of requests is over. Returns whether to capture the commit that waits.
    pub fn on_round_end(&mut self, now: u64) -> bool {
        let capture = self.waiting == Waiting::ForRound;
        if capture {
            self.captured(now);
        }
        self.captured_in_round = false;
        capture
    }

    /// A tick came; at most one per [`Self::next_tick_us`].
    pub fn on_tick(&mut self, now: u64) -> Tick {
        let waiting = self.waiting != Waiting::Nothing;
        let capture = waiting && now + self.interval_us >= self.due_us;
        let callbacks = !capture || self.callbacks_held;
        self.callbacks_held = !callbacks;
        if capture {
            self.captured(now);
        }
        Tick { capture, callbacks }
    }

    /// The commit that waited is gone, for example with its viewer.
    pub fn forget_waiting(&mut self) {
        self.waiting = Waiting::Nothing;
    }

    fn captured(&mut self, now: u64) {
        self.waiting = Waiting::Nothing;
        self.captured_in_round = true;
        self.due_us = self.due_us.max(now) + self.interval_us;
    }
}

#[cfg(test)]
mod test {
    use super::*;

    const FRAME: u64 = 16_666;

    /// Runs an app for `ticks` ticks; it commits at `offsets` after each callback, or freely.
    fn captures_of_paced_app(draw_us: u64, ticks: u64, late_start_us: u64) -> Vec<(u64, u64)> {
        let mut pacer = Pacer::new(60);
        let mut captures = Vec::new();
        let mut commit_at = Some(late_start_us);
        let mut wants_callback = false;
        let mut waiting_since = 0;
        let mut tick = pacer.next_tick_us(0);
        for _ in 0..ticks {
            if let Some(at) = commit_at.filter(|at| *at < tick) {
                commit_at = None;
                wants_callback = true;
                match pacer.on_commit(at) {
                    Verdict::Now => captures.push((at, at)),
                    Verdict::Later => waiting_since = at,
                }
                assert!(!pacer.on_round_end(at));
            }
            let act = pacer.on_tick(tick);
            if act.capture {
                captures.push((waiting_since, tick));
            }
            if act.callbacks && wants_callback {
                wants_callback = false;
                commit_at = Some(tick + draw_us);
            }
            tick = pacer.next_tick_us(tick);
        }
        captures
    }

    #[test]
    fn an_app_that_waits_for_callbacks_is_captured_on_commit() {
        for draw_us in [200, 5_000, 15_000] {
            let captures = captures_of_paced_app(draw_us, 600, 3_000);
            assert!(captures.len() >= 598, "{draw_us}: {}", captures.len());
            let late = captures.iter().filter(|(commit, at)| commit != at).count();
            assert!(late <= 1, "{draw_us}: {late} captured late");
        }
    }

    #[test]
    fn a_free_running_app_is_held_to_the_rate_and_its_newest_frame_is_shown() {
        let mut pacer = Pacer::new(60);
        let (mut shown, mut newest_shown) = (0, 0);
        let mut waiting = None;
        let mut tick = pacer.next_tick_us(0);
        for number in 1..=3_000u64 {
            let now = number * 3_333;
            while tick <= now {
                if pacer.on_tick(tick).capture {
                    shown += 1;
                    newest_shown = waiting.take().expect("a tick captures what waits");
                }
                pacer.on_round_end(tick);
                tick = pacer.next_tick_us(tick);
            }
            match pacer.on_commit(now) {
                Verdict::Now => {
                    shown += 1;
                    newest_shown = number;
                }
                Verdict::Later => waiting = Some(number),
            }
            assert!(!pacer.on_round_end(now));
        }
        while waiting.is_some() {
            if pacer.on_tick(tick).capture {
                newest_shown = waiting.take().expect("checked above");
            }
            tick = pacer.next_tick_us(tick);
        }
        assert_eq!(newest_shown, 3_000);
        let seconds = 3_000 * 3_333 / 1_000_000;
        assert!(
            (60 * seconds - 2..=60 * (seconds + 1) + 2).contains(&shown),
            "{shown}"
        );
    }

    #[test]
    fn callbacks_come_at_least_every_second_tick() {
        let mut pacer = Pacer::new(60);
        let mut tick = FRAME;
        let mut held = 0;
        for _ in 0..100 {
            for sub in 0..5 {
                pacer.on_commit(tick - FRAME + sub * 3_000);
            }
            if pacer.on_tick(tick).callbacks {
                held = 0;
            } else {
                held += 1;
            }
            assert!(held <= 1);
            tick = pacer.next_tick_us(tick);
        }
    }

    #[test]
    fn a_round_costs_one_capture_and_ends_with_the_newest() {
        let mut pacer = Pacer::new(60);
        // Each commit comes so late that the rate alone would let it through.
        let verdicts: Vec<_> = (1..=5).map(|n| pacer.on_commit(n * 100 * FRAME)).collect();
        assert_eq!(verdicts[0], Verdict::Now);
        assert!(
            verdicts[1..].iter().all(|v| *v == Verdict::Later),
            "{verdicts:?}"
        );
        assert!(pacer.on_round_end(500 * FRAME));
        assert!(!pacer.on_round_end(501 * FRAME));
        assert_eq!(pacer.on_commit(600 * FRAME), Verdict::Now);
    }
}
