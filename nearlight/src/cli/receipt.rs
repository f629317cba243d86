//! `nearlight receipt`.

use clap::Subcommand;
use nearlight_verifier::Ask;
use std::path::PathBuf;

/// The exit status of `nearlight receipt verify`.
const EXIT_STATUS: &str = "\
Exit status: 0 VALID, 2 MALFORMED (and wrong usage), 3 UNKNOWN-KEY, 4 FORGED, 5 NOT-LOGGED,
6 NOT-WITNESSED, 10 DISPUTED, 11 REVOKED, 1 a file that cannot be read.
`nearlight-verify` does the same alone, and has 64 for wrong usage.";

/// `nearlight receipt`.
#[derive(Debug, Subcommand)]
pub enum ReceiptCommand {
    /// The newest receipts, or those about a node or anything else.
    List {
        /// The node's key id.
        #[arg(long, value_name = "KEY-ID")]
        node: Option<String>,
        /// A key id, a session's commitment, or the leaf of a receipt.
        #[arg(long, value_name = "HEX", conflicts_with = "node")]
        about: Option<String>,
    },
    /// Fetch a receipt with its proof into a file.
    Get {
        /// Its place in the log.
        index: u64,
        /// The file.
        to: PathBuf,
    },
    /// Fetch the directory of keys, and what the log's operator says to believe, into a file.
    Directory {
        /// The file.
        to: PathBuf,
    },
    /// Show what a receipt says; nothing of it is verified.
    Show {
        /// The file.
        file: PathBuf,
    },
    /// Verify a receipt, offline.
    #[command(after_help = EXIT_STATUS)]
    Verify(Ask),
}
