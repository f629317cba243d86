//! What the loop keeps of a session: its worker, its player, its watchers, its totals.
//!
//! ```text
//! added -> worker ready -> shows a picture        (viewers are answered from here on)
//!    worker lost: the session stays known, so that its viewer can be told how it ended,
//!                 until it is ended or given another worker
//! ```

use crate::clock::span;
use crate::counters::Counters;
use crate::limits::{INPUT_SEEN_INTERVAL, KEY_FRAME_INTERVAL, WATCHER_KEY_FRAME_INTERVAL};
use crate::picture::{Cutter, PAYLOAD_BYTES, PROTECTED_PAYLOAD_BYTES, Picture};
use crate::quality::Measure;
use crate::routes::AttachmentKey;
use crate::worker_link::WorkerLink;
use nearlight_protocol::id::SessionId;
use nearlight_protocol::worker::{self, Video, VideoCodec};
use nearlight_stream::key_frames::KeyFrames;
use std::time::{Duration, Instant};

/// One session.
pub(crate) struct Session {
    pub(crate) id: SessionId,
    /// `None` once the worker is lost.
    pub(crate) link: Option<WorkerLink>,
    /// Codecs that the worker encodes, best first; `None` until it is ready.
    pub(crate) encoders: Option<Vec<VideoCodec>>,
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
    /// The worker's counts as of the last notice about the stream.
    pub(crate) told: worker::Counters,
    pub(crate) key_frames: KeyFrames,
    input_seen: Option<Instant>,
    /// When the newest input that a picture has answered reached the node.
    answered_us: u64,
    cutter: Option<Cutter>,
    /// What is measured while somebody plays.
    pub(crate) measure: Measure,
}

impl Session {
    pub(crate) fn new(id: SessionId, link: WorkerLink) -> Self {
        Self {
            id,
            link: Some(link),
            encoders: None,
            shows_picture: false,
            current: None,
            watchers: Vec::new(),
            encoding: None,
            counters: Counters::default(),
            watched: Counters::default(),
            metered: Counters::default(),
            worker_counters: worker::Counters::default(),
            watchers_told: 0,
            told: worker::Counters::default(),
            key_frames: KeyFrames::default(),
            input_seen: None,
            answered_us: 0,
            cutter: None,
            measure: Measure::default(),
        }
    }

    /// Codecs that the worker encodes, best first.
    pub(crate) fn encoders(&self) -> &[VideoCodec] {
        self.encoders.as_deref().unwrap_or_default()
    }

    /// Cuts an access unit into payloads, for everybody; `protected` if somebody has repair packets for it.
    pub(crate) fn cut(&mut self, video: Video, protected: bool) -> Picture {
        let fits = |cutter: &Cutter| cutter.codec() == video.codec;
        let cutter = match self.cutter.take().filter(fits) {
            Some(cutter) => cutter,
            None => Cutter::new(video.codec),
        };
        let bytes_max = match protected {
            true => PROTECTED_PAYLOAD_BYTES,
            false => PAYLOAD_BYTES,
        };
        self.cutter.insert(cutter).cut(video, bytes_max)
    }

    /// Notes the input that a picture answers. If it is the first to do so: how long the app took,
    /// from the input's arrival to the commit.
    pub(crate) fn answers(&mut self, video: &Video) -> Option<Duration> {
        let input_us = video.input_host_us;
        if input_us <= self.answered_us {
            return None;
        }
        self.answered_us = input_us;
        span(input_us, video.commit_us)
    }

    /// Gives the session another worker connection; returns the old one.
    pub(crate) fn replace_link(&mut self, link: WorkerLink) -> Option<WorkerLink> {
        self.encoders = None;
        self.shows_picture = false;
        self.link.replace(link)
    }

    /// Notes that the player wants a key frame; says whether to ask for it now.
    pub(crate) fn want_key_frame(&mut self, loss_permille: u32, now_us: u64) -> bool {
        let interval = KEY_FRAME_INTERVAL.as_micros() as u64;
        self.key_frames.want(interval, loss_permille, now_us)
    }

    /// Notes that a watcher wants a key frame; says whether to ask for it now.
    pub(crate) fn watcher_wants_key_frame(&mut self, now_us: u64) -> bool {
        let interval = WATCHER_KEY_FRAME_INTERVAL.as_micros() as u64;
        self.key_frames.want(interval, 0, now_us)
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

#[cfg(test)]
mod test {
    use super::*;
    use std::os::unix::net::UnixStream;

    fn video(commit_us: u64, input_host_us: u64) -> Video {
        Video {
            codec: VideoCodec::H264,
            key: false,
            frame: 1,
            commit_us,
            captured_us: commit_us,
            encoded_us: commit_us,
            input_us: 1,
            input_host_us,
            data: Vec::new(),
        }
    }

    #[test]
    fn only_the_first_picture_with_an_input_answers_it() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let link = WorkerLink::new(ours).unwrap();
        let mut session = Session::new(SessionId::from_parts(1, [1; 10]), link);
        assert_eq!(session.answers(&video(1_000, 0)), None);
        let took = Duration::from_micros(500);
        assert_eq!(session.answers(&video(2_000, 1_500)), Some(took));
        assert_eq!(session.answers(&video(3_000, 1_500)), None);
        // A worker's times are claims: one from the future counts for nothing.
        assert_eq!(session.answers(&video(4_000, 9_000)), None);
    }
}
