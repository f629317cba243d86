//! A worker that replays a recording: the transport's side of the socket cannot tell.

use crate::recording::Unit;
use anyhow::{Context, Result};
use nearlight_player::clock;
use nearlight_protocol::id::SessionId;
use nearlight_protocol::worker::{FromWorker, Ready, ToWorker, Video, VideoCodec, frame_len};
use nearlight_transport::Handle;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Frames a second.
pub(super) const HZ: u32 = 60;
/// What a 720p frame takes from commit to capture, and to its access unit: for the marks.
const CAPTURE_US: u64 = 400;
const ENCODE_US: u64 = 3000;

/// A replaying worker. It stops when this is dropped.
pub(super) struct Replay {
    stream: UnixStream,
}

impl Replay {
    /// Joins the transport as the worker of `session`.
    pub(super) fn start(
        transport: &Handle,
        session: SessionId,
        units: Arc<Vec<Unit>>,
    ) -> Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        transport.add_session(session, theirs);
        say(
            &ours,
            &FromWorker::Ready(Ready {
                width: 1280,
                height: 720,
                encoders: vec![(VideoCodec::H264, "replay".to_owned())],
            }),
        )?;
        say(&ours, &FromWorker::FirstFrame)?;
        let wants_key = Arc::new(AtomicBool::new(false));
        let attached = Arc::new(AtomicBool::new(false));
        let (reading, writing) = (ours.try_clone()?, ours.try_clone()?);
        let (key, on) = (Arc::clone(&wants_key), Arc::clone(&attached));
        // Both end with the socket.
        let name = || std::thread::Builder::new().name("replay".to_owned());
        name().spawn(move || listen(&reading, &key, &on))?;
        name().spawn(move || play(&writing, &units, &wants_key, &attached))?;
        Ok(Self { stream: ours })
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        // The transport may have hung up first.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}

fn say(mut stream: &UnixStream, message: &FromWorker) -> Result<()> {
    let mut bytes = Vec::new();
    message.encode_into(&mut bytes);
    Ok(stream.write_all(&bytes)?)
}

/// The next frame of a worker's socket, whole.
pub(super) fn read_frame(mut stream: &UnixStream) -> Result<Vec<u8>> {
    let mut bytes = vec![0; 4];
    stream.read_exact(&mut bytes)?;
    let length = frame_len(&bytes)?.context("four bytes are a head")?;
    bytes.resize(length, 0);
    stream.read_exact(&mut bytes[4..])?;
    Ok(bytes)
}

/// Hears what the transport wants until it hangs up.
fn listen(stream: &UnixStream, wants_key: &AtomicBool, attached: &AtomicBool) -> Result<()> {
    loop {
        match ToWorker::decode(&read_frame(stream)?)? {
            ToWorker::Attach(_) => {
                wants_key.store(true, Relaxed);
                attached.store(true, Relaxed);
            }
            ToWorker::Detach => attached.store(false, Relaxed),
            ToWorker::KeyFrame => wants_key.store(true, Relaxed),
            // The recording has the rate that it has.
            _ => {}
        }
    }
}

/// Shows a frame at each sixtieth of a second while somebody is attached.
fn play(
    stream: &UnixStream,
    units: &[Unit],
    wants_key: &AtomicBool,
    attached: &AtomicBool,
) -> Result<()> {
    let interval = Duration::from_secs(1) / HZ;
    let mut due = Instant::now();
    let (mut at, mut frame) = (0, 0);
    loop {
        due += interval;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if !attached.load(Relaxed) {
            // Nobody is shown the recording's end twice over: it starts with its key frame.
            at = 0;
            continue;
        }
        if wants_key.swap(false, Relaxed) {
            at = 0;
        }
        let unit = &units[at];
        at = (at + 1) % units.len();
        frame += 1;
        let encoded_us = clock::micros();
        let commit_us = encoded_us - CAPTURE_US - ENCODE_US;
        say(
            stream,
            &FromWorker::Video(Video {
                codec: VideoCodec::H264,
                key: unit.key,
                frame,
                commit_us,
                captured_us: commit_us + CAPTURE_US,
                encoded_us,
                input_us: 0,
                input_host_us: 0,
                data: unit.data.clone(),
            }),
        )?;
    }
}
