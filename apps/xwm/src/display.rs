//! Xwayland, as an ordinary Wayland client that is as large as the output.

use anyhow::{Context, Result, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::{PipeReader, Read, pipe};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::DirBuilderExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long Xwayland may take until it serves.
const START: Duration = Duration::from_secs(20);
/// Where X servers put their sockets. They make it only as root.
const SOCKETS: &str = "/tmp/.X11-unix";

/// A running Xwayland. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Display {
    server: Child,
    number: u32,
}

impl Display {
    /// Starts Xwayland on the first free display and waits until it serves.
    pub(crate) fn start() -> Result<Self> {
        // Where it cannot be made, the abstract socket still serves.
        let _ = std::fs::DirBuilder::new().mode(0o1777).create(SOCKETS);
        let (mut answer, far_end) = pipe().context("cannot make a pipe")?;
        nix::fcntl::fcntl(
            &far_end,
            nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty()),
        )
        .context("cannot hand a pipe to Xwayland")?;
        let server = Command::new("Xwayland")
            .arg("-displayfd")
            .arg(far_end.as_raw_fd().to_string())
            // Its windows stay when the last of them closes: games open and close several.
            .args(["-noreset", "-nolisten", "tcp"])
            .stdin(Stdio::null())
            .spawn()
            .context("cannot start Xwayland; is the package xwayland installed?")?;
        drop(far_end);
        let mut display = Self { server, number: 0 };
        display.number = display_number(&mut answer).context("Xwayland does not start")?;
        Ok(display)
    }

    /// What `DISPLAY` is to be.
    pub(crate) fn name(&self) -> String {
        format!(":{}", self.number)
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Reads the number and the line feed that Xwayland writes once it serves.
fn display_number(answer: &mut PipeReader) -> Result<u32> {
    let end = Instant::now() + START;
    let mut text = Vec::new();
    while text.last() != Some(&b'\n') {
        let wait = end.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(answer.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, timeout)? == 0 {
            bail!("it does not answer within {} s", START.as_secs());
        }
        let mut byte = [0];
        if answer.read(&mut byte)? == 0 {
            bail!("it ended; is there a Wayland compositor at $WAYLAND_DISPLAY?");
        }
        text.extend(byte);
    }
    let text = String::from_utf8(text)?;
    text.trim()
        .parse()
        .with_context(|| format!("it answered {text:?}"))
}
