//! H.264 from RTP payloads (RFC 6184, packetization-mode 1) to Annex B. Pure, and our own: `rtc`'s trusts
//! the lengths within a payload.

use super::annex_b;
use bytes::{BufMut, Bytes};

const TYPE_MASK: u8 = 0x1f;
/// The types of NAL units that travel alone, and the payload structures that are sent.
const SINGLE: std::ops::RangeInclusive<u8> = 1..=23;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;
/// Flag of a fragment that begins a NAL unit.
const FRAGMENT_BEGINS: u8 = 0x80;
/// A slice of an IDR picture, and a sequence parameter set (H.264 table 7-1).
const IDR: u8 = 5;
const SPS: u8 = 7;

/// What a payload adds to its access unit; `None` if it is none.
pub(super) fn unpacked(payload: &[u8]) -> Option<Bytes> {
    let (first, body) = payload.split_first()?;
    let mut out = annex_b::room(payload);
    match first & TYPE_MASK {
        kind if SINGLE.contains(&kind) => annex_b::put(payload, &mut out),
        STAP_A => annex_b::put_aggregated(body, 1, &mut out)?,
        FU_A => {
            let (head, part) = body.split_first()?;
            if head & FRAGMENT_BEGINS != 0 {
                out.put_slice(&annex_b::START_CODE);
                out.put_u8(first & !TYPE_MASK | head & TYPE_MASK);
            }
            out.put_slice(part);
        }
        _ => return None,
    }
    Some(out.freeze())
}

/// Whether a payload goes on with a NAL unit of the one before it.
pub(super) fn continues(payload: &[u8]) -> bool {
    matches!(payload, [first, head, ..] if first & TYPE_MASK == FU_A && head & FRAGMENT_BEGINS == 0)
}

/// Whether decoding can begin at this access unit, if its parameters are known.
pub(super) fn is_key(unit: &[u8]) -> bool {
    has(unit, IDR)
}

/// Whether it has its parameters with it.
pub(super) fn has_parameters(unit: &[u8]) -> bool {
    has(unit, SPS)
}

fn has(unit: &[u8], kind: u8) -> bool {
    annex_b::headers(unit).any(|header| header & TYPE_MASK == kind)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn units_come_alone_together_and_in_fragments() {
        let check = |payload: &[u8], expected: &[u8]| {
            assert_eq!(unpacked(payload).unwrap()[..], *expected);
        };
        check(&[0x41, 7], &[0, 0, 0, 1, 0x41, 7]);
        check(
            &[0x78, 0, 2, 0x67, 9, 0, 1, 0x68],
            &[0, 0, 0, 1, 0x67, 9, 0, 0, 0, 1, 0x68],
        );
        check(&[0x7c, 0x85, 5, 6], &[0, 0, 0, 1, 0x65, 5, 6]);
        check(&[0x7c, 0x45, 7], &[7]);
        assert!(continues(&[0x7c, 0x45, 7]) && !continues(&[0x7c, 0x85, 5]));
    }

    #[test]
    fn what_is_cut_off_or_of_another_structure_is_none() {
        for payload in [
            &[][..],
            &[0x7c],
            &[0x58, 0, 0],
            &[0x78, 0, 4, 0x67, 9],
            &[0x79, 0, 1, 0x67],
            &[0x1f, 1],
        ] {
            assert_eq!(unpacked(payload), None, "{payload:?}");
        }
    }
}
