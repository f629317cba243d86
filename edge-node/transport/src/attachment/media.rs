//! Pictures and Opus packets to RTP packets of one viewer.
//!
//! Timestamps are the node's clock at 90 kHz and 48 kHz, so a viewer can tell a frame's capture time
//! from its RTP timestamp and one mark.

use crate::attachment::fec::Protection;
use crate::attachment::red::Redundancy;
use crate::clock::rtp_timestamp;
use crate::picture::Picture;
use crate::sdp::offer::{Audio, Video};
use bytes::Bytes;
use nearlight_protocol::worker::VideoCodec;
use rtc::rtp;

/// Minimum and maximum playout delay of zero: show every frame as soon as it is decoded.
pub(crate) const PLAYOUT_DELAY_ZERO: Bytes = Bytes::from_static(&[0, 0, 0]);

/// Keeps the place of the transport-wide number, which is stamped on later.
const NUMBER_ZERO: Bytes = Bytes::from_static(&[0, 0]);

/// The picture's stream.
#[derive(Debug)]
pub(crate) struct VideoStream {
    codec: VideoCodec,
    head: Head,
    playout_delay: Option<u8>,
    transport_cc: Option<u8>,
    protection: Option<Protection>,
    /// The packets being made; empty between two calls.
    made: Vec<rtp::Packet>,
    repair: Vec<rtp::Packet>,
}

/// The sound's stream.
#[derive(Debug)]
pub(crate) struct AudioStream {
    head: Head,
    redundancy: Option<Redundancy>,
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
    /// `repair_ssrc` is for its repair packets, if the viewer takes them.
    pub(crate) fn new(video: &Video, ssrc: u32, repair_ssrc: u32) -> Self {
        let protection = |payload_type| Protection::new(payload_type, repair_ssrc);
        Self {
            codec: video.codec,
            head: Head::new(video.payload_type, ssrc),
            playout_delay: video.playout_delay,
            transport_cc: video.transport_cc,
            protection: video.flexfec.map(protection),
            made: Vec::new(),
            repair: Vec::new(),
        }
    }

    pub(crate) fn codec(&self) -> VideoCodec {
        self.codec
    }

    /// Repair packets from now on, percent of the picture's.
    pub(crate) fn protect(&mut self, percent: u8) {
        if let Some(protection) = &mut self.protection {
            protection.set_percent(percent);
        }
    }

    /// Whether repair packets follow now.
    pub(crate) fn protects(&self) -> bool {
        self.protection.as_ref().is_some_and(Protection::is_on)
    }

    /// The packets of a picture, and the repair packets that are due behind it. A picture that is
    /// none makes none.
    pub(crate) fn packets(&mut self, picture: &Picture) -> impl Iterator<Item = rtp::Packet> {
        let last = picture.payloads.len().saturating_sub(1);
        for (i, payload) in picture.payloads.iter().enumerate() {
            let timestamp = picture.frame.rtp_timestamp;
            let mut packet = self.head.packet(timestamp, i == last, payload.clone());
            let extensions = [
                (self.playout_delay, PLAYOUT_DELAY_ZERO),
                (self.transport_cc, NUMBER_ZERO),
            ];
            for (id, value) in extensions {
                if let Some(id) = id {
                    // Two or three bytes under an id of 1 to 14 always fit.
                    let _ = packet.header.set_extension(id, value);
                }
            }
            self.made.push(packet);
        }
        if let Some(protection) = &mut self.protection {
            protection.protect(&self.made, &mut self.repair);
        }
        self.made.drain(..).chain(self.repair.drain(..))
    }
}

impl AudioStream {
    pub(crate) fn new(audio: &Audio, ssrc: u32) -> Self {
        Self {
            head: Head::new(audio.payload_type, ssrc),
            redundancy: audio
                .red
                .map(|red| Redundancy::new(red, audio.payload_type)),
        }
    }

    /// Carries the last `depth` packets along from now on.
    pub(crate) fn carry(&mut self, depth: u8) {
        if let Some(redundancy) = &mut self.redundancy {
            redundancy.set_depth(depth);
        }
    }

    pub(crate) fn packet(&mut self, opus: Bytes, pts_us: u64) -> rtp::Packet {
        let timestamp = rtp_timestamp(pts_us, 48_000);
        let redundancy = self.redundancy.as_mut();
        let wrapped = redundancy.and_then(|redundancy| redundancy.wrap(timestamp, &opus));
        let (payload_type, payload) = wrapped.unwrap_or((self.head.payload_type, opus));
        // Continuous transmission has no talk spurts to mark (RFC 7587 section 4.2).
        let mut packet = self.head.packet(timestamp, false, payload);
        packet.header.payload_type = payload_type;
        packet
    }
}

#[cfg(test)]
#[path = "media/test.rs"]
mod test;
