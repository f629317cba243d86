//! Packets of a picture as the native player takes them, of every codec, in any order: `[codec]`, then pieces of
//! `[number u16][payload]` whose flag is the marker. What comes out can be decoded from where it begins.
#![no_main]

use bytes::Bytes;
use frames::{Assembler, Out};
use libfuzzer_sys::fuzz_target;
use nearlight_fuzz::pieces;
use nearlight_protocol::worker::VideoCodec;
use rtc::rtp::Packet;

#[allow(dead_code, reason = "a module of the player, on its own")]
#[path = "../../player/src/frames.rs"]
mod frames;

const CODECS: [VideoCodec; 5] = [
    VideoCodec::H264,
    VideoCodec::H265,
    VideoCodec::VP8,
    VideoCodec::VP9,
    VideoCodec::AV1,
];

fuzz_target!(|bytes: &[u8]| {
    let Some((codec, rest)) = bytes.split_first() else {
        return;
    };
    let mut assembler = Assembler::new(CODECS[usize::from(*codec) % CODECS.len()]);
    let (mut pushed, mut frames, mut broken) = (0, 0, true);
    let mut payload_bytes = 0;
    for (at_us, (marker, piece)) in (0..).step_by(100_000).zip(pieces(rest)) {
        let Some((number, payload)) = piece.split_first_chunk::<2>() else {
            continue;
        };
        let mut packet = Packet::default();
        packet.header.sequence_number = u16::from_be_bytes(*number);
        packet.header.marker = marker;
        packet.payload = Bytes::copy_from_slice(payload);
        payload_bytes += payload.len();
        assembler.push(packet, at_us);
        pushed += 1;
        while let Some(out) = assembler.pull(at_us) {
            match out {
                Out::Broken => {
                    assert!(!broken, "said once");
                    broken = true;
                }
                Out::Frame(frame) => {
                    assert!(!broken || frame.key, "it begins with a key frame");
                    assert!(frame.at_us <= at_us && !frame.data.is_empty());
                    // A start code of four bytes for each NAL unit of at least two, and the like.
                    assert!(frame.data.len() <= 8 * (payload_bytes + 8));
                    (frames, broken) = (frames + 1, false);
                }
            }
        }
        assert_eq!(assembler.needs_key(), broken);
    }
    let tally = assembler.tally();
    assert_eq!(tally.packets + tally.duplicates, pushed);
    assert_eq!(tally.frames, frames);
    assert!(tally.frames + tally.spoiled <= tally.packets);
});
