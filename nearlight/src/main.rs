//! The command that people type.

#![allow(clippy::print_stderr, reason = "a command says what went wrong")]

use clap::Parser;
use nearlight::cli::{Cli, Command};
use std::process::ExitCode;

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Up(up) => nearlight::up::run(up),
        Command::Play(play) => nearlight::command::play(&play).map_err(anyhow::Error::from),
        Command::Session { command, broker } => {
            nearlight::command::session(&command, &broker).map_err(anyhow::Error::from)
        }
        Command::Node { command, broker } => {
            nearlight::command::node(&command, &broker).map_err(anyhow::Error::from)
        }
        Command::App { command, broker } => {
            nearlight::command::app(&command, &broker).map_err(anyhow::Error::from)
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nearlight: {error:#}");
            ExitCode::FAILURE
        }
    }
}
