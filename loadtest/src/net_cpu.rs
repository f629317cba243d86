//! `loadtest net-cpu`: what sending a session costs, and nothing else.
//!
//! ```text
//!  this process                                        another process
//!  replayed worker ─┐                                ┌─ receiver
//!  replayed worker ─┼─ socket ─> transport ─ UDP ─> ─┼─ receiver
//!        ...        ─┘            (measured)          └─ ...
//! ```
//!
//! The transport is the product's, with its pacing and SRTP; its workers are sockets that replay what
//! a real one encoded, at 60 frames a second. What is measured is the CPU time that the kernel's
//! scheduler gave to the transport's thread. Delivery over loopback happens in the sender's time and
//! is in the figure.

mod receivers;
mod record;
mod worker;

use crate::edge::threads_cpu_ns;
use crate::recording::{self, Recorder};
use anyhow::{Context, Result, bail};
use nearlight_protocol::control::{ViewerRole, WhepResult};
use nearlight_protocol::id::{AttachmentId, SessionId};
use nearlight_sim::path::Span;
use nearlight_transport::{Config, Event, Handle};
pub use receivers::ReceiveArgs;
use receivers::Receivers;
use serde::Serialize;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};
use worker::Replay;

pub use receivers::receive;

/// The name of the transport's thread.
const THREAD: &str = "transport";
/// Events that wait to be read; read at the latest after a run, when the old ones do not matter.
const EVENTS_MAX: usize = 10_000;
/// Far more than anything takes.
const DEADLINE: Duration = Duration::from_secs(30);
/// Connections settle and congestion control finds that the path carries everything.
const WARM_UP: Duration = Duration::from_secs(5);

/// Measures the CPU that sending costs, with replayed sessions and receivers in another process.
#[derive(Debug, clap::Args)]
pub struct NetCpuArgs {
    /// What to replay, as `loadtest stream --record` wrote it [default: ten seconds of the scene
    /// `noise` at 8 Mbit/s, which a worker records first].
    #[arg(long)]
    recording: Option<PathBuf>,
    /// Keeps what a worker records first, for later `--recording`: figures of one recording can be
    /// compared.
    #[arg(long, conflicts_with = "recording")]
    keep: Option<PathBuf>,
    /// Sends without segmentation offload, to measure what it brings.
    #[arg(long)]
    no_segmentation: bool,
    /// Sessions at a time.
    #[arg(long, default_value_t = 8)]
    sessions: u64,
    /// How long to measure.
    #[arg(long, default_value = "15s")]
    measure: Span,
    /// How often to measure; the median counts.
    #[arg(long, default_value_t = 3)]
    runs: usize,
}

#[derive(Clone, Debug, Serialize)]
struct Report {
    sessions: u64,
    /// Percent of a core for each session, the median run.
    #[serde(rename = "stream.net_cpu_percent")]
    net_cpu_percent: f64,
    /// Each run.
    runs: Vec<f64>,
    /// Picture that was replayed, for each session.
    kbps: f64,
    fps: f64,
    /// Of all sessions, over all runs.
    frames_in: u64,
    frames_sent: u64,
    packets_sent: u64,
    /// Since the receivers were connected.
    packets_received: u64,
    retransmits: u64,
    /// What makes the figure void, in words; empty if nothing does.
    faults: Vec<String>,
}

/// Totals of the transport, all sessions together.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    frames_in: u64,
    frames_sent: u64,
    packets_sent: u64,
    retransmits: u64,
}

/// Runs; `true` if the figure counts.
///
/// # Errors
/// Something could not be measured.
pub fn run(args: &NetCpuArgs) -> Result<bool> {
    let units = Arc::new(match &args.recording {
        Some(path) => recording::read(path)?,
        None => record::record()?,
    });
    if let Some(path) = &args.keep {
        keep(path, &units)?;
    }
    let (tell, events) = sync_channel(EVENTS_MAX);
    let loopback = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
    let start = if args.no_segmentation {
        nearlight_transport::start_unsegmented
    } else {
        nearlight_transport::start
    };
    let transport = start(Config::on(loopback), move |event| {
        // Totals that nobody reads are not missed: the next come in a second.
        let _ = tell.try_send(event);
    })?;
    let mut receivers = Receivers::start(args.sessions)?;
    let mut replays = Vec::new();
    for number in 0..args.sessions {
        let replay = Replay::start(&transport, session(number), Arc::clone(&units))?;
        wait(&events, |event| matches!(event, Event::FirstFrame { .. }))?;
        let offer = receivers.offer()?;
        receivers.answer(&answer(&transport, number, offer)?)?;
        wait(&events, |event| matches!(event, Event::Attached { .. }))?;
        replays.push(replay);
    }
    receivers.wait_connected()?;
    std::thread::sleep(WARM_UP);
    let before = totals(&events, args.sessions)?;
    let counted = Instant::now();
    let mut runs = Vec::new();
    for _ in 0..args.runs.max(1) {
        let (spent_ns, began) = (cpu_ns()?, Instant::now());
        std::thread::sleep(Duration::from_micros(args.measure.us));
        let (spent_ns, elapsed) = (cpu_ns()? - spent_ns, began.elapsed());
        runs.push(100.0 * spent_ns as f64 / elapsed.as_nanos() as f64 / args.sessions as f64);
    }
    let after = totals(&events, args.sessions)?;
    let seconds = counted.elapsed().as_secs_f64();
    drop(replays);
    let packets_received = receivers.finish()?;
    transport.shutdown();
    let report = Report::new(
        args,
        &units,
        runs,
        (before, after),
        seconds,
        packets_received,
    );
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, &report)?;
    writeln!(out)?;
    Ok(report.faults.is_empty())
}

impl Report {
    fn new(
        args: &NetCpuArgs,
        units: &[recording::Unit],
        runs: Vec<f64>,
        (before, after): (Totals, Totals),
        seconds: f64,
        packets_received: u64,
    ) -> Self {
        let frames_in = after.frames_in - before.frames_in;
        let frames_sent = after.frames_sent - before.frames_sent;
        let fps = frames_in as f64 / args.sessions as f64 / seconds;
        let mut sorted = runs.clone();
        sorted.sort_by(f64::total_cmp);
        let mut faults = Vec::new();
        if frames_sent * 100 < frames_in * 99 {
            faults.push(format!("{} frames were dropped", frames_in - frames_sent));
        }
        if fps < 57.0 {
            faults.push(format!(
                "the workers replayed {fps:.1} frames a second, not 60"
            ));
        }
        Self {
            sessions: args.sessions,
            net_cpu_percent: sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN),
            runs,
            kbps: record::kbps(units),
            fps,
            frames_in,
            frames_sent,
            packets_sent: after.packets_sent - before.packets_sent,
            packets_received,
            retransmits: after.retransmits - before.retransmits,
            faults,
        }
    }
}

fn keep(path: &Path, units: &[recording::Unit]) -> Result<()> {
    let mut recorder = Recorder::create(path)?;
    for unit in units {
        recorder.add(unit.key, &unit.data)?;
    }
    recorder.finish()
}

fn cpu_ns() -> Result<u64> {
    threads_cpu_ns(std::process::id(), THREAD)
}

fn session(number: u64) -> SessionId {
    SessionId::from_parts(number + 1, [1; 10])
}

fn answer(transport: &Handle, number: u64, offer: String) -> Result<String> {
    let (tell, told) = sync_channel(1);
    let role = ViewerRole::Player { take_over: false };
    let attachment = AttachmentId::from_parts(number + 1, [2; 10]);
    transport.offer(session(number), attachment, offer, role, move |result| {
        // Whoever waits has given up.
        let _ = tell.try_send(result);
    });
    match told.recv_timeout(DEADLINE)? {
        WhepResult::Answer { sdp } => Ok(sdp),
        refused => bail!("the transport refuses the offer: {refused:?}"),
    }
}

fn wait(events: &Receiver<Event>, wanted: impl Fn(&Event) -> bool) -> Result<()> {
    let until = Instant::now() + DEADLINE;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let event = events.recv_timeout(left);
        let event = event.context("the transport does not say what was waited for")?;
        if wanted(&event) {
            return Ok(());
        }
    }
}

/// The newest totals of every session: the next that come, after those that have come.
fn totals(events: &Receiver<Event>, sessions: u64) -> Result<Totals> {
    while events.try_recv().is_ok() {}
    let mut all = Totals::default();
    let mut seen = std::collections::BTreeSet::new();
    while (seen.len() as u64) < sessions {
        let event = events.recv_timeout(DEADLINE);
        let event = event.context("the transport counts no longer")?;
        if let Event::Counters {
            session, transport, ..
        } = event
            && seen.insert(session)
        {
            all.frames_in += transport.video_in;
            all.frames_sent += transport.video_sent;
            all.packets_sent += transport.packets_sent;
            all.retransmits += transport.retransmits;
        }
    }
    Ok(all)
}
