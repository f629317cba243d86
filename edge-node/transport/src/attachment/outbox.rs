//! Packets that `rtc` has made and the kernel has yet to take.
//!
//! Usually empty: a frame's packets go in and out within one call. When the kernel's buffer is full
//! they wait here for the socket to become writable, which spreads a large key frame; frames that
//! come while too much waits are dropped whole by the caller.
//!
//! **Invariants.** Packets leave in order. A frame counts as sent when the kernel has its last
//! packet. Bounded by [`BACKLOG_PACKETS_MAX`]: what comes beyond it is lost, as on a network.

use crate::limits::{BACKLOG_BYTES_MAX, BACKLOG_PACKETS_MAX};
use crate::net::socket::{Path, RUN_MAX, Sent};
use bytes::BytesMut;
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
    packets: VecDeque<BytesMut>,
    bytes: usize,
    /// Frames and the number of the packet that is their last.
    frames: VecDeque<(u64, Frame)>,
    pushed: u64,
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
    pub(crate) fn push(&mut self, packet: BytesMut) -> bool {
        if self.packets.len() >= BACKLOG_PACKETS_MAX {
            return false;
        }
        self.bytes += packet.len();
        self.packets.push_back(packet);
        self.pushed += 1;
        true
    }

    /// Says that `frame` ends with the last packet pushed.
    pub(crate) fn end_frame(&mut self, frame: Frame) {
        self.frames.push_back((self.pushed, frame));
    }

    /// Whether so much waits that another frame would only grow the queue.
    pub(crate) fn is_congested(&self) -> bool {
        self.bytes > BACKLOG_BYTES_MAX
    }

    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Forgets everything; returns how many frames are lost with it.
    pub(crate) fn clear(&mut self) -> u64 {
        let frames = u64::try_from(self.frames.len()).unwrap_or(0);
        *self = Self::default();
        frames
    }

    /// Hands packets to `send` until it is full or nothing waits.
    pub(crate) fn flush(
        &mut self,
        path: Path,
        mut send: impl FnMut(&[IoSlice<'_>], Path) -> Sent,
    ) -> Flushed {
        let mut flushed = Flushed::default();
        while !self.packets.is_empty() {
            let mut run = std::array::from_fn::<_, RUN_MAX, _>(|_| IoSlice::new(&[]));
            let count = self.packets.len().min(RUN_MAX);
            for (slot, packet) in run.iter_mut().zip(&self.packets) {
                *slot = IoSlice::new(packet);
            }
            let (taken, lost) = match send(&run[..count], path) {
                Sent::Packets(taken) => (taken, 0),
                Sent::Lost => (0, 1),
                Sent::Full => {
                    flushed.blocked = true;
                    return flushed;
                }
            };
            flushed.packets += u64::try_from(taken).unwrap_or(0);
            flushed.lost += u64::try_from(lost).unwrap_or(0);
            flushed.bytes += self.drop_front(taken);
            self.drop_front(lost);
        }
        flushed
    }

    /// The next frame whose last packet has left.
    pub(crate) fn sent_frame(&mut self) -> Option<Frame> {
        let (last, frame) = *self.frames.front()?;
        if last > self.gone {
            return None;
        }
        self.frames.pop_front();
        Some(frame)
    }

    fn drop_front(&mut self, count: usize) -> u64 {
        let mut bytes = 0;
        for packet in self.packets.drain(..count.min(self.packets.len())) {
            bytes += packet.len();
            self.gone += 1;
        }
        self.bytes -= bytes;
        u64::try_from(bytes).unwrap_or(0)
    }
}

#[cfg(test)]
mod test {
    use super::*;

    const PATH: Path = Path {
        remote: std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9),
        local: None,
    };

    fn frame(number: u32) -> Frame {
        Frame {
            rtp_timestamp: 0,
            number,
            commit_us: 0,
            captured_us: 0,
            encoded_us: 0,
            input_us: 0,
            input_host_us: 0,
        }
    }

    fn packet(len: usize) -> BytesMut {
        BytesMut::zeroed(len)
    }

    #[test]
    fn a_frame_is_sent_with_its_last_packet() {
        let mut outbox = Outbox::default();
        for number in 1..=2 {
            assert!(outbox.push(packet(100)));
            assert!(outbox.push(packet(50)));
            outbox.end_frame(frame(number));
        }
        let mut room = 3;
        let flushed = outbox.flush(PATH, |run, _| {
            if room == 0 {
                return Sent::Full;
            }
            let count = run.len().min(room);
            room -= count;
            Sent::Packets(count)
        });
        assert_eq!((flushed.packets, flushed.bytes), (3, 250));
        assert!(flushed.blocked);
        assert_eq!(outbox.sent_frame(), Some(frame(1)));
        assert_eq!(outbox.sent_frame(), None);
        let flushed = outbox.flush(PATH, |run, _| Sent::Packets(run.len()));
        assert!(!flushed.blocked);
        assert_eq!(outbox.sent_frame(), Some(frame(2)));
        assert!(outbox.is_empty());
    }

    #[test]
    fn what_the_kernel_cannot_send_is_lost_and_the_rest_goes_on() {
        let mut outbox = Outbox::default();
        outbox.push(packet(1));
        outbox.push(packet(1));
        outbox.end_frame(frame(7));
        let mut first = true;
        let flushed = outbox.flush(PATH, |_, _| {
            if std::mem::take(&mut first) {
                Sent::Lost
            } else {
                Sent::Packets(1)
            }
        });
        assert_eq!((flushed.packets, flushed.lost), (1, 1));
        assert_eq!(outbox.sent_frame(), Some(frame(7)));
    }

    #[test]
    fn the_queue_is_bounded_and_says_when_it_is_full_enough() {
        let mut outbox = Outbox::default();
        assert!(!outbox.is_congested());
        outbox.push(packet(BACKLOG_BYTES_MAX + 1));
        assert!(outbox.is_congested());
        for _ in 1..BACKLOG_PACKETS_MAX {
            assert!(outbox.push(packet(1)));
        }
        assert!(!outbox.push(packet(1)));
        outbox.end_frame(frame(1));
        assert_eq!(outbox.clear(), 1);
        assert!(outbox.is_empty() && !outbox.is_congested());
    }
}
