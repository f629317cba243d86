//! Every codec of `--codec` through the whole way: a real encoder's pictures, the node's transport, the native
//! viewer, a real decoder, and the barcode of each picture read. What a node encodes itself is its ladder's matter.

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::{AppSink, AppSrc};
use nearlight_player::clock;
use nearlight_player::decode::Decoder;
use nearlight_player::frames::{Assembler, Frame, Out};
use nearlight_player::viewer::{Arrival, Codec, Options, Viewer};
use nearlight_protocol::control::{ViewerRole, WhepResult};
use nearlight_protocol::id::{AttachmentId, SessionId};
use nearlight_protocol::worker::{FromWorker, Ready, Video};
use nearlight_transport::{Config, Event};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const WIDTH: usize = 640;
const HEIGHT: usize = 360;
const CELL: usize = 16;
const PICTURES: u32 = 24;
const DEADLINE: Duration = Duration::from_secs(60);
/// Until a unit is shown once more: what came before the viewer had its track is lost.
const PATIENCE: Duration = Duration::from_millis(500);

/// A picture with the barcode of docs/calibrate.md, and something that moves.
fn painted(counter: u32) -> Vec<u8> {
    let mut words = [0xaaaa_aaaa, counter, 0, 0, 0, 0, 0, 0];
    words[7] = crc32(&words[1..7]);
    let mut picture = vec![128; WIDTH * HEIGHT * 3 / 2];
    let (luma, _) = picture.split_at_mut(WIDTH * HEIGHT);
    for (at, value) in luma.iter_mut().enumerate() {
        let (x, y) = (at % WIDTH, at / WIDTH);
        let cell = (x / CELL, y / CELL);
        let white = match words.get(cell.1) {
            Some(word) if cell.0 < 32 => word >> (31 - cell.0) & 1 == 1,
            _ => (x + 8 * counter as usize) % 64 < 32,
        };
        *value = if white { 235 } else { 16 };
    }
    picture
}

fn crc32(words: &[u32]) -> u32 {
    let mut crc = u32::MAX;
    for bit in words
        .iter()
        .flat_map(|word| word.to_be_bytes())
        .flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1))
    {
        let odd = (crc ^ u32::from(bit)) & 1 == 1;
        crc = crc >> 1 ^ if odd { 0xedb8_8320 } else { 0 };
    }
    !crc
}

/// The access units of an encoder, of which the first is a key frame.
fn encoded(encoder: &str) -> Vec<Vec<u8>> {
    gst::init().unwrap();
    let line = format!(
        "appsrc name=in format=time caps=video/x-raw,format=I420,width={WIDTH},height={HEIGHT},framerate=30/1 \
         ! {encoder} ! appsink name=out sync=false"
    );
    let pipeline = gst::parse::launch(&line);
    let pipeline = pipeline
        .expect("GStreamer's encoders (Debian packages gstreamer1.0-plugins-bad and -ugly)");
    let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
    let source = pipeline
        .by_name("in")
        .unwrap()
        .downcast::<AppSrc>()
        .unwrap();
    let sink = pipeline
        .by_name("out")
        .unwrap()
        .downcast::<AppSink>()
        .unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    for counter in 1..=PICTURES {
        let mut buffer = gst::Buffer::from_slice(painted(counter));
        let pts = gst::ClockTime::from_mseconds(u64::from(counter) * 33);
        buffer.get_mut().unwrap().set_pts(pts);
        source.push_buffer(buffer).unwrap();
    }
    source.end_of_stream().unwrap();
    let mut units = Vec::new();
    while let Ok(sample) = sink.pull_sample() {
        let map = sample.buffer().unwrap().map_readable().unwrap();
        units.push(map.to_vec());
    }
    pipeline.set_state(gst::State::Null).unwrap();
    assert_eq!(units.len(), PICTURES as usize, "{encoder}");
    units
}

/// A node's transport with a session of one codec, and a viewer of it.
struct Stage {
    transport: nearlight_transport::Handle,
    worker: UnixStream,
    viewer: Viewer,
    assembler: Assembler,
    number: u32,
}

impl Stage {
    fn new(codec: Codec) -> Self {
        let (tx, events) = channel();
        let config = Config::on("127.0.0.1:0".parse().unwrap());
        let transport = nearlight_transport::start(config, move |event| {
            // A test that is over takes no more events.
            let _ = tx.send(event);
        });
        let transport = transport.unwrap();
        let session = SessionId::from_parts(1, [1; 10]);
        let (worker, theirs) = UnixStream::pair().unwrap();
        transport.add_session(session.clone(), theirs);
        let encoders = vec![(codec.into(), "test".to_owned())];
        let (width, height) = (WIDTH as u32, HEIGHT as u32);
        say(
            &worker,
            &FromWorker::Ready(Ready {
                width,
                height,
                encoders,
            }),
        );
        say(&worker, &FromWorker::FirstFrame);
        wait(&events, |event| matches!(event, Event::FirstFrame { .. }));
        let viewer = Viewer::new(Options {
            codec,
            channels: true,
            bind: [127, 0, 0, 1].into(),
            as_browser: false,
        });
        let viewer = viewer.unwrap();
        let (reply, answer) = channel();
        let role = ViewerRole::Player { take_over: false };
        let offer = viewer.offer().to_owned();
        let attachment = AttachmentId::from_parts(1, [2; 10]);
        transport.offer(session, attachment, offer, role, move |result| {
            reply.send(result).unwrap()
        });
        match answer.recv_timeout(DEADLINE).unwrap() {
            WhepResult::Answer { sdp } => viewer.connect(&sdp).unwrap(),
            other => panic!("{codec:?} is not taken: {other:?}"),
        }
        wait(&events, |event| matches!(event, Event::Attached { .. }));
        Self {
            transport,
            worker,
            viewer,
            assembler: Assembler::new(codec.into()),
            number: 0,
        }
    }

    /// Shows a unit until it has arrived.
    fn arrives(&mut self, codec: Codec, key: bool, unit: &[u8]) -> Frame {
        let until = Instant::now() + DEADLINE;
        loop {
            assert!(
                Instant::now() < until,
                "nothing arrives: {:?}",
                self.assembler
            );
            self.number += 1;
            let at_us = u64::from(self.number) * 33_000;
            say(
                &self.worker,
                &FromWorker::Video(Video {
                    codec: codec.into(),
                    key,
                    frame: self.number,
                    commit_us: at_us,
                    captured_us: at_us,
                    encoded_us: at_us,
                    input_us: 0,
                    input_host_us: 0,
                    data: unit.to_vec(),
                }),
            );
            while let Some(arrival) = self.viewer.next(PATIENCE).unwrap() {
                let Arrival::Video { packet, at_us } = arrival else {
                    continue;
                };
                self.assembler.push(packet, at_us);
                if let Some(Out::Frame(frame)) = self.assembler.pull(clock::micros()) {
                    return frame;
                }
            }
            assert!(
                key,
                "{codec:?}, frame {}, {} bytes {:02x?}: {:?}",
                self.number,
                unit.len(),
                &unit[..unit.len().min(8)],
                self.assembler
            );
        }
    }
}

impl Stage {
    /// Lets everything that is under way come, and forgets it.
    fn settle(&mut self) {
        while let Some(arrival) = self.viewer.next(PATIENCE).unwrap() {
            if let Arrival::Video { packet, at_us } = arrival {
                self.assembler.push(packet, at_us);
            }
            while self.assembler.pull(clock::micros()).is_some() {}
        }
    }
}

fn say(mut worker: &UnixStream, message: &FromWorker) {
    let mut bytes = Vec::new();
    message.encode_into(&mut bytes);
    worker.write_all(&bytes).unwrap();
}

fn wait(events: &Receiver<Event>, wanted: impl Fn(&Event) -> bool) {
    while !wanted(&events.recv_timeout(DEADLINE).unwrap()) {}
}

fn check(codec: Codec, encoder: &str) {
    let units = encoded(encoder);
    let mut stage = Stage::new(codec);
    // Until the viewer has its track, packets are lost, asked for again, and given up.
    stage.arrives(codec, true, &units[0]);
    stage.settle();
    let mut decoder = Decoder::new(codec, WIDTH as u32).unwrap();
    for (index, unit) in units.iter().enumerate() {
        let frame = stage.arrives(codec, index == 0, unit);
        assert_eq!(frame.key, index == 0, "{codec:?} {index}");
        decoder.give(&frame).unwrap();
    }
    let readings = decoder.finish().unwrap();
    let count = u64::from(PICTURES);
    let decoded = (readings.given, readings.decoded, readings.backwards);
    assert_eq!(decoded, (count, count, 0), "{codec:?}");
    // A picture whose bits were short may be too coarse to be read.
    assert!(
        readings.read + 4 >= count && readings.counter == PICTURES,
        "{codec:?} {readings:?}"
    );
    assert!(stage.assembler.tally().frames > count);
    stage.transport.shutdown();
}

#[test]
fn h264_is_received_and_every_picture_read() {
    let x264 = "x264enc tune=zerolatency speed-preset=ultrafast byte-stream=true key-int-max=1000 bitrate=4000";
    check(
        Codec::H264,
        &format!(
            "{x264} ! video/x-h264,stream-format=byte-stream,alignment=au,profile=constrained-baseline"
        ),
    );
}

#[test]
fn hevc_is_received_and_every_picture_read() {
    let x265 = "x265enc tune=zerolatency speed-preset=ultrafast key-int-max=1000 bitrate=4000";
    let parsed =
        "h265parse config-interval=-1 ! video/x-h265,stream-format=byte-stream,alignment=au";
    check(Codec::H265, &format!("{x265} ! {parsed}"));
}

#[test]
fn av1_is_received_and_every_picture_read() {
    let aom = "av1enc usage-profile=realtime cpu-used=8 lag-in-frames=0 keyframe-max-dist=1000 target-bitrate=4000";
    let parsed = "av1parse ! video/x-av1,stream-format=obu-stream,alignment=tu";
    check(Codec::Av1, &format!("{aom} ! {parsed}"));
}

const LIBVPX: &str = "deadline=1 cpu-used=8 lag-in-frames=0 keyframe-max-dist=1000 target-bitrate=8000000 max-quantizer=20";

#[test]
fn vp8_is_received_and_every_picture_read() {
    check(Codec::Vp8, &format!("vp8enc {LIBVPX}"));
}

#[test]
fn vp9_is_received_and_every_picture_read() {
    check(Codec::Vp9, &format!("vp9enc {LIBVPX}"));
}
