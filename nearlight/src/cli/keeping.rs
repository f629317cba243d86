//! `nearlight backup` and `nearlight restore`.

use clap::Args;
use std::path::PathBuf;

/// A back-up, and whose.
#[derive(Debug, Args)]
pub struct Keep {
    /// The back-up's directory.
    pub dir: PathBuf,
    /// The broker's configuration. A restore takes it from the back-up where it is not there yet.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The broker's data directory, such as data/broker.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The directory of the CA, such as data/pki.
    #[arg(long, value_name = "DIR")]
    pub pki: Option<PathBuf>,
    /// The ledger, if it is no file in the data directory.
    #[arg(
        long,
        value_name = "URL",
        env = "NEARLIGHT_LEDGER",
        hide_env_values = true
    )]
    pub ledger: Option<String>,
}
