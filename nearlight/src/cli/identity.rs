//! The command line of who one is, and who else may come in: `login`, `logout`, `tenant`, `key`, `admin`.

use super::Broker;
use clap::{Args, Subcommand};
use nearlight_protocol::api::Role;
use nearlight_protocol::id::{KeyId, TenantId};
use nearlight_protocol::identity::{Priority, Scope};
use std::path::PathBuf;
use std::str::FromStr;

/// `nearlight login`.
#[derive(Debug, Args)]
pub struct Login {
    /// The broker, such as `https://play.example.org`.
    pub url: String,
    /// A file with the API key; a line of stdin otherwise.
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Log in as a player, in a browser on this machine or another one, instead of with an API key.
    #[arg(long, conflicts_with = "key_file")]
    pub device: bool,
    /// What to call it [default: the broker's host].
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
}

/// `nearlight logout`.
#[derive(Debug, Args)]
pub struct Logout {
    /// Which profile [default: the current one].
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
}

/// `nearlight tenant`.
#[derive(Debug, Subcommand)]
pub enum TenantCommand {
    /// A new tenant.
    Create {
        /// Its name.
        name: String,
        /// What its members may have together.
        #[command(flatten)]
        limits: TenantLimits,
        /// Where its members stand in the queue: low, normal or high.
        #[arg(long, default_value = "normal")]
        priority: Priority,
        /// What they may spend in a calendar month, millionths of the currency's unit.
        #[arg(long, value_name = "MICRO")]
        budget_micro_per_month: Option<u64>,
    },
    /// Every tenant.
    List,
    /// Change what is named here of a tenant; the rest stays.
    Set {
        /// Which.
        tenant: TenantId,
        #[command(flatten)]
        change: ChangeTenant,
    },
}

/// `nearlight tenant set`: at least one of these.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub struct ChangeTenant {
    /// Its name.
    #[arg(long)]
    pub name: Option<String>,
    /// Sessions that its members may hold together, or `none` for no limit.
    #[arg(long, value_name = "N|none")]
    pub sessions_max: Option<Limit<u32>>,
    /// GPUs that their jobs may have together, slices counted like whole ones, or `none`.
    #[arg(long, value_name = "N|none")]
    pub gpus_max: Option<Limit<u32>>,
    /// CPU that their sessions may have together, thousandths of a core, or `none`.
    #[arg(long, value_name = "MILLI|none")]
    pub cpu_milli_max: Option<Limit<u32>>,
    /// Memory that they may have together, MiB, or `none`.
    #[arg(long, value_name = "MIB|none")]
    pub mem_mib_max: Option<Limit<u32>>,
    /// Turn its members away, while their sessions go on; `--suspended=false` lets them in again.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub suspended: Option<bool>,
    /// Where its members stand in the queue: low, normal or high.
    #[arg(long)]
    pub priority: Option<Priority>,
    /// What they may spend in a calendar month, millionths of the currency's unit, or `none`.
    #[arg(long, value_name = "MICRO|none")]
    pub budget_micro_per_month: Option<Limit<u64>>,
}

/// A number, or none.
#[derive(Clone, Copy, Debug)]
pub struct Limit<T>(pub Option<T>);

impl<T: FromStr> FromStr for Limit<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(None));
        }
        let number = text.parse().map_err(|_| "neither a number nor `none`")?;
        Ok(Self(Some(number)))
    }
}

/// What the members of a tenant may have together, sessions that wait counted; no limit where nothing is said.
#[derive(Debug, Args)]
pub struct TenantLimits {
    /// Sessions that its members may hold together.
    #[arg(long, value_name = "N")]
    pub sessions_max: Option<u32>,
    /// GPUs that their jobs may have together, slices counted like whole ones.
    #[arg(long, value_name = "N")]
    pub gpus_max: Option<u32>,
    /// CPU that their sessions may have together, thousandths of a core.
    #[arg(long, value_name = "MILLI")]
    pub cpu_milli_max: Option<u32>,
    /// Memory that they may have together, MiB.
    #[arg(long, value_name = "MIB")]
    pub mem_mib_max: Option<u32>,
}

/// `nearlight key`.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// A new key. Its secret is shown this once, on stdout.
    Create(CreateKey),
    /// Every key, without its secret.
    List,
    /// A new secret for a key; the former one goes on for a while.
    Rotate {
        /// Which.
        key: KeyId,
        /// Seconds for which the former secret goes on [default: a day].
        #[arg(long, value_name = "SECONDS")]
        overlap_s: Option<u32>,
    },
    /// Make a key void at once.
    Revoke {
        /// Which.
        key: KeyId,
    },
}

/// `nearlight key create`.
#[derive(Debug, Args)]
pub struct CreateKey {
    /// What it is for.
    pub name: String,
    /// player, tenant, operator or admin.
    #[arg(long)]
    pub role: Role,
    /// Whose; the role `tenant` needs one.
    #[arg(long, value_name = "TENANT")]
    pub tenant: Option<TenantId>,
    /// What it may be used for, such as sessions:read; all of its role without any.
    #[arg(long = "scope", value_name = "SCOPE")]
    pub scopes: Vec<Scope>,
    /// Seconds until it is void.
    #[arg(long, value_name = "SECONDS")]
    pub expires_s: Option<u32>,
    /// Sessions that it may hold at a time.
    #[arg(long, value_name = "N")]
    pub sessions_max: Option<u32>,
}

/// `nearlight admin`.
#[derive(Debug, Subcommand)]
pub enum AdminCommand {
    /// Make the first administrator's key, on the broker's machine.
    Bootstrap {
        /// The broker's configuration.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// The broker's data directory, such as data/broker.
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
        /// The ledger, if it is no file in there.
        #[arg(
            long,
            value_name = "URL",
            env = "NEARLIGHT_LEDGER",
            hide_env_values = true
        )]
        ledger: Option<String>,
        /// Even if there is an administrator already.
        #[arg(long)]
        force: bool,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// What was done, by whom, from where; newest first.
    Audit {
        /// How many lines.
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: u32,
        /// Which broker.
        #[command(flatten)]
        broker: Broker,
    },
}
