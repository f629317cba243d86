//! AV1 from RTP payloads (AV1 RTP payload format, section 4) to OBUs with their sizes, as a decoder takes
//! them. Pure, and our own: `rtc`'s trusts the headers within a payload.

use bytes::{BufMut, Bytes, BytesMut};

/// Aggregation header: the first element goes on with one of the packet before, the last one goes on in
/// the next packet, and how many elements there are, if that is said.
const CONTINUES: u8 = 0x80;
const GOES_ON: u8 = 0x40;
const COUNT_SHIFT: u8 = 4;
/// OBU header: it has an extension byte, it has a size.
const EXTENSION: u8 = 0x04;
const SIZED: u8 = 0x02;
/// Types that do not travel: a temporal delimiter and a tile list.
const DELIMITER: u8 = 2;
const TILE_LIST: u8 = 8;

/// An OBU that goes on in the next packet.
#[derive(Debug, Default)]
pub(super) struct Elements(Option<BytesMut>);

impl Elements {
    /// Bytes of it that are here.
    pub(super) fn open_len(&self) -> usize {
        self.0.as_ref().map_or(0, BytesMut::len)
    }

    /// What a payload completes; `None` if it is none.
    pub(super) fn unpacked(&mut self, payload: &[u8]) -> Option<Bytes> {
        let (head, mut rest) = payload.split_first()?;
        let count = usize::from((head >> COUNT_SHIFT) & 3);
        let mut open = self.0.take().filter(|_| head & CONTINUES != 0);
        let mut out = BytesMut::with_capacity(payload.len() + 8);
        let mut number = 0_usize;
        while !rest.is_empty() {
            number += 1;
            let element = match number == count {
                true => std::mem::take(&mut rest),
                false => sized(&mut rest)?,
            };
            let continues = number == 1 && head & CONTINUES != 0;
            let obu = match (continues, open.take()) {
                (false, _) => BytesMut::from(element),
                (true, Some(mut begun)) => {
                    begun.put_slice(element);
                    begun
                }
                // Its beginning is lost.
                (true, None) => continue,
            };
            if rest.is_empty() && head & GOES_ON != 0 {
                self.0 = Some(obu);
            } else {
                put(&obu, &mut out);
            }
        }
        Some(out.freeze())
    }
}

/// The next element, with its size before it.
fn sized<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let mut len = 0_usize;
    for shift in (0..35).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        len |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            let (element, after) = rest.split_at_checked(len)?;
            *rest = after;
            return Some(element);
        }
    }
    None
}

/// An OBU as a decoder wants it. What is none, or does not travel, is left out.
fn put(obu: &[u8], out: &mut BytesMut) {
    let Some(first) = obu.first() else {
        return;
    };
    let head = if first & EXTENSION != 0 { 2 } else { 1 };
    if obu.len() < head || matches!((first >> 3) & 0x0f, DELIMITER | TILE_LIST) {
        return;
    }
    if first & SIZED != 0 {
        return out.put_slice(obu);
    }
    let (header, body) = obu.split_at(head);
    out.put_u8(first | SIZED);
    out.put_slice(&header[1..]);
    let mut len = body.len();
    while len > 0x7f {
        out.put_u8((len & 0x7f) as u8 | 0x80);
        len >>= 7;
    }
    out.put_u8(len as u8);
    out.put_slice(body);
}

#[cfg(test)]
mod test {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn elements_get_their_sizes_and_fragments_are_joined() {
        let mut elements = Elements::default();
        let mut check = |payload: &[u8], expected: &[u8]| {
            assert_eq!(elements.unpacked(payload).unwrap()[..], *expected);
        };
        // A sequence header with its size, then a frame that takes the rest and goes on.
        check(&[0x68, 2, 0x08, 7, 0x30, 1, 2], &[0x0a, 1, 7]);
        check(&[0x90, 3], &[0x32, 3, 1, 2, 3]);
        // No count: every element has its size. Delimiters do not travel.
        check(&[0x00, 1, 0x10, 2, 0x30, 9], &[0x32, 1, 9]);
        // With an extension, and one that has a size of its own.
        check(&[0x10, 0x34, 0x20, 5], &[0x36, 0x20, 1, 5]);
        check(&[0x10, 0x32, 1, 5], &[0x32, 1, 5]);
        // What goes on with something that never came.
        check(&[0xa0, 1, 9, 0x30, 4], &[0x32, 1, 4]);
    }

    #[test]
    fn what_says_more_than_there_is_is_none() {
        for payload in [
            &[][..],
            &[0x00, 9, 1],
            &[0x00, 0x80],
            &[0x00, 0xff, 0xff, 0xff, 0xff, 0xff],
        ] {
            assert_eq!(Elements::default().unpacked(payload), None, "{payload:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 1..5),
        ) {
            let mut elements = Elements::default();
            for payload in payloads {
                let out = elements.unpacked(&payload).unwrap_or_default();
                prop_assert!(out.len() <= 100 + 6 * 20);
            }
        }
    }
}
