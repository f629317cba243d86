//! What one direction of a path does to packets.

/// What one direction of a path does to packets. The default is a path that does nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conditions {
    /// Probability of each packet's loss, 0 to 1.
    pub loss: f64,
    /// Loss in bursts, beside the other.
    pub burst: Option<Burst>,
    /// One way, without queue and jitter.
    pub delay_us: u64,
    /// Scale of the delay that varies; what it means is in the shape.
    pub jitter_us: u64,
    /// How jitter is distributed.
    pub jitter_shape: JitterShape,
    /// Probability that a packet is held back, so that later ones overtake it.
    pub reorder: f64,
    /// For how long it is held back.
    pub reorder_us: u64,
    /// Capacity; `None` is without limit.
    pub rate_kbps: Option<u32>,
    /// How much may wait where the capacity is used up; more is dropped at the tail.
    pub queue: Queue,
}

impl Conditions {
    /// No loss, no delay, no limit.
    pub const CLEAN: Self = Self {
        loss: 0.0,
        burst: None,
        delay_us: 0,
        jitter_us: 0,
        jitter_shape: JitterShape::Uniform,
        reorder: 0.0,
        reorder_us: 0,
        rate_kbps: None,
        queue: Queue::Span { us: 100_000 },
    };

    /// The jitter of a packet that drew `chance` in 0..1.
    pub(super) fn jitter_us_at(&self, chance: f64) -> u64 {
        let scale = self.jitter_us as f64;
        let us = match self.jitter_shape {
            JitterShape::Uniform => scale * chance,
            JitterShape::Exponential => (scale * -(1.0 - chance).ln()).min(scale * TAIL_LIMIT),
        };
        us as u64
    }
}

/// Where the exponential tail is cut: one packet in 22,000 would be beyond.
const TAIL_LIMIT: f64 = 10.0;

impl Default for Conditions {
    fn default() -> Self {
        Self::CLEAN
    }
}

/// Loss that takes packets in a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Burst {
    /// So many packets in a row, again and again.
    Runs {
        /// How many in a row.
        packets: u32,
        /// The mean time between two beginnings; each is drawn between half and one and a half of it.
        every_us: u64,
    },
    /// The chain of Gilbert and Elliott: a good and a bad state, drawn anew for each packet.
    Chain {
        /// Probability that the bad state begins.
        enter: f64,
        /// Probability that it ends.
        leave: f64,
        /// Probability of loss in the bad state.
        loss: f64,
    },
}

/// How jitter is distributed. It only ever adds delay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JitterShape {
    /// Evenly between zero and the scale.
    #[default]
    Uniform,
    /// Mostly little, now and then much: the scale is the mean, ten times it the most.
    Exponential,
}

/// The room in front of the bottleneck.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "super::written::NumberOrText")]
pub enum Queue {
    /// A packet that would wait longer is dropped.
    Span {
        /// The longest wait.
        us: u64,
    },
    /// A packet that would make it more bytes, with the one on the link, is dropped.
    Bytes(u64),
}
