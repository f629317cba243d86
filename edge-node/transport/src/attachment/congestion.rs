//! The flow control of one attachment: the controller, the pacer and the ladder of `core/stream`
//! between `rtc`, the outbox and the worker.
//!
//! ```text
//! feedback ─> controller ─> estimate ─┬─> pacer: when packets leave, when to hold the encoder
//!   packets left ─┘                   └─> ladder: what the encoder is to make (the player's only)
//! ```
//!
//! A viewer that reports nothing (no transport-wide feedback) keeps the rate that it began with, and
//! gets its packets unpaced; nothing here then holds the encoder. A watcher's share of the uplink holds
//! for it all the same.
//!
//! **Owns** no packet and no socket: it is told what left, and says what may.

use crate::attachment::reports::Signals;
use crate::attachment::wire::Tag;
use crate::counters::FlowGauges;
use crate::limits::{KBPS_MIN, STEER_INTERVAL};
use nearlight_protocol::app::DisplayMode;
use nearlight_protocol::notice::{LimitedBy, Repair, StreamState};
use nearlight_protocol::worker::Target;
use nearlight_stream::arrears::Arrears;
use nearlight_stream::congestion::{Config, Controller, Estimate, Kind};
use nearlight_stream::ladder::{Display, Ladder, Wish};
use nearlight_stream::pacing::Pacer;
use nearlight_stream::uplink::Demand;
use std::sync::atomic::Ordering::Relaxed;

/// What is sent beside the media at a given media rate: headers, sound, and a little.
const WIRE_PERCENT: u32 = 108;
/// How long the encoder is held at a time while nothing is heard of the viewer, and how long it is
/// not in between: a frame gets through then, without which nothing would ever be heard again.
const BLIND_HOLD_US: u64 = 300_000;
const BLIND_GAP_US: u64 = 100_000;
/// What was asked for again may wait so long, and so much of it in any case.
const AGAIN_US_MAX: u64 = 50_000;
const AGAIN_BYTES_MIN: usize = 12_000;
/// Under this rate, kbit/s, a mark with each frame is too much: some 80 bytes on the wire, 38 kbit/s at
/// 60 frames a second. Every fourth then tells as much of the stages.
const MARKS_ALL_KBPS: u32 = 4_000;
const MARKS_FEW_EVERY: u32 = 4;
/// The display that is assumed until the worker tells.
const DISPLAY_HZ: u32 = 60;
/// Reports of losses in a full queue go on for about so long after it: they count over a second, and the
/// plan against losses is reviewed once a second.
const CONGESTED_LATELY_US: u64 = 3_000_000;
/// A hold that ends less than this later than the one before it is not worth a message.
const HOLD_GRAIN_US: u64 = 2_000;

/// Bounds of the media's rate, kbit/s.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rates {
    pub(crate) kbps_start: u32,
    pub(crate) kbps_max: u32,
}

/// The flow control of one attachment.
#[derive(Debug)]
pub(crate) struct Flow {
    controller: Controller,
    pacer: Pacer,
    ladder: Ladder,
    rates: Rates,
    wish_kbps: Option<u32>,
    arrears: Arrears,
    /// When the path was last full.
    congested_us: Option<u64>,
    paces: bool,
    /// The most that packets may leave at, kbit/s.
    pace_most: u32,
    estimate: Estimate,
    round_trip_us: u64,
    steer_at_us: u64,
    held_until_us: u64,
}

impl Flow {
    /// A flow that knows nothing of its path. `paces`: the viewer sends feedback.
    pub(crate) fn new(rates: Rates, paces: bool, now_us: u64) -> Self {
        let config = Config {
            kbps_min: KBPS_MIN,
            kbps_start: wire_kbps(rates.kbps_start),
            kbps_max: wire_kbps(rates.kbps_max.max(rates.kbps_start)),
        };
        let mut controller = Controller::new(config, now_us);
        let estimate = controller.estimate(now_us);
        let display = DisplayMode::default();
        Self {
            pacer: Pacer::new(estimate.kbps_pacing, now_us),
            ladder: Ladder::new(Display {
                width: display.width,
                height: display.height,
                hz: DISPLAY_HZ,
            }),
            controller,
            rates,
            wish_kbps: None,
            arrears: Arrears::default(),
            congested_us: None,
            paces,
            pace_most: u32::MAX,
            estimate,
            round_trip_us: 0,
            steer_at_us: now_us,
            held_until_us: 0,
        }
    }

    /// What the encoder is to begin with.
    pub(crate) fn first_target(&mut self, now_us: u64) -> Target {
        // To begin with exactly what the operator said; the estimate has a little to spare.
        let most = match self.ladder.given() {
            None => self.rates.kbps_start,
            Some(_) => self.rates.kbps_max,
        };
        let kbps = self.estimate.kbps_media.min(most);
        self.ladder.first(kbps, now_us)
    }

    /// Notes a packet that left.
    pub(crate) fn left(&mut self, tag: &Tag, now_us: u64) {
        match tag.sequence {
            Some(sequence) => self
                .controller
                .on_sent(sequence, tag.bytes, tag.kind, now_us),
            None => self
                .controller
                .on_sent_unnumbered(tag.bytes, tag.kind, now_us),
        }
        // A share is the picture's: sound goes beside it, or fills a narrow one alone.
        let beside = matches!(tag.kind, Kind::Audio | Kind::Control);
        if !(beside && self.has_share()) {
            self.pacer.on_sent(tag.bytes as usize, now_us);
        }
    }

    /// Whether only so much of the uplink is its.
    fn has_share(&self) -> bool {
        self.pace_most < u32::MAX
    }

    /// Whether its picture leaves at a rate: the path's, the share's, or the lower one.
    fn is_paced(&self) -> bool {
        self.paces || self.has_share()
    }

    /// That rate, kbit/s. Nothing is known of the path of a viewer that reports nothing.
    fn kbps_pacing(&self) -> u32 {
        let path = self.paces.then_some(self.estimate.kbps_pacing);
        path.unwrap_or(u32::MAX).min(self.pace_most)
    }

    /// Bytes of the picture that may leave now.
    pub(crate) fn room(&mut self, now_us: u64) -> usize {
        if self.is_paced() {
            self.pacer.room(now_us)
        } else {
            usize::MAX
        }
    }

    /// When there will be room.
    pub(crate) fn room_at_us(&self) -> u64 {
        self.pacer.next_us()
    }

    /// When [`Self::steer`] wants to be called at the latest.
    pub(crate) fn steer_at_us(&self) -> u64 {
        self.steer_at_us
    }

    /// Whether another frame may join those that wait.
    pub(crate) fn admits(&mut self, waiting: usize, frames: usize, now_us: u64) -> bool {
        !self.is_paced() || self.pacer.admits(waiting, frames, now_us)
    }

    /// Bytes that were asked for again that may wait, so that they are not late when they leave.
    pub(crate) fn again_bytes_max(&self) -> usize {
        if !self.is_paced() {
            return usize::MAX;
        }
        let kbps = u64::from(self.kbps_pacing());
        let bytes = kbps * AGAIN_US_MAX / 8_000;
        usize::try_from(bytes)
            .unwrap_or(usize::MAX)
            .max(AGAIN_BYTES_MIN)
    }

    /// Until when the encoder had better start nothing, if that is news.
    pub(crate) fn hold(&mut self, waiting: usize, now_us: u64) -> Option<u64> {
        if !self.paces {
            return None;
        }
        let until = if self.estimate.blind {
            let over = now_us >= self.held_until_us.saturating_add(BLIND_GAP_US);
            over.then_some(now_us + BLIND_HOLD_US)
        } else {
            self.pacer.hold_us(waiting, now_us)
        }?;
        if until < self.held_until_us.saturating_add(HOLD_GRAIN_US) {
            return None;
        }
        self.held_until_us = until;
        Some(until)
    }

    /// Takes what the viewer reported, and time. Returns the next target, if it is another one.
    pub(crate) fn steer(&mut self, signals: &Signals, now_us: u64) -> Option<Target> {
        let mut news = now_us >= self.steer_at_us;
        let round_trip = signals.round_trip_us.load(Relaxed);
        if round_trip > 0 && round_trip != self.round_trip_us {
            self.round_trip_us = round_trip;
            self.controller.on_round_trip(round_trip);
        }
        for outcomes in signals.take_outcomes() {
            self.controller.on_feedback(&outcomes, now_us);
            news = true;
        }
        if !news {
            return None;
        }
        self.controller.on_tick(now_us);
        self.steer_at_us = now_us + STEER_INTERVAL.as_micros() as u64;
        self.adapt(now_us)
    }

    fn adapt(&mut self, now_us: u64) -> Option<Target> {
        self.estimate = self.controller.estimate(now_us);
        if self.controller.is_congested() {
            self.congested_us = Some(now_us);
        }
        let burst_bytes = if self.paces {
            self.estimate.burst_bytes
        } else {
            0
        };
        self.pacer.set(self.kbps_pacing(), burst_bytes, now_us);
        // Before the first target there is no encoder to tell.
        self.ladder.given()?;
        let bounded = |kbps: u32| kbps.min(self.rates.kbps_max);
        let (kbps, most) = (self.estimate.kbps_media, self.estimate.kbps_media_most);
        let idle = self.paces && self.estimate.idle;
        self.ladder.set_bounds(bounded(most), idle);
        self.ladder.next(bounded(kbps), now_us)
    }

    /// What the player allows; 0 is no limit.
    pub(crate) fn set_wish(&mut self, kbps_max: u32, height_max: u16, fps_max: u16) {
        let limit = |value: u32| (value > 0).then_some(value);
        self.wish_kbps = limit(kbps_max);
        self.controller.set_wish(self.wish_kbps);
        self.ladder.set_wish(Wish {
            height_max: limit(height_max.into()),
            fps_max: limit(fps_max.into()),
        });
        self.steer_at_us = 0;
    }

    /// The display changed.
    pub(crate) fn set_display(&mut self, display: DisplayMode) {
        self.ladder.set_display(Display {
            width: display.width,
            height: display.height,
            hz: display.hz,
        });
    }

    /// The share of the node's uplink. A player's encoder follows it; a watcher has none that does, so its
    /// packets leave no faster, and what does not fit is dropped for it alone.
    pub(crate) fn set_uplink(&mut self, kbps: Option<u32>, is_watcher: bool) {
        self.controller.set_uplink(kbps);
        self.pace_most = kbps.filter(|_| is_watcher).unwrap_or(u32::MAX);
    }

    /// What it would have of the node's uplink.
    pub(crate) fn demand(&mut self, now_us: u64, is_watcher: bool) -> Demand {
        let useful = wire_kbps(self.rates.kbps_max.min(self.ladder.kbps_useful()));
        Demand {
            is_watcher,
            kbps_wanted: useful.min(self.wish_kbps.unwrap_or(u32::MAX)),
            kbps_sent: self.controller.kbps_sent(now_us),
            queue_us: self.estimate.queue_us,
        }
    }

    /// One in so many frames gets a mark, beside those that answer an input.
    pub(crate) fn marks_every(&self) -> u32 {
        let narrow = (self.ladder.given()).is_some_and(|target| target.kbps < MARKS_ALL_KBPS);
        if narrow { MARKS_FEW_EVERY } else { 1 }
    }

    /// Packets that left and that feedback has told of, and those of them that were lost, since the last call.
    pub(crate) fn take_told(&mut self) -> (u64, u64) {
        self.controller.take_told()
    }

    /// Whether the path is full, or was a moment ago, so that the losses that are known of are the
    /// queue's.
    pub(crate) fn is_congested(&self, now_us: u64) -> bool {
        let lately = |at: u64| now_us.saturating_sub(at) < CONGESTED_LATELY_US;
        self.congested_us.is_some_and(lately)
    }

    /// Whether more was asked for again than the path can bring in time.
    pub(crate) fn is_hopeless(&mut self, asked_bytes: u64, now_us: u64) -> bool {
        if !self.paces {
            return false;
        }
        let kbps = self.estimate.kbps_media;
        self.arrears.owe(asked_bytes, kbps, now_us);
        self.arrears.write_off(kbps, now_us)
    }

    /// What the controller believes, as of the last feedback.
    pub(crate) fn gauges(&self) -> FlowGauges {
        FlowGauges {
            kbps_target: self.ladder.given().map_or(0, |target| target.kbps),
            kbps_path: self.estimate.kbps_path,
            rtt_us: self.estimate.rtt_us,
            queue_us: self.estimate.queue_us,
            loss_permille: self.estimate.loss_permille,
        }
    }

    /// The state of the stream for the player; the picture's sides, its marker and the encoder are the
    /// worker's to tell.
    pub(crate) fn state(&self, repair: Repair) -> StreamState {
        let target = self.ladder.given().unwrap_or(Target::full(0));
        let (width, height) = self.ladder.sides(&target);
        let (most, useful) = (self.rates.kbps_max, self.ladder.kbps_useful());
        let full = target.kbps >= most.min(useful);
        let capped = full && most < useful && !self.estimate.idle;
        StreamState {
            kbps_target: target.kbps,
            kbps_path: self.estimate.kbps_path,
            rtt_ms: self.estimate.rtt_us / 1000,
            queue_ms: self.estimate.queue_us / 1000,
            loss_permille: self.estimate.loss_permille,
            width,
            height,
            fps_max: target.fps_max,
            encoder: String::new(),
            limited_by: match self.estimate.limited_by {
                LimitedBy::Capacity | LimitedBy::Loss | LimitedBy::Nothing if capped => {
                    LimitedBy::Operator
                }
                LimitedBy::Capacity | LimitedBy::Loss if full => LimitedBy::Nothing,
                other => other,
            },
            repair,
            kbps_max: Some(wire_kbps(most)),
            marked: None,
        }
    }
}

fn wire_kbps(media: u32) -> u32 {
    u32::try_from(u64::from(media) * u64::from(WIRE_PERCENT) / 100).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod test;
