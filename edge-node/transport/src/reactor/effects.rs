//! What viewers ask of their sessions, carried out.

use super::{Reactor, SessionKey};
use crate::attachment::{Effect, Kind};
use crate::clock::span;
use crate::event::Event;
use crate::routes::AttachmentKey;
use nearlight_protocol::worker::ToWorker;
use std::time::Instant;

impl Reactor {
    /// Carries out what a viewer asked of its session.
    pub(super) fn apply(
        &mut self,
        key: AttachmentKey,
        session_key: SessionKey,
        effect: Effect,
        now: Instant,
    ) {
        let Some(kind) = self
            .viewers
            .get(&key)
            .map(|viewer| viewer.attachment.kind())
        else {
            return;
        };
        match effect {
            Effect::Connected => match kind {
                Kind::Player => self.attached(key, session_key, now),
                Kind::Watcher => self.watcher_connected(key, session_key, now),
                Kind::LineCheck => {}
            },
            Effect::Detached => match kind {
                Kind::Player => self.detached(key, session_key, now),
                Kind::Watcher => self.watcher_gone(key, session_key, now),
                Kind::LineCheck => {}
            },
            Effect::Over => self.forget_viewer(key, session_key),
            Effect::WantKeyFrame => self.want_key_frame(key, session_key, now),
            Effect::Input { packet, activity } => {
                let host_us = self.context.clock.micros(now);
                self.tell_worker(session_key, &ToWorker::Input { host_us, packet });
                let Some(session) = self.sessions.get_mut(&session_key) else {
                    return;
                };
                if activity && session.saw_input(now) {
                    let session = session.id.clone();
                    (self.events)(Event::InputSeen { session });
                }
            }
            Effect::Target(target) => self.tell_worker(session_key, &ToWorker::Target(target)),
            Effect::Hold { until_us } => {
                self.tell_worker(session_key, &ToWorker::Hold { until_us });
            }
            Effect::Display(mode) => self.tell_worker(session_key, &ToWorker::Display(mode)),
            Effect::Shown(frames) => frames.iter().for_each(|frame| self.meters.shown(frame)),
            Effect::FrameSent { frame, sent_us } => {
                let took = span(frame.encoded_us, sent_us).filter(|_| kind == Kind::Player);
                if let Some(took) = took {
                    self.meters.pace(took);
                }
                if kind == Kind::Player
                    && let Some(session) = self.sessions.get_mut(&session_key)
                {
                    session.measure.sent(sent_us);
                }
            }
        }
    }

    fn want_key_frame(&mut self, key: AttachmentKey, session_key: SessionKey, now: Instant) {
        let viewer = self.viewers.get_mut(&key);
        let Some(session) = self.sessions.get_mut(&session_key) else {
            return;
        };
        let now_us = self.context.clock.micros(now);
        let Some(viewer) = viewer else {
            return;
        };
        let loss = viewer.attachment.gauges().loss_permille;
        let ask = match &mut viewer.watch {
            None => session.want_key_frame(loss, now_us),
            Some(watch) => watch.may_wish(now) && session.watcher_wants_key_frame(now_us),
        };
        if ask {
            self.tell_worker(session_key, &ToWorker::KeyFrame);
        }
    }

    fn attached(&mut self, key: AttachmentKey, session_key: SessionKey, now: Instant) {
        let Some(session) = self.sessions.get_mut(&session_key) else {
            return;
        };
        session.counters.attachments += 1;
        let watched = session.watchers_told > 0;
        let session = session.id.clone();
        let Some(viewer) = self.viewers.get(&key) else {
            return;
        };
        let attachment = viewer.attachment.id().clone();
        let codec = viewer.attachment.codec();
        tracing::info!(session_id = %session, attachment_id = %attachment, "a viewer is connected");
        if let Some(codec) = codec {
            self.encode(session_key, codec, now);
        }
        self.part_with_other_codecs(session_key, now);
        if watched {
            self.tell_watchers(session_key);
        }
        (self.events)(Event::Attached {
            session,
            attachment,
        });
    }

    fn detached(&mut self, key: AttachmentKey, session_key: SessionKey, now: Instant) {
        let Some(session) = self.sessions.get_mut(&session_key) else {
            return;
        };
        if session.current == Some(key) {
            session.current = None;
        }
        session.measure.left();
        let session = session.id.clone();
        let Some(viewer) = self.viewers.get(&key) else {
            return;
        };
        let attachment = viewer.attachment.id().clone();
        tracing::info!(session_id = %session, attachment_id = %attachment, "a viewer is gone");
        self.encode_for_watchers(session_key, now);
        (self.events)(Event::Detached {
            session,
            attachment,
        });
    }
}
