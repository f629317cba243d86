//! What H.264 and HEVC share: the byte stream with start codes (their Annex B), and fragments of NAL
//! units that are longer than a packet.

use bytes::{BufMut, Bytes, BytesMut};

const FU_START: u8 = 0x80;
const FU_END: u8 = 0x40;
const START_CODE: [u8; 3] = [0, 0, 1];
/// Bytes looked at together for a zero.
const STRIDE: usize = 32;

/// The NAL units of an access unit, in its own memory. Encoders mix start codes of three and of four
/// bytes within one unit.
pub(super) fn nal_units(unit: &Bytes) -> impl Iterator<Item = Bytes> + '_ {
    let mut at = after_start_code(unit, 0);
    std::iter::from_fn(move || {
        let start = at?;
        at = after_start_code(unit, start);
        let end = at.map_or(unit.len(), |next| next - START_CODE.len());
        // A NAL unit never ends in a zero: those belong to the next start code.
        let zeros = unit[start..end].iter().rev().take_while(|b| **b == 0);
        Some(unit.slice(start..end - zeros.count()))
    })
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

/// Appends fragments of a NAL unit, all in one buffer. `body`: what follows its header. `head`: the
/// payload header and the FU header, whose flags for the first and the last fragment are set here.
pub(super) fn fragment<const HEAD: usize>(
    body: &[u8],
    head: [u8; HEAD],
    bytes_max: usize,
    payloads: &mut Vec<Bytes>,
) {
    let share = bytes_max - HEAD;
    let count = body.len().div_ceil(share);
    let mut buffer = BytesMut::with_capacity(body.len() + count * HEAD);
    for (i, part) in body.chunks(share).enumerate() {
        let start = if i == 0 { FU_START } else { 0 };
        let end = if i + 1 == count { FU_END } else { 0 };
        buffer.put_slice(&head[..HEAD - 1]);
        buffer.put_u8(start | end | head[HEAD - 1]);
        buffer.put_slice(part);
    }
    super::share_out(buffer.freeze(), bytes_max, payloads);
}

#[cfg(test)]
mod test {
    use super::*;

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
}
