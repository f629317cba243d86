//! `loadtest stream`: native receivers that measure what a session delivers.
//!
//! Owns the sessions that it starts, and ends them, also when it fails or is told to stop. One thread
//! a session; all measure the same window, over which the CPU of the node's processes is taken.

#[cfg(test)]
mod codecs;
mod report;
mod session;

use crate::edge::{Edge, cpu_s};
use anyhow::{Context, Result};
use nearlight_player::broker::{Broker, BrokerArgs};
use nearlight_player::started::Started;
use nearlight_player::viewer::Codec;
use nearlight_protocol::app::DisplayMode;
use nearlight_protocol::id::{AppId, SessionId};
use nearlight_sim::path::Span;
pub use report::{Cpu, Quantiles, Report, SessionReport, StagesMs};
use session::{Measured, Plan};
use std::io::Write;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Between two looks at whether it is time.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Receives sessions natively and measures loss, jitter, latency, frames and CPU.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    broker: BrokerArgs,
    /// Sessions to start.
    #[arg(long, default_value_t = 1)]
    sessions: usize,
    /// Sessions that run already, instead of new ones; they are left running.
    #[arg(long = "session")]
    attach: Vec<SessionId>,
    /// What to start.
    #[arg(long, default_value = "calibrate")]
    app: AppId,
    /// How long to measure.
    #[arg(long, default_value = "15s")]
    measure: Span,
    /// How long to play before that.
    #[arg(long, default_value = "3s")]
    warm_up: Span,
    /// The codec to offer.
    #[arg(long, value_enum, default_value_t = Codec::H264)]
    codec: Codec,
    /// Sessions to decode, whose barcodes are checked; 0 for an app that shows none.
    #[arg(long, default_value_t = 1)]
    decode: usize,
    /// Presses a key so often, in each session.
    #[arg(long)]
    press_every: Option<Span>,
    /// The most to ask for, kbit/s; 0 is no limit.
    #[arg(long, default_value_t = 0)]
    kbps_max: u32,
    /// The node's listener for operators, for the CPU of its processes.
    #[arg(long)]
    admin: Option<String>,
    /// Address to receive at; the loopback address reaches a node on this machine only.
    #[arg(long, default_value = "127.0.0.1")]
    bind: IpAddr,
    /// A session below this is broken.
    #[arg(long, default_value_t = 1.0)]
    fps_min: f64,
    /// A session with a longer gap between pictures is broken.
    #[arg(long, default_value = "5s")]
    gap_max: Span,
    /// Records the first session's access units to this file, for `loadtest net-cpu`.
    #[arg(long)]
    record: Option<PathBuf>,
    /// Only JSON.
    #[arg(long)]
    quiet: bool,
}

/// The time over which everything is measured, on the monotonic clock.
#[derive(Clone, Copy, Debug)]
struct Window {
    from_us: u64,
    to_us: u64,
}

/// Runs; `true` if nothing is broken.
///
/// # Errors
/// Something could not be measured.
pub fn run(args: &Args) -> Result<bool> {
    let broker = Broker::new(&args.broker)?;
    let edge = args.admin.as_deref().map(Edge::find).transpose()?;
    let mut started = Started::new(&broker);
    let mut sessions = Vec::new();
    for id in &args.attach {
        let session = broker.session(id)?;
        sessions.push((id.clone(), session.display.unwrap_or_default()));
    }
    if args.attach.is_empty() {
        for _ in 0..args.sessions {
            let session = started.start_session(&args.app)?;
            sessions.push((session.id, session.display.unwrap_or_default()));
        }
    }
    let (measured, cpu) = measure(args, &broker, edge.as_ref(), &sessions)?;
    started.end();
    let report = Report::new(measured, cpu, args.fps_min, args.gap_max.us);
    if !args.quiet {
        report.print_table()?;
    }
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, &report)?;
    writeln!(out)?;
    Ok(report.faults.is_empty())
}

fn measure(
    args: &Args,
    broker: &Broker,
    edge: Option<&Edge>,
    sessions: &[(SessionId, DisplayMode)],
) -> Result<(Vec<Measured>, Option<Cpu>)> {
    let window = Arc::new(OnceLock::new());
    let failed = Arc::new(AtomicBool::new(false));
    let plan = |number: usize, id: &SessionId, display: &DisplayMode| Plan {
        broker: broker.clone(),
        session: id.clone(),
        display_width: display.width,
        codec: args.codec,
        decode: number < args.decode,
        bind: args.bind,
        press_every_us: args.press_every.map(|span| span.us.max(1000)),
        kbps_max: args.kbps_max,
        record: args.record.clone().filter(|_| number == 0),
        window: Arc::clone(&window),
        failed: Arc::clone(&failed),
    };
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        let (attached, all_attached) = std::sync::mpsc::sync_channel(sessions.len());
        for (number, (id, display)) in sessions.iter().enumerate() {
            let (plan, attached) = (plan(number, id, display), attached.clone());
            threads.push(scope.spawn(move || {
                let measured = session::run(&plan, &attached);
                if measured.is_err() {
                    plan.failed.store(true, Relaxed);
                }
                measured
            }));
        }
        drop(attached);
        let count = all_attached.iter().take(sessions.len()).count();
        let cpu = if count == sessions.len() {
            let from_us = nearlight_player::clock::micros() + args.warm_up.us;
            let to_us = from_us + args.measure.us;
            // Set once: this is the only writer.
            let _ = window.set(Window { from_us, to_us });
            take_cpu(edge, sessions, Window { from_us, to_us }, &failed)
        } else {
            Ok(None)
        };
        let measured = threads.into_iter().map(|thread| {
            let measured = thread.join();
            measured.unwrap_or_else(|_| anyhow::bail!("a session's thread panicked"))
        });
        Ok((all_or_the_cause(measured)?, cpu?))
    })
}

/// Every measurement, or the error for which the others were given up.
fn all_or_the_cause(measured: impl Iterator<Item = Result<Measured>>) -> Result<Vec<Measured>> {
    let (mut all, mut given_up) = (Vec::new(), None);
    for one in measured {
        match one {
            Ok(one) => all.push(one),
            Err(error) if error.is::<session::GivenUp>() => given_up = Some(error),
            Err(cause) => return Err(cause),
        }
    }
    given_up.map_or(Ok(all), Err)
}

/// CPU of the node's processes over the window.
fn take_cpu(
    edge: Option<&Edge>,
    sessions: &[(SessionId, DisplayMode)],
    window: Window,
    failed: &AtomicBool,
) -> Result<Option<Cpu>> {
    let wait = |until_us: u64| {
        while nearlight_player::clock::micros() < until_us && !failed.load(Relaxed) {
            std::thread::sleep(LOOK_EVERY);
        }
    };
    let Some(edge) = edge else {
        return Ok(None);
    };
    let ours = |id: &SessionId| sessions.iter().any(|(session, _)| session == id);
    let workers: Vec<u32> = edge
        .sessions()?
        .iter()
        .filter(|session| ours(&session.session))
        .filter_map(|session| session.worker_pid)
        .collect();
    let take = || -> Result<(f64, f64, u64)> {
        let at_us = nearlight_player::clock::micros();
        let workers: Result<f64> = workers.iter().map(|pid| cpu_s(*pid)).sum();
        Ok((cpu_s(edge.pid())?, workers?, at_us))
    };
    wait(window.from_us);
    let (agent, worker, from_us) = take().context("the node's CPU")?;
    wait(window.to_us);
    let (agent_after, worker_after, to_us) = take().context("the node's CPU")?;
    let percent = 100.0 / (to_us.saturating_sub(from_us).max(1) as f64 / 1e6);
    Ok(Some(Cpu {
        agent_percent: (agent_after - agent) * percent,
        workers_percent: (worker_after - worker) * percent,
        percent_per_session: (agent_after - agent + worker_after - worker) * percent
            / sessions.len().max(1) as f64,
    }))
}
