//! What the loop keeps of a session: its worker, its player, its watchers, its totals.
//!
//! ```text
//! added -> worker ready -> shows a picture        (viewers are answered from here on)
//!    worker lost: the session stays known, so that its viewer can be told how it ended,
//!                 until it is ended or given another worker
//! ```

use crate::counters::Counters;
use crate::limits::{INPUT_SEEN_INTERVAL, KEY_FRAME_INTERVAL, WATCHER_KEY_FRAME_INTERVAL};
use crate::picture::{Cutter, Picture};
use crate::routes::AttachmentKey;
use crate::worker_link::WorkerLink;
use nearlight_protocol::id::SessionId;
use nearlight_protocol::worker::{self, Video, VideoCodec};
use std::time::{Duration, Instant};

/// One session.
pub(crate) struct Session {
    pub(crate) id: SessionId,
    /// `None` once the worker is lost.
    pub(crate) link: Option<WorkerLink>,
    /// Codecs that the worker encodes, best first; empty until it is ready.
    pub(crate) encoders: Vec<VideoCodec>,
    pub(crate) shows_picture: bool,
    /// The player, from its answer on.
    pub(crate) current: Option<AttachmentKey>,
    /// Who watches, from the answer on.
    pub(crate) watchers: Vec<AttachmentKey>,
    /// What the worker was told to encode, while somebody is connected.
    pub(crate) encoding: Option<VideoCodec>,
    pub(crate) counters: Counters,
    /// Totals of the watchers, in the player's terms.
    pub(crate) watched: Counters,
    /// Totals that the metrics already have.
    pub(crate) metered: Counters,
    pub(crate) worker_counters: worker::Counters,
    /// Watchers that the agent and the player know of.
    pub(crate) watchers_told: u32,
    key_frames: KeyFrames,
    input_seen: Option<Instant>,
    cutter: Option<Cutter>,
}

impl Session {
    pub(crate) fn new(id: SessionId, link: WorkerLink) -> Self {
        Self {
            id,
            link: Some(link),
            encoders: Vec::new(),
            shows_picture: false,
            current: None,
            watchers: Vec::new(),
            encoding: None,
            counters: Counters::default(),
            watched: Counters::default(),
            metered: Counters::default(),
            worker_counters: worker::Counters::default(),
            watchers_told: 0,
            key_frames: KeyFrames::default(),
            input_seen: None,
            cutter: None,
        }
    }

    /// Cuts an access unit into payloads, for everybody.
    pub(crate) fn cut(&mut self, video: Video) -> Picture {
        let fits = |cutter: &Cutter| cutter.codec() == video.codec;
        let cutter = match self.cutter.take().filter(fits) {
            Some(cutter) => cutter,
            None => Cutter::new(video.codec),
        };
        self.cutter.insert(cutter).cut(video)
    }

    /// Gives the session another worker connection; returns the old one.
    pub(crate) fn replace_link(&mut self, link: WorkerLink) -> Option<WorkerLink> {
        self.encoders.clear();
        self.shows_picture = false;
        self.link.replace(link)
    }

    /// Notes that the player wants a key frame; says whether to ask for it now.
    pub(crate) fn want_key_frame(&mut self, now: Instant) -> bool {
        self.key_frames.want(now, KEY_FRAME_INTERVAL)
    }

    /// Notes that a watcher wants a key frame; says whether to ask for it now.
    pub(crate) fn watcher_wants_key_frame(&mut self, now: Instant) -> bool {
        self.key_frames.want(now, WATCHER_KEY_FRAME_INTERVAL)
    }

    /// Notes that the worker was told of a viewer, which makes it start with a key frame.
    pub(crate) fn expect_key_frame(&mut self, now: Instant) {
        self.key_frames.asked = Some(now);
    }

    /// When a key frame that had to wait is due.
    pub(crate) fn key_frame_due(&self) -> Option<Instant> {
        self.key_frames.due
    }

    /// Whether a key frame that had to wait is due now.
    pub(crate) fn take_due_key_frame(&mut self, now: Instant) -> bool {
        self.key_frames.take_due(now)
    }

    /// Notes a key frame that came: nobody waits for an earlier wish.
    pub(crate) fn saw_key_frame(&mut self) {
        self.key_frames.due = None;
    }

    /// Notes activity; says whether to report it.
    pub(crate) fn saw_input(&mut self, now: Instant) -> bool {
        let quiet = |at: Instant| now.saturating_duration_since(at) < INPUT_SEEN_INTERVAL;
        if self.input_seen.is_some_and(quiet) {
            return false;
        }
        self.input_seen = Some(now);
        true
    }
}

/// Key frames cost many times another frame, and a viewer can ask for as many as it likes.
#[derive(Debug, Default)]
struct KeyFrames {
    asked: Option<Instant>,
    /// A wish that came too soon.
    due: Option<Instant>,
}

impl KeyFrames {
    /// Notes a wish of somebody who may have a key frame each `interval`.
    fn want(&mut self, now: Instant, interval: Duration) -> bool {
        match self.asked {
            Some(asked) if now < asked + interval => {
                let due = asked + interval;
                self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
                false
            }
            Some(_) | None => {
                self.asked = Some(now);
                self.due = None;
                true
            }
        }
    }

    fn take_due(&mut self, now: Instant) -> bool {
        let due = self.due.is_some_and(|due| due <= now);
        if due {
            self.asked = Some(now);
            self.due = None;
        }
        due
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn key_frames_are_spaced_and_no_wish_is_lost() {
        let start = Instant::now();
        let mut key_frames = KeyFrames::default();
        assert!(key_frames.want(start, KEY_FRAME_INTERVAL));
        assert!(!key_frames.want(start + KEY_FRAME_INTERVAL / 3, KEY_FRAME_INTERVAL));
        assert!(!key_frames.take_due(start + KEY_FRAME_INTERVAL / 2));
        assert!(key_frames.take_due(start + KEY_FRAME_INTERVAL));
        assert!(!key_frames.take_due(start + KEY_FRAME_INTERVAL * 2));
    }

    #[test]
    fn a_watcher_waits_longer_and_does_not_hold_the_player_up() {
        let (start, mut key_frames) = (Instant::now(), KeyFrames::default());
        assert!(key_frames.want(start, WATCHER_KEY_FRAME_INTERVAL));
        let soon = start + KEY_FRAME_INTERVAL / 2;
        assert!(!key_frames.want(soon, WATCHER_KEY_FRAME_INTERVAL));
        assert_eq!(key_frames.due, Some(start + WATCHER_KEY_FRAME_INTERVAL));
        // The player's wish, which would wait too, comes first and serves both.
        assert!(!key_frames.want(soon, KEY_FRAME_INTERVAL));
        assert!(!key_frames.want(soon, WATCHER_KEY_FRAME_INTERVAL));
        assert!(key_frames.take_due(start + KEY_FRAME_INTERVAL));
        assert!(!key_frames.take_due(start + WATCHER_KEY_FRAME_INTERVAL));
    }
}
