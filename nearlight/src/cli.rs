//! The command line.

use clap::{Args, Parser, Subcommand};
use nearlight_protocol::id::AppId;
use nearlight_protocol::limits::JOIN_TOKEN_S_MAX;
use std::net::SocketAddr;
use std::path::PathBuf;

mod bench;
mod checker;
mod identity;
mod inside;
mod keeping;
mod node;
mod outside;
mod receipt;
mod recipe;
mod session;
mod stake;
mod volume;

pub use bench::{BenchCommand, BenchMode, Latency};
pub use checker::CheckerCommand;
pub use identity::{
    AdminCommand, ChangeTenant, CreateKey, KeyCommand, Limit, Login, Logout, TenantCommand,
    TenantLimits,
};
pub use inside::{AskEndpoint, Copy, Exec, Logs};
pub use keeping::Keep;
pub use node::{NodeCommand, TokenCommand};
pub use outside::{RegistryCommand, WebhookCommand};
pub use receipt::{ReceiptAudit, ReceiptCommand, ReceiptList, ReceiptRerun, ReceiptRevoke};
pub use recipe::RecipeCommand;
pub use session::{SecretArg, SecretFrom, SessionCommand, Start};
pub use stake::StakeCommand;
pub use volume::VolumeCommand;

const EXIT_STATUS: &str = "\
Exit status:
  0    done
  1    it failed, or a check of the doctor did
  2    wrong usage
  3    no broker answers
  4    the broker refused; the message says why
  5    the job ended before it was ready
  126  session exec: the command could not be started, or was ended
  130  stopped at once by a second Ctrl-C; session start: by the first one, which ends the job
`session exec` ends with the status of its command.";

/// Low-latency GPU sessions: play and run apps on the nearest machine.
#[derive(Debug, Parser)]
#[command(name = "nearlight", version, after_help = EXIT_STATUS)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run every role on this machine.
    Up(Up),
    /// Print the address at which a browser plays an app.
    Play(Play),
    /// List, start, stop and explain sessions.
    Session {
        /// What to do.
        #[command(subcommand)]
        command: SessionCommand,
        /// Which broker.
        #[command(flatten)]
        broker: Broker,
    },
    /// Let checkers in, who check what nodes can do, give them licences, list them and shut them out.
    Checker {
        /// What to do.
        #[command(subcommand)]
        command: CheckerCommand,
        /// Which broker.
        #[command(flatten)]
        broker: Broker,
    },
    /// List nodes, let them in, drain them and shut them out.
    Node {
        /// What to do.
        #[command(subcommand)]
        command: NodeCommand,
        /// Which broker.
        #[command(flatten)]
        broker: Broker,
    },
    /// Check, add, list, show, roll out and roll back apps.
    App {
        /// What to do.
        #[command(subcommand)]
        command: AppCommand,
        /// Which broker.
        #[command(flatten)]
        broker: Broker,
    },
    /// Remember a broker and an API key for it, or log in as a player in a browser.
    Login(Login),
    /// Forget a broker and its key; a player's login ends.
    Logout(Logout),
    /// Say who the broker takes you for.
    Whoami {
        /// Which broker.
        #[command(flatten)]
        broker: Broker,
    },
    /// Make, list and change tenants.
    Tenant {
        /// What to do.
        #[command(subcommand)]
        command: TenantCommand,
        /// Which broker.
        #[command(flatten)]
        broker: Broker,
    },
    /// Make, list, rotate and revoke API keys.
    Key {
        /// What to do.
        #[command(subcommand)]
        command: KeyCommand,
        /// Which broker.
        #[command(flatten)]
        broker: Broker,
    },
    /// Jobs that the broker has ready to start.
    Recipe {
        /// What to do.
        #[command(subcommand)]
        command: RecipeCommand,
        /// Which broker.
        #[command(flatten)]
        broker: Broker,
    },
    /// List, show and delete what jobs have kept.
    Volume {
        /// What to do.
        #[command(subcommand)]
        command: VolumeCommand,
        /// Which broker.
        #[command(flatten)]
        broker: Broker,
    },
    /// Give your tenant's jobs credentials for registries, list and remove them.
    Registry {
        /// What to do.
        #[command(subcommand)]
        command: RegistryCommand,
        /// Which broker.
        #[command(flatten)]
        broker: Broker,
    },
    /// Have your tenant told of its jobs, and see how that goes.
    Webhook {
        /// What to do.
        #[command(subcommand)]
        command: WebhookCommand,
        /// Which broker.
        #[command(flatten)]
        broker: Broker,
    },
    /// List, fetch, show, verify and recompute receipts; audit the log.
    Receipt {
        /// What to do.
        #[command(subcommand)]
        command: ReceiptCommand,
        /// Which broker; `show` and `verify` ask none.
        #[command(flatten)]
        broker: Broker,
    },
    /// What operators and checkers have at stake, and what they earned.
    Stake {
        /// What to do.
        #[command(subcommand)]
        command: StakeCommand,
        /// Which broker.
        #[command(flatten)]
        broker: Broker,
    },
    /// What ran, for how long, and what it costs.
    Usage(Usage),
    /// What administrators do.
    Admin {
        /// What to do.
        #[command(subcommand)]
        command: AdminCommand,
    },
    /// Back the broker on this machine up into a new directory: ledger, keys, CA. It may run.
    Backup(Keep),
    /// Restore a back-up of a broker onto this machine, where there is none yet.
    Restore(Keep),
    /// Look for what this machine lacks; changes nothing.
    Doctor(Doctor),
    /// Measure.
    Bench {
        /// What to measure.
        #[command(subcommand)]
        command: BenchCommand,
    },
}

/// `nearlight up`.
#[derive(Debug, Args)]
pub struct Up {
    /// Address of the lobby and the API. Plain http, so loopback: for TLS run the roles by themselves
    /// (docs/operations.md).
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Where everything is kept: keys, ledger, saves, root file systems.
    #[arg(long, value_name = "DIR", default_value = "data")]
    pub data: PathBuf,
    /// The one UDP port of all sessions; 0 lets the kernel choose.
    #[arg(long, value_name = "PORT")]
    pub rtc_port: Option<u16>,
    /// TOML file with the sections [session-broker] and [edge-node], each laid over that role's
    /// defaults (configs/session-broker.toml, configs/edge-node.toml).
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The built browser client; found beside the programs or in client-web/dist otherwise.
    #[arg(long, value_name = "DIR")]
    pub client_web: Option<PathBuf>,
    /// Sessions at a time, as `slots.count` of [edge-node] says it [default: half of the cores, at least
    /// 2]. A cluster of jobs takes one for each replica. What they may use stays the machine's.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub slots: Option<u32>,
    /// Catalogue files that add to the built-in apps or replace them.
    #[arg(long, value_name = "DIR")]
    pub apps: Option<PathBuf>,
    /// Checkers on this machine, which have its node prove what it can do. What they say is worth something to
    /// strangers once others run them.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=16))]
    pub checkers: u32,
}

/// `nearlight play`.
#[derive(Debug, Args)]
pub struct Play {
    /// The app, as `nearlight app list` names it.
    pub app: AppId,
    /// Which broker.
    #[command(flatten)]
    pub broker: Broker,
}

/// `nearlight usage`.
#[derive(Debug, Args)]
pub struct Usage {
    /// The first day or instant, such as 2026-01-31 [default: the first of the month].
    #[arg(long, value_name = "WHEN")]
    pub from: Option<String>,
    /// The day or instant after the last [default: now].
    #[arg(long, value_name = "WHEN")]
    pub to: Option<String>,
    /// Only sessions with this label, NAME=VALUE; of several, all.
    #[arg(long = "label", value_name = "NAME=VALUE")]
    pub labels: Vec<String>,
    /// Sums in place of sessions: day, app, or label.NAME.
    #[arg(long, value_name = "BY")]
    pub group: Option<String>,
    /// Print CSV.
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
    /// Which broker.
    #[command(flatten)]
    pub broker: Broker,
}

/// `nearlight doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    /// The address that `nearlight up` is to listen on.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// A time such as 90s, 15m or 1h, in seconds.
fn seconds(text: &str) -> Result<u32, String> {
    let (number, unit_s) = match text.as_bytes().last() {
        Some(b's') => (&text[..text.len() - 1], 1),
        Some(b'm') => (&text[..text.len() - 1], 60),
        Some(b'h') => (&text[..text.len() - 1], 3600),
        Some(_) | None => (text, 1),
    };
    let number = number.parse::<u32>().ok();
    let seconds = number.and_then(|number| number.checked_mul(unit_s));
    let fits = |s: &u32| (1..=JOIN_TOKEN_S_MAX).contains(s);
    seconds
        .filter(fits)
        .ok_or_else(|| "give a time of 1s to 1h, such as 90s or 15m".to_owned())
}

/// `nearlight app`.
#[derive(Debug, Subcommand)]
pub enum AppCommand {
    /// The catalogue.
    List,
    /// Check a description, and say everything that is wrong with it. Asks no broker.
    Check {
        /// The description, named after the app.
        file: PathBuf,
    },
    /// Add a description as a new version. It is not live, but for an app's first; the same
    /// description is the same version.
    Add {
        /// The description, named after the app.
        file: PathBuf,
    },
    /// An app's versions, and where each is live.
    Show {
        /// The app.
        app: AppId,
    },
    /// Have sessions get a version: those that are placed in some metros, or all. Sessions that run
    /// keep theirs.
    Roll {
        /// The app.
        app: AppId,
        /// The version's number.
        version: u32,
        /// Only where nodes are of this region; may be given several times.
        #[arg(long = "metro", value_name = "REGION", required_unless_present = "all")]
        metros: Vec<String>,
        /// Everywhere; nothing is staged any more.
        #[arg(long, conflicts_with = "metros")]
        all: bool,
    },
    /// Take a roll-out back: what is staged, or else the version that is live.
    Rollback {
        /// The app.
        app: AppId,
    },
}

/// Which broker, and how to show what it says.
#[derive(Debug, Clone, Args)]
pub struct Broker {
    /// The broker [default: the profile's; without one, that of the `nearlight up` under --data, or
    /// http://127.0.0.1:8080].
    #[arg(long, global = true, env = "NEARLIGHT_URL")]
    pub url: Option<String>,
    /// A broker that you have logged in to [default: the last one].
    #[arg(long, global = true, value_name = "NAME")]
    pub profile: Option<String>,
    /// Your API key. Without one, that of a profile of this broker, or the development key under
    /// --data. For `node join`: the join token.
    #[arg(long, global = true, env = "NEARLIGHT_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Data directory of a `nearlight up` on this machine, for its development key. For `node join`:
    /// where the node is kept. [default: data]
    #[arg(long, global = true, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Print JSON, one value a line.
    #[arg(long, global = true)]
    pub json: bool,
}

#[cfg(test)]
mod test;
