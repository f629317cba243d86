//! The decision: from what was measured to the next rate.

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
/// The queue that Steer aims at: enough to keep the bottleneck busy, too little to be felt.
const QUEUE_AIM_US: f64 = 12_000.0;
/// Above this Steer gives way to Drain.
const QUEUE_LONG_US: u64 = 42_000;
/// A queue that will be this long by the time a change takes effect is too long now.
const QUEUE_COMING_US: f64 = 60_000.0;
/// How fast Steer corrects the queue: by so much of the rate per microsecond off the aim.
const STEER_GAIN: f64 = 1.0 / 350_000.0;
/// After a drain the rate is this share of what arrived while there was a queue.
const AFTER_DRAIN: f64 = 0.95;
/// The least share of what arrives that Drain sends.
const DRAIN_LEAST: f64 = 0.45;
/// Drain wants the queue gone within about so long.
const DRAIN_US: f64 = 300_000.0;
/// A queue that is not half gone after so much draining, beyond a round trip, is not ours.
const DRAIN_PATIENCE_US: u64 = 700_000;
/// The least share of the rate to which one feedback lowers what the path is taken to give: arrivals
/// that stop for a moment say little about the rate, and the next feedback is 50 ms away.
const FULL_LEAST: f64 = 0.6;
/// If packets arrive faster than this times what the path was taken to give, it was never full: a
/// radio, or a machine, held everything up for a moment and let it go at once.
const STALLED: f64 = 1.3;
/// If for a moment they arrive faster than this times the rate, no full path spaced them.
const UNSPACED: f64 = 1.5;
/// With no queue under [`QUEUE_EMPTY_US`] for so long the least delay may be stale: drain once.
const QUEUE_REST_US: u64 = 12_000_000;
/// Climbing near what was full before, share of the rate per second.
const CLIMB_SLOW: f64 = 0.04;
/// Climbing where the path has not been seen full, and at least so many kbit/s per second.
const CLIMB_OPEN: f64 = 0.12;
const CLIMB_OPEN_KBPS: f64 = 200.0;
/// Climbing where packet trains say that there is more.
const CLIMB_BOLD: f64 = 0.7;
/// Climbing back to where a single drain began.
const CLIMB_BACK: f64 = 4.0;
/// How much of what the trains say is climbed to boldly: they see a bottleneck that nobody else
/// uses.
const TRAIN_SHARE: f64 = 0.93;
/// Random loss that is not ours to answer, up to here.
const LOSS_RANDOM: f64 = 0.10;
/// The same while little is sent.
const LOSS_RANDOM_IDLE: f64 = 0.20;
/// Loss that counts as a full queue when a queue stands, however short the queue is.
const LOSS_WITH_QUEUE: f64 = 0.02;
/// While sending less than this share of the rate, nothing is learnt about more.
const IDLE_SHARE: f64 = 0.65;
/// While little is sent, a queue is ours only if it grows by so much, microseconds per second, or
/// loses packets.
const SLOPE_IDLE: f64 = 50_000.0;
/// The rate is at most so many times what was delivered over the last seconds.
const BEYOND_PROVEN: f64 = 2.0;
/// What was proven fades by this share per second, down to what the rate began with.
const PROVEN_FADES: f64 = 0.02;
/// What was full is remembered for so long, or, once as much is sent without a queue, so long.
const FULL_REMEMBERED_US: u64 = 20_000_000;
const FULL_OUTGROWN_US: u64 = 1_500_000;
/// After a drain, reports tell of losses from before it for so long, beyond a round trip.
const OLD_LOSS_US: u64 = 400_000;
/// In Compete: after a loss the rate is cut to this share, and it climbs by this share and so many
/// kbit/s per second. Cubic cuts to 0.7 and comes back within seconds; we cut less and climb slower,
/// which is steadier and about as fair.
const COMPETE_CUT: f64 = 0.85;
const COMPETE_CLIMB: f64 = 0.05;
const COMPETE_CLIMB_KBPS: f64 = 150.0;
/// In Compete: a queue that stays under this share of its top for so long is ours again.
const COMPETE_LEFT_SHARE: f64 = 0.25;
const COMPETE_LEFT_US: u64 = 400_000;

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

    /// Whether the queue is, or is about to be, too long.
    fn is_too_much(&self, signals: &Signals, now_us: u64) -> bool {
        if !self.filled {
            let ours = signals.slope > SLOPE_IDLE || signals.loss_now > LOSS_WITH_QUEUE;
            return signals.queue_us > QUEUE_LONG_US && ours;
        }
        let queue = signals.queue_us as f64;
        let reaction_s = (signals.rtt_us as f64 / 1_000_000.0) + 0.1;
        let coming = queue + signals.slope.max(0.0) * reaction_s;
        let grows = signals.queue_us > QUEUE_EMPTY_US && coming > QUEUE_COMING_US;
        let lossy = signals.loss_now > LOSS_RANDOM
            && signals.queue_us > QUEUE_EMPTY_US
            && !self.is_old_loss(signals, now_us);
        let restless = signals.queue_us > QUEUE_EMPTY_US
            && now_us.saturating_sub(self.rested_us) > QUEUE_REST_US;
        signals.queue_us > QUEUE_LONG_US || grows || lossy || restless
    }

    /// Whether what is reported lost may have been lost before the last drain.
    fn is_old_loss(&self, signals: &Signals, now_us: u64) -> bool {
        let fresh = |at: u64| now_us.saturating_sub(at) < OLD_LOSS_US + signals.rtt_us;
        self.drained_us.is_some_and(fresh)
    }

    fn begin_drain(&mut self, signals: &Signals, now_us: u64) {
        let full = self.full_now(signals);
        let before = self.rate;
        // A second drain on the way back says that the first was right.
        self.good = self.good.is_none().then_some(before);
        self.shown = 0.0;
        self.full = Some((full, now_us));
        self.lossy = signals.loss_now > LOSS_RANDOM && signals.queue_us < QUEUE_LONG_US / 2;
        self.phase = Phase::Drain {
            since_us: now_us,
            peak_us: signals.queue_us,
            full,
            before,
            stalled: false,
        };
        self.rate = full * drain_share(signals.queue_us);
    }

    /// What the path gives now that it is full: the least of what arrived, for part of it may have
    /// arrived before it was.
    fn full_now(&self, signals: &Signals) -> f64 {
        let delivered = [signals.delivered_now, signals.delivered];
        let least = delivered.into_iter().flatten().reduce(f64::min);
        let least = least.unwrap_or(self.rate * 0.85);
        least.clamp(self.rate * FULL_LEAST, self.rate.max(signals.sent))
    }

    fn drain(&mut self, signals: &Signals, now_us: u64) {
        let Phase::Drain {
            since_us,
            peak_us,
            full,
            before,
            stalled,
        } = &mut self.phase
        else {
            return;
        };
        let lasted = now_us.saturating_sub(*since_us);
        *peak_us = (*peak_us).max(signals.queue_us);
        let delivered = signals.delivered_now.unwrap_or(*full);
        *stalled |= delivered > *full * STALLED;
        if signals.queue_us <= QUEUE_EMPTY_US {
            let found = if *stalled { *before } else { *full };
            self.phase = Phase::Steer;
            self.drained_us = Some(now_us);
            self.full = Some((found, now_us));
            self.rate = found * AFTER_DRAIN;
            return;
        }
        // While packets from before the drain still arrive, they tell what the path gives.
        if lasted < signals.rtt_us + 150_000 {
            *full = (*full).min(delivered.max(*full * FULL_LEAST));
        }
        let patience = DRAIN_PATIENCE_US + 2 * signals.rtt_us;
        if lasted >= patience && signals.queue_us > *peak_us / 2 {
            self.rate = signals.delivered.unwrap_or(*full).max(*full * DRAIN_LEAST);
            self.phase = Phase::Compete {
                cut_us: now_us,
                top_us: *peak_us,
                short_since_us: None,
            };
            return;
        }
        self.rate = *full * drain_share(signals.queue_us);
    }

    fn keep(&mut self, signals: &Signals, seconds: f64, now_us: u64) {
        if self.answer_loss(signals, now_us) {
            return;
        }
        if signals.queue_us >= QUEUE_EMPTY_US {
            if let Some(delivered) = signals.delivered {
                // A queue stands, so what arrives is what the path gives, unless we were idle.
                if !self.filled {
                    return;
                }
                let off = QUEUE_AIM_US - signals.queue_us as f64;
                let wanted = delivered * (1.0 + off * STEER_GAIN);
                self.full = Some((delivered, now_us));
                // Half the way: what arrives is itself measured with some noise.
                self.rate += (wanted - self.rate) * 0.5;
            }
            return;
        }
        self.climb(signals, seconds, now_us);
    }

    fn climb(&mut self, signals: &Signals, seconds: f64, now_us: u64) {
        let roomy = signals
            .train
            .filter(|train| train * TRAIN_SHARE > self.rate);
        if let Some(train) = roomy {
            let bold = self.rate * (1.0 + CLIMB_BOLD * seconds);
            self.rate = bold
                .max(self.back(seconds, now_us))
                .min(train * TRAIN_SHARE);
            return;
        }
        if !self.filled {
            self.rate = self.back(seconds, now_us);
            return;
        }
        let pace = match self.full {
            Some((full, _)) if self.rate > full * AFTER_DRAIN => CLIMB_SLOW,
            Some(_) | None => CLIMB_OPEN,
        };
        let open = if pace < CLIMB_OPEN {
            0.0
        } else {
            CLIMB_OPEN_KBPS
        };
        self.rate += (self.rate * pace).max(open) * seconds;
    }

    /// The rate on the way back to what it was before a drain, once there has been no queue for long
    /// enough that the trains are new ones too.
    fn back(&self, seconds: f64, now_us: u64) -> f64 {
        let full_us = self.full.map_or(0, |(_, at)| at);
        match self.good {
            Some(good) if self.free_us(full_us, now_us) > FULL_OUTGROWN_US => {
                let back = self.rate * (1.0 + CLIMB_BACK * seconds);
                back.min(good).max(self.rate)
            }
            _ => self.rate,
        }
    }

    /// Loss without a queue. It may be chance, which less sending does not help, or a policer,
    /// which it does: cut once to what arrives, and again only if that helped.
    fn answer_loss(&mut self, signals: &Signals, now_us: u64) -> bool {
        let short = signals.loss > LOSS_WITH_QUEUE
            && signals.queue_us >= QUEUE_EMPTY_US
            && signals.queue_us as f64 <= QUEUE_AIM_US;
        let old = self
            .drained_us
            .is_some_and(|at| now_us.saturating_sub(at) < 1_500_000);
        let chance = if self.filled {
            signals.loss <= LOSS_RANDOM && !short
        } else {
            signals.loss <= LOSS_RANDOM_IDLE
        };
        if old || chance {
            return false;
        }
        let (waited, helped) = match self.loss_cut {
            None => (true, true),
            Some((at, before)) => (
                now_us.saturating_sub(at) > 1_000_000 + signals.rtt_us,
                signals.loss < before * 0.6,
            ),
        };
        if !waited {
            return true;
        }
        if !helped {
            return false;
        }
        if let Some(delivered) = signals.delivered {
            self.loss_cut = Some((now_us, signals.loss));
            self.full = Some((delivered, now_us));
            self.lossy = true;
            self.rate = self.rate.min(delivered * AFTER_DRAIN);
        }
        true
    }

    fn compete(&mut self, signals: &Signals, seconds: f64, now_us: u64) {
        let Phase::Compete {
            cut_us,
            top_us,
            short_since_us,
        } = &mut self.phase
        else {
            return;
        };
        // The top of the queue is remembered for some seconds.
        *top_us = (*top_us - (*top_us as f64 * 0.05 * seconds) as u64).max(signals.queue_us);
        let short = (signals.queue_us as f64) < (*top_us as f64) * COMPETE_LEFT_SHARE;
        if !short {
            *short_since_us = None;
        } else if now_us.saturating_sub(*short_since_us.get_or_insert(now_us)) >= COMPETE_LEFT_US {
            self.phase = Phase::Steer;
            return;
        }
        let since_cut = now_us.saturating_sub(*cut_us);
        if signals.loss_now > 0.0 && since_cut > signals.rtt_us + 300_000 {
            *cut_us = now_us;
            let carried = signals.delivered.unwrap_or(self.rate).max(self.rate * 0.8);
            self.rate = self.rate.min(carried) * COMPETE_CUT;
            self.full = Some((carried, now_us));
            return;
        }
        if self.filled {
            self.rate += (self.rate * COMPETE_CLIMB + COMPETE_CLIMB_KBPS) * seconds;
        }
    }
}

/// The share of what arrives that is sent while a queue of `queue_us` drains.
fn drain_share(queue_us: u64) -> f64 {
    (1.0 - queue_us as f64 / DRAIN_US).clamp(DRAIN_LEAST, 0.9)
}
