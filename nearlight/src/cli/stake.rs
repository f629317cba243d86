//! `nearlight stake`.

use clap::Subcommand;

/// `nearlight stake`.
#[derive(Debug, Subcommand)]
pub enum StakeCommand {
    /// Every account; or one, with its last transfers and the receipts that each rests on.
    Show {
        /// `operator/NAME`, `checker/KEY`, `earned/KEY`, `pool`, `slashed` or `outside`.
        account: Option<String>,
    },
    /// Put something into an account; administrators only.
    Deposit {
        /// `operator/NAME`, `checker/KEY` or `pool`; KEY is a key id.
        account: String,
        /// Micro-units.
        amount_micro: u64,
    },
    /// Take out of an account what nothing holds; administrators only.
    Withdraw {
        /// `operator/NAME`, `checker/KEY`, `earned/KEY` or `pool`; KEY is a key id.
        account: String,
        /// Micro-units.
        amount_micro: u64,
    },
}
