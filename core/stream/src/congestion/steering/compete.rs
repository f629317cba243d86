//! Compete: the queue is filled by others, so delay tells nothing, and only losses lower the rate.

use super::{Phase, Signals, Steering};

/// In Compete: after a loss the rate is cut to this share, and it climbs by this share and so many
/// kbit/s per second. Cubic cuts to 0.7 and comes back within seconds; we cut less and climb slower,
/// which is steadier and about as fair.
const COMPETE_CUT: f64 = 0.85;
const COMPETE_CLIMB: f64 = 0.05;
const COMPETE_CLIMB_KBPS: f64 = 150.0;
/// In Compete: a queue that stays under this share of its top for so long is ours again.
const COMPETE_LEFT_SHARE: f64 = 0.25;
const COMPETE_LEFT_US: u64 = 400_000;

impl Steering {
    pub(super) fn compete(&mut self, signals: &Signals, seconds: f64, now_us: u64) {
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
