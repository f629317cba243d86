//! What the agent's messages make the session do, and what a new connection is told.

use super::{Life, Session};
use crate::clock::mono_us;
use crate::link::outbox::Flushed;
use nearlight_protocol::input::Packet;
use nearlight_protocol::worker::{Attach, FromWorker, Ready, Target, ToWorker, VideoCodec};
use smithay::reexports::calloop::generic::Generic;
use smithay::reexports::calloop::{Interest, Mode, PostAction};
use std::os::fd::OwnedFd;

/// What a viewer's path may carry, kbit/s; the agent knows better, but must not break an encoder.
const KBPS: std::ops::RangeInclusive<u32> = 100..=200_000;

fn within(kbps: u32) -> u32 {
    kbps.clamp(*KBPS.start(), *KBPS.end())
}

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
        self.say_ready();
        if self.told_first_frame {
            self.outbox.send(&FromWorker::FirstFrame);
        }
        self.outbox.send(&FromWorker::Counters(self.counters()));
        if let Life::Failing { failed, .. } = &self.life {
            self.outbox.send(&FromWorker::Failed(failed.clone()));
        }
    }

    /// Says with which encoders the session can be seen.
    pub(super) fn say_ready(&mut self) {
        let encoders = self.feed.encoders();
        self.say_ready_with(encoders);
    }

    /// The same, with these encoders and no others.
    pub(super) fn say_ready_with(&mut self, encoders: Vec<(VideoCodec, String)>) {
        let (width, height) = self.desktop.display_size();
        self.told_encoders.clone_from(&encoders);
        self.outbox.send(&FromWorker::Ready(Ready {
            width,
            height,
            encoders,
        }));
    }

    /// The same, if they are others than the agent knows.
    pub(super) fn tell_encoders(&mut self) {
        if self.link.is_connected() && self.feed.encoders() != self.told_encoders {
            self.say_ready();
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
            ToWorker::Target(target) => self.aim(target),
            ToWorker::Display(mode) => self.desktop.want_display(mode),
            ToWorker::Hold { until_us } => self.feed.hold(until_us),
            ToWorker::Shutdown => self.end(),
        }
    }

    fn attach(&mut self, attach: &Attach) {
        tracing::info!(?attach, "viewer attached");
        self.desktop.forget_player();
        // Before the encoder starts, so that it starts once.
        if let Some(mode) = attach.display {
            self.desktop.want_display(mode);
            let displayed = self.desktop.on_display_due(mono_us());
            self.changed(displayed);
        }
        self.aim(attach.target);
        let kbps = within(attach.target.kbps);
        self.feed.attach(attach.codec, kbps);
        self.desktop.notices_attached(true);
        self.sound.set_active(true);
        self.desktop.watch(attach.session.as_ref());
    }

    /// What the path carries. Refreshing by intra blocks is no use to the viewers there are: a
    /// WebRTC receiver hands only frames with all their references to its decoder, so after a loss
    /// that nothing repaired it waits for a key frame however many intra blocks come before.
    fn aim(&mut self, target: Target) {
        self.feed.set_kbps(within(target.kbps));
        let (percent, fps_max) = (target.scale_percent, target.fps_max);
        let aimed = self.desktop.set_target(percent, fps_max, mono_us());
        self.changed(aimed);
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
