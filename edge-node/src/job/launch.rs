//! From an image that is here to a container that runs: who it runs as, what it can write, the rules that hold
//! it, its network, and the container, in this order. Nothing runs before the rules that hold it are in place.

use super::devices;
use super::egress::Reach;
use super::host::Jobs;
use super::mesh::{self, Mesh};
use super::network::{self, Subnet};
use super::record::Record;
use super::request::{self, Kept, Plan};
use super::space::{self, Wanted, Writable};
use super::volumes::VolumeError;
use super::who::{self, Who};
use crate::limits::SUBNET_TRIES;
use crate::runtime::RuntimeError;
use bollard::models::ImageConfig;
use nearlight_protocol::api::EndReason;
use nearlight_protocol::work::Secrets;
use std::io;
use std::path::Path;

/// Why a job cannot be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LaunchError {
    #[error(transparent)]
    Engine(#[from] RuntimeError),
    #[error(transparent)]
    User(#[from] who::UnknownUser),
    #[error("{0}")]
    Image(String),
    #[error("cannot make its directories: {0}")]
    Space(#[source] io::Error),
    #[error("cannot set the rules that hold it: {0}")]
    Rules(#[source] io::Error),
    #[error("every network of {0} that was tried is taken; give `jobs.networks` a larger range")]
    NoNetwork(String),
    #[error(transparent)]
    Volume(#[from] VolumeError),
    #[error("{0}")]
    Lacks(String),
    #[error("the {0} replicas of its cluster were not all there within time.start_s")]
    Alone(u32),
}

impl LaunchError {
    /// The reason that a session ends with.
    pub(crate) fn reason(&self) -> EndReason {
        match self {
            Self::Engine(error) => error.reason(),
            Self::Volume(VolumeError::Lost(_) | VolumeError::Damaged { .. }) => {
                EndReason::VolumeLost
            }
            Self::User(_)
            | Self::Image(_)
            | Self::Space(_)
            | Self::Rules(_)
            | Self::NoNetwork(_)
            | Self::Volume(_)
            | Self::Lacks(_) => EndReason::RuntimeFailed,
            Self::Alone(_) => EndReason::JobStartTimeout,
        }
    }
}

/// A job's container, made; and started, unless it is a replica, which starts with all others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Launched {
    pub(crate) container: String,
    pub(crate) subnet: Subnet,
    pub(crate) mesh: Option<Mesh>,
}

/// Makes everything of a job, and starts it, or leaves that to [`mesh::start_with_all`]. What it leaves when it fails is the caller's to take down.
pub(crate) async fn launch(
    jobs: &Jobs,
    data: &Path,
    record: &Record,
    secrets: &Secrets,
    reach: &mut Reach,
) -> Result<Launched, LaunchError> {
    let mesh = match &record.replica {
        Some(replica) => Some(mesh::make(&jobs.engine, jobs.limits.networks, replica).await?),
        None => None,
    };
    let record = &Record {
        mesh,
        ..record.clone()
    };
    let spec = &record.spec;
    let image = jobs.engine.image(&spec.engine_image()).await?;
    let who = who_runs(jobs, record, &image).await?;
    let home = request::home(spec, &who);
    let volumes = image.volumes.clone().unwrap_or_default();
    let mut places = space::writable(&home, &volumes).map_err(LaunchError::Image)?;
    // What the job brings itself takes the place of what the image has there.
    places.retain(|place| !spec.mount_paths().any(|path| path == place.path));
    if reach.has_names() {
        reach.resolve().await;
    }
    take_over(jobs, record).await?;
    hold(jobs, record, reach).await?;
    let subnet = make_network(jobs, record, reach).await?;
    let hosts = record.hosts(reach, subnet.container());
    let wanted = Wanted {
        dir: &record.dir,
        data,
        disk_mib: spec.resources.disk_mib,
        places: places.len(),
        volumes: spec.volumes.len(),
        who: &who,
        secrets,
        hosts: &hosts,
    };
    space::make(&wanted).await.map_err(LaunchError::Space)?;
    let kept = keep(jobs, record, &who).await?;
    let container = create(
        jobs,
        record,
        &image,
        (&who, &places, &kept),
        (subnet, reach),
    )
    .await?;
    if spec.resources.disk_mib > 0 {
        space::own(&record.dir, places.len(), &who).map_err(LaunchError::Space)?;
    }
    match record.replica.as_ref().zip(mesh) {
        Some((replica, mesh)) => jobs.engine.join_mesh(&container, replica, mesh).await?,
        None => jobs.engine.start(&container).await?,
    }
    Ok(Launched {
        container,
        subnet,
        mesh,
    })
}

/// Mounts the job's volumes, and finds its assets, which are here.
async fn keep(jobs: &Jobs, record: &Record, who: &Who) -> Result<Vec<Kept>, LaunchError> {
    let spec = &record.spec;
    let mut kept = Vec::new();
    for (n, volume) in spec.volumes.iter().enumerate() {
        let granted = record.storage.as_ref();
        let granted = granted.and_then(|s| s.volumes.iter().find(|g| g.name == volume.name));
        let grant = granted.ok_or_else(|| {
            LaunchError::Lacks(format!("its broker granted no volume `{}`", volume.name))
        })?;
        let at = space::volume(&record.dir, n);
        let mounted = jobs.volumes.mount(grant, &at, who).await;
        jobs.changed.notify_one();
        kept.push(Kept {
            source: mounted?,
            target: volume.path.clone(),
            is_writable: true,
        });
    }
    kept.extend(spec.assets.iter().map(|asset| Kept {
        source: jobs.assets.path(&asset.digest),
        target: asset.path.clone(),
        is_writable: false,
    }));
    Ok(kept)
}

async fn who_runs(jobs: &Jobs, record: &Record, image: &ImageConfig) -> Result<Who, LaunchError> {
    let user = image.user.clone().unwrap_or_default();
    let passwd = if who::is_in_passwd(&user) {
        jobs.engine
            .passwd(&record.spec.engine_image(), &record.session)
            .await?
    } else {
        String::new()
    };
    Ok(who::who(&user, &passwd)?)
}

/// Takes what another node's agent at this engine has of the job, which may be dead or cut off: the job is this node's
/// now, and their names are the same.
async fn take_over(jobs: &Jobs, record: &Record) -> Result<(), LaunchError> {
    let session = &record.session;
    if jobs.engine.take_over(session).await? {
        tracing::warn!(session_id = %session, "the job still ran for another node of this engine; that one was removed");
    }
    let taken = jobs.firewall.take_over(session).await;
    taken.map_err(LaunchError::Rules)
}

/// Puts the rules of a job in place.
pub(crate) async fn hold(jobs: &Jobs, record: &Record, reach: &Reach) -> Result<(), LaunchError> {
    let session = &record.session;
    let rules = reach.rules(&network::chain(session), &jobs.firewall.label(session));
    let mesh = record.replica.as_ref().map(mesh::bridge);
    jobs.firewall
        .hold(session, &rules, mesh.as_deref())
        .await
        .map_err(LaunchError::Rules)
}

async fn make_network(jobs: &Jobs, record: &Record, reach: &Reach) -> Result<Subnet, LaunchError> {
    let pool = jobs.limits.networks;
    for attempt in 0..SUBNET_TRIES {
        let subnet = pool.subnet(&record.session, attempt);
        let made = jobs
            .engine
            .create_network(&record.session, subnet, reach.is_none());
        if made.await? {
            return Ok(subnet);
        }
    }
    Err(LaunchError::NoNetwork(pool.into()))
}

async fn create(
    jobs: &Jobs,
    record: &Record,
    image: &ImageConfig,
    (who, places, kept): (&Who, &[Writable], &[Kept]),
    (subnet, reach): (Subnet, &Reach),
) -> Result<String, LaunchError> {
    let wanted = record.spec.place.runtime;
    let oci = jobs
        .oci(wanted)
        .ok_or_else(|| LaunchError::Lacks(format!("this node has no {wanted:?} runtime")))?;
    let capabilities = record.spec.env.get(devices::CAPABILITIES);
    let body = request::container(&Plan {
        session: &record.session,
        epoch: record.epoch,
        node: &jobs.node,
        spec: &record.spec,
        who,
        places,
        kept,
        dir: &record.dir,
        subnet,
        oci,
        has_secrets: !record.spec.secrets.is_empty(),
        resolvers: if reach.is_internet() {
            &jobs.limits.resolvers
        } else {
            &[]
        },
        image_env: image.env.as_deref().unwrap_or_default(),
        replica: record.replica.as_ref(),
        gpus: devices::request(&record.gpus, capabilities, &jobs.cdi_dirs),
        gpu_uuids: &record.gpus,
    });
    let name = network::name(&record.session);
    Ok(jobs.engine.create(&name, &body).await?)
}
