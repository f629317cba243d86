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
use crate::class::class;
use crate::gpu::{Gpu, GpuError, devices, open};
use crate::serve::serve;
use clap::Parser;
use nearlight_proof::porc::exchange::begin::EDITION;
use nearlight_proof::porc::exchange::program::{Device, Listed};
use nearlight_proof::receipt::predicate::Sizes;
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
    /// Print the devices that there are, and of which edition of the legs this program is, as JSON, and end.
    #[arg(long, conflicts_with = "gpu")]
    list: bool,
    /// Prove so many seeds on each device, compare with the oracle, print what came of it as JSON, and end: 0 if all are
    /// equal. What it is at is said on standard error.
    #[arg(long, value_name = "SEEDS", conflicts_with_all = ["gpu", "list"])]
    check: Option<u32>,
    /// Take the times of each device at these sizes, print them as classes for the table of GPUs, as JSON, and end. The
    /// sizes are as in configs/gpu-classes.json.
    #[arg(long, value_name = "SIZES", conflicts_with_all = ["gpu", "list", "check"], value_parser = sizes)]
    class: Option<Sizes>,
    /// With --check and --class: devices with this in their names alone, such as `llvmpipe`. Without it CPUs that play a
    /// GPU are left out.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["gpu", "list"], default_value = "")]
    adapter: String,
    /// The device to compute on, as `--list` names it.
    #[arg(long, required_unless_present_any = ["list", "check", "class"])]
    gpu: Option<String>,
}

/// Does what the command line says.
#[must_use]
pub fn run() -> ExitCode {
    let args = Args::parse();
    let adapter = args.adapter.to_lowercase();
    // Somebody waits for these.
    let says = |what: &str| eprintln!("edge-prover: {what}");
    if let Some(seeds) = args.check {
        return on_each(
            &adapter,
            |gpu| check(gpu, seeds, says),
            |of| of.different == 0,
        );
    }
    if let Some(sizes) = args.class {
        return on_each(&adapter, |gpu| class(gpu, &sizes), |_| true);
    }
    // Where the kernel does not allow it there is nothing to be done about it.
    let _ = rustix::process::setpriority_process(None, NICE);
    let Some(gpu) = args.gpu else {
        return print(&Listed {
            edition: EDITION,
            devices: devices().into_iter().map(|(device, _)| device).collect(),
        });
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

/// Does something with each device that is wanted, and prints what came of it.
fn on_each<T: Serialize>(
    adapter: &str,
    mut does: impl FnMut(&Gpu) -> Result<T, GpuError>,
    is_well: impl Fn(&T) -> bool,
) -> ExitCode {
    let is_wanted = |device: &Device| match adapter {
        "" => !device.is_software,
        name => device.name.to_lowercase().contains(name),
    };
    let mut all = Vec::new();
    for (device, adapter) in devices() {
        if !is_wanted(&device) {
            continue;
        }
        match Gpu::open(&adapter).and_then(|gpu| does(&gpu)) {
            Ok(one) => all.push(one),
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
    match all.iter().all(is_well) {
        true => said,
        false => ExitCode::FAILURE,
    }
}

fn sizes(text: &str) -> Result<Sizes, serde_json::Error> {
    serde_json::from_str(text)
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
