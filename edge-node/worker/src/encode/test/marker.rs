//! The marker through the encoder that most sessions have and a decoder that shares no code with it.

use super::decode::decode;
use super::*;
use nearlight_protocol::id::SessionId;
use nearlight_stream::marker::{Key, Pen, Reader, Shape as Plane};

const SIDE: (usize, usize) = (1280, 720);
/// A field of texture, larger than the picture that moves over it.
const FIELD: (usize, usize) = (2048, 1024);
const FRAMES: usize = 480;

fn session(n: u8) -> Key {
    Key::of(&SessionId::from_parts(1, [n; 10]))
}

/// Texture of several sizes with noise of its own in it, four bytes a pixel.
fn field(seed: u32) -> Vec<u8> {
    let hash = |x: usize, y: usize, seed: u32| {
        let mixed = (x as u32).wrapping_mul(0x9e37_79b9) ^ (y as u32).wrapping_mul(0x85eb_ca6b);
        let mixed = (mixed ^ seed).wrapping_mul(0xc2b2_ae35);
        ((mixed ^ mixed >> 15).wrapping_mul(0x27d4_eb2f) >> 24) as i32
    };
    let mut pixels = Vec::with_capacity(FIELD.0 * FIELD.1 * 4);
    for y in 0..FIELD.1 {
        for x in 0..FIELD.0 {
            let coarse = hash(x / 128, y / 128, 1) / 3 + hash(x / 24, y / 24, 2) / 4;
            let level = 40 + coarse + hash(x / 4, y / 4, 3) / 16 + hash(x, y, seed) / 32;
            pixels.extend([level.clamp(0, 255) as u8; 4]);
        }
    }
    pixels
}

/// What the display shows: the camera moves, the noise flickers, and every second the scene is another.
fn frame(fields: &[Vec<u8>; 2], n: usize) -> Vec<u8> {
    let (cut, field) = (n / 60, &fields[n % 2]);
    let (left, top) = (cut * 333 + n * 5, cut * 177 + n * 2);
    let mut pixels = Vec::with_capacity(SIDE.0 * SIDE.1 * 4);
    for y in 0..SIDE.1 {
        let row = &field[(top + y) % FIELD.1 * FIELD.0 * 4..][..FIELD.0 * 4];
        let (end, begin) = row.split_at(left % FIELD.0 * 4);
        pixels.extend(begin.iter().chain(end).take(SIDE.0 * 4));
    }
    pixels
}

/// Access units of that scene at 2 Mbit/s with the marker of a session, as a session's encoder makes them.
fn encoded(marker: Key) -> Vec<Video> {
    let pictures = Pictures::new((SIDE.0 as u32, SIDE.1 as u32), 100, 60).unwrap();
    let settings = Settings {
        shape: pictures.shape(),
        threads: 2,
        kbps: 2_000,
    };
    let (tell, told) = sync_channel(4);
    let recipe = ladder::recipe("x264enc").unwrap();
    let pipeline = Pipeline::start(recipe, &settings, Form::Memory, move |output| {
        tell.send(output).unwrap();
    })
    .unwrap();
    let fields = [field(7), field(8)];
    let mut pen = Pen::new(marker);
    let mut videos = Vec::new();
    for n in 0..FRAMES {
        let commit_us = 5_000_000 + n as u64 * 16_667;
        let mut canvas = pictures.canvas().unwrap();
        let pixels = frame(&fields, n);
        canvas
            .draw(&pixels, SIDE.0 as u32 * 4, Order::Bgrx)
            .unwrap();
        let picture = canvas.finish(Some(&mut pen), commit_us).unwrap();
        assert!(pipeline.push(&picture, commit_us));
        match told.recv_timeout(PATIENCE).unwrap() {
            Output::Unit(unit) => videos.push(Video {
                codec: VideoCodec::H264,
                key: unit.key,
                frame: n as u32,
                commit_us: unit.pts_us,
                captured_us: 0,
                encoded_us: unit.encoded_us,
                input_us: 0,
                input_host_us: 0,
                data: unit.data,
            }),
            Output::Broken(reason) => panic!("{reason}"),
        }
    }
    videos
}

#[test]
fn a_stream_of_two_mbits_shows_its_own_sessions_marker_and_no_other() {
    gst::init().unwrap();
    let videos = encoded(session(1));
    let bytes: usize = videos.iter().map(|video| video.data.len()).sum();
    let kbps = bytes * 8 * 60 / FRAMES / 1000;
    assert!(kbps < 2_400, "{kbps} kbit/s");
    let mut readers = [session(1), session(2)].map(Reader::new);
    let pictures = decode(&videos);
    assert_eq!(pictures.len(), videos.len());
    for (picture, video) in pictures.iter().zip(&videos) {
        let (luma, stride) = picture.luma();
        let shape = Plane {
            width: picture.width as usize,
            height: picture.height as usize,
            stride,
        };
        for reader in &mut readers {
            reader.picture(
                luma,
                shape,
                (video.commit_us * 9 / 100) as u32,
                video.commit_us,
            );
        }
    }
    let signs = readers.map(|reader| reader.signs());
    let [[agree, looked], [other, of]] = signs.map(|signs| [signs.agree, signs.looked]);
    assert!(looked > 400 && of > 400, "{looked} {of}");
    assert!(agree * 100 > looked * 82, "{agree} of {looked}");
    // A recording of one session, played in another.
    assert!(other * 100 < of * 58, "{other} of {of}");
}

#[test]
fn a_still_picture_that_is_shown_again_carries_the_signs_of_then() {
    gst::init().unwrap();
    let pictures = Pictures::new((320, 240), 100, 60).unwrap();
    let drawn = |commit_us| {
        let mut canvas = pictures.canvas().unwrap();
        canvas
            .draw(&[0x40; 320 * 240 * 4], 320 * 4, Order::Bgrx)
            .unwrap();
        let mut pen = Pen::new(session(1));
        canvas.finish(Some(&mut pen), commit_us).unwrap()
    };
    let (early, late) = (drawn(0), drawn(9_000_000));
    let before = early.bytes();
    let again = early.clone().shown_at(9_000_000);
    assert_ne!(before, late.bytes());
    assert_eq!(again.bytes(), late.bytes());
    // Somebody may still read the first one.
    assert_eq!(early.bytes(), before);
    assert_eq!(
        early.clone().shown_at(1).buffer.as_ptr(),
        early.buffer.as_ptr()
    );
}
