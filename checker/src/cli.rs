//! What people type.

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Has nodes of a Nearlight network prove what they can do, and signs what it found.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Exit status: 0 passed or done, 1 the machine is unfit or a file is wrong, 2 the node failed, \
    3 nothing can be said, 4 the broker, 64 usage."
)]
pub struct Cli {
    /// Directory of the checker's key.
    #[arg(
        long,
        global = true,
        default_value = "checker-data",
        env = "CHECKER_DATA"
    )]
    pub data: PathBuf,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make the checker's key, and show its words once.
    Init,
    /// Make the checker's key from its words, read from standard input.
    Restore,
    /// Sign a table of classes: what each class of machines takes for each leg.
    Table(TableArgs),
    /// Look whether this machine can check.
    Doctor(DoctorArgs),
    /// Probe a node.
    Run(Box<RunArgs>),
}

/// `checker table`
#[derive(Debug, Args)]
pub struct TableArgs {
    /// JSON file with the classes, such as configs/gpu-classes.json.
    #[arg(long)]
    pub classes: PathBuf,
    /// Number of this edition: higher than the last.
    #[arg(long)]
    pub serial: u64,
    /// Where to write the signed table.
    #[arg(long)]
    pub out: PathBuf,
}

/// `checker doctor`
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// The address of the broker: https, its name and perhaps a port.
    #[arg(long, env = "NEARLIGHT_URL")]
    pub url: Option<String>,
    /// Where drand's quicknet is read.
    #[arg(long, default_value = crate::beacon::RELAY)]
    pub drand: String,
    /// A STUN server, HOST:PORT, to see whether UDP comes through.
    #[arg(long)]
    pub stun: Option<String>,
}

/// `checker run`
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Once, and no more. Schedules are not here yet, so it has to be said.
    #[arg(long, required = true)]
    pub once: bool,
    /// The broker's address.
    #[arg(long, env = "NEARLIGHT_URL")]
    pub url: String,
    /// An API key of the broker with the scope `nodes:probe`.
    #[arg(long, env = "NEARLIGHT_TOKEN", hide_env_values = true)]
    pub token: String,
    /// The node to probe.
    #[arg(long)]
    pub node: String,
    /// Which of its GPUs, by its own id; `cpu` for the host's processor.
    #[arg(long, default_value = "cpu")]
    pub gpu: String,
    /// The class of the table that it is held to.
    #[arg(long)]
    pub class: String,
    /// The signed table of classes.
    #[arg(long)]
    pub table: PathBuf,
    /// The public key that signed it, 64 hex digits.
    #[arg(long)]
    pub table_key: String,
    /// Where the receipt is written.
    #[arg(long)]
    pub out: PathBuf,
    /// Randomness that nobody could choose.
    #[command(flatten)]
    pub beacon: BeaconArgs,
}

/// Which beacon.
#[derive(Debug, Clone, Args)]
pub struct BeaconArgs {
    /// Where drand's quicknet is read; its signature is verified here.
    #[arg(long, default_value = crate::beacon::RELAY)]
    pub drand: String,
    /// In a closed network: the round of its chain.
    #[arg(long, requires = "chain_value")]
    pub chain_round: Option<u64>,
    /// Its value, 64 hex digits.
    #[arg(long, requires = "chain_anchor")]
    pub chain_value: Option<String>,
    /// The chain's anchor, 64 hex digits, as the log has it.
    #[arg(long, requires = "chain_round")]
    pub chain_anchor: Option<String>,
}
