//! What this host has for jobs, tried out at the start: a node offers what it can enforce, and no more.
//!
//! A node takes jobs if the engine is Docker on this host, the agent is root, and the packet filter takes rules:
//! without rules a container reaches the host's own services. It offers disk if it can make and mount one.

use super::assets::Assets;
use super::assets::fetch::Fetcher;
use super::ended_logs::{self, EndedLogs};
use super::engine::Engine;
use super::firewall::Firewall;
use super::mounts;
use super::network::Pool;
use super::record::Record;
use super::space;
use super::users::Users;
use super::volumes::Volumes;
use crate::config::Config;
use crate::gpu::Gpus;
use crate::gpu::board::Board;
use crate::gpu::share::{self, ForJobs};
use crate::gpu::xids::Xids;
use crate::runtime::{DOCKER, RuntimeError};
use nearlight_kit::network::Network;
use nearlight_protocol::control::JobHost;
use nearlight_protocol::id::NodeId;
use nearlight_protocol::job::{ContainerRuntime, JobSpec};
use nix::sys::statvfs::statvfs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::Notify;

const MIB: u64 = 1024 * 1024;

/// The operator's wishes for jobs.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Limits {
    /// Whether jobs are taken at all.
    pub(crate) take: bool,
    /// Disk that jobs may have together, MiB; 0: half of what is free.
    pub(crate) disk_mib: u32,
    /// What their networks are taken from.
    pub(crate) networks: Pool,
    /// Resolvers of jobs that may reach any public address.
    pub(crate) resolvers: Vec<IpAddr>,
    /// Days for which a volume is kept that the ledger does not know.
    pub(crate) volume_orphan_days: u32,
    /// How much stays of the logs of jobs that are over.
    pub(crate) logs: ended_logs::Bounds,
    /// Disk that assets may have together, MiB; 0: a quarter of what is free.
    pub(crate) assets_mib: u64,
    /// Networks that assets are fetched from beside public addresses.
    pub(crate) asset_networks: Vec<Network>,
    /// Certificates that vouch for servers of assets in place of Mozilla's.
    pub(crate) asset_roots: Option<PathBuf>,
    /// Which GPUs are for them.
    pub(crate) gpus: ForJobs,
}

/// What the jobs of this node share.
#[derive(Debug)]
pub(crate) struct Jobs {
    pub(crate) engine: Engine,
    pub(crate) firewall: Firewall,
    pub(crate) limits: Limits,
    pub(crate) node: NodeId,
    pub(crate) volumes: Volumes,
    pub(crate) assets: Arc<Assets>,
    /// As whom its images run.
    pub(crate) users: Users,
    pub(crate) logs: EndedLogs,
    /// Told when volumes or assets have changed.
    pub(crate) changed: Notify,
    /// The GPUs that they have.
    pub(crate) gpus: Arc<Board>,
    /// Where the engine looks for CDI specs.
    pub(crate) cdi_dirs: Vec<PathBuf>,
    runtimes: Vec<(ContainerRuntime, String)>,
    engine_id: String,
    disk_mib: u32,
}

/// Why a node takes no jobs.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoJobs {
    #[error("`jobs.take` is false")]
    NotWanted,
    #[error("apps run in the sandbox, and no job ever does; install Docker")]
    Sandbox,
    #[error("the agent is not root, and so cannot keep a job from the host's own services")]
    NotRoot,
    #[error("the container engine is on another machine")]
    EngineElsewhere,
    #[error("no rules can be set; install iptables, and let Docker use it: {0}")]
    Rules(#[source] io::Error),
    #[error("its assets cannot be kept or fetched (jobs.asset_roots): {0}")]
    Assets(#[source] io::Error),
    #[error(transparent)]
    Engine(#[from] RuntimeError),
}

impl NoJobs {
    /// Whether the operator has chosen so, knowingly or by what is installed.
    pub(crate) const fn is_chosen(&self) -> bool {
        matches!(self, Self::NotWanted | Self::Sandbox | Self::NotRoot)
    }
}

impl Jobs {
    /// Looks at what is here. `runtime` is the name of the one for apps.
    pub(crate) async fn open(
        config: &Config,
        node: &NodeId,
        (runtime, gpus): (&str, &mut Gpus),
        root: bool,
    ) -> Result<Self, NoJobs> {
        if !config.jobs.take {
            return Err(NoJobs::NotWanted);
        }
        if runtime != DOCKER {
            return Err(NoJobs::Sandbox);
        }
        if !root {
            return Err(NoJobs::NotRoot);
        }
        let engine = Engine::open(node).await?;
        let about = engine.about().await?;
        if !about.is_here {
            return Err(NoJobs::EngineElsewhere);
        }
        let firewall = Firewall::open(node).await.map_err(NoJobs::Rules)?;
        let disks = space::disks(&config.data);
        space::sweep_disks(&disks);
        let volumes = Volumes::new(&config.data, config.jobs.volume_orphan_days);
        volumes.sweep();
        let disk_mib = match mounts::try_disk(&disks, &config.run).await {
            Ok(()) => disk_mib(config.jobs.disk_mib, &disks, reserved_mib(&config.data)),
            Err(error) => {
                tracing::warn!(%error, "no disk can be held to a size (it takes mkfs.ext4, mount and loop devices); jobs that ask for one are not taken");
                0
            }
        };
        let wish = match share::scrubbing_is_off() {
            false => config.jobs.gpus.clone(),
            true => {
                tracing::error!(
                    "no job gets a GPU: the driver was told not to overwrite memory that is given back (RMDisableScrubOnFree)"
                );
                ForJobs::Word(share::Word::None)
            }
        };
        for uuid in gpus.set_aside(&wish) {
            tracing::error!(
                uuid,
                "`jobs.gpus` names a GPU that is not here; `nvidia-smi -L` lists them"
            );
        }
        let assets = assets(config).map_err(NoJobs::Assets)?;
        Ok(Self {
            volumes,
            assets,
            users: Users::default(),
            logs: EndedLogs::new(&config.data, config.jobs.logs),
            changed: Notify::new(),
            gpus: Arc::new(Board::new(gpus.for_jobs()).keeping(Xids::open(&config.data))),
            cdi_dirs: about.cdi_dirs,
            engine,
            firewall,
            limits: config.jobs.clone(),
            node: node.clone(),
            runtimes: about.runtimes,
            engine_id: about.id,
            disk_mib,
        })
    }

    /// What the broker is told.
    pub(crate) fn offer(&self) -> JobHost {
        JobHost {
            runtimes: self.runtimes.iter().map(|(kind, _)| *kind).collect(),
            disk_mib: self.disk_mib,
            gpus: self.gpus.offer(),
            gives_gpus: true,
            assets: self.assets.listed(),
            volumes: Some(self.volumes.held()),
            engine: self.engine_id.clone(),
            direct: None,
            log_days: self.limits.logs.days,
        }
    }

    /// The engine's name of an OCI runtime.
    pub(crate) fn oci(&self, wanted: ContainerRuntime) -> Option<&str> {
        let is_it = |(kind, _): &&(ContainerRuntime, String)| *kind == wanted;
        self.runtimes
            .iter()
            .find(is_it)
            .map(|(_, name)| name.as_str())
    }

    /// What of a job this node cannot do, if anything. A broker that reads inventories asks for none of it.
    pub(crate) fn lacks(&self, spec: &JobSpec) -> Option<String> {
        let need = &spec.resources;
        if self.oci(spec.place.runtime).is_none() {
            return Some(format!("this node has no {:?} runtime", spec.place.runtime));
        }
        if need.disk_mib > 0 && need.disk_mib > self.disk_mib {
            return Some(format!(
                "this node holds jobs to {} MiB of disk together, it asks for {}",
                self.disk_mib, need.disk_mib
            ));
        }
        if !spec.volumes.is_empty() && self.disk_mib == 0 {
            return Some("this node keeps no volumes, for it holds no disk to a size".to_owned());
        }
        let assets_mib: u64 = spec.assets.iter().map(|a| u64::from(a.size_mib)).sum();
        if assets_mib > self.assets.limit_mib() {
            return Some(format!(
                "this node keeps {} MiB of assets, its assets have {assets_mib} together",
                self.assets.limit_mib()
            ));
        }
        None
    }
}

/// The cache of assets.
fn assets(config: &Config) -> io::Result<Arc<Assets>> {
    let jobs = &config.jobs;
    let fetcher = Fetcher::new(&jobs.asset_networks, jobs.asset_roots.as_deref())?;
    let limit_mib = match jobs.assets_mib {
        0 => (free_mib(&config.data) + Assets::held_mib(&config.data)) / 4,
        wanted => wanted,
    };
    Assets::open(&config.data, limit_mib, fetcher)
}

fn free_mib(at: &Path) -> u64 {
    statvfs(at).map_or(0, |stat| {
        stat.blocks_available() * stat.fragment_size() / MIB
    })
}

/// What jobs may have of the disk: what the operator says, or half of what is free, with what they have
/// already, which is reserved and so not free.
fn disk_mib(wanted: u32, disks: &Path, reserved_mib: u64) -> u32 {
    if wanted != 0 {
        return wanted;
    }
    let free = free_mib(disks);
    u32::try_from((free + reserved_mib) / 2).unwrap_or(u32::MAX)
}

/// Disk of volumes, and of the jobs that an earlier agent left.
fn reserved_mib(data: &Path) -> u64 {
    let volumes = Volumes::new(data, 0).held_mib();
    let records = Record::read_all(data).unwrap_or_default();
    records
        .iter()
        .map(|record| u64::from(record.spec.resources.disk_mib))
        .sum::<u64>()
        + volumes
}
