//! From an image that is here to a container that runs: who it runs as, what it can write, the rules that hold
//! it, its network, and the container, in this order. Nothing runs before the rules that hold it are in place.

use super::devices;
use super::egress::Reach;
use super::host::Jobs;
use super::network::{self, Subnet};
use super::record::Record;
use super::request::{self, HOST_NAME, Plan};
use super::space::{self, Wanted, Writable};
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
    #[error("{0}")]
    Lacks(String),
}

impl LaunchError {
    /// The reason that a session ends with.
    pub(crate) fn reason(&self) -> EndReason {
        match self {
            Self::Engine(error) => error.reason(),
            Self::User(_)
            | Self::Image(_)
            | Self::Space(_)
            | Self::Rules(_)
            | Self::NoNetwork(_)
            | Self::Lacks(_) => EndReason::RuntimeFailed,
        }
    }
}

/// A job's container, made and started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Launched {
    pub(crate) container: String,
    pub(crate) subnet: Subnet,
}

/// Makes everything of a job, and starts it. What it leaves when it fails is the caller's to take down.
pub(crate) async fn launch(
    jobs: &Jobs,
    data: &Path,
    record: &Record,
    secrets: &Secrets,
    reach: &mut Reach,
) -> Result<Launched, LaunchError> {
    let spec = &record.spec;
    let image = jobs.engine.image(&spec.engine_image()).await?;
    let who = who_runs(jobs, record, &image).await?;
    let home = request::home(spec, &who);
    let volumes = image.volumes.clone().unwrap_or_default();
    let places = space::writable(&home, &volumes).map_err(LaunchError::Image)?;
    if reach.has_names() {
        reach.resolve().await;
    }
    hold(jobs, record, reach).await?;
    let subnet = make_network(jobs, record, reach).await?;
    let hosts = reach.hosts(subnet.container(), HOST_NAME);
    let wanted = Wanted {
        dir: &record.dir,
        data,
        disk_mib: spec.resources.disk_mib,
        places: places.len(),
        who: &who,
        secrets,
        hosts: &hosts,
    };
    space::make(&wanted).await.map_err(LaunchError::Space)?;
    let container = create(jobs, record, &image, (&who, &places), (subnet, reach)).await?;
    if spec.resources.disk_mib > 0 {
        space::own(&record.dir, places.len(), &who).map_err(LaunchError::Space)?;
    }
    jobs.engine.start(&container).await?;
    Ok(Launched { container, subnet })
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

/// Puts the rules of a job in place.
pub(crate) async fn hold(jobs: &Jobs, record: &Record, reach: &Reach) -> Result<(), LaunchError> {
    let session = &record.session;
    let rules = reach.rules(&network::chain(session), &jobs.firewall.label(session));
    jobs.firewall
        .hold(session, &rules)
        .await
        .map_err(LaunchError::Rules)
}

async fn make_network(jobs: &Jobs, record: &Record, reach: &Reach) -> Result<Subnet, LaunchError> {
    let pool = jobs.limits.networks;
    // Of an attempt whose answer was lost.
    jobs.engine.remove_network(&record.session).await?;
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
    (who, places): (&Who, &[Writable]),
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
        gpus: devices::request(&record.gpus, capabilities, &jobs.cdi_dirs),
        gpu_uuids: &record.gpus,
    });
    let name = network::name(&record.session);
    Ok(jobs.engine.create(&name, &body).await?)
}
