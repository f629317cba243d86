//! Plays recorded video to browsers through the transport: one session, WHEP over plain HTTP,
//! no broker, no agent. For looking at the transport alone, with any browser.
//!
//! ```text
//! gst-launch-1.0 videotestsrc num-buffers=1200 ! video/x-raw,width=1280,height=720,framerate=60/1 \
//!   ! x264enc tune=zerolatency speed-preset=ultrafast bitrate=8000 key-int-max=120 aud=true \
//!   ! video/x-h264,profile=constrained-baseline,stream-format=byte-stream,alignment=au \
//!   ! filesink location=/tmp/watch.h264
//! cargo run --release -p nearlight-transport --example watch -- /tmp/watch.h264 8090
//! ```
//!
//! Other codecs come as a folder of access units, one a file, that begins with its only key frame;
//! the extension names the codec (`vp8`, `vp9`, `h265`, `av1`):
//!
//! ```text
//! ... ! av1enc usage-profile=realtime cpu-used=10 lag-in-frames=0 keyframe-max-dist=9999 \
//!   ! video/x-av1,stream-format=obu-stream,alignment=tu ! multifilesink location=/tmp/units/%05d.av1
//! ```
//!
//! With a third argument `wrong-start` each viewer first gets a frame that is no key frame though it
//! says so, to see the viewer ask for one.
#![allow(clippy::print_stdout, reason = "a program for a person at a terminal")]

use anyhow::{Context, Result, bail};
use nearlight_protocol::control::{ViewerRole, WhepResult};
use nearlight_protocol::id::{AttachmentId, SessionId};
use nearlight_protocol::worker::{FromWorker, Ready, ToWorker, Video, VideoCodec, frame_len};
use nearlight_transport::{Config, Handle};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

const PAGE: &str = include_str!("watch.html");
const FRAME: Duration = Duration::from_micros(16_667);
/// Ten milliseconds of silence: CELT, full band, stereo.
const SILENCE: [u8; 3] = [0xf4, 0xff, 0xfe];

fn main() -> Result<()> {
    tracing_subscriber::fmt().init();
    let mut args = std::env::args().skip(1);
    let file = args
        .next()
        .context("usage: watch FILE.h264|FOLDER [PORT] [wrong-start]")?;
    let port: u16 = args.next().unwrap_or_else(|| "8090".to_owned()).parse()?;
    let wrong_start = args.next().is_some();
    let (codec, units) = units(Path::new(&file)).with_context(|| file.clone())?;
    if units.is_empty() {
        bail!("{file} has no access units; see the head of this example");
    }
    let config = Config {
        bind: vec!["0.0.0.0:0".parse()?],
        advertise: Vec::new(),
        stun: Vec::new(),
        max_sessions: 1,
        advertise_port: None,
        kbps_start: 8000,
        kbps_max: 8000,
        uplink_kbps: None,
    };
    let transport = nearlight_transport::start(config, |event| println!("{event:?}"))?;
    let session = SessionId::from_parts(1, [1; 10]);
    let (ours, theirs) = UnixStream::pair()?;
    transport.add_session(session.clone(), ours);
    std::thread::spawn(move || play(&theirs, codec, &units, wrong_start));
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    println!(
        "open http://127.0.0.1:{port}/ (media on udp {})",
        transport.port()
    );
    for (number, stream) in listener.incoming().enumerate() {
        let attachment = AttachmentId::from_parts(number as u64, [2; 10]);
        if let Err(error) = serve(stream?, &transport, &session, attachment) {
            println!("{error:#}");
        }
    }
    Ok(())
}

fn serve(
    stream: TcpStream,
    transport: &Handle,
    session: &SessionId,
    attachment: AttachmentId,
) -> Result<()> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    let mut length = 0;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
        head.push_str(&std::mem::take(&mut line));
    }
    let (status, kind, body) = if head.starts_with("POST /whep") {
        let mut sdp = vec![0; length];
        reader.read_exact(&mut sdp)?;
        let sdp = String::from_utf8(sdp)?;
        let take_over = head.contains("take_over");
        let (tx, rx) = mpsc::channel();
        transport.offer(
            session.clone(),
            attachment,
            sdp,
            ViewerRole::Player { take_over },
            move |result| {
                // The receiver waits below.
                let _ = tx.send(result);
            },
        );
        match rx.recv()? {
            WhepResult::Answer { sdp } => ("201 Created", "application/sdp", sdp),
            other => ("409 Conflict", "text/plain", format!("{other:?}")),
        }
    } else {
        ("200 OK", "text/html", PAGE.to_owned())
    };
    let length = body.len();
    let mut stream = reader.into_inner();
    write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n{body}"
    )?;
    Ok(())
}

/// A worker without a desktop: says that it is ready and plays while somebody is attached.
fn play(stream: &UnixStream, codec: VideoCodec, units: &[Unit], wrong_start: bool) -> Result<()> {
    let key_wanted = Arc::new(AtomicBool::new(false));
    let attached = Arc::new(AtomicBool::new(false));
    let mut reading = stream.try_clone()?;
    let (wanted, watching) = (Arc::clone(&key_wanted), Arc::clone(&attached));
    std::thread::spawn(move || -> Result<()> {
        loop {
            let mut bytes = vec![0; 4];
            reading.read_exact(&mut bytes)?;
            bytes.resize(frame_len(&bytes)?.context("a header")?, 0);
            reading.read_exact(&mut bytes[4..])?;
            match ToWorker::decode(&bytes)? {
                ToWorker::Attach(attach) => {
                    println!("worker: {attach:?}");
                    watching.store(true, Relaxed);
                }
                ToWorker::Detach => watching.store(false, Relaxed),
                ToWorker::KeyFrame => {
                    println!("worker: a key frame is wanted");
                    wanted.store(true, Relaxed);
                }
                other => println!("worker: {other:?}"),
            }
        }
    });
    let say = |message: &FromWorker| {
        let mut bytes = Vec::new();
        message.encode_into(&mut bytes);
        (&mut &*stream).write_all(&bytes)
    };
    let encoders = vec![(codec, "a file".to_owned())];
    say(&FromWorker::Ready(Ready {
        width: 1280,
        height: 720,
        encoders,
    }))?;
    say(&FromWorker::FirstFrame)?;
    let (mut at, mut frame, mut playing) = (0, 0_u32, false);
    let mut sound_us = monotonic_us();
    let mut due = Instant::now();
    loop {
        due += FRAME;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if !attached.load(Relaxed) {
            playing = false;
            continue;
        }
        let lie = wrong_start && !playing;
        if key_wanted.swap(false, Relaxed) || !playing {
            at = next_key(units, at) + usize::from(lie);
        }
        playing = true;
        let (key, data) = &units[at % units.len()];
        at = (at + 1) % units.len();
        frame += 1;
        let now = monotonic_us();
        say(&FromWorker::Video(Video {
            codec,
            key: *key || lie,
            frame,
            commit_us: now - 3000,
            captured_us: now - 2500,
            encoded_us: now,
            input_us: 0,
            input_host_us: 0,
            data: data.clone(),
        }))?;
        sound_us = sound_us.max(now - 50_000);
        while sound_us + 10_000 <= now {
            let data = SILENCE.to_vec();
            let pts_us = sound_us;
            say(&FromWorker::Audio { pts_us, data })?;
            sound_us += 10_000;
        }
    }
}

fn monotonic_us() -> u64 {
    let clock = nix::time::ClockId::CLOCK_MONOTONIC;
    let now = nix::time::clock_gettime(clock).expect("Linux has a monotonic clock");
    now.tv_sec().unsigned_abs() * 1_000_000 + now.tv_nsec().unsigned_abs() / 1000
}

fn next_key(units: &[Unit], from: usize) -> usize {
    let mut indices = (0..units.len()).map(|i| (from + i) % units.len());
    indices.find(|i| units[*i].0).unwrap_or(0)
}

/// Whether it is a key frame, and its bytes.
type Unit = (bool, Vec<u8>);

/// The access units of a file or a folder, and their codec.
fn units(path: &Path) -> Result<(VideoCodec, Vec<Unit>)> {
    if path.is_file() {
        return Ok((VideoCodec::H264, split(&std::fs::read(path)?)));
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path)? {
        files.push(entry?.path());
    }
    files.sort();
    let first = files.first().and_then(|file| file.extension());
    let codec = match first.and_then(|extension| extension.to_str()) {
        Some("vp8") => VideoCodec::VP8,
        Some("vp9") => VideoCodec::VP9,
        Some("h265") => VideoCodec::H265,
        Some("av1") => VideoCodec::AV1,
        other => bail!("{other:?} names no codec"),
    };
    let read = |(i, file): (usize, &PathBuf)| Ok((i == 0, std::fs::read(file)?));
    let units = files.iter().enumerate().map(read);
    Ok((codec, units.collect::<std::io::Result<_>>()?))
}

/// Splits a byte stream at its access unit delimiters, and tells which units are key frames.
fn split(bytes: &[u8]) -> Vec<Unit> {
    let starts: Vec<usize> = bytes
        .windows(5)
        .enumerate()
        .filter(|(_, w)| w[..4] == [0, 0, 0, 1] && w[4] & 31 == 9)
        .map(|(at, _)| at)
        .collect();
    let ends = starts.iter().skip(1).copied().chain([bytes.len()]);
    let is_key = |unit: &[u8]| {
        unit.windows(4)
            .any(|w| w[..3] == [0, 0, 1] && w[3] & 31 == 5)
    };
    starts
        .iter()
        .zip(ends)
        .map(|(start, end)| bytes[*start..end].to_vec())
        .map(|unit| (is_key(&unit), unit))
        .collect()
}
