//! Viewers: settled after every touch, told goodbye, forgotten; and cut off when code that reads
//! their bytes panics.

use super::{Reactor, SessionKey};
use crate::attachment::{Effect, Kind};
use crate::counters::{Counters, VideoDropReason};
use crate::limits::LEAVING_MAX;
use crate::routes::AttachmentKey;
use crate::session::Session;
use nearlight_protocol::id::SessionId;
use nearlight_protocol::notice::Notice;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

/// Runs what touches a viewer's bytes. `None`: it panicked, and the viewer's state may be anything;
/// nothing else was lent to it but counters and sockets, which hold whatever the state.
pub(super) fn guard<T>(run: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(run)).ok()
}

/// Where what happens to a viewer counts. A line check is of no session, and a viewer may outlive its
/// own.
fn counters_of<'a>(
    session: Option<&'a mut Session>,
    kind: Kind,
    stray: &'a mut Counters,
) -> &'a mut Counters {
    match (session, kind) {
        (Some(session), Kind::Player) => &mut session.counters,
        (Some(session), Kind::Watcher) => &mut session.watched,
        (Some(_), Kind::LineCheck) | (None, _) => stray,
    }
}

impl Reactor {
    /// Moves a viewer along and carries out what it asks for.
    pub(super) fn settle(&mut self, key: AttachmentKey, now: Instant) {
        let Some(viewer) = self.viewers.get_mut(&key) else {
            return;
        };
        let session_key = viewer.session;
        let session = self.sessions.get_mut(&session_key);
        let counters = counters_of(session, viewer.attachment.kind(), &mut self.stray);
        let (attachment, ports) = (&mut viewer.attachment, &mut self.ports);
        if guard(|| attachment.pump(now, ports, counters)).is_none() {
            self.give_up_viewer(key);
            return;
        }
        let mut effects = std::mem::take(&mut self.effects);
        viewer.attachment.take_effects(&mut effects);
        for effect in effects.drain(..) {
            self.apply(key, session_key, effect, now);
        }
        self.effects = effects;
    }

    /// Cuts a viewer off without touching its state again.
    pub(super) fn give_up_viewer(&mut self, key: AttachmentKey) {
        self.meters.caught();
        let Some(viewer) = self.viewers.get(&key) else {
            return;
        };
        tracing::error!(
            attachment_id = %viewer.attachment.id(),
            "code that reads a viewer's bytes panicked; the viewer is cut off. Please report this"
        );
        let session_key = viewer.session;
        if viewer.attachment.is_connected() {
            self.apply(key, session_key, Effect::Detached, Instant::now());
        }
        self.forget_viewer(key, session_key);
    }

    pub(super) fn forget_viewer(&mut self, key: AttachmentKey, session_key: SessionKey) {
        if let Some(mut viewer) = self.viewers.remove(&key) {
            let attachment = &mut viewer.attachment;
            let session = self.sessions.get_mut(&session_key);
            let counters = counters_of(session, attachment.kind(), &mut self.stray);
            counters.drop_video(VideoDropReason::Socket, attachment.lose_frames());
            self.routes
                .forget(key, attachment.ufrag(), attachment.addresses());
            // Dropping is third-party code too.
            if guard(move || drop(viewer)).is_none() {
                self.meters.caught();
            }
        }
        if let Some(session) = self.sessions.get_mut(&session_key) {
            session.watchers.retain(|watcher| *watcher != key);
            if session.current == Some(key) {
                session.current = None;
            }
        }
    }

    /// Ends a viewer with a last word.
    pub(super) fn leave(&mut self, key: AttachmentKey, now: Instant, notice: Option<&Notice>) {
        let Some(viewer) = self.viewers.get_mut(&key) else {
            return;
        };
        let attachment = &mut viewer.attachment;
        if guard(|| attachment.leave(now, notice)).is_none() {
            self.give_up_viewer(key);
            return;
        }
        self.settle(key, now);
        let all = self.viewers.iter();
        let mut leaving = all.filter(|(_, viewer)| viewer.attachment.is_leaving());
        let oldest = leaving.next().map(|(key, viewer)| (*key, viewer.session));
        if let Some((oldest, session_key)) = oldest
            && leaving.count() >= LEAVING_MAX
        {
            self.forget_viewer(oldest, session_key);
        }
    }

    pub(super) fn leave_all(&mut self, now: Instant, notice: &Notice) {
        let keys: Vec<AttachmentKey> = self.viewers.keys().copied().collect();
        for key in keys {
            self.leave(key, now, Some(notice));
        }
    }

    /// Says something to the player's browser, if there is one.
    pub(super) fn notify(&mut self, session: &SessionId, notice: &Notice) {
        let Ok(json) = serde_json::to_string(notice) else {
            return;
        };
        if let Some(key) = self.by_id.get(session).copied() {
            self.say(key, json);
        }
    }

    /// Says `json` to the player's browser, if there is one.
    pub(super) fn say(&mut self, session_key: SessionKey, json: String) {
        let current = self.sessions.get(&session_key).and_then(|s| s.current);
        let Some(key) = current else {
            return;
        };
        let Some(viewer) = self.viewers.get_mut(&key) else {
            return;
        };
        let attachment = &mut viewer.attachment;
        let now = Instant::now();
        if guard(|| attachment.send_notice(now, json)).is_none() {
            self.give_up_viewer(key);
        }
        self.touched.insert(key);
    }
}
