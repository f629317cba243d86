//! `nearlight checker`.

use super::seconds;
use clap::Subcommand;

/// `nearlight checker`.
#[derive(Debug, Subcommand)]
pub enum CheckerCommand {
    /// Let a checker in: make a token and print the command that uses it, once.
    Admit {
        /// Who runs it. It never checks their nodes.
        #[arg(long)]
        operator: String,
        /// The licence that it acts for, by id: its owner has to delegate it.
        #[arg(long, value_name = "ID")]
        licence: Option<String>,
        /// For how long the token works, such as 90s, 15m or 1h; an hour at most.
        #[arg(long, value_name = "TIME", default_value = "15m", value_parser = seconds)]
        ttl: u32,
    },
    /// Give a licence to the owner of a key, who delegates it with `checker delegate`.
    Licence {
        /// The owner's public key, 64 hex digits.
        #[arg(long)]
        key: String,
        /// Whose it is.
        #[arg(long)]
        owner: String,
    },
    /// The checkers, and the licences.
    List,
    /// Shut a checker out, or take a licence back with every checker that acts for it: for good.
    Revoke {
        /// The checker's or the licence's id, as `list` has it.
        id: String,
    },
}
