//! Annex B out of the payloads of H.264 and HEVC: NAL units behind start codes. Pure.

use bytes::{BufMut, BytesMut};

pub(super) const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// Room for what a payload adds.
pub(super) fn room(payload: &[u8]) -> BytesMut {
    BytesMut::with_capacity(payload.len() + START_CODE.len())
}

/// Adds a whole NAL unit.
pub(super) fn put(unit: &[u8], out: &mut BytesMut) {
    out.put_slice(&START_CODE);
    out.put_slice(unit);
}

/// Adds the units of an aggregation, each behind its length of two bytes and no shorter than `least`; `None` if
/// they are more than there is.
pub(super) fn put_aggregated(mut rest: &[u8], least: usize, out: &mut BytesMut) -> Option<()> {
    while let Some((len, after)) = rest.split_first_chunk::<2>() {
        let len = usize::from(u16::from_be_bytes(*len));
        let (unit, after) = after.split_at_checked(len).filter(|_| len >= least)?;
        put(unit, out);
        rest = after;
    }
    Some(())
}

/// The first byte of each unit's header.
pub(super) fn headers(units: &[u8]) -> impl Iterator<Item = u8> {
    let starts = units.windows(4).filter(|w| w[..3] == [0, 0, 1]);
    starts.map(|w| w[3])
}
