//! HEVC from RTP payloads (RFC 7798, one stream, no DONL) to Annex B. Pure.

use super::annex_b;
use bytes::{BufMut, Bytes};

/// Payload structures, by the type of their header.
const AGGREGATION: u8 = 48;
const FRAGMENT: u8 = 49;
/// Types of pictures at which decoding can begin, and of the parameter sets: video, sequence, picture (H.265 table 7-1).
const IRAP: std::ops::RangeInclusive<u8> = 16..=21;
const PARAMETERS: [u8; 3] = [32, 33, 34];
/// Flag of a fragment that begins a NAL unit, and its type.
const FRAGMENT_BEGINS: u8 = 0x80;
const FRAGMENT_TYPE: u8 = 0x3f;

/// What a payload adds to its access unit; `None` if it is none.
pub(super) fn unpacked(payload: &[u8]) -> Option<Bytes> {
    let [first, second, body @ ..] = payload else {
        return None;
    };
    let mut out = annex_b::room(payload);
    match kind(*first) {
        AGGREGATION => annex_b::put_aggregated(body, 2, &mut out)?,
        FRAGMENT => {
            let (head, part) = body.split_first()?;
            if head & FRAGMENT_BEGINS != 0 {
                out.put_slice(&annex_b::START_CODE);
                out.put_u8(first & 0x81 | (head & FRAGMENT_TYPE) << 1);
                out.put_u8(*second);
            }
            out.put_slice(part);
        }
        50.. => return None,
        _ => annex_b::put(payload, &mut out),
    }
    Some(out.freeze())
}

/// Whether a payload goes on with a NAL unit of the one before it.
pub(super) fn continues(payload: &[u8]) -> bool {
    matches!(payload, [first, _, head, ..] if kind(*first) == FRAGMENT && head & FRAGMENT_BEGINS == 0)
}

/// Whether decoding can begin at this access unit, if its parameters are known.
pub(super) fn is_key(unit: &[u8]) -> bool {
    kinds(unit).any(|kind| IRAP.contains(&kind))
}

/// Whether it has all its parameters with it: each set may come in a packet of its own, and the first of them be missing.
pub(super) fn has_parameters(unit: &[u8]) -> bool {
    let has = |set| kinds(unit).any(|kind| kind == set);
    PARAMETERS.into_iter().all(has)
}

fn kinds(unit: &[u8]) -> impl Iterator<Item = u8> {
    annex_b::headers(unit).map(kind)
}

fn kind(header: u8) -> u8 {
    (header >> 1) & 0x3f
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn units_come_alone_together_and_in_fragments() {
        let check = |payload: &[u8], expected: &[u8]| {
            assert_eq!(unpacked(payload).unwrap()[..], *expected);
        };
        check(&[0x02, 1, 7], &[0, 0, 0, 1, 0x02, 1, 7]);
        check(
            &[0x60, 1, 0, 3, 0x42, 1, 9, 0, 2, 0x44, 1],
            &[0, 0, 0, 1, 0x42, 1, 9, 0, 0, 0, 1, 0x44, 1],
        );
        check(&[0x62, 1, 0x94, 5, 6], &[0, 0, 0, 1, 0x28, 1, 5, 6]);
        check(&[0x62, 1, 0x54, 7], &[7]);
    }

    #[test]
    fn what_is_cut_off_or_of_another_structure_is_none() {
        for payload in [
            &[][..],
            &[0x02],
            &[0x62, 1],
            &[0x64, 1, 7],
            &[0x60, 1, 0, 4, 0x42, 1, 9],
            &[0x60, 1, 0, 1, 0x42],
        ] {
            assert_eq!(unpacked(payload), None, "{payload:?}");
        }
    }

    #[test]
    fn a_key_frame_has_an_irap_slice() {
        assert!(is_key(&[0, 0, 0, 1, 0x42, 1, 0, 0, 1, 0x28, 1]));
        let (vps, sps, pps) = ([0, 0, 1, 0x40, 1], [0, 0, 1, 0x42, 1], [0, 0, 1, 0x44, 1]);
        assert!(has_parameters(&[vps, sps, pps].concat()));
        for two in [[vps, sps], [vps, pps], [sps, pps]] {
            assert!(!has_parameters(&two.concat()));
        }
        assert!(!is_key(&[0, 0, 1, 0x02, 1, 9]));
    }
}
