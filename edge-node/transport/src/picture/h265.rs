//! HEVC into RTP payloads (RFC 7798, one stream, no DONL): a NAL unit that fits goes as it is, in the
//! access unit's own memory; a longer one goes in fragments (FU), all in one buffer.

use super::annexb;
use bytes::Bytes;

/// Two bytes: a zero bit, six of the type, six of the layer, three of the temporal id.
const HEADER_BYTES: usize = 2;
const DELIMITER: u8 = 35;
const FILLER: u8 = 38;
/// From here on types are payload structures, and no NAL units.
const STRUCTURES: u8 = 48;
const FU: u8 = 49;

/// Appends the payloads of an Annex B access unit. Delimiters and filler are for byte streams only.
pub(super) fn cut(unit: &Bytes, bytes_max: usize, payloads: &mut Vec<Bytes>) {
    for nal in annexb::nal_units(unit) {
        let [first, second, body @ ..] = &nal[..] else {
            continue;
        };
        match (first >> 1) & 0x3f {
            DELIMITER | FILLER | STRUCTURES.. => {}
            _ if body.len() + HEADER_BYTES <= bytes_max => payloads.push(nal),
            kind => {
                let head = [first & 0x81 | (FU << 1), *second, kind];
                annexb::fragment(body, head, bytes_max, payloads);
            }
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use proptest::prelude::*;

    fn payloads(unit: &[u8], bytes_max: usize) -> Vec<Bytes> {
        let mut payloads = Vec::new();
        cut(&Bytes::copy_from_slice(unit), bytes_max, &mut payloads);
        payloads
    }

    #[test]
    fn start_codes_of_both_lengths_part_nal_units() {
        // As x265 writes a key frame: four bytes before parameter sets, three before slices.
        let unit = [
            &[0, 0, 0, 1, 0x46, 1, 0x10][..],
            &[0, 0, 0, 1, 0x40, 1, 7, 0, 0, 0, 1, 0x42, 1, 8],
            &[0, 0, 0, 1, 0x44, 1, 9, 0, 0, 1, 0x28, 1, 10],
            &[0, 0, 1, 0x28, 1, 11, 12, 13, 14, 15, 16, 17],
        ]
        .concat();
        let payloads = payloads(&unit, 7);
        let whole: Vec<&[u8]> = payloads[..4].iter().map(|p| &p[..]).collect();
        assert_eq!(
            whole,
            [[0x40, 1, 7], [0x42, 1, 8], [0x44, 1, 9], [0x28, 1, 10]]
        );
        let parts: Vec<&[u8]> = payloads[4..].iter().map(|p| &p[..]).collect();
        let expected: [&[u8]; 2] = [
            &[0x62, 1, 0x94, 11, 12, 13, 14],
            &[0x62, 1, 0x54, 15, 16, 17],
        ];
        assert_eq!(parts, expected);
    }

    #[test]
    fn fragments_keep_layer_and_temporal_id() {
        let long = [&[0, 0, 1, 0x03, 0x1a][..], &[1; 20]].concat();
        for payload in payloads(&long, 10) {
            assert_eq!(payload[..2], [0x63, 0x1a]);
            assert_eq!(payload[2] & 0x3f, 1);
        }
    }

    #[test]
    fn what_is_no_nal_unit_makes_nothing() {
        let structure = [0, 0, 1, FU << 1, 1, 0x93, 1, 2];
        for unit in [&[][..], &[1, 2, 3], &[0, 0, 1], &[0, 0, 1, 2], &structure] {
            assert!(payloads(unit, 100).is_empty(), "{unit:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_exceed_the_packet(
            unit in proptest::collection::vec(0_u8..4, 0..600), bytes_max in 4_usize..50,
        ) {
            let payloads = payloads(&unit, bytes_max);
            prop_assert!(payloads.iter().all(|p| (1..=bytes_max).contains(&p.len())));
        }
    }
}
