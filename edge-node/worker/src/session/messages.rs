//! What the agent's messages make the session do, and what a new connection is told.

use super::{Life, Session};
use crate::clock::mono_us;
use crate::link::outbox::Flushed;
use nearlight_protocol::api::EndReason;
use nearlight_protocol::input::Packet;
use nearlight_protocol::worker::{Attach, FromWorker, Ready, ToWorker};
use smithay::reexports::calloop::generic::Generic;
use smithay::reexports::calloop::{Interest, Mode, PostAction};
use std::os::fd::OwnedFd;

/// What a viewer's path may carry, kbit/s; the agent knows better, but must not break an encoder.
const KBPS: std::ops::RangeInclusive<u32> = 100..=200_000;

impl Session {
    /// The listener is readable.
    pub(super) fn accept_agent(&mut self) {
        match self.link.accept() {
            Ok(false) => {}
            Ok(true) => {
                self.unattach();
                self.forget_sources();
                self.greet();
                self.wait_for_agent();
            }
            Err(error) => tracing::warn!(%error, "an agent could not connect"),
        }
    }

    fn greet(&mut self) {
        tracing::info!("agent connected");
        let (width, height) = self.desktop.display_size();
        let ready = Ready {
            width,
            height,
            encoders: self.feed.encoders(),
        };
        self.outbox.send(&FromWorker::Ready(ready));
        if self.told_first_frame {
            self.outbox.send(&FromWorker::FirstFrame);
        }
        self.outbox.send(&FromWorker::Counters(self.counters()));
        if let Life::Failing { failed, .. } = &self.life {
            self.outbox.send(&FromWorker::Failed(failed.clone()));
        }
    }

    fn wait_for_agent(&mut self) {
        let Some(fd) = self.connection_fd() else {
            return;
        };
        let source = Generic::new(fd, Interest::READ, Mode::Level);
        let inserted = self
            .handle
            .insert_source(source, |_, _, session: &mut Self| {
                session.pulse.busy();
                session.read_agent();
                Ok(PostAction::Continue)
            });
        match inserted {
            Ok(token) => self.reading = Some(token),
            Err(error) => {
                tracing::error!(%error, "cannot wait for the agent");
                self.agent_gone();
            }
        }
    }

    fn read_agent(&mut self) {
        match self.link.read() {
            Ok(messages) => {
                for message in messages {
                    self.on_message(message);
                }
            }
            Err(reason) => {
                tracing::info!(%reason, "agent gone");
                self.agent_gone();
            }
        }
    }

    /// The outbox has a backlog, or is dead.
    pub(super) fn flush_later(&mut self) {
        if self.writing.is_some() {
            return;
        }
        let Some(fd) = self.connection_fd() else {
            return;
        };
        let source = Generic::new(fd, Interest::WRITE, Mode::Level);
        let inserted = self
            .handle
            .insert_source(source, |_, _, session: &mut Self| {
                match session.outbox.flush() {
                    Flushed::Waiting => return Ok(PostAction::Continue),
                    Flushed::Empty => {}
                    Flushed::Dead => session.agent_gone(),
                }
                session.writing = None;
                Ok(PostAction::Remove)
            });
        self.writing = inserted.ok();
    }

    /// The connection, to wait for. Without a descriptor to wait with it is useless.
    fn connection_fd(&mut self) -> Option<OwnedFd> {
        match self.link.connection_fd() {
            Ok(fd) => fd,
            Err(error) => {
                tracing::error!(%error, "cannot wait for the agent");
                self.agent_gone();
                None
            }
        }
    }

    pub(super) fn agent_gone(&mut self) {
        self.unattach();
        self.link.close(mono_us());
        self.forget_sources();
    }

    fn forget_sources(&mut self) {
        for token in [self.reading.take(), self.writing.take()]
            .into_iter()
            .flatten()
        {
            self.handle.remove(token);
        }
    }

    fn on_message(&mut self, message: ToWorker) {
        if self.life != Life::Running {
            return;
        }
        match message {
            ToWorker::Attach(attach) => self.attach(&attach),
            ToWorker::Detach => self.unattach(),
            ToWorker::Input { host_us, packet } => match Packet::decode(&packet) {
                Ok(packet) => self.desktop.inject(packet, host_us),
                Err(error) => tracing::warn!(%error, "the agent let a bad input packet through"),
            },
            ToWorker::KeyFrame => self.feed.key_frame(),
            ToWorker::Target(target) => {
                self.feed
                    .set_kbps(target.kbps.clamp(*KBPS.start(), *KBPS.end()));
            }
            // The display keeps its size for now.
            ToWorker::Display(_) => {}
            ToWorker::Hold { until_us } => self.feed.hold(until_us),
            ToWorker::Shutdown => self.end(),
        }
    }

    fn attach(&mut self, attach: &Attach) {
        tracing::info!(?attach, "viewer attached");
        self.desktop.forget_player();
        let kbps = attach.target.kbps.clamp(*KBPS.start(), *KBPS.end());
        if let Err(error) = self.feed.attach(attach.codec, kbps) {
            return self.fail(EndReason::EncoderFailed, error.to_string());
        }
        self.desktop.notices_attached(true);
        self.sound.set_active(true);
        self.desktop.watch();
    }

    /// Nobody watches any more, for whatever reason.
    pub(super) fn unattach(&mut self) {
        self.desktop.unwatch();
        self.desktop.forget_player();
        self.desktop.notices_attached(false);
        self.feed.detach();
        self.sound.set_active(false);
    }
}
