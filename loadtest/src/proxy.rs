//! `loadtest proxy`: one client against several ways to the same upstream (`src/bin/upstream.rs`), in turns.
//!
//! Bytes down, then bytes up, then requests at a fixed rate: each round asks every way, the first one
//! another each time, so that whatever else the machine does meets all of them. A time is counted from
//! the moment at which the request was due.
//!
//! **What it does not know:** what is between it and the upstream. HTTP/1.1 to all, over TLS where the
//! address says so.

mod client;

use crate::edge::cpu_s;
use anyhow::{Context, Result, bail, ensure};
use client::{Connection, Way};
use hdrhistogram::Histogram;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

const MIB: u64 = 1024 * 1024;
/// Of requests at a fixed rate, to one way before the next one's turn.
const SLICE: Duration = Duration::from_secs(2);
/// A whole round with one way.
const ROUND_WITHIN: Duration = Duration::from_secs(300);

/// Compare ways to one upstream.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// NAME=URL of a way.
    #[arg(long = "way", required = true)]
    ways: Vec<Named>,
    /// NAME=ADDRESS, where the URL's host is to be found.
    #[arg(long = "at")]
    addresses: Vec<Named>,
    /// NAME=TOKEN to be shown.
    #[arg(long = "bearer")]
    bearers: Vec<Named>,
    /// NAME=PID,PID: whose CPU time is the way's.
    #[arg(long = "cpu")]
    pids: Vec<Named>,
    /// The certificate authority that all of them have, PEM.
    #[arg(long)]
    ca: Option<PathBuf>,
    /// Rounds.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// MiB of each transfer.
    #[arg(long, default_value_t = 64)]
    mib: u64,
    /// Transfers at a time.
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Requests a second, in the last part.
    #[arg(long, default_value_t = 50)]
    rate: u32,
}

/// `NAME=VALUE`.
#[derive(Clone, Debug)]
pub struct Named(String, String);

impl FromStr for Named {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, value) = text.split_once('=').ok_or("give NAME=VALUE")?;
        Ok(Self(name.to_owned(), value.to_owned()))
    }
}

/// What was measured of a way.
#[derive(Debug, Default, Serialize)]
struct Measured {
    down_mib_per_s: Vec<f64>,
    up_mib_per_s: Vec<f64>,
    down_mib_per_s_median: f64,
    up_mib_per_s_median: f64,
    /// Of the processes that were named, seconds for each GiB.
    down_cpu_s_per_gib: f64,
    up_cpu_s_per_gib: f64,
    requests: u64,
    ms_p50: f64,
    ms_p90: f64,
    ms_p99: f64,
}

/// Runs it; prints the report as JSON.
///
/// # Errors
/// A way does not answer as the upstream would.
pub fn run(args: &Args) -> Result<bool> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let report = runtime.block_on(measure(args))?;
    #[allow(clippy::print_stdout, reason = "the report")]
    {
        println!("{}", serde_json::to_string(&report)?);
    }
    Ok(true)
}

fn of<'a>(all: &'a [Named], name: &str) -> Option<&'a str> {
    let found = all.iter().find(|named| named.0 == name);
    found.map(|named| named.1.as_str())
}

fn ways(args: &Args) -> Result<Vec<(Arc<Way>, Vec<u32>)>> {
    let tls = args.ca.as_deref().map(client::tls).transpose()?;
    let way = |named: &Named| {
        let Named(name, url) = named;
        let (at, bearer) = (of(&args.addresses, name), of(&args.bearers, name));
        let way = Way::new(name, url, at, bearer, tls.clone())?;
        let pids = of(&args.pids, name).unwrap_or_default().split(',');
        let pids: Result<Vec<u32>, _> =
            pids.filter(|pid| !pid.is_empty()).map(str::parse).collect();
        Ok((Arc::new(way), pids.context("a PID is no number")?))
    };
    args.ways.iter().map(way).collect()
}

async fn measure(args: &Args) -> Result<BTreeMap<String, Measured>> {
    let ways = ways(args)?;
    let mut found: BTreeMap<String, Measured> = BTreeMap::new();
    for (way, _) in &ways {
        // What is dialled at the first request is no part of it.
        Connection::open(way).await?.get("/", None).await?;
    }
    for is_up in [false, true] {
        for round in 0..args.rounds {
            for turn in 0..ways.len() {
                let (way, pids) = &ways[(round + turn) % ways.len()];
                let one = tokio::time::timeout(ROUND_WITHIN, transfers(way, pids, args, is_up));
                let (mib_per_s, cpu_s) = one.await.context("a round takes too long")??;
                let measured = found.entry(way.name.clone()).or_default();
                measured.add(is_up, mib_per_s, cpu_s, args);
            }
        }
    }
    let mut times: BTreeMap<String, Histogram<u64>> = BTreeMap::new();
    for round in 0..args.rounds {
        for turn in 0..ways.len() {
            let (way, _) = &ways[(round + turn) % ways.len()];
            let times = times.entry(way.name.clone()).or_insert(Histogram::new(3)?);
            requests(way, args.rate, times).await?;
        }
    }
    for (name, times) in times {
        let measured = found.entry(name).or_default();
        measured.requests = times.len();
        let ms = |quantile| times.value_at_quantile(quantile) as f64 / 1000.0;
        (measured.ms_p50, measured.ms_p90, measured.ms_p99) = (ms(0.5), ms(0.9), ms(0.99));
    }
    Ok(found)
}

impl Measured {
    fn add(&mut self, is_up: bool, mib_per_s: f64, cpu_s: f64, args: &Args) {
        let gib = (args.mib * args.connections as u64 * args.rounds as u64) as f64 / 1024.0;
        let (all, middle, cpu) = if is_up {
            (
                &mut self.up_mib_per_s,
                &mut self.up_mib_per_s_median,
                &mut self.up_cpu_s_per_gib,
            )
        } else {
            (
                &mut self.down_mib_per_s,
                &mut self.down_mib_per_s_median,
                &mut self.down_cpu_s_per_gib,
            )
        };
        all.push(mib_per_s);
        *middle = median(all);
        *cpu += cpu_s / gib;
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

fn used(pids: &[u32]) -> Result<f64> {
    pids.iter().map(|pid| cpu_s(*pid)).sum()
}

/// As many transfers at a time as asked: MiB/s of all together, and CPU seconds.
async fn transfers(way: &Arc<Way>, pids: &[u32], args: &Args, is_up: bool) -> Result<(f64, f64)> {
    let bytes = args.mib * MIB;
    let mut open = Vec::new();
    for _ in 0..args.connections {
        open.push(Connection::open(way).await?);
    }
    let (before, start) = (used(pids)?, Instant::now());
    let mut all = JoinSet::new();
    for mut connection in open {
        all.spawn(async move {
            if is_up {
                let said = connection.get("/sink", Some(bytes)).await?;
                ensure!(
                    said.text.trim() == bytes.to_string(),
                    "{} came up",
                    said.text.trim()
                );
            } else {
                let path = format!("/bytes/{bytes}");
                let said = connection.get(&path, None).await?;
                ensure!(said.bytes == bytes, "{} of {bytes} bytes came", said.bytes);
            }
            Ok(())
        });
    }
    while let Some(done) = all.join_next().await {
        done??;
    }
    let mib_per_s = (args.mib * args.connections as u64) as f64 / start.elapsed().as_secs_f64();
    Ok((mib_per_s, used(pids)? - before))
}

/// Requests at a fixed rate for a slice. Microseconds.
async fn requests(way: &Arc<Way>, rate: u32, times: &mut Histogram<u64>) -> Result<()> {
    if rate == 0 {
        bail!("--rate is at least 1");
    }
    let every = Duration::from_secs(1) / rate;
    let (mut idle, mut under_way) = (vec![Connection::open(way).await?], JoinSet::new());
    let start = Instant::now() + every;
    for n in 0..u32::try_from(SLICE.as_millis() / every.as_millis().max(1))? {
        let due = start + every * n;
        tokio::time::sleep_until(due).await;
        while let Some(done) = under_way.try_join_next() {
            let (connection, took): (Connection, Duration) = done??;
            times.record(u64::try_from(took.as_micros())?)?;
            idle.push(connection);
        }
        let (way, kept) = (way.clone(), idle.pop());
        under_way.spawn(async move {
            let mut connection = match kept {
                Some(connection) => connection,
                None => Connection::open(&way).await?,
            };
            connection.get("/", None).await?;
            anyhow::Ok((connection, due.elapsed()))
        });
    }
    while let Some(done) = under_way.join_next().await {
        times.record(u64::try_from(done??.1.as_micros())?)?;
    }
    Ok(())
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_median_is_the_middle_one() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!(median(&[]).abs() < f64::EPSILON);
    }

    #[test]
    fn a_name_has_a_value() {
        let named: Named = "nginx=https://a:1/?b=c".parse().unwrap();
        assert_eq!(
            (named.0.as_str(), named.1.as_str()),
            ("nginx", "https://a:1/?b=c")
        );
        assert!("nginx".parse::<Named>().is_err());
    }
}
