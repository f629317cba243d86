//! Repair packets for the picture: FlexFEC as browsers take it, draft-ietf-payload-flexible-fec-
//! scheme-03 (`flexfec-03`), on a source of its own.
//!
//! ```text
//! repair packet: RTP header | flags and lengths 8 | 1, 0, 0, 0 | source | first number | mask | xor
//! ```
//!
//! A group is a frame, or two frames so small that the share comes to less than one repair packet; a
//! long frame makes several groups. They leave behind the group's last packet: what is lost is back as
//! soon as the frame could have been whole, with no round trip.
//!
//! Within a group of few repair packets, number `j` of `k` protects every `k`th media packet, so `k`
//! losses in a row are made good. From [`PAIRED_FROM`] on each media packet is in two of them, another
//! two for each as long as there are such. What is lost then is a graph whose edges are the losses
//! and whose nodes are the repair packets, and a receiver takes leaf after leaf from it: it is all
//! back unless there is a circle. Of frames of 15 packets at 5 % loss with 6 repair packets 0.5 %
//! stay broken, where every 6th makes it 6 %; `k - 2` losses in a row come back.
//!
//! Pure. A media packet is protected as a browser sees it: the header extension with the
//! transport-wide number, which is stamped on later, counts as zeros (libwebrtc's
//! `ZeroMutableExtensions`).

use bytes::{BufMut, Bytes, BytesMut};
use rtc::rtp;
use rtc::shared::marshal::{Marshal, MarshalSize};

/// Bytes of an RTP header without extensions, which length and xor leave out.
const RTP_HEADER_BYTES: usize = 12;
/// Media packets of a group: what the mask's first two words hold (15 + 31).
const GROUP_MAX: usize = 46;
/// Frames of a group.
const GROUP_FRAMES_MAX: u32 = 2;
/// Repair packets of a group.
const REPAIR_MAX: usize = 24;
/// Repair packets of a group from which each media packet is in two.
const PAIRED_FROM: usize = 4;
/// Xor of the longest packet.
const XOR_BYTES: usize = 1500;

/// The protection of one picture's stream.
#[derive(Debug)]
pub(crate) struct Protection {
    payload_type: u8,
    ssrc: u32,
    sequence: u16,
    percent: u8,
    /// Hundredths of repair packets that are due.
    due: u32,
    group: Group,
    /// Where a media packet is laid out to be protected.
    scratch: Vec<u8>,
}

/// Media packets that wait for their repair packets.
#[derive(Debug, Default)]
struct Group {
    source: u32,
    first: u16,
    count: usize,
    frames: u32,
    timestamp: u32,
    /// In use: as many as there will be repair packets.
    sums: Vec<Sum>,
    used: usize,
}

/// The xor of the packets that one repair packet protects.
#[derive(Clone, Debug)]
struct Sum {
    /// The first two bytes of the headers, the lengths, and the timestamps.
    head: [u8; 8],
    mask: u64,
    body: Box<[u8; XOR_BYTES]>,
    len: usize,
}

impl Sum {
    fn new() -> Self {
        Self {
            head: [0; 8],
            mask: 0,
            body: Box::new([0; XOR_BYTES]),
            len: 0,
        }
    }

    fn clear(&mut self) {
        self.head = [0; 8];
        self.mask = 0;
        self.body[..self.len].fill(0);
        self.len = 0;
    }

    fn add(&mut self, index: usize, packet: &[u8]) {
        let body = &packet[RTP_HEADER_BYTES..];
        let len = u16::try_from(body.len()).unwrap_or(0).to_be_bytes();
        let [a, b, _, _, t0, t1, t2, t3, ..] = *packet else {
            return;
        };
        let head = [a & 0x3f, b, len[0], len[1], t0, t1, t2, t3];
        for (sum, byte) in self.head.iter_mut().zip(head) {
            *sum ^= byte;
        }
        for (sum, byte) in self.body.iter_mut().zip(body) {
            *sum ^= byte;
        }
        self.len = self.len.max(body.len());
        // Position 0 is the highest bit.
        self.mask |= 1 << (63 - index);
    }

    /// The payload of the repair packet.
    fn payload(&self, source: u32, first: u16) -> Bytes {
        let mut out = BytesMut::with_capacity(24 + self.len);
        out.put_slice(&self.head);
        // One source, then three bytes that say nothing.
        out.put_slice(&[1, 0, 0, 0]);
        out.put_u32(source);
        out.put_u16(first);
        // Words of 15 and 31 positions; the highest bit of a word says that it is the last.
        let word = (self.mask >> 49) as u16;
        let next = ((self.mask << 15) >> 33) as u32;
        if next == 0 {
            out.put_u16(word | 0x8000);
        } else {
            out.put_u16(word);
            out.put_u32(next | 0x8000_0000);
        }
        out.put_slice(&self.body[..self.len]);
        out.freeze()
    }
}

impl Protection {
    pub(crate) fn new(payload_type: u8, ssrc: u32) -> Self {
        Self {
            payload_type,
            ssrc,
            sequence: rand::random(),
            percent: 0,
            due: 0,
            group: Group::default(),
            scratch: Vec::new(),
        }
    }

    /// Repair packets, percent of the picture's; 0 for none.
    pub(crate) fn set_percent(&mut self, percent: u8) {
        self.percent = percent.min(100);
        if self.percent == 0 {
            self.due = 0;
            self.group.clear();
        }
    }

    /// Whether there are any.
    pub(crate) fn is_on(&self) -> bool {
        self.percent > 0
    }

    /// Protects the packets of a frame; appends the repair packets that are due behind it.
    pub(crate) fn protect(&mut self, frame: &[rtp::Packet], repair: &mut Vec<rtp::Packet>) {
        if self.percent == 0 || frame.is_empty() {
            return;
        }
        let groups = frame.len().div_ceil(GROUP_MAX);
        for packets in frame.chunks(frame.len().div_ceil(groups)) {
            self.protect_group(packets, repair);
        }
    }

    fn protect_group(&mut self, packets: &[rtp::Packet], repair: &mut Vec<rtp::Packet>) {
        if self.group.count + packets.len() > GROUP_MAX {
            self.close(repair);
        }
        let count = u32::try_from(packets.len()).unwrap_or(u32::MAX);
        self.due = self.due.saturating_add(count * u32::from(self.percent));
        let last = self.group.frames + 1 >= GROUP_FRAMES_MAX;
        let whole = (self.due / 100) as usize;
        // At least one for two frames, however small: their share is paid back by what follows.
        let sums = whole.max(usize::from(last)).min(REPAIR_MAX);
        self.open(sums.max(1).min(packets.len()), &packets[0].header);
        for packet in packets {
            self.add(packet);
        }
        self.group.frames += 1;
        if sums > 0 {
            self.close(repair);
        }
    }

    fn open(&mut self, sums: usize, first: &rtp::header::Header) {
        let group = &mut self.group;
        if group.count == 0 {
            group.source = first.ssrc;
            group.first = first.sequence_number;
        }
        group.timestamp = first.timestamp;
        group.used = group.used.max(sums);
        while group.sums.len() < group.used {
            group.sums.push(Sum::new());
        }
    }

    fn add(&mut self, packet: &rtp::Packet) {
        let size = packet.marshal_size();
        self.scratch.resize(size, 0);
        let laid_out = packet.marshal_to(&mut self.scratch);
        let fits = (RTP_HEADER_BYTES..=RTP_HEADER_BYTES + XOR_BYTES).contains(&size);
        let group = &mut self.group;
        if laid_out.is_ok() && fits {
            let (one, other) = protectors(group.count, group.used);
            group.sums[one].add(group.count, &self.scratch);
            if let Some(other) = other {
                group.sums[other].add(group.count, &self.scratch);
            }
        }
        group.count += 1;
    }

    fn close(&mut self, repair: &mut Vec<rtp::Packet>) {
        let group = &mut self.group;
        for sum in group.sums.iter().take(group.used).filter(|s| s.mask != 0) {
            self.due = self.due.saturating_sub(100);
            self.sequence = self.sequence.wrapping_add(1);
            repair.push(rtp::Packet {
                header: rtp::header::Header {
                    version: 2,
                    payload_type: self.payload_type,
                    sequence_number: self.sequence,
                    timestamp: group.timestamp,
                    ssrc: self.ssrc,
                    ..rtp::header::Header::default()
                },
                payload: sum.payload(group.source, group.first),
            });
        }
        group.clear();
    }
}

/// The repair packets, of `count`, that protect the group's media packet number `index`: pairs of
/// neighbours first, then of next neighbours, and so on, so that a run of losses makes no circle.
fn protectors(index: usize, count: usize) -> (usize, Option<usize>) {
    if count < PAIRED_FROM {
        return (index % count, None);
    }
    let pair = index % (count * (count - 1) / 2);
    let (one, apart) = (pair % count, 1 + pair / count);
    (one, Some((one + apart) % count))
}

impl Group {
    fn clear(&mut self) {
        self.sums.iter_mut().for_each(Sum::clear);
        self.count = 0;
        self.frames = 0;
        self.used = 0;
    }
}

#[cfg(test)]
#[path = "fec/test.rs"]
mod test;
