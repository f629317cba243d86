//! `nearlight node`.

use super::{inside, seconds};
use clap::Subcommand;
use nearlight_protocol::id::NodeId;
use std::path::PathBuf;

/// `nearlight node`.
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// Every node.
    List,
    /// One node: its GPUs for jobs, who has them, and what keeps it or one of them from work.
    Show {
        /// Which.
        node: NodeId,
    },
    /// How a node stands: its checks and verdicts with their receipts, its rank, why placements pass it over,
    /// and what would raise it.
    Status {
        /// Which [default: the one that this machine is, by the certificate under --data].
        node: Option<NodeId>,
    },
    /// Contest a receipt of a check of a node, with the record of its probe and what was opened.
    Dispute {
        /// The receipt, by its place in the log.
        receipt: u64,
        /// What is wrong with it, in one sentence.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// A probe's record, then its opening; so on for further probes.
        #[arg(long, value_name = "FILE")]
        evidence: Vec<PathBuf>,
    },
    /// Show a dispute, and the verdict that ended it.
    Disputed {
        /// The dispute, by its place in the log.
        dispute: u64,
    },
    /// Let a new node in.
    Token {
        /// What to do.
        #[command(subcommand)]
        command: TokenCommand,
    },
    /// Make this machine a node, with the join token in --token; its keys, identity and settings go
    /// to --data.
    Join {
        /// Become a new node even if --data holds the identity of one.
        #[arg(long)]
        force: bool,
    },
    /// Have a node take no new sessions; those that it runs go on, or end after a while.
    Drain {
        /// Which.
        node: NodeId,
        /// End what it runs in this time, such as 10m or 2h; whoever is there is told now. Jobs that may go on
        /// elsewhere do.
        #[arg(long, value_name = "TIME", value_parser = inside::long_seconds)]
        reclaim: Option<u64>,
        /// Why, for owners of jobs and the audit log.
        #[arg(
            long,
            requires = "reclaim",
            default_value = "",
            value_name = "TEXT",
            hide_default_value = true
        )]
        reason: String,
    },
    /// Have a drained node take sessions again.
    Undrain {
        /// Which.
        node: NodeId,
    },
    /// Vet a node: jobs go to it that do not say that any node will do.
    Vet {
        /// Which.
        node: NodeId,
        /// It is not vetted any more; jobs that it runs go on.
        #[arg(long)]
        off: bool,
    },
    /// Shut a node out for good: its stream closes, its sessions end.
    Revoke {
        /// Which.
        node: NodeId,
    },
}

/// `nearlight node token`.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a join token and print the command that uses it, once.
    Create {
        /// For how long it works, such as 90s, 15m or 1h; an hour at most.
        #[arg(long, value_name = "TIME", default_value = "15m", value_parser = seconds)]
        ttl: u32,
        /// The node's name for people.
        #[arg(long, default_value = "")]
        name: String,
        /// The node's region.
        #[arg(long, default_value = "")]
        region: String,
        /// Who runs the node, if not who runs the network: none of their checkers checks it.
        #[arg(long, default_value = "", hide_default_value = true)]
        operator: String,
    },
}
