//! Back-ups of a broker on this machine: its own program makes and restores them, for it has its files.

use crate::cli::Keep;
use crate::command::CommandError;
use crate::identity::beside;
use std::process::Command;

/// Backs a broker up, which may run.
///
/// # Errors
/// [`CommandError::NotKept`]: its program has said why.
pub fn backup(keep: &Keep) -> Result<(), CommandError> {
    run("--backup", keep)
}

/// Restores a back-up onto an empty machine.
///
/// # Errors
/// [`CommandError::NotKept`]: the broker's program has said why.
pub fn restore(keep: &Keep) -> Result<(), CommandError> {
    run("--restore", keep)
}

fn run(what: &'static str, keep: &Keep) -> Result<(), CommandError> {
    let mut run = Command::new(beside("session-broker"));
    let dirs = [
        ("--config", &keep.config),
        ("--data", &keep.data),
        ("--pki", &keep.pki),
    ];
    for (flag, value) in dirs {
        if let Some(value) = value {
            run.arg(flag).arg(value);
        }
    }
    // Not as an argument, which every user of the machine reads: it may have a password.
    if let Some(ledger) = &keep.ledger {
        run.env("NEARLIGHT_LEDGER", ledger);
    }
    let done = run.arg(what).arg(&keep.dir).status();
    let done = done.map_err(CommandError::NoBroker)?;
    done.success().then_some(()).ok_or(CommandError::NotKept)
}
