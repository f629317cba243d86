//! `nearlight bench`.

use clap::{Args, Subcommand};
use nearlight_protocol::id::AppId;
use std::path::PathBuf;

/// `nearlight bench`.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// From a key press in a browser to the picture that answers it.
    Latency(Latency),
}

/// `nearlight bench latency`.
#[derive(Debug, Args)]
pub struct Latency {
    /// The broker [default: the one of the `nearlight up` under --data, or http://127.0.0.1:8080].
    #[arg(long, env = "NEARLIGHT_URL", conflicts_with = "up")]
    pub url: Option<String>,
    /// Data directory of a `nearlight up` on this machine, to find its broker.
    #[arg(long, value_name = "DIR", default_value = "data")]
    pub data: PathBuf,
    /// Start a Nearlight of the bench's own, on free ports, and end it afterwards.
    #[arg(long)]
    pub up: bool,
    /// An app that runs calibrate.
    #[arg(long, default_value = "calibrate")]
    pub app: AppId,
    /// When the app answers: at once, with its next frame as games do, or one after the other.
    #[arg(long, value_enum, default_value_t = BenchMode::Both)]
    pub mode: BenchMode,
    /// Sessions a mode: the phase between the clocks differs from session to session.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub sessions: u32,
    /// Key presses a session, and as many on the local canvas.
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub presses: u32,
    /// Of the random intervals between presses.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// The Chromium to use [default: the first on PATH].
    #[arg(long, value_name = "PATH")]
    pub browser: Option<PathBuf>,
    /// Where report.json, report.html and presses.csv go.
    #[arg(long, value_name = "DIR", default_value = "target/bench/latency")]
    pub out: PathBuf,
}

impl Latency {
    /// Where the lobby is.
    pub fn broker_url(&self) -> String {
        let named = self.url.clone();
        named.unwrap_or_else(|| crate::target::url_of(&self.data))
    }
}

/// Which modes of calibrate to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum BenchMode {
    /// Both.
    Both,
    /// Commits at once: the path alone.
    Immediate,
    /// Commits with the next frame callback.
    Paced,
}
