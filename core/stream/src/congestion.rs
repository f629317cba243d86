//! Congestion control: how much one stream may send over a path, from transport-wide feedback.
//!
//! ```text
//!          queue under 6 ms: climb            queue drained
//!        ┌──────────────────────┐   ┌───────────────────────────┐
//!        v                      │   v                           │
//!   ┌─────────┐  queue long or growing, or losses with one  ┌────┴────┐
//!   │  Steer  │ ──────────────────────────────────────────> │  Drain  │
//!   └─────────┘                                             └────┬────┘
//!        ^   queue gone for a while                              │ less is sent, and it stays:
//!        │            ┌───────────┐                              │ others fill it
//!        └────────────┤  Compete  │ <────────────────────────────┘
//!                     └───────────┘
//! ```
//!
//! **Steer** keeps a small queue: below it the rate climbs, boldly where the packet trains say that
//! there is much more, slowly near what was full before; within it the rate follows what arrives,
//! which then is what the path gives. **Drain** sends distinctly less than arrives until the queue
//! is gone. **Compete** is for a queue that others fill: delay tells nothing then, so only losses
//! lower the rate.
//!
//! **Owns** the estimate and everything measured for it. **Invariants:** the rate is within the
//! configured bounds and the caps, and not beyond twice what was ever delivered lately or the trains
//! prove; no order, repetition, wrap or jump of feedback makes it panic. **Does not know** packets,
//! encoders or clocks: times are microseconds of one monotonic clock, handed in; arrivals are of the
//! receiver's own clock.

use crate::congestion::delay::Delay;
use crate::congestion::delivery::{Delivery, Meter, Trains};
use crate::congestion::history::{History, Learnt};
use crate::congestion::loss::Losses;
use crate::congestion::steering::{Signals, Steering};
use nearlight_protocol::notice::LimitedBy;

mod delay;
mod delivery;
mod history;
mod loss;
mod steering;

/// Bounds of the rate, of everything that is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Never less, whatever the path does.
    pub kbps_min: u32,
    /// To begin with.
    pub kbps_start: u32,
    /// Never more.
    pub kbps_max: u32,
}

/// What a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Sound.
    Audio,
    /// Picture.
    Video,
    /// A packet sent again.
    Retransmit,
    /// A repair packet (FlexFEC).
    Repair,
    /// Nothing but bytes.
    Padding,
    /// Notices, marks and reports.
    Control,
}

/// What the receiver says of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Its transport-wide number.
    pub sequence: u16,
    /// When it arrived, on the receiver's clock, or `None` if it has not.
    pub arrived_us: Option<u64>,
}

/// What the controller believes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// What the path carries for us, kbit/s, whatever we are allowed of it.
    pub kbps_path: u32,
    /// What the encoder may make, kbit/s, without headers, sound, retransmissions and repair.
    pub kbps_media: u32,
    /// The most that it may ever make, whatever the path carries: the same of the bounds that are set. The share of
    /// the uplink is measured, and what goes beside the picture comes and goes: neither is in it.
    pub kbps_media_most: u32,
    /// How fast packets may follow each other, kbit/s.
    pub kbps_pacing: u32,
    /// Bytes that may leave at once: a whole frame while the path shows no queue.
    pub burst_bytes: u32,
    /// The queue on the path, microseconds.
    pub queue_us: u32,
    /// Packets lost over the last seconds, per mille.
    pub loss_permille: u32,
    /// Round trip, microseconds; 0 while unknown.
    pub rtt_us: u32,
    /// What keeps the rate from being higher.
    pub limited_by: LimitedBy,
    /// So little is sent that nothing is learnt about the path.
    pub idle: bool,
    /// Nothing was heard for so long that sending more is pointless.
    pub blind: bool,
}

/// Share of a packet that is no media: RTP, its extensions and SRTP's tag (40), UDP and IP (28), of
/// 1,228 bytes.
const HEADER_SHARE: f64 = 0.055;
/// Silence of a receiver that was heard before, beyond a round trip, after which nothing is known.
const BLIND_AFTER_US: u64 = 350_000;
/// While blind the rate is halved so often.
const BLIND_HALVING_US: u64 = 1_000_000;
/// Packets leave this much faster than the trains say the path carries: enough to keep the
/// bottleneck busy and to see it grow.
const PACE_OVER_PATH: f64 = 1.25;
/// Packets leave at least this much faster than the rate, so that a frame larger than the others
/// does not wait, and trains have something to tell.
const PACE_OVER_RATE: f64 = 2.0;
/// While little is sent and no queue stands, this much faster than the most that may be sent: such a
/// picture is all there is, and does not wait.
const PACE_IDLE: f64 = 2.5;
/// A frame's share of a second, for the burst.
const FRAMES_PER_SECOND: f64 = 60.0;
/// While little is sent, so much of a second may leave at once: an encoder saves up some 50 ms of its
/// rate for a picture that changes wholly, and that one is what the player waits for.
const BURST_IDLE_S: f64 = 0.06;
/// Losses are reported over so long.
const LOSS_SHOWN_US: u64 = 2_500_000;

/// The controller of one stream.
#[derive(Debug)]
pub struct Controller {
    config: Config,
    wish_kbps: Option<u32>,
    uplink_kbps: Option<u32>,
    history: History,
    delay: Delay,
    delivery: Delivery,
    trains: Trains,
    losses: Losses,
    steering: Steering,
    all: Meter,
    /// What of it is neither picture nor padding.
    beside: Meter,
    rtt_us: Option<u64>,
    /// The newest feedback that said something new.
    heard_us: Option<u64>,
    halved_us: u64,
    /// Packets that feedback has told of, and those of them that it called missing, since they were last taken.
    told: u64,
    missed: u64,
}

impl Controller {
    /// A controller that knows nothing of the path.
    pub fn new(config: Config, now_us: u64) -> Self {
        let kbps_min = config.kbps_min.max(1);
        let kbps_max = config.kbps_max.max(kbps_min);
        let kbps_start = config.kbps_start.clamp(kbps_min, kbps_max);
        Self {
            config: Config {
                kbps_min,
                kbps_start,
                kbps_max,
            },
            wish_kbps: None,
            uplink_kbps: None,
            history: History::default(),
            delay: Delay::default(),
            delivery: Delivery::default(),
            trains: Trains::default(),
            losses: Losses::default(),
            steering: Steering::new(f64::from(kbps_start), now_us),
            all: Meter::default(),
            beside: Meter::default(),
            rtt_us: None,
            heard_us: None,
            halved_us: 0,
            told: 0,
            missed: 0,
        }
    }

    /// Notes a packet that leaves now. `bytes`: everything on the wire.
    pub fn on_sent(&mut self, sequence: u16, bytes: u32, kind: Kind, now_us: u64) {
        self.history.sent(sequence, bytes, kind, now_us);
        self.on_sent_unnumbered(bytes, kind, now_us);
    }

    /// Notes a packet that leaves now and that no feedback will speak of.
    pub fn on_sent_unnumbered(&mut self, bytes: u32, kind: Kind, now_us: u64) {
        self.all.add(bytes, now_us);
        match kind {
            Kind::Video | Kind::Padding => {}
            Kind::Audio | Kind::Retransmit | Kind::Repair | Kind::Control => {
                self.beside.add(bytes, now_us);
            }
        }
    }

    /// Takes one feedback message.
    pub fn on_feedback(&mut self, outcomes: &[Outcome], now_us: u64) {
        let (mut arrived, mut missing, mut found) = (0, 0, 0);
        for outcome in outcomes {
            let learnt = self
                .history
                .learn(outcome.sequence, outcome.arrived_us.is_some());
            match (learnt, outcome.arrived_us) {
                (Learnt::Arrived { sent, was_missing }, Some(at_us)) => {
                    arrived += 1;
                    found += u32::from(was_missing);
                    self.delay.add(sent.at_us, at_us);
                    self.delivery.add(at_us, sent.bytes);
                    self.trains.add(&sent, at_us, now_us);
                }
                (Learnt::Missing, _) => missing += 1,
                (Learnt::Arrived { .. } | Learnt::Nothing, _) => {}
            }
        }
        if arrived + missing == 0 {
            return;
        }
        self.told += u64::from(arrived + missing - found);
        self.missed = (self.missed + u64::from(missing)).saturating_sub(found.into());
        self.trains.close(now_us);
        self.losses.add(arrived, missing, found, now_us);
        self.heard_us = Some(now_us);
        self.halved_us = now_us;
        let signals = Signals {
            queue_us: self.delay.standing_us(),
            raised_us: self.delay.raised_us(),
            slope: self.delay.slope(),
            delivered_now: self.delivery.kbps_over(120_000),
            delivered: self.delivery.kbps_over(400_000),
            peak: self.delivery.peak_kbps(),
            train: self.trains.kbps(now_us),
            loss_now: self.losses.share_over(300_000, 20, now_us),
            loss: self.losses.share_over(1_000_000, 50, now_us),
            sent: self.all.kbps(now_us),
            sent_now: self.all.kbps_now(now_us),
            rtt_us: self.rtt_us.unwrap_or(100_000),
        };
        self.steering.steer(&signals, self.ceiling(), now_us);
        self.bound();
    }

    /// Packets that left and that feedback has told of, each once, and those of them that it calls missing, since the
    /// last call. One that got a number and never left is neither.
    pub fn take_told(&mut self) -> (u64, u64) {
        let told = std::mem::take(&mut self.told);
        (told, std::mem::take(&mut self.missed).min(told))
    }

    /// Notes a round trip measured otherwise, such as by RTCP.
    pub fn on_round_trip(&mut self, us: u64) {
        self.rtt_us = Some(us.min(10_000_000));
    }

    /// What the player allows, kbit/s of everything; `None` is no limit.
    pub fn set_wish(&mut self, kbps_max: Option<u32>) {
        self.wish_kbps = kbps_max;
        self.bound();
    }

    /// The share of the node's uplink, kbit/s of everything; `None` is no limit.
    pub fn set_uplink(&mut self, kbps_max: Option<u32>) {
        self.uplink_kbps = kbps_max;
        self.bound();
    }

    /// Carries out what time alone brings. To be called about every tenth of a second.
    pub fn on_tick(&mut self, now_us: u64) {
        if self.is_blind(now_us) && now_us.saturating_sub(self.halved_us) >= BLIND_HALVING_US {
            self.halved_us = now_us;
            self.steering.halve(now_us);
            self.bound();
        }
    }

    /// What the controller believes now.
    pub fn estimate(&mut self, now_us: u64) -> Estimate {
        let rate = self.steering.rate();
        let beside = self.beside.kbps(now_us).min(rate * 0.5);
        let media_of = |all: f64| (all - beside) * (1.0 - HEADER_SHARE);
        let path = self.trains.kbps(now_us);
        let mut pacing = path.map_or(rate * PACE_IDLE, |path| {
            (path * PACE_OVER_PATH).max(rate * PACE_OVER_RATE)
        });
        let (mut burst, most) = (0.0, self.ceiling().max(rate));
        // Before it was heard of, a path shows nothing.
        if self.heard_us.is_some() && self.steering.is_free() {
            burst = most * 125.0 / FRAMES_PER_SECOND;
            if self.steering.is_idle() {
                pacing = pacing.max(most * PACE_IDLE);
                burst = most * 125.0 * BURST_IDLE_S;
            }
        }
        let permille = self.losses.share_over(LOSS_SHOWN_US, 50, now_us) * 1000.0;
        Estimate {
            kbps_path: kbps(self.steering.path()),
            kbps_media: kbps(media_of(rate)),
            kbps_media_most: kbps(f64::from(self.bound_set()) * (1.0 - HEADER_SHARE)),
            kbps_pacing: kbps(pacing),
            burst_bytes: burst as u32,
            queue_us: u32::try_from(self.steering.queue_us()).unwrap_or(u32::MAX),
            loss_permille: permille.round() as u32,
            rtt_us: self
                .rtt_us
                .map_or(0, |us| u32::try_from(us).unwrap_or(u32::MAX)),
            limited_by: self.limited_by(),
            idle: self.steering.is_idle(),
            blind: self.is_blind(now_us),
        }
    }

    /// What is sent now, kbit/s.
    pub fn kbps_sent(&mut self, now_us: u64) -> u32 {
        kbps(self.all.kbps(now_us))
    }

    /// What everything together may take now, kbit/s.
    pub fn kbps_rate(&self) -> u32 {
        kbps(self.steering.rate())
    }

    /// Whether the path is taken for full: it, and nothing else, limits the rate.
    pub fn is_congested(&self) -> bool {
        self.steering.is_congested()
    }

    fn is_blind(&self, now_us: u64) -> bool {
        // Without any feedback ever there is nothing to go by, and the rate stays where it began.
        let Some(heard) = self.heard_us else {
            return false;
        };
        let patience = self.rtt_us.unwrap_or(100_000) + BLIND_AFTER_US;
        let oldest = self
            .history
            .oldest_under_way(heard.saturating_sub(patience));
        oldest.is_some_and(|at| now_us.saturating_sub(at.max(heard)) > patience)
    }

    fn ceiling(&self) -> f64 {
        let set = self.bound_set();
        let share = self.uplink_kbps.unwrap_or(set);
        f64::from(share.clamp(self.config.kbps_min, set))
    }

    /// The most that the operator and the player allow.
    fn bound_set(&self) -> u32 {
        let Config {
            kbps_min, kbps_max, ..
        } = self.config;
        let wished = self.wish_kbps.unwrap_or(kbps_max);
        wished.clamp(kbps_min, kbps_max)
    }

    fn bound(&mut self) {
        let ceiling = self.ceiling();
        self.steering
            .bound(f64::from(self.config.kbps_min), ceiling);
    }

    fn limited_by(&self) -> LimitedBy {
        let rate = self.steering.rate();
        let at = |cap: Option<u32>| cap.is_some_and(|cap| rate >= f64::from(cap) * 0.98);
        if at(self.uplink_kbps) {
            LimitedBy::Uplink
        } else if at(self.wish_kbps) {
            LimitedBy::Player
        } else if rate >= f64::from(self.config.kbps_max) * 0.98 || !self.steering.was_limited() {
            LimitedBy::Nothing
        } else if self.steering.is_lossy() {
            LimitedBy::Loss
        } else {
            LimitedBy::Capacity
        }
    }
}

/// A rate as a whole number; rates are positive and far below what fits.
fn kbps(rate: f64) -> u32 {
    rate.clamp(1.0, 10_000_000.0) as u32
}

#[cfg(test)]
#[path = "congestion/test.rs"]
mod test;
