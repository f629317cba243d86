//! The program that proves GPUs, for tests of the agent: it is built with them.

use std::process::ExitCode;

fn main() -> ExitCode {
    edge_prover::program::run()
}
