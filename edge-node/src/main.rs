//! The edge agent's program.

use clap::Parser;
use edge_node::args::Args;
use edge_node::config::{Config, ConfigError};
use edge_node::copier;
use edge_node::node::Node;
use nearlight_kit::shutdown::{Drained, Shutdown};
use std::io::Write;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// `--gpu-check` was told to stop, as shells have it of a program that SIGINT ended.
const EXIT_STOPPED: u8 = 130;
/// The command line or the configuration is wrong (`EX_USAGE`).
const EXIT_USAGE: u8 = 64;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|verb| verb == copier::VERB) {
        return copier::run(&arguments.collect::<Vec<_>>());
    }
    let args = Args::parse();
    let config = match Config::load(&args, &edge_node::preflight::host()) {
        Ok(config) => config,
        Err(error) => return refuse(&error),
    };
    if args.check_config {
        return print(&serde_json::json!(config));
    }
    if args.gpu_check {
        return check_gpu(&config);
    }
    match run(config) {
        Ok(Drained::Clean) => ExitCode::SUCCESS,
        Ok(Drained::Overrun { .. }) => ExitCode::FAILURE,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn check_gpu(config: &Config) -> ExitCode {
    let shutdown = Shutdown::new();
    shutdown.on_signals();
    let stop = shutdown.token();
    let closed = signal(SignalKind::hangup()).map(|mut closed| {
        let stop = stop.clone();
        shutdown.spawn(async move { closed.recv().await.map(|()| stop.cancel()) })
    });
    if let Err(error) = closed {
        tracing::warn!(%error, "a terminal that is closed ends the check at once");
    }
    let Some(report) = Box::pin(edge_node::gpu_check::run(config, &stop)).await else {
        return ExitCode::from(EXIT_STOPPED);
    };
    print(&serde_json::json!(report));
    if report.passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

#[tokio::main]
async fn run(config: Config) -> anyhow::Result<Drained> {
    nearlight_kit::telemetry::init("edge-node")?;
    let shutdown = Shutdown::new();
    shutdown.on_signals();
    let mut node = Node::start(config, shutdown).await?;
    if node.ready().await {
        print(&serde_json::json!({"ready": {
            "node": node.id,
            "rtc_port": node.rtc_port,
            "admin": node.admin,
            "beacon": node.beacon,
            "direct": node.direct,
        }}));
    }
    Ok(node.stopped().await)
}

/// The program's interface. Whoever closed the pipe does not want the line.
fn print(line: &serde_json::Value) -> ExitCode {
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
    ExitCode::SUCCESS
}

/// Logging starts after the configuration.
fn refuse(error: &ConfigError) -> ExitCode {
    let mut stderr = std::io::stderr().lock();
    let _ = writeln!(stderr, "edge-node: {error}");
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        let _ = writeln!(stderr, "  {error}");
        source = error.source();
    }
    ExitCode::from(EXIT_USAGE)
}
