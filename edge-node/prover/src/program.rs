//! The program `edge-prover`: computes a probe on one GPU, for the agent that starts it.
//!
//! It is a program of its own so that a driver that crashes takes nothing else along. Standard input is orders, standard
//! output what it says to them; it ends with its probe, and at once when the agent goes away.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "its output is what it is for"
)]

use crate::check::check;
use crate::gpu::{Gpu, devices, open};
use crate::serve::serve;
use clap::Parser;
use nearlight_proof::porc::exchange::program::Device;
use serde::Serialize;
use std::io::{BufRead, BufReader, Write};
use std::process::ExitCode;

/// The lowest priority: what is left over by everything else.
const NICE: i32 = 19;
/// Bytes of orders that wait.
const PIPE_BYTES: usize = 1 << 16;

/// What is asked of it.
#[derive(Debug, Parser)]
#[command(
    version,
    about = "Computes a proof of capacity on a GPU, for the agent"
)]
struct Args {
    /// Print the devices that there are, as JSON, and end.
    #[arg(long, conflicts_with = "gpu")]
    list: bool,
    /// Prove so many seeds on each device, compare with the oracle, print what came of it as JSON, and end: 0 if all are
    /// equal.
    #[arg(long, value_name = "SEEDS", conflicts_with_all = ["gpu", "list"])]
    check: Option<u32>,
    /// With --check: devices with this in their names alone, such as `llvmpipe`. Without it CPUs that play a GPU are left
    /// out.
    #[arg(long, value_name = "NAME", requires = "check", default_value = "")]
    adapter: String,
    /// The device to compute on, as `--list` names it.
    #[arg(long, required_unless_present_any = ["list", "check"])]
    gpu: Option<String>,
}

/// Does what the command line says.
#[must_use]
pub fn run() -> ExitCode {
    let args = Args::parse();
    // Where the kernel does not allow it there is nothing to be done about it.
    let _ = rustix::process::setpriority_process(None, NICE);
    if let Some(seeds) = args.check {
        return compare(seeds, &args.adapter.to_lowercase());
    }
    let Some(gpu) = args.gpu else {
        let all: Vec<_> = devices().into_iter().map(|(device, _)| device).collect();
        return print(&all);
    };
    match serve(|| open(&gpu), Orders::follow(), std::io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn print(said: &impl Serialize) -> ExitCode {
    match serde_json::to_string(said) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => failed(&error),
    }
}

fn compare(seeds: u32, adapter: &str) -> ExitCode {
    let is_wanted = |device: &Device| match adapter {
        "" => !device.is_software,
        name => device.name.to_lowercase().contains(name),
    };
    let mut all = Vec::new();
    for (device, adapter) in devices() {
        if !is_wanted(&device) {
            continue;
        }
        match Gpu::open(&adapter).and_then(|gpu| check(&gpu, seeds)) {
            Ok(checked) => all.push(checked),
            Err(error) => return failed(&error),
        }
    }
    if all.is_empty() {
        eprintln!(
            "edge-prover: neither Vulkan nor GL shows such a device; docs/gpu.md says what to install"
        );
        return ExitCode::FAILURE;
    }
    let said = print(&all);
    match all.iter().all(|of| of.different == 0) {
        true => said,
        false => ExitCode::FAILURE,
    }
}

fn failed(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("edge-prover: {error}");
    ExitCode::FAILURE
}

/// Standard input, read by a thread of its own: whoever computes for minutes hears at once that the agent is gone.
struct Orders;

impl Orders {
    fn follow() -> impl BufRead {
        let (reader, writer) = match std::io::pipe() {
            Ok(both) => both,
            Err(error) => {
                failed(&error);
                std::process::exit(1)
            }
        };
        std::thread::spawn(move || pass_on(writer));
        BufReader::with_capacity(PIPE_BYTES, reader)
    }
}

/// Line by line, until there is none: then nobody is left who would want an answer.
fn pass_on(mut writer: impl Write) {
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        if writeln!(writer, "{line}").is_err() {
            break;
        }
    }
    std::process::exit(0);
}
