//! An access unit, cut into RTP payloads once for everybody who sees it.
//!
//! Owns the payloader of a session. The payloads are shared, not copied: what differs between
//! viewers is the RTP header, which each attachment makes for itself.

use crate::attachment::outbox::Frame;
use crate::clock::rtp_timestamp;
use crate::limits::{PACKET_BYTES, PACKET_OVERHEAD_BYTES};
use bytes::Bytes;
use nearlight_protocol::worker::{Video, VideoCodec};
use rtc::rtp::codec::av1::Av1Payloader;
use rtc::rtp::codec::h264::H264Payloader;
use rtc::rtp::codec::h265::HevcPayloader;
use rtc::rtp::codec::vp8::Vp8Payloader;
use rtc::rtp::codec::vp9::Vp9Payloader;
use rtc::rtp::packetizer::Payloader;

const PAYLOAD_BYTES: usize = PACKET_BYTES - PACKET_OVERHEAD_BYTES;

/// An access unit, ready to be put into packets.
#[derive(Clone, Debug)]
pub(crate) struct Picture {
    pub(crate) codec: VideoCodec,
    /// Whether decoding can start here.
    pub(crate) key: bool,
    pub(crate) frame: Frame,
    /// Empty if the access unit is none.
    pub(crate) payloads: Vec<Bytes>,
}

/// Cuts the access units of one encoder.
#[derive(Debug)]
pub(crate) struct Cutter {
    codec: VideoCodec,
    payloader: Box<dyn Payloader>,
}

impl Cutter {
    pub(crate) fn new(codec: VideoCodec) -> Self {
        let payloader: Box<dyn Payloader> = match codec {
            VideoCodec::H264 => Box::new(H264Payloader::default()),
            VideoCodec::VP8 => {
                let mut payloader = Vp8Payloader::default();
                payloader.enable_picture_id = true;
                Box::new(payloader)
            }
            VideoCodec::VP9 => Box::new(Vp9Payloader::default()),
            VideoCodec::H265 => Box::new(HevcPayloader),
            VideoCodec::AV1 => Box::new(Av1Payloader::default()),
        };
        Self { codec, payloader }
    }

    pub(crate) fn codec(&self) -> VideoCodec {
        self.codec
    }

    /// Cuts an access unit of this cutter's codec.
    pub(crate) fn cut(&mut self, video: Video) -> Picture {
        let unit = Bytes::from(video.data);
        let payloads = self.payloader.payload(PAYLOAD_BYTES, &unit);
        Picture {
            codec: video.codec,
            key: video.key,
            frame: Frame {
                rtp_timestamp: rtp_timestamp(video.commit_us, 90_000),
                number: video.frame,
                commit_us: video.commit_us,
                captured_us: video.captured_us,
                encoded_us: video.encoded_us,
                input_us: video.input_us,
                input_host_us: video.input_host_us,
            },
            payloads: payloads.unwrap_or_default(),
        }
    }
}
