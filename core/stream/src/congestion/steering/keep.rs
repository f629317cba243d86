//! Steer: keep the queue at its aim, climb where there is none, and answer losses that come without
//! one.

use super::{
    AFTER_DRAIN, FULL_OUTGROWN_US, LOSS_RANDOM, LOSS_WITH_QUEUE, QUEUE_EMPTY_US, Signals, Steering,
    TRAIN_SHARE,
};

/// The queue that Steer aims at: enough to keep the bottleneck busy, too little to be felt.
const QUEUE_AIM_US: f64 = 12_000.0;
/// How fast Steer corrects the queue: by so much of the rate per microsecond off the aim.
const STEER_GAIN: f64 = 1.0 / 350_000.0;
/// Climbing near what was full before, share of the rate per second.
const CLIMB_SLOW: f64 = 0.04;
/// Climbing where the path has not been seen full, and at least so many kbit/s per second.
const CLIMB_OPEN: f64 = 0.12;
const CLIMB_OPEN_KBPS: f64 = 200.0;
/// Climbing where packet trains say that there is more.
const CLIMB_BOLD: f64 = 0.7;
/// Climbing back to where a single drain began.
const CLIMB_BACK: f64 = 4.0;
/// Like [`LOSS_RANDOM`], while little is sent.
const LOSS_RANDOM_IDLE: f64 = 0.20;

impl Steering {
    pub(super) fn keep(&mut self, signals: &Signals, seconds: f64, now_us: u64) {
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
}
