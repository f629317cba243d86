//! The configuration: `configs/edge-node.toml` is the document and the default.
//!
//! [`parsed`] mirrors the file; [`Config`] is what passed the checks, with every derived value
//! filled in. Nothing reads a setting from anywhere else.

mod direct;

use crate::args::Args;
use crate::images::Limits;
use nearlight_kit::endpoint::listen::Listen;
use nearlight_protocol::limits::NODE_NAME_BYTES_MAX;
use nearlight_protocol::plain::is_plain_text;
use serde::Serialize;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// The commented defaults that the program carries.
pub const DEFAULTS: &str = include_str!("../../configs/edge-node.toml");

/// What the operator decided, checked.
#[derive(Clone, Debug, Serialize)]
pub struct Config {
    /// The node's name for people.
    pub name: String,
    /// Where it is.
    pub region: String,
    /// The broker's node listener, `HOST:PORT`.
    pub broker: String,
    /// The name in the broker's certificate.
    pub broker_server_name: String,
    /// Seconds without a broker for which sessions are kept, until a welcome says otherwise.
    pub grace_s: u32,
    /// Where to listen for media, one address a family, one port.
    pub rtc_bind: Vec<SocketAddr>,
    /// Addresses written into answers.
    pub rtc_advertise: Vec<IpAddr>,
    /// The port written into answers, if it is not the one listened on.
    pub rtc_advertise_port: Option<u16>,
    /// STUN servers.
    pub rtc_stun: Vec<SocketAddr>,
    /// Bit rate of a new attachment, kbit/s.
    pub kbps_start: u32,
    /// The most that a session gets, kbit/s.
    pub kbps_max: u32,
    /// What the line carries for sessions, kbit/s, if the operator knows.
    pub uplink_kbps: Option<u32>,
    /// Sessions at a time.
    pub slots: usize,
    /// CPU that sessions may use.
    pub cpu_milli: u32,
    /// Memory that sessions may use.
    pub mem_mib: u32,
    /// Pixels a second of a session's display, millions.
    pub display_mpixels_s: u32,
    /// How apps run.
    pub runtime: RuntimeChoice,
    /// Images that are fetched ahead of sessions.
    pub(crate) images: Limits,
    /// Jobs of tenants.
    pub(crate) jobs: crate::job::host::Limits,
    /// Proofs of what this node can do.
    pub(crate) prover: crate::prover::Limits,
    /// Desktops that are kept ready at most.
    pub warm_max: usize,
    /// Seconds to the first picture.
    pub start_timeout_s: u32,
    /// Threads of a software encoder.
    pub worker_threads: u32,
    /// Where the admin listener binds.
    pub admin: SocketAddr,
    /// What browsers time, if this node has one.
    pub beacon: Option<BeaconConfig>,
    /// Where callers of jobs are taken, if this node has an address of its own for them.
    pub direct: Option<Listen>,
    /// Where everything is kept.
    pub data: PathBuf,
    /// Where sockets are.
    pub run: PathBuf,
    /// Where the certificates are.
    pub pki: PathBuf,
    /// The session worker's program.
    pub worker: PathBuf,
    /// The program that proves GPUs.
    pub(crate) prover_program: PathBuf,
    /// The GPUs that desktops may see, once it is known which are for jobs; `None`: whatever is there.
    pub(crate) visible_gpus: Option<String>,
}

/// The beacon of the node's region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BeaconConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Its certificate chain and key, PEM files; `None` for plain http.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

/// How apps run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RuntimeChoice {
    /// Docker if an engine answers, else the sandbox.
    Auto,
    /// Docker or nothing.
    Docker,
    /// The sandbox in any case.
    Sandbox,
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file is wrong.
    #[error(transparent)]
    File(#[from] nearlight_kit::config::ConfigError),
    /// A value is out of its range.
    #[error("`{key}` is {value}; it takes {range}")]
    Range {
        /// Which key.
        key: &'static str,
        /// What it is.
        value: u64,
        /// What it may be.
        range: &'static str,
    },
    /// A name would not be taken by a broker.
    #[error(
        "`{key}` is {value:?}; it takes at most {NODE_NAME_BYTES_MAX} bytes without control characters"
    )]
    Name {
        /// Which key.
        key: &'static str,
        /// What it is.
        value: String,
    },
    /// The broker's address has no port.
    #[error("`broker.address` is `{0}`; it takes HOST:PORT, such as broker.example:8443")]
    BrokerAddress(String),
    /// The admin listener would be reachable from outside.
    #[error("`admin.listen` is {0}; it must be a loopback address, for it has no authentication")]
    AdminNotLoopback(SocketAddr),
    /// Jobs' networks cannot be taken from it.
    #[error("`jobs.networks` {0}")]
    JobNetworks(&'static str),
    /// Assets cannot be fetched from it.
    #[error("`jobs.asset_networks`: {0}")]
    AssetNetworks(String),
    /// The listener for callers of jobs would not work.
    #[error("`jobs.direct.{0}` {1}")]
    Direct(&'static str, String),
    /// The beacon would not work.
    #[error("`beacon` {0}")]
    Beacon(String),
    /// The sockets' paths would be too long for the kernel.
    #[error("--run {} is too long: the sockets in it must fit in 107 bytes; choose a shorter one", .0.display())]
    RunTooLong(PathBuf),
    /// Where this program lies cannot be told.
    #[error("cannot find this program's own path; give --worker and --prover")]
    NoExecutable(#[source] std::io::Error),
    /// The working directory is gone.
    #[error("cannot make {} absolute", path.display())]
    NotAbsolute {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

mod parsed {
    use super::RuntimeChoice;
    use crate::gpu::share::ForJobs;
    use serde::Deserialize;
    use std::net::{IpAddr, SocketAddr};
    use std::path::PathBuf;

    #[derive(Debug, Deserialize)]
    pub(super) struct File {
        pub(super) name: String,
        pub(super) region: String,
        pub(super) broker: Broker,
        pub(super) rtc: Rtc,
        pub(super) slots: Slots,
        pub(super) runtime: Runtime,
        pub(super) images: Images,
        pub(super) warm: Warm,
        pub(super) jobs: Jobs,
        pub(super) prover: crate::prover::Limits,
        pub(super) worker: Worker,
        pub(super) admin: Admin,
        pub(super) beacon: Beacon,
    }

    #[derive(Debug, Deserialize)]
    pub(super) struct Beacon {
        pub(super) listen: String,
        pub(super) cert: PathBuf,
        pub(super) key: PathBuf,
    }

    #[derive(Debug, Deserialize)]
    pub(super) struct Broker {
        pub(super) address: String,
        pub(super) server_name: String,
        pub(super) grace_s: u32,
    }

    #[derive(Debug, Deserialize)]
    pub(super) struct Rtc {
        pub(super) port: u16,
        pub(super) bind: Vec<IpAddr>,
        pub(super) advertise: Vec<IpAddr>,
        pub(super) advertise_port: u16,
        pub(super) stun: Vec<SocketAddr>,
        pub(super) kbps_start: u32,
        pub(super) kbps_max: u32,
        pub(super) uplink_mbit: u32,
    }

    #[derive(Debug, Deserialize)]
    pub(super) struct Slots {
        pub(super) count: u32,
        pub(super) cpu_milli: u32,
        pub(super) mem_mib: u32,
        pub(super) display_mpixels_s: u32,
    }

    #[derive(Debug, Deserialize)]
    pub(super) struct Runtime {
        pub(super) kind: RuntimeChoice,
        pub(super) start_timeout_s: u32,
    }

    #[derive(Debug, Deserialize)]
    pub(super) struct Images {
        pub(super) pulls_max: u32,
        pub(super) disk_mib: u64,
        pub(super) free_mib: u64,
    }

    #[derive(Debug, Deserialize)]
    pub(super) struct Jobs {
        pub(super) take: bool,
        pub(super) disk_mib: u32,
        pub(super) networks: String,
        pub(super) resolvers: Vec<IpAddr>,
        pub(super) volume_orphan_days: u32,
        pub(super) log_days: u32,
        pub(super) log_mib: u32,
        pub(super) assets_mib: u64,
        pub(super) asset_networks: Vec<String>,
        pub(super) asset_roots: PathBuf,
        pub(super) gpus: ForJobs,
        pub(super) direct: super::direct::DirectFile,
    }

    #[derive(Debug, Deserialize)]
    pub(super) struct Warm {
        pub(super) max: u32,
    }

    #[derive(Debug, Deserialize)]
    pub(super) struct Worker {
        pub(super) threads: u32,
    }

    #[derive(Debug, Deserialize)]
    pub(super) struct Admin {
        pub(super) listen: SocketAddr,
    }
}

/// What the host has, for the values that the operator left to us.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// CPU cores that this process may use.
    pub cores: u32,
    /// Memory, MiB.
    pub mem_mib: u32,
    /// Whether we are root.
    pub root: bool,
}

impl Config {
    /// Defaults, the operator's file, the flags, in this order; then every check.
    pub fn load(args: &Args, host: &Host) -> Result<Self, ConfigError> {
        let file: parsed::File = nearlight_kit::config::load(DEFAULTS, args.config.as_deref())?;
        let data = absolute(&args.data)?;
        let run = match &args.run {
            Some(run) => absolute(run)?,
            None => default_run(&data, host.root),
        };
        let port = args.rtc_port.unwrap_or(file.rtc.port);
        let derive = |given: u32, derived: u32| if given == 0 { derived } else { given };
        let config = Self {
            name: if file.name.is_empty() {
                host.name.clone()
            } else {
                file.name
            },
            region: file.region,
            broker: args.broker.clone().unwrap_or(file.broker.address),
            broker_server_name: file.broker.server_name,
            grace_s: file.broker.grace_s,
            rtc_bind: (file.rtc.bind.iter())
                .map(|ip| SocketAddr::new(*ip, port))
                .collect(),
            rtc_advertise: file.rtc.advertise,
            rtc_advertise_port: Some(file.rtc.advertise_port).filter(|port| *port != 0),
            rtc_stun: file.rtc.stun,
            kbps_start: file.rtc.kbps_start,
            kbps_max: file.rtc.kbps_max,
            uplink_kbps: Some(file.rtc.uplink_mbit.saturating_mul(1000)).filter(|kbps| *kbps != 0),
            slots: derive(file.slots.count, (host.cores / 2).max(2)) as usize,
            cpu_milli: derive(file.slots.cpu_milli, host.cores.saturating_mul(1000)),
            mem_mib: derive(
                file.slots.mem_mib,
                host.mem_mib.saturating_sub(1024).max(512),
            ),
            display_mpixels_s: file.slots.display_mpixels_s,
            runtime: file.runtime.kind,
            images: Limits {
                pulls_max: file.images.pulls_max as usize,
                disk_mib: file.images.disk_mib,
                free_mib: file.images.free_mib,
            },
            jobs: crate::job::host::Limits {
                take: file.jobs.take,
                disk_mib: file.jobs.disk_mib,
                networks: (file.jobs.networks.parse()).map_err(ConfigError::JobNetworks)?,
                resolvers: file.jobs.resolvers,
                volume_orphan_days: file.jobs.volume_orphan_days,
                logs: crate::job::ended_logs::Bounds {
                    days: file.jobs.log_days,
                    mib: file.jobs.log_mib,
                },
                assets_mib: file.jobs.assets_mib,
                asset_networks: (file.jobs.asset_networks.iter())
                    .map(|text| text.parse().map_err(|error| format!("`{text}` {error}")))
                    .collect::<Result<_, _>>()
                    .map_err(ConfigError::AssetNetworks)?,
                asset_roots: Some(file.jobs.asset_roots)
                    .filter(|path| !path.as_os_str().is_empty()),
                gpus: file.jobs.gpus,
            },
            prover: file.prover.filled(host),
            warm_max: file.warm.max as usize,
            start_timeout_s: file.runtime.start_timeout_s,
            worker_threads: derive(file.worker.threads, host.cores.clamp(1, 4)),
            admin: args.admin.unwrap_or(file.admin.listen),
            beacon: beacon(file.beacon)?,
            direct: file.jobs.direct.checked()?,
            data,
            run,
            pki: absolute(&args.pki)?,
            worker: program(args.worker.as_ref(), "edge-worker")?,
            prover_program: program(args.prover.as_ref(), "edge-prover")?,
            visible_gpus: None,
        };
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        for (key, value) in [("name", &self.name), ("region", &self.region)] {
            if !is_plain_text(value, NODE_NAME_BYTES_MAX) {
                let value = value.clone();
                return Err(ConfigError::Name { key, value });
            }
        }
        self.check_ranges()?;
        self.prover.check()?;
        let with_port = self
            .broker
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        if !with_port {
            return Err(ConfigError::BrokerAddress(self.broker.clone()));
        }
        if !self.admin.ip().is_loopback() {
            return Err(ConfigError::AdminNotLoopback(self.admin));
        }
        if self.run.as_os_str().len() > crate::session::RUN_DIR_BYTES_MAX {
            return Err(ConfigError::RunTooLong(self.run.clone()));
        }
        Ok(())
    }
}

impl Config {
    fn check_ranges(&self) -> Result<(), ConfigError> {
        range(
            "broker.grace_s",
            self.grace_s.into(),
            0,
            86_400,
            "0 to 86400",
        )?;
        range(
            "rtc.kbps_start",
            self.kbps_start.into(),
            100,
            100_000,
            "100 to 100000",
        )?;
        range(
            "rtc.kbps_max",
            self.kbps_max.into(),
            self.kbps_start.into(),
            100_000,
            "`rtc.kbps_start` to 100000",
        )?;
        range(
            "rtc.uplink_mbit",
            u64::from(self.uplink_kbps.unwrap_or(0)) / 1000,
            0,
            100_000,
            "0 to 100000",
        )?;
        self.check_slots()?;
        range(
            "runtime.start_timeout_s",
            self.start_timeout_s.into(),
            5,
            3600,
            "5 to 3600",
        )?;
        range(
            "images.pulls_max",
            self.images.pulls_max as u64,
            1,
            16,
            "1 to 16",
        )?;
        range(
            "jobs.volume_orphan_days",
            self.jobs.volume_orphan_days.into(),
            1,
            3650,
            "1 to 3650",
        )?;
        let logs = self.jobs.logs;
        range("jobs.log_days", logs.days.into(), 0, 90, "0 to 90")?;
        range(
            "jobs.log_mib",
            logs.mib.into(),
            8,
            1024 * 1024,
            "8 to 1048576",
        )?;
        range("warm.max", self.warm_max as u64, 0, 16, "0 to 16")?;
        range(
            "worker.threads",
            self.worker_threads.into(),
            1,
            64,
            "0 to 64",
        )
    }

    fn check_slots(&self) -> Result<(), ConfigError> {
        range("slots.count", self.slots as u64, 1, 256, "0 to 256")?;
        range(
            "slots.cpu_milli",
            self.cpu_milli.into(),
            100,
            1_024_000,
            "0, or 100 to 1024000",
        )?;
        range(
            "slots.mem_mib",
            self.mem_mib.into(),
            64,
            16 * 1024 * 1024,
            "0, or 64 to 16777216",
        )?;
        range(
            "slots.display_mpixels_s",
            self.display_mpixels_s.into(),
            28,
            4000,
            "28 to 4000",
        )
    }
}

/// Whether a value is within its range, which is told as `range`.
fn range(
    key: &'static str,
    value: u64,
    min: u64,
    max: u64,
    range: &'static str,
) -> Result<(), ConfigError> {
    if (min..=max).contains(&value) {
        Ok(())
    } else {
        Err(ConfigError::Range { key, value, range })
    }
}

fn absolute(path: &PathBuf) -> Result<PathBuf, ConfigError> {
    std::path::absolute(path).map_err(|source| ConfigError::NotAbsolute {
        path: path.clone(),
        source,
    })
}

/// A program: as it is given, or beside this one.
fn program(given: Option<&PathBuf>, name: &str) -> Result<PathBuf, ConfigError> {
    let own = || std::env::current_exe().map_err(ConfigError::NoExecutable);
    given.map_or_else(|| own().map(|own| own.with_file_name(name)), absolute)
}

fn beacon(file: parsed::Beacon) -> Result<Option<BeaconConfig>, ConfigError> {
    let wrong = |problem: String| Err(ConfigError::Beacon(problem));
    let [cert, key] = [&file.cert, &file.key].map(|path| !path.as_os_str().is_empty());
    if cert != key {
        return wrong("needs both cert and key, or neither".to_owned());
    }
    if file.listen.is_empty() {
        return Ok(None);
    }
    let Ok(listen) = file.listen.parse() else {
        return wrong(format!(
            "listens on `{}`; it takes an address such as 0.0.0.0:443",
            file.listen
        ));
    };
    Ok(Some(BeaconConfig {
        listen,
        certificate: cert.then_some((file.cert, file.key)),
    }))
}

/// One directory a data directory, so that two nodes on one host do not meet, and short.
fn default_run(data: &std::path::Path, root: bool) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    // FNV-1a: any stable hash will do, it only tells data directories apart.
    let hash = data
        .as_os_str()
        .as_bytes()
        .iter()
        .fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
        });
    let base = if root {
        PathBuf::from("/run")
    } else {
        std::env::var_os("XDG_RUNTIME_DIR").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from)
    };
    base.join(format!("nearlight-{hash:08x}"))
}

#[cfg(test)]
#[path = "config/test.rs"]
mod test;
