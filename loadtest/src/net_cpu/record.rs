//! Ten seconds of what a real worker encodes: `edge-worker` and `calibrate` with scene `noise`, which
//! fills the bit rate, run beside this program without an agent around them.

use super::worker::{HZ, read_frame};
use crate::recording::Unit;
use anyhow::{Context, Result, bail};
use nearlight_protocol::id::SessionId;
use nearlight_protocol::worker::{Attach, FromWorker, Target, ToWorker, VideoCodec};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What figure 4 asks for.
const KBPS: u32 = 8000;
const SECONDS: usize = 10;
/// Recordings before it is given up to meet the rate, and how far one may be off it.
const ATTEMPTS: usize = 4;
const OFF_MAX: f64 = 0.05;
/// The rate control settles first.
const SKIPPED: usize = 60;
/// How long the worker may take to listen, and to say anything.
const DEADLINE: Duration = Duration::from_secs(30);
/// Between two looks at whether it listens.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A process that is ended with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Records. A key frame comes first.
pub(super) fn record() -> Result<Vec<Unit>> {
    let dir = tempfile::tempdir()?;
    let desk = dir.path().join("desk");
    let sockets = desk.join("app");
    std::fs::create_dir_all(&sockets)?;
    let _worker = worker(&desk)?;
    let agent = connect(&desk.join("agent.sock"))?;
    let attach = Attach {
        codec: VideoCodec::H264,
        target: Target::full(KBPS),
        display: None,
        session: None,
    };
    say(&agent, &ToWorker::Attach(attach))?;
    let _app = app(&sockets, dir.path())?;
    let mut asked = KBPS;
    for _ in 0..ATTEMPTS {
        let units = take(&agent)?;
        let kbps = kbps(&units);
        if (kbps / f64::from(KBPS) - 1.0).abs() <= OFF_MAX {
            return Ok(units);
        }
        // An encoder whose buffer is a frame stays below its target: ask for what it leaves out.
        asked = (f64::from(asked) * f64::from(KBPS) / kbps.max(1.0)) as u32;
        say(&agent, &ToWorker::Target(Target::full(asked)))?;
    }
    bail!("the encoder does not come to {KBPS} kbit/s; give --recording")
}

/// Bit rate at the display's rate.
pub(super) fn kbps(units: &[Unit]) -> f64 {
    let bytes: usize = units.iter().map(|unit| unit.data.len()).sum();
    bytes as f64 * 8.0 * f64::from(HZ) / 1000.0 / units.len().max(1) as f64
}

/// So many seconds of the stream, once its rate has settled.
fn take(agent: &UnixStream) -> Result<Vec<Unit>> {
    let (mut seen, mut units) = (0, Vec::new());
    while units.len() < SECONDS * HZ as usize {
        let frame = read_frame(agent).context("the worker says nothing")?;
        match FromWorker::decode(&frame)? {
            FromWorker::Video(video) => {
                seen += 1;
                if seen == SKIPPED {
                    say(agent, &ToWorker::KeyFrame)?;
                }
                if seen >= SKIPPED && (video.key || !units.is_empty()) {
                    units.push(Unit {
                        key: video.key,
                        data: video.data,
                    });
                }
            }
            FromWorker::Failed { .. } => bail!("the worker cannot run: its log says why"),
            _ => {}
        }
    }
    Ok(units)
}

/// A program that is built beside this one.
fn beside(name: &str) -> Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    anyhow::ensure!(
        path.exists(),
        "{} is missing: build the workspace, or give --recording",
        path.display()
    );
    Ok(path)
}

fn worker(desk: &Path) -> Result<Running> {
    let session = SessionId::from_parts(1, [0; 10]).to_string();
    let (kbps, hz) = (KBPS.to_string(), HZ.to_string());
    let mut worker = Command::new(beside("edge-worker")?);
    worker.args(["--session", &session, "--kbps", &kbps, "--hz", &hz]);
    worker.args(["--width", "1280", "--height", "720"]);
    worker.arg("--dir").arg(desk).stdout(Stdio::null());
    Ok(Running(worker.spawn()?))
}

fn app(sockets: &Path, runtime_dir: &Path) -> Result<Running> {
    let pulse = format!("unix:{}", sockets.join("pulse").display());
    let mut app = Command::new(beside("calibrate")?);
    app.args(["--mode", "paced", "--scene", "noise", "--seed", "1"])
        .env("WAYLAND_DISPLAY", sockets.join("wayland-0"))
        .env("PULSE_SERVER", pulse)
        .env("XDG_RUNTIME_DIR", runtime_dir)
        .stdout(Stdio::null());
    Ok(Running(app.spawn()?))
}

fn connect(path: &Path) -> Result<UnixStream> {
    let until = Instant::now() + DEADLINE;
    loop {
        match UnixStream::connect(path) {
            Ok(stream) => {
                stream.set_read_timeout(Some(DEADLINE))?;
                return Ok(stream);
            }
            Err(error) if Instant::now() >= until => {
                return Err(error).context("the worker does not listen");
            }
            Err(_) => std::thread::sleep(LOOK_EVERY),
        }
    }
}

fn say(mut worker: &UnixStream, message: &ToWorker) -> Result<()> {
    let mut bytes = Vec::new();
    message.encode_into(&mut bytes);
    Ok(worker.write_all(&bytes)?)
}
