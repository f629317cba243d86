//! `session logs`, `session exec` and `session cp`: the inside of a job's container.
//!
//! - [`logs()`]: lines, from where they were left whenever the connection breaks.
//! - [`exec()`]: a command, on this terminal; [`terminal`] makes that raw and puts it back; [`socket`] is the way there.
//! - [`copy()`]: files, either way.
//!
//! **What it does not know:** where the job runs.

mod copy;
mod exec;
mod logs;
mod socket;
mod terminal;

pub use copy::copy;
pub use exec::exec;
pub use logs::logs;

use nearlight_kit::tree::TreeError;
use std::io;

/// Why the inside of a job is not what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum InsideError {
    /// A copy.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// Neither end of a copy is in a job, or both are.
    #[error("one of both is in a job, SESSION:/PATH, and the other one on this machine, or -")]
    Ends,
    /// There is no terminal to hand over.
    #[error("-t needs a terminal here; leave it out, or run the command in one")]
    NoTerminal,
    /// The terminal.
    #[error("the terminal cannot be used")]
    Terminal(#[source] io::Error),
    /// Output or input of this program.
    #[error("this program's input or output broke off")]
    Own(#[source] io::Error),
    /// The command was not started, or was ended.
    #[error("{0}")]
    Command(String),
    /// The connection.
    #[error("the connection to the command broke; it was ended with it")]
    Broken(#[source] io::Error),
    /// A signal to this program.
    #[error("stopped")]
    Stopped,
}

impl InsideError {
    /// The exit status.
    pub const fn exit_status(&self) -> u8 {
        match self {
            Self::Tree(_) | Self::Terminal(_) | Self::Own(_) => 1,
            Self::Ends | Self::NoTerminal => 2,
            Self::Broken(_) => 3,
            Self::Command(_) => 126,
            Self::Stopped => 130,
        }
    }
}
