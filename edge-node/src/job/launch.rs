//! From an image that is here to a container that runs.
//!
//! ```text
//! its cluster's network --+
//! its image: who runs it --+-- rules that hold it, its network --------+-- addresses, container, start
//! what another node has  --+-- what it can write, secrets, its volumes --+
//! ```
//!
//! What does not need each other is made side by side.
//!
//! **Invariants.** Nothing runs before the rules that hold it are in place, and they are before its network is. What is made
//! side by side is waited for even if something else has failed: what an engine or a command has begun is there by then,
//! and is taken down.

use super::devices;
use super::egress::Reach;
use super::engine::Image;
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
    let looked = async {
        if reach.has_names() {
            reach.resolve().await;
        }
        look(jobs, record).await
    };
    let (mesh, looked, taken) = tokio::join!(
        mesh_of(jobs, record),
        Box::pin(looked),
        Box::pin(take_over(jobs, record))
    );
    let (mesh, Looked { image, who, places }) = (mesh?, looked?);
    taken?;
    let record = &Record {
        mesh,
        ..record.clone()
    };
    let spec = &record.spec;
    let held = async {
        hold(jobs, record, reach).await?;
        make_network(jobs, record, reach).await
    };
    let wanted = Wanted {
        dir: &record.dir,
        data,
        disk_mib: spec.resources.disk_mib,
        places: places.len(),
        volumes: spec.volumes.len(),
        who: &who,
        secrets,
    };
    let made = async {
        space::make(&wanted).await.map_err(LaunchError::Space)?;
        keep(jobs, record, &who).await
    };
    let (subnet, kept) = tokio::join!(Box::pin(held), Box::pin(made));
    let (subnet, kept) = (subnet?, kept?);
    let hosts = record.hosts(reach, subnet.container());
    space::name_hosts(&record.dir, &hosts).map_err(LaunchError::Space)?;
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

/// What its image says of a job.
struct Looked {
    image: Image,
    who: Who,
    places: Vec<Writable>,
}

async fn look(jobs: &Jobs, record: &Record) -> Result<Looked, LaunchError> {
    let spec = &record.spec;
    let image = jobs.engine.image(&spec.engine_image()).await?;
    let who = who_runs(jobs, record, &image).await?;
    let home = request::home(spec, &who);
    let mut places = writable(&image, &home)?;
    // What the job brings itself takes the place of what the image has there.
    places.retain(|place| !spec.mount_paths().any(|path| path == place.path));
    Ok(Looked { image, who, places })
}

/// Makes the network of its cluster, if it is a replica and none has made it.
async fn mesh_of(jobs: &Jobs, record: &Record) -> Result<Option<Mesh>, LaunchError> {
    let Some(replica) = &record.replica else {
        return Ok(None);
    };
    mesh::make(&jobs.engine, jobs.limits.networks, replica)
        .await
        .map(Some)
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

/// What can be written in an image.
fn writable(image: &Image, home: &str) -> Result<Vec<Writable>, LaunchError> {
    let volumes = image.config.volumes.as_deref().unwrap_or_default();
    space::writable(home, volumes).map_err(LaunchError::Image)
}

async fn who_runs(jobs: &Jobs, record: &Record, image: &Image) -> Result<Who, LaunchError> {
    let user = image.config.user.as_deref().unwrap_or_default();
    if !who::is_in_passwd(user) {
        return Ok(who::who(user, "")?);
    }
    if let Some(known) = jobs.users.of(&image.id) {
        return Ok(known);
    }
    let places = writable(image, who::HOME)?;
    let passwd = jobs.engine.passwd(image, &places, &record.session).await?;
    let who = who::who(user, &passwd)?;
    jobs.users.keep(&image.id, &who);
    Ok(who)
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
    image: &Image,
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
        image_env: image.config.env.as_deref().unwrap_or_default(),
        replica: record.replica.as_ref(),
        gpus: devices::request(&record.gpus, capabilities, &jobs.cdi_dirs),
        gpu_uuids: &record.gpus,
    });
    let name = network::name(&record.session);
    Ok(jobs.engine.create(&name, &body).await?)
}
