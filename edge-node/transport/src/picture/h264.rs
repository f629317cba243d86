//! H.264 into RTP payloads (RFC 6184, packetization-mode 1): a NAL unit that fits goes as it is, in
//! the access unit's own memory; a longer one goes in fragments (FU-A), all in one buffer.

use super::annexb;
use bytes::Bytes;

const TYPE_MASK: u8 = 0x1f;
const REFERENCE_MASK: u8 = 0x60;
const DELIMITER: u8 = 9;
const FILLER: u8 = 12;
const FU_A: u8 = 28;

/// Appends the payloads of an Annex B access unit. Delimiters and filler are for byte streams only.
pub(super) fn cut(unit: &Bytes, bytes_max: usize, payloads: &mut Vec<Bytes>) {
    for nal in annexb::nal_units(unit) {
        match nal.first().map(|first| first & TYPE_MASK) {
            None | Some(DELIMITER | FILLER) => {}
            Some(_) if nal.len() <= bytes_max => payloads.push(nal),
            Some(kind) => {
                let indicator = nal[0] & REFERENCE_MASK | FU_A;
                annexb::fragment(&nal[1..], [indicator, kind], bytes_max, payloads);
            }
        }
    }
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
