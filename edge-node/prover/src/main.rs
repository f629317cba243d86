//! `edge-prover`: see [`edge_prover::program`].

use std::process::ExitCode;

fn main() -> ExitCode {
    edge_prover::program::run()
}
