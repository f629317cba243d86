//! A playback stream: a bounded queue of samples between a client and the mix.
//!
//! ```text
//!                 queue >= prebuf, trigger
//!  Prebuffering ----------------------------> Playing
//!    ^   ^   \                                 |   |
//!    |   |    \ drain            ran dry and   |   | drain
//!    |   |     \                 prebuf > 0    |   v
//!    |   |      +------------------------------|-> Draining
//!    |   +-------------------------------------+   |
//!    +---------------------------------------------+ queue played to its end: drained
//! ```
//!
//! Flush and prebuf lead to Prebuffering from anywhere; a corked stream stays where it is.
//! The client writes what it is asked for: [`Signal::Request`] keeps the queue and the bytes that
//! are on their way at `target_length`, plus a cushion that grows when the client was too slow for
//! that and shrinks again while all goes well, so that a busy machine costs latency rather than
//! sound. A stream that runs dry plays silence and stands still: its
//! read index never passes its write index, so nothing that comes late is thrown away (the
//! original server drops it where `prebuf` is 0).
//!
//! It knows no client and no wire; what is to be told comes out as [`Signal`]s.

use crate::buffer;
use crate::frame::Seek;
use crate::limits::BUFFER_BYTES_MAX;
use crate::resample::{RATE, Resampler};
use crate::sample::{self, Downmix, Pair};
use pulseaudio::protocol::stream::BufferAttr;
use pulseaudio::protocol::{ChannelMap, ChannelVolume, Props, SampleSpec};
use std::collections::VecDeque;

/// Loudest gain of one volume control: 24 dB.
const GAIN_MAX: f32 = 16.0;
/// A stream that is dry for longer has nothing to play; that is no underrun.
const DRY_US_MAX: u64 = 1_000_000;

/// By how much the queue grows when it ran dry, and at most; after so long without, it shrinks by
/// as much.
const CUSHION_US: u64 = 10_000;
const CUSHION_US_MAX: u64 = 60_000;
const CUSHION_EASES_US: u64 = 10_000_000;

/// What the client is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Playback starts.
    Started,
    /// The queue ran dry at this read index.
    Underflow(i64),
    /// Write so many bytes.
    Request(u32),
    /// Samples were dropped for want of room.
    Overflow,
    /// All is played; answers the drain command with this sequence number.
    Drained(u32),
}

/// Where it is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Prebuffering,
    Playing,
    Draining { seq: u32 },
}

/// Buffers that all streams share, so that a tick allocates nothing.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    bytes: Vec<u8>,
    samples: Vec<f32>,
    frames: Vec<Pair>,
}

/// How a stream begins.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// Number among all streams.
    pub(crate) index: u32,
    pub(crate) spec: SampleSpec,
    pub(crate) map: ChannelMap,
    /// As the client asked.
    pub(crate) attr: BufferAttr,
    pub(crate) volume: ChannelVolume,
    pub(crate) muted: bool,
    pub(crate) corked: bool,
    pub(crate) variable_rate: bool,
    pub(crate) props: Props,
}

/// The stream.
#[derive(Debug)]
pub(crate) struct Stream {
    setup: Setup,
    gains: Vec<f32>,
    downmix: Downmix,
    resampler: Resampler,
    phase: Phase,
    queue: VecDeque<u8>,
    /// Bytes played, silence not counted.
    read_index: i64,
    write_index: i64,
    /// Bytes asked for that have not come.
    awaited: usize,
    /// Bytes played since it last started, and missing since it last ran dry.
    playing_for: u64,
    underrun_for: u64,
    /// For how long it has been dry, if it ran dry.
    dry_us: Option<u64>,
    /// What is queued beyond the target, and for how long that was enough.
    cushion_us: u64,
    smooth_us: u64,
}

impl Stream {
    /// A stream that has asked for its first `target_length` bytes. The format is known, the rate
    /// and the channels are within limits, the map and the volume have as many channels.
    pub(crate) fn new(mut setup: Setup) -> Self {
        setup.attr = buffer::negotiate(setup.attr, &setup.spec);
        Self {
            gains: gains(&setup.volume),
            downmix: Downmix::new(&setup.map),
            resampler: Resampler::new(setup.spec.sample_rate),
            phase: Phase::Prebuffering,
            queue: VecDeque::new(),
            read_index: 0,
            write_index: 0,
            awaited: setup.attr.target_length as usize,
            playing_for: 0,
            underrun_for: 0,
            dry_us: None,
            cushion_us: 0,
            smooth_us: 0,
            setup,
        }
    }

    /// Takes samples in. `None` if they are at no possible place.
    pub(crate) fn write(
        &mut self,
        seek: Seek,
        offset: i64,
        samples: &[u8],
        signals: &mut Vec<Signal>,
    ) -> Option<()> {
        let from = match seek {
            Seek::Write | Seek::End => self.write_index,
            Seek::Start => 0,
            Seek::Read => self.read_index,
        };
        let target = from.checked_add(offset)?;
        let limit = self.setup.attr.max_length as usize;
        let ahead = target.checked_sub(self.read_index)?;
        // What is already played cannot be written again.
        let late = usize::try_from(ahead.checked_neg()?).unwrap_or(0);
        let keep = usize::try_from(ahead).unwrap_or(0).min(limit);
        let quiet = sample::silence(self.setup.spec.format);
        self.queue.resize(keep, quiet);
        let fresh = &samples[late.min(samples.len())..];
        let fits = fresh.len().min(limit - keep);
        self.queue.extend(&fresh[..fits]);
        if fits < fresh.len() {
            signals.push(Signal::Overflow);
        }
        self.write_index = self.read_index + self.queue.len() as i64;
        self.awaited = self.awaited.saturating_sub(samples.len());
        self.request(signals);
        Some(())
    }

    /// Adds its next frames to `out`; says how many milliseconds of an underrun have ended.
    pub(crate) fn mix(
        &mut self,
        out: &mut [Pair],
        scratch: &mut Scratch,
        signals: &mut Vec<Signal>,
    ) -> u64 {
        if self.setup.corked {
            return 0;
        }
        let tick_us = out.len() as u64 * 1_000_000 / u64::from(RATE);
        let mut glitch_ms = 0;
        match self.phase {
            Phase::Prebuffering if self.queue.len() < self.prebuf() => {
                self.dry_us = self.dry_us.map(|dry| dry + tick_us);
                return 0;
            }
            Phase::Prebuffering => self.start(signals),
            Phase::Draining { seq } if self.queue.len() < self.frame_bytes() => {
                self.play(out, scratch);
                self.rest();
                signals.push(Signal::Drained(seq));
                return 0;
            }
            Phase::Playing | Phase::Draining { .. } => {}
        }
        if let Some(dry) = self.dry_us.filter(|_| !self.queue.is_empty()) {
            self.dry_us = None;
            self.underrun_for = 0;
            glitch_ms = if dry <= DRY_US_MAX { dry / 1_000 } else { 0 };
        }
        let missing = self.play(out, scratch);
        if self.phase == Phase::Playing {
            if missing > 0 {
                self.ran_dry(missing, signals);
            } else {
                self.ran_smoothly(tick_us);
            }
        }
        self.request(signals);
        glitch_ms
    }

    /// Holds it or lets it go on.
    pub(crate) fn cork(&mut self, corked: bool) {
        self.setup.corked = corked;
        self.dry_us = None;
    }

    /// Drops what is queued.
    pub(crate) fn flush(&mut self, signals: &mut Vec<Signal>) {
        self.queue.clear();
        self.write_index = self.read_index;
        self.interrupt(signals);
        self.rest();
        self.request(signals);
    }

    /// Plays what there is without waiting for more.
    pub(crate) fn trigger(&mut self, signals: &mut Vec<Signal>) {
        if self.phase == Phase::Prebuffering && !self.queue.is_empty() {
            self.start(signals);
        }
    }

    /// Waits for `prebuf` bytes again.
    pub(crate) fn prebuffer(&mut self, signals: &mut Vec<Signal>) {
        self.interrupt(signals);
        self.phase = Phase::Prebuffering;
        self.dry_us = None;
    }

    /// Plays to the end of the queue and then answers `seq`.
    pub(crate) fn drain(&mut self, seq: u32, signals: &mut Vec<Signal>) {
        self.interrupt(signals);
        if self.phase == Phase::Prebuffering && !self.queue.is_empty() {
            self.start(signals);
        }
        self.phase = Phase::Draining { seq };
        self.dry_us = None;
    }

    /// Takes another buffer size.
    pub(crate) fn set_attr(&mut self, attr: BufferAttr, signals: &mut Vec<Signal>) {
        self.setup.attr = buffer::negotiate(attr, &self.setup.spec);
        let most = self.setup.attr.max_length as usize;
        if self.queue.len() > most {
            self.queue.truncate(most);
            self.write_index = self.read_index + most as i64;
        }
        self.request(signals);
    }

    /// Plays at another rate, if it was made for that.
    pub(crate) fn set_rate(&mut self, rate: u32) -> bool {
        if self.setup.variable_rate {
            self.setup.spec.sample_rate = rate;
            self.resampler.set_rate(rate);
        }
        self.setup.variable_rate
    }

    pub(crate) fn set_volume(&mut self, volume: ChannelVolume) {
        self.gains = gains(&volume);
        self.setup.volume = volume;
    }

    pub(crate) fn set_muted(&mut self, muted: bool) {
        self.setup.muted = muted;
    }

    pub(crate) fn props_mut(&mut self) -> &mut Props {
        &mut self.setup.props
    }

    /// What it was set up with, as changed since.
    pub(crate) fn setup(&self) -> &Setup {
        &self.setup
    }

    pub(crate) fn is_playing(&self) -> bool {
        !self.setup.corked && self.phase != Phase::Prebuffering
    }

    /// Read and write index.
    pub(crate) fn indices(&self) -> (i64, i64) {
        (self.read_index, self.write_index)
    }

    /// Bytes played since it started, and missing since it ran dry.
    pub(crate) fn runs(&self) -> (u64, u64) {
        (self.playing_for, self.underrun_for)
    }

    /// How long what is queued plays, microseconds.
    pub(crate) fn queued_us(&self) -> u64 {
        buffer::bytes_to_us(self.queue.len() as u64, &self.setup.spec)
    }

    /// Takes the queue's front into the resampler and from there into `out`. Says how many bytes
    /// were missing, for which it played silence.
    fn play(&mut self, out: &mut [Pair], scratch: &mut Scratch) -> usize {
        let frame = self.frame_bytes();
        let needed = self.resampler.needed(out.len());
        let taken = needed.min(self.queue.len() / frame);
        scratch.bytes.clear();
        scratch.bytes.extend(self.queue.drain(..taken * frame));
        scratch.samples.clear();
        sample::decode(self.setup.spec.format, &scratch.bytes, &mut scratch.samples);
        scratch.frames.clear();
        let silent = [0.0; crate::limits::CHANNELS_MAX];
        let gains = if self.setup.muted {
            &silent[..]
        } else {
            &self.gains
        };
        self.downmix
            .apply(&scratch.samples, gains, &mut scratch.frames);
        scratch.frames.resize(needed, [0.0; 2]);
        self.resampler.push(&scratch.frames);
        self.resampler.pull(out);
        self.read_index += (taken * frame) as i64;
        self.playing_for += (taken * frame) as u64;
        (needed - taken) * frame
    }

    fn start(&mut self, signals: &mut Vec<Signal>) {
        self.phase = Phase::Playing;
        self.playing_for = 0;
        signals.push(Signal::Started);
    }

    fn ran_dry(&mut self, missing: usize, signals: &mut Vec<Signal>) {
        let missing_us = buffer::bytes_to_us(missing as u64, &self.setup.spec);
        self.underrun_for += missing as u64;
        self.playing_for = 0;
        if self.dry_us.is_none() {
            signals.push(Signal::Underflow(self.read_index));
            self.cushion_us = (self.cushion_us + CUSHION_US).min(CUSHION_US_MAX);
            self.smooth_us = 0;
        }
        self.dry_us = Some(self.dry_us.unwrap_or(0) + missing_us);
        if self.prebuf() > 0 {
            self.phase = Phase::Prebuffering;
        }
    }

    fn ran_smoothly(&mut self, tick_us: u64) {
        self.smooth_us += tick_us;
        if self.smooth_us >= CUSHION_EASES_US {
            self.smooth_us = 0;
            self.cushion_us = self.cushion_us.saturating_sub(CUSHION_US);
        }
    }

    /// Answers a drain that will not come to its end.
    fn interrupt(&mut self, signals: &mut Vec<Signal>) {
        if let Phase::Draining { seq } = self.phase {
            signals.push(Signal::Drained(seq));
            self.phase = Phase::Playing;
        }
    }

    /// Nothing is left to play.
    fn rest(&mut self) {
        self.phase = Phase::Prebuffering;
        self.resampler.clear();
        self.dry_us = None;
    }

    /// Asks for what is missing, unless it is too little to ask for.
    fn request(&mut self, signals: &mut Vec<Signal>) {
        let attr = &self.setup.attr;
        let there = self.queue.len() + self.awaited;
        let cushion = buffer::us_to_bytes(self.cushion_us, &self.setup.spec);
        let target = (attr.target_length + cushion).min(attr.max_length);
        let missing = (target as usize).saturating_sub(there);
        let missing = missing - missing % self.frame_bytes();
        if missing > 0 && missing >= attr.minimum_request_length as usize {
            self.awaited += missing;
            signals.push(Signal::Request(missing as u32));
        }
    }

    fn prebuf(&self) -> usize {
        self.setup.attr.pre_buffering as usize
    }

    fn frame_bytes(&self) -> usize {
        buffer::frame_bytes(&self.setup.spec) as usize
    }
}

fn gains(volume: &ChannelVolume) -> Vec<f32> {
    let gain = |level: &pulseaudio::protocol::Volume| level.to_linear().min(GAIN_MAX);
    volume.channels().iter().map(gain).collect()
}

/// The queue holds no more than a buffer may.
const _: () = assert!(BUFFER_BYTES_MAX as usize <= crate::limits::BLOCK_BYTES_MAX);

#[cfg(test)]
#[path = "stream/test.rs"]
mod test;
