//! `calibrate`: an app whose picture and sound can be measured (docs/calibrate.md).
//!
//! A Wayland client without a toolkit and without a GPU. [`state`] knows what happened, [`picture`]
//! paints it, [`window`] talks to the compositor and decides when to commit, [`sound`] clicks, and
//! [`hostile`] misbehaves on request. One loop in this file waits for all of them.

mod barcode;
mod buffers;
mod canvas;
mod font;
mod hostile;
mod picture;
mod scene;
mod sound;
mod state;
mod window;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum};
use hostile::Hostile;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use sound::Clicker;
use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use wayland_client::backend::WaylandError;
use wayland_client::globals::registry_queue_init;
use wayland_client::{Connection, EventQueue};
use window::{Request, Style, Window};

/// How often a line goes to standard output.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// How long a hostile program behaves.
const HOSTILE_AFTER: Duration = Duration::from_secs(1);

/// Shows a picture and plays clicks that can be measured.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    /// When to commit.
    #[arg(long, env = "CALIBRATE_MODE", value_enum, default_value = "paced")]
    mode: Mode,
    /// What to fill the picture with.
    #[arg(long, env = "CALIBRATE_SCENE", value_enum, default_value = "plain")]
    scene: scene::Kind,
    /// What noise and landscape are drawn from.
    #[arg(long, env = "CALIBRATE_SEED", default_value_t = 1)]
    seed: u64,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// For each frame callback, and at once for each press.
    Immediate,
    /// For each frame callback, as games do.
    Paced,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Misbehaves, to prove that a session worker bears it.
    Hostile {
        #[arg(value_enum)]
        name: Hostile,
    },
}

fn main() -> ExitCode {
    run(&Cli::parse()).unwrap_or_else(|error| {
        complain(&error);
        ExitCode::FAILURE
    })
}

/// Says on standard error what went wrong.
fn complain(error: &anyhow::Error) {
    // Nobody is left to tell if that fails.
    let _ = writeln!(std::io::stderr(), "calibrate: {error:#}");
}

fn run(cli: &Cli) -> Result<ExitCode> {
    let connection = Connection::connect_to_env().context("cannot reach a Wayland compositor")?;
    let (globals, mut queue) = registry_queue_init::<Window>(&connection)?;
    let style = Style {
        immediate: cli.mode == Mode::Immediate,
        scene: cli.scene,
        seed: cli.seed,
    };
    let mut window = Window::open(&globals, &queue.handle(), style, Clicker::start()?)?;
    let hostile = cli.command.as_ref().map(|Command::Hostile { name }| *name);
    if let Some(hostile) = hostile {
        hostile.start_beside()?;
    }
    let turns_at = Instant::now() + HOSTILE_AFTER;
    let mut report_at = Instant::now() + REPORT_EVERY;
    loop {
        turn(&mut queue, &mut window, report_at)?;
        match window.take_request() {
            Some(Request::Exit(status)) => return Ok(status.into()),
            Some(Request::Abort) => std::process::abort(),
            Some(Request::ExhaustMemory) => exhaust_memory(),
            None => {}
        }
        if Instant::now() >= report_at {
            report_at += REPORT_EVERY;
            // A reader that went away does not end the picture.
            let _ = writeln!(std::io::stdout(), "{}", window.report());
        }
        if let Some(hostile) = hostile.filter(|_| Instant::now() >= turns_at)
            && let Some(status) = hostile.take_over(&globals, &mut queue, &mut window)?
        {
            return Ok(status);
        }
    }
}

/// Commits what is due and waits for what comes next, at most until `deadline`.
fn turn(queue: &mut EventQueue<Window>, window: &mut Window, deadline: Instant) -> Result<()> {
    queue.dispatch_pending(window)?;
    window.step()?;
    queue.flush()?;
    let Some(guard) = queue.prepare_read() else {
        return Ok(());
    };
    let wait = deadline.saturating_duration_since(Instant::now());
    let timeout = PollTimeout::try_from(wait.as_millis() + 1).unwrap_or(PollTimeout::MAX);
    let readable = |fd: &PollFd<'_>| fd.any().unwrap_or(true);
    let (events, pasted) = {
        let mut fds = vec![PollFd::new(guard.connection_fd(), PollFlags::POLLIN)];
        fds.extend(
            window
                .clipboard()
                .pipe()
                .map(|pipe| PollFd::new(pipe, PollFlags::POLLIN)),
        );
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("cannot wait for events"),
        }
        (readable(&fds[0]), fds.get(1).is_some_and(readable))
    };
    if events {
        match guard.read() {
            Ok(_) => {}
            Err(WaylandError::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error).context("the compositor closed the connection"),
        }
    }
    if pasted {
        window.read_clipboard();
    }
    Ok(())
}

/// Takes memory, page by page, until something stops it.
fn exhaust_memory() -> ! {
    let mut taken = Vec::new();
    loop {
        taken.push(vec![1_u8; 1 << 20]);
        std::hint::black_box(&taken);
    }
}
