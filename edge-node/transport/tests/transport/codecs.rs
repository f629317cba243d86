//! Real encoders' units through the whole transport: what a viewer puts together again is what the
//! encoder made, byte for byte, and a decoder shows it. vectors/README.md says how the units were
//! made.

use crate::support::viewer::{Viewer, Wish};
use crate::support::{Node, Worker, unit};
use bytes::Bytes;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use nearlight_protocol::worker::{FromWorker, Video, VideoCodec};
use rtc::rtp::codec::av1::Av1Depacketizer;
use rtc::rtp::codec::h265::{H265Packet, H265Payload};
use rtc::rtp::codec::vp8::Vp8Packet;
use rtc::rtp::codec::vp9::Vp9Packet;
use rtc::rtp::packetizer::Depacketizer;

/// The four units of a codec; the first and the last begin with a key frame.
macro_rules! units {
    ($codec:literal) => {
        [
            include_bytes!(concat!("vectors/", $codec, "-0.unit")),
            include_bytes!(concat!("vectors/", $codec, "-1.unit")),
            include_bytes!(concat!("vectors/", $codec, "-2.unit")),
            include_bytes!(concat!("vectors/", $codec, "-3.unit")),
        ]
    };
}

/// The four units of a codec; the first and the last begin with a key frame.
type Units = [&'static [u8]; 4];

const H265: Units = units!("h265");
const AV1: Units = units!("av1");
const VP9: Units = units!("vp9");
const VP8: Units = units!("vp8");
/// An AV1 temporal delimiter, which does not travel (AV1 RTP payload, section 5).
const DELIMITER: &[u8] = &[0x12, 0];

fn show(worker: &Worker, codec: VideoCodec, units: Units) {
    for (frame, data) in (1..).zip(units) {
        worker.say(&FromWorker::Video(Video {
            codec,
            data: data.to_vec(),
            ..unit(frame, frame == 1 || frame == 4, 0)
        }));
    }
}

/// The payloads of each picture that a viewer of every codec gets of a session that has `codec`, and
/// H.264 as the next best.
fn received(codec: VideoCodec, units: Units) -> Vec<Vec<Bytes>> {
    let node = Node::start();
    let worker = node.add_session_with(1, &[codec, VideoCodec::H264]);
    let mut viewer = Viewer::new(Wish::All);
    let answer = node.answer(1, 1, &viewer.offer, false);
    viewer.connect(&answer);
    node.wait_attached(1);
    assert_eq!(worker.hear_attach().codec, codec);
    show(&worker, codec, units);
    let mut pictures = vec![Vec::new()];
    let mut timestamp = None;
    while pictures.len() <= units.len() {
        let [packet] = viewer.packets(1).try_into().unwrap();
        let same = *timestamp.get_or_insert(packet.header.timestamp) == packet.header.timestamp;
        assert!(same, "a picture's packets have one time");
        assert!(packet.payload.len() <= 1158);
        let open = pictures.len() - 1;
        pictures[open].push(packet.payload);
        if packet.header.marker {
            pictures.push(Vec::new());
            timestamp = None;
        }
    }
    pictures.pop();
    pictures
}

/// What a reader makes of each picture's payloads, one after the other.
fn read(reader: &mut impl Depacketizer, pictures: &[Vec<Bytes>]) -> Vec<Vec<u8>> {
    let mut whole = |payloads: &Vec<Bytes>| {
        let parts = payloads.iter();
        parts.flat_map(|p| reader.depacketize(p).unwrap()).collect()
    };
    pictures.iter().map(&mut whole).collect()
}

/// How many pictures of the recorded size come out of a decoder.
fn shown(decoder: &str, units: &[Vec<u8>]) -> usize {
    gst::init().unwrap();
    let line = format!("appsrc name=in format=time {decoder} ! appsink name=out sync=false");
    let pipeline = gst::parse::launch(&line)
        .expect("GStreamer's decoders (Debian package gstreamer1.0-plugins-bad)")
        .downcast::<gst::Pipeline>()
        .unwrap();
    let source = pipeline.by_name("in").unwrap();
    let source = source.downcast::<gst_app::AppSrc>().unwrap();
    let sink = pipeline.by_name("out").unwrap();
    let sink = sink.downcast::<gst_app::AppSink>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    for (n, unit) in (0..).zip(units) {
        let mut buffer = gst::Buffer::from_slice(unit.clone());
        let pts = gst::ClockTime::from_mseconds(n * 33);
        buffer.get_mut().unwrap().set_pts(pts);
        source.push_buffer(buffer).unwrap();
    }
    source.end_of_stream().unwrap();
    let mut count = 0;
    while let Ok(sample) = sink.pull_sample() {
        let caps = sample.caps().unwrap().structure(0).unwrap();
        let sides = (caps.get("width").unwrap(), caps.get("height").unwrap());
        assert_eq!(sides, (256, 144));
        count += 1;
    }
    pipeline.set_state(gst::State::Null).unwrap();
    count
}

/// NAL units of a byte stream but delimiters, found the slow way.
fn nal_units(stream: &[u8]) -> Vec<Vec<u8>> {
    let starts: Vec<usize> = (0..stream.len())
        .filter(|at| stream[*at..].starts_with(&[0, 0, 1]))
        .collect();
    let ends = starts.iter().skip(1).copied().chain([stream.len()]);
    let nal = |(start, end): (&usize, usize)| {
        let mut nal = stream[start + 3..end].to_vec();
        while nal.last() == Some(&0) {
            nal.pop();
        }
        nal
    };
    let all = starts.iter().zip(ends).map(nal);
    all.filter(|nal| (nal[0] >> 1) & 0x3f != 35).collect()
}

/// NAL units of a picture's HEVC payloads, and how many of them came in fragments.
fn hevc_units(payloads: &[Bytes]) -> (Vec<Vec<u8>>, usize) {
    let (mut units, mut open, mut fragmented) = (Vec::new(), None, 0);
    for payload in payloads {
        let mut packet = H265Packet::default();
        packet.depacketize(payload).unwrap();
        match packet.payload() {
            H265Payload::H265SingleNALUnitPacket(_) => units.push(payload.to_vec()),
            H265Payload::H265FragmentationUnitPacket(part) => {
                let header = part.fu_header();
                if header.s() {
                    assert_eq!(open, None);
                    let first = payload[0] & 0x81 | header.fu_type() << 1;
                    open = Some(vec![first, payload[1]]);
                }
                let unit = open.as_mut().expect("a fragment has a beginning");
                unit.extend_from_slice(&part.payload());
                if header.e() {
                    units.extend(open.take());
                    fragmented += 1;
                }
            }
            H265Payload::H265AggregationPacket(several) => {
                units.extend(several.first_unit().map(|unit| unit.nal_unit().to_vec()));
                let others = several.other_units().iter();
                units.extend(others.map(|unit| unit.nal_unit().to_vec()));
            }
            other => panic!("{other:?} is not sent"),
        }
    }
    assert_eq!(open, None);
    (units, fragmented)
}

#[test]
fn hevc_arrives_as_x265_made_it() {
    let pictures = received(VideoCodec::H265, H265);
    let mut stream = Vec::new();
    for (payloads, made) in pictures.iter().zip(H265) {
        let (units, fragmented) = hevc_units(payloads);
        assert_eq!(units, nal_units(made));
        assert!((1..units.len()).contains(&fragmented), "both ways are used");
        let start_coded = units.iter().map(|unit| [&[0, 0, 1][..], unit].concat());
        stream.push(start_coded.collect::<Vec<_>>().concat());
    }
    let kinds: Vec<u8> = (hevc_units(&pictures[3]).0.iter())
        .map(|unit| (unit[0] >> 1) & 0x3f)
        .collect();
    // Parameter sets, then the slices of an IDR picture.
    assert_eq!(kinds, [32, 33, 34, 20, 20, 20]);
    let caps = "caps=video/x-h265,stream-format=byte-stream,alignment=au";
    assert_eq!(
        shown(&format!("{caps} ! h265parse ! libde265dec"), &stream),
        4
    );
}

#[test]
fn av1_arrives_as_libaom_made_it() {
    let pictures = received(VideoCodec::AV1, AV1);
    // The aggregation header's N bit begins a coded video sequence, and only that.
    let begins: Vec<bool> = pictures.iter().map(|p| p[0][0] & 0x08 != 0).collect();
    assert_eq!(begins, [true, false, false, true]);
    let units = read(&mut Av1Depacketizer::default(), &pictures);
    let made = AV1.map(|unit| unit.strip_prefix(DELIMITER).unwrap());
    assert_eq!(units, made);
    let caps = "caps=video/x-av1,stream-format=obu-stream,alignment=tu";
    let units: Vec<Vec<u8>> = units.iter().map(|u| [DELIMITER, u].concat()).collect();
    assert_eq!(shown(&format!("{caps} ! av1parse ! av1dec"), &units), 4);
}

#[test]
fn vp9_and_vp8_arrive_as_libvpx_made_them() {
    let units = read(&mut Vp9Packet::default(), &received(VideoCodec::VP9, VP9));
    assert_eq!(units, VP9);
    assert_eq!(shown("caps=video/x-vp9 ! vp9dec", &units), 4);
    let units = read(&mut Vp8Packet::default(), &received(VideoCodec::VP8, VP8));
    assert_eq!(units, VP8);
    assert_eq!(shown("caps=video/x-vp8 ! vp8dec", &units), 4);
}

#[test]
fn without_an_encoder_or_a_decoder_for_better_it_is_h264() {
    use VideoCodec::{AV1, H264, H265, VP9};
    let better = [AV1, H265, VP9, H264];
    for (encoders, offered) in [(&[H264][..], Wish::All), (&better[..], Wish::H264)] {
        let node = Node::start();
        let worker = node.add_session_with(1, encoders);
        let mut viewer = Viewer::new(offered);
        let answer = node.answer(1, 1, &viewer.offer, false);
        viewer.connect(&answer);
        assert_eq!(worker.hear_attach().codec, H264);
        worker.show(1, true, 100);
        viewer.packets(1);
    }
}
