//! `loadtest sessions`: how many sessions a second a broker creates, and how long each takes.
//!
//! A real broker on a real disk, real control streams, real HTTP. Arrivals are a Poisson process at a
//! fixed rate that waits for nobody (open loop), and a time is counted from the arrival that was
//! scheduled: a broker that stalls is charged for everyone it keeps waiting. Each session is placed,
//! ordered, acked, shows its first picture, and is over after its time. At the end the broker is
//! killed with -9 amid requests, started again, and asked for every session that it acked with 201.
//!
//! What it does not do: sleep between retries, warm up, or leave out the slowest. A run that measured something easier
//! is none: one with other answers than 201, with sessions that were not started or did not end, with streams
//! that were lost, or on a disk that is none.

mod disk;
mod faults;
pub(crate) mod http;
pub(crate) mod process;

use crate::edge::{cpu_s, resident_kib};
use crate::fleet::{Fleet, Shape};
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use hdrhistogram::Histogram;
use http::Client;
use hyper::Method;
use process::{Process, Setup};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::time::Instant;

/// Writes that the disk's sync is measured with.
const SYNCS: usize = 100;
/// Requests under way at a time when sessions are looked for.
const LOOKERS: usize = 32;
/// How long the broker may take for all nodes, and how often it is asked.
const ATTACHED_WITHIN: Duration = Duration::from_secs(120);
const ATTACHED_EVERY: Duration = Duration::from_millis(200);
/// The app that is started: what it runs is nobody's concern here.
const APP: &str = "calibrate";

/// Create sessions as fast as asked, and look for every one of them afterwards.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Sessions a second.
    #[arg(long, default_value_t = 1500)]
    rate: u32,
    /// For so many seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Attached nodes.
    #[arg(long, default_value_t = 1000)]
    nodes: usize,
    /// Slots of each.
    #[arg(long, default_value_t = 20)]
    slots: usize,
    /// Milliseconds for which a session runs.
    #[arg(long, default_value_t = 5000)]
    hold_ms: u64,
    /// HTTP connections.
    #[arg(long, default_value_t = 256)]
    connections: usize,
    /// The ledger: a postgres:// URL [default: a file in --data].
    #[arg(long)]
    ledger: Option<String>,
    /// An empty directory for the broker's data, on the disk that is to be measured.
    #[arg(long)]
    data: PathBuf,
    /// The broker's program [default: the one beside this one].
    #[arg(long)]
    broker: Option<PathBuf>,
    /// Of the arrivals.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Report {
    rate: u32,
    seconds: u32,
    nodes: usize,
    slots: usize,
    /// Answered with 201.
    created: usize,
    created_per_s: f64,
    /// Milliseconds from the scheduled arrival to the answer.
    ms_p50: f64,
    ms_p90: f64,
    ms_p99: f64,
    ms_max: f64,
    /// Of the arrivals of each second: where a tail comes from.
    ms_p99_by_second: Vec<f64>,
    /// Other answers by status; 0 for none, before the broker was killed.
    others: BTreeMap<u16, usize>,
    /// Without an answer as the broker was killed amid them.
    cut_off: usize,
    /// Sessions that were placed at once.
    placed_at_once: usize,
    started: u64,
    /// As many as had the time for it when the broker was killed.
    started_due: usize,
    ended: u64,
    ended_due: usize,
    streams_lost: u64,
    /// Of those with 201, how many the broker has after kill -9.
    found: usize,
    missing: usize,
    /// What the ledger's engine does to make a commit durable.
    durability: BTreeMap<String, String>,
    fdatasync_ms_p50: f64,
    /// The file system of --data, and what it is on.
    disk: String,
    broker_cores: f64,
    broker_rss_kib: u64,
}

/// Runs it; prints the report as JSON. `false` if an acked session is missing, or something easier was measured.
///
/// # Errors
/// Nothing could be measured.
pub fn run(args: &Args) -> Result<bool> {
    let report = crate::report::measured(measure(args))?;
    Ok(faults::none_of(&report))
}

async fn measure(args: &Args) -> Result<Report> {
    let setup = Setup::on(&args.data, args.broker.as_deref(), args.ledger.as_deref())?;
    let disk = disk::of(&setup.data)?;
    let sync_ms = sync_ms(&setup.data)?;
    let broker = Process::start(&setup).await?;
    let shape = Shape {
        nodes: args.nodes,
        slots: args.slots,
        hold: Duration::from_millis(args.hold_ms),
        redials: false,
    };
    let fleet = Fleet::attach(&setup.pki(), broker.node_listen, shape).await?;
    let key = setup.key()?;
    attached(broker.listen, &key, args.nodes).await?;
    let durability = durability(broker.listen, &key).await?;
    let pid = broker.pid()?;
    let cpu_before = cpu_s(pid)?;
    let began = Instant::now();
    let load = load(args, broker.listen, &key, began).await;
    let took = began.elapsed().as_secs_f64();
    let cpu = cpu_s(pid)? - cpu_before;
    let rss = resident_kib(pid)?;
    // Those that the kill costs do not count.
    let streams_lost = fleet.done.lost.load(Relaxed);
    broker.kill().await?;
    // What was under way had its chance.
    let tally = load
        .join_all()
        .await
        .into_iter()
        .try_fold(Tally::new(), |all, tally| all.add(tally?))?;
    let done = fleet.done.clone();
    drop(fleet);
    let due = tally.due(args);

    let again = Process::start(&setup).await?;
    let found = look_for(again.listen, &key, &tally.created).await?;
    let us = tally.us()?;
    let ms = |q: f64| us.value_at_quantile(q) as f64 / 1000.0;
    let p99 = |us: &Histogram<u64>| us.value_at_quantile(0.99) as f64 / 1000.0;
    Ok(Report {
        rate: args.rate,
        seconds: args.seconds,
        nodes: args.nodes,
        slots: args.slots,
        created: tally.created.len(),
        created_per_s: tally.created.len() as f64 / took,
        ms_p50: ms(0.5),
        ms_p90: ms(0.9),
        ms_p99: ms(0.99),
        ms_max: us.max() as f64 / 1000.0,
        ms_p99_by_second: tally.us.iter().map(p99).collect(),
        others: tally.others,
        cut_off: tally.cut_off,
        placed_at_once: tally.placed,
        started: done.started.load(Relaxed),
        started_due: due.started,
        ended: done.ended.load(Relaxed),
        ended_due: due.ended,
        streams_lost,
        found,
        missing: tally.created.len() - found,
        durability,
        fdatasync_ms_p50: sync_ms,
        disk,
        broker_cores: cpu / took,
        broker_rss_kib: rss,
    })
}

/// Lets arrivals come until the time is over; what is under way then is still to be waited for.
async fn load(
    args: &Args,
    broker: SocketAddr,
    key: &str,
    began: Instant,
) -> tokio::task::JoinSet<Result<Tally>> {
    let arrivals = Arc::new(arrivals(args));
    let next = Arc::new(AtomicUsize::new(0));
    let for_all = Duration::from_secs(args.seconds.into());
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..args.connections {
        let client = Client::new(broker, key);
        let times = (began, for_all);
        workers.spawn(work(client, arrivals.clone(), next.clone(), times));
    }
    tokio::time::sleep_until(began + for_all).await;
    workers
}

/// When sessions are asked for: a Poisson process.
fn arrivals(args: &Args) -> Vec<Duration> {
    let mut rng = StdRng::seed_from_u64(args.seed);
    let (mut at, mut arrivals) = (0.0, Vec::new());
    loop {
        at += -(1.0 - rng.random::<f64>()).ln() / f64::from(args.rate);
        if at >= f64::from(args.seconds) {
            return arrivals;
        }
        arrivals.push(Duration::from_secs_f64(at));
    }
}

/// What came of requests.
struct Tally {
    /// Microseconds, of the arrivals of each second.
    us: Vec<Histogram<u64>>,
    created: Vec<String>,
    /// How many of them were answered in each second.
    answered: Vec<usize>,
    placed: usize,
    others: BTreeMap<u16, usize>,
    cut_off: usize,
}

impl Tally {
    fn new() -> Self {
        Self {
            us: Vec::new(),
            created: Vec::new(),
            answered: Vec::new(),
            placed: 0,
            others: BTreeMap::new(),
            cut_off: 0,
        }
    }

    fn record(&mut self, arrival: Duration, took: Duration) -> Result<()> {
        let second = usize::try_from(arrival.as_secs())?;
        while self.us.len() <= second {
            self.us.push(Histogram::new(3)?);
        }
        self.us[second].record(u64::try_from(took.as_micros())?)?;
        Ok(())
    }

    fn answered_in(&mut self, second: usize, n: usize) {
        if self.answered.len() <= second {
            self.answered.resize(second + 1, 0);
        }
        self.answered[second] += n;
    }

    /// Of the whole run.
    fn us(&self) -> Result<Histogram<u64>> {
        let mut all = Histogram::new(3)?;
        for second in &self.us {
            all.add(second)?;
        }
        Ok(all)
    }

    fn add(mut self, other: Self) -> Result<Self> {
        for (second, us) in other.us.into_iter().enumerate() {
            match self.us.get_mut(second) {
                Some(known) => known.add(us)?,
                None => self.us.push(us),
            }
        }
        self.created.extend(other.created);
        for (second, n) in other.answered.into_iter().enumerate() {
            self.answered_in(second, n);
        }
        self.cut_off += other.cut_off;
        self.placed += other.placed;
        for (status, n) in other.others {
            *self.others.entry(status).or_default() += n;
        }
        Ok(self)
    }
}

#[derive(Deserialize)]
struct Created {
    id: String,
    state: State,
}

#[derive(Deserialize)]
struct State {
    phase: String,
}

/// Takes arrivals one after the other, until the last one or the broker's end.
async fn work(
    mut client: Client,
    arrivals: Arc<Vec<Duration>>,
    next: Arc<AtomicUsize>,
    (began, for_all): (Instant, Duration),
) -> Result<Tally> {
    let mut tally = Tally::new();
    let body = Bytes::from(format!("{{\"app\":\"{APP}\"}}"));
    while let Some(arrival) = arrivals.get(next.fetch_add(1, Relaxed)) {
        let scheduled = began + *arrival;
        tokio::time::sleep_until(scheduled).await;
        let key = nearlight_kit::ids::request();
        let asked = client.ask(
            Method::POST,
            "/v1/sessions",
            Some(key.as_str()),
            body.clone(),
        );
        let Ok((status, answer)) = asked.await else {
            // The broker is killed when all arrivals have come, and not before.
            match began.elapsed() < for_all {
                true => *tally.others.entry(0).or_default() += 1,
                false => tally.cut_off += 1,
            }
            return Ok(tally);
        };
        tally.record(*arrival, scheduled.elapsed())?;
        match serde_json::from_slice::<Created>(&answer) {
            Ok(created) if status == 201 => {
                tally.placed += usize::from(created.state.phase != "queued");
                tally.created.push(created.id);
                tally.answered_in(usize::try_from(began.elapsed().as_secs())?, 1);
            }
            Ok(_) | Err(_) => *tally.others.entry(status).or_default() += 1,
        }
    }
    Ok(tally)
}

/// How many of the sessions the broker has.
async fn look_for(broker: SocketAddr, key: &str, ids: &[String]) -> Result<usize> {
    let mut lookers = tokio::task::JoinSet::new();
    for part in ids.chunks(ids.len().div_ceil(LOOKERS).max(1)) {
        let (mut client, part) = (Client::new(broker, key), part.to_vec());
        lookers.spawn(async move {
            let mut found = 0;
            for id in part {
                let path = format!("/v1/sessions/{id}");
                let (status, _) = client.ask(Method::GET, &path, None, Bytes::new()).await?;
                ensure!(matches!(status, 200 | 404), "{path}: {status}");
                found += usize::from(status == 200);
            }
            Ok(found)
        });
    }
    let mut found = 0;
    for part in lookers.join_all().await {
        found += part?;
    }
    Ok(found)
}

/// Waits until the broker has taken every node: what is measured is creating sessions, not attaching.
async fn attached(broker: SocketAddr, key: &str, nodes: usize) -> Result<()> {
    let mut client = Client::new(broker, key);
    let expected = format!("broker_nodes{{status=\"online\"}} {nodes}");
    let until = Instant::now() + ATTACHED_WITHIN;
    loop {
        let asked = client.ask(Method::GET, "/metrics", None, Bytes::new());
        let (_, metrics) = asked.await?;
        let metrics = String::from_utf8(metrics.to_vec())?;
        if metrics.lines().any(|line| line == expected) {
            return Ok(());
        }
        ensure!(Instant::now() < until, "the broker does not take all nodes");
        tokio::time::sleep(ATTACHED_EVERY).await;
    }
}

/// The engine's settings as the broker's metrics have them.
///
/// # Errors
/// One of them gives up what was acked: what would be measured is something easier.
async fn durability(broker: SocketAddr, key: &str) -> Result<BTreeMap<String, String>> {
    let mut client = Client::new(broker, key);
    let asked = client.ask(Method::GET, "/metrics", None, Bytes::new());
    let (_, metrics) = asked.await?;
    let metrics = String::from_utf8(metrics.to_vec())?;
    let mut settings = BTreeMap::new();
    for line in metrics.lines() {
        let Some(rest) = line.strip_prefix("broker_ledger_durable{") else {
            continue;
        };
        let quoted: Vec<&str> = rest.split('"').collect();
        let [_, setting, _, value, end] = quoted[..] else {
            continue;
        };
        ensure!(
            end == "} 1",
            "the ledger is not durable: {setting} is {value}"
        );
        settings.insert(setting.to_owned(), value.to_owned());
    }
    ensure!(
        !settings.is_empty(),
        "the broker does not tell how durable its ledger is"
    );
    Ok(settings)
}

/// What making one block durable takes on the disk of `dir`, milliseconds.
pub(crate) fn sync_ms(dir: &Path) -> Result<f64> {
    let mut file = tempfile::tempfile_in(dir).context("cannot write to --data")?;
    let mut times = Histogram::<u64>::new(3)?;
    for _ in 0..SYNCS {
        file.write_all(&[0; 4096])?;
        let began = std::time::Instant::now();
        file.sync_data()?;
        times.record(u64::try_from(began.elapsed().as_micros())?)?;
    }
    Ok(times.value_at_quantile(0.5) as f64 / 1000.0)
}
