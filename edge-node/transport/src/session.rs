//! What the loop keeps of a session: its worker, its viewer, its totals.
//!
//! ```text
//! added -> worker ready -> shows a picture        (viewers are answered from here on)
//!    worker lost: the session stays known, so that its viewer can be told how it ended,
//!                 until it is ended or given another worker
//! ```

use crate::counters::Counters;
use crate::limits::{INPUT_SEEN_INTERVAL, KEY_FRAME_INTERVAL};
use crate::routes::AttachmentKey;
use crate::worker_link::WorkerLink;
use nearlight_protocol::id::SessionId;
use nearlight_protocol::worker::{self, VideoCodec};
use std::time::Instant;

/// One session.
pub(crate) struct Session {
    pub(crate) id: SessionId,
    /// `None` once the worker is lost.
    pub(crate) link: Option<WorkerLink>,
    /// Codecs that the worker encodes, best first; empty until it is ready.
    pub(crate) encoders: Vec<VideoCodec>,
    pub(crate) shows_picture: bool,
    /// The viewer, from its answer on.
    pub(crate) current: Option<AttachmentKey>,
    pub(crate) counters: Counters,
    /// Totals that the metrics already have.
    pub(crate) metered: Counters,
    pub(crate) worker_counters: worker::Counters,
    key_frames: KeyFrames,
    input_seen: Option<Instant>,
}

impl Session {
    pub(crate) fn new(id: SessionId, link: WorkerLink) -> Self {
        Self {
            id,
            link: Some(link),
            encoders: Vec::new(),
            shows_picture: false,
            current: None,
            counters: Counters::default(),
            metered: Counters::default(),
            worker_counters: worker::Counters::default(),
            key_frames: KeyFrames::default(),
            input_seen: None,
        }
    }

    /// Gives the session another worker connection; returns the old one.
    pub(crate) fn replace_link(&mut self, link: WorkerLink) -> Option<WorkerLink> {
        self.encoders.clear();
        self.shows_picture = false;
        self.link.replace(link)
    }

    /// Notes that a key frame is wanted; says whether to ask for it now.
    pub(crate) fn want_key_frame(&mut self, now: Instant) -> bool {
        self.key_frames.want(now)
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
    fn want(&mut self, now: Instant) -> bool {
        match self.asked {
            Some(asked) if now < asked + KEY_FRAME_INTERVAL => {
                self.due = Some(asked + KEY_FRAME_INTERVAL);
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
        due && self.want(now)
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn key_frames_are_spaced_and_no_wish_is_lost() {
        let start = Instant::now();
        let mut key_frames = KeyFrames::default();
        assert!(key_frames.want(start));
        assert!(!key_frames.want(start + KEY_FRAME_INTERVAL / 3));
        assert!(!key_frames.take_due(start + KEY_FRAME_INTERVAL / 2));
        assert!(key_frames.take_due(start + KEY_FRAME_INTERVAL));
        assert!(!key_frames.take_due(start + KEY_FRAME_INTERVAL * 2));
    }
}
