//! VP9 into RTP payloads (RFC 9628), in flexible mode: each inter picture says that it refers to the
//! one before it, so that a receiver knows what a loss breaks. One layer, one buffer a picture.

use bytes::{BufMut, Bytes, BytesMut};

/// Bits of the first byte of the descriptor.
const HAS_ID: u8 = 0x80;
const INTER: u8 = 0x40;
const FLEXIBLE: u8 = 0x10;
const BEGINS: u8 = 0x08;
const ENDS: u8 = 0x04;
/// One picture back, and no further reference.
const PREVIOUS: u8 = 1 << 1;
/// An id of 15 bits.
const LONG_ID: u16 = 0x8000;

/// Numbers pictures.
#[derive(Debug)]
pub(super) struct Numbers {
    next: u16,
}

impl Numbers {
    pub(super) fn new() -> Self {
        Self {
            next: rand::random::<u16>() & !LONG_ID,
        }
    }

    /// Appends the payloads of a picture.
    pub(super) fn cut(
        &mut self,
        unit: &Bytes,
        key: bool,
        bytes_max: usize,
        payloads: &mut Vec<Bytes>,
    ) {
        let head_bytes = if key { 3 } else { 4 };
        let share = bytes_max - head_bytes;
        let count = unit.len().div_ceil(share);
        let mut buffer = BytesMut::with_capacity(unit.len() + count * head_bytes);
        for (i, part) in unit.chunks(share).enumerate() {
            let begins = if i == 0 { BEGINS } else { 0 };
            let ends = if i + 1 == count { ENDS } else { 0 };
            let inter = if key { 0 } else { INTER };
            buffer.put_u8(HAS_ID | FLEXIBLE | inter | begins | ends);
            buffer.put_u16(self.next | LONG_ID);
            if !key {
                buffer.put_u8(PREVIOUS);
            }
            buffer.put_slice(part);
        }
        self.next = (self.next + 1) & !LONG_ID;
        super::share_out(buffer.freeze(), bytes_max, payloads);
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use rtc::rtp::codec::vp9::Vp9Packet;
    use rtc::rtp::packetizer::Depacketizer;

    #[test]
    fn an_inter_picture_names_the_one_before_it_and_a_key_picture_none() {
        let mut numbers = Numbers { next: 0x7fff };
        let unit = Bytes::from((0..100).collect::<Vec<u8>>());
        for (key, id) in [(true, 0x7fff), (false, 0), (false, 1)] {
            let mut payloads = Vec::new();
            numbers.cut(&unit, key, 40, &mut payloads);
            assert_eq!(payloads.len(), 3);
            let mut whole = Vec::new();
            for (i, payload) in payloads.iter().enumerate() {
                assert!(payload.len() <= 40);
                let mut packet = Vp9Packet::default();
                whole.extend(packet.depacketize(payload).unwrap());
                assert_eq!((packet.p, packet.f, packet.picture_id), (!key, true, id));
                assert_eq!(packet.pdiff, if key { vec![] } else { vec![1] });
                assert_eq!((packet.b, packet.e), (i == 0, i == 2));
            }
            assert_eq!(whole, unit);
        }
    }
}
