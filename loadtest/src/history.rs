//! `loadtest history`: breaks a region in every way that a seed says, and checks what it promised.
//!
//! Real brokers on a real PostgreSQL; clients that create, look at and end sessions at any of them;
//! scripted nodes with a journal ([`edge`]), and one that lies ([`hostile`]). Brokers, nodes and the
//! database are killed and stopped, lines between them are cut one way or both ([`proxy`], or by packets:
//! [`network`]), and the database may fail over. What is done is a function of the seed ([`plan`]); what happened is recorded ([`event`])
//! and checked against the broker's promises ([`mod@check`]).

mod books;
mod broker;
mod check;
mod client;
mod edge;
mod event;
mod hostile;
mod network;
mod plan;
mod postgres;
mod proxy;
mod region;
mod wire;

use anyhow::{Context, Result, ensure};
use check::{Given, check};
use client::Client;
use event::{Event, History};
use plan::{Failover, Faults, Plan, Size};
use region::{Programs, Region};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Between two looks at the ledger's books.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long everything may take to end, once nothing breaks any more: leases, grace times and the
/// time after which a broker is given up are seconds here.
const QUIET_WITHIN: Duration = Duration::from_secs(60);

/// Break a region of the test's own, seed by seed, and check what it promised.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The seeds: one, or the first and the one after the last, such as 1..6.
    #[arg(long, default_value = "1")]
    seeds: Seeds,
    /// Seconds for which requests and faults come.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Brokers.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..))]
    brokers: u8,
    /// Nodes that behave; one that lies comes with them.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..))]
    edges: u8,
    /// Clients.
    #[arg(long, default_value_t = 8)]
    clients: u8,
    /// What becomes of the database in the middle of each run.
    #[arg(long, value_enum, default_value = "none")]
    failover: Failover,
    /// What breaks.
    #[arg(long, value_enum, default_value = "all")]
    faults: Faults,
    /// Of a hundred sessions that are asked for, so many are gangs of two or three jobs.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u8).range(..=100))]
    gangs: u8,
    /// The broker's program [default: the one beside this one].
    #[arg(long)]
    broker: Option<PathBuf>,
    /// What starts a PostgreSQL.
    #[arg(long, default_value = "scripts/postgres.sh")]
    postgres: PathBuf,
    /// Where the histories are kept of runs in which something broke.
    #[arg(long, default_value = "target/history")]
    keep: PathBuf,
}

#[derive(Clone, Copy, Debug)]
struct Seeds {
    from: u64,
    to: u64,
}

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse::<u64>().map_err(|e| format!("`{text}`: {e}"));
        let seeds = match text.split_once("..") {
            Some((from, to)) => Self {
                from: number(from)?,
                to: number(to)?,
            },
            None => Self {
                from: number(text)?,
                to: number(text)?.saturating_add(1),
            },
        };
        if seeds.from >= seeds.to {
            return Err(format!("`{text}` has no seed; write 1..6 for 1 to 5"));
        }
        Ok(seeds)
    }
}

/// What came of all seeds.
#[derive(Debug, Default, Serialize)]
struct Report {
    runs: u64,
    faults: u64,
    asked: u64,
    created: u64,
    began: u64,
    /// Runs in which a promise was broken.
    broken: Vec<Broken>,
}

#[derive(Debug, Serialize)]
struct Broken {
    seed: u64,
    promises: Vec<String>,
    history: PathBuf,
    replay: String,
}

/// Runs every seed; prints the report as JSON. `false` if a promise was broken.
///
/// # Errors
/// Nothing could be tried.
pub fn run(args: &Args) -> Result<bool> {
    if args.faults == Faults::Partitions {
        ensure!(
            args.failover == Failover::None && args.brokers >= 2,
            "partitions are between brokers, two at least, and of a database that stays where it is"
        );
        // Before there is any other thread.
        network::enter()?;
    }
    let report = crate::report::measured(every(args))?;
    Ok(report.broken.is_empty())
}

async fn every(args: &Args) -> Result<Report> {
    let mut report = Report::default();
    for seed in args.seeds.from..args.seeds.to {
        let began = Instant::now();
        one(args, seed, &mut report)
            .await
            .with_context(|| format!("seed {seed}: {}", args.replay(seed)))?;
        let broken = report.broken.last().filter(|broken| broken.seed == seed);
        let took_s = began.elapsed().as_secs();
        match broken {
            Some(broken) => tracing::error!(seed, took_s, promises = ?broken.promises,
                replay = broken.replay, "broken"),
            None => tracing::info!(seed, took_s, "kept"),
        }
    }
    Ok(report)
}

async fn one(args: &Args, seed: u64, report: &mut Report) -> Result<()> {
    let plan = Plan::new(seed, args.size());
    let programs = args.programs()?;
    let dir = tempfile::Builder::new()
        .prefix("nearlight-history.")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .tempdir()?;
    let history = Arc::new(History::default());
    let broken = match region(&programs, &plan, dir.path(), &history).await {
        Ok(broken) => broken,
        Err(error) => {
            keep(args, &plan, dir, &history)?;
            return Err(error);
        }
    };
    report.count(&history);
    if broken.is_empty() {
        return Ok(());
    }
    let history = keep(args, &plan, dir, &history)?;
    report.broken.push(Broken {
        seed,
        promises: broken,
        history,
        replay: args.replay(seed),
    });
    Ok(())
}

/// One run; what was broken.
async fn region(
    programs: &Programs,
    plan: &Plan,
    dir: &Path,
    history: &Arc<History>,
) -> Result<Vec<String>> {
    let mut region = Region::up(programs, plan, dir, history.clone()).await?;
    let lost = region.lost(plan);
    let result = ordeal(&mut region, plan, &lost).await;
    let given = Given {
        liars: [region.liar.to_string()].into(),
        lost,
    };
    region.down().await;
    result?;
    Ok(check(&history.entries(), &given))
}

async fn ordeal(
    region: &mut Region,
    plan: &Plan,
    lost: &std::collections::HashSet<String>,
) -> Result<()> {
    let began = Instant::now();
    let mut clients = JoinSet::new();
    for (n, steps) in plan.clients.iter().enumerate() {
        clients.spawn(Client::new(n, region.callers.clone(), steps.clone()).run(began));
    }
    let looks = async {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            region.look().await;
        }
    };
    let all = async {
        let suffered = region.suffer(plan, began).await;
        while clients.join_next().await.is_some() {}
        suffered
    };
    tokio::select! {
        suffered = all => suffered?,
        () = looks => {}
    }
    region.history.note("nothing breaks any more");
    region.end_all(QUIET_WITHIN, lost).await?;
    region.look_for_all().await
}

/// Keeps what a run left; returns where its history is.
fn keep(args: &Args, plan: &Plan, dir: tempfile::TempDir, history: &History) -> Result<PathBuf> {
    let kept = args.keep.join(format!("seed-{}", plan.seed));
    std::fs::create_dir_all(&kept)?;
    let path = kept.join("history.jsonl");
    history.write(plan, &path)?;
    for n in 0..plan.size.brokers {
        let name = format!("b{n}");
        let log = dir.path().join(&name).join("broker.log");
        if log.exists() {
            std::fs::copy(log, kept.join(format!("{name}.log")))?;
        }
    }
    for name in ["primary", "standby"] {
        let log = dir.path().join(name).join("log");
        if log.exists() {
            std::fs::copy(log, kept.join(format!("{name}.log")))?;
        }
    }
    Ok(path)
}

impl Args {
    fn size(&self) -> Size {
        Size {
            ms: self.seconds * 1000,
            brokers: self.brokers.into(),
            edges: self.edges.into(),
            clients: self.clients.into(),
            failover: self.failover,
            faults: self.faults,
            gangs: self.gangs,
        }
    }

    fn programs(&self) -> Result<Programs> {
        let broker = match &self.broker {
            Some(program) => program.clone(),
            None => std::env::current_exe()?.with_file_name("session-broker"),
        };
        Ok(Programs {
            broker,
            postgres: std::path::absolute(&self.postgres)?,
        })
    }

    /// The command that does the same again.
    fn replay(&self, seed: u64) -> String {
        let name = |value: serde_json::Result<serde_json::Value>| {
            let value = value.unwrap_or_default();
            value.as_str().unwrap_or_default().to_owned()
        };
        let failover = name(serde_json::to_value(self.failover));
        let faults = name(serde_json::to_value(self.faults));
        format!(
            "loadtest history --seeds {seed} --seconds {} --brokers {} --edges {} --clients {} \
             --failover {failover} --faults {faults} --gangs {}",
            self.seconds, self.brokers, self.edges, self.clients, self.gangs
        )
    }
}

impl Report {
    fn count(&mut self, history: &History) {
        self.runs += 1;
        for entry in history.entries() {
            match entry.event {
                Event::Fault { .. } => self.faults += 1,
                Event::Asked { .. } => self.asked += 1,
                Event::Answered { status: 201, .. } => self.created += 1,
                Event::Began { .. } => self.began += 1,
                _ => {}
            }
        }
    }
}
