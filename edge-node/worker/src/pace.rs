//! When a commit is shown and when apps may draw. There is no capture timer and no fixed grid.
//!
//! One budget, a virtual-scheduling leaky bucket (ITU-T I.371, GCRA) of the display's rate: each
//! frame costs one interval, and `due` is when the budget has room for the next one if nothing ran
//! ahead. What spends it:
//! - a **frame callback**, which pays for the commit that answers it: that one is captured the
//!   moment it comes;
//! - a commit that **no callback asked for**, captured at once as long as the budget is at most one
//!   interval behind; past that it waits for the next turn, and a newer one replaces it.
//!
//! Callbacks wait for their turn, one interval after the last frame. An **input** brings the turn
//! forward, to the moment of the input if the budget allows: an app that samples input when it may
//! draw would else show it up to an interval later. What ran ahead is paid back an eighth of an
//! interval per frame, so the average stays the display's rate and no frame is skipped. A steady
//! flow of input (a mouse that moves) thereby locks the app's phase to the player's screen. An
//! input that comes while the app draws counts once the app waits again.
//!
//! A callback is otherwise sent as soon as its turn comes, not later: a commit leaves when it is
//! made, so there is no deadline that a later start could still meet. For the same reason an app
//! that draws for longer than an interval gets its callback at once and is not held for a grid.
//!
//! A plain rate limit locks an app one turn late: the frame it drew waits for the turn whose
//! callback makes it draw the next frame, which again comes too early. So a turn that captures a
//! waiting frame sends no callbacks, unless the turn before did the same (an app that ignores
//! callbacks must not starve one that waits for them).
//!
//! Where nobody gives input, nothing ties the display's clock to the player's screen: frames would drift
//! past its refreshes, and while they come close to one, jitter puts two frames into one refresh and
//! none into the next. So the player's browser tells how much later, or sooner, it would have them
//! ([`Pacer::shift`]), and turns move there by a sixteenth of an interval a frame.
//!
//! Behind the budget is a **cap** on what is captured, for paths and players that want fewer frames
//! than the display has: commits over it are dropped evenly, the newest is kept, and it is shown
//! if no newer one comes in time.
//!
//! A second commit in one round of requests waits for the end of the round, so that a round costs
//! one capture however many commits an app sends.
//!
//! **What it does not know:** surfaces, timers, what a frame or an input is.

/// Whether a commit is captured at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Capture it now, instead of the one that waits.
    Now,
    /// Keep it; a newer commit replaces it.
    Later,
}

/// What to do when a deadline has come, in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// Capture the commit that waits.
    pub capture: bool,
    /// Let apps draw: send the frame callbacks.
    pub callbacks: bool,
}

/// What ran ahead is paid back by this part of an interval with each frame.
const PAYBACK_PART: u64 = 8;
/// The phase moves by this part of an interval with each frame: no eye sees it, and half an interval
/// takes eight frames.
const SHIFT_PART: i64 = 16;
/// A turn that comes late by at most this part of an interval counts as on time: timers are late.
const LATE_PART: u64 = 4;

/// The pacing of one display. Times are microseconds of one clock.
#[derive(Debug)]
pub struct Pacer {
    interval_us: u64,
    /// Between two captures; the display's own interval if there is no cap.
    cap_interval_us: u64,
    /// When the budget has room for the next frame.
    due_us: u64,
    /// How much earlier than that the next turn is; at most one interval.
    ahead_us: u64,
    /// How much later turns are to come; negative is sooner.
    shift_us: i64,
    /// When the cap has room for the next capture.
    cap_due_us: u64,
    /// A callback went out and its commit has not come.
    paid: bool,
    /// An input came while no callback waited.
    input_waits: bool,
    waiting: Waiting,
    captured_in_round: bool,
    callbacks_held: bool,
}

/// Whether a commit waits, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    Nothing,
    /// The end of the round; it is paid for.
    Round,
    /// The budget.
    Turn,
    /// The cap; it is paid for.
    Cap,
}

impl Pacer {
    /// A display of `hz`, without a cap.
    pub fn new(hz: u32) -> Self {
        let interval_us = interval_us(hz);
        Self {
            interval_us,
            cap_interval_us: interval_us,
            due_us: 0,
            ahead_us: 0,
            shift_us: 0,
            cap_due_us: 0,
            paid: false,
            input_waits: false,
            waiting: Waiting::Nothing,
            captured_in_round: false,
            callbacks_held: false,
        }
    }

    /// The display has this rate now, and at most `fps_max` pictures a second are wanted of it.
    pub fn set_rates(&mut self, hz: u32, fps_max: u32) {
        let interval_us = interval_us(hz);
        // The next turn of a faster display comes sooner; what ran ahead is forgiven.
        self.due_us = self
            .turn_us()
            .min(self.due_us.saturating_sub(self.interval_us) + interval_us);
        self.ahead_us = 0;
        self.interval_us = interval_us;
        self.cap_interval_us = interval_us.max(self::interval_us(fps_max));
    }

    /// Turns are wanted `shift_us` later, or sooner if it is negative; at most half an interval, for
    /// further on the other way is shorter. Takes the place of what is left of an earlier shift.
    pub fn shift(&mut self, shift_us: i64) {
        let half = self.interval_us.cast_signed() / 2;
        self.shift_us = shift_us.clamp(-half, half);
    }

    /// Time between two frames.
    pub fn interval_us(&self) -> u64 {
        self.interval_us
    }

    /// The app committed a picture.
    pub fn on_commit(&mut self, now: u64) -> Verdict {
        match self.waiting {
            Waiting::Round | Waiting::Turn => return Verdict::Later,
            // The commit that it replaces has paid.
            Waiting::Cap => self.paid = false,
            Waiting::Nothing if self.paid => self.paid = false,
            Waiting::Nothing if now + self.interval_us >= self.due_us => self.spend(now, true),
            Waiting::Nothing => {
                self.waiting = Waiting::Turn;
                return Verdict::Later;
            }
        }
        if self.captured_in_round {
            self.waiting = Waiting::Round;
            return Verdict::Later;
        }
        if self.capture(now) {
            Verdict::Now
        } else {
            Verdict::Later
        }
    }

    /// A round of requests is over. Returns whether to capture the commit that waits.
    pub fn on_round_end(&mut self, now: u64) -> bool {
        let capture = self.waiting == Waiting::Round && self.capture(now);
        self.captured_in_round = false;
        capture
    }

    /// An input reached the app, which waits for a callback or does not.
    pub fn on_input(&mut self, now: u64, callbacks_wait: bool) {
        if callbacks_wait {
            self.bring_forward(now);
        } else {
            self.input_waits = true;
        }
    }

    /// When [`Self::on_deadline`] wants to be called, if callbacks wait or do not.
    pub fn deadline_us(&mut self, now: u64, callbacks_wait: bool) -> Option<u64> {
        if callbacks_wait && std::mem::take(&mut self.input_waits) {
            self.bring_forward(now);
        }
        match self.waiting {
            Waiting::Cap if callbacks_wait => Some(self.turn_us().min(self.cap_over_us())),
            Waiting::Cap => Some(self.cap_over_us()),
            Waiting::Turn => Some(self.turn_us()),
            Waiting::Round | Waiting::Nothing => callbacks_wait.then(|| self.turn_us()),
        }
    }

    /// A deadline came.
    pub fn on_deadline(&mut self, now: u64, callbacks_wait: bool) -> Turn {
        let mut act = Turn::default();
        let over_rate = self.waiting == Waiting::Turn;
        let turn_us = self.turn_us();
        if (callbacks_wait || over_rate) && turn_us <= now {
            act.callbacks = callbacks_wait && (!over_rate || self.callbacks_held);
            self.callbacks_held = callbacks_wait && !act.callbacks;
            let late = now - turn_us > self.interval_us / LATE_PART;
            let at = if late { now } else { turn_us };
            self.spend(at, !over_rate);
            if over_rate {
                act.capture = self.capture(now);
            }
            if act.callbacks {
                self.paid = true;
                self.input_waits = false;
                // Both the frame that waited and the one that is asked for.
                self.due_us += if over_rate { self.interval_us } else { 0 };
            }
        }
        if self.waiting == Waiting::Cap && self.cap_over_us() <= now {
            act.capture = true;
            self.captured(now);
        }
        act
    }

    /// The commit that waited is gone, for example with its viewer.
    pub fn forget_waiting(&mut self) {
        self.waiting = Waiting::Nothing;
    }

    /// When the next turn is.
    fn turn_us(&self) -> u64 {
        self.due_us - self.ahead_us
    }

    /// The next turn comes at `now`, or as soon after it as the budget allows.
    fn bring_forward(&mut self, now: u64) {
        let at = now.max(self.due_us.saturating_sub(self.interval_us));
        self.ahead_us = self.ahead_us.max(self.due_us.saturating_sub(at));
    }

    /// A frame takes its part of the budget at `at`.
    fn spend(&mut self, at: u64, pay_back: bool) {
        self.ahead_us = self.due_us.saturating_sub(at).min(self.interval_us);
        if pay_back {
            let part = self.interval_us / PAYBACK_PART;
            self.ahead_us = self.ahead_us.saturating_sub(part);
        }
        let step = self.next_step(at);
        self.due_us = (self.due_us.max(at) + self.interval_us).saturating_add_signed(step);
    }

    /// What the phase moves by with a frame at `at`. An app that is behind the display's rate, or draws
    /// for inputs, has another clock than the display's: there is nothing to move.
    fn next_step(&mut self, at: u64) -> i64 {
        if at > self.due_us || self.ahead_us > 0 {
            return 0;
        }
        let most = self.interval_us.cast_signed() / SHIFT_PART;
        let step = self.shift_us.clamp(-most, most);
        self.shift_us -= step;
        step
    }

    /// Captures a commit that is paid for, or lets it wait for the cap.
    fn capture(&mut self, now: u64) -> bool {
        let capped = self.cap_interval_us > self.interval_us;
        if capped && now + self.interval_us / 2 < self.cap_due_us {
            self.waiting = Waiting::Cap;
            return false;
        }
        self.captured(now);
        true
    }

    fn captured(&mut self, now: u64) {
        self.waiting = Waiting::Nothing;
        self.captured_in_round = true;
        let on_time = now.saturating_sub(self.interval_us / 2);
        self.cap_due_us = self.cap_due_us.max(on_time) + self.cap_interval_us;
    }

    /// When a commit that waits for the cap is shown although a newer one may come.
    fn cap_over_us(&self) -> u64 {
        self.cap_due_us + self.interval_us / 2
    }
}

fn interval_us(hz: u32) -> u64 {
    1_000_000 / u64::from(hz.max(1))
}

#[cfg(test)]
#[path = "pace/test.rs"]
mod test;
