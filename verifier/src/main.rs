//! `nearlight-verify`: verifies one receipt, or computes a check anew, offline.

#![forbid(unsafe_code)]

use clap::{Parser, Subcommand};
use nearlight_verifier::{Ask, AskError, EXIT_USAGE, RerunFiles, report, text};
use serde::Serialize;
use std::io::Write;
use std::process::ExitCode;

const EXIT_STATUS: &str = "\
Exit status:
  0   VALID          (rerun: AGREES)
  3   UNKNOWN-KEY    4   FORGED         5   NOT-LOGGED
  6   NOT-WITNESSED  7   MALFORMED
  10  DISPUTED       11  REVOKED
  14  DIFFERS        15  NOT-RERUN      (rerun)
  64  wrong usage, or a file that cannot be read";

/// Verifies a receipt, offline.
#[derive(Debug, Parser)]
#[command(
    name = "nearlight-verify",
    version,
    after_help = EXIT_STATUS,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    ask: Option<Ask>,
    /// Answer in JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Compute a capacity check anew on this machine, and compare.
    Rerun(RerunFiles),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            let status = if error.use_stderr() { EXIT_USAGE } else { 0 };
            return ExitCode::from(status);
        }
    };
    match run(&cli) {
        Ok((said, status)) => {
            let _ = std::io::stdout().write_all(said.as_bytes());
            ExitCode::from(status)
        }
        Err(error) => {
            let mut stderr = std::io::stderr();
            let _ = writeln!(stderr, "nearlight-verify: {error}");
            if let Some(why) = std::error::Error::source(&error) {
                let _ = writeln!(stderr, "  because: {why}");
            }
            ExitCode::from(EXIT_USAGE)
        }
    }
}

/// What is said, and the exit status.
fn run(cli: &Cli) -> Result<(String, u8), AskError> {
    Ok(match (&cli.command, &cli.ask) {
        (Some(Command::Rerun(asked)), _) => {
            let found = asked.rerun()?;
            let status = found.verdict.exit_code();
            (
                shown(cli.json, &found, nearlight_verifier::rerun::text),
                status,
            )
        }
        (None, Some(ask)) => {
            let report = report(ask)?;
            let status = report.outcome.exit_code();
            (shown(cli.json, &report, text), status)
        }
        // The parser asks for one or the other.
        (None, None) => (String::new(), EXIT_USAGE),
    })
}

fn shown<T: Serialize>(json: bool, found: &T, text: impl Fn(&T) -> String) -> String {
    match json {
        true => serde_json::to_string_pretty(found).unwrap_or_default() + "\n",
        false => text(found),
    }
}
