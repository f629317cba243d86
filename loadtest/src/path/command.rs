//! `loadtest path`: the relay as a program. Lines of JSON on stdout, changes as lines of JSON on
//! stdin.

use super::{Options, Relay, Report, Sample, Samples};
use anyhow::{Context, Result};
use nearlight_sim::path::{Change, Profile, Queue, Rate, Share, Span, WrittenBursts};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{BufRead, BufWriter, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Samples that wait to be written.
const SAMPLES_MAX: usize = 1000;
/// Lines of stdin that wait to be carried out.
const LINES_MAX: usize = 16;

/// Relays UDP between players and a node over a path with loss, delay and little room.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where players send to; port 0 lets the kernel choose.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The node's UDP address.
    #[arg(long)]
    to: SocketAddr,
    /// A profile in TOML; flags are laid over it, and over its way down alone.
    #[arg(long)]
    profile: Option<PathBuf>,
    /// Seed of everything random.
    #[arg(long)]
    seed: Option<u64>,
    /// Random loss on the way to the player, such as 2%.
    #[arg(long)]
    loss: Option<Share>,
    /// Loss in bursts on the way to the player, such as "10 every 2s".
    #[arg(long)]
    burst: Option<WrittenBursts>,
    /// Capacity of the way to the player, such as 8mbit.
    #[arg(long)]
    rate: Option<Rate>,
    /// Room before the bottleneck: 100ms or 64kb.
    #[arg(long)]
    queue: Option<Queue>,
    /// Round trip, half of it each way.
    #[arg(long)]
    rtt: Option<Span>,
    /// Jitter on the way to the player.
    #[arg(long)]
    jitter: Option<Span>,
    /// Share of packets held back on the way to the player.
    #[arg(long)]
    reorder: Option<Share>,
    /// How long each is held back.
    #[arg(long)]
    reorder_by: Option<Span>,
    /// Writes a line of JSON for each interval to this file.
    #[arg(long)]
    samples: Option<PathBuf>,
    /// Length of an interval.
    #[arg(long, default_value = "100ms")]
    every: Span,
    /// Takes changes from stdin, and ends with it.
    #[arg(long)]
    stdin: bool,
}

/// A line of stdin.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Line {
    down: Change,
    up: Change,
    /// The node sees the players at other addresses from now on.
    rebind: bool,
}

/// A line of stdout.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Said<'a> {
    /// The relay listens.
    Ready { listen: SocketAddr, to: SocketAddr },
    /// A line of stdin was carried out; the report is from just before.
    Changed(&'a Report),
    /// A line of stdin was not understood.
    Refused { detail: String },
    /// On SIGUSR1, and at the end.
    Report(&'a Report),
}

/// Runs until SIGINT or SIGTERM, or the end of stdin where changes come from there.
///
/// # Errors
/// A profile that is wrong, an address that cannot be bound, a file that cannot be written.
pub async fn run(args: Args) -> Result<()> {
    let profile = profile(&args)?;
    let (sink, samples) = sync_channel(SAMPLES_MAX);
    let wanted = args.samples.is_some().then(|| Samples {
        every: Duration::from_micros(args.every.us.max(1000)),
        to: sink,
    });
    let writer = args.samples.clone().map(|path| write(path, samples));
    let options = Options {
        listen: args.listen,
        to: args.to,
        profile,
    };
    let relay = Relay::start(options, wanted)
        .with_context(|| format!("cannot listen on udp {}", args.listen))?;
    say(&Said::Ready {
        listen: relay.address(),
        to: args.to,
    })?;
    serve(&relay, args.stdin).await?;
    say(&Said::Report(&relay.report()?))?;
    drop(relay);
    match writer.transpose()? {
        Some(thread) => thread
            .join()
            .unwrap_or_else(|_| anyhow::bail!("the writer of samples panicked")),
        None => Ok(()),
    }
}

async fn serve(relay: &Relay, from_stdin: bool) -> Result<()> {
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let mut asked = signal(SignalKind::user_defined1())?;
    let (sink, mut lines) = tokio::sync::mpsc::channel(LINES_MAX);
    if from_stdin {
        // A thread: it ends with the process, for a read of stdin cannot be called off.
        std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines() {
                let Ok(line) = line else { return };
                if sink.blocking_send(line).is_err() {
                    return;
                }
            }
        });
    }
    loop {
        tokio::select! {
            _ = interrupted.recv() => return Ok(()),
            _ = terminated.recv() => return Ok(()),
            _ = asked.recv() => say(&Said::Report(&relay.report()?))?,
            line = lines.recv(), if from_stdin => match line {
                Some(line) => carry_out(relay, &line)?,
                None => return Ok(()),
            },
        }
    }
}

fn carry_out(relay: &Relay, line: &str) -> Result<()> {
    let line: Line = match serde_json::from_str(line) {
        Ok(line) => line,
        Err(error) => {
            let detail = format!(
                "{error}; write changes as {{\"down\":{{\"rate\":\"2mbit\"}},\"up\":{{\"loss\":\"1%\"}}}}"
            );
            return say(&Said::Refused { detail });
        }
    };
    let report = relay.report()?;
    relay.change(line.down, line.up)?;
    if line.rebind {
        relay.rebind()?;
    }
    say(&Said::Changed(&report))
}

/// The profile with the flags laid over it.
fn profile(args: &Args) -> Result<Profile> {
    let mut profile = match &args.profile {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            Profile::from_toml(&text).with_context(|| path.display().to_string())?
        }
        None => Profile::from_toml("")?,
    };
    let way = args.rtt.map(|rtt| Span { us: rtt.us / 2 });
    let down = Change {
        loss: args.loss,
        burst: args.burst,
        rate: args.rate,
        queue: args.queue,
        delay: way,
        jitter: args.jitter,
        reorder: args.reorder,
        reorder_by: args.reorder_by,
        jitter_shape: None,
    };
    let up = Change {
        delay: way,
        ..Change::default()
    };
    profile.down = down.applied(&profile.down);
    profile.up = up.applied(&profile.up);
    profile.seed = args.seed.unwrap_or(profile.seed);
    Ok(profile)
}

type Writer = std::thread::JoinHandle<Result<()>>;

/// Writes samples until the relay is gone.
fn write(path: PathBuf, samples: Receiver<Sample>) -> Result<Writer> {
    let file =
        File::create(&path).with_context(|| format!("cannot write to {}", path.display()))?;
    let mut file = BufWriter::new(file);
    let thread = std::thread::Builder::new().name("samples".to_owned());
    let thread = thread.spawn(move || {
        for sample in samples {
            serde_json::to_writer(&mut file, &sample)?;
            file.write_all(b"\n")?;
            // Whoever follows the file sees whole lines as they come.
            file.flush()?;
        }
        Ok(())
    })?;
    Ok(thread)
}

fn say(said: &Said<'_>) -> Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, said)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}
