//! What the broker's configuration file says, section by section. Values are checked when a
//! [`Config`](super::Config) is made of it.

use super::checks::Checks;
use super::jobs::JobsFile;
use super::log::LogFile;
use super::nearness::{GeoipFile, PlacementFile, RegionFile};
use super::oidc::OidcFile;
use super::turn::TurnFile;
use crate::ledger::SessionRow;
use nearlight_kit::config::ConfigError;
use nearlight_protocol::job::JobTime;
use nearlight_protocol::unit::MonoTime;
use nearlight_protocol::work::Work;
use nearlight_session::{Limits, Use};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The commented defaults that this program carries.
pub const DEFAULTS: &str = include_str!("../../../configs/session-broker.toml");

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
    /// The endpoint of jobs.
    pub jobs: JobsFile,
    /// Sessions' times.
    pub sessions: SessionTimes,
    /// Control streams.
    pub control: Control,
    /// Brokers that share the ledger.
    pub peers: PeersFile,
    /// What usage costs.
    pub rates: RatesFile,
    /// Callers' limits.
    pub limits: CallerLimits,
    /// The audit log.
    pub audit: AuditLog,
    /// The log of receipts.
    pub log: LogFile,
    /// How nodes are checked.
    pub checks: Checks,
    /// The OpenID provider.
    pub oidc: OidcFile,
    /// Registries that are asked though their address is a private one.
    pub private_registries: Vec<String>,
    /// Networks with private addresses at which endpoints of webhooks may be.
    pub webhook_networks: Vec<String>,
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

/// What usage costs, as the file says it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RatesFile {
    /// The file of rate cards, or empty.
    pub file: PathBuf,
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
    pub hold_after_s: u32,
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
    pub address_connections_max: usize,
}

fn ms(s: u32) -> u64 {
    u64::from(s) * 1000
}

impl SessionTimes {
    /// The lifecycle's limits for what a session runs that was created then.
    pub(crate) fn limits(&self, row: &SessionRow) -> Limits {
        match &row.work {
            Work::App(work) => self.limits_of_app(&work.app.time),
            Work::Job(spec) => {
                let moves_max = match spec.restart.elsewhere {
                    true => spec.restart.max,
                    false => 0,
                };
                let limits = self.limits_of_job(&spec.time, row.waits_since());
                Limits {
                    moves_left: moves_max.saturating_sub(row.moves),
                    runs_again: row.is_cluster(),
                    // A cluster that has run waits for its next run for as long as that takes.
                    queue_until: limits.queue_until.filter(|_| row.replica.is_none()),
                    ..limits
                }
            }
        }
    }

    /// What a node does in time itself, with a word for why, it has a little longer for.
    fn limits_of_job(&self, job: &JobTime, waits_since: MonoTime) -> Limits {
        let waits = (job.queue_s != 0).then(|| waits_since.plus_millis(ms(job.queue_s)));
        Limits {
            used: Use::Called,
            queue_until: waits,
            start_ms: ms(self.start_s) + ms(job.start_s),
            start_total_ms: ms(self.start_total_s) + ms(job.start_s),
            idle_ms: (job.idle_s != 0).then(|| ms(job.idle_s)),
            max_ms: ms(job.max_s),
            grace_ms: 0,
            stop_ms: ms(self.stop_s) + ms(job.stop_s),
            node_grace_ms: ms(self.node_grace_s) + ms(self.skew_s),
            warn_ms: 0,
            runs_again: false,
            moves_left: 0,
            reclaim_at: None,
        }
    }

    fn limits_of_app(&self, app: &nearlight_protocol::app::Time) -> Limits {
        Limits {
            used: Use::Played,
            queue_until: None,
            start_ms: ms(self.start_s),
            start_total_ms: ms(self.start_total_s),
            idle_ms: Some(ms(app.idle_s)),
            max_ms: ms(app.max_s),
            grace_ms: ms(app.grace_s),
            stop_ms: ms(self.stop_s),
            node_grace_ms: ms(self.node_grace_s) + ms(self.skew_s),
            warn_ms: ms(self.warn_s),
            runs_again: false,
            moves_left: 0,
            reclaim_at: None,
        }
    }

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
