//! What a packet costs in allocations, ours alone: `rtc` is not called here.

use super::*;
use crate::counting::allocations;
use crate::picture::{Cutter, PAYLOAD_BYTES};
use nearlight_protocol::worker;

fn unit(bytes: usize) -> worker::Video {
    let mut data = vec![0, 0, 0, 1, 0x41];
    data.extend((0..bytes).map(|i| (i % 251) as u8 + 1));
    worker::Video {
        codec: VideoCodec::H264,
        key: false,
        frame: 1,
        commit_us: 1,
        captured_us: 2,
        encoded_us: 3,
        input_us: 0,
        input_host_us: 0,
        data,
    }
}

fn stream(flexfec: Option<u8>) -> VideoStream {
    VideoStream {
        codec: VideoCodec::H264,
        head: Head::new(102, 1),
        playout_delay: Some(5),
        transport_cc: Some(3),
        protection: flexfec.map(|payload_type| Protection::new(payload_type, 2)),
        made: Vec::new(),
        repair: Vec::new(),
    }
}

#[test]
fn cutting_allocates_for_the_frame_and_not_for_its_packets() {
    let mut cutter = Cutter::new(VideoCodec::H264);
    for bytes in [1_000, 17_000, 170_000] {
        let unit = unit(bytes);
        let mut picture = None;
        let count = allocations(|| picture = Some(cutter.cut(unit, PAYLOAD_BYTES)));
        // The list of payloads, the buffer of the fragments, and the two owners that share them out.
        assert!(count <= 6, "{count} for {bytes} bytes");
        let fragments = bytes.div_ceil(PAYLOAD_BYTES - 2);
        assert_eq!(picture.unwrap().payloads.len(), fragments);
    }
}

#[test]
fn a_packet_allocates_the_list_of_its_header_extensions_and_nothing_else() {
    let picture = Cutter::new(VideoCodec::H264).cut(unit(17_000), PAYLOAD_BYTES);
    let mut stream = stream(Some(49));
    let mut play = |percent: u8| {
        stream.protect(percent);
        let mut packets = 0;
        let count = allocations(|| packets = stream.packets(&picture).count());
        (packets, count)
    };
    // The first frames make room for those that follow.
    play(30);
    play(30);
    let (packets, count) = play(0);
    // One each: `rtc`'s header keeps its extensions in a list of its own.
    assert_eq!((packets, count), (15, 15));
    let (packets, count) = play(30);
    let repair = packets - 15;
    assert!((4..=5).contains(&repair));
    // A repair packet's payload is new: one buffer, and nothing for its header.
    assert!(count <= 15 + 2 * repair, "{count} for {repair}");
}
