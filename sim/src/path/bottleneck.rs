//! The link with the least capacity and the queue in front of it. Counts in nanoseconds: at
//! 1 Gbit/s a packet takes ten microseconds, and rounding each would be a rate of its own.

use super::conditions::{Conditions, Queue};
use std::collections::VecDeque;

/// A packet's way through.
#[derive(Clone, Copy, Debug)]
pub(super) struct Passage {
    /// From its coming to its first bit on the link.
    pub(super) queued_us: u64,
    /// Its last bit is on the link.
    pub(super) left_us: u64,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Bottleneck {
    /// The link has sent everything that it took.
    free_ns: u64,
    /// What it took and has not sent: when each leaves, and its bytes. As long as the queue allows.
    waiting: VecDeque<(u64, u32)>,
    waiting_bytes: u64,
}

impl Bottleneck {
    /// Takes a packet, or has no room for it.
    pub(super) fn pass(
        &mut self,
        conditions: &Conditions,
        now_us: u64,
        bytes: u32,
    ) -> Option<Passage> {
        let now_ns = now_us * 1000;
        self.send_until(now_ns);
        let start_ns = self.free_ns.max(now_ns);
        let queued_us = (start_ns - now_ns).div_ceil(1000);
        let Some(rate_kbps) = conditions.rate_kbps else {
            // What an earlier rate still holds stays in front: order is kept.
            return Some(Passage {
                queued_us,
                left_us: start_ns.div_ceil(1000),
            });
        };
        let room = match conditions.queue {
            Queue::Span { us } => queued_us <= us,
            Queue::Bytes(limit) => {
                self.waiting.is_empty() || self.waiting_bytes + u64::from(bytes) <= limit
            }
        };
        if !room {
            return None;
        }
        // Rounded up: never faster than the rate.
        let sending_ns = (u64::from(bytes) * 8_000_000).div_ceil(u64::from(rate_kbps.max(1)));
        self.free_ns = start_ns + sending_ns;
        self.waiting.push_back((self.free_ns, bytes));
        self.waiting_bytes += u64::from(bytes);
        Some(Passage {
            queued_us,
            left_us: self.free_ns.div_ceil(1000),
        })
    }

    pub(super) fn wait_us(&self, now_us: u64) -> u64 {
        self.free_ns.saturating_sub(now_us * 1000).div_ceil(1000)
    }

    fn send_until(&mut self, now_ns: u64) {
        while let Some(&(leaves_ns, bytes)) = self.waiting.front() {
            if leaves_ns > now_ns {
                break;
            }
            self.waiting.pop_front();
            self.waiting_bytes -= u64::from(bytes);
        }
    }
}
