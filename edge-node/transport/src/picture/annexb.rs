//! What H.264 and HEVC share: the byte stream with start codes (their Annex B), and fragments of NAL
//! units that are longer than a packet.

use bytes::{BufMut, Bytes, BytesMut};

const FU_START: u8 = 0x80;
const FU_END: u8 = 0x40;

/// The NAL units of an access unit, in its own memory. Encoders mix start codes of three and of four
/// bytes within one unit.
pub(super) fn nal_units(unit: &Bytes) -> impl Iterator<Item = Bytes> + '_ {
    let mut at = after_start_code(unit, 0);
    std::iter::from_fn(move || {
        let start = at?;
        at = after_start_code(unit, start);
        let end = at.map_or(unit.len(), |next| next - 3);
        // A NAL unit never ends in a zero: those belong to the next start code.
        let zeros = unit[start..end].iter().rev().take_while(|b| **b == 0);
        Some(unit.slice(start..end - zeros.count()))
    })
}

/// Where the first NAL unit at or after `from` starts.
fn after_start_code(unit: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while at + 3 <= unit.len() {
        match unit[at..at + 3] {
            [0, 0, 1] => return Some(at + 3),
            // Most bytes are above one: no start code includes them.
            [_, _, third] if third > 1 => at += 3,
            _ => at += 1,
        }
    }
    None
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
