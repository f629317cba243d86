//! What a packet is, read from the packet that leaves: RTP encrypts neither the header nor its
//! extensions (RFC 3711), so the transport-wide number that was stamped on it stands there to be
//! read, whoever made the packet, and at the moment when it really leaves.

use crate::sdp::offer::Offer;
use nearlight_stream::congestion::Kind;

/// UDP and IPv4 headers, which the path carries too.
const DATAGRAM_HEADER_BYTES: usize = 28;

/// A packet's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    pub(crate) kind: Kind,
    /// Its transport-wide number.
    pub(crate) sequence: Option<u16>,
    /// On the wire.
    pub(crate) bytes: u32,
}

/// Payload types and extension ids of one attachment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Streams {
    audio: Option<u8>,
    /// Redundant sound.
    red: Option<u8>,
    rtx: Option<u8>,
    flexfec: Option<u8>,
    audio_number_id: Option<u8>,
    video_number_id: Option<u8>,
}

impl Streams {
    pub(crate) fn new(offer: &Offer) -> Self {
        Self {
            audio: offer.audio.as_ref().map(|audio| audio.payload_type),
            red: offer.audio.as_ref().and_then(|audio| audio.red),
            rtx: offer.video.as_ref().and_then(|video| video.rtx),
            flexfec: offer.video.as_ref().and_then(|video| video.flexfec),
            audio_number_id: offer.audio.as_ref().and_then(|audio| audio.transport_cc),
            video_number_id: offer.video.as_ref().and_then(|video| video.transport_cc),
        }
    }

    /// Whether feedback will speak of the picture's packets.
    pub(crate) fn has_feedback(&self) -> bool {
        self.video_number_id.is_some()
    }

    /// Reads a packet of ours.
    pub(crate) fn read(&self, packet: &[u8]) -> Tag {
        let bytes = u32::try_from(packet.len() + DATAGRAM_HEADER_BYTES).unwrap_or(u32::MAX);
        let control = Tag {
            kind: Kind::Control,
            sequence: None,
            bytes,
        };
        // RTP and RTCP begin with version 2 (RFC 7983), RTCP has types 192 to 223 (RFC 5761).
        let (Some(first), Some(second)) = (packet.first(), packet.get(1)) else {
            return control;
        };
        if first >> 6 != 2 || (192..=223).contains(second) {
            return control;
        }
        let payload_type = Some(second & 0x7f);
        let (kind, id) = if payload_type == self.audio || payload_type == self.red {
            (Kind::Audio, self.audio_number_id)
        } else if payload_type == self.rtx {
            (Kind::Retransmit, self.video_number_id)
        } else if payload_type == self.flexfec {
            (Kind::Repair, self.video_number_id)
        } else {
            (Kind::Video, self.video_number_id)
        };
        Tag {
            kind,
            sequence: id.and_then(|id| extension(packet, id)),
            bytes,
        }
    }
}

/// The two bytes of the header extension `id`, in the one-byte form (RFC 8285).
fn extension(packet: &[u8], id: u8) -> Option<u16> {
    let first = *packet.first()?;
    if first & 0x10 == 0 {
        return None;
    }
    let sources = usize::from(first & 0x0f);
    let head = packet.get(12 + 4 * sources..)?;
    let profile = head.get(..4)?;
    if profile[..2] != [0xbe, 0xde] {
        return None;
    }
    let words = usize::from(u16::from_be_bytes([profile[2], profile[3]]));
    let mut rest = head.get(4..4 + 4 * words)?;
    while let Some((element, after)) = rest.split_first() {
        if *element == 0 {
            rest = after;
            continue;
        }
        let len = usize::from(element & 0x0f) + 1;
        let value = after.get(..len)?;
        if element >> 4 == id {
            return Some(u16::from_be_bytes(value.try_into().ok()?));
        }
        rest = &after[len..];
    }
    None
}

#[cfg(test)]
mod test {
    use super::*;
    use proptest::prelude::*;

    const STREAMS: Streams = Streams {
        audio: Some(111),
        red: Some(63),
        rtx: Some(97),
        flexfec: Some(49),
        audio_number_id: Some(3),
        video_number_id: Some(5),
    };

    fn packet(payload_type: u8, extensions: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x90, payload_type];
        packet.extend([0; 10]);
        packet.extend([0xbe, 0xde, 0, u8::try_from(extensions.len() / 4).unwrap()]);
        packet.extend(extensions);
        packet.extend([7; 20]);
        packet
    }

    fn check(packet: &[u8], kind: Kind, sequence: Option<u16>) {
        let tag = STREAMS.read(packet);
        assert_eq!((tag.kind, tag.sequence), (kind, sequence));
        assert_eq!(tag.bytes as usize, packet.len() + 28);
    }

    #[test]
    fn number_and_kind_are_read_from_the_packet() {
        let number = [0x51, 0x12, 0x34, 0];
        check(&packet(96, &number), Kind::Video, Some(0x1234));
        check(&packet(96 | 0x80, &number), Kind::Video, Some(0x1234));
        check(&packet(97, &number), Kind::Retransmit, Some(0x1234));
        // After another one, and after padding.
        let second = [0x62, 1, 2, 3, 0, 0x51, 0xff, 0xfe];
        check(&packet(96, &second), Kind::Video, Some(0xfffe));
        check(&packet(49, &[]), Kind::Repair, None);
        check(&packet(63, &[]), Kind::Audio, None);
        check(&packet(111, &number), Kind::Audio, None);
        check(&packet(111, &[0x31, 0, 9, 0]), Kind::Audio, Some(9));
    }

    #[test]
    fn everything_else_is_control() {
        check(&[0x80, 200, 0, 1], Kind::Control, None);
        check(&[0x81, 205, 0, 1], Kind::Control, None);
        check(&[22, 254, 253], Kind::Control, None);
        check(&[], Kind::Control, None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            STREAMS.read(&bytes);
        }
    }
}
