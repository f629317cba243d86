//! Access units and Opus packets to RTP packets.
//!
//! Timestamps are the node's clock at 90 kHz and 48 kHz, so a viewer can tell a frame's capture time
//! from its RTP timestamp and one mark.

use crate::clock::rtp_timestamp;
use crate::limits::{PACKET_BYTES, PACKET_OVERHEAD_BYTES};
use crate::sdp::offer::Offer;
use bytes::Bytes;
use nearlight_protocol::worker::VideoCodec;
use rtc::rtp;
use rtc::rtp::codec::av1::Av1Payloader;
use rtc::rtp::codec::h264::H264Payloader;
use rtc::rtp::codec::h265::HevcPayloader;
use rtc::rtp::codec::vp8::Vp8Payloader;
use rtc::rtp::codec::vp9::Vp9Payloader;
use rtc::rtp::packetizer::Payloader;

/// Minimum and maximum playout delay of zero: show every frame as soon as it is decoded.
const PLAYOUT_DELAY_ZERO: Bytes = Bytes::from_static(&[0, 0, 0]);
const PAYLOAD_BYTES: usize = PACKET_BYTES - PACKET_OVERHEAD_BYTES;

/// The picture's stream.
#[derive(Debug)]
pub(crate) struct VideoStream {
    codec: VideoCodec,
    payloader: Box<dyn Payloader>,
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
    pub(crate) fn new(offer: &Offer, ssrc: u32) -> Self {
        let video = &offer.video;
        Self {
            codec: video.codec,
            payloader: match video.codec {
                VideoCodec::H264 => Box::new(H264Payloader::default()),
                VideoCodec::VP8 => {
                    let mut payloader = Vp8Payloader::default();
                    payloader.enable_picture_id = true;
                    Box::new(payloader)
                }
                VideoCodec::VP9 => Box::new(Vp9Payloader::default()),
                VideoCodec::H265 => Box::new(HevcPayloader::default()),
                VideoCodec::AV1 => Box::new(Av1Payloader::default()),
            },
            head: Head::new(video.payload_type, ssrc),
            playout_delay: video.playout_delay,
        }
    }

    pub(crate) fn codec(&self) -> VideoCodec {
        self.codec
    }

    /// The packets of an access unit, and their timestamp. An access unit that is none makes none.
    pub(crate) fn packets(&mut self, unit: Vec<u8>, commit_us: u64) -> (Vec<rtp::Packet>, u32) {
        let timestamp = rtp_timestamp(commit_us, 90_000);
        let unit = Bytes::from(unit);
        let payloads = self.payloader.payload(PAYLOAD_BYTES, &unit);
        let payloads = payloads.unwrap_or_default();
        let last = payloads.len().saturating_sub(1);
        let mut packets = Vec::with_capacity(payloads.len());
        for (i, payload) in payloads.into_iter().enumerate() {
            let mut packet = self.head.packet(timestamp, i == last, payload);
            if let Some(id) = self.playout_delay {
                // Three bytes under an id of 1 to 14 always fit.
                let _ = packet.header.set_extension(id, PLAYOUT_DELAY_ZERO);
            }
            packets.push(packet);
        }
        (packets, timestamp)
    }
}

impl AudioStream {
    pub(crate) fn new(offer: &Offer, ssrc: u32) -> Option<Self> {
        let audio = offer.audio.as_ref()?;
        Some(Self {
            head: Head::new(audio.payload_type, ssrc),
        })
    }

    pub(crate) fn packet(&mut self, opus: Vec<u8>, pts_us: u64) -> rtp::Packet {
        let timestamp = rtp_timestamp(pts_us, 48_000);
        // Continuous transmission has no talk spurts to mark (RFC 7587 section 4.2).
        self.head.packet(timestamp, false, Bytes::from(opus))
    }
}
