//! Access units from RTP packets, in order. Pure: arrival times come in.
//!
//! A packet that is missing holds up those behind it, as it does in a browser, until a
//! retransmission brings it or [`PATIENCE_US`] is over. Then everything up to the next key frame is
//! given up: what follows refers to what is lost.

// By their paths, so that a fuzz target can take this file.
#[path = "frames/annex_b.rs"]
mod annex_b;
#[path = "frames/av1.rs"]
mod av1;
#[path = "frames/h264.rs"]
mod h264;
#[path = "frames/h265.rs"]
mod h265;
#[path = "frames/unpack.rs"]
mod unpack;

use bytes::Bytes;
use nearlight_protocol::worker::VideoCodec;
use rtc::rtp::Packet;
use std::collections::BTreeMap;
use unpack::Unpack;

/// How long a missing packet is waited for.
pub const PATIENCE_US: u64 = 500_000;
/// Packets held while one is missing; more means that it never comes.
const HELD_MAX: usize = 4096;

/// What became of the packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Tally {
    /// Packets that came, each once.
    pub packets: u64,
    /// Their RTP payload, bytes.
    pub payload_bytes: u64,
    /// Packets that came again.
    pub duplicates: u64,
    /// Packets that others overtook: out of order or sent again.
    pub late: u64,
    /// Packets that never came.
    pub lost: u64,
    /// Frames that were complete.
    pub frames: u64,
    /// Frames that came and could not be decoded, for what they refer to is lost.
    pub spoiled: u64,
}

/// A complete access unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// RTP timestamp, as marks name it.
    pub rtp_timestamp: u32,
    /// Whether it refers to nothing before it.
    pub key: bool,
    /// As a decoder takes it: Annex B for H.264 and HEVC, a temporal unit with its delimiter for AV1.
    pub data: Bytes,
    /// When its last packet to arrive arrived.
    pub at_us: u64,
}

/// What comes out, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Out {
    /// A frame that can be decoded.
    Frame(Frame),
    /// Something is lost for good: a key frame is needed.
    Broken,
}

/// See the module.
pub struct Assembler {
    unpack: Unpack,
    /// Extended sequence number of the next packet in order; `None` before the first.
    next: Option<u64>,
    held: BTreeMap<u64, (Packet, u64)>,
    unit_at_us: u64,
    /// Waiting for a key frame.
    broken: bool,
    newest: u64,
    tally: Tally,
}

impl Assembler {
    /// For one codec.
    pub fn new(codec: VideoCodec) -> Self {
        Self {
            unpack: Unpack::new(codec),
            next: None,
            held: BTreeMap::new(),
            unit_at_us: 0,
            broken: true,
            newest: 0,
            tally: Tally::default(),
        }
    }

    /// A packet arrived.
    pub fn push(&mut self, packet: Packet, at_us: u64) {
        let number = self.extended(packet.header.sequence_number);
        let next = *self.next.get_or_insert(number);
        if number < next || self.held.contains_key(&number) {
            self.tally.duplicates += 1;
            return;
        }
        if number < self.newest {
            self.tally.late += 1;
        }
        self.newest = self.newest.max(number);
        self.tally.packets += 1;
        self.tally.payload_bytes += packet.payload.len() as u64;
        self.held.insert(number, (packet, at_us));
    }

    /// The next thing in order, if there is one; call until there is none.
    pub fn pull(&mut self, now_us: u64) -> Option<Out> {
        loop {
            let (number, at_us) = self.held.iter().next().map(|(n, (_, at))| (*n, *at))?;
            if Some(number) != self.next {
                let waited_us = now_us.saturating_sub(at_us);
                if waited_us < PATIENCE_US && self.held.len() < HELD_MAX {
                    return None;
                }
                self.tally.lost += number - self.next.unwrap_or(number);
                self.next = Some(number);
                self.unpack.tear();
                if self.breaks() {
                    return Some(Out::Broken);
                }
            }
            let (packet, at_us) = self.held.remove(&number)?;
            self.next = Some(number + 1);
            // The rest of a frame with a hole in it is no frame.
            if self.unpack.add(&packet.payload).is_err() && self.breaks() {
                return Some(Out::Broken);
            }
            if let Some(frame) = self.added(&packet, at_us) {
                return Some(Out::Frame(frame));
            }
        }
    }

    /// Whether nothing can be shown until a key frame comes.
    pub fn needs_key(&self) -> bool {
        self.broken
    }

    /// What became of the packets so far.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Nothing can be shown until a key frame comes; says whether that is new.
    fn breaks(&mut self) -> bool {
        !std::mem::replace(&mut self.broken, true)
    }

    fn added(&mut self, packet: &Packet, at_us: u64) -> Option<Frame> {
        self.unit_at_us = self.unit_at_us.max(at_us);
        if !packet.header.marker {
            return None;
        }
        let at_us = std::mem::take(&mut self.unit_at_us);
        let unit = self.unpack.take()?;
        // What was sent before we listened is missing, and nothing says so.
        if self.broken && !(unit.key && unit.stands_alone) {
            self.tally.spoiled += 1;
            return None;
        }
        self.broken = false;
        self.tally.frames += 1;
        Some(Frame {
            rtp_timestamp: packet.header.timestamp,
            key: unit.key,
            data: unit.data,
            at_us,
        })
    }

    /// The number nearest to the newest one that ends in `sequence`.
    fn extended(&self, sequence: u16) -> u64 {
        if self.next.is_none() {
            // One round up, so that what came before the first has a number too.
            return u64::from(sequence) + (1 << 16);
        }
        let ahead = sequence.wrapping_sub(self.newest as u16) as i16;
        self.newest.saturating_add_signed(i64::from(ahead))
    }
}

impl std::fmt::Debug for Assembler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Assembler")
            .field("tally", &self.tally)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod test {
    use super::*;

    const KEY: u8 = 0x65;
    const SLICE: u8 = 0x41;

    /// A frame of one packet.
    fn packet(sequence: u16, kind: u8) -> Packet {
        let mut packet = Packet::default();
        packet.header.sequence_number = sequence;
        packet.header.timestamp = u32::from(sequence) * 1500;
        packet.header.marker = true;
        packet.payload = Bytes::from(match kind {
            // STAP-A of parameters and a slice (RFC 6184 section 5.7.1).
            KEY => vec![0x78, 0, 2, 0x67, 9, 0, 4, KEY, 1, 2, 3],
            _ => vec![kind, 1, 2, 3],
        });
        packet
    }

    fn frames(assembler: &mut Assembler, now_us: u64) -> Vec<u32> {
        let mut found = Vec::new();
        while let Some(out) = assembler.pull(now_us) {
            match out {
                Out::Frame(frame) => found.push(frame.rtp_timestamp / 1500),
                Out::Broken => found.push(u32::MAX),
            }
        }
        found
    }

    #[test]
    fn frames_come_in_order_over_the_wrap_and_start_with_a_key_frame() {
        let mut assembler = Assembler::new(VideoCodec::H264);
        assembler.push(packet(65_533, SLICE), 0);
        assembler.push(packet(65_534, KEY), 1);
        assembler.push(packet(0, SLICE), 2);
        assembler.push(packet(65_535, SLICE), 3);
        assert_eq!(frames(&mut assembler, 4), [65_534, 65_535, 0]);
        let tally = assembler.tally();
        assert_eq!((tally.frames, tally.spoiled, tally.late), (3, 1, 1));
        assert_eq!((tally.lost, tally.duplicates, tally.packets), (0, 0, 4));
    }

    #[test]
    fn a_key_frame_whose_beginning_was_sent_before_we_listened_is_none() {
        let mut assembler = Assembler::new(VideoCodec::H264);
        let mut torn = packet(7, SLICE);
        torn.payload = Bytes::from(vec![KEY, 1, 2, 3]);
        assembler.push(torn, 0);
        assert_eq!(frames(&mut assembler, 1), [0; 0]);
        assert!(assembler.needs_key());
        assembler.push(packet(8, KEY), 2);
        assert_eq!(frames(&mut assembler, 3), [8]);
        assert!(!assembler.needs_key());
    }

    #[test]
    fn what_is_left_of_a_vp8_or_vp9_frame_is_no_key_frame_whatever_it_looks_like() {
        // A frame of two packets whose second begins with a byte that a key frame could begin with.
        for (codec, begins, goes_on) in [
            (
                VideoCodec::VP8,
                [0x10, 0, 1, 2, 3, 4],
                [0x00, 0, 1, 2, 3, 4],
            ),
            (
                VideoCodec::VP9,
                [0x08, 0x80, 1, 2, 3, 4],
                [0x04, 0x80, 1, 2, 3, 4],
            ),
        ] {
            let part = |sequence: u16, payload: [u8; 6], marker| {
                let mut packet = packet(sequence, 0);
                packet.payload = Bytes::copy_from_slice(&payload);
                packet.header.marker = marker;
                packet
            };
            let mut assembler = Assembler::new(codec);
            // The first packet that comes is the end of a frame that was sent before.
            assembler.push(part(1, goes_on, true), 0);
            // Of the next one the beginning is lost.
            assembler.push(part(3, goes_on, true), 0);
            assert_eq!(frames(&mut assembler, PATIENCE_US), [0; 0], "{codec:?}");
            assert!(assembler.needs_key());
            // Lost packets before a key frame are none of it.
            assembler.push(part(6, begins, false), PATIENCE_US);
            assembler.push(part(7, goes_on, true), PATIENCE_US);
            assert_eq!(frames(&mut assembler, 2 * PATIENCE_US), [7], "{codec:?}");
        }
    }

    #[test]
    fn vp9_goes_on_for_more_pictures_than_a_packet_may_refer_to() {
        let mut assembler = Assembler::new(VideoCodec::VP9);
        for sequence in 1..=10 {
            let mut packet = packet(sequence, 0);
            let head: &[u8] = match sequence {
                1 => &[0x98, 0x80, 1, 0x82],
                _ => &[0xd8, 0x80, 1, 2, 0x86],
            };
            packet.payload = Bytes::copy_from_slice(head);
            assembler.push(packet, 0);
        }
        assert_eq!(frames(&mut assembler, 0), (1..=10).collect::<Vec<_>>());
    }

    #[test]
    fn a_payload_that_cannot_be_read_is_a_hole_in_its_frame() {
        let mut assembler = Assembler::new(VideoCodec::H264);
        let mut torn = packet(2, SLICE);
        // STAP-A that says more than there is.
        torn.payload = Bytes::from(vec![0x78, 0, 9, 0x41]);
        torn.header.marker = false;
        assembler.push(packet(1, KEY), 0);
        assembler.push(torn, 0);
        assembler.push(packet(3, SLICE), 0);
        assembler.push(packet(4, KEY), 0);
        assert_eq!(frames(&mut assembler, 0), [1, u32::MAX, 4]);
        assert_eq!((assembler.tally().spoiled, assembler.tally().lost), (1, 0));
    }

    #[test]
    fn a_unit_that_never_ends_is_given_up() {
        // FU-A that goes on, and an element of AV1 that does.
        for (codec, head) in [(VideoCodec::H264, [0x7c, 5]), (VideoCodec::AV1, [0xd0, 0])] {
            let mut assembler = Assembler::new(codec);
            let mut first = packet(0, KEY);
            if codec == VideoCodec::AV1 {
                first.payload = Bytes::from(vec![0x10, 0x08, 7]);
            }
            assembler.push(first, 0);
            assert_eq!(frames(&mut assembler, 0), [0]);
            let mut payload = vec![7; 60_000];
            payload[..2].copy_from_slice(&head);
            let payload = Bytes::from(payload);
            let mut broken = 0;
            for sequence in 1..=300 {
                let mut part = packet(sequence, 0);
                part.header.marker = false;
                part.payload = payload.clone();
                if codec == VideoCodec::AV1 && sequence == 1 {
                    part.payload = Bytes::from(vec![0x50, 0x30, 1]);
                }
                assembler.push(part, 0);
                broken += frames(&mut assembler, 0).len();
            }
            assert_eq!(broken, 1, "{codec:?}");
            assert!(assembler.needs_key());
        }
    }

    #[test]
    fn what_is_open_at_the_end_of_an_av1_unit_is_none_of_the_next() {
        let mut assembler = Assembler::new(VideoCodec::AV1);
        // A sequence header, and a frame that would go on; then the rest of one that never began.
        for (sequence, payload) in [(1, &[0x60, 2, 0x08, 7, 2, 0x30, 1][..]), (2, &[0x90, 9])] {
            let mut packet = packet(sequence, 0);
            packet.payload = Bytes::copy_from_slice(payload);
            assembler.push(packet, 0);
        }
        assert_eq!(frames(&mut assembler, 0), [1]);
    }

    #[test]
    fn a_missing_packet_is_waited_for_and_may_come_late() {
        let mut assembler = Assembler::new(VideoCodec::H264);
        assembler.push(packet(1, KEY), 0);
        assembler.push(packet(3, SLICE), 10);
        assert_eq!(frames(&mut assembler, 20), [1]);
        assembler.push(packet(2, SLICE), 30);
        assembler.push(packet(2, SLICE), 31);
        assert_eq!(frames(&mut assembler, 40), [2, 3]);
        assert_eq!(assembler.tally().duplicates, 1);
    }

    #[test]
    fn what_refers_to_a_lost_packet_is_spoiled_until_a_key_frame() {
        let mut assembler = Assembler::new(VideoCodec::H264);
        assembler.push(packet(1, KEY), 0);
        assembler.push(packet(3, SLICE), 10);
        assert_eq!(frames(&mut assembler, PATIENCE_US), [1]);
        assert_eq!(frames(&mut assembler, 10 + PATIENCE_US), [u32::MAX]);
        assembler.push(packet(4, KEY), 20 + PATIENCE_US);
        assert_eq!(frames(&mut assembler, 20 + PATIENCE_US), [4]);
        let tally = assembler.tally();
        assert_eq!((tally.lost, tally.spoiled, tally.frames), (1, 1, 2));
    }

    #[test]
    fn a_frame_of_many_packets_has_the_time_of_the_last_to_come() {
        let mut assembler = Assembler::new(VideoCodec::H264);
        let part = |sequence: u16, header: u8, marker: bool| {
            let mut part = packet(sequence, 0);
            // FU-A of an IDR slice.
            part.payload = Bytes::from(vec![0x7c, header, 9, 9]);
            part.header.timestamp = 1500;
            part.header.marker = marker;
            part
        };
        assembler.push(packet(0, KEY), 0);
        assert!(assembler.pull(0).is_some());
        assembler.push(part(1, 0x85, false), 0);
        assembler.push(part(3, 0x45, true), 10);
        assert_eq!(assembler.pull(20), None);
        assembler.push(part(2, 0x05, false), 30);
        let Some(Out::Frame(frame)) = assembler.pull(40) else {
            panic!("the frame is complete");
        };
        assert_eq!((frame.at_us, frame.key), (30, true));
        assert_eq!(frame.data[..], [0, 0, 0, 1, 0x65, 9, 9, 9, 9, 9, 9]);
    }
}
