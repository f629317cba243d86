//! Workers: their frames in, our messages out, and what happens when one is lost.

use super::{FIRST_SESSION, Reactor, SessionKey, viewers::guard};
use crate::clock::span;
use crate::counters::VideoDropReason;
use crate::event::Event;
use crate::limits::GOODBYE_DEADLINE;
use crate::picture::Picture;
use crate::session::Session;
use crate::worker_link::{LinkError, WorkerLink};
use bytes::Bytes;
use mio::{Interest, Token};
use nearlight_protocol::api::EndReason;
use nearlight_protocol::id::SessionId;
use nearlight_protocol::limits::NOTICE_BYTES_MAX;
use nearlight_protocol::notice::Notice;
use nearlight_protocol::worker::{self, FromWorker, Ready, ToWorker, Video};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

impl Reactor {
    pub(super) fn add_session(&mut self, id: SessionId, worker: UnixStream) {
        let known = self.by_id.get(&id).copied();
        if known.is_none() && self.sessions.len() >= self.config.max_sessions {
            tracing::error!(session_id = %id, "more sessions than `max_sessions`; not taken");
            (self.events)(Event::WorkerGone { session: id });
            return;
        }
        let key = self.next_token;
        self.next_token += 1;
        let both = Interest::READABLE | Interest::WRITABLE;
        let link = WorkerLink::new(worker).and_then(|mut link| {
            let registry = self.poll.registry();
            registry.register(link.source(), Token(key), both)?;
            Ok(link)
        });
        let link = match link {
            Ok(link) => link,
            Err(error) => {
                tracing::error!(session_id = %id, %error, "the worker's socket cannot be watched");
                (self.events)(Event::WorkerGone { session: id });
                return;
            }
        };
        debug_assert!(key >= FIRST_SESSION);
        // A worker that is connected anew keeps its session's totals and viewer, under a new token.
        let session = match known.and_then(|known| self.sessions.remove(&known)) {
            Some(mut session) => {
                let old = session.replace_link(link);
                self.unwatch(old);
                let viewers = self.viewers.values_mut();
                for viewer in viewers.filter(|viewer| Some(viewer.session) == known) {
                    viewer.session = key;
                }
                session
            }
            None => Session::new(id.clone(), link),
        };
        self.by_id.insert(id, key);
        self.sessions.insert(key, session);
    }

    pub(super) fn read_workers(&mut self, now: Instant) {
        let busy = |session: &Session| session.link.as_ref().is_some_and(WorkerLink::has_work);
        let keys: Vec<SessionKey> = self
            .sessions
            .iter()
            .filter(|(_, session)| busy(session))
            .map(|(key, _)| *key)
            .collect();
        for key in keys {
            self.read_worker(key, now);
        }
    }

    fn read_worker(&mut self, key: SessionKey, now: Instant) {
        let session = self.sessions.get_mut(&key);
        let Some(link) = session.and_then(|session| session.link.as_mut()) else {
            return;
        };
        let mut frames = std::mem::take(&mut self.frames);
        let result = link.flush().and_then(|()| link.pull(&mut frames));
        for frame in frames.drain(..) {
            self.take_frame(key, frame, now);
        }
        self.frames = frames;
        if let Err(error) = result {
            self.lose_worker(key, &error);
        }
    }

    fn take_frame(&mut self, key: SessionKey, frame: FromWorker, now: Instant) {
        match frame {
            FromWorker::Video(video) => self.take_video(key, video, now),
            FromWorker::Audio { pts_us, data } => self.take_audio(key, pts_us, data, now),
            FromWorker::Notice(json) => match String::from_utf8(json) {
                Ok(json) if json.len() <= NOTICE_BYTES_MAX => self.say(key, json),
                Ok(_) | Err(_) => tracing::debug!("a worker's notice is too large or no text"),
            },
            FromWorker::Counters(counters) => {
                self.worker_counted(key, counters);
            }
            FromWorker::Ready(ready) => self.worker_ready(key, ready, now),
            FromWorker::FirstFrame => {
                if let Some(session) = self.sessions.get_mut(&key) {
                    session.shows_picture = true;
                    let session = session.id.clone();
                    (self.events)(Event::FirstFrame { session });
                }
            }
            FromWorker::Failed(failed) => {
                if let Some(session) = self.sessions.get(&key) {
                    let session = session.id.clone();
                    (self.events)(Event::WorkerFailed { session, failed });
                }
            }
        }
    }

    fn worker_counted(&mut self, key: SessionKey, counters: worker::Counters) {
        let Some(session) = self.sessions.get_mut(&key) else {
            return;
        };
        let player = session.current.and_then(|key| self.viewers.get_mut(&key));
        if let (Some(player), Some(display)) = (player, counters.display) {
            player.attachment.set_display(display);
        }
        session.worker_counters = counters;
    }

    fn worker_ready(&mut self, key: SessionKey, ready: Ready, now: Instant) {
        let Some(session) = self.sessions.get_mut(&key) else {
            return;
        };
        let id = session.id.clone();
        let encoders = ready.encoders.iter().map(|(codec, _)| *codec).collect();
        let known = session.encoders.replace(encoders);
        tracing::info!(session_id = %id, encoders = ?ready.encoders, "a worker's encoders");
        self.part_with_lost_codecs(key, now);
        if known.is_some() {
            return;
        }
        // A worker that is connected anew has forgotten who sees it.
        let session = self.sessions.get(&key);
        if let Some(codec) = session.and_then(|session| session.encoding) {
            self.encode(key, codec, now);
        }
        (self.events)(Event::WorkerReady { session: id, ready });
    }

    fn take_video(&mut self, key: SessionKey, video: Video, now: Instant) {
        let Some(session) = self.sessions.get_mut(&key) else {
            return;
        };
        session.counters.video_in += 1;
        if video.key {
            session.key_frames.came();
        }
        if let Some(took) = session.answers(&video) {
            self.meters.render(took);
            let player = session.current.and_then(|key| self.viewers.get(&key));
            if let Some(us) = player.and_then(|player| player.attachment.round_trip_us()) {
                self.meters.input(Duration::from_micros(us));
            }
        }
        if let Some(took) = span(video.commit_us, video.captured_us) {
            self.meters.capture(took);
        }
        if let Some(took) = span(video.captured_us, video.encoded_us) {
            self.meters.encode(took);
            if session.current.is_some() {
                session.measure.encoded(took.as_micros() as u64);
            }
        }
        if session.current.is_none() && session.watchers.is_empty() {
            let reason = VideoDropReason::NoAttachment;
            session.counters.drop_video(reason, 1);
            return;
        }
        let mut viewers = session.current.iter().chain(&session.watchers);
        let is_protected = viewers.any(|key| {
            let viewer = self.viewers.get(key);
            viewer.is_some_and(|viewer| viewer.attachment.protects())
        });
        let picture = session.cut(video, is_protected);
        self.show_player(key, &picture, now);
        self.show_watchers(key, &picture, now);
    }

    fn show_player(&mut self, key: SessionKey, picture: &Picture, now: Instant) {
        let Some(session) = self.sessions.get_mut(&key) else {
            return;
        };
        let current = session.current;
        let viewer = current.and_then(|current| self.viewers.get_mut(&current));
        let (Some(viewer_key), Some(viewer)) = (current, viewer) else {
            let reason = VideoDropReason::NoAttachment;
            session.counters.drop_video(reason, 1);
            return;
        };
        let attachment = &mut viewer.attachment;
        match guard(|| attachment.send_video(now, picture)) {
            // At once, so that the next frame of this turn finds the queue as the kernel left it.
            Some(Ok(())) => self.settle(viewer_key, now),
            Some(Err(reason)) => {
                session.counters.drop_video(reason, 1);
                self.touched.insert(viewer_key);
            }
            None => {
                let reason = VideoDropReason::NoAttachment;
                session.counters.drop_video(reason, 1);
                self.give_up_viewer(viewer_key);
            }
        }
    }

    fn take_audio(&mut self, key: SessionKey, pts_us: u64, opus: Vec<u8>, now: Instant) {
        let Some(session) = self.sessions.get_mut(&key) else {
            return;
        };
        session.counters.audio_in += 1;
        let opus = Bytes::from(opus);
        let current = session.current;
        let viewer = current.and_then(|current| self.viewers.get_mut(&current));
        if let (Some(viewer_key), Some(viewer)) = (current, viewer) {
            let (attachment, opus) = (&mut viewer.attachment, opus.clone());
            match guard(|| attachment.send_audio(now, pts_us, opus)) {
                Some(true) => session.counters.audio_sent += 1,
                Some(false) => {}
                None => self.give_up_viewer(viewer_key),
            }
            self.touched.insert(viewer_key);
        }
        self.play_watchers(key, pts_us, &opus, now);
    }

    pub(super) fn tell_worker(&mut self, key: SessionKey, message: &ToWorker) {
        let session = self.sessions.get_mut(&key);
        if let Some(link) = session.and_then(|session| session.link.as_mut())
            && let Err(error) = link.send(message)
        {
            self.lose_worker(key, &error);
        }
    }

    fn lose_worker(&mut self, key: SessionKey, error: &LinkError) {
        let Some(session) = self.sessions.get_mut(&key) else {
            return;
        };
        let Some(link) = session.link.take() else {
            return;
        };
        let session = session.id.clone();
        tracing::warn!(session_id = %session, %error, "a worker is gone");
        self.unwatch(Some(link));
        (self.events)(Event::WorkerGone { session });
    }

    pub(super) fn end_session(&mut self, id: &SessionId, reason: EndReason) {
        let Some(key) = self.by_id.remove(id) else {
            return;
        };
        let now = Instant::now();
        let session = self.sessions.get(&key);
        let watchers = session.map(|session| session.watchers.clone());
        let player = session.and_then(|session| session.current);
        for viewer in watchers.unwrap_or_default().into_iter().chain(player) {
            self.leave(viewer, now, Some(&Notice::Ended { reason }));
        }
        self.tell_worker(key, &ToWorker::Shutdown);
        self.refuse_waiting_of(id, None);
        self.report(key);
        let session = self.sessions.remove(&key);
        if let Some(link) = session.and_then(|session| session.link) {
            if link.is_flushed() {
                self.unwatch(Some(link));
            } else {
                self.partings.push((link, now + GOODBYE_DEADLINE));
            }
        }
        tracing::info!(session_id = %id, ?reason, "a session is over");
    }

    fn unwatch(&self, link: Option<WorkerLink>) {
        if let Some(mut link) = link {
            // Closing it does the same; this only keeps a late event away.
            let _ = self.poll.registry().deregister(link.source());
        }
    }
}
