//! `loadtest receipts`: how many receipts a second the log of a broker takes, and how long each waits for its place.
//!
//! ```text
//!   broker begins its log, keys into its directory --kill--> entries and rows in bulk, up to the size that is asked for
//!     --start--> receipts over HTTP, at a fixed rate that waits for nobody, then as fast as can be
//!     --kill -9--> start, and places are asked for again
//! ```
//!
//! The broker is the real one, with its ledger in a file (SQLite) and its log's directory on the disk that `--data`
//! is on. What is sent are receipts of probes as checkers send them ([`envelopes`]): signed by checker and node, naming
//! their evidence, each of a probe of its own. A time is counted from the moment that was scheduled to the answer. What
//! a log that is older has, [`bulk`] writes: tiles, bundles and rows, all that an append reads or adds to.
//!
//! **What it does not do:** put the evidence itself; ask for proofs; have witnesses. Old entries are short, and no round of checks
//! comes of them.

mod bulk;
mod envelopes;

use crate::edge::{cpu_s, resident_kib};
use crate::sessions::http::Client;
use crate::sessions::process::{Process, Setup};
use crate::sessions::sync_ms;
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use envelopes::{Network, Sent};
use hdrhistogram::Histogram;
use hyper::Method;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::time::Instant;

/// How long the broker may take to show its log, and how often it is asked.
const SHOWN_WITHIN: Duration = Duration::from_secs(120);
const SHOWN_EVERY: Duration = Duration::from_millis(200);
/// Places that are asked for after the kill, at most.
const LOOK_MAX: usize = 2_000;

/// Append receipts to the log of a broker of the test's own.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Entries that the log has before.
    #[arg(long, default_value_t = 10_000)]
    entries: u64,
    /// Receipts a second, while each is timed.
    #[arg(long, default_value_t = 500)]
    rate: u32,
    /// For so many seconds.
    #[arg(long, default_value_t = 30)]
    seconds: u32,
    /// Seconds in which receipts are then sent as fast as the connections take them.
    #[arg(long, default_value_t = 60)]
    flood_seconds: u32,
    /// Receipts that are made for that before, 4 KB each: where they do not last, `flood_s` is less than was asked for.
    #[arg(long, default_value_t = 240_000)]
    flood: usize,
    /// HTTP connections.
    #[arg(long, default_value_t = 512)]
    connections: usize,
    /// Pieces of evidence that each names: six are those of a node's CPU.
    #[arg(long, default_value_t = 6)]
    pieces: u32,
    /// An empty directory for the broker's data, on the disk that is to be measured.
    #[arg(long)]
    data: PathBuf,
    /// The broker's program [default: the one beside this one].
    #[arg(long)]
    broker: Option<PathBuf>,
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Report {
    /// Entries that the log had before.
    entries: u64,
    envelope_bytes: usize,
    /// Given a place, and said so, in both parts.
    appended: usize,
    /// A second, while they were sent as fast as could be, until the last of them.
    appends_per_s: f64,
    flood_s: f64,
    /// Receipts a second, while each was timed.
    rate: u32,
    /// Milliseconds from the scheduled moment to the answer.
    ms_p50: f64,
    ms_p90: f64,
    ms_p99: f64,
    ms_max: f64,
    /// The middle one of each second: whether it kept up.
    ms_p50_by_second: Vec<f64>,
    /// Other answers by status; 0 for none.
    others: BTreeMap<u16, usize>,
    /// Of so many that were sent again after kill -9, how many stand elsewhere or are new.
    looked_for: usize,
    missing: usize,
    /// While they were sent as fast as could be.
    broker_cores: f64,
    broker_ms_each: f64,
    /// Of this program, meanwhile.
    client_cores: f64,
    broker_rss_kib: u64,
    fdatasync_ms_p50: f64,
    /// Building the log before, seconds.
    bulk_s: f64,
}

/// Runs it; prints the report as JSON. `false` if a receipt is missing that was given a place.
///
/// # Errors
/// Nothing could be measured.
pub fn run(args: &Args) -> Result<bool> {
    let report = crate::report::measured(measure(args))?;
    Ok(report.missing == 0)
}

async fn measure(args: &Args) -> Result<Report> {
    let setup = Setup::on(&args.data, args.broker.as_deref(), None)?;
    let sync_ms = sync_ms(&setup.data)?;
    let network = Network::new();
    let begun = begin(&setup, &network).await?;
    let since = Instant::now();
    bulk::fill(&setup.data, args.entries.max(begun)).await?;
    let bulk_s = since.elapsed().as_secs_f64();

    let timed = args.rate as usize * args.seconds as usize;
    let count = timed + args.flood;
    let sent: Vec<Sent> = tokio::task::spawn_blocking({
        let pieces = args.pieces;
        move || network.envelopes(count, pieces)
    })
    .await??;
    let envelope_bytes = sent.first().map_or(0, |first| first.bytes.len());
    let broker = Process::start(&setup).await?;
    let key = setup.key()?;
    let size = shown(broker.listen, &key, args.entries).await?;
    ensure!(size >= args.entries, "the broker shows {size} entries");
    let (pid, sent) = (broker.pid()?, Arc::new(sent));
    let to = (broker.listen, key.as_str());
    let mut tally = load(args, to, &sent, (0..timed, Pace::Rate(args.rate))).await?;
    let own = std::process::id();
    let (cpu_before, own_before, began) = (cpu_s(pid)?, cpu_s(own)?, Instant::now());
    let pace = Pace::Until(Duration::from_secs(args.flood_seconds.into()));
    let flood = load(args, to, &sent, (timed..count, pace)).await?;
    let flood_s = began.elapsed().as_secs_f64();
    let (broker_s, own_s) = (cpu_s(pid)? - cpu_before, cpu_s(own)? - own_before);
    let broker_rss_kib = resident_kib(pid)?;
    broker.kill().await?;

    let again = Process::start(&setup).await?;
    shown(again.listen, &key, args.entries).await?;
    let flooded = flood.placed.len();
    tally.take(flood);
    let (looked_for, missing) = look_for((again.listen, &key), &sent, &tally.placed).await?;
    let us = tally.us()?;
    let ms = |q: f64| us.value_at_quantile(q) as f64 / 1000.0;
    let p50 = |us: &Histogram<u64>| us.value_at_quantile(0.5) as f64 / 1000.0;
    Ok(Report {
        entries: size,
        rate: args.rate,
        envelope_bytes,
        appended: tally.placed.len(),
        appends_per_s: flooded as f64 / flood_s,
        flood_s,
        ms_p50: ms(0.5),
        ms_p90: ms(0.9),
        ms_p99: ms(0.99),
        ms_max: us.max() as f64 / 1000.0,
        ms_p50_by_second: tally.us.iter().map(p50).collect(),
        others: tally.others,
        looked_for,
        missing,
        broker_cores: broker_s / flood_s,
        broker_ms_each: broker_s * 1000.0 / flooded.max(1) as f64,
        client_cores: own_s / flood_s,
        broker_rss_kib,
        fdatasync_ms_p50: sync_ms,
        bulk_s,
    })
}

/// Has a broker begin its log, with the keys of those who sign in its directory; how many entries it has then.
async fn begin(setup: &Setup, network: &Network) -> Result<u64> {
    let broker = Process::start(setup).await?;
    let key = setup.key()?;
    let mut client = Client::new(broker.listen, &key);
    for (of, window) in network.windows() {
        let path = format!("/v1/directory/keys/{of}");
        let body = Bytes::from(serde_json::to_vec(&window)?);
        let (status, answer) = client.ask(Method::PUT, &path, None, body).await?;
        let said = String::from_utf8_lossy(&answer);
        ensure!(status == 204, "a key was not taken: {status} {said}");
    }
    // The edition with all of them is what the log has last.
    let (_, answer) = client
        .ask(Method::GET, "/v1/directory", None, Bytes::new())
        .await?;
    let directory: Directory = serde_json::from_slice(&answer)?;
    let leaf = envelopes::leaf(directory.envelope.as_bytes());
    let patient_until = Instant::now() + SHOWN_WITHIN;
    while place_of(&mut client, &leaf).await?.is_none() {
        ensure!(
            Instant::now() < patient_until,
            "the directory does not come into the log; see broker.log"
        );
        tokio::time::sleep(SHOWN_EVERY).await;
    }
    let size = shown(broker.listen, &key, 1).await?;
    broker.kill().await?;
    Ok(size)
}

#[derive(Deserialize)]
struct Directory {
    envelope: String,
}

/// How many entries the log shows, once it shows as many as are asked for.
async fn shown(broker: SocketAddr, key: &str, least: u64) -> Result<u64> {
    let mut client = Client::new(broker, key);
    let patient_until = Instant::now() + SHOWN_WITHIN;
    loop {
        let asked = client.ask(Method::GET, "/log/checkpoint", None, Bytes::new());
        let (status, note) = asked.await?;
        let note = String::from_utf8_lossy(&note).into_owned();
        let size = note.lines().nth(1).and_then(|size| size.parse().ok());
        if let Some(size) = size.filter(|size| status == 200 && *size >= least) {
            return Ok(size);
        }
        ensure!(
            Instant::now() < patient_until,
            "the broker shows no log of {least} entries; see broker.log"
        );
        tokio::time::sleep(SHOWN_EVERY).await;
    }
}

/// What came of requests.
#[derive(Default)]
struct Tally {
    /// Microseconds, of the moments of each second.
    us: Vec<Histogram<u64>>,
    /// Which receipt has which place.
    placed: Vec<(usize, u64)>,
    others: BTreeMap<u16, usize>,
}

impl Tally {
    fn record(&mut self, scheduled: Duration, took: Duration) -> Result<()> {
        let second = usize::try_from(scheduled.as_secs())?;
        while self.us.len() <= second {
            self.us.push(Histogram::new(3)?);
        }
        self.us[second].record(u64::try_from(took.as_micros())?)?;
        Ok(())
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
        self.take(Self {
            us: Vec::new(),
            ..other
        });
        Ok(self)
    }

    /// Places and answers of others that were not timed.
    fn take(&mut self, other: Self) {
        self.placed.extend(other.placed);
        for (status, n) in other.others {
            *self.others.entry(status).or_default() += n;
        }
    }
}

/// When each is sent.
#[derive(Clone, Copy)]
enum Pace {
    /// At its moment, so many a second, or as soon as a connection is free then.
    Rate(u32),
    /// At once, until it is so late.
    Until(Duration),
}

/// Sends some of them.
async fn load(
    args: &Args,
    (broker, key): (SocketAddr, &str),
    sent: &Arc<Vec<Sent>>,
    (range, pace): (Range<usize>, Pace),
) -> Result<Tally> {
    let (next, began) = (Arc::new(AtomicUsize::new(range.start)), Instant::now());
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..args.connections {
        let client = Client::new(broker, key).sending(envelopes::TYPE);
        let of = (range.clone(), pace, began);
        workers.spawn(work(client, sent.clone(), next.clone(), of));
    }
    let tallies = workers.join_all().await.into_iter();
    tallies
        .into_iter()
        .try_fold(Tally::default(), |all, tally| all.add(tally?))
}

#[derive(Deserialize)]
struct Placed {
    index: u64,
}

async fn work(
    mut client: Client,
    sent: Arc<Vec<Sent>>,
    next: Arc<AtomicUsize>,
    (range, pace, began): (Range<usize>, Pace, Instant),
) -> Result<Tally> {
    let mut tally = Tally::default();
    loop {
        let number = next.fetch_add(1, Relaxed);
        let Some(one) = sent.get(number).filter(|_| range.contains(&number)) else {
            return Ok(tally);
        };
        let turn = (number - range.start) as f64;
        let scheduled = match pace {
            Pace::Rate(rate) => Some(Duration::from_secs_f64(turn / f64::from(rate))),
            Pace::Until(end) if began.elapsed() >= end => return Ok(tally),
            Pace::Until(_) => None,
        };
        if let Some(scheduled) = scheduled {
            tokio::time::sleep_until(began + scheduled).await;
        }
        let asked = client.ask(Method::POST, "/v1/receipts", None, one.bytes.clone());
        let Ok((status, answer)) = asked.await else {
            *tally.others.entry(0).or_default() += 1;
            continue;
        };
        match serde_json::from_slice::<Placed>(&answer) {
            Ok(placed) if status == 201 => {
                if let Some(scheduled) = scheduled {
                    tally.record(scheduled, began.elapsed().saturating_sub(scheduled))?;
                }
                tally.placed.push((number, placed.index));
            }
            Ok(_) | Err(_) => *tally.others.entry(status).or_default() += 1,
        }
    }
}

#[derive(Deserialize)]
struct Listed {
    receipts: Vec<Placed>,
}

/// Where the log has an entry; nothing if it has not, or who asks has asked too often.
async fn place_of(client: &mut Client, leaf: &str) -> Result<Option<u64>> {
    let path = format!("/v1/receipts?leaf={leaf}");
    let (status, answer) = client.ask(Method::GET, &path, None, Bytes::new()).await?;
    let said = String::from_utf8_lossy(&answer);
    ensure!(
        matches!(status, 200 | 429),
        "the log is not listed: {status} {said}"
    );
    let listed = serde_json::from_slice::<Listed>(&answer).ok();
    Ok(listed.and_then(|listed| listed.receipts.first().map(|one| one.index)))
}

/// Sends those again that were given a place, evenly from all of them: each has to have the same. How many, and how many
/// have not.
async fn look_for(
    (broker, key): (SocketAddr, &str),
    sent: &[Sent],
    placed: &[(usize, u64)],
) -> Result<(usize, usize)> {
    let mut client = Client::new(broker, key).sending(envelopes::TYPE);
    let step = placed.len().div_ceil(LOOK_MAX).max(1);
    let (mut looked_for, mut missing) = (0, 0);
    for (number, place) in placed.iter().step_by(step) {
        let one = sent.get(*number).context("it was sent")?;
        let body = one.bytes.clone();
        let asked = client.ask(Method::POST, "/v1/receipts", None, body);
        let (status, answer) = asked.await?;
        let found = serde_json::from_slice::<Placed>(&answer).ok();
        let found = found.filter(|_| status == 200).map(|found| found.index);
        looked_for += 1;
        missing += usize::from(found != Some(*place));
    }
    Ok((looked_for, missing))
}
