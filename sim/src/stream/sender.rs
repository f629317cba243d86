//! The sending side: what edge-node/transport and the worker do around the pure parts.

use super::browser::Report;
use super::encoder::Encoder;
use super::{Frame, Outcome, Packet, Scenario, What};
use nearlight_stream::congestion::{Config, Controller, Kind};
use nearlight_stream::key_frames::KeyFrames;
use nearlight_stream::ladder::{Display, Ladder};
use nearlight_stream::pacing::Pacer;
use nearlight_stream::uplink::Demand;
use std::collections::VecDeque;

/// Payload of a full packet, and what the wire carries beside it: RTP, extensions, SRTP, UDP, IP.
const PAYLOAD_BYTES: u32 = 1_160;
const HEADER_BYTES: u32 = 68;
const AUDIO_BYTES: u32 = 160;
const AUDIO_US: u64 = 10_000;
/// Packets kept to be sent again.
const KEPT: usize = 1_024;
const TICK_US: u64 = 100_000;
/// What was asked for again may wait so long, and so much of it in any case.
const AGAIN_US_MAX: u64 = 50_000;
const AGAIN_BYTES_MIN: u64 = 12_000;
/// Frames per second of a quiet scene.
const QUIET_FPS: u32 = 10;
/// Between two key frames.
const KEY_FRAME_US: u64 = 300_000;
/// Between two that a watcher may wish for.
const WATCHER_WISH_US: u64 = 10_000_000;

/// What the encoder made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Picture {
    bytes: u32,
    key: bool,
}

#[derive(Debug)]
pub(super) struct Sender {
    controller: Controller,
    pacer: Pacer,
    ladder: Ladder,
    keys: KeyFrames,
    encoder: Encoder,
    scene_kbps: Vec<(u64, u32)>,
    flips: Option<(u64, u32)>,
    flips_until_us: u64,
    flip_due_us: u64,
    kbps: u32,
    fps: u32,
    frame_due_us: u64,
    audio_due_us: u64,
    tick_due_us: u64,
    held_until_us: u64,
    key_wanted: bool,
    /// A watcher's: its picture is broken until the next key frame, and when it may wish for one.
    awaits_key: bool,
    wish_us: u64,
    /// What a watcher may be sent at most, kbit/s.
    kbps_most: u32,
    frame: u64,
    number: u64,
    sequence: u16,
    waiting: VecDeque<(Frame, u64, u32)>,
    again: VecDeque<(Frame, u64, u32)>,
    kept: VecDeque<(Frame, u64, u32)>,
}

impl Sender {
    pub(super) fn new(scenario: &Scenario, seed: u64) -> Self {
        let config = Config {
            kbps_min: 150,
            kbps_start: scenario.kbps_start,
            kbps_max: scenario.kbps_max,
        };
        let display = Display {
            width: 1280,
            height: 720,
            hz: 60,
        };
        Self {
            controller: Controller::new(config, 0),
            pacer: Pacer::new(scenario.kbps_start * 5 / 2, 0),
            ladder: Ladder::new(display),
            keys: KeyFrames::default(),
            encoder: Encoder::new(seed),
            scene_kbps: scenario.scene_kbps.clone(),
            flips: scenario.flips,
            flips_until_us: scenario.flips_until_us,
            flip_due_us: 0,
            kbps: scenario.kbps_start,
            fps: 60,
            frame_due_us: 0,
            audio_due_us: 0,
            tick_due_us: 0,
            held_until_us: 0,
            key_wanted: true,
            awaits_key: true,
            wish_us: 0,
            kbps_most: u32::MAX,
            frame: 0,
            number: 0,
            sequence: 65_000,
            waiting: VecDeque::new(),
            again: VecDeque::new(),
            kept: VecDeque::new(),
        }
    }

    pub(super) fn on_report(&mut self, report: &Report, now_us: u64) {
        self.controller.on_round_trip(report.rtt_us(now_us));
        self.controller.on_feedback(&report.outcomes, now_us);
        for number in &report.missing {
            let bytes: u32 = self.again.iter().map(|(_, _, bytes)| bytes).sum();
            let most =
                u64::from(self.controller.estimate(now_us).kbps_pacing) * AGAIN_US_MAX / 8_000;
            if u64::from(bytes) > most.max(AGAIN_BYTES_MIN) {
                break;
            }
            if let Some(packet) = self.kept.iter().find(|(_, n, _)| n == number) {
                self.again.push_back(*packet);
            }
        }
        if report.key_frame {
            let loss = self.controller.estimate(now_us).loss_permille;
            self.key_wanted |= self.keys.want(KEY_FRAME_US, loss, now_us);
        }
        self.adapt(now_us);
    }

    fn adapt(&mut self, now_us: u64) {
        let estimate = self.controller.estimate(now_us);
        let pacing = estimate.kbps_pacing.min(self.kbps_most);
        self.pacer.set(pacing, estimate.burst_bytes, now_us);
        let most = estimate.kbps_media_most;
        self.ladder.set_bounds(most, estimate.idle);
        if let Some(target) = self.ladder.next(estimate.kbps_media, now_us) {
            self.kbps = target.kbps;
            self.fps = target.fps_max;
        }
    }

    /// What it would have of an uplink that it shares.
    pub(super) fn demand(&mut self, is_watcher: bool, kbps_max: u32, now_us: u64) -> Demand {
        Demand {
            is_watcher,
            kbps_wanted: kbps_max.min(self.ladder.kbps_useful()) * 108 / 100,
            kbps_sent: self.controller.kbps_sent(now_us),
            queue_us: self.controller.estimate(now_us).queue_us,
        }
    }

    /// Its share of that uplink. A watcher has no encoder that follows: its pacer keeps to the share.
    pub(super) fn set_uplink(&mut self, kbps: Option<u32>, is_watcher: bool) {
        self.controller.set_uplink(kbps);
        self.kbps_most = kbps.filter(|_| is_watcher).unwrap_or(u32::MAX);
    }

    /// Somebody who sees the same pictures needs a key frame.
    pub(super) fn want_key_frame(&mut self, now_us: u64) {
        self.key_wanted |= self.keys.want(KEY_FRAME_US, 0, now_us);
    }

    fn tick(&mut self, now_us: u64, outcome: &mut Outcome) {
        if now_us >= self.tick_due_us {
            self.tick_due_us = now_us + TICK_US;
            self.controller.on_tick(now_us);
            self.adapt(now_us);
            self.key_wanted |= self.keys.take_due(now_us);
            outcome.target(now_us, self.kbps, self.controller.kbps_rate());
            outcome.path(now_us, self.controller.estimate(now_us).kbps_path);
        }
    }

    /// A watcher's turn, with the picture that was made for the player, if there is one: it goes out, or
    /// is dropped for this watcher alone. Says whether it wishes for a key frame.
    pub(super) fn watch(
        &mut self,
        picture: Option<Picture>,
        now_us: u64,
        outcome: &mut Outcome,
    ) -> bool {
        self.tick(now_us, outcome);
        let Some(picture) = picture else {
            return false;
        };
        let mut frames: Vec<u64> = self
            .waiting
            .iter()
            .map(|(frame, ..)| frame.number)
            .collect();
        frames.dedup();
        let waiting = self.waiting_bytes();
        let admitted = self.pacer.admits(waiting, frames.len(), now_us);
        self.awaits_key = !admitted || (self.awaits_key && !picture.key);
        if !self.awaits_key {
            self.cut(picture, now_us);
            return false;
        }
        let wishes = admitted && now_us >= self.wish_us;
        if wishes {
            self.wish_us = now_us + WATCHER_WISH_US;
        }
        wishes
    }

    /// Makes the next picture, if it is time.
    pub(super) fn encode(&mut self, now_us: u64, outcome: &mut Outcome) -> Option<Picture> {
        self.tick(now_us, outcome);
        if now_us < self.frame_due_us {
            return None;
        }
        let waiting = self.waiting_bytes();
        let blind = self.controller.estimate(now_us).blind;
        if let Some(until) = self.pacer.hold_us(waiting, now_us) {
            self.held_until_us = until;
            outcome.held(now_us);
        }
        if now_us < self.held_until_us || blind {
            return None;
        }
        // The frame that waited for the hold to end is encoded now; the rhythm goes on.
        let quiet = self.flips.filter(|_| now_us < self.flips_until_us);
        let fps = if quiet.is_some() { QUIET_FPS } else { self.fps };
        let period = 1_000_000 / u64::from(fps);
        while self.frame_due_us <= now_us {
            self.frame_due_us += period;
        }
        let scene = self.scene_kbps.iter().rev().find(|(at, _)| *at <= now_us);
        let most = scene.map_or(u32::MAX, |(_, kbps)| *kbps);
        let key = std::mem::take(&mut self.key_wanted);
        if key {
            self.keys.expect(now_us);
        }
        let mut bytes = self.encoder.bytes(self.kbps.min(most), fps, key);
        if let Some((every_us, flip_bytes)) = quiet
            && now_us >= self.flip_due_us
        {
            self.flip_due_us = now_us + every_us;
            bytes = flip_bytes;
        }
        let picture = Picture { bytes, key };
        self.cut(picture, now_us);
        Some(picture)
    }

    /// Queues the packets of a picture.
    fn cut(&mut self, picture: Picture, now_us: u64) {
        let Picture { bytes, key } = picture;
        let packets = u64::from(bytes.div_ceil(PAYLOAD_BYTES));
        self.frame += 1;
        let frame = Frame {
            number: self.frame,
            key,
            encoded_us: now_us,
            first: self.number + 1,
            last: self.number + packets,
        };
        for i in 0..packets {
            let left = bytes - i as u32 * PAYLOAD_BYTES;
            self.number += 1;
            let packet = (frame, self.number, left.min(PAYLOAD_BYTES));
            self.waiting.push_back(packet);
            if self.kept.len() == KEPT {
                self.kept.pop_front();
            }
            self.kept.push_back(packet);
        }
    }

    fn waiting_bytes(&self) -> usize {
        let all = self.waiting.iter().chain(&self.again);
        all.map(|(_, _, bytes)| (bytes + HEADER_BYTES) as usize)
            .sum()
    }

    /// Sends what may leave now.
    /// Says of each when it was made.
    pub(super) fn release(&mut self, now_us: u64, mut send: impl FnMut(Packet, u64)) {
        let silent = self.flips.is_some() && now_us < self.flips_until_us;
        if now_us >= self.audio_due_us && !silent {
            self.audio_due_us = now_us + AUDIO_US;
            let mut send = |packet| send(packet, now_us);
            self.send(Kind::Audio, What::Audio, AUDIO_BYTES, now_us, &mut send);
        }
        while self.pacer.room(now_us) > 0 {
            let again = self.again.pop_front().map(|packet| (packet, true));
            let next = again.or_else(|| self.waiting.pop_front().map(|packet| (packet, false)));
            let Some(((frame, number, bytes), again)) = next else {
                return;
            };
            let kind = if again { Kind::Retransmit } else { Kind::Video };
            let what = What::Video {
                number,
                frame,
                again,
            };
            let made_us = if again { now_us } else { frame.encoded_us };
            let mut send = |packet| send(packet, made_us);
            self.send(kind, what, bytes, now_us, &mut send);
        }
    }

    fn send(
        &mut self,
        kind: Kind,
        what: What,
        payload_bytes: u32,
        now_us: u64,
        send: &mut impl FnMut(Packet),
    ) {
        let wire_bytes = payload_bytes + HEADER_BYTES;
        self.controller
            .on_sent(self.sequence, wire_bytes, kind, now_us);
        self.pacer.on_sent(wire_bytes as usize, now_us);
        send(Packet {
            sequence: self.sequence,
            what,
            wire_bytes,
        });
        self.sequence = self.sequence.wrapping_add(1);
    }
}
