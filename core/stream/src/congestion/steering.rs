//! The decision: from what was measured to the next rate. Here is the state, which of the signals are
//! believed, and what is remembered; what each phase does with that is in a file of its own.

mod compete;
mod drain;
mod keep;

/// What was measured, as of one feedback message. Rates in kbit/s.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signals {
    /// The standing queue.
    pub(super) queue_us: u64,
    /// The queue that stood for longer, which stalls do not feign.
    pub(super) raised_us: u64,
    /// Its growth, microseconds per second.
    pub(super) slope: f64,
    /// What arrived over the last tenth of a second.
    pub(super) delivered_now: Option<f64>,
    /// What arrived over the last half second.
    pub(super) delivered: Option<f64>,
    /// The fastest that packets arrived for a moment.
    pub(super) peak: f64,
    /// What packet trains arrived at.
    pub(super) train: Option<f64>,
    /// Share lost, just now.
    pub(super) loss_now: f64,
    /// Share lost, over a second.
    pub(super) loss: f64,
    /// What was sent over the last second.
    pub(super) sent: f64,
    /// What was sent over the last quarter of one.
    pub(super) sent_now: f64,
    pub(super) rtt_us: u64,
}

/// Below this the queue counts as empty: twice the grain of feedback and what timers add.
const QUEUE_EMPTY_US: u64 = 6_000;
/// After a drain the rate is this share of what arrived while there was a queue.
const AFTER_DRAIN: f64 = 0.95;
/// If for a moment packets arrive faster than this times the rate, no full path spaced them.
const UNSPACED: f64 = 1.5;
/// How much of what the trains say is climbed to boldly: they see a bottleneck that nobody else
/// uses.
const TRAIN_SHARE: f64 = 0.93;
/// Random loss that is not ours to answer, up to here.
const LOSS_RANDOM: f64 = 0.10;
/// Loss that counts as a full queue when a queue stands, however short the queue is.
const LOSS_WITH_QUEUE: f64 = 0.02;
/// While sending less than this share of the rate, nothing is learnt about more.
const IDLE_SHARE: f64 = 0.65;
/// The rate is at most so many times what was delivered over the last seconds.
const BEYOND_PROVEN: f64 = 2.0;
/// What was proven fades by this share per second, down to what the rate began with.
const PROVEN_FADES: f64 = 0.02;
/// What was full is remembered for so long, or, once as much is sent without a queue, so long.
const FULL_REMEMBERED_US: u64 = 20_000_000;
const FULL_OUTGROWN_US: u64 = 1_500_000;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Steer,
    Drain {
        since_us: u64,
        peak_us: u64,
        /// What the path is taken to give.
        full: f64,
        /// The rate before.
        before: f64,
        /// It was a stall, and `before` is right.
        stalled: bool,
    },
    Compete {
        cut_us: u64,
        top_us: u64,
        /// Since when the queue has been short.
        short_since_us: Option<u64>,
    },
}

/// The rate and what led to it.
#[derive(Debug)]
pub(super) struct Steering {
    rate: f64,
    start: f64,
    phase: Phase,
    /// The queue as it was judged last.
    queue_us: u64,
    /// Whether enough is sent to fill what the path is taken to give.
    filled: bool,
    /// The rate before a drain that has yet to prove right.
    good: Option<f64>,
    /// The most that trains have shown since the path was last full.
    shown: f64,
    /// What the path gave when it was last full, and when that was.
    full: Option<(f64, u64)>,
    /// The most that was delivered, fading.
    proven: f64,
    steered_us: u64,
    /// When the queue was last empty.
    rested_us: u64,
    /// When it last was not.
    queued_us: u64,
    /// When the last drain ended.
    drained_us: Option<u64>,
    /// When the rate was last cut for loss without a queue, and the loss at that time.
    loss_cut: Option<(u64, f64)>,
    /// Whether the last cut was for loss.
    lossy: bool,
}

impl Steering {
    pub(super) fn new(rate: f64, now_us: u64) -> Self {
        Self {
            rate,
            start: rate,
            phase: Phase::Steer,
            queue_us: 0,
            filled: false,
            good: None,
            shown: 0.0,
            full: None,
            proven: rate,
            steered_us: now_us,
            rested_us: now_us,
            queued_us: now_us,
            drained_us: None,
            loss_cut: None,
            lossy: false,
        }
    }

    pub(super) fn rate(&self) -> f64 {
        self.rate
    }

    /// What the path carries: what it gave when full, or else the best that is known.
    pub(super) fn path(&self) -> f64 {
        let known = self.full.map_or(self.shown, |(full, _)| full);
        known.max(self.rate)
    }

    /// The queue on the path, microseconds.
    pub(super) fn queue_us(&self) -> u64 {
        self.queue_us
    }

    /// Whether nothing speaks against sending a whole frame at once: no queue, nor lately a full path.
    pub(super) fn is_free(&self) -> bool {
        !self.was_limited() && self.queue_us < QUEUE_EMPTY_US
    }

    /// Whether so little is sent that nothing is learnt about the path.
    pub(super) fn is_idle(&self) -> bool {
        !self.filled
    }

    pub(super) fn is_congested(&self) -> bool {
        self.phase != Phase::Steer
    }

    /// Whether the path has been seen full lately.
    pub(super) fn was_limited(&self) -> bool {
        self.full.is_some() || self.is_congested()
    }

    pub(super) fn is_lossy(&self) -> bool {
        self.lossy
    }

    /// Keeps the rate within bounds.
    pub(super) fn bound(&mut self, least: f64, most: f64) {
        self.rate = self.rate.clamp(least, most.max(least));
    }

    /// Nothing is heard.
    pub(super) fn halve(&mut self, now_us: u64) {
        self.full = Some((self.rate, now_us));
        self.good.get_or_insert(self.rate);
        self.rate /= 2.0;
    }

    /// The next rate; `ceiling` is the most that it can be used for.
    pub(super) fn steer(&mut self, signals: &Signals, ceiling: f64, now_us: u64) {
        let passed = now_us.saturating_sub(self.steered_us).min(250_000);
        self.steered_us = now_us;
        let seconds = passed as f64 / 1_000_000.0;
        let signals = &self.judged(signals);
        self.remember(signals, seconds, now_us);
        match self.phase {
            Phase::Steer if self.is_too_much(signals, now_us) => self.begin_drain(signals, now_us),
            Phase::Steer => self.keep(signals, seconds, now_us),
            Phase::Drain { .. } => self.drain(signals, now_us),
            Phase::Compete { .. } => self.compete(signals, seconds, now_us),
        }
        let proven = self.proven * BEYOND_PROVEN;
        self.rate = self.rate.min(ceiling).min(proven.max(signals.sent));
    }

    /// The same with the queue in which to believe. A stream that sends little, or whose packets
    /// arrive faster than any full path lets them, may have met a stall: then only a queue that
    /// stands for longer counts.
    fn judged(&mut self, signals: &Signals) -> Signals {
        self.filled = signals.sent.max(signals.sent_now) >= self.rate * IDLE_SHARE;
        let full = match self.phase {
            Phase::Drain { full, .. } => full,
            Phase::Steer | Phase::Compete { .. } => self.full.map_or(0.0, |(full, _)| full),
        };
        let spaced = signals.peak <= self.rate.max(full) * UNSPACED;
        self.queue_us = if self.filled && spaced {
            signals.queue_us
        } else {
            signals.queue_us.min(signals.raised_us)
        };
        Signals {
            queue_us: self.queue_us,
            ..*signals
        }
    }

    fn remember(&mut self, signals: &Signals, seconds: f64, now_us: u64) {
        if signals.queue_us < QUEUE_EMPTY_US {
            self.rested_us = now_us;
        } else {
            self.queued_us = now_us;
        }
        let fade = 1.0 - PROVEN_FADES * seconds;
        self.proven = (self.proven * fade).max(self.start);
        self.proven = self.proven.max(signals.delivered.unwrap_or(0.0));
        let train = signals.train.unwrap_or(0.0) * TRAIN_SHARE;
        self.shown = self.shown.max(train.min(self.proven * BEYOND_PROVEN));
        if self.good.is_some_and(|good| self.rate >= good) {
            self.good = None;
        }
        if signals.loss < LOSS_WITH_QUEUE && signals.queue_us < QUEUE_EMPTY_US {
            self.loss_cut = None;
            self.lossy = false;
        }
        if let Some((full, at)) = self.full {
            let outgrown = self.rate > full && self.free_us(at, now_us) > FULL_OUTGROWN_US;
            if outgrown || now_us.saturating_sub(at) > FULL_REMEMBERED_US {
                self.full = None;
            }
        }
    }

    /// For how long there has been no queue, since `at`.
    fn free_us(&self, at: u64, now_us: u64) -> u64 {
        now_us.saturating_sub(self.queued_us.max(at))
    }
}
