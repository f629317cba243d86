//! Pictures and Opus packets to RTP packets of one viewer.
//!
//! Timestamps are the node's clock at 90 kHz and 48 kHz, so a viewer can tell a frame's capture time
//! from its RTP timestamp and one mark.

use crate::clock::rtp_timestamp;
use crate::picture::Picture;
use crate::sdp::offer::{Audio, Video};
use bytes::Bytes;
use nearlight_protocol::worker::VideoCodec;
use rtc::rtp;

/// Minimum and maximum playout delay of zero: show every frame as soon as it is decoded.
const PLAYOUT_DELAY_ZERO: Bytes = Bytes::from_static(&[0, 0, 0]);

/// The picture's stream.
#[derive(Debug)]
pub(crate) struct VideoStream {
    codec: VideoCodec,
    head: Head,
    playout_delay: Option<u8>,
}

/// The sound's stream.
#[derive(Debug)]
pub(crate) struct AudioStream {
    head: Head,
}

#[derive(Debug)]
struct Head {
    payload_type: u8,
    ssrc: u32,
    sequence: u16,
}

impl Head {
    fn new(payload_type: u8, ssrc: u32) -> Self {
        Self {
            payload_type,
            ssrc,
            sequence: rand::random(),
        }
    }

    fn packet(&mut self, timestamp: u32, marker: bool, payload: Bytes) -> rtp::Packet {
        self.sequence = self.sequence.wrapping_add(1);
        rtp::Packet {
            header: rtp::header::Header {
                version: 2,
                marker,
                payload_type: self.payload_type,
                sequence_number: self.sequence,
                timestamp,
                ssrc: self.ssrc,
                ..rtp::header::Header::default()
            },
            payload,
        }
    }
}

impl VideoStream {
    pub(crate) fn new(video: &Video, ssrc: u32) -> Self {
        Self {
            codec: video.codec,
            head: Head::new(video.payload_type, ssrc),
            playout_delay: video.playout_delay,
        }
    }

    pub(crate) fn codec(&self) -> VideoCodec {
        self.codec
    }

    /// The packets of a picture. One that is none makes none.
    pub(crate) fn packets(&mut self, picture: &Picture) -> impl Iterator<Item = rtp::Packet> {
        let last = picture.payloads.len().saturating_sub(1);
        picture
            .payloads
            .iter()
            .enumerate()
            .map(move |(i, payload)| {
                let timestamp = picture.frame.rtp_timestamp;
                let mut packet = self.head.packet(timestamp, i == last, payload.clone());
                if let Some(id) = self.playout_delay {
                    // Three bytes under an id of 1 to 14 always fit.
                    let _ = packet.header.set_extension(id, PLAYOUT_DELAY_ZERO);
                }
                packet
            })
    }
}

impl AudioStream {
    pub(crate) fn new(audio: &Audio, ssrc: u32) -> Self {
        Self {
            head: Head::new(audio.payload_type, ssrc),
        }
    }

    pub(crate) fn packet(&mut self, opus: Bytes, pts_us: u64) -> rtp::Packet {
        let timestamp = rtp_timestamp(pts_us, 48_000);
        // Continuous transmission has no talk spurts to mark (RFC 7587 section 4.2).
        self.head.packet(timestamp, false, opus)
    }
}
