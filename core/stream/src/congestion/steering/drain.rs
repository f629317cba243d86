//! Drain: a queue is, or is about to be, too long; send distinctly less than arrives until it is gone.
//! Then it was ours, and what arrived is what the path gives; or it was a stall; or it does not go,
//! and others fill it.

use super::{AFTER_DRAIN, LOSS_RANDOM, LOSS_WITH_QUEUE, Phase, QUEUE_EMPTY_US, Signals, Steering};

/// Above this Steer gives way to Drain.
const QUEUE_LONG_US: u64 = 42_000;
/// A queue that will be this long by the time a change takes effect is too long now.
const QUEUE_COMING_US: f64 = 60_000.0;
/// With no queue under [`QUEUE_EMPTY_US`] for so long the least delay may be stale: drain once.
const QUEUE_REST_US: u64 = 12_000_000;
/// While little is sent, a queue is ours only if it grows by so much, microseconds per second, or
/// loses packets.
const SLOPE_IDLE: f64 = 50_000.0;
/// After a drain, reports tell of losses from before it for so long, beyond a round trip.
const OLD_LOSS_US: u64 = 400_000;
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

impl Steering {
    /// Whether the queue is, or is about to be, too long.
    pub(super) fn is_too_much(&self, signals: &Signals, now_us: u64) -> bool {
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

    pub(super) fn begin_drain(&mut self, signals: &Signals, now_us: u64) {
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

    pub(super) fn drain(&mut self, signals: &Signals, now_us: u64) {
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
}

/// The share of what arrives that is sent while a queue of `queue_us` drains.
fn drain_share(queue_us: u64) -> f64 {
    (1.0 - queue_us as f64 / DRAIN_US).clamp(DRAIN_LEAST, 0.9)
}
