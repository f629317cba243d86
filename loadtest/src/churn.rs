//! `loadtest churn`: viewers attach, see a picture and leave, over and over, and then the node must
//! hold what it held before.
//!
//! ```text
//! start sessions -> warm up -> settle, hold --cycles--> settle, compare -> end sessions
//! ```
//!
//! A viewer leaves in one of three ways, drawn from the seed: by WHEP's DELETE, by closing its
//! connection, or without a word, as a browser does that crashes. Invariant: what is compared is
//! taken while nobody is attached; a node that is still letting go is waited for, up to a deadline.

mod memory;
mod visit;

use crate::edge::{Edge, Holdings, ProcessHoldings, process_holdings, resident_kib};
use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use memory::Resident;
pub use memory::{Growth, Growths};
use nearlight_player::broker::{Broker, BrokerArgs};
use nearlight_player::started::Started;
use nearlight_player::viewer::Codec;
use nearlight_protocol::id::{AppId, SessionId};
use nearlight_sim::path::{Share, Span};
use serde::Serialize;
use std::io::Write;
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
pub use visit::Ways;

/// Cycles before anything is compared: pools, caches and lazy threads come to their size.
const WARM_UP_CYCLES: u64 = 10;
/// How long a node may take to let go of a viewer that vanished, and of everything else.
const SETTLE_DEADLINE: Duration = Duration::from_secs(90);
/// Between two looks at a node that settles.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Connections to its ledger, to callers and to peers, and threads that wait for more to do: a broker keeps
/// them for a while, as many as were in use at once. A leak is one for each visit, or each tenth.
const BROKER_SLACK: usize = 8;
/// The longest wait for a first picture that is told apart.
const LONGEST_US: u64 = 60_000_000;
/// So many visits may fail before there is no point in going on.
const FAULTS_MAX: usize = 10;

/// Attaches and detaches native viewers, and proves that the node lets go of them.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    broker: BrokerArgs,
    /// The node's listener for operators, such as http://127.0.0.1:9900.
    #[arg(long)]
    admin: String,
    /// The broker's process, where it is on this machine: what it holds is compared too.
    #[arg(long)]
    broker_pid: Option<u32>,
    /// How often to attach and detach.
    #[arg(long, default_value_t = 200)]
    cycles: u64,
    /// Goes on until this time is over, however many cycles that takes.
    #[arg(long)]
    at_least: Option<Span>,
    /// Sessions at a time, each with one viewer after the other.
    #[arg(long, default_value_t = 2)]
    sessions: usize,
    /// What to start.
    #[arg(long, default_value = "calibrate")]
    app: AppId,
    /// Seed of how long viewers stay and how they leave.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The longest that a viewer stays after its first picture.
    #[arg(long, default_value = "100ms")]
    stay_max: Span,
    /// The codec to offer.
    #[arg(long, value_enum, default_value_t = Codec::H264)]
    codec: Codec,
    /// Memory of agent, workers or broker that grows by more than this is a fault; without it growth is only reported.
    #[arg(long)]
    growth_max: Option<Share>,
    /// Address to receive at.
    #[arg(long, default_value = "127.0.0.1")]
    bind: IpAddr,
}

/// What the processes hold while nobody is attached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Held {
    /// The agent.
    pub agent: Holdings,
    /// The workers, session by session.
    pub workers: Vec<ProcessHoldings>,
    /// The broker, if it is looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broker: Option<ProcessHoldings>,
}

/// The report.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Visits that were counted.
    pub cycles: u64,
    /// How long they took.
    pub seconds: f64,
    /// How viewers left.
    pub ways: Ways,
    /// From the offer to the first picture, milliseconds: p50, p99, max.
    pub first_frame_ms: [f64; 3],
    /// Attachments that the node counted meanwhile.
    pub attachments: u64,
    /// Held before, after the warm-up.
    pub before: Held,
    /// Held after.
    pub after: Held,
    /// Resident memory of each role over the run.
    pub memory: Growths,
    /// What is broken, in words; empty if nothing is.
    pub faults: Vec<String>,
}

/// What the threads share.
struct Run<'a> {
    args: &'a Args,
    broker: &'a Broker,
    begun: AtomicU64,
    done: AtomicU64,
    until: Option<Instant>,
    cycles: u64,
    seen: Mutex<Seen>,
}

/// What they saw.
struct Seen {
    ways: Ways,
    first_frame_us: Histogram<u64>,
    faults: Vec<String>,
}

/// Runs; `true` if nothing is broken.
///
/// # Errors
/// Something could not be measured.
pub fn run(args: &Args) -> Result<bool> {
    let broker = Broker::new(&args.broker)?;
    let edge = Edge::find(&args.admin)?;
    let mut started = Started::new(&broker);
    let mut sessions = Vec::new();
    for _ in 0..args.sessions.max(1) {
        sessions.push(started.start(&args.app)?);
    }
    let warm_up = WARM_UP_CYCLES * sessions.len() as u64;
    let mut memory = Resident::default();
    let warm = cycle(
        args,
        &broker,
        &edge,
        &sessions,
        (warm_up, None),
        &mut memory,
    )?;
    if let Some(fault) = warm.faults.first() {
        bail!("the first viewers failed: {fault}");
    }
    let before = settled(args, &edge, &sessions, None)?;
    let counted = attachments(&edge, &sessions)?;
    let (began, mut memory) = (Instant::now(), Resident::default());
    let plan = (args.cycles, args.at_least);
    let seen = cycle(args, &broker, &edge, &sessions, plan, &mut memory)?;
    let seconds = began.elapsed().as_secs_f64();
    let after = settled(args, &edge, &sessions, Some(&before))?;
    let attachments = attachments(&edge, &sessions)? - counted;
    started.end();
    let mut report = Report {
        cycles: seen.ways.total(),
        seconds,
        ways: seen.ways,
        first_frame_ms: [0.5, 0.99, 1.0]
            .map(|quantile| seen.first_frame_us.value_at_quantile(quantile) as f64 / 1000.0),
        attachments,
        before,
        after,
        memory: memory.growths(),
        faults: seen.faults,
    };
    report.judge(args.growth_max);
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, &report)?;
    writeln!(out)?;
    Ok(report.faults.is_empty())
}

/// Visits every session, each from a thread of its own, until enough are done.
fn cycle(
    args: &Args,
    broker: &Broker,
    edge: &Edge,
    sessions: &[SessionId],
    (cycles, at_least): (u64, Option<Span>),
    memory: &mut Resident,
) -> Result<Seen> {
    let run = Run {
        args,
        broker,
        begun: AtomicU64::new(0),
        done: AtomicU64::new(0),
        until: at_least.map(|span| Instant::now() + Duration::from_micros(span.us)),
        cycles,
        seen: Mutex::new(Seen {
            ways: Ways::default(),
            first_frame_us: Histogram::new_with_bounds(1, LONGEST_US, 3)?,
            faults: Vec::new(),
        }),
    };
    let workers = workers(edge, sessions)?;
    std::thread::scope(|scope| {
        let threads: Vec<_> = sessions
            .iter()
            .enumerate()
            .map(|(number, session)| {
                let run = &run;
                scope.spawn(move || visit::repeat(run, number as u64, session))
            })
            .collect();
        while threads.iter().any(|thread| !thread.is_finished()) {
            let agent = resident_kib(edge.pid()).context("the agent has ended")?;
            let resident: Result<u64> = workers.iter().map(|pid| resident_kib(*pid)).sum();
            let broker = args.broker_pid.map(resident_kib).transpose();
            memory.add(
                agent,
                resident.context("a worker has ended")?,
                broker.context("the broker has ended")?,
            );
            std::thread::sleep(LOOK_EVERY);
        }
        Ok::<(), anyhow::Error>(())
    })?;
    Ok(run
        .seen
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner))
}

impl Run<'_> {
    /// The number of the next visit, unless enough have begun or too many have failed.
    fn next(&self) -> Option<u64> {
        let number = self.begun.fetch_add(1, Relaxed);
        let more = number < self.cycles || self.until.is_some_and(|until| Instant::now() < until);
        (more && self.seen().faults.len() < FAULTS_MAX).then_some(number)
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says now and then how far it is.
    fn progress(&self) {
        let done = self.done.fetch_add(1, Relaxed) + 1;
        if done.is_multiple_of(500) {
            tracing::info!(done, of = self.cycles, "viewers came and went");
        }
    }
}

/// What the node holds once nobody is attached and it holds no more than `before`, or the deadline
/// is over.
fn settled(
    args: &Args,
    edge: &Edge,
    sessions: &[SessionId],
    before: Option<&Held>,
) -> Result<Held> {
    let until = Instant::now() + SETTLE_DEADLINE;
    let mut last: Option<Held> = None;
    loop {
        let held = held(args, edge, sessions)?;
        let enough = match before {
            Some(before) => held.excess(before).is_empty(),
            // Twice the same: nothing is on its way any more.
            None => last.as_ref() == Some(&held),
        };
        if (enough && held.agent.attachments == 0) || Instant::now() >= until {
            return Ok(held);
        }
        last = Some(held);
        std::thread::sleep(LOOK_EVERY);
    }
}

fn held(args: &Args, edge: &Edge, sessions: &[SessionId]) -> Result<Held> {
    let workers = workers(edge, sessions)?;
    let workers: Result<_> = workers.into_iter().map(process_holdings).collect();
    let broker = args.broker_pid.map(process_holdings).transpose();
    Ok(Held {
        agent: edge.holdings()?,
        workers: workers.context("a worker has ended")?,
        broker: broker.context("the broker has ended")?,
    })
}

fn workers(edge: &Edge, sessions: &[SessionId]) -> Result<Vec<u32>> {
    let known = edge.sessions()?;
    let of = |id: &SessionId| {
        let session = known.iter().find(|session| session.session == *id);
        let pid = session.and_then(|session| session.worker_pid);
        pid.with_context(|| format!("{id} has ended"))
    };
    sessions.iter().map(of).collect()
}

/// Attachments that the node has counted, once its totals, which come once a second, stand still.
fn attachments(edge: &Edge, sessions: &[SessionId]) -> Result<u64> {
    let total = || -> Result<u64> {
        let known = edge.sessions()?;
        let ours = known.iter().filter(|one| sessions.contains(&one.session));
        Ok(ours
            .filter_map(|one| one.transport.as_ref())
            .map(|totals| totals.attachments)
            .sum())
    };
    let mut last = total()?;
    loop {
        std::thread::sleep(Duration::from_millis(1500));
        let now = total()?;
        if now == last {
            return Ok(now);
        }
        last = now;
    }
}

impl Held {
    /// What is more than before, in words.
    fn excess(&self, before: &Self) -> Vec<String> {
        let mut found = Vec::new();
        let mut compare = |what: &str, before: u64, after: u64| {
            if after > before {
                found.push(format!("{what}: {after}, and {before} before"));
            }
        };
        let (a, b) = (&before.agent, &self.agent);
        compare("files of the agent", a.files as u64, b.files as u64);
        compare("threads of the agent", a.threads as u64, b.threads as u64);
        compare("UDP sockets", a.udp_sockets as u64, b.udp_sockets as u64);
        compare("tasks of the agent", a.tasks, b.tasks);
        compare("viewers", 0, b.attachments);
        for (before, after) in before.workers.iter().zip(&self.workers) {
            compare("files of a worker", before.files as u64, after.files as u64);
            let threads = (before.threads as u64, after.threads as u64);
            compare("threads of a worker", threads.0, threads.1);
        }
        for (before, after) in before.broker.iter().zip(&self.broker) {
            let less = |held: usize| held.saturating_sub(BROKER_SLACK) as u64;
            compare(
                "files of the broker",
                before.files as u64,
                less(after.files),
            );
            let threads = (before.threads as u64, less(after.threads));
            compare("threads of the broker", threads.0, threads.1);
        }
        found
    }
}

impl Report {
    fn judge(&mut self, growth_max: Option<Share>) {
        let excess = self.after.excess(&self.before);
        self.faults.extend(
            excess
                .into_iter()
                .map(|what| format!("left behind: {what}")),
        );
        if self.attachments != self.cycles && self.faults.is_empty() {
            self.faults.push(format!(
                "{} viewers were connected, and the node counted {}",
                self.cycles, self.attachments
            ));
        }
        if let Some(share) = growth_max {
            self.faults.extend(self.memory.over(share.0 * 100.0));
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn what_the_broker_keeps_of_each_tenth_visit_is_seen_and_a_few_connections_are_not() {
        let holds = |files, threads| ProcessHoldings { files, threads };
        let held = |broker| Held {
            agent: Holdings {
                files: 60,
                threads: 12,
                udp_sockets: 1,
                tasks: 30,
                attachments: 0,
            },
            workers: vec![holds(40, 20)],
            broker,
        };
        let before = held(Some(holds(50, 20)));
        let excess = |files, threads| held(Some(holds(files, threads))).excess(&before);
        assert_eq!(excess(58, 28), Vec::<String>::new());
        assert_eq!(excess(70, 20), ["files of the broker: 62, and 50 before"]);
        assert_eq!(excess(50, 40).len(), 1);
        assert_eq!(held(None).excess(&held(None)), Vec::<String>::new());
    }
}
