//! H.264 into RTP payloads (RFC 6184, packetization-mode 1): a NAL unit that fits goes as it is, in
//! the access unit's own memory; a longer one goes in fragments (FU-A), all in one buffer.

use bytes::{BufMut, Bytes, BytesMut};

const TYPE_MASK: u8 = 0x1f;
const REFERENCE_MASK: u8 = 0x60;
const DELIMITER: u8 = 9;
const FILLER: u8 = 12;
const FU_A: u8 = 28;
const FU_START: u8 = 0x80;
const FU_END: u8 = 0x40;
const START_CODE: [u8; 3] = [0, 0, 1];
/// Bytes looked at together for a zero.
const STRIDE: usize = 32;
/// FU indicator and FU header.
const FU_BYTES: usize = 2;

/// Appends the payloads of an Annex B access unit. Delimiters and filler are for byte streams only.
pub(super) fn cut(unit: &Bytes, bytes_max: usize, payloads: &mut Vec<Bytes>) {
    let mut at = after_start_code(unit, 0);
    while let Some(start) = at {
        let next = after_start_code(unit, start);
        let end = next.map_or(unit.len(), |next| next - 3);
        // A NAL unit never ends in a zero: those belong to the next start code.
        let zeros = unit[start..end].iter().rev().take_while(|b| **b == 0);
        let nal = unit.slice(start..end - zeros.count());
        at = next;
        match nal.first().map(|first| first & TYPE_MASK) {
            None | Some(DELIMITER | FILLER) => {}
            Some(_) if nal.len() <= bytes_max => payloads.push(nal),
            Some(kind) => fragment(&nal, kind, bytes_max, payloads),
        }
    }
}

/// Where the first NAL unit at or after `from` starts.
fn after_start_code(unit: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while at + START_CODE.len() <= unit.len() {
        if unit[at] != 0 {
            at += before_zero(&unit[at..]);
        } else if unit[at..].starts_with(&START_CODE) {
            return Some(at + START_CODE.len());
        } else {
            at += 1;
        }
    }
    None
}

/// How many bytes come before the first zero, or some of them: zeros are rare, so many bytes are
/// looked at together.
fn before_zero(bytes: &[u8]) -> usize {
    let (strides, rest) = bytes.as_chunks::<STRIDE>();
    let clear = strides.iter().take_while(|stride| has_no_zero(stride));
    let clear = STRIDE * clear.count();
    let next = strides.get(clear / STRIDE).map_or(rest, |stride| stride);
    clear + next.iter().take_while(|byte| **byte != 0).count()
}

/// Without a branch for each byte, so that they are compared in one go.
fn has_no_zero(stride: &[u8; STRIDE]) -> bool {
    stride.iter().fold(true, |none, byte| none & (*byte != 0))
}

fn fragment(nal: &Bytes, kind: u8, bytes_max: usize, payloads: &mut Vec<Bytes>) {
    let indicator = nal[0] & REFERENCE_MASK | FU_A;
    let body = &nal[1..];
    let share = bytes_max - FU_BYTES;
    let count = body.len().div_ceil(share);
    let mut buffer = BytesMut::with_capacity(body.len() + count * FU_BYTES);
    for (i, part) in body.chunks(share).enumerate() {
        let start = if i == 0 { FU_START } else { 0 };
        let end = if i + 1 == count { FU_END } else { 0 };
        buffer.put_slice(&[indicator, start | end | kind]);
        buffer.put_slice(part);
    }
    super::share_out(buffer.freeze(), bytes_max, payloads);
}

#[cfg(test)]
mod test {
    use super::*;
    use proptest::prelude::*;
    use rtc::rtp::codec::h264::H264Packet;
    use rtc::rtp::packetizer::Depacketizer;

    /// What a receiver makes of the payloads.
    fn received(payloads: &[Bytes]) -> Vec<u8> {
        let mut reader = H264Packet::default();
        let parts = payloads.iter();
        parts.flat_map(|p| reader.depacketize(p).unwrap()).collect()
    }

    fn payloads(unit: &[u8], bytes_max: usize) -> Vec<Bytes> {
        let mut payloads = Vec::new();
        cut(&Bytes::copy_from_slice(unit), bytes_max, &mut payloads);
        payloads
    }

    #[test]
    fn nal_units_that_fit_go_whole_and_the_rest_in_fragments() {
        let slice: Vec<u8> = [0x65]
            .into_iter()
            .chain((1..=250).cycle().take(30))
            .collect();
        let unit = [
            &[0, 0, 0, 1, 9, 0x30][..],
            &[0, 0, 0, 1, 0x67, 1, 2, 0, 0, 0, 1, 0x68, 3, 4],
            &[0, 0, 1],
            &slice,
        ]
        .concat();
        let payloads = payloads(&unit, 12);
        assert_eq!(payloads[0][..], [0x67, 1, 2]);
        assert_eq!(payloads[1][..], [0x68, 3, 4]);
        let heads: Vec<&[u8]> = payloads[2..].iter().map(|p| &p[..2]).collect();
        assert_eq!(heads, [[0x7c, 0x85], [0x7c, 0x05], [0x7c, 0x45]]);
        assert!(payloads.iter().all(|p| p.len() <= 12));
        let expected = [
            &[0, 0, 0, 1, 0x67, 1, 2, 0, 0, 0, 1, 0x68, 3, 4, 0, 0, 0, 1],
            &slice[..],
        ];
        assert_eq!(received(&payloads), expected.concat());
    }

    #[test]
    fn a_start_code_is_found_wherever_it_stands() {
        for before in 0..3 * STRIDE {
            let mut unit = vec![7; before];
            unit.extend([0, 0, 1, 0x41]);
            assert_eq!(after_start_code(&unit, 0), Some(before + 3));
            // What looks like the beginning of one is none.
            unit[before + 2] = 2;
            assert_eq!(after_start_code(&unit, 0), None);
        }
    }

    #[test]
    fn what_is_no_access_unit_makes_nothing() {
        for unit in [&[][..], &[1, 2, 3], &[0, 0, 1], &[0, 0, 0, 1, 0, 0, 0]] {
            assert!(payloads(unit, 100).is_empty(), "{unit:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_exceed_the_packet(
            unit in proptest::collection::vec(0_u8..4, 0..600), bytes_max in 3_usize..50,
        ) {
            let payloads = payloads(&unit, bytes_max);
            prop_assert!(payloads.iter().all(|p| (1..=bytes_max).contains(&p.len())));
        }
    }
}
