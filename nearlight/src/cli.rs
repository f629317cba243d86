//! The command line.

use clap::{Args, Parser, Subcommand};
use nearlight_protocol::id::{AppId, NodeId, SessionId};
use nearlight_protocol::limits::JOIN_TOKEN_S_MAX;
use std::net::SocketAddr;
use std::path::PathBuf;

mod checker;
mod identity;
mod inside;
mod outside;
mod receipt;
mod stake;
mod volume;

pub use checker::CheckerCommand;
pub use identity::{
    AdminCommand, ChangeTenant, CreateKey, KeyCommand, Limit, Login, Logout, TenantCommand,
    TenantLimits,
};
pub use inside::{AskEndpoint, Copy, Exec, Logs};
pub use outside::{RegistryCommand, WebhookCommand};
pub use receipt::{ReceiptAudit, ReceiptCommand, ReceiptList, ReceiptRerun};
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
  130  stopped at once by a second Ctrl-C
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

/// `nearlight session`.
#[derive(Debug, Subcommand)]
pub enum SessionCommand {
    /// Your sessions.
    List {
        /// Only apps, or only jobs.
        #[arg(long, value_parser = ["app", "job"])]
        kind: Option<String>,
        /// Only jobs with this label; several have to hold together.
        #[arg(long = "label", value_name = "NAME=VALUE")]
        labels: Vec<String>,
    },
    /// Start an app, and do not wait for it; or a job, and wait until it is ready.
    Start(Start),
    /// Print the job.toml of a compose file of one service, or all that stands in the way. Asks no broker.
    Convert {
        /// The compose file (.yaml, .yml).
        file: PathBuf,
    },
    /// End a session.
    Stop {
        /// Which.
        session: SessionId,
    },
    /// Say why a session runs where it does, or why it waits.
    Explain {
        /// Which.
        session: SessionId,
    },
    /// Print where a job is reached, and a ticket for it.
    Endpoint(AskEndpoint),
    /// Show what a job's program wrote.
    Logs(Logs),
    /// Run a command in a job, as if it ran here.
    Exec(Exec),
    /// Copy files out of a job and into it.
    Cp(Copy),
}

/// `nearlight session start`.
#[derive(Debug, Args)]
pub struct Start {
    /// The app.
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    pub app: Option<AppId>,
    /// The job: a TOML file, or a compose file (.yaml, .yml) of one service.
    #[arg(short, long, value_name = "JOB.TOML")]
    pub file: Option<PathBuf>,
    /// The value of a secret of the job: @FILE as it is, env:VARIABLE, or - for a line on stdin.
    #[arg(
        long = "secret",
        value_name = "NAME=@FILE|env:VARIABLE|-",
        requires = "file",
        conflicts_with = "app"
    )]
    pub secrets: Vec<SecretArg>,
    /// Do not wait until the job is ready.
    #[arg(long, requires = "file", conflicts_with = "app")]
    pub detach: bool,
    /// What it may cost, millionths of the currency's unit; then it ends.
    #[arg(long, value_name = "MICRO")]
    pub budget_micro: Option<u64>,
}

/// Where the value of a secret comes from. Never from the command line, which others on the machine read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretArg {
    /// The secret's name.
    pub name: String,
    /// Where its value is.
    pub from: SecretFrom,
}

/// Where the value of a secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretFrom {
    /// In a file, all of it.
    File(PathBuf),
    /// In a variable of the environment.
    Env(String),
    /// On stdin, a line.
    Stdin,
}

impl std::str::FromStr for SecretArg {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const HOW: &str = "give NAME=@FILE, NAME=env:VARIABLE or NAME=- (stdin)";
        let (name, from) = text.split_once('=').ok_or(HOW)?;
        let from = match (from, from.strip_prefix('@'), from.strip_prefix("env:")) {
            ("-", _, _) => SecretFrom::Stdin,
            (_, Some(path), _) if !path.is_empty() => SecretFrom::File(path.into()),
            (_, _, Some(variable)) if !variable.is_empty() => SecretFrom::Env(variable.to_owned()),
            _ => return Err(HOW),
        };
        let name = name.to_owned();
        (!name.is_empty()).then_some(Self { name, from }).ok_or(HOW)
    }
}

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

/// `nearlight bench`.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// From a key press in a browser to the picture that answers it.
    Latency(Latency),
}

/// `nearlight bench latency`.
#[derive(Debug, Args)]
pub struct Latency {
    /// The broker [default: the one of the `nearlight up` under --data, or http://127.0.0.1:8080].
    #[arg(long, env = "NEARLIGHT_URL", conflicts_with = "up")]
    pub url: Option<String>,
    /// Data directory of a `nearlight up` on this machine, to find its broker.
    #[arg(long, value_name = "DIR", default_value = "data")]
    pub data: PathBuf,
    /// Start a Nearlight of the bench's own, on free ports, and end it afterwards.
    #[arg(long)]
    pub up: bool,
    /// An app that runs calibrate.
    #[arg(long, default_value = "calibrate")]
    pub app: AppId,
    /// When the app answers: at once, with its next frame as games do, or one after the other.
    #[arg(long, value_enum, default_value_t = BenchMode::Both)]
    pub mode: BenchMode,
    /// Sessions a mode: the phase between the clocks differs from session to session.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub sessions: u32,
    /// Key presses a session, and as many on the local canvas.
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub presses: u32,
    /// Of the random intervals between presses.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// The Chromium to use [default: the first on PATH].
    #[arg(long, value_name = "PATH")]
    pub browser: Option<PathBuf>,
    /// Where report.json, report.html and presses.csv go.
    #[arg(long, value_name = "DIR", default_value = "target/bench/latency")]
    pub out: PathBuf,
}

impl Latency {
    /// Where the lobby is.
    pub fn broker_url(&self) -> String {
        let named = self.url.clone();
        named.unwrap_or_else(|| crate::target::url_of(&self.data))
    }
}

/// Which modes of calibrate to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum BenchMode {
    /// Both.
    Both,
    /// Commits at once: the path alone.
    Immediate,
    /// Commits with the next frame callback.
    Paced,
}

#[cfg(test)]
mod test;
