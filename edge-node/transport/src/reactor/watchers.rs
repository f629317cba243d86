//! Watchers: who sees a session without playing it.
//!
//! They get the player's encode as it is: one encode, cut once, encrypted for each. The player's
//! codec decides; a watcher of another codec is told to attach again. So is everybody whose codec the
//! worker encodes no more. With no player the session goes on for its watchers at the bit rate that
//! every attachment starts with.
//!
//! **Invariant.** The worker is told to encode exactly while somebody is connected
//! ([`Session::encoding`]), and told to let go of every key when the player leaves.
//!
//! A watcher cannot hurt the player: it has no input, its key frames are few
//! (`limits::WATCHER_KEY_FRAME_INTERVAL`), what its path does not carry is dropped for it alone, and of the node's
//! uplink it has what the players leave.

use super::{Reactor, SessionKey};
use crate::attachment::Kind;
use crate::event::Event;
use crate::limits::WATCHER_WISH_INTERVAL;
use crate::picture::Picture;
use crate::reactor::viewers::guard;
use crate::routes::AttachmentKey;
use crate::session::Session;
use bytes::Bytes;
use nearlight_protocol::id::{AttachmentId, SessionId, WatchLinkId};
use nearlight_protocol::notice::{DetachReason, Notice};
use nearlight_protocol::worker::{Attach, Target, ToWorker, VideoCodec};
use std::time::Instant;

/// What makes a viewer a watcher.
pub(super) struct Watch {
    link: WatchLinkId,
    /// When it may wish for a key frame again.
    wish_after: Instant,
}

impl Watch {
    pub(super) fn on(link: WatchLinkId, now: Instant) -> Self {
        Self {
            link,
            wish_after: now,
        }
    }

    /// Whether it may wish for a key frame now; browsers repeat a wish that is not heard.
    pub(super) fn may_wish(&mut self, now: Instant) -> bool {
        let may = self.wish_after <= now;
        if may {
            self.wish_after = now + WATCHER_WISH_INTERVAL;
        }
        may
    }
}

impl Reactor {
    /// The codec that whoever comes now has to take, if one is chosen.
    pub(super) fn codec_chosen(&self, session: &Session) -> Option<VideoCodec> {
        let viewers = session.current.iter().chain(&session.watchers);
        let mut codecs = viewers.filter_map(|key| self.viewers.get(key)?.attachment.codec());
        session.encoding.or_else(|| {
            let works = |codec: &VideoCodec| session.encoders().contains(codec);
            codecs.find(works)
        })
    }

    pub(super) fn watcher_named(
        &self,
        session: &Session,
        id: &AttachmentId,
    ) -> Option<AttachmentKey> {
        let named = |key: &&AttachmentKey| {
            let viewer = self.viewers.get(*key);
            viewer.is_some_and(|viewer| viewer.attachment.id() == id)
        };
        session.watchers.iter().find(named).copied()
    }

    /// Tells the worker to encode as `codec`, beginning with a key frame.
    pub(super) fn encode(&mut self, key: SessionKey, codec: VideoCodec, now: Instant) {
        let Some(session) = self.sessions.get_mut(&key) else {
            return;
        };
        session.encoding = Some(codec);
        session.key_frames.expect(self.context.clock.micros(now));
        let player = session.current.and_then(|key| self.viewers.get_mut(&key));
        let player = player.filter(|viewer| viewer.attachment.is_connected());
        let target = match player {
            Some(player) => player.attachment.first_target(now),
            None => Target::full(self.config.kbps_start),
        };
        let attach = Attach {
            codec,
            target,
            display: None,
            session: Some(session.id.clone()),
        };
        self.tell_worker(key, &ToWorker::Attach(attach));
    }

    /// Tells the worker that the player is gone, and goes on for the watchers, if there are some.
    pub(super) fn encode_for_watchers(&mut self, key: SessionKey, now: Instant) {
        self.tell_worker(key, &ToWorker::Detach);
        let Some(session) = self.sessions.get_mut(&key) else {
            return;
        };
        session.encoding = None;
        let codecs = session.watchers.iter().filter_map(|watcher| {
            let attachment = &self.viewers.get(watcher)?.attachment;
            attachment.is_connected().then(|| attachment.codec())?
        });
        let works = |codec: &VideoCodec| session.encoders().contains(codec);
        let first = codecs.into_iter().find(works);
        if let Some(codec) = first {
            self.encode(key, codec, now);
        }
    }

    pub(super) fn watcher_connected(
        &mut self,
        watcher: AttachmentKey,
        key: SessionKey,
        now: Instant,
    ) {
        let Some(session) = self.sessions.get_mut(&key) else {
            return;
        };
        session.watched.attachments += 1;
        let takes = self
            .viewers
            .get(&watcher)
            .and_then(|v| v.attachment.codec());
        match (session.encoding, takes) {
            (None, Some(codec)) => self.encode(key, codec, now),
            (chosen, takes) if chosen == takes => {
                if session.watcher_wants_key_frame(self.context.clock.micros(now)) {
                    self.tell_worker(key, &ToWorker::KeyFrame);
                }
            }
            // Somebody else connected first, in another codec.
            (_, _) => self.leave(watcher, now, Some(&CODEC_CHANGED)),
        }
        self.count_watchers(key);
    }

    pub(super) fn watcher_gone(&mut self, watcher: AttachmentKey, key: SessionKey, now: Instant) {
        let Some(session) = self.sessions.get_mut(&key) else {
            return;
        };
        session.watchers.retain(|other| *other != watcher);
        let current = session
            .current
            .and_then(|current| self.viewers.get(&current));
        let played = current.is_some_and(|player| player.attachment.is_connected());
        if !played && self.connected_watchers(key) == 0 {
            self.encode_for_watchers(key, now);
        }
        self.count_watchers(key);
    }

    /// Parts with the watchers that cannot take what is encoded now.
    pub(super) fn part_with_other_codecs(&mut self, key: SessionKey, now: Instant) {
        let Some(session) = self.sessions.get(&key) else {
            return;
        };
        let chosen = session.encoding;
        for watcher in session.watchers.clone() {
            let viewer = self.viewers.get(&watcher);
            if viewer.and_then(|viewer| viewer.attachment.codec()) != chosen {
                self.leave(watcher, now, Some(&CODEC_CHANGED));
            }
        }
    }

    /// Parts with everybody who takes a codec that the worker encodes no more. One that is still
    /// connecting is told when it is: the worker says so again to whoever asks for such a codec.
    pub(super) fn part_with_lost_codecs(&mut self, key: SessionKey, now: Instant) {
        let Some(session) = self.sessions.get(&key) else {
            return;
        };
        let lost = |viewer: &&AttachmentKey| {
            let attachment = self.viewers.get(*viewer).map(|viewer| &viewer.attachment);
            attachment.is_some_and(|attachment| {
                let codec = attachment.codec();
                attachment.is_connected() && codec.is_some_and(|c| !session.encoders().contains(&c))
            })
        };
        // The player last: nothing is encoded for watchers that are about to go.
        let viewers = session.watchers.iter().chain(&session.current);
        let lost: Vec<AttachmentKey> = viewers.filter(lost).copied().collect();
        for viewer in lost {
            self.leave(viewer, now, Some(&CODEC_CHANGED));
        }
    }

    /// Nobody may watch on `link` any more.
    pub(super) fn end_watch(&mut self, session: &SessionId, link: &WatchLinkId) {
        self.refuse_waiting_of(session, Some(link));
        let key = self.by_id.get(session);
        let Some(session) = key.and_then(|key| self.sessions.get(key)) else {
            return;
        };
        let (now, reason) = (Instant::now(), DetachReason::LinkRevoked);
        for watcher in session.watchers.clone() {
            let watch = self.viewers.get(&watcher).and_then(|v| v.watch.as_ref());
            if watch.is_some_and(|watch| watch.link == *link) {
                self.leave(watcher, now, Some(&Notice::Detached { reason }));
            }
        }
    }

    /// Shows a picture to everybody who watches.
    pub(super) fn show_watchers(&mut self, key: SessionKey, picture: &Picture, now: Instant) {
        let Some(session) = self.sessions.get(&key) else {
            return;
        };
        for watcher in session.watchers.clone() {
            let Some(viewer) = self.viewers.get_mut(&watcher) else {
                continue;
            };
            let attachment = &mut viewer.attachment;
            match guard(|| attachment.send_video(now, picture)) {
                Some(Ok(())) => self.settle(watcher, now),
                Some(Err(reason)) => {
                    if let Some(session) = self.sessions.get_mut(&key) {
                        session.watched.drop_video(reason, 1);
                    }
                    self.touched.insert(watcher);
                }
                None => self.give_up_viewer(watcher),
            }
        }
    }

    /// Plays an Opus packet to everybody who watches.
    pub(super) fn play_watchers(
        &mut self,
        key: SessionKey,
        pts_us: u64,
        opus: &Bytes,
        now: Instant,
    ) {
        let Some(session) = self.sessions.get(&key) else {
            return;
        };
        for watcher in session.watchers.clone() {
            let Some(viewer) = self.viewers.get_mut(&watcher) else {
                continue;
            };
            let attachment = &mut viewer.attachment;
            if guard(|| attachment.send_audio(now, pts_us, opus.clone())).is_none() {
                self.give_up_viewer(watcher);
            }
            self.touched.insert(watcher);
        }
    }

    /// Tells agent and player how many watch, if that has changed.
    fn count_watchers(&mut self, key: SessionKey) {
        let count = self.connected_watchers(key);
        let Some(session) = self.sessions.get_mut(&key) else {
            return;
        };
        if std::mem::replace(&mut session.watchers_told, count) == count {
            return;
        }
        let session = session.id.clone();
        self.tell_watchers(key);
        (self.events)(Event::Watchers { session, count });
    }

    /// Tells the player how many watch.
    pub(super) fn tell_watchers(&mut self, key: SessionKey) {
        let count = self.sessions.get(&key).map_or(0, |s| s.watchers_told);
        if let Ok(json) = serde_json::to_string(&Notice::Watchers { count }) {
            self.say(key, json);
        }
    }

    fn connected_watchers(&self, key: SessionKey) -> u32 {
        let connected = self.viewers.values().filter(|viewer| {
            viewer.session == key
                && viewer.attachment.kind() == Kind::Watcher
                && viewer.attachment.is_connected()
        });
        u32::try_from(connected.count()).unwrap_or(u32::MAX)
    }
}

const CODEC_CHANGED: Notice = Notice::Detached {
    reason: DetachReason::CodecChanged,
};
