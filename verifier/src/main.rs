//! `nearlight-verify`: verifies one receipt, offline.

#![forbid(unsafe_code)]

use clap::Parser;
use nearlight_verifier::{Ask, EXIT_USAGE, report, text};
use std::io::Write;
use std::process::ExitCode;

const EXIT_STATUS: &str = "\
Exit status:
  0   VALID
  2   MALFORMED      3   UNKNOWN-KEY    4   FORGED
  5   NOT-LOGGED     6   NOT-WITNESSED
  10  DISPUTED       11  REVOKED
  64  wrong usage, or a file that cannot be read";

/// Verifies a receipt, offline.
#[derive(Debug, Parser)]
#[command(name = "nearlight-verify", version, after_help = EXIT_STATUS)]
struct Cli {
    #[command(flatten)]
    ask: Ask,
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
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
    match report(&cli.ask) {
        Ok(report) => {
            let shown = match cli.json {
                true => serde_json::to_string_pretty(&report).unwrap_or_default() + "\n",
                false => text(&report),
            };
            let _ = std::io::stdout().write_all(shown.as_bytes());
            ExitCode::from(report.outcome.exit_code())
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
