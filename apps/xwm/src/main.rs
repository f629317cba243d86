//! `xwm -- PROGRAM ARGS`: an X11 game in a Wayland session.
//!
//! The compositor shows X11 windows one by one only where Xwayland is 23.1 or newer. Where it is
//! older, Xwayland runs rootful, as one ordinary Wayland client as large as the display, and the
//! windows inside it need somebody to place and focus them: this program. It starts Xwayland,
//! manages windows, starts the game, and ends with the game's status.
//!
//! [`display`] starts Xwayland, [`placement`] decides where a window goes, [`windows`] does so.

mod display;
mod placement;
mod windows;

use anyhow::{Context, Result};
use clap::Parser;
use display::Display;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;
use windows::Windows;

/// How long the game may take to end once it is told to.
const GRACE: Duration = Duration::from_secs(5);

/// Runs an X11 program in a Wayland session.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    /// The program and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    program: Vec<OsString>,
}

/// What ends it all.
enum End {
    /// The game ended.
    Program(ExitStatus),
    /// The display is gone.
    Display(anyhow::Error),
    /// We were told to stop.
    Told(Signal),
}

fn main() -> ExitCode {
    run(&Cli::parse()).unwrap_or_else(|error| {
        // Nobody is left to tell if that fails.
        let _ = writeln!(std::io::stderr(), "xwm: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(cli: &Cli) -> Result<ExitCode> {
    let (sender, ends) = channel();
    forward_signals(sender.clone())?;
    let display = Display::start()?;
    let mut windows = Windows::manage(&display.name())?;
    let on_display = sender.clone();
    spawn("windows", move || {
        let error = match windows.run() {
            Ok(never) => match never {},
            Err(error) => error,
        };
        // The receiver is gone only when the process is.
        let _ = on_display.send(End::Display(error));
    })?;
    let program = start(cli, &display, sender)?;
    let status = wait(&ends, program)?;
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    let code = code.and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Starts the game on the display.
fn start(cli: &Cli, display: &Display, ends: Sender<End>) -> Result<Pid> {
    let (name, args) = cli.program.split_first().context("no program was given")?;
    let mut child = Command::new(name)
        .args(args)
        .env("DISPLAY", display.name())
        // A toolkit that finds a Wayland display would go there.
        .env_remove("WAYLAND_DISPLAY")
        .env("SDL_VIDEODRIVER", "x11")
        .env("GDK_BACKEND", "x11")
        .env("QT_QPA_PLATFORM", "xcb")
        .env("XDG_SESSION_TYPE", "x11")
        .spawn()
        .with_context(|| format!("cannot start {}", name.to_string_lossy()))?;
    let pid = Pid::from_raw(child.id() as i32);
    spawn("program", move || {
        if let Ok(status) = child.wait() {
            let _ = ends.send(End::Program(status));
        }
    })?;
    Ok(pid)
}

/// Waits for the game, which is told to end when its display is gone or we are told to stop.
fn wait(ends: &Receiver<End>, program: Pid) -> Result<ExitStatus> {
    let mut lost = None;
    let mut told = false;
    loop {
        let end = if told {
            match ends.recv_timeout(GRACE) {
                Err(RecvTimeoutError::Timeout) => {
                    let _ = kill(program, Signal::SIGKILL);
                    ends.recv()?
                }
                received => received?,
            }
        } else {
            ends.recv()?
        };
        match end {
            End::Program(status) => match lost {
                // The game's status says nothing then.
                Some(error) => return Err(error),
                None => return Ok(status),
            },
            End::Display(error) => {
                lost = Some(error);
                told = true;
                // It may have ended already.
                let _ = kill(program, Signal::SIGTERM);
            }
            End::Told(signal) => {
                told = true;
                let _ = kill(program, signal);
            }
        }
    }
}

/// Hands the signals that end a container to [`wait`].
fn forward_signals(ends: Sender<End>) -> Result<()> {
    let signals: SigSet = [Signal::SIGTERM, Signal::SIGINT].into_iter().collect();
    // Threads inherit the mask; programs that are started do not.
    signals.thread_block().context("cannot block signals")?;
    spawn("signals", move || {
        while let Ok(signal) = signals.wait() {
            if ends.send(End::Told(signal)).is_err() {
                return;
            }
        }
    })
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<()> {
    std::thread::Builder::new()
        .name(name.into())
        .spawn(body)
        .with_context(|| format!("cannot start the {name} thread"))?;
    Ok(())
}
