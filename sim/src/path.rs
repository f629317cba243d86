//! One direction of a network path on a virtual clock: what becomes of each packet, and when it
//! arrives.
//!
//! ```text
//! offer ─> drop-tail queue ─> bottleneck (rate) ─> loss, bursts ─> delay + jitter ─> arrival
//!              full: lost                              lost          now and then held back
//! ```
//!
//! Owns the bottleneck's backlog, the state of a burst and the random streams. Invariants: times
//! come in and go out, no clock is read; the same seed and the same offers meet the same fates; each
//! cause draws from a random stream of its own, so that jitter, switched on, loses no other packets;
//! packets leave in the order in which they came unless [`Conditions::reorder`] holds one back; the
//! bottleneck is never faster than its rate and no packet waits longer than its queue. Loss is that
//! of a radio: a packet that is lost has used the bottleneck.
//!
//! A packet's fate is final once it is told: a change of rate counts from the next packet on, so for
//! as long as the queue was deep, what it held still leaves at the old rate.
//!
//! Does not know: what is in a packet, who sends it, and what the other direction does.

mod bottleneck;
mod bursts;
mod conditions;
mod profile;
#[cfg(test)]
mod test;
mod written;

use bottleneck::Bottleneck;
use bursts::Bursts;
pub use conditions::{Burst, Conditions, JitterShape, Queue};
pub use profile::{Change, Profile, ProfileError, Schedule, Step};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
pub use written::{Bursts as WrittenBursts, Rate, Share, Span, WrittenError};

/// What becomes of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It never arrives.
    Lost(Cause),
    /// It arrives.
    Deliver {
        /// When, on the clock of the offers.
        at_us: u64,
        /// How long it stood in the queue before the bottleneck began to send it.
        queued_us: u64,
    },
}

/// Why a packet was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The queue before the bottleneck was full.
    Queue,
    /// By chance, alone.
    Random,
    /// In a burst.
    Burst,
}

/// What became of the packets so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Packets that came.
    pub offered: u64,
    /// Packets that arrive.
    pub delivered: u64,
    /// Lost at a full queue.
    pub lost_queue: u64,
    /// Lost by chance.
    pub lost_random: u64,
    /// Lost in bursts.
    pub lost_burst: u64,
    /// Held back behind packets that came later.
    pub reordered: u64,
    /// Bytes that came.
    pub offered_bytes: u64,
    /// Bytes that arrive.
    pub delivered_bytes: u64,
}

impl Counters {
    /// Packets lost, whatever the cause.
    pub const fn lost(&self) -> u64 {
        self.lost_queue + self.lost_random + self.lost_burst
    }
}

/// One direction of a path. See the module.
#[derive(Clone, Debug)]
pub struct Path {
    conditions: Conditions,
    bottleneck: Bottleneck,
    bursts: Bursts,
    loss: ChaCha8Rng,
    jitter: ChaCha8Rng,
    reorder: ChaCha8Rng,
    now_us: u64,
    /// The latest arrival of a packet that was not held back.
    arrived_us: u64,
    counters: Counters,
}

impl Path {
    /// A path that is idle.
    pub fn new(conditions: Conditions, seed: u64) -> Self {
        let stream = |number: u64| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(number);
            rng
        };
        Self {
            conditions,
            bottleneck: Bottleneck::default(),
            bursts: Bursts::new(stream(1)),
            loss: stream(2),
            jitter: stream(3),
            reorder: stream(4),
            now_us: 0,
            arrived_us: 0,
            counters: Counters::default(),
        }
    }

    /// Conditions that hold from the next packet on.
    pub fn set(&mut self, conditions: Conditions) {
        self.conditions = conditions;
    }

    /// What becomes of a packet of `bytes` (all that the wire carries for it) that comes now. A
    /// `now_us` before an earlier offer's counts as that offer's.
    pub fn offer(&mut self, now_us: u64, bytes: u32) -> Fate {
        self.now_us = self.now_us.max(now_us);
        let now_us = self.now_us;
        let fate = self.decide(now_us, bytes);
        let counters = &mut self.counters;
        counters.offered += 1;
        counters.offered_bytes += u64::from(bytes);
        match fate {
            Fate::Lost(Cause::Queue) => counters.lost_queue += 1,
            Fate::Lost(Cause::Random) => counters.lost_random += 1,
            Fate::Lost(Cause::Burst) => counters.lost_burst += 1,
            Fate::Deliver { .. } => {
                counters.delivered += 1;
                counters.delivered_bytes += u64::from(bytes);
            }
        }
        fate
    }

    /// The conditions in force.
    pub const fn conditions(&self) -> &Conditions {
        &self.conditions
    }

    /// What became of the packets so far.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How long a packet that came now would stand in the queue.
    pub fn backlog_us(&self, now_us: u64) -> u64 {
        self.bottleneck.wait_us(now_us)
    }

    fn decide(&mut self, now_us: u64, bytes: u32) -> Fate {
        let conditions = self.conditions;
        let Some(passage) = self.bottleneck.pass(&conditions, now_us, bytes) else {
            return Fate::Lost(Cause::Queue);
        };
        // Both draw for every packet: the one's fate does not shift the other's stream.
        let in_burst = self.bursts.strikes(conditions.burst, now_us);
        let alone = self.loss.random::<f64>() < conditions.loss;
        if in_burst {
            return Fate::Lost(Cause::Burst);
        }
        if alone {
            return Fate::Lost(Cause::Random);
        }
        let jitter_us = conditions.jitter_us_at(self.jitter.random());
        let at_us = passage.left_us + conditions.delay_us + jitter_us;
        let in_order_us = at_us.max(self.arrived_us);
        let at_us = if self.reorder.random::<f64>() < conditions.reorder {
            self.counters.reordered += 1;
            in_order_us + conditions.reorder_us
        } else {
            self.arrived_us = in_order_us;
            in_order_us
        };
        Fate::Deliver {
            at_us,
            queued_us: passage.queued_us,
        }
    }
}
