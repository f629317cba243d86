//! Packets that `rtc` has made and the kernel has yet to take.
//!
//! Three lanes. What must not wait (sound, reports, handshakes, data channels) goes first and at
//! once. What was asked for again goes next, and the picture last; both only as far as the pacer has
//! room. On a good path a frame's packets go in and out within one call; on a narrow one they leave
//! in small runs, and what comes while too much waits is dropped whole by the caller.
//!
//! **Invariants.** Packets of a lane leave in order. A frame counts as sent when the kernel has its
//! last packet. Bounded by [`BACKLOG_PACKETS_MAX`]: what comes beyond it is lost, as on a network.

use crate::attachment::wire::Tag;
use crate::limits::{BACKLOG_BYTES_MAX, BACKLOG_PACKETS_MAX};
use crate::net::socket::{Path, RUN_MAX, Sent};
use bytes::BytesMut;
use nearlight_stream::congestion::Kind;
use std::collections::VecDeque;
use std::io::IoSlice;

/// A frame whose packets are on their way to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) rtp_timestamp: u32,
    pub(crate) number: u32,
    pub(crate) commit_us: u64,
    pub(crate) captured_us: u64,
    pub(crate) encoded_us: u64,
    pub(crate) input_us: u64,
    pub(crate) input_host_us: u64,
}

/// The queue.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    first: Lane,
    again: Lane,
    picture: Lane,
    /// Frames and the number of the picture's packet that is their last.
    frames: VecDeque<(u64, Frame)>,
    pushed: u64,
    /// The kernel's buffer was full at the last attempt.
    blocked: bool,
}

#[derive(Debug, Default)]
struct Lane {
    packets: VecDeque<(BytesMut, Tag)>,
    bytes: usize,
    gone: u64,
}

/// What one [`Outbox::flush`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flushed {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) lost: u64,
    /// The kernel's buffer is full.
    pub(crate) blocked: bool,
}

impl Outbox {
    /// Takes a packet; says whether there was room.
    pub(crate) fn push(&mut self, packet: BytesMut, tag: Tag) -> bool {
        let lane = match tag.kind {
            Kind::Audio | Kind::Control => &mut self.first,
            Kind::Retransmit => &mut self.again,
            Kind::Video | Kind::Repair | Kind::Padding => &mut self.picture,
        };
        if lane.packets.len() >= BACKLOG_PACKETS_MAX {
            return false;
        }
        if !matches!(tag.kind, Kind::Audio | Kind::Control | Kind::Retransmit) {
            self.pushed += 1;
        }
        lane.bytes += packet.len();
        lane.packets.push_back((packet, tag));
        true
    }

    /// Says that `frame` ends with the picture's last packet pushed.
    pub(crate) fn end_frame(&mut self, frame: Frame) {
        self.frames.push_back((self.pushed, frame));
    }

    /// Bytes that wait for the pacer.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.again.bytes + self.picture.bytes
    }

    /// Bytes of it that were asked for again.
    pub(crate) fn again_bytes(&self) -> usize {
        self.again.bytes
    }

    /// Forgets what was asked for again.
    pub(crate) fn clear_again(&mut self) {
        self.again = Lane::default();
    }

    /// Frames that are not wholly sent.
    pub(crate) fn waiting_frames(&self) -> usize {
        self.frames.len()
    }

    /// Whether the kernel takes nothing and so much waits that more would only grow the queue.
    pub(crate) fn is_congested(&self) -> bool {
        self.blocked && self.waiting_bytes() + self.first.bytes > BACKLOG_BYTES_MAX
    }

    /// Whether something waits that only the pacer holds back.
    pub(crate) fn is_paced(&self) -> bool {
        !self.blocked && self.waiting_bytes() > 0
    }

    /// Forgets everything; returns how many frames are lost with it.
    pub(crate) fn clear(&mut self) -> u64 {
        let frames = u64::try_from(self.frames.len()).unwrap_or(0);
        *self = Self::default();
        frames
    }

    /// Hands packets to `send` until it is full or nothing more may leave: everything of the first
    /// lane, and `room` bytes of the others, the last packet rounded up. `left` is told of each.
    pub(crate) fn flush(
        &mut self,
        path: Path,
        room: usize,
        mut send: impl FnMut(&[IoSlice<'_>], Path) -> Sent,
        mut left: impl FnMut(&Tag),
    ) -> Flushed {
        let mut flushed = Flushed::default();
        let (mut unpaced, mut room) = (usize::MAX, room);
        self.first
            .flush(path, &mut unpaced, &mut send, &mut left, &mut flushed);
        for lane in [&mut self.again, &mut self.picture] {
            if !flushed.blocked {
                lane.flush(path, &mut room, &mut send, &mut left, &mut flushed);
            }
        }
        self.blocked = flushed.blocked;
        flushed
    }

    /// The next frame whose last packet has left.
    pub(crate) fn sent_frame(&mut self) -> Option<Frame> {
        let (last, frame) = *self.frames.front()?;
        if last > self.picture.gone {
            return None;
        }
        self.frames.pop_front();
        Some(frame)
    }
}

impl Lane {
    fn flush(
        &mut self,
        path: Path,
        room: &mut usize,
        send: &mut impl FnMut(&[IoSlice<'_>], Path) -> Sent,
        left: &mut impl FnMut(&Tag),
        flushed: &mut Flushed,
    ) {
        while !self.packets.is_empty() && *room > 0 {
            let mut run = std::array::from_fn::<_, RUN_MAX, _>(|_| IoSlice::new(&[]));
            let mut count = 0;
            let mut bytes = 0;
            for (slot, (packet, _)) in run.iter_mut().zip(&self.packets) {
                if bytes >= *room {
                    break;
                }
                *slot = IoSlice::new(packet);
                bytes += packet.len();
                count += 1;
            }
            let (taken, lost) = match send(&run[..count], path) {
                Sent::Packets(taken) => (taken, 0),
                Sent::Lost => (0, 1),
                Sent::Full => {
                    flushed.blocked = true;
                    return;
                }
            };
            flushed.packets += u64::try_from(taken).unwrap_or(0);
            flushed.lost += u64::try_from(lost).unwrap_or(0);
            let bytes = self.drop_front(taken, &mut *left);
            flushed.bytes += u64::try_from(bytes).unwrap_or(0);
            *room = room.saturating_sub(bytes);
            self.drop_front(lost, |_| {});
        }
    }

    fn drop_front(&mut self, count: usize, mut left: impl FnMut(&Tag)) -> usize {
        let mut bytes = 0;
        for (packet, tag) in self.packets.drain(..count.min(self.packets.len())) {
            bytes += packet.len();
            self.gone += 1;
            left(&tag);
        }
        self.bytes -= bytes;
        bytes
    }
}

#[cfg(test)]
#[path = "outbox/test.rs"]
mod test;
