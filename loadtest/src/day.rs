//! `loadtest day`: a region's day on a virtual clock, around the real placement, queue and lives.
//!
//! The model, and what it does not know, is [`nearlight_sim::fleet`]. This runs it, and adds what it
//! costs on the real clock.

use anyhow::{Context, Result, ensure};
use nearlight_sim::fleet::{Config, Report};
use serde::Serialize;
use std::path::PathBuf;
use std::time::Instant;

/// A region's day on a virtual clock.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Nodes.
    #[arg(long, default_value_t = 100_000)]
    nodes: usize,
    /// Virtual hours with visits, from noon on; then everything ends.
    #[arg(long, default_value_t = 24.0)]
    hours: f64,
    /// Makes everything that is by chance: the same seed is the same day.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Sessions that are asked for in a day, a node. From about 50 on the fleet is too small.
    #[arg(long, default_value_t = 20.0)]
    sessions: f64,
    /// Writes the report here, too.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// What came of a day, and what it took.
#[derive(Debug, Serialize)]
struct Day {
    /// Real seconds.
    real_s: f64,
    /// Decisions in a real second, with everything around them.
    decisions_per_s: f64,
    /// Things that happened in a real second.
    events_per_s: f64,
    /// What is broken, with seed and virtual time.
    faults: Vec<String>,
    /// Nothing where something is broken.
    report: Option<Report>,
}

/// Runs the day. Returns whether nothing is broken.
///
/// # Errors
/// The arguments make no sense, or the report cannot be written.
pub fn run(args: &Args) -> Result<bool> {
    ensure!(args.nodes > 0, "--nodes must be at least 1");
    ensure!(
        args.hours > 0.0 && args.hours <= 240.0,
        "--hours must be above 0 and at most 240"
    );
    ensure!(
        args.sessions > 0.0 && args.sessions <= 1000.0,
        "--sessions must be above 0 and at most 1000"
    );
    let config = Config {
        sessions_a_node_day: args.sessions,
        ..Config::day(args.nodes, args.hours, args.seed)
    };
    let from = Instant::now();
    let ran = config.run();
    let real_s = from.elapsed().as_secs_f64();
    let (report, faults) = match ran {
        Ok(report) => (Some(report), Vec::new()),
        Err(broken) => (None, vec![broken.to_string()]),
    };
    let per_s = |n: Option<u64>| (n.unwrap_or(0) as f64 / real_s).round();
    let day = Day {
        real_s,
        decisions_per_s: per_s(report.as_ref().map(|report| report.decisions)),
        events_per_s: per_s(report.as_ref().map(|report| report.events)),
        faults,
        report,
    };
    let text = serde_json::to_string_pretty(&day)?;
    if let Some(path) = &args.json {
        std::fs::write(path, &text).with_context(|| format!("writing {}", path.display()))?;
    }
    print(&text);
    Ok(day.faults.is_empty())
}

#[allow(clippy::print_stdout, reason = "the report")]
fn print(text: &str) {
    println!("{text}");
}
