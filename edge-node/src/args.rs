//! The command line.

use clap::Parser;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Runs sessions on this host for a broker.
#[derive(Debug, Parser)]
#[command(name = "edge-node", version)]
pub struct Args {
    /// TOML file laid over the built-in defaults (configs/edge-node.toml).
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where identity, epoch journal, session records, saves and root file systems are kept.
    #[arg(long, value_name = "DIR", default_value = "data/edge")]
    pub data: PathBuf,
    /// Short directory for sockets; a socket's path must fit in 107 bytes.
    #[arg(long, value_name = "DIR")]
    pub run: Option<PathBuf>,
    /// The broker's node listener.
    #[arg(long, value_name = "HOST:PORT")]
    pub broker: Option<String>,
    /// Directory with ca.pem, node.pem and node.key.pem.
    #[arg(long, value_name = "DIR", default_value = "data/pki")]
    pub pki: PathBuf,
    /// The one UDP port of all sessions; 0 lets the kernel choose.
    #[arg(long, value_name = "N")]
    pub rtc_port: Option<u16>,
    /// Loopback address of /metrics, /healthz and /sessions.
    #[arg(long, value_name = "ADDR")]
    pub admin: Option<SocketAddr>,
    /// The session worker's program; `edge-worker` beside this one by default.
    #[arg(long, value_name = "PATH")]
    pub worker: Option<PathBuf>,
    /// The program that proves GPUs; `edge-prover` beside this one by default.
    #[arg(long, value_name = "PATH")]
    pub prover: Option<PathBuf>,
    /// Print the effective configuration and exit: 0, or 64 if it is wrong.
    #[arg(long)]
    pub check_config: bool,
    /// Print what a GPU of this machine can be used for, as JSON, and exit: 0, or 1 if a check
    /// failed. Without an NVIDIA GPU it says so and exits with 0.
    #[arg(long)]
    pub gpu_check: bool,
}
