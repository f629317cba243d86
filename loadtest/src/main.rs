//! `loadtest`: load and impaired paths against the real roles.

use clap::{Parser, Subcommand};
use nearlight_loadtest::path;
use std::process::ExitCode;

/// Load and impaired paths against a running Nearlight.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Relay UDP over a path with loss, delay and little room.
    Path(Box<path::command::Args>),
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Path(args) => path::command::run(*args).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

#[allow(clippy::print_stderr, reason = "the program's last word")]
fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("loadtest: {error:#}");
    ExitCode::FAILURE
}
