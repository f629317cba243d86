//! A real worker in a directory of its own, the test as its edge agent, and Wayland programs that
//! the test drives step by step.

#![allow(
    dead_code,
    reason = "each test program uses its own part of the harness"
)]
#![allow(clippy::unwrap_used, reason = "a test ends where it cannot go on")]
#![allow(missing_debug_implementations, reason = "nobody prints a harness")]
#![allow(unreachable_pub, reason = "a module of test programs has no outside")]

pub mod agent;
pub mod app;
pub mod decode;

use agent::Agent;
use app::App;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long anything may take before a test gives up; no test asserts how long it did take.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A running worker, killed at the end of the test.
pub struct Worker {
    dir: TempDir,
    child: Child,
}

impl Worker {
    /// A worker with a small display, which debug builds can keep up with.
    pub fn start() -> Self {
        Self::with(&["--width", "320", "--height", "240"])
    }

    /// A worker with these arguments.
    pub fn with(args: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("app")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_edge-worker"))
            .args(["--session", "ses_01kb3x9ktv7q2m5d8r4w6y0zab"])
            .arg("--dir")
            .arg(dir.path())
            .args(["--threads", "1"])
            .args(["--encoders", "H264:x264enc,VP8:vp8enc,VP9:vp9enc"])
            .args(args)
            .env("NEARLIGHT_LOG", "warn")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let worker = Self { dir, child };
        let started = Instant::now();
        while !worker.dir.path().join("agent.sock").exists() {
            assert!(started.elapsed() < PATIENCE, "the worker did not start");
            std::thread::yield_now();
        }
        worker
    }

    /// The session's directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The Wayland socket.
    pub fn wayland(&self) -> PathBuf {
        self.dir.path().join("app/wayland-0")
    }

    /// The test as the worker's agent.
    pub fn agent(&self) -> Agent {
        Agent::connect(&self.dir.path().join("agent.sock"))
    }

    /// A Wayland program of the test's own.
    pub fn app(&self) -> App {
        App::connect(&self.wayland())
    }

    /// A Wayland program of the machine's.
    pub fn run(&self, program: &str, args: &[&str]) -> Program {
        let child = Command::new(program)
            .args(args)
            .env("WAYLAND_DISPLAY", self.wayland())
            .env("XDG_RUNTIME_DIR", self.dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        Program(child.unwrap_or_else(|e| panic!("{program} (Debian package weston): {e}")))
    }

    /// Waits for the worker to exit by itself, and returns its status.
    pub fn exit_code(&mut self) -> Option<i32> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(started.elapsed() < PATIENCE, "the worker did not exit");
            std::thread::yield_now();
        }
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Threads that run now.
    pub fn threads(&self) -> usize {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        tasks.count()
    }

    /// Memory that is resident now, bytes.
    pub fn resident_bytes(&self) -> u64 {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.child.id())).unwrap();
        statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // For whoever reads why the test failed.
            std::io::Write::write_fmt(
                &mut std::io::stderr(),
                format_args!("the worker at the end: {:?}\n", self.child.try_wait()),
            )
            .unwrap();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A running program, killed at the end of the test.
pub struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
