//! `loadtest`: load and impaired paths against the real roles.

use anyhow::Result;
use clap::{Parser, Subcommand};
use nearlight_loadtest::{
    churn, day, history, net_cpu, path, proxy, receipts, sessions, stream, streams,
};
use std::process::ExitCode;

/// Something was measured, and it is broken.
const BROKEN: u8 = 1;
/// Nothing could be measured.
const FAILED: u8 = 3;

/// Load and impaired paths against a running Nearlight.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_STATUS)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_STATUS: &str = "\
Exit status:
  0  done, and nothing is broken
  1  something is broken; the report says what
  2  wrong usage
  3  nothing could be measured; the message says why";

#[derive(Debug, Subcommand)]
enum Command {
    /// Relay UDP over a path with loss, delay and little room.
    Path(Box<path::command::Args>),
    /// Receive sessions natively and measure them.
    Stream(Box<stream::Args>),
    /// Attach and detach over and over, and look at what the node keeps.
    Churn(Box<churn::Args>),
    /// Create sessions on a broker of the test's own, and look for every one after a kill -9.
    Sessions(sessions::Args),
    /// Append receipts to a log of a broker's, as long as asked, and time each.
    Receipts(receipts::Args),
    /// Hold control streams by the thousand to a broker of the test's own.
    Fleet(streams::Args),
    /// Simulate a region's day: 100,000 nodes and their players on a virtual clock.
    Day(day::Args),
    /// Break a region of the test's own, seed by seed, and check what it promised.
    History(history::Args),
    /// Compare ways to one upstream: bytes a second, milliseconds, CPU.
    Proxy(proxy::Args),
    /// Measure the CPU that sending costs, with replayed sessions.
    NetCpu(net_cpu::NetCpuArgs),
    /// The receivers of net-cpu.
    #[command(hide = true)]
    Receive(net_cpu::ReceiveArgs),
}

fn main() -> ExitCode {
    if let Err(error) = nearlight_kit::telemetry::init("loadtest") {
        return fail(&error);
    }
    let done = match Cli::parse().command {
        Command::Path(args) => path(*args),
        Command::Stream(args) => stream::run(&args),
        Command::Churn(args) => churn::run(&args),
        Command::Sessions(args) => sessions::run(&args),
        Command::Receipts(args) => receipts::run(&args),
        Command::Fleet(args) => streams::run(&args),
        Command::Day(args) => day::run(&args),
        Command::History(args) => history::run(&args),
        Command::Proxy(args) => proxy::run(&args),
        Command::NetCpu(args) => net_cpu::run(&args),
        Command::Receive(args) => net_cpu::receive(&args).map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(BROKEN),
        Err(error) => fail(&error),
    }
}

fn path(args: path::command::Args) -> Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(path::command::run(args)).map(|()| true)
}

#[allow(clippy::print_stderr, reason = "the program's last word")]
fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("loadtest: {error:#}");
    ExitCode::from(FAILED)
}

#[cfg(test)]
mod test {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_holds_together() {
        Cli::command().debug_assert();
    }
}
