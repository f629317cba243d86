//! What is wrong with a job's spec: the first fault, with the key it stands at and what to do.

use super::{
    Asset, Cluster, Health, ImageRef, JobSpec, OnFailure, Port, PortAccess, Resources,
    RestartPolicy, Volume,
};
use crate::limits::{
    API_BODY_BYTES_MAX, JOB_ENTRIES_MAX, JOB_LABEL_BYTES_MAX, JOB_REPLICAS_MAX, JOB_TIME_S_MAX,
};
use crate::plain::is_plain_text;
use std::collections::BTreeSet;

/// Of the key that a fault names.
const KEY_BYTES_MAX: usize = 128;

/// A fault of a spec.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {why}")]
pub struct JobFault {
    /// The key, as a path in the file, such as `ports[0].health.path`.
    pub key: String,
    /// What is wrong, and what would be right.
    pub why: String,
}

type Checked = Result<(), JobFault>;

fn fault_at(key: impl Into<String>, why: impl Into<String>) -> Checked {
    Err(JobFault {
        key: shortened(key.into()),
        why: why.into(),
    })
}

/// A name in a key may be as long as whoever wrote it likes.
fn shortened(mut key: String) -> String {
    if key.len() > KEY_BYTES_MAX {
        key.truncate(key.floor_char_boundary(KEY_BYTES_MAX));
        key.push('…');
    }
    key
}

fn require(holds: bool, key: impl Into<String>, why: impl Into<String>) -> Checked {
    if holds { Ok(()) } else { fault_at(key, why) }
}

pub(super) fn fault(spec: &JobSpec) -> Option<JobFault> {
    all(spec).err()
}

fn all(spec: &JobSpec) -> Checked {
    if let Err(error) = spec.image.parse::<ImageRef>() {
        return fault_at("image", error.to_string());
    }
    program("entrypoint", &spec.entrypoint)?;
    program("command", &spec.command)?;
    environment(spec)?;
    secrets(spec)?;
    resources(&spec.resources)?;
    ports(spec)?;
    time(spec)?;
    egress(spec)?;
    require(
        spec.place.regions.len() <= JOB_ENTRIES_MAX,
        "place.regions",
        format!("at most {JOB_ENTRIES_MAX} regions"),
    )?;
    mounts(spec)?;
    if let Some(cluster) = &spec.cluster {
        gang(cluster, spec)?;
    }
    labels(spec)
}

/// What an engine hands to execve(2) ends at a NUL.
fn program(key: &str, words: &[String]) -> Checked {
    let bytes: usize = words.iter().map(String::len).sum();
    require(
        words.len() <= JOB_ENTRIES_MAX && bytes <= API_BODY_BYTES_MAX / 2,
        key,
        format!("at most {JOB_ENTRIES_MAX} words, together at most 32 KiB"),
    )?;
    require(
        words.first().is_none_or(|program| !program.is_empty()),
        key,
        "its first word, the program, is empty",
    )?;
    require(
        words.iter().all(|word| !word.contains('\0')),
        key,
        "no word may have a NUL character",
    )
}

/// Longest part of a GPU's name, bytes: NVML's own names have at most 96.
const MODEL_BYTES_MAX: usize = 96;
/// Names that are the session's own to set.
const RESERVED: [&str; 9] = [
    "NNODES",
    "NODE_RANK",
    "MASTER_ADDR",
    "MASTER_PORT",
    "RAY_ADDRESS",
    "NEARLIGHT_SESSION",
    "NEARLIGHT_REPLICA",
    "NVIDIA_VISIBLE_DEVICES",
    "NVIDIA_DRIVER_CAPABILITIES",
];

fn environment(spec: &JobSpec) -> Checked {
    require(
        spec.env.len() <= JOB_ENTRIES_MAX,
        "env",
        format!("at most {JOB_ENTRIES_MAX} variables"),
    )?;
    for (name, value) in &spec.env {
        let key = format!("env.{name}");
        let is_name = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        require(
            !name.is_empty()
                && name.bytes().all(is_name)
                && !name.starts_with(|c: char| c.is_ascii_digit()),
            &key,
            "a name has letters, digits and _, and no digit first",
        )?;
        require(
            !RESERVED.contains(&name.as_str()),
            &key,
            "the session sets it itself; leave it out",
        )?;
        require(
            !value.contains('\0'),
            &key,
            "no value may have a NUL character",
        )?;
    }
    Ok(())
}

fn secrets(spec: &JobSpec) -> Checked {
    require(
        spec.secrets.len() <= JOB_ENTRIES_MAX,
        "secrets",
        format!("at most {JOB_ENTRIES_MAX} secrets"),
    )?;
    let mut seen = BTreeSet::new();
    for (i, name) in spec.secrets.iter().enumerate() {
        let key = format!("secrets[{i}]");
        file_name(&key, name)?;
        require(seen.insert(name), key, format!("`{name}` is there twice"))?;
    }
    Ok(())
}

/// A name that is one part of a path, whatever it is put into.
fn file_name(key: &str, name: &str) -> Checked {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    require(
        (1..=63).contains(&name.len()) && name.bytes().all(is_plain) && !name.starts_with('.'),
        key,
        "a name has 1 to 63 letters, digits, _, - and ., and no . first",
    )
}

fn resources(need: &Resources) -> Checked {
    let within = |value: u32, least: u32, most: u32, key: &str, unit: &str| {
        require(
            (least..=most).contains(&value),
            format!("resources.{key}"),
            format!("{least} to {most} {unit}, not {value}"),
        )
    };
    within(
        need.cpu_milli,
        10,
        1_000_000,
        "cpu_milli",
        "thousandths of a core",
    )?;
    within(need.mem_mib, 16, 16 << 20, "mem_mib", "MiB")?;
    within(need.disk_mib, 0, 64 << 20, "disk_mib", "MiB")?;
    within(
        need.shm_mib,
        1,
        need.mem_mib,
        "shm_mib",
        "MiB, and no more than mem_mib",
    )?;
    within(need.pids, 1, 1 << 20, "pids", "processes and threads")?;
    let Some(gpu) = &need.gpu else { return Ok(()) };
    within(gpu.count, 1, 16, "gpu.count", "GPUs of one node")?;
    within(gpu.vram_mib, 0, 4 << 20, "gpu.vram_mib", "MiB")?;
    require(
        gpu.model
            .as_ref()
            .is_none_or(|model| !model.trim().is_empty() && is_plain_text(model, MODEL_BYTES_MAX)),
        "resources.gpu.model",
        "part of a model's name, such as H100, at most 96 bytes; leave it out for any",
    )
}

fn ports(spec: &JobSpec) -> Checked {
    require(spec.ports.len() <= 16, "ports", "at most 16 ports")?;
    let (mut names, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    for (i, port) in spec.ports.iter().enumerate() {
        let key = format!("ports[{i}]");
        port_name(&format!("{key}.name"), port)?;
        require(port.port != 0, format!("{key}.port"), "1 to 65535")?;
        let unique = names.insert(&port.name) && numbers.insert(port.port);
        require(unique, &key, "its name or its port is there twice")?;
        require(
            port.access != PortAccess::Cluster || spec.cluster.is_some(),
            format!("{key}.access"),
            "`cluster` is for a job with [cluster]",
        )?;
        if let Some(check) = &port.health {
            health(&format!("{key}.health"), check)?;
        }
    }
    Ok(())
}

/// It is a part of a host name (RFC 1123).
fn port_name(key: &str, port: &Port) -> Checked {
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let name = &port.name;
    require(
        (1..=15).contains(&name.len())
            && name.bytes().all(is_plain)
            && !name.starts_with('-')
            && !name.ends_with('-'),
        key,
        "a name has 1 to 15 small letters, digits and -, and no - first or last",
    )
}

fn health(key: &str, check: &Health) -> Checked {
    let is_target = |b: u8| b.is_ascii_graphic() && b != b'#';
    require(
        check.path.starts_with('/') && check.path.len() <= 512 && check.path.bytes().all(is_target),
        format!("{key}.path"),
        "a path that starts with /, such as /healthz",
    )?;
    let times = (1..=3600).contains(&check.every_s) && (1..=60).contains(&check.timeout_s);
    require(
        times,
        key,
        "every_s is 1 to 3600 seconds, timeout_s 1 to 60",
    )?;
    require(
        (1..=100).contains(&check.failures),
        format!("{key}.failures"),
        "1 to 100",
    )
}

fn time(spec: &JobSpec) -> Checked {
    let time = &spec.time;
    require(
        (1..=JOB_TIME_S_MAX).contains(&time.max_s),
        "time.max_s",
        format!("1 to {JOB_TIME_S_MAX} seconds"),
    )?;
    require(
        (1..=24 * 3600).contains(&time.start_s),
        "time.start_s",
        "1 to 86400 seconds",
    )?;
    require(time.stop_s <= 3600, "time.stop_s", "at most 3600 seconds")?;
    require(
        time.idle_s == 0 || !spec.ports.is_empty(),
        "time.idle_s",
        "idle is a job that nobody asks anything: it needs a port",
    )?;
    require(
        spec.restart.max <= 1000,
        "restart.max",
        "at most 1000 times",
    )
}

fn egress(spec: &JobSpec) -> Checked {
    let egress = &spec.egress;
    require(
        !egress.internet || egress.allow.is_empty(),
        "egress",
        "either `internet` or a list of what it may reach",
    )?;
    require(
        egress.allow.len() <= JOB_ENTRIES_MAX,
        "egress.allow",
        format!("at most {JOB_ENTRIES_MAX} entries"),
    )?;
    for (i, entry) in egress.allow.iter().enumerate() {
        require(
            is_network(entry) || is_host_and_port(entry),
            format!("egress.allow[{i}]"),
            format!(
                "`{entry}` is neither a host name with a port, such as pypi.org:443, nor an IPv4 network, such as 203.0.113.0/24"
            ),
        )?;
    }
    Ok(())
}

fn is_network(entry: &str) -> bool {
    let Some((address, length)) = entry.split_once('/') else {
        return false;
    };
    match (address.parse(), number(length)) {
        // A job's network has no IPv6.
        (Ok(std::net::IpAddr::V4(_)), Some(length)) => (8..=32).contains(&length),
        (Ok(std::net::IpAddr::V6(_)) | Err(_), _) | (_, None) => false,
    }
}

/// A number as it is printed: one way to write it, and no sign.
pub(super) fn number(text: &str) -> Option<u16> {
    let is_digits = text.bytes().all(|b| b.is_ascii_digit());
    let number = text.parse().ok()?;
    (is_digits && (number == 0) == text.starts_with('0')).then_some(number)
}

fn is_host_and_port(entry: &str) -> bool {
    let Some((host, port)) = entry.rsplit_once(':') else {
        return false;
    };
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // An address is written as a network: a name that looks like one would be looked up.
    let is_name = host.len() <= 253
        && host.split('.').all(is_label)
        && host
            .rsplit('.')
            .next()
            .is_some_and(|top| !top.bytes().all(|b| b.is_ascii_digit()));
    is_name && number(port).is_some_and(|port| port != 0)
}

fn mounts(spec: &JobSpec) -> Checked {
    require(spec.volumes.len() <= 16, "volumes", "at most 16 volumes")?;
    require(spec.assets.len() <= 64, "assets", "at most 64 assets")?;
    let mut paths: Vec<&str> = Vec::new();
    let mut names = BTreeSet::new();
    for (i, volume) in spec.volumes.iter().enumerate() {
        volume_fault(&format!("volumes[{i}]"), volume)?;
        require(
            names.insert(&volume.name),
            format!("volumes[{i}].name"),
            format!("`{}` is there twice", volume.name),
        )?;
        paths.push(&volume.path);
    }
    for (i, asset) in spec.assets.iter().enumerate() {
        asset_fault(&format!("assets[{i}]"), asset)?;
        paths.push(&asset.path);
    }
    apart(&paths)
}

fn apart(paths: &[&str]) -> Checked {
    for (i, outer) in paths.iter().enumerate() {
        for (j, inner) in paths.iter().enumerate() {
            let rest = inner.strip_prefix(outer);
            let inside = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            require(
                i == j || !inside,
                "volumes",
                format!("{inner} is inside {outer}: each needs a place of its own"),
            )?;
        }
    }
    Ok(())
}

fn volume_fault(key: &str, volume: &Volume) -> Checked {
    file_name(&format!("{key}.name"), &volume.name)?;
    mount_path(&format!("{key}.path"), &volume.path)?;
    require(
        (1..=64 << 20).contains(&volume.size_mib),
        format!("{key}.size_mib"),
        "1 MiB to 64 TiB",
    )
}

fn asset_fault(key: &str, asset: &Asset) -> Checked {
    let is_url = asset.url.strip_prefix("https://").is_some_and(|rest| {
        !rest.is_empty() && !rest.starts_with('/') && rest.bytes().all(|b| b.is_ascii_graphic())
    });
    require(
        is_url && asset.url.len() <= 2048 && !asset.url.contains('@'),
        format!("{key}.url"),
        "an https:// address without user and password",
    )?;
    let hex = asset.digest.strip_prefix("sha256:").unwrap_or_default();
    let is_digest = hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    require(
        is_digest,
        format!("{key}.digest"),
        "sha256: and 64 hexadecimal digits in lower case, as sha256sum prints them",
    )?;
    require(
        (1..=64 << 20).contains(&asset.size_mib),
        format!("{key}.size_mib"),
        "1 MiB to 64 TiB",
    )?;
    mount_path(&format!("{key}.path"), &asset.path)
}

/// Where nothing may be put: an engine needs these, or has them itself.
const TAKEN: [&str; 11] = [
    "/",
    "/proc",
    "/sys",
    "/dev",
    "/run",
    "/etc",
    "/etc/hosts",
    "/etc/hostname",
    "/etc/resolv.conf",
    "/tmp",
    "/var/run",
];

fn mount_path(key: &str, path: &str) -> Checked {
    let is_part = |part: &str| !part.is_empty() && part != "." && part != "..";
    let is_path = path
        .strip_prefix('/')
        .is_some_and(|rest| rest.split('/').all(is_part));
    require(
        is_path && is_plain_text(path, 512) && !path.contains([':', ',']),
        key,
        "an absolute path of at most 512 bytes without . and .., : and , and control characters",
    )?;
    let taken = TAKEN.iter().any(|taken| {
        path == *taken
            || (*taken != "/" && *taken != "/etc" && *taken != "/tmp")
                && path
                    .strip_prefix(taken)
                    .is_some_and(|rest| rest.starts_with('/'))
    });
    require(
        !taken,
        key,
        format!("{path} belongs to the container's own system"),
    )
}

fn gang(cluster: &Cluster, spec: &JobSpec) -> Checked {
    require(
        (2..=JOB_REPLICAS_MAX).contains(&cluster.replicas),
        "cluster.replicas",
        format!("2 to {JOB_REPLICAS_MAX}; leave [cluster] out for one container"),
    )?;
    require(
        cluster.rendezvous_port != 0,
        "cluster.rendezvous_port",
        "1 to 65535",
    )?;
    require(
        !spec.restart.elsewhere,
        "restart.elsewhere",
        "the replicas of a cluster move together: say cluster.on_failure = \"restart\"",
    )?;
    require(
        spec.restart.policy == RestartPolicy::Never,
        "restart.policy",
        "the replicas of a cluster start again together: say cluster.on_failure = \"restart\"",
    )?;
    require(
        cluster.on_failure != OnFailure::Restart || spec.restart.max > 0,
        "restart.max",
        "how often all replicas are started again; cluster.on_failure says that they are",
    )?;
    program("cluster.head_command", &cluster.head_command)
}

fn labels(spec: &JobSpec) -> Checked {
    require(spec.labels.len() <= 32, "labels", "at most 32 labels")?;
    for (name, value) in &spec.labels {
        let key = format!("labels.{name}");
        file_name(&key, name)?;
        require(
            is_plain_text(value, JOB_LABEL_BYTES_MAX),
            key,
            format!(
                "at most {JOB_LABEL_BYTES_MAX} bytes, and no control characters or others that hide"
            ),
        )?;
    }
    Ok(())
}
