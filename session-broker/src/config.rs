//! The broker's configuration: what the file says ([`Parsed`]), and what the broker runs with
//! ([`Config`]), checked.

use crate::ledger::{BrokerId, LedgerAt};
use bounds::{at_least, check_control, check_limits, check_times};
use nearlight_kit::config::ConfigError;
use nearlight_kit::endpoint::listen::Listen;
use nearlight_kit::join::{ADDRESSES_MAX, is_address};
use nearlight_kit::network::Network;
use serde::Serialize;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

mod bounds;
mod checks;
mod jobs;
mod log;
mod nearness;
mod oidc;
mod parsed;
mod turn;

pub use checks::Checks;
pub use jobs::JobsFile;
pub use log::{LogAt, LogFile, LogSettings, ObjectsFile, ObjectsSettings, WitnessSettings};
pub use nearness::{
    GeoipFile, NearnessSettings, PlacementFile, RegionFile, RegionSettings, StepFile,
};
pub use oidc::{OidcFile, OidcSettings};
pub use parsed::{
    AuditLog, CallerLimits, Control, DEFAULTS, Parsed, PeersFile, RatesFile, SessionTimes, TlsFiles,
};
pub use turn::{TurnFile, TurnSettings};

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidConfig {
    /// The file.
    #[error(transparent)]
    File(#[from] ConfigError),
    /// Values that do not go together.
    #[error("`{key}` {problem}")]
    Value {
        /// The key.
        key: &'static str,
        /// What is wrong, and what to do.
        problem: String,
    },
}

/// What the broker runs with.
#[derive(Clone, Debug, Serialize)]
pub struct Config {
    /// Public listener.
    pub listen: SocketAddr,
    /// Control streams' listener.
    pub node_listen: SocketAddr,
    /// Where nodes reach it, for join tokens; empty: where it listens.
    pub node_addresses: Vec<String>,
    /// The data directory.
    pub data: PathBuf,
    /// The ledger. Not shown: its URL may hold a password.
    #[serde(skip)]
    pub ledger: LedgerAt,
    /// The PKI directory.
    pub pki: PathBuf,
    /// The built browser client.
    pub client_web: Option<PathBuf>,
    /// App files.
    pub apps: Option<PathBuf>,
    /// The development key's file.
    pub dev_key_file: Option<PathBuf>,
    /// Host names of the public listener, in lower case.
    pub hosts: Vec<String>,
    /// Whether one can play as a guest.
    pub guests: bool,
    /// The public listener's certificate.
    pub tls: Option<TlsFiles>,
    /// Load balancers, whose connections begin with a PROXY header.
    pub proxies: Vec<IpAddr>,
    /// The listener for metrics, which asks for no key.
    pub metrics_listen: Option<SocketAddr>,
    /// Relays for browsers.
    pub turn: Option<TurnSettings>,
    /// What the volumes of one tenant's jobs may have together, MiB.
    pub volumes_mib_max: u64,
    /// A directory of recipes in place of the built-in ones.
    pub recipes: Option<PathBuf>,
    /// Files of jobs whose images and assets nodes fetch ahead.
    pub prefetch: Vec<PathBuf>,
    /// The endpoint of jobs, if there is one.
    pub jobs: Option<Listen>,
    /// Where nodes dial tunnels to this very broker; `None` for where they dialled it.
    pub tunnel_address: Option<String>,
    /// Sessions' times.
    pub sessions: SessionTimes,
    /// Control streams.
    pub control: Control,
    /// This broker's name among those that share its ledger.
    #[serde(skip)]
    pub name: BrokerId,
    /// The way to those that share the ledger; `None` for a broker that is alone.
    pub peers: Option<Peers>,
    /// Callers' limits.
    pub limits: CallerLimits,
    /// The file of rate cards.
    pub rates: Option<PathBuf>,
    /// The audit log.
    pub audit: AuditLog,
    /// Who runs this network, as the directory of keys says it.
    pub operator: String,
    /// How nodes are checked.
    pub checks: Checks,
    /// The log of receipts, if this broker has one.
    pub log: Option<LogSettings>,
    /// The OpenID provider.
    pub oidc: Option<OidcSettings>,
    /// Regions, and how near is near enough.
    pub nearness: NearnessSettings,
    /// Registries, `HOST` or `HOST:PORT`, that are asked though their address is a private one.
    pub private_registries: Vec<String>,
    /// Networks with private addresses at which endpoints of webhooks may be.
    pub webhook_networks: Vec<String>,
}

/// The way to brokers that share the ledger.
#[derive(Clone, Debug, Serialize)]
pub struct Peers {
    /// The listener for them.
    pub listen: SocketAddr,
    /// `HOST:PORT` where they reach this one; `None` for the listener's own address.
    pub address: Option<String>,
    /// Silence after which one is given up.
    pub dead_after: Duration,
}

impl TryFrom<Parsed> for Config {
    type Error = InvalidConfig;

    fn try_from(parsed: Parsed) -> Result<Self, InvalidConfig> {
        let tls = tls(&parsed)?;
        if tls.is_none() && !parsed.listen.ip().is_loopback() {
            return Err(InvalidConfig::Value {
                key: "listen",
                problem: format!(
                    "is {}, which others can reach: plain http is for loopback only. \
                     Set tls.cert and tls.key, or listen on 127.0.0.1",
                    parsed.listen
                ),
            });
        }
        check_times(&parsed.sessions)?;
        check_control(&parsed.control)?;
        check_limits(&parsed.limits)?;
        let hosts = parsed
            .hosts
            .iter()
            .map(|h| h.to_ascii_lowercase())
            .collect();
        if let Some(host) = parsed.hosts.iter().find(|h| h.contains(['/', ':', '*'])) {
            return Err(InvalidConfig::Value {
                key: "hosts",
                problem: format!(
                    "has `{host}`; give names such as play.example.org, without ports"
                ),
            });
        }
        check_addresses(&parsed.node_addresses)?;
        let ledger = LedgerAt::parse(&parsed.ledger, &parsed.data);
        let ledger = ledger.map_err(|problem| InvalidConfig::Value {
            key: "ledger",
            problem,
        })?;
        let (name, peers) = peers(&parsed.peers, &ledger)?;
        let log = parsed.log.checked(&parsed.data, peers.is_some())?;
        Ok(Self {
            listen: parsed.listen,
            node_listen: parsed.node_listen,
            node_addresses: parsed.node_addresses,
            data: parsed.data,
            ledger,
            pki: parsed.pki,
            client_web: given(parsed.client_web),
            apps: given(parsed.apps),
            dev_key_file: given(parsed.dev_key_file),
            hosts,
            guests: parsed.guests,
            tls,
            proxies: parsed.proxies,
            metrics_listen: metrics_listen(&parsed.metrics_listen)?,
            turn: parsed.turn.checked()?,
            volumes_mib_max: parsed.jobs.volumes_mib_max,
            jobs: parsed.jobs.checked()?,
            tunnel_address: parsed.jobs.tunnel_address()?,
            prefetch: parsed.jobs.prefetch,
            recipes: given(parsed.jobs.recipes),
            sessions: parsed.sessions,
            control: parsed.control,
            name,
            peers,
            limits: parsed.limits,
            rates: given(parsed.rates.file),
            audit: parsed.audit,
            operator: parsed.log.operator,
            checks: parsed.checks.checked(parsed.guests)?,
            log,
            private_registries: parsed.private_registries,
            webhook_networks: webhook_networks(parsed.webhook_networks)?,
            oidc: parsed.oidc.checked()?,
            nearness: NearnessSettings::checked(parsed.regions, &parsed.placement, parsed.geoip)?,
        })
    }
}

fn given(path: PathBuf) -> Option<PathBuf> {
    (!path.as_os_str().is_empty()).then_some(path)
}

fn metrics_listen(text: &str) -> Result<Option<SocketAddr>, InvalidConfig> {
    if text.is_empty() {
        return Ok(None);
    }
    let parsed = text.parse().map_err(|_| InvalidConfig::Value {
        key: "metrics_listen",
        problem: format!("is `{text}`; give an address such as 127.0.0.1:9464, or nothing"),
    })?;
    Ok(Some(parsed))
}

fn tls(parsed: &Parsed) -> Result<Option<TlsFiles>, InvalidConfig> {
    match (
        given(parsed.tls.cert.clone()),
        given(parsed.tls.key.clone()),
    ) {
        (Some(cert), Some(key)) => Ok(Some(TlsFiles { cert, key })),
        (None, None) => Ok(None),
        (Some(_), None) | (None, Some(_)) => Err(InvalidConfig::Value {
            key: "tls",
            problem: "needs both cert and key, or neither".to_owned(),
        }),
    }
}

fn peers(file: &PeersFile, ledger: &LedgerAt) -> Result<(BrokerId, Option<Peers>), InvalidConfig> {
    let wrong = |key, problem: String| InvalidConfig::Value { key, problem };
    let name = file.name.parse::<BrokerId>();
    let name = name.map_err(|error| wrong("peers.name", format!("is wrong: {error}")))?;
    if file.listen.is_empty() {
        return Ok((name, None));
    }
    let listen: SocketAddr = file.listen.parse().map_err(|_| {
        let problem = format!("is `{}`; give an address such as 0.0.0.0:8444", file.listen);
        wrong("peers.listen", problem)
    })?;
    if matches!(ledger, LedgerAt::File(_)) {
        let problem = "is set, but a file is the ledger of one broker alone; let `ledger` be the \
                       URL of a PostgreSQL database that all of them use";
        return Err(wrong("peers.listen", problem.to_owned()));
    }
    let address = (!file.address.is_empty()).then(|| file.address.clone());
    if address.is_none() && listen.ip().is_unspecified() {
        let problem = format!("is missing: nobody reaches {listen}; give a HOST:PORT");
        return Err(wrong("peers.address", problem));
    }
    at_least("peers.dead_s", file.dead_s, 3)?;
    let peers = Peers {
        listen,
        address,
        dead_after: Duration::from_secs(file.dead_s.into()),
    };
    Ok((name, Some(peers)))
}

fn webhook_networks(networks: Vec<String>) -> Result<Vec<String>, InvalidConfig> {
    match networks.iter().find(|of| of.parse::<Network>().is_err()) {
        Some(wrong) => Err(InvalidConfig::Value {
            key: "webhook_networks",
            problem: format!("has `{wrong}`; write a network as 10.2.0.0/16"),
        }),
        None => Ok(networks),
    }
}

fn check_addresses(addresses: &[String]) -> Result<(), InvalidConfig> {
    let problem = match addresses.iter().find(|address| !is_address(address)) {
        Some(address) => format!("has `{address}`; give HOST:PORT, such as edge.example.org:8443"),
        None if addresses.len() > ADDRESSES_MAX => {
            format!(
                "has {} addresses; {ADDRESSES_MAX} are enough",
                addresses.len()
            )
        }
        None => return Ok(()),
    };
    Err(InvalidConfig::Value {
        key: "node_addresses",
        problem,
    })
}

#[cfg(test)]
mod test;
