//! One session's event loop: desktop, link, encoder and sound, wired together.
//!
//! ```text
//!   running  --Shutdown--------------------------->  ending (status 0)  -->  exits
//!      |     --violation, no encoder, a panic----->  ending (status 1)  -->  exits
//!      +-----no agent for 15 minutes--------------------------------------->  exits
//! ```
//!
//! Everything happens on the main thread, in rounds: wait for a file descriptor or the next
//! deadline, handle what came, then do what is due (`Session::after_round`). There are no timers
//! beside the deadlines.
//!
//! While ending, the last messages wait for the agent: for [`FAREWELL_MAX`] if one is connected,
//! else until one comes to learn why.
//!
//! **What it does not know:** Wayland's protocols, encoders, the wire's bytes.

mod messages;
mod start;
mod transfers;

pub use start::{StartError, start};

use crate::clock::mono_us;
use crate::desktop::fences::{Source, Wait};
use crate::desktop::{Desktop, DesktopError};
use crate::encode::{Event as FeedEvent, Exhausted, Feed};
use crate::ledger::Ledger;
use crate::limits::{FAREWELL_MAX, HOUSEKEEPING};
use crate::link::Link;
use crate::link::outbox::{Flushed, Outbox};
use crate::watchdog::Pulse;
use nearlight_protocol::api::EndReason;
use nearlight_protocol::worker::{Counters, Failed, FromWorker, VideoCodec};
use nearlight_sound::SoundServer;
use smithay::reexports::calloop::{EventLoop, LoopHandle, RegistrationToken};
use smithay::reexports::wayland_server::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;
use transfers::Transfers;

const HOUSEKEEPING_US: u64 = HOUSEKEEPING.as_micros() as u64;
const FAREWELL_US: u64 = FAREWELL_MAX.as_micros() as u64;
/// Counters go out every second.
const COUNTERS_US: u64 = 1_000_000;
/// Linux maps memory in pages of this size on every machine that has the encoders.
const PAGE_BYTES: u64 = 4096;

/// A session and everything it owns.
#[derive(Debug)]
pub struct Session {
    display: Display<Desktop>,
    desktop: Desktop,
    link: Link,
    outbox: Outbox,
    feed: Feed,
    ledger: Ledger,
    sound: SoundServer,
    handle: LoopHandle<'static, Session>,
    reading: Option<RegistrationToken>,
    writing: Option<RegistrationToken>,
    transfers: Transfers,
    life: Life,
    told_first_frame: bool,
    /// What the agent knows of the encoders.
    told_encoders: Vec<(VideoCodec, String)>,
    housekeeping_due_us: u64,
    counters_due_us: u64,
    pulse: Pulse,
    /// More would be an app's doing.
    memory_bytes_max: u64,
}

/// Whether it goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Life {
    Running,
    /// The agent said so.
    Ending {
        since_us: u64,
    },
    /// It cannot go on, and the agent is to know why.
    Failing {
        since_us: u64,
        failed: Failed,
    },
}

impl Session {
    /// Runs until the session is over and returns the exit status.
    ///
    /// # Errors
    /// If the operating system takes the event loop's file descriptors away.
    pub fn run(mut self, mut event_loop: EventLoop<'static, Self>) -> anyhow::Result<u8> {
        loop {
            let now = mono_us();
            if let Some(status) = self.is_over(now) {
                self.outbox.flush();
                return Ok(status);
            }
            let wait = self.next_deadline_us(now).saturating_sub(now);
            let round = catch_unwind(AssertUnwindSafe(|| {
                event_loop.dispatch(Some(Duration::from_micros(wait)), &mut self)?;
                self.after_round();
                anyhow::Ok(())
            }));
            self.pulse.idle();
            match round {
                Ok(done) => done?,
                // The state is unknown now: say so and leave, without touching the desktop.
                Err(_) => {
                    self.fail(EndReason::Internal, "the worker's own code panicked".into());
                    self.outbox.flush();
                    return Ok(1);
                }
            }
        }
    }

    /// What is due after each round.
    fn after_round(&mut self) {
        self.pulse.busy();
        let now = mono_us();
        if self.life == Life::Running {
            self.desktop.on_round_end(now);
            self.desktop.on_turn(now);
            self.feed.on_deadline(now);
            self.desktop.on_cursor_due(now);
            let displayed = self.desktop.on_display_due(now);
            self.changed(displayed);
            let lost = self.desktop.check_gpu();
            self.changed(lost);
            if let Some(exhausted) = self.feed.take_exhausted() {
                self.encoders_lost(&exhausted);
            }
            self.desktop.after_round();
            for transfer in self.desktop.take_transfers() {
                self.begin_transfer(transfer, now);
            }
            for wait in self.desktop.take_waits() {
                self.await_gpu(wait);
            }
            self.tell_first_frame();
            if now >= self.housekeeping_due_us {
                self.housekeeping_due_us = now + HOUSEKEEPING_US;
                self.housekeeping(now);
            }
            if let Some(what) = self.desktop.take_violation() {
                self.fail(EndReason::DesktopViolation, what);
            }
            if let Err(error) = self.display.flush_clients() {
                tracing::warn!(%error, "events could not be sent to the app");
            }
        }
        if now >= self.counters_due_us {
            self.counters_due_us = now + COUNTERS_US;
            self.outbox.send(&FromWorker::Counters(self.counters()));
        }
    }

    /// A commit takes effect when the GPU is done with it. Without a descriptor to wait with it never
    /// would.
    fn await_gpu(&mut self, wait: Wait) {
        let Wait { source, client } = wait;
        let inserted = match source {
            Source::Point(source) => {
                let done = move |(), (): &mut (), session: &mut Self| {
                    session.pulse.busy();
                    session.desktop.gpu_done(&client);
                    Ok(())
                };
                let inserted = self.handle.insert_source(source, done);
                inserted.map_err(|error| error.to_string())
            }
            Source::Buffer(source) => {
                let inserted = self.handle.insert_source(source, move |(), _, session| {
                    session.pulse.busy();
                    session.desktop.gpu_done(&client);
                    Ok(())
                });
                inserted.map_err(|error| error.to_string())
            }
        };
        if let Err(error) = inserted {
            self.fail(
                EndReason::Internal,
                format!("cannot wait for the GPU: {error}"),
            );
        }
    }

    fn housekeeping(&mut self, now: u64) {
        self.desktop.check_objects();
        self.expire_transfers(now);
        // One that nobody used may have failed, or one has rested long enough.
        self.tell_encoders();
        match own_memory_bytes() {
            Some(bytes) if bytes > self.memory_bytes_max => {
                let what = format!("the desktop took {} MiB of the worker", bytes >> 20);
                self.fail(EndReason::DesktopViolation, what);
            }
            Some(_) | None => {}
        }
    }

    fn next_deadline_us(&mut self, now: u64) -> u64 {
        if self.life != Life::Running {
            return now + HOUSEKEEPING_US / 8;
        }
        let due = [
            self.desktop.turn_us(now),
            self.feed.deadline_us(),
            self.desktop.cursor_due_us(),
            self.desktop.display_due_us(),
            Some(self.housekeeping_due_us),
            Some(self.counters_due_us),
        ];
        due.into_iter().flatten().min().unwrap_or(now)
    }

    /// The session cannot go on. The desktop is not served any more.
    fn fail(&mut self, reason: EndReason, detail: String) {
        if self.life != Life::Running {
            return;
        }
        tracing::error!(?reason, detail, "session failed");
        let failed = Failed { reason, detail };
        self.unattach();
        self.outbox.send(&FromWorker::Counters(self.counters()));
        self.outbox.send(&FromWorker::Failed(failed.clone()));
        self.life = Life::Failing {
            since_us: mono_us(),
            failed,
        };
    }

    /// The agent ends the session.
    fn end(&mut self) {
        if self.life == Life::Running {
            tracing::info!("session ends");
            self.unattach();
            self.outbox.send(&FromWorker::Counters(self.counters()));
            self.life = Life::Ending {
                since_us: mono_us(),
            };
        }
    }

    fn is_over(&mut self, now: u64) -> Option<u8> {
        if self.link.is_orphaned(now) {
            tracing::error!("no agent for too long, giving up");
            return Some(1);
        }
        let (since_us, status) = match &self.life {
            Life::Running => return None,
            Life::Ending { since_us } => (*since_us, 0),
            Life::Failing { since_us, .. } => (*since_us, 1),
        };
        let told = self.link.is_connected() && self.outbox.flush() == Flushed::Empty;
        let late = now.saturating_sub(since_us) > FAREWELL_US;
        let nobody_to_tell = !self.link.is_connected() && status == 0;
        (told || nobody_to_tell || (late && self.link.is_connected())).then_some(status)
    }

    fn tell_first_frame(&mut self) {
        if !self.told_first_frame && self.desktop.has_picture() {
            self.told_first_frame = true;
            tracing::info!("first picture");
            self.outbox.send(&FromWorker::FirstFrame);
        }
    }

    /// The display or what is encoded of it changed: the agent is told at once.
    fn changed(&mut self, changed: Result<bool, DesktopError>) {
        match changed {
            Ok(false) => {}
            Ok(true) => self.counters_due_us = 0,
            Err(error) => self.fail(EndReason::Internal, error.to_string()),
        }
    }

    fn on_feed_event(&mut self, event: FeedEvent) {
        match event {
            // The deadline is computed anew before each wait.
            FeedEvent::Sooner => {}
            FeedEvent::Redraw => self.desktop.redraw_soon(),
            FeedEvent::Broken { generation, reason } => {
                self.feed.replace_encoder(generation, &reason);
            }
        }
    }

    /// No encoder is left for the codec that the viewers take. While there is one for another, the
    /// session goes on: the agent is told, and its viewers attach again.
    fn encoders_lost(&mut self, exhausted: &Exhausted) {
        // Its rest may be over by now, and the agent is to hear that it failed.
        let mut encoders = self.feed.encoders();
        encoders.retain(|(codec, _)| *codec != exhausted.codec);
        if encoders.is_empty() {
            return self.fail(EndReason::EncoderFailed, exhausted.to_string());
        }
        tracing::warn!(%exhausted, "viewers have to take another codec");
        self.unattach();
        self.say_ready_with(encoders);
    }

    /// One round of the app's requests. A library that panics on what an app sends ends the
    /// session, not the process.
    fn serve_apps(&mut self) {
        if self.life != Life::Running {
            return;
        }
        let served = catch_unwind(AssertUnwindSafe(|| {
            self.display.dispatch_clients(&mut self.desktop)
        }));
        match served {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!(%error, "a round of requests ended early"),
            Err(_) => {
                let what = "a request made the desktop's code panic".to_owned();
                self.fail(EndReason::DesktopViolation, what);
            }
        }
    }

    fn counters(&self) -> Counters {
        let frames = self.ledger.snapshot();
        let sound = self.sound.counters();
        let (shape, (display, fps_max)) = (self.feed.shape(), self.desktop.display());
        Counters {
            committed: frames.committed,
            encoded: frames.encoded,
            dropped: frames.dropped,
            in_flight: frames.in_flight,
            repeated: frames.repeated,
            injected: self.desktop.injected_counts(),
            audio_packets: self.outbox.audio_packets(),
            audio_underrun_ms: sound.underrun_ms,
            encoder: self.feed.encoder(),
            display: Some(display),
            encoded_width: shape.width,
            encoded_height: shape.height,
            fps_max,
            pictures: self.desktop.picture_path(),
            marked: self.desktop.is_marked(),
        }
    }
}

/// Memory that is this process's alone; pages shared with an app are the app's.
fn own_memory_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let mut pages = statm.split(' ').skip(1).map(str::parse::<u64>);
    let (resident, shared) = (pages.next()?.ok()?, pages.next()?.ok()?);
    Some(resident.saturating_sub(shared) * PAGE_BYTES)
}

#[cfg(test)]
mod test {
    #[test]
    fn own_memory_is_known_and_plausible() {
        let bytes = super::own_memory_bytes().unwrap();
        assert!(
            (100_000..crate::limits::OWN_MEMORY_BYTES_MAX).contains(&bytes),
            "{bytes}"
        );
    }
}
