//! The command line: a configuration file, and flags over it.

use crate::backup::Settings;
use crate::config::{Config, InvalidConfig, Parsed};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The session broker of Nearlight.
#[derive(Clone, Debug, Default, clap::Parser)]
#[command(name = "session-broker", version)]
pub struct Args {
    /// Configuration over the built-in defaults (configs/session-broker.toml explains each key)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Directory of the signing key, and of the ledger unless --ledger says otherwise
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The ledger: a postgres:// URL [default: a file in the data directory]
    #[arg(
        long,
        value_name = "URL",
        env = "NEARLIGHT_LEDGER",
        hide_env_values = true
    )]
    pub ledger: Option<String>,
    /// Public listener
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
    /// Listener of the edges' control streams
    #[arg(long, value_name = "ADDR")]
    pub node_listen: Option<SocketAddr>,
    /// Listener for whoever talks to jobs
    #[arg(long, value_name = "ADDR")]
    pub jobs_listen: Option<SocketAddr>,
    /// Directory of the CA and the broker's certificate
    #[arg(long, value_name = "DIR")]
    pub pki: Option<PathBuf>,
    /// The built browser client
    #[arg(long, value_name = "DIR")]
    pub client_web: Option<PathBuf>,
    /// App files over the built-in ones
    #[arg(long, value_name = "DIR")]
    pub apps: Option<PathBuf>,
    /// File of a development administrator's API key, made if it is missing
    #[arg(long, value_name = "FILE")]
    pub dev_key_file: Option<PathBuf>,
    /// Back up the ledger, the signing key, the CA and the configuration into a new directory, and exit; the broker may run
    #[arg(long, value_name = "DIR", conflicts_with = "restore")]
    pub backup: Option<PathBuf>,
    /// Restore a back-up onto an empty machine, and exit; also the configuration, if the file of --config is not there
    #[arg(long, value_name = "DIR", conflicts_with = "check_config")]
    pub restore: Option<PathBuf>,
    /// Move the ledger from its file into an empty database at a postgres:// URL, and exit; no broker may run. A
    /// password comes by PGPASSWORD or a password file
    #[arg(long, value_name = "URL", conflicts_with_all = ["backup", "restore", "bootstrap_admin", "rotate_ca"])]
    pub move_ledger: Option<String>,
    /// Make the first administrator's key in the ledger, print it as JSON and exit; a broker may be
    /// running
    #[arg(long)]
    pub bootstrap_admin: bool,
    /// Rotate the CA by one step, and exit; brokers take it up when they start again
    #[arg(long, value_name = "STEP", conflicts_with_all = ["backup", "restore", "bootstrap_admin"])]
    pub rotate_ca: Option<RotationStep>,
    /// With --bootstrap-admin: make a key even if there is an administrator. With --rotate-ca: take the
    /// step even if nodes may have to join again for it
    #[arg(long)]
    pub force: bool,
    /// Print the effective configuration and exit
    #[arg(long)]
    pub check_config: bool,
}

/// A step of the rotation of the CA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum RotationStep {
    /// Make the next CA; both are believed
    Begin,
    /// Let the next one sign
    Switch,
    /// Believe the old one no more
    Retire,
}

impl Args {
    /// The configuration that these arguments stand for.
    ///
    /// # Errors
    /// [`InvalidConfig`] with the key that is wrong.
    pub fn load(&self) -> Result<Config, InvalidConfig> {
        Config::try_from(self.parsed(self.config.as_deref())?)
    }

    /// The same before it is checked, with another file in the place of its own.
    ///
    /// # Errors
    /// [`InvalidConfig`]: the file is no configuration.
    pub fn parsed(&self, file: Option<&Path>) -> Result<Parsed, InvalidConfig> {
        let mut parsed = Parsed::load(file)?;
        set(&mut parsed.data, self.data.as_ref());
        set(&mut parsed.ledger, self.ledger.as_ref());
        set(&mut parsed.listen, self.listen.as_ref());
        set(&mut parsed.node_listen, self.node_listen.as_ref());
        let jobs_listen = self.jobs_listen.map(|listen| listen.to_string());
        set(&mut parsed.jobs.listen, jobs_listen.as_ref());
        set(&mut parsed.pki, self.pki.as_ref());
        set(&mut parsed.client_web, self.client_web.as_ref());
        set(&mut parsed.apps, self.apps.as_ref());
        set(&mut parsed.dev_key_file, self.dev_key_file.as_ref());
        Ok(parsed)
    }

    /// What a back-up keeps of the configuration.
    ///
    /// # Errors
    /// [`InvalidConfig`]: the file is no configuration.
    pub fn settings(&self) -> Result<Settings, InvalidConfig> {
        Ok(Settings {
            file: self.config.clone(),
            parsed: self.parsed(self.config.as_deref())?,
        })
    }
}

fn set<T: Clone>(key: &mut T, flag: Option<&T>) {
    if let Some(value) = flag {
        key.clone_from(value);
    }
}
