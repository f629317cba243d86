//! Redundant sound: each packet carries the last ones along (RFC 2198, `red/48000/2`).
//!
//! ```text
//! payload: for each earlier packet [1, type 7 | timestamp offset 14 | length 10], then [0, type 7],
//!          then the packets themselves, oldest first, the new one last
//! ```
//!
//! An Opus packet of 10 ms is some 120 bytes, so carrying one or two along costs less than a lost
//! one is worth, and needs no round trip.

use bytes::{BufMut, Bytes, BytesMut};
use std::collections::VecDeque;

/// Earlier packets that one carries at most.
pub(crate) const DEPTH_MAX: usize = 2;
/// Bounds of what the header can say (14 and 10 bits).
const OFFSET_MAX: u32 = (1 << 14) - 1;
const LENGTH_MAX: usize = (1 << 10) - 1;

/// The redundancy of one sound's stream.
#[derive(Debug)]
pub(crate) struct Redundancy {
    payload_type: u8,
    /// Of the packets that are carried.
    opus: u8,
    depth: usize,
    /// The last packets, newest last.
    last: VecDeque<(u32, Bytes)>,
}

impl Redundancy {
    pub(crate) fn new(payload_type: u8, opus: u8) -> Self {
        Self {
            payload_type,
            opus,
            depth: 0,
            last: VecDeque::with_capacity(DEPTH_MAX + 1),
        }
    }

    /// Carries the last `depth` packets from now on.
    pub(crate) fn set_depth(&mut self, depth: u8) {
        self.depth = usize::from(depth).min(DEPTH_MAX);
    }

    /// The payload type and payload that carry `opus`; `None` if nothing is carried along.
    pub(crate) fn wrap(&mut self, timestamp: u32, opus: &Bytes) -> Option<(u8, Bytes)> {
        let wrapped = self.wrapped(timestamp, opus);
        self.last.push_back((timestamp, opus.clone()));
        if self.last.len() > DEPTH_MAX {
            self.last.pop_front();
        }
        wrapped.map(|payload| (self.payload_type, payload))
    }

    fn wrapped(&self, timestamp: u32, opus: &Bytes) -> Option<Bytes> {
        let skipped = self.last.len().saturating_sub(self.depth);
        let fits = |(at, earlier): &&(u32, Bytes)| {
            let offset = timestamp.wrapping_sub(*at);
            (1..=OFFSET_MAX).contains(&offset) && earlier.len() <= LENGTH_MAX
        };
        let carried = self.last.iter().skip(skipped).filter(fits);
        let bytes: usize = carried.clone().map(|(_, earlier)| 4 + earlier.len()).sum();
        if self.depth == 0 || bytes == 0 {
            return None;
        }
        let mut out = BytesMut::with_capacity(bytes + 1 + opus.len());
        for (at, earlier) in carried.clone() {
            let offset = timestamp.wrapping_sub(*at);
            // 10 bits by the filter above.
            let length = u32::try_from(earlier.len()).unwrap_or(0);
            out.put_u32(1 << 31 | u32::from(self.opus) << 24 | offset << 10 | length);
        }
        out.put_u8(self.opus);
        carried.for_each(|(_, earlier)| out.put_slice(earlier));
        out.put_slice(opus);
        Some(out.freeze())
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn opus(bytes: &'static [u8]) -> Bytes {
        Bytes::from_static(bytes)
    }

    #[test]
    fn the_last_packets_are_carried_oldest_first() {
        let mut red = Redundancy::new(63, 111);
        assert_eq!(red.wrap(0, &opus(&[1])), None);
        red.set_depth(2);
        let (payload_type, payload) = red.wrap(480, &opus(&[2, 2])).unwrap();
        assert_eq!(payload_type, 63);
        // Type 111 with the bit for more; offset 480, length 1.
        assert_eq!(payload[..], [0xef, 0x07, 0x80, 0x01, 111, 1, 2, 2]);
        let (_, payload) = red.wrap(960, &opus(&[3])).unwrap();
        let heads = [0xef, 0x0f, 0x00, 0x01, 0xef, 0x07, 0x80, 0x02, 111];
        assert_eq!(payload[..9], heads);
        assert_eq!(payload[9..], [1, 2, 2, 3]);
        red.set_depth(1);
        let (_, payload) = red.wrap(1440, &opus(&[4])).unwrap();
        assert_eq!(payload[..], [0xef, 0x07, 0x80, 0x01, 111, 3, 4]);
        red.set_depth(0);
        assert_eq!(red.wrap(1920, &opus(&[5])), None);
    }

    #[test]
    fn what_the_header_cannot_say_is_left_out() {
        let mut red = Redundancy::new(63, 111);
        red.set_depth(2);
        red.wrap(0, &Bytes::from(vec![0; 1024]));
        assert_eq!(red.wrap(480, &opus(&[1])), None);
        // After a gap of 400 ms nothing earlier is of use.
        assert_eq!(red.wrap(480 + 19_200, &opus(&[2])), None);
        assert!(red.wrap(480 + 19_680, &opus(&[3])).is_some());
    }
}
