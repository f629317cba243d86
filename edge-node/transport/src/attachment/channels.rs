//! The two data channels: what of them is open, and how much may be under way.
//!
//! Marks on `motion` are skipped when the viewer does not keep up, for a stale mark helps nobody.
//! Those of frames tell what was and are in no hurry: some leave together, in one packet.
//! Notices on `control` are reliable: they wait until the node has greeted the player, and a viewer
//! that lets too many pile up is given up.
//!
//! **Invariant.** The greeting ([`Notice::Ready`]) is the first word on `control`. The viewer's end
//! opens before ours, and `rtc` loses what arrives until ours is open; so a player waits for it.

use crate::attachment::marks::Marks;
use crate::limits::{
    CONTROL_OUTSTANDING_BYTES_MAX, MARKS_OUTSTANDING_BYTES_MAX, NOTICES_WAITING_MAX,
    TRAINS_OUTSTANDING_BYTES_MAX,
};
use bytes::BytesMut;
use nearlight_protocol::notice::{Mark, Notice};
use rtc::data_channel::RTCDataChannelId;
use rtc::peer_connection::RTCPeerConnection;
use std::time::Instant;

/// The two channels of an attachment.
#[derive(Debug)]
pub(crate) struct Channels {
    motion: Channel,
    control: Channel,
    /// Bytes on `motion` past which marks are skipped.
    marks_bytes_max: usize,
    marks: Marks,
    talk: Talk,
}

/// How far the talk on `control` is.
#[derive(Debug)]
enum Talk {
    /// Not begun; these notices wait.
    Waits(Vec<String>),
    /// The greeting is said.
    Begun,
}

#[derive(Debug)]
struct Channel {
    id: RTCDataChannelId,
    open: bool,
}

impl Channels {
    pub(crate) fn new(motion: RTCDataChannelId, control: RTCDataChannelId) -> Self {
        let channel = |id| Channel { id, open: false };
        Self {
            motion: channel(motion),
            control: channel(control),
            marks_bytes_max: MARKS_OUTSTANDING_BYTES_MAX,
            marks: Marks::default(),
            talk: Talk::Waits(Vec::new()),
        }
    }

    pub(crate) fn is_ours(&self, id: RTCDataChannelId) -> bool {
        id == self.motion.id || id == self.control.id
    }

    /// Notes that a channel opened. `false`: it is none of ours.
    pub(crate) fn opened(&mut self, id: RTCDataChannelId) -> bool {
        let mut ours = false;
        for channel in [&mut self.motion, &mut self.control] {
            channel.open |= channel.id == id;
            ours |= channel.id == id;
        }
        ours
    }

    /// Begins the talk once `control` is open: the greeting, then what waited for it.
    pub(crate) fn greet(&mut self, connection: &mut RTCPeerConnection, now: Instant) {
        if !self.control.open {
            return;
        }
        let Talk::Waits(waiting) = std::mem::replace(&mut self.talk, Talk::Begun) else {
            return;
        };
        let greeting = serde_json::to_string(&Notice::Ready { hears_shown: true }).ok();
        for json in greeting.into_iter().chain(waiting) {
            self.say(connection, now, json);
        }
    }

    /// Notes that a channel closed. `true`: the viewer has left. A browser closes its channels, with
    /// an SCTP abort, when its page goes away, and says nothing else.
    pub(crate) fn closed(&mut self, id: RTCDataChannelId) -> bool {
        let left = self.control.open && id == self.control.id;
        for channel in [&mut self.motion, &mut self.control] {
            channel.open &= channel.id != id;
        }
        left
    }

    /// Takes the mark of a frame, to be sent with others.
    pub(crate) fn add_mark(&mut self, now: Instant, mark: Mark) {
        self.marks.add(now, mark);
    }

    /// Sends the marks of frames that are due; says whether something was sent.
    pub(crate) fn send_marks(&mut self, connection: &mut RTCPeerConnection, now: Instant) -> bool {
        let mut sent = false;
        // SCTP puts into one packet what it is given at once.
        for mark in self.marks.take_due(now) {
            sent |= self.mark(connection, now, &mark);
        }
        sent
    }

    /// Sends a mark at once, or skips it; says whether it was sent.
    pub(crate) fn mark(
        &mut self,
        connection: &mut RTCPeerConnection,
        now: Instant,
        mark: &Mark,
    ) -> bool {
        let open = self.motion.open;
        let Some(mut channel) = connection.data_channel(self.motion.id).filter(|_| open) else {
            return false;
        };
        if channel.outstanding_bytes() > self.marks_bytes_max {
            return false;
        }
        channel
            .send(now, BytesMut::from(&mark.encode()[..]))
            .is_ok()
    }

    /// Whether both are open.
    pub(crate) fn are_open(&self) -> bool {
        self.motion.open && self.control.open
    }

    /// Whether nothing is under way on `motion`.
    pub(crate) fn is_motion_idle(&self, connection: &mut RTCPeerConnection) -> bool {
        let channel = connection.data_channel(self.motion.id);
        channel.is_none_or(|channel| channel.outstanding_bytes() == 0)
    }

    /// Sends the marks of a train, all of them; a train is bounded by itself. From now on pongs go
    /// beside them.
    pub(crate) fn train(
        &mut self,
        connection: &mut RTCPeerConnection,
        now: Instant,
        marks: impl Iterator<Item = Mark>,
    ) -> bool {
        let Some(mut channel) = connection.data_channel(self.motion.id) else {
            return false;
        };
        self.marks_bytes_max = TRAINS_OUTSTANDING_BYTES_MAX;
        let mut sent = false;
        for mark in marks {
            let bytes = BytesMut::from(&mark.encode()[..]);
            sent |= channel.send(now, bytes).is_ok();
        }
        sent
    }

    /// Says a notice, now or once the player is greeted. `false`: the viewer does not listen.
    pub(crate) fn notify(
        &mut self,
        connection: &mut RTCPeerConnection,
        now: Instant,
        json: String,
    ) -> bool {
        match &mut self.talk {
            Talk::Begun => self.say(connection, now, json),
            Talk::Waits(waiting) if waiting.len() < NOTICES_WAITING_MAX => {
                waiting.push(json);
                true
            }
            Talk::Waits(_) => false,
        }
    }

    /// Says a last notice if it can be said at all; says whether it was.
    pub(crate) fn say_last(
        &mut self,
        connection: &mut RTCPeerConnection,
        now: Instant,
        notice: &Notice,
    ) -> bool {
        let json = serde_json::to_string(notice).ok();
        json.is_some_and(|json| self.control.open && self.say(connection, now, json))
    }

    /// Whether the viewer has everything that was said on `control`.
    pub(crate) fn is_acknowledged(&self, connection: &mut RTCPeerConnection) -> bool {
        let channel = connection.data_channel(self.control.id);
        !self.control.open || channel.is_none_or(|channel| channel.outstanding_bytes() == 0)
    }

    fn say(&self, connection: &mut RTCPeerConnection, now: Instant, json: String) -> bool {
        let Some(mut channel) = connection.data_channel(self.control.id) else {
            return false;
        };
        if channel.outstanding_bytes() > CONTROL_OUTSTANDING_BYTES_MAX {
            return false;
        }
        if let Err(error) = channel.send_text(now, json) {
            // Closed by the viewer, or larger than it takes: its loss, and no reason to end.
            tracing::debug!(%error, "a notice could not be said");
        }
        true
    }
}
