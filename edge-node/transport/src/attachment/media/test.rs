//! What a packet costs in allocations, ours alone: `rtc` is not called here.

use super::*;
use crate::counting::allocations;
use crate::picture::{Cutter, PAYLOAD_BYTES};
use nearlight_protocol::worker;
use std::collections::BTreeMap;

const OPUS: u8 = 111;
const RED: u8 = 63;

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

/// What a listener hears of packets: timestamps and sound, told from one another as RFC 2198 says.
fn heard(packet: &rtp::Packet, into: &mut BTreeMap<u32, Vec<u8>>) {
    let (mut rest, at) = (&packet.payload[..], packet.header.timestamp);
    if packet.header.payload_type != RED {
        into.insert(at, rest.to_vec());
        return;
    }
    let mut blocks = Vec::new();
    while rest[0] & 0x80 != 0 {
        let word = u32::from_be_bytes(rest[..4].try_into().unwrap());
        assert_eq!(word >> 24 & 0x7f, u32::from(OPUS));
        blocks.push((
            at.wrapping_sub(word >> 10 & 0x3fff),
            (word & 0x3ff) as usize,
        ));
        rest = &rest[4..];
    }
    assert_eq!(rest[0], OPUS);
    rest = &rest[1..];
    for (at, length) in blocks {
        let (block, others) = rest.split_at(length);
        into.insert(at, block.to_vec());
        rest = others;
    }
    into.insert(at, rest.to_vec());
}

#[test]
fn a_listener_that_takes_red_hears_everything_though_two_packets_of_nine_are_lost() {
    for (red, depth, gaps) in [(Some(RED), 2, 0), (Some(RED), 0, 200), (None, 2, 200)] {
        let mut stream = AudioStream::new(
            &Audio {
                payload_type: OPUS,
                red,
                transport_cc: None,
                feedback: Vec::new(),
            },
            1,
        );
        stream.carry(depth);
        let (mut sent, mut got) = (BTreeMap::new(), BTreeMap::new());
        for n in 0..900_u64 {
            let opus: Vec<u8> = (0..60 + n % 90).map(|i| (n * 7 + i) as u8).collect();
            let packet = stream.packet(Bytes::from(opus.clone()), n * 10_000);
            sent.insert(packet.header.timestamp, opus);
            // The first and the last get through: nothing follows that would carry the last.
            if !matches!(n % 9, 3 | 4) {
                heard(&packet, &mut got);
            }
        }
        got.retain(|at, opus| sent.get(at) == Some(opus));
        assert_eq!(sent.len() - got.len(), gaps, "{red:?} {depth}");
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
