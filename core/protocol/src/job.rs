//! Jobs: a container that a tenant starts for itself and talks to over HTTP, where a player's app is
//! watched and played. The same session, placement, claims and epochs carry both.
//!
//! A [`JobSpec`] is what `job.toml` holds, what `POST /v1/sessions` takes as `job`, and what the
//! ledger keeps of it; [`JobSpec::fault`] is the one place that says what is wrong with it, so that the
//! command line, the broker and the edge refuse the same things in the same words.
//!
//! **Invariants.** Nothing in a spec is secret: of a secret there is only its name. Whatever a spec
//! leaves out has a bound: time, disk, egress (none), restarts (none), trust (vetted nodes).
//!
//! **What it does not know:** registries (a digest is pinned by the broker), prices, nodes.

mod check;
pub mod image;

pub use check::JobFault;
pub use image::{ImageRef, ImageRefError};

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A job, as its file and the API have it. Every key but `image` may be left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JobSpec {
    /// Image reference, such as `registry.example/team/server:2` or with `@sha256:...`. The broker
    /// pins it to a digest; a restart or another replica never gets another image.
    pub image: String,
    /// What goes before `command`, in place of the image's own (`ENTRYPOINT`); empty for the image's.
    /// The image's `CMD` goes with its `ENTRYPOINT`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// Program and arguments in place of the image's own (`CMD`); empty for the image's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Environment. No place for secrets: it is shown to whoever may look at the session.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Names of secrets, each a file `/run/secrets/NAME` in memory; their values travel apart from
    /// the spec and are in no list, log or record.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
    /// What it gets of the node.
    #[serde(default)]
    pub resources: Resources,
    /// What it listens on. The first port is the one that the endpoint opens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
    /// When it ends by itself.
    #[serde(default)]
    pub time: JobTime,
    /// What it may reach.
    #[serde(default)]
    pub egress: Egress,
    /// Where it may run.
    #[serde(default)]
    pub place: Place,
    /// Directories that outlive it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
    /// Read-only files that are fetched by digest and kept on the node, such as a model's weights.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assets: Vec<Asset>,
    /// What happens when its program ends.
    #[serde(default)]
    pub restart: Restart,
    /// Several containers of it in one site that start together and share one fate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<Cluster>,
    /// Words of the tenant's own, such as `customer = "acme"`: lists and usage are filtered by them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// What a job gets of its node: what is claimed, and what is enforced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Resources {
    /// CPU, thousandths of a core.
    pub cpu_milli: u32,
    /// Memory, MiB, swap included.
    pub mem_mib: u32,
    /// Writable disk of the container beside volumes and assets, MiB. A node that cannot enforce it
    /// does not take the job.
    pub disk_mib: u32,
    /// `/dev/shm`, MiB; counts as memory. PyTorch's data loaders want some.
    pub shm_mib: u32,
    /// Processes and threads.
    pub pids: u32,
    /// GPUs.
    pub gpu: Option<GpuNeed>,
}

impl Default for Resources {
    fn default() -> Self {
        Self {
            cpu_milli: 1000,
            mem_mib: 1024,
            disk_mib: 2048,
            shm_mib: 64,
            pids: 512,
            gpu: None,
        }
    }
}

/// The GPUs of a job, each whole or a MIG slice, all on one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GpuNeed {
    /// How many.
    #[serde(default = "one")]
    pub count: u32,
    /// Part of the model's name as NVML has it, such as `H100`; any model otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Memory that each of them has at least, MiB.
    #[serde(default)]
    pub vram_mib: u32,
    /// Lowest CUDA compute capability, times ten: 80 for 8.0.
    #[serde(default)]
    pub compute_capability: u32,
}

const fn one() -> u32 {
    1
}

/// What a job listens on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// Its name, part of the endpoint's host name for all but the first.
    pub name: String,
    /// TCP port in the container.
    pub port: u16,
    /// What is asked to know whether it is healthy; that it accepts a connection otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// Who may use it.
    #[serde(default)]
    pub access: PortAccess,
}

/// A health check: `GET path` answers 200 to 399.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Health {
    /// Path and query.
    pub path: String,
    /// Seconds between two checks.
    pub every_s: u32,
    /// Seconds that an answer may take.
    pub timeout_s: u32,
    /// Failures in a row after which a ready job is unhealthy, and is restarted or ends.
    pub failures: u32,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            path: "/".to_owned(),
            every_s: 5,
            timeout_s: 5,
            failures: 3,
        }
    }
}

/// Who may use a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PortAccess {
    /// Whoever has an endpoint ticket or a key of the tenant that may.
    #[default]
    Ticket,
    /// Everybody who knows the address.
    Public,
    /// Only the other replicas.
    Cluster,
}

/// When a job ends by itself, seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JobTime {
    /// It has to be healthy so long after its container started.
    pub start_s: u32,
    /// With no request for so long it ends; 0: never, it has a maximum in any case.
    pub idle_s: u32,
    /// It ends after so long in any case.
    pub max_s: u32,
    /// Between SIGTERM and SIGKILL.
    pub stop_s: u32,
    /// It waits for a place for so long, then it ends as not placed; 0: until it is ended.
    pub queue_s: u32,
}

impl Default for JobTime {
    fn default() -> Self {
        Self {
            start_s: 300,
            idle_s: 0,
            max_s: 24 * 3600,
            stop_s: 10,
            queue_s: 0,
        }
    }
}

/// What a job may reach. Private ranges and metadata addresses it never reaches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Egress {
    /// Names with a port, such as `pypi.org:443`, or networks, such as `203.0.113.0/24`. Empty: none.
    pub allow: Vec<String>,
    /// Whether it may reach any public address, in place of a list.
    pub internet: bool,
}

/// Where a job may run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Place {
    /// Regions; any if it is empty.
    pub regions: Vec<String>,
    /// What a replica may cost at most, millionths of the rate card's unit a second.
    pub price_max: Option<u32>,
    /// On whose nodes.
    pub trust: Trust,
    /// How its container is kept apart from the node's kernel.
    pub runtime: ContainerRuntime,
    /// Whether secrets may go to a node that is not vetted. Its owner can read them.
    pub secrets_on_unvetted: bool,
}

/// On whose nodes a job runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Trust {
    /// Nodes that the operator of this network has vetted.
    #[default]
    Vetted,
    /// Any.
    Any,
}

/// How a container is kept apart from the node's kernel: the label of the OCI runtime.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ContainerRuntime {
    /// Namespaces and seccomp.
    #[default]
    Runc,
    /// gVisor: a kernel in user space.
    Runsc,
    /// Kata Containers: a virtual machine.
    Kata,
}

/// A directory that outlives the job. It belongs to the tenant and stays on the node where the first
/// job that named it ran: the next ones run there, one at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
// Beside the one that `GET /v1/volumes` lists: names of the document are of all modules.
#[schema(as = JobVolume)]
#[serde(deny_unknown_fields)]
pub struct Volume {
    /// Its name; the next job of the tenant that names it finds what is in it.
    pub name: String,
    /// Where the container has it. Absolute.
    pub path: String,
    /// Its size, MiB. One that is there grows if this is more, and never shrinks.
    pub size_mib: u32,
}

/// A read-only file, fetched by digest. A model of several files is several assets below one path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Asset {
    /// Where it is fetched from, https.
    pub url: String,
    /// `sha256:` and 64 hexadecimal digits: what it has to be, and its name in the node's cache.
    pub digest: String,
    /// Its size, MiB, rounded up: what is claimed of the cache, and where the transfer is cut off.
    pub size_mib: u32,
    /// Where the container has it. Absolute.
    pub path: String,
}

/// What happens when a job's program ends, or a ready job is unhealthy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Restart {
    /// When it is started again on its node.
    pub policy: RestartPolicy,
    /// How many times at most.
    pub max: u32,
    /// Whether it is started on another node when its own is lost or takes the capacity back.
    pub elsewhere: bool,
}

/// When a job is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// Never.
    #[default]
    Never,
    /// When it failed.
    OnFailure,
    /// Whenever it ended.
    Always,
}

/// Several containers of one job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// How many.
    pub replicas: u32,
    /// The port of replica 0 that all of them meet at: `MASTER_PORT`, or that of `RAY_ADDRESS`.
    #[serde(default = "rendezvous_port")]
    pub rendezvous_port: u16,
    /// The program of replica 0, where it differs, such as a Ray head.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub head_command: Vec<String>,
    /// What the end of one of them means for all.
    #[serde(default)]
    pub on_failure: OnFailure,
}

const fn rendezvous_port() -> u16 {
    29500
}

/// What the end of one replica means for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// All end.
    #[default]
    End,
    /// All start again, together.
    Restart,
}

impl JobSpec {
    /// The job that is nothing but an image.
    pub fn of_image(image: &str) -> Self {
        Self {
            image: image.to_owned(),
            entrypoint: Vec::new(),
            command: Vec::new(),
            env: BTreeMap::new(),
            secrets: Vec::new(),
            resources: Resources::default(),
            ports: Vec::new(),
            time: JobTime::default(),
            egress: Egress::default(),
            place: Place::default(),
            volumes: Vec::new(),
            assets: Vec::new(),
            restart: Restart::default(),
            cluster: None,
            labels: BTreeMap::new(),
        }
    }

    /// What a node's engine is asked for: [`ImageRef::for_engine`].
    pub fn engine_image(&self) -> String {
        let image = self.image.parse::<ImageRef>();
        image.map_or_else(|_| self.image.clone(), |image| image.for_engine())
    }

    /// What a replica of its cluster runs: the first has its ports, and nobody asks the others anything.
    pub fn of_replica(&self, rank: u32) -> Self {
        let mut spec = self.clone();
        let Some(cluster) = &self.cluster else {
            return spec;
        };
        if rank > 0 {
            spec.ports.clear();
            (spec.time.idle_s, spec.time.queue_s) = (0, 0);
        } else if !cluster.head_command.is_empty() {
            spec.command.clone_from(&cluster.head_command);
        }
        spec
    }

    /// Where the container has its volumes and assets.
    pub fn mount_paths(&self) -> impl Iterator<Item = &str> {
        let volumes = self.volumes.iter().map(|volume| volume.path.as_str());
        volumes.chain(self.assets.iter().map(|asset| asset.path.as_str()))
    }

    /// How many containers it has.
    pub fn replicas(&self) -> u32 {
        self.cluster.as_ref().map_or(1, |cluster| cluster.replicas)
    }

    /// The first thing that is wrong with it, if anything is.
    pub fn fault(&self) -> Option<JobFault> {
        check::fault(self)
    }
}

#[cfg(test)]
mod test;
