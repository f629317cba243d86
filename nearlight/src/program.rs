//! The program: what a command line comes to, and the exit status that it has.

use crate::cli::{BenchCommand, Cli, Command, SessionCommand};
use crate::failure::Failure;
use crate::{
    apps, bench, checker, command, doctor, identity, inside, keeping, outside, receipt, recipe,
    stake, terminal, up, usage, volume,
};
use clap::Parser;
use std::process::ExitCode;

/// Does what the command line says.
#[must_use]
pub fn run() -> ExitCode {
    match status_of(Cli::parse().command) {
        Ok(0) if !terminal::is_whole() => ExitCode::FAILURE,
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            terminal::note(format_args!("nearlight: {failure}"));
            for cause in failure.causes() {
                terminal::note(format_args!("  because: {cause}"));
            }
            ExitCode::from(failure.exit_status())
        }
    }
}

/// The exit status.
fn status_of(command: Command) -> Result<u8, Failure> {
    if let Command::Session {
        command: SessionCommand::Exec(args),
        broker,
    } = &command
    {
        return Ok(inside::exec(args, broker)?);
    }
    if let Command::Receipt { command, broker } = &command {
        return Ok(receipt::receipt(command, broker)?);
    }
    carry_out(command).map(|()| 0)
}

fn carry_out(command: Command) -> Result<(), Failure> {
    match command {
        Command::Up(args) => up::run(args).map_err(Failure::Up),
        Command::Play(args) => Ok(command::play(&args)?),
        Command::Session { command, broker } => Ok(command::session(&command, &broker)?),
        Command::Node { command, broker } => Ok(command::node(&command, &broker)?),
        Command::Checker { command, broker } => Ok(checker::checker(&command, &broker)?),
        Command::App { command, broker } => Ok(apps::app(&command, &broker)?),
        Command::Login(args) => Ok(identity::login(&args)?),
        Command::Logout(args) => Ok(identity::logout(&args)?),
        Command::Whoami { broker } => Ok(identity::whoami(&broker)?),
        Command::Tenant { command, broker } => Ok(identity::tenant(&command, &broker)?),
        Command::Key { command, broker } => Ok(identity::key(&command, &broker)?),
        Command::Recipe { command, broker } => Ok(recipe::recipe(&command, &broker)?),
        Command::Volume { command, broker } => Ok(volume::volume(&command, &broker)?),
        Command::Registry { command, broker } => Ok(outside::registry(&command, &broker)?),
        Command::Webhook { command, broker } => Ok(outside::webhook(&command, &broker)?),
        Command::Receipt { command, broker } => Ok(receipt::receipt(&command, &broker).map(drop)?),
        Command::Stake { command, broker } => Ok(stake::stake(&command, &broker)?),
        Command::Usage(args) => Ok(usage::usage(&args)?),
        Command::Admin { command } => Ok(identity::admin(&command)?),
        Command::Backup(keep) => Ok(keeping::backup(&keep)?),
        Command::Restore(keep) => Ok(keeping::restore(&keep)?),
        Command::Doctor(args) if doctor::run(&args) => Ok(()),
        Command::Doctor(_) => Err(Failure::Unfit),
        Command::Bench {
            command: BenchCommand::Latency(args),
        } => Ok(bench::latency(&args)?),
    }
}
