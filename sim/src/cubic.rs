//! A Cubic flow (RFC 9438) on the virtual clock: what a download beside the game does to it.
//!
//! A model of the window alone: always something to send, acknowledgements never lost, losses
//! noticed when a later packet is acknowledged, one cut a round trip. It shares a [`Path`] with
//! whatever else is offered to it.

use crate::path::{Fate, Path};
use std::collections::VecDeque;

const PACKET_BYTES: u32 = 1_500;
/// RFC 9438 section 4.6 and 5: the scale, and the share of the window that is left after a loss.
const SCALE: f64 = 0.4;
const CUT: f64 = 0.7;
const WINDOW_FIRST: f64 = 10.0;
/// Nothing acknowledged for so long: start again.
const TIMEOUT_US: u64 = 1_000_000;

#[derive(Clone, Copy, Debug)]
struct Flying {
    sent_us: u64,
    /// When its acknowledgement is here; `None` if it is lost.
    acknowledged_us: Option<u64>,
}

/// The flow.
#[derive(Debug)]
pub struct Cubic {
    /// Packets.
    window: f64,
    threshold: f64,
    window_max: f64,
    /// When the last cut was.
    epoch_us: Option<u64>,
    rtt_us: u64,
    flying: VecDeque<Flying>,
    heard_us: u64,
    delivered_bytes: u64,
}

impl Cubic {
    /// A flow that begins at `now_us`.
    pub fn new(now_us: u64) -> Self {
        Self {
            window: WINDOW_FIRST,
            threshold: f64::INFINITY,
            window_max: 0.0,
            epoch_us: None,
            rtt_us: 100_000,
            flying: VecDeque::new(),
            heard_us: now_us,
            delivered_bytes: 0,
        }
    }

    /// Bytes that arrived.
    pub const fn delivered_bytes(&self) -> u64 {
        self.delivered_bytes
    }

    /// Takes the acknowledgements that are here and sends what the window allows; an
    /// acknowledgement takes `back_us` from the far end.
    pub fn step(&mut self, now_us: u64, path: &mut Path, back_us: u64) {
        self.take_acknowledgements(now_us);
        if now_us.saturating_sub(self.heard_us) > TIMEOUT_US {
            self.flying.clear();
            self.threshold = self.window / 2.0;
            self.window = 2.0;
            self.epoch_us = None;
            self.heard_us = now_us;
        }
        while (self.flying.len() as f64) < self.window {
            let fate = path.offer(now_us, PACKET_BYTES);
            self.flying.push_back(Flying {
                sent_us: now_us,
                acknowledged_us: match fate {
                    Fate::Deliver { at_us, .. } => Some(at_us + back_us),
                    Fate::Lost(_) => None,
                },
            });
        }
    }

    fn take_acknowledgements(&mut self, now_us: u64) {
        loop {
            let here = |flying: &Flying| flying.acknowledged_us.is_some_and(|at| at <= now_us);
            // Packets arrive in order: the first acknowledged one tells of those before it.
            let Some(first) = self.flying.iter().position(here) else {
                return;
            };
            let lost = self.flying.iter().take(first).map(|f| f.sent_us).max();
            let Some(flying) = self.flying.drain(..=first).next_back() else {
                return;
            };
            self.heard_us = now_us;
            self.rtt_us = now_us.saturating_sub(flying.sent_us).max(1_000);
            self.delivered_bytes += u64::from(PACKET_BYTES);
            match lost {
                Some(sent_us) => self.on_loss(sent_us, now_us),
                None => self.grow(now_us),
            }
        }
    }

    fn on_loss(&mut self, sent_us: u64, now_us: u64) {
        // What was sent before the last cut says nothing new.
        if self.epoch_us.is_some_and(|epoch| sent_us < epoch) {
            return;
        }
        self.epoch_us = Some(now_us);
        // Fast convergence (section 4.7).
        self.window_max = if self.window < self.window_max {
            self.window * (1.0 + CUT) / 2.0
        } else {
            self.window
        };
        self.window = (self.window * CUT).max(2.0);
        self.threshold = self.window;
    }

    fn grow(&mut self, now_us: u64) {
        if self.window < self.threshold {
            self.window += 1.0;
            return;
        }
        let Some(epoch) = self.epoch_us else {
            return;
        };
        let seconds = now_us.saturating_sub(epoch) as f64 / 1e6;
        let rtt_s = self.rtt_us as f64 / 1e6;
        let k = (self.window_max * (1.0 - CUT) / SCALE).cbrt();
        let cubic = SCALE * (seconds + rtt_s - k).powi(3) + self.window_max;
        // What Reno would have (section 4.3).
        let reno = self.window_max * CUT + 3.0 * (1.0 - CUT) / (1.0 + CUT) * seconds / rtt_s;
        let wanted = cubic.max(reno).clamp(self.window, self.window * 1.5);
        self.window += (wanted - self.window) / self.window;
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::path::{Conditions, Queue};

    #[test]
    fn alone_it_fills_the_path_and_two_are_fair() {
        for flows in 1..=2 {
            let conditions = Conditions {
                rate_kbps: Some(10_000),
                delay_us: 20_000,
                queue: Queue::Span { us: 100_000 },
                ..Conditions::CLEAN
            };
            let mut path = Path::new(conditions, 1);
            let mut cubics: Vec<Cubic> = (0..flows).map(|_| Cubic::new(0)).collect();
            for ms in 0..60_000 {
                for cubic in &mut cubics {
                    cubic.step(ms * 1_000, &mut path, 20_000);
                }
            }
            let bytes: Vec<u64> = cubics.iter().map(Cubic::delivered_bytes).collect();
            let total: u64 = bytes.iter().sum();
            assert!(total * 8 / 60_000 > 9_300, "{bytes:?}");
            assert!(bytes.iter().all(|b| *b * 4 > total / flows), "{bytes:?}");
        }
    }
}
