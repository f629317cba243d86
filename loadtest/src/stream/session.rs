//! One session's thread: attaches, reads what arrives, and measures the window.

use super::Window;
use crate::recording::Recorder;
use anyhow::{Context, Result, bail};
use nearlight_player::broker::Broker;
use nearlight_player::clock;
use nearlight_player::collect::Collect;
use nearlight_player::decode::{Decoder, Readings};
use nearlight_player::frames::{Assembler, Out, Tally};
use nearlight_player::viewer::{Arrival, Codec, Options, Viewer};
use nearlight_protocol::id::SessionId;
use nearlight_protocol::input::Event;
use nearlight_protocol::notice::{Notice, StreamState};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use webrtc::peer_connection::RTCPeerConnectionState;

/// Nothing waits longer than this for its turn.
const TURN: Duration = Duration::from_millis(5);
/// Pings for the difference of the clocks.
const PING_EVERY_US: u64 = 200_000;
/// How long a press is held.
const HOLD_US: u64 = 50_000;
/// Requests for a key frame while none comes.
const KEY_FRAME_EVERY_US: u64 = 250_000;
/// KeyA, as evdev numbers it.
const KEY_A: u16 = 30;

/// What a thread is to do.
pub(super) struct Plan {
    pub(super) broker: Broker,
    pub(super) session: SessionId,
    pub(super) display_width: u32,
    pub(super) codec: Codec,
    pub(super) decode: bool,
    pub(super) bind: IpAddr,
    pub(super) press_every_us: Option<u64>,
    pub(super) kbps_max: u32,
    pub(super) record: Option<PathBuf>,
    /// Set once everybody is attached.
    pub(super) window: Arc<OnceLock<Window>>,
    /// Another thread has failed.
    pub(super) failed: Arc<AtomicBool>,
}

/// What it measured.
pub(super) struct Measured {
    pub(super) session: SessionId,
    pub(super) collect: Collect,
    pub(super) tally: Tally,
    pub(super) span_us: u64,
    pub(super) overflowed: u64,
    pub(super) foreign: u64,
    pub(super) state: Option<StreamState>,
    pub(super) readings: Option<Readings>,
}

/// Why a session that had no fault of its own was not measured to the end.
#[derive(Debug, thiserror::Error)]
#[error("given up, for another session failed")]
pub(super) struct GivenUp;

/// Attaches, says so to `attached`, and measures until the window is over.
pub(super) fn run(plan: &Plan, attached: &SyncSender<()>) -> Result<Measured> {
    let viewer = Viewer::new(Options {
        codec: plan.codec,
        channels: true,
        bind: plan.bind,
        as_browser: false,
    })?;
    let whep = plan.broker.attach(&plan.session, viewer.offer())?;
    viewer
        .connect(&whep.answer)
        .with_context(|| format!("{}", plan.session))?;
    viewer.send(Event::Wish {
        kbps_max: plan.kbps_max,
        height_max: 0,
        fps_max: 0,
    })?;
    // Whoever waits for it is gone only if another thread has failed.
    let _ = attached.try_send(());
    let mut thread = Thread::new(plan, &viewer)?;
    while !thread.is_over() {
        if plan.failed.load(Relaxed) {
            return Err(GivenUp.into());
        }
        thread.turn().with_context(|| format!("{}", plan.session))?;
    }
    let measured = thread.finish()?;
    plan.broker.detach(&whep)?;
    Ok(measured)
}

struct Thread<'a> {
    plan: &'a Plan,
    viewer: &'a Viewer,
    assembler: Assembler,
    decoder: Option<Decoder>,
    recorder: Option<Recorder>,
    collect: Collect,
    /// Totals at the beginning of the window, once it has begun.
    before: Option<(Tally, u64)>,
    state: Option<StreamState>,
    foreign: u64,
    ping_us: u64,
    press_us: u64,
    held: bool,
    asked_us: u64,
}

impl<'a> Thread<'a> {
    fn new(plan: &'a Plan, viewer: &'a Viewer) -> Result<Self> {
        let decoder = || Decoder::new(plan.codec, plan.display_width);
        Ok(Self {
            plan,
            viewer,
            assembler: Assembler::new(plan.codec.into()),
            decoder: plan.decode.then(decoder).transpose()?,
            recorder: plan.record.as_deref().map(Recorder::create).transpose()?,
            collect: Collect::default(),
            before: None,
            state: None,
            foreign: 0,
            ping_us: 0,
            press_us: 0,
            held: false,
            asked_us: clock::micros(),
        })
    }

    fn is_over(&self) -> bool {
        let window = self.plan.window.get();
        window.is_some_and(|window| clock::micros() >= window.to_us)
    }

    fn turn(&mut self) -> Result<()> {
        if let Some(arrival) = self.viewer.next(TURN)? {
            self.take(arrival)?;
        }
        let now_us = clock::micros();
        let begun = self.plan.window.get().is_some_and(|w| now_us >= w.from_us);
        if begun && self.before.is_none() {
            self.before = Some((self.assembler.tally(), self.viewer.overflowed()));
            self.collect.begin(now_us);
            // A recording starts with a key frame.
            if self.recorder.is_some() {
                self.viewer.ask_for_key_frame()?;
            }
        }
        let mut needs_key = self.assembler.needs_key();
        while let Some(out) = self.assembler.pull(now_us) {
            match out {
                Out::Broken => needs_key = true,
                Out::Frame(frame) => {
                    self.collect.frame(&frame);
                    if let Some(recorder) = self.recorder.as_mut().filter(|_| begun) {
                        recorder.add(frame.key, &frame.data)?;
                    }
                    if let Some(decoder) = &mut self.decoder {
                        decoder.give(&frame)?;
                    }
                }
            }
        }
        self.speak(now_us, needs_key)
    }

    fn take(&mut self, arrival: Arrival) -> Result<()> {
        match arrival {
            Arrival::Video { packet, at_us } => self.assembler.push(packet, at_us),
            Arrival::Mark { mark, at_us } => self.collect.mark(&mark, at_us),
            Arrival::Notice(Notice::Stream { stream }) => self.state = Some(stream),
            Arrival::Notice(Notice::Detached { reason }) => bail!("detached: {reason:?}"),
            Arrival::Notice(Notice::Ended { reason }) => bail!("the session ended: {reason:?}"),
            Arrival::State(
                state @ (RTCPeerConnectionState::Failed | RTCPeerConnectionState::Closed),
            ) => bail!("the connection is {state}"),
            Arrival::Foreign(what) => {
                tracing::warn!(what, "what came is not of this wire");
                self.foreign += 1;
            }
            Arrival::Audio | Arrival::Notice(_) | Arrival::State(_) => {}
        }
        Ok(())
    }

    /// Pings, presses, and asks for a key frame.
    fn speak(&mut self, now_us: u64, needs_key: bool) -> Result<()> {
        if now_us >= self.ping_us {
            self.ping_us = now_us + PING_EVERY_US;
            self.viewer.send(Event::Ping)?;
        }
        if let Some(every_us) = self.plan.press_every_us
            && now_us >= self.press_us
        {
            self.held = !self.held;
            let (code, pressed) = (KEY_A, self.held);
            self.viewer.send(Event::Key { code, pressed })?;
            let rest_us = every_us.saturating_sub(HOLD_US).max(HOLD_US);
            self.press_us = now_us + if pressed { HOLD_US } else { rest_us };
        }
        if needs_key && now_us >= self.asked_us + KEY_FRAME_EVERY_US {
            self.asked_us = now_us;
            // Before the first packet there is nobody to ask, and a key frame comes by itself.
            drop(self.viewer.ask_for_key_frame());
        }
        Ok(())
    }

    fn finish(self) -> Result<Measured> {
        let window = self.plan.window.get().context("the window is over")?;
        let (before, overflowed) = self.before.unwrap_or_default();
        self.recorder.map(Recorder::finish).transpose()?;
        let readings = self.decoder.map(Decoder::finish).transpose()?;
        Ok(Measured {
            session: self.plan.session.clone(),
            tally: since(self.assembler.tally(), before),
            span_us: window.to_us - window.from_us,
            overflowed: self.viewer.overflowed() - overflowed,
            foreign: self.foreign,
            state: self.state,
            readings,
            collect: self.collect.ended(window.to_us),
        })
    }
}

fn since(now: Tally, before: Tally) -> Tally {
    Tally {
        packets: now.packets - before.packets,
        payload_bytes: now.payload_bytes - before.payload_bytes,
        duplicates: now.duplicates - before.duplicates,
        late: now.late - before.late,
        lost: now.lost - before.lost,
        frames: now.frames - before.frames,
        spoiled: now.spoiled - before.spoiled,
    }
}
