//! `nearlight session`.

use super::inside::{AskEndpoint, Copy, Exec, Logs};
use clap::{Args, Subcommand};
use nearlight_protocol::id::{AppId, SessionId};
use std::path::PathBuf;

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
    #[arg(required_unless_present_any = ["file", "recipe"], conflicts_with_all = ["file", "recipe"])]
    pub app: Option<AppId>,
    /// The job: a TOML file, or a compose file (.yaml, .yml) of one service.
    #[arg(short, long, value_name = "JOB.TOML")]
    pub file: Option<PathBuf>,
    /// A recipe of the broker, in place of a file; `nearlight recipe list` has them.
    #[arg(short, long, conflicts_with = "file")]
    pub recipe: Option<String>,
    /// The value of a secret of the job: @FILE as it is, env:VARIABLE, or - for a line on stdin.
    #[arg(
        long = "secret",
        value_name = "NAME=@FILE|env:VARIABLE|-",
        conflicts_with = "app"
    )]
    pub secrets: Vec<SecretArg>,
    /// Do not wait until the job is ready.
    #[arg(long, conflicts_with = "app")]
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
