//! Access units out of the payloads of their packets, codec by codec, as a decoder takes them: Annex B, a temporal
//! unit, or a frame.
//!
//! Pure. A unit whose beginning never came is torn, and no key frame, whatever its bytes look like. One with a payload
//! that cannot be read has a hole, and one longer than any picture has no end: both are given up ([`Unreadable`]).

use super::{av1, h264, h265};
use bytes::{Bytes, BytesMut};
use nearlight_protocol::worker::VideoCodec;
use rtc::rtp::codec::vp8::Vp8Packet;
use rtc::rtp::codec::vp9::Vp9Packet;
use rtc::rtp::packetizer::Depacketizer;

/// Does not travel (AV1 RTP payload, section 5), and is what a decoder expects first: a temporal delimiter.
const DELIMITER: [u8; 2] = [0x12, 0];
/// A sequence header's type (AV1 section 6.2.2).
const SEQUENCE_HEADER: u8 = 1;
/// Aggregation header: the first element goes on with one of the packet before.
const CONTINUES: u8 = 0x80;

/// The longest unit, bytes; more means that its end is never marked.
const UNIT_MAX: usize = 8 << 20;

/// The unit that the payload is of cannot be had whole, and was forgotten.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unreadable;

/// See the module.
pub(super) struct Unpack {
    way: Way,
    unit: BytesMut,
    /// The next packet is the first that is known of a unit: whether it is its beginning, it says itself.
    first: bool,
    /// The beginning of the unit is there.
    begun: bool,
}

enum Way {
    H264,
    H265,
    Vp8(Vp8Packet),
    Vp9,
    Av1(av1::Elements),
}

/// A whole access unit.
pub(super) struct Unit {
    pub(super) data: Bytes,
    /// Refers to nothing before it.
    pub(super) key: bool,
    /// Has what a decoder must know first, so that decoding can begin here.
    pub(super) stands_alone: bool,
}

impl Unpack {
    pub(super) fn new(codec: VideoCodec) -> Self {
        let way = match codec {
            VideoCodec::H264 => Way::H264,
            VideoCodec::H265 => Way::H265,
            VideoCodec::VP8 => Way::Vp8(Vp8Packet::default()),
            VideoCodec::VP9 => Way::Vp9,
            VideoCodec::AV1 => Way::Av1(av1::Elements::default()),
        };
        Self {
            way,
            unit: BytesMut::new(),
            first: true,
            begun: false,
        }
    }

    /// Forgets the unit that was begun: a packet of it is lost.
    pub(super) fn tear(&mut self) {
        self.unit.clear();
        (self.first, self.begun) = (true, false);
        if let Way::Av1(unpack) = &mut self.way {
            *unpack = av1::Elements::default();
        }
    }

    /// Adds the next packet's payload. What is padding, or torn by a loss, adds nothing.
    pub(super) fn add(&mut self, payload: &Bytes) -> Result<(), Unreadable> {
        if payload.is_empty() {
            return Ok(());
        }
        let first = std::mem::take(&mut self.first);
        let (part, begins) = match &mut self.way {
            Way::H264 => (h264::unpacked(payload), !h264::continues(payload)),
            Way::H265 => (h265::unpacked(payload), !h265::continues(payload)),
            Way::Vp8(unpack) => {
                let part = unpack.depacketize(payload).ok();
                (part, unpack.s == 1 && unpack.pid == 0)
            }
            Way::Vp9 => {
                // A new one each time: it keeps references from packet to packet, and refuses a fourth.
                let mut unpack = Vp9Packet::default();
                let part = unpack.depacketize(payload).ok();
                (part, unpack.b)
            }
            Way::Av1(unpack) => {
                let begins = payload.first().is_some_and(|head| head & CONTINUES == 0);
                (unpack.unpacked(payload), begins)
            }
        };
        let held = self.unit.len() + self.open_len();
        let part = part.filter(|part| held + part.len() <= UNIT_MAX);
        let Some(part) = part else {
            self.tear();
            return Err(Unreadable);
        };
        if first {
            self.begun = begins;
        }
        if self.unit.is_empty() && matches!(self.way, Way::Av1(_)) && !part.is_empty() {
            self.unit.extend_from_slice(&DELIMITER);
        }
        self.unit.extend_from_slice(&part);
        Ok(())
    }

    /// Bytes of what goes on in the next packet.
    fn open_len(&self) -> usize {
        match &self.way {
            Way::Av1(unpack) => unpack.open_len(),
            _ => 0,
        }
    }

    /// The unit, whose last packet was added; `None` if there is nothing in it.
    pub(super) fn take(&mut self) -> Option<Unit> {
        let data = self.unit.split().freeze();
        let begun = std::mem::take(&mut self.begun);
        self.first = true;
        if let Way::Av1(unpack) = &mut self.way {
            // Nothing goes on in the next unit.
            *unpack = av1::Elements::default();
        }
        if data.is_empty() {
            return None;
        }
        let (key, stands_alone) = match self.way {
            Way::H264 => (h264::is_key(&data), begun && h264::has_parameters(&data)),
            Way::H265 => (h265::is_key(&data), begun && h265::has_parameters(&data)),
            // The inverse of the key frame flag is bit 0 (RFC 6386 section 9.1).
            Way::Vp8(_) => (data[0] & 1 == 0, begun),
            // Of profile 0: shows an earlier frame again, frame type (VP9 section 6.2).
            Way::Vp9 => (data[0] & 0x0c == 0, begun),
            Way::Av1(_) => (first_obu(&data) == Some(SEQUENCE_HEADER), begun),
        };
        Some(Unit {
            data,
            key,
            stands_alone,
        })
    }
}

/// The type of what follows the temporal delimiter.
fn first_obu(unit: &[u8]) -> Option<u8> {
    unit.get(DELIMITER.len()).map(|head| (head >> 3) & 0x0f)
}
