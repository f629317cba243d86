//! The broker's configuration: what the file says ([`Parsed`]), and what the broker runs with
//! ([`Config`]), checked.

use crate::ledger::{BrokerId, LedgerAt};
use nearlight_kit::config::ConfigError;
use nearlight_kit::join::{ADDRESSES_MAX, is_address};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The commented defaults that this program carries.
pub const DEFAULTS: &str = include_str!("../../configs/session-broker.toml");

mod nearness;
mod oidc;
mod turn;

pub use nearness::{
    GeoipFile, NearnessSettings, PlacementFile, RegionFile, RegionSettings, StepFile,
};
pub use oidc::{OidcFile, OidcSettings};
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

/// What the file says.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Parsed {
    /// Public listener.
    pub listen: SocketAddr,
    /// Control streams' listener.
    pub node_listen: SocketAddr,
    /// Where nodes reach `node_listen`, for join tokens.
    pub node_addresses: Vec<String>,
    /// The data directory.
    pub data: PathBuf,
    /// The ledger's URL, or empty for a file in `data`.
    pub ledger: String,
    /// The PKI directory.
    pub pki: PathBuf,
    /// The built browser client, or empty.
    pub client_web: PathBuf,
    /// App files, or empty.
    pub apps: PathBuf,
    /// The development key's file, or empty.
    pub dev_key_file: PathBuf,
    /// Host names of the public listener.
    pub hosts: Vec<String>,
    /// Whether one can play as a guest.
    pub guests: bool,
    /// Regions: names, places, beacons.
    pub regions: Vec<RegionFile>,
    /// How sessions are placed.
    pub placement: PlacementFile,
    /// Where addresses are said to be.
    pub geoip: GeoipFile,
    /// The public listener's certificate.
    pub tls: TlsFiles,
    /// Load balancers.
    pub proxies: Vec<IpAddr>,
    /// The listener for metrics, or empty.
    pub metrics_listen: String,
    /// Relays for browsers.
    pub turn: TurnFile,
    /// Sessions' times.
    pub sessions: SessionTimes,
    /// Control streams.
    pub control: Control,
    /// Brokers that share the ledger.
    pub peers: PeersFile,
    /// Callers' limits.
    pub limits: CallerLimits,
    /// The audit log.
    pub audit: AuditLog,
    /// The OpenID provider.
    pub oidc: OidcFile,
}

/// The audit log. The file explains it.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "configs/session-broker.toml is their documentation"
)]
pub struct AuditLog {
    pub retain_days: u32,
}

impl AuditLog {
    /// For how long a line is kept; `None` for ever.
    pub(crate) fn retain(&self) -> Option<Duration> {
        (self.retain_days != 0)
            .then(|| Duration::from_secs(u64::from(self.retain_days) * 24 * 3600))
    }
}

/// Brokers that share the ledger, as the file says it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PeersFile {
    /// This broker's name.
    pub name: String,
    /// Its listener for them, or empty.
    pub listen: String,
    /// Where they reach it, or empty.
    pub address: String,
    /// Silence after which one is given up, seconds.
    pub dead_s: u32,
}

/// The public listener's certificate, or empty paths.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// The chain.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Sessions' times, seconds. The file explains each.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "configs/session-broker.toml is their documentation"
)]
pub struct SessionTimes {
    pub start_s: u32,
    pub start_total_s: u32,
    pub warn_s: u32,
    pub stop_s: u32,
    pub node_grace_s: u32,
    pub skew_s: u32,
    pub ended_keep_s: u32,
    pub retain_days: u32,
    pub ticket_s: u32,
}

/// Control streams. The file explains each.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "configs/session-broker.toml is their documentation"
)]
pub struct Control {
    pub heartbeat_s: u32,
    pub missed_max: u32,
    pub backoff_min_s: u32,
    pub backoff_max_s: u32,
    pub accepts_per_s: u32,
    pub accepts_burst: u32,
    pub streams_max: usize,
}

/// Callers' limits. The file explains each.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "configs/session-broker.toml is their documentation"
)]
pub struct CallerLimits {
    pub requests_per_s: u32,
    pub requests_burst: u32,
    pub creates_per_min: u32,
    pub creates_burst: u32,
    pub guests_per_min: u32,
    pub guests_burst: u32,
    pub viewers_per_min: u32,
    pub viewers_burst: u32,
    pub key_requests_per_s: u32,
    pub key_requests_burst: u32,
    pub key_creates_per_min: u32,
    pub key_creates_burst: u32,
    pub tenant_requests_per_s: u32,
    pub tenant_requests_burst: u32,
    pub tenant_creates_per_min: u32,
    pub tenant_creates_burst: u32,
    pub player_sessions_max: u32,
    pub connections_max: usize,
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
    /// The audit log.
    pub audit: AuditLog,
    /// The OpenID provider.
    pub oidc: Option<OidcSettings>,
    /// Regions, and how near is near enough.
    pub nearness: NearnessSettings,
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

impl Parsed {
    /// The defaults, with `file` over them.
    ///
    /// # Errors
    /// [`ConfigError`] with the key and its file.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        nearlight_kit::config::load(DEFAULTS, file)
    }
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
            sessions: parsed.sessions,
            control: parsed.control,
            name,
            peers,
            limits: parsed.limits,
            audit: parsed.audit,
            oidc: parsed.oidc.checked()?,
            nearness: NearnessSettings::checked(parsed.regions, &parsed.placement, parsed.geoip)?,
        })
    }
}

impl SessionTimes {
    /// The lifecycle's limits for an app.
    pub(crate) fn limits(&self, app: &nearlight_protocol::app::Time) -> nearlight_session::Limits {
        let ms = |s: u32| u64::from(s) * 1000;
        nearlight_session::Limits {
            start_ms: ms(self.start_s),
            start_total_ms: ms(self.start_total_s),
            idle_ms: ms(app.idle_s),
            max_ms: ms(app.max_s),
            grace_ms: ms(app.grace_s),
            stop_ms: ms(self.stop_s),
            node_grace_ms: ms(self.node_grace_s) + ms(self.skew_s),
            warn_ms: ms(self.warn_s),
        }
    }
}

impl SessionTimes {
    /// For how long ended sessions stay in the ledger; `None` for ever.
    pub(crate) fn retain_ms(&self) -> Option<u64> {
        (self.retain_days != 0).then(|| u64::from(self.retain_days) * 24 * 3600 * 1000)
    }
}

impl Control {
    /// Silence after which a stream is given up.
    pub(crate) fn dead_after(&self) -> Duration {
        Duration::from_secs(u64::from(self.heartbeat_s) * u64::from(self.missed_max))
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

fn check_times(times: &SessionTimes) -> Result<(), InvalidConfig> {
    at_least("sessions.start_s", times.start_s, 1)?;
    at_least("sessions.start_total_s", times.start_total_s, times.start_s)?;
    at_least("sessions.stop_s", times.stop_s, 1)?;
    at_least("sessions.node_grace_s", times.node_grace_s, 1)?;
    at_least("sessions.ticket_s", times.ticket_s, 1)?;
    match times.retain_ms() {
        Some(keep_ms) if keep_ms / 1000 < u64::from(times.ended_keep_s) => {
            Err(InvalidConfig::Value {
                key: "sessions.retain_days",
                problem: format!(
                    "is {}, less than the {} s of sessions.ended_keep_s; keep longer, or list \
                     shorter",
                    times.retain_days, times.ended_keep_s
                ),
            })
        }
        Some(_) | None => Ok(()),
    }
}

fn check_control(control: &Control) -> Result<(), InvalidConfig> {
    at_least("control.heartbeat_s", control.heartbeat_s, 1)?;
    at_least("control.missed_max", control.missed_max, 2)?;
    at_least("control.backoff_min_s", control.backoff_min_s, 1)?;
    at_least(
        "control.backoff_max_s",
        control.backoff_max_s,
        control.backoff_min_s,
    )?;
    at_least("control.accepts_per_s", control.accepts_per_s, 1)?;
    at_least("control.accepts_burst", control.accepts_burst, 1)
}

fn check_limits(limits: &CallerLimits) -> Result<(), InvalidConfig> {
    at_least("limits.requests_per_s", limits.requests_per_s, 1)?;
    at_least("limits.requests_burst", limits.requests_burst, 1)?;
    at_least("limits.creates_per_min", limits.creates_per_min, 1)?;
    at_least("limits.creates_burst", limits.creates_burst, 1)?;
    at_least("limits.guests_per_min", limits.guests_per_min, 1)?;
    at_least("limits.guests_burst", limits.guests_burst, 1)?;
    at_least("limits.viewers_per_min", limits.viewers_per_min, 1)?;
    at_least("limits.viewers_burst", limits.viewers_burst, 1)?;
    at_least("limits.key_requests_per_s", limits.key_requests_per_s, 1)?;
    at_least("limits.key_requests_burst", limits.key_requests_burst, 1)?;
    at_least("limits.key_creates_per_min", limits.key_creates_per_min, 1)?;
    at_least("limits.key_creates_burst", limits.key_creates_burst, 1)?;
    at_least(
        "limits.tenant_requests_per_s",
        limits.tenant_requests_per_s,
        1,
    )?;
    at_least(
        "limits.tenant_requests_burst",
        limits.tenant_requests_burst,
        1,
    )?;
    at_least(
        "limits.tenant_creates_per_min",
        limits.tenant_creates_per_min,
        1,
    )?;
    at_least(
        "limits.tenant_creates_burst",
        limits.tenant_creates_burst,
        1,
    )?;
    at_least("limits.player_sessions_max", limits.player_sessions_max, 1)
}

fn at_least(key: &'static str, value: u32, min: u32) -> Result<(), InvalidConfig> {
    if value >= min {
        return Ok(());
    }
    Err(InvalidConfig::Value {
        key,
        problem: format!("is {value}; it must be at least {min}"),
    })
}

#[cfg(test)]
mod test;
