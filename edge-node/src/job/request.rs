//! What is asked of the engine for one job: every lock on its container is here.

use super::devices;
use super::mesh::{self, Mesh};
use super::network::{self, Subnet};
use super::space::{self, Writable};
use super::who::{HOME, Who};
use crate::limits::{JOB_FILES_MAX, JOB_LOG_FILE_MIB, JOB_LOG_FILES};
use crate::runtime::docker::{KIND_JOB, LABEL_EPOCH, LABEL_KIND, LABEL_NODE, LABEL_SESSION};
use bollard::models::{
    ContainerCreateBody, DeviceRequest, EndpointIpamConfig, EndpointSettings, HostConfig,
    HostConfigCgroupnsModeEnum, HostConfigLogConfig, Ipam, IpamConfig, Mount, MountBindOptions,
    MountBindOptionsPropagationEnum, MountTmpfsOptions, MountType, MountVolumeOptions,
    MountVolumeOptionsDriverConfig, NetworkConnectRequest, NetworkCreateRequest, NetworkingConfig,
    ResourcesUlimits,
};
use nearlight_protocol::id::{NodeId, SessionId};
use nearlight_protocol::job::{ContainerRuntime, JobSpec};
use nearlight_protocol::unit::U64;
use nearlight_protocol::work::Replica;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

/// The run of a cluster that a container or a network belongs to.
pub(crate) const LABEL_CLUSTER: &str = "nearlight.cluster";

const MIB: i64 = 1024 * 1024;
/// The container's own name of its host.
pub(crate) const HOST_NAME: &str = "job";
/// Where a job finds its secrets.
const SECRETS: &str = "/run/secrets";
/// Where it finds what it is told of its end.
const NOTICE: &str = "/run/nearlight";
/// `/run` of a job, where programs put their sockets.
const RUN_MIB: i64 = 16;
/// Of the kernel's scale to 1000: where memory is short, a job goes before the agent and the engine do.
const OOM_SCORE: i64 = 500;
/// What gVisor's own kernel takes beside the job, which counts as the job's to the host. Measured with runsc of
/// 2022 on ptrace (`docker stats`): 39 threads and 12 MiB for one process, 368 threads and 35 MiB for 41.
const GVISOR_MIB: i64 = 64;
const GVISOR_THREADS: i64 = 128;
/// Threads of the host for each process of a job in gVisor: 8, and some more while it starts.
const GVISOR_THREADS_EACH: i64 = 10;
/// Linux's own most (`PID_MAX_LIMIT`); control groups take no larger bound.
const PIDS_MAX: i64 = 4 << 20;
/// A resolver that is not there.
const NO_RESOLVER: &str = "127.0.0.1";

/// One container to make.
#[derive(Clone, Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) session: &'a SessionId,
    pub(crate) epoch: U64,
    pub(crate) node: &'a NodeId,
    pub(crate) spec: &'a JobSpec,
    /// As whom.
    pub(crate) who: &'a Who,
    /// What it can write.
    pub(crate) places: &'a [Writable],
    /// What it finds beside: a path of the host, where the container has it, and whether it may write.
    pub(crate) kept: &'a [Kept],
    /// Its directory on the host.
    pub(crate) dir: &'a Path,
    /// Its network.
    pub(crate) subnet: Subnet,
    /// The engine's name of the OCI runtime.
    pub(crate) oci: &'a str,
    /// Whether it has secrets.
    pub(crate) has_secrets: bool,
    /// The resolvers of one that may reach any address; none for others.
    pub(crate) resolvers: &'a [IpAddr],
    /// The image's own environment.
    pub(crate) image_env: &'a [String],
    /// Which replica of a cluster it is.
    pub(crate) replica: Option<&'a Replica>,
    /// How the engine is asked for its GPUs.
    pub(crate) gpus: Option<DeviceRequest>,
    /// Their UUIDs.
    pub(crate) gpu_uuids: &'a [String],
}

/// Something that outlives a job, where its container has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) source: PathBuf,
    pub(crate) target: String,
    pub(crate) is_writable: bool,
}

/// The job's network; `internal` from one that reaches nothing.
pub(crate) fn network(
    session: &SessionId,
    node: &NodeId,
    subnet: Subnet,
    internal: bool,
) -> NetworkCreateRequest {
    let options = [("com.docker.network.bridge.name", network::bridge(session))];
    NetworkCreateRequest {
        name: network::name(session),
        driver: Some("bridge".to_owned()),
        internal: Some(internal),
        enable_ipv6: Some(false),
        ipam: Some(Ipam {
            config: Some(vec![IpamConfig {
                subnet: Some(subnet.to_string()),
                gateway: Some(subnet.gateway().to_string()),
                ..IpamConfig::default()
            }]),
            ..Ipam::default()
        }),
        options: Some(options.map(|(k, v)| (k.to_owned(), v)).into()),
        labels: Some(labels(session, node)),
        ..NetworkCreateRequest::default()
    }
}

/// The network of a cluster's run. It leads nowhere.
pub(crate) fn mesh(replica: &Replica, node: &NodeId, mesh: Mesh) -> NetworkCreateRequest {
    let options = [("com.docker.network.bridge.name", mesh::bridge(replica))];
    let labels = [
        (LABEL_CLUSTER, mesh::network(replica)),
        (LABEL_NODE, node.to_string()),
        (LABEL_KIND, KIND_JOB.to_owned()),
    ];
    NetworkCreateRequest {
        name: mesh::network(replica),
        driver: Some("bridge".to_owned()),
        internal: Some(true),
        enable_ipv6: Some(false),
        ipam: Some(Ipam {
            config: Some(vec![IpamConfig {
                subnet: Some(mesh.to_string()),
                gateway: Some(mesh.gateway().to_string()),
                ..IpamConfig::default()
            }]),
            ..Ipam::default()
        }),
        options: Some(options.map(|(k, v)| (k.to_owned(), v)).into()),
        labels: Some(labels.map(|(k, v)| (k.to_owned(), v)).into()),
        ..NetworkCreateRequest::default()
    }
}

/// A container's place in its cluster's network.
pub(crate) fn joined(container: &str, address: Ipv4Addr) -> NetworkConnectRequest {
    NetworkConnectRequest {
        container: container.to_owned(),
        endpoint_config: Some(EndpointSettings {
            ipam_config: Some(EndpointIpamConfig {
                ipv4_address: Some(address.to_string()),
                ..EndpointIpamConfig::default()
            }),
            ..EndpointSettings::default()
        }),
    }
}

fn labels(session: &SessionId, node: &NodeId) -> HashMap<String, String> {
    let labels = [
        (LABEL_SESSION, session.to_string()),
        (LABEL_NODE, node.to_string()),
        (LABEL_KIND, KIND_JOB.to_owned()),
    ];
    labels.map(|(k, v)| (k.to_owned(), v)).into()
}

/// A container that is never started, to look into its image. Where the image declares a volume it has nothing: the engine
/// would make one, and may leave it.
pub(crate) fn looked_into(
    image: &str,
    places: &[Writable],
    session: &SessionId,
    node: &NodeId,
) -> ContainerCreateBody {
    let volumes = places.iter().filter(|place| place.is_volume);
    let nothing = |place: &Writable| Mount {
        typ: Some(MountType::TMPFS),
        target: Some(place.path.clone()),
        ..Mount::default()
    };
    ContainerCreateBody {
        image: Some(image.to_owned()),
        // An image without a program cannot be made a container of.
        cmd: Some(vec!["-".to_owned()]),
        labels: Some(labels(session, node)),
        host_config: Some(HostConfig {
            network_mode: Some("none".to_owned()),
            readonly_rootfs: Some(true),
            cap_drop: Some(vec!["ALL".to_owned()]),
            mounts: Some(volumes.map(nothing).collect()),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}

/// The job's container.
pub(crate) fn container(plan: &Plan<'_>) -> ContainerCreateBody {
    let mut labels = labels(plan.session, plan.node);
    labels.insert(LABEL_EPOCH.to_owned(), plan.epoch.0.to_string());
    if let Some(replica) = plan.replica {
        labels.insert(LABEL_CLUSTER.to_owned(), mesh::network(replica));
    }
    let endpoint = EndpointSettings {
        ipam_config: Some(EndpointIpamConfig {
            ipv4_address: Some(plan.subnet.container().to_string()),
            ..EndpointIpamConfig::default()
        }),
        ..EndpointSettings::default()
    };
    let network = network::name(plan.session);
    ContainerCreateBody {
        image: Some(plan.spec.engine_image()),
        // What looks itself up by its name is found by the others there.
        hostname: Some(match plan.replica {
            Some(replica) => mesh::name(replica.rank),
            None => HOST_NAME.to_owned(),
        }),
        user: Some(format!("{}:{}", plan.who.uid, plan.who.gid)),
        entrypoint: (!plan.spec.entrypoint.is_empty()).then(|| plan.spec.entrypoint.clone()),
        cmd: (!plan.spec.command.is_empty()).then(|| plan.spec.command.clone()),
        env: Some(environment(plan)),
        labels: Some(labels),
        networking_config: Some(NetworkingConfig {
            endpoints_config: Some([(network.clone(), endpoint)].into()),
        }),
        host_config: Some(host_config(plan, network)),
        ..ContainerCreateBody::default()
    }
}

/// Where the job's user is at home: what the spec or the image says, if it may be written.
pub(crate) fn home(spec: &JobSpec, who: &Who) -> String {
    let wanted = spec.env.get("HOME").or(who.home.as_ref());
    let usable = wanted.filter(|home| space::is_mountable(home));
    usable.map_or(HOME, String::as_str).to_owned()
}

fn environment(plan: &Plan<'_>) -> Vec<String> {
    let spec = plan.spec;
    let own = spec.env.iter().filter(|(k, _)| !devices::is_ours(k));
    let mut env: Vec<String> = own.map(|(k, v)| format!("{k}={v}")).collect();
    if !spec.env.contains_key("HOME") {
        env.push(format!("HOME={}", home(spec, plan.who)));
    }
    env.push(format!("NEARLIGHT_SESSION={}", plan.session));
    let rank = plan.replica.map_or(0, |replica| replica.rank);
    env.push(format!("NEARLIGHT_REPLICA={rank}"));
    if let Some(replica) = plan.replica {
        env.extend(mesh::environment(replica, spec));
    }
    env.extend(devices::environment(
        plan.gpus.as_ref(),
        plan.gpu_uuids,
        plan.image_env,
    ));
    env
}

fn host_config(plan: &Plan<'_>, network: String) -> HostConfig {
    let need = &plan.spec.resources;
    let (mem_mib, pids) = bounds(plan.spec);
    let memory = mem_mib * MIB;
    let resolvers = match plan.resolvers {
        [] => vec![NO_RESOLVER.to_owned()],
        all => all.iter().map(IpAddr::to_string).collect(),
    };
    HostConfig {
        init: Some(true),
        readonly_rootfs: Some(true),
        privileged: Some(false),
        cap_drop: Some(vec!["ALL".to_owned()]),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        network_mode: Some(network),
        dns: Some(resolvers),
        ipc_mode: Some("private".to_owned()),
        cgroupns_mode: Some(HostConfigCgroupnsModeEnum::PRIVATE),
        runtime: Some(plan.oci.to_owned()),
        memory: Some(memory),
        // The sum of memory and swap: equal means no swap.
        memory_swap: Some(memory),
        nano_cpus: Some(i64::from(need.cpu_milli) * 1_000_000),
        pids_limit: Some(pids),
        shm_size: Some(i64::from(need.shm_mib) * MIB),
        oom_score_adj: Some(OOM_SCORE),
        ulimits: Some(vec![ulimit("core", 0), ulimit("nofile", JOB_FILES_MAX)]),
        tmpfs: Some(tmpfs(plan)),
        mounts: Some(mounts(plan)),
        device_requests: plan.gpus.clone().map(|gpus| vec![gpus]),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(
                [
                    ("max-size", format!("{JOB_LOG_FILE_MIB}m")),
                    ("max-file", JOB_LOG_FILES.to_string()),
                ]
                .map(|(k, v)| (k.to_owned(), v))
                .into(),
            ),
        }),
        ..HostConfig::default()
    }
}

/// MiB and tasks of the host that a job may take, together with what it runs in. A virtual machine's are its runtime's matter.
fn bounds(spec: &JobSpec) -> (i64, i64) {
    let (mem_mib, pids) = (spec.resources.mem_mib.into(), spec.resources.pids.into());
    match spec.place.runtime {
        ContainerRuntime::Runc | ContainerRuntime::Kata => (mem_mib, pids),
        ContainerRuntime::Runsc => (
            mem_mib + GVISOR_MIB,
            (GVISOR_THREADS + GVISOR_THREADS_EACH * pids).min(PIDS_MAX),
        ),
    }
}

fn ulimit(name: &str, value: u64) -> ResourcesUlimits {
    let value = i64::try_from(value).unwrap_or(i64::MAX);
    ResourcesUlimits {
        name: Some(name.to_owned()),
        soft: Some(value),
        hard: Some(value),
    }
}

/// The engine gives a mount the mode of the directory below it, so each has the job as its owner.
fn tmpfs(plan: &Plan<'_>) -> HashMap<String, String> {
    let options = |mib: i64| {
        let Who { uid, gid, .. } = plan.who;
        format!("rw,nosuid,nodev,size={mib}m,mode=1777,uid={uid},gid={gid}")
    };
    let mut all = HashMap::from([("/run".to_owned(), options(RUN_MIB))]);
    if plan.spec.resources.disk_mib == 0 {
        let places = plan.places.iter().filter(|place| !place.is_volume);
        // A job's memory holds what is in it, so half of that is all it may take.
        let half = i64::from(plan.spec.resources.mem_mib) / 2;
        all.extend(places.map(|place| (place.path.clone(), options(half))));
    }
    all
}

fn mounts(plan: &Plan<'_>) -> Vec<Mount> {
    let has_disk = plan.spec.resources.disk_mib > 0;
    let places = plan.places.iter().enumerate();
    let mut mounts: Vec<_> = places
        .filter_map(|(place, writable)| match has_disk {
            true => Some(on_disk(plan, place, writable)),
            false => writable.is_volume.then(|| in_memory(plan, writable)),
        })
        .collect();
    mounts.extend(plan.kept.iter().map(|kept| Mount {
        read_only: Some(!kept.is_writable),
        ..bind(&kept.source, &kept.target)
    }));
    mounts.push(bind(&space::hosts(plan.dir), "/etc/hosts"));
    mounts.push(bind(&space::notice(plan.dir), NOTICE));
    if plan.has_secrets {
        mounts.push(bind(&space::secrets(plan.dir), SECRETS));
    }
    mounts
}

/// A volume without a name, which goes with its container. The engine fills one from its image. It has the job's labels: an
/// engine that is killed as it makes the container may have made the volume, and knows of no container that it is of.
fn on_disk(plan: &Plan<'_>, place: usize, writable: &Writable) -> Mount {
    let source = space::on_disk(plan.dir, place);
    let options = [
        ("type", "none".to_owned()),
        ("o", "bind".to_owned()),
        ("device", source.display().to_string()),
    ];
    Mount {
        typ: Some(MountType::VOLUME),
        target: Some(writable.path.clone()),
        volume_options: Some(MountVolumeOptions {
            no_copy: Some(!writable.is_filled),
            labels: Some(labels(plan.session, plan.node)),
            driver_config: Some(MountVolumeOptionsDriverConfig {
                name: Some("local".to_owned()),
                options: Some(options.map(|(k, v)| (k.to_owned(), v)).into()),
            }),
            ..MountVolumeOptions::default()
        }),
        ..Mount::default()
    }
}

/// In place of the volume that the engine would make on a disk without bounds.
fn in_memory(plan: &Plan<'_>, writable: &Writable) -> Mount {
    Mount {
        typ: Some(MountType::TMPFS),
        target: Some(writable.path.clone()),
        tmpfs_options: Some(MountTmpfsOptions {
            size_bytes: Some(i64::from(plan.spec.resources.mem_mib) * MIB / 2),
            mode: Some(0o1777),
            ..MountTmpfsOptions::default()
        }),
        ..Mount::default()
    }
}

fn bind(source: &Path, target: &str) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(source.display().to_string()),
        target: Some(target.to_owned()),
        read_only: Some(true),
        bind_options: Some(MountBindOptions {
            propagation: Some(MountBindOptionsPropagationEnum::RPRIVATE),
            ..MountBindOptions::default()
        }),
        ..Mount::default()
    }
}

#[cfg(test)]
#[path = "request/test.rs"]
mod test;
