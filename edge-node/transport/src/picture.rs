//! An access unit, cut into RTP payloads once for everybody who sees it.
//!
//! Owns the way in which a session's codec is cut. The payloads are shared, not copied: what differs
//! between viewers is the RTP header, which each attachment makes for itself. While one of them has repair
//! packets, all get payloads that are as much smaller as those packets are larger than what they protect.

use crate::attachment::outbox::Frame;
use crate::clock::rtp_timestamp;
use crate::limits::{PACKET_BYTES, PACKET_OVERHEAD_BYTES, PROTECTED_OVERHEAD_BYTES};
use bytes::Bytes;
use nearlight_protocol::worker::{Video, VideoCodec};
use rtc::rtp::codec::av1::Av1Payloader;
use rtc::rtp::codec::vp8::Vp8Payloader;
use rtc::rtp::packetizer::Payloader;
use std::panic::{AssertUnwindSafe, catch_unwind};

mod annexb;
mod h264;
mod h265;
mod vp9;

pub(crate) const PAYLOAD_BYTES: usize = PACKET_BYTES - PACKET_OVERHEAD_BYTES;
/// Payload of a packet that repair packets protect.
pub(crate) const PROTECTED_PAYLOAD_BYTES: usize = PACKET_BYTES - PROTECTED_OVERHEAD_BYTES;

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
    way: Way,
}

/// How a codec is cut: ours where a picture's packets share one buffer, else `rtc`'s. (Its HEVC looks
/// for start codes of one length in a unit, and encoders mix two.)
#[derive(Debug)]
enum Way {
    H264,
    H265,
    Vp9(vp9::Numbers),
    Rtc(Box<dyn Payloader>),
}

impl Cutter {
    pub(crate) fn new(codec: VideoCodec) -> Self {
        let way = match codec {
            VideoCodec::H264 => Way::H264,
            VideoCodec::VP8 => {
                let mut payloader = Vp8Payloader::default();
                payloader.enable_picture_id = true;
                Way::Rtc(Box::new(payloader))
            }
            VideoCodec::VP9 => Way::Vp9(vp9::Numbers::new()),
            VideoCodec::H265 => Way::H265,
            VideoCodec::AV1 => Way::Rtc(Box::new(Av1Payloader::default())),
        };
        Self { codec, way }
    }

    pub(crate) fn codec(&self) -> VideoCodec {
        self.codec
    }

    /// Cuts an access unit of this cutter's codec, into payloads of at most so many bytes.
    pub(crate) fn cut(&mut self, video: Video, bytes_max: usize) -> Picture {
        let unit = Bytes::from(video.data);
        let mut payloads = Vec::with_capacity(unit.len() / bytes_max + 4);
        match &mut self.way {
            Way::H264 => h264::cut(&unit, bytes_max, &mut payloads),
            Way::H265 => h265::cut(&unit, bytes_max, &mut payloads),
            Way::Vp9(numbers) => numbers.cut(&unit, video.key, bytes_max, &mut payloads),
            Way::Rtc(payloader) => {
                let cut = || payloader.payload(bytes_max, &unit);
                // `rtc` trusts the lengths within a unit, and a worker may be in a hostile app's
                // hands.
                match catch_unwind(AssertUnwindSafe(cut)) {
                    Ok(cut) => payloads = cut.unwrap_or_default(),
                    Err(_) => *self = Self::new(self.codec),
                }
            }
        }
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
            payloads,
        }
    }
}

/// Shares a buffer out into payloads of `bytes_max`, and a last one.
fn share_out(mut buffer: Bytes, bytes_max: usize, payloads: &mut Vec<Bytes>) {
    while !buffer.is_empty() {
        payloads.push(buffer.split_to(buffer.len().min(bytes_max)));
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn payloads(cutter: &mut Cutter, unit: &[u8]) -> usize {
        let video = Video {
            codec: cutter.codec(),
            key: true,
            frame: 1,
            commit_us: 1,
            captured_us: 2,
            encoded_us: 3,
            input_us: 0,
            input_host_us: 0,
            data: unit.to_vec(),
        };
        cutter.cut(video, PAYLOAD_BYTES).payloads.len()
    }

    #[test]
    fn a_unit_that_lies_about_its_lengths_is_cut_into_nothing() {
        let mut cutter = Cutter::new(VideoCodec::AV1);
        // A temporal delimiter, then a frame that claims 1,500 bytes and has two.
        assert_eq!(payloads(&mut cutter, &[0x12, 0, 0x32, 0xdc, 0x0b, 1, 2]), 0);
        assert!(payloads(&mut cutter, &[0x12, 0, 0x32, 2, 1, 2]) > 0);
    }
}
