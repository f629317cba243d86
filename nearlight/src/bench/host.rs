//! A Nearlight of the bench's own: `nearlight up` on free ports, with a data directory that goes
//! with it.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// Roles start, the encoders are tried, an app becomes available.
const READY_DEADLINE: Duration = Duration::from_secs(120);
/// More than `up` itself allows its roles.
const STOP_DEADLINE: Duration = Duration::from_secs(60);

/// Why there is no Nearlight.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The directory.
    #[error("cannot make a data directory in {}", std::env::temp_dir().display())]
    Data(#[source] std::io::Error),
    /// Its log.
    #[error("cannot write {}; choose another directory with --out", .0.display())]
    Log(PathBuf, #[source] std::io::Error),
    /// Our own program.
    #[error("cannot run our own program for `nearlight up`")]
    Unrunnable(#[source] std::io::Error),
    /// It gave up.
    #[error("`nearlight up` did not get ready; {} says why", .0.display())]
    NotReady(PathBuf),
}

/// A running `nearlight up`. Its roles die with it, and it is killed when this is dropped.
#[derive(Debug)]
pub(super) struct Host {
    /// Where its lobby is.
    pub(super) url: String,
    up: Child,
    _stdout: Lines<BufReader<ChildStdout>>,
    _data: TempDir,
}

impl Host {
    /// Starts one and waits until an app can be played. Its log is `nearlight-up.log` in `out`.
    pub(super) async fn start(out: &Path) -> Result<Self, HostError> {
        let data = tempfile::Builder::new()
            .prefix("nearlight-bench-data-")
            .tempdir()
            .map_err(HostError::Data)?;
        let log_path = out.join("nearlight-up.log");
        let log =
            File::create(&log_path).map_err(|error| HostError::Log(log_path.clone(), error))?;
        let program = std::env::current_exe().map_err(HostError::Unrunnable)?;
        let mut up = Command::new(program)
            .args(["up", "--listen", "127.0.0.1:0", "--rtc-port", "0", "--data"])
            .arg(data.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .map_err(HostError::Unrunnable)?;
        let Some(stdout) = up.stdout.take() else {
            return Err(HostError::NotReady(log_path));
        };
        let mut lines = BufReader::new(stdout).lines();
        let ready = async {
            while let Ok(Some(line)) = lines.next_line().await {
                if let Some(url) = line.strip_prefix("ready ") {
                    return Some(url.to_owned());
                }
            }
            None
        };
        match timeout(READY_DEADLINE, ready).await {
            Ok(Some(url)) => Ok(Self {
                url,
                up,
                _stdout: lines,
                _data: data,
            }),
            Ok(None) | Err(_) => Err(HostError::NotReady(log_path)),
        }
    }

    /// Ends it as Ctrl-C does.
    pub(super) async fn stop(mut self) {
        let Some(pid) = self.up.id().and_then(|pid| i32::try_from(pid).ok()) else {
            return;
        };
        // It is gone already, or it is killed on drop.
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        let _ = timeout(STOP_DEADLINE, self.up.wait()).await;
    }
}
