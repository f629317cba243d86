//! The keys of a service, each by itself.

use super::place::{Finding, Place};
use super::{Reading, deploy, ports, storage};
use nearlight_protocol::job::{ContainerRuntime, RestartPolicy};

/// How often a job is started again where compose has no bound.
const RESTARTS_MAX: u32 = 1000;

pub(super) fn service<'a>(reading: &mut Reading<'a>, service: &Place<'a>) -> Result<(), Finding> {
    for (name, place) in service.entries()? {
        if let Err(finding) = key(reading, name, &place) {
            reading.refusals.push(finding);
        }
    }
    Ok(())
}

fn key<'a>(reading: &mut Reading<'a>, name: &str, place: &Place<'a>) -> Result<(), Finding> {
    match name {
        "image" => {
            reading.came_from("image", place);
            reading.spec.image = place.text()?;
        }
        "command" => {
            reading.came_from("command", place);
            reading.spec.command = place.words()?;
        }
        "entrypoint" => {
            reading.came_from("entrypoint", place);
            reading.spec.entrypoint = place.words()?;
        }
        "environment" => {
            reading.came_from("env", place);
            let pairs = place.pairs()?.into_iter();
            reading.spec.env = pairs.map(|(name, _, value)| (name, value)).collect();
        }
        "labels" => {
            reading.came_from("labels", place);
            let pairs = place.pairs()?.into_iter();
            reading.spec.labels = pairs.map(|(name, _, value)| (name, value)).collect();
        }
        "ports" => ports::ports(reading, place)?,
        "healthcheck" => ports::health_check(reading, place)?,
        "deploy" => deploy::deploy(reading, place)?,
        "scale" => deploy::replicas(reading, place)?,
        "gpus" => deploy::devices(reading, place)?,
        "cpus" => deploy::cpus(reading, place)?,
        "mem_limit" | "mem_reservation" => deploy::memory(reading, place)?,
        "pids_limit" => deploy::pids(reading, place)?,
        "shm_size" => {
            reading.came_from("resources.shm_mib", place);
            reading.spec.resources.shm_mib = place.mib()?;
        }
        "restart" => restart(reading, place)?,
        "stop_grace_period" => {
            reading.came_from("time.stop_s", place);
            reading.spec.time.stop_s = place.seconds()?;
        }
        "volumes" => storage::volumes(reading, place)?,
        "secrets" => storage::secrets(reading, place)?,
        "runtime" => reading.spec.place.runtime = runtime(place)?,
        "network_mode" => reading.is_offline = network(place)?,
        "x-nearlight" => {
            place.entries()?;
            reading.own = Some(place.clone());
        }
        _ if name.starts_with("x-") => {}
        _ if holds_anyway(name, place)? => {}
        _ => return Err(place.says(instead(name))),
    }
    Ok(())
}

/// Whether a key asks for what every job has.
fn holds_anyway(name: &str, place: &Place<'_>) -> Result<bool, Finding> {
    match name {
        "init" | "read_only" => Ok(place.truth()?),
        "privileged" | "tty" | "stdin_open" => Ok(!place.truth()?),
        "cap_drop" => Ok(true),
        "stop_signal" => Ok(matches!(place.text()?.as_str(), "SIGTERM" | "TERM" | "15")),
        "security_opt" => {
            let is_held = |option: Place<'_>| {
                let option = option.text()?;
                Ok(matches!(
                    option.as_str(),
                    "no-new-privileges" | "no-new-privileges:true" | "no-new-privileges=true"
                ))
            };
            let held: Result<Vec<bool>, Finding> =
                place.items()?.into_iter().map(is_held).collect();
            Ok(held?.into_iter().all(|is_held| is_held))
        }
        _ => Ok(false),
    }
}

fn runtime(place: &Place<'_>) -> Result<ContainerRuntime, Finding> {
    match place.text()?.as_str() {
        "runc" => Ok(ContainerRuntime::Runc),
        "runsc" => Ok(ContainerRuntime::Runsc),
        "kata" => Ok(ContainerRuntime::Kata),
        "nvidia" => {
            Err(place.says("GPUs are asked for under deploy.resources.reservations.devices"))
        }
        other => Err(place.says(format!("`{other}` is none of runc, runsc and kata"))),
    }
}

fn network(place: &Place<'_>) -> Result<bool, Finding> {
    match place.text()?.as_str() {
        "none" => Ok(true),
        _ => Err(place.says(
            "each job has a network of its own: leave it out, and say under x-nearlight.egress what it \
             may reach",
        )),
    }
}

fn restart(reading: &mut Reading<'_>, place: &Place<'_>) -> Result<(), Finding> {
    let text = place.text()?;
    let (policy, most) = text
        .split_once(':')
        .map_or((text.as_str(), None), |(policy, most)| (policy, Some(most)));
    let policy = match policy {
        "no" => RestartPolicy::Never,
        "on-failure" => RestartPolicy::OnFailure,
        "always" | "unless-stopped" => RestartPolicy::Always,
        _ => return Err(place.says("no, always, unless-stopped or on-failure:3")),
    };
    let most = match most {
        None => None,
        Some(most) => Some(most.parse().map_err(|_| place.says("write on-failure:3"))?),
    };
    restarts(reading, place, policy, most);
    Ok(())
}

/// When and how often it is started again; without a number as often as a job can be.
pub(super) fn restarts(
    reading: &mut Reading<'_>,
    place: &Place<'_>,
    policy: RestartPolicy,
    most: Option<u32>,
) {
    reading.came_from("restart", place);
    reading.spec.restart.policy = policy;
    reading.spec.restart.max = match (policy, most) {
        (RestartPolicy::Never, _) => 0,
        (RestartPolicy::OnFailure | RestartPolicy::Always, Some(most)) => most,
        (RestartPolicy::OnFailure | RestartPolicy::Always, None) => {
            let why = format!("at most {RESTARTS_MAX} times: a job has a bound");
            reading.notes.push(place.says(why));
            RESTARTS_MAX
        }
    };
}

/// What to write in place of a key that no job has.
pub(super) fn instead(name: &str) -> &'static str {
    match name {
        "build" => {
            "a job is made of an image: build it, push it to a registry, and name it in `image`"
        }
        "env_file" => "write its lines under `environment`, and what is secret under `secrets`",
        "networks" | "links" | "external_links" | "dns" | "extra_hosts" => {
            "each job has a network of its own: leave it out, and say under x-nearlight.egress what it may \
             reach"
        }
        "depends_on" => "a job is one service: start what it needs before it",
        "configs" => "bake it into the image, or give it as a secret: a file below /run/secrets",
        "container_name" | "hostname" => {
            "a session has an id and an address of its own: leave it out"
        }
        "user" | "group_add" => "a job runs as its image's user: set USER in the image, not root",
        "working_dir" => "set WORKDIR in the image",
        "privileged"
        | "cap_add"
        | "devices"
        | "device_cgroup_rules"
        | "pid"
        | "ipc"
        | "security_opt"
        | "sysctls"
        | "userns_mode"
        | "cgroup_parent"
        | "ulimits" => {
            "no job has this: the locks of its container are the node's, and GPUs are asked for under \
             deploy.resources.reservations.devices"
        }
        "read_only" | "tmpfs" | "storage_opt" => {
            "a job's image is read-only, and its /tmp, its home and the image's VOLUMEs are writable: \
             leave it out; x-nearlight.resources.disk_mib says how much of the disk they get"
        }
        "init" => "every job has an init: leave it out",
        "tty" | "stdin_open" => "leave it out; `nearlight session exec -it` opens a terminal",
        "stop_signal" => "a job is stopped with SIGTERM, then with SIGKILL: leave it out",
        "expose" => "write it under `ports`: the endpoint opens it, and nobody else is there",
        "logging" => "leave it out; `nearlight session logs -f` reads what it wrote",
        "platform" => "leave it out: the image's own is taken",
        "pull_policy" => "leave it out: the image is pinned by its digest when the job starts",
        "profiles" | "extends" | "include" => "write one file that holds the one service whole",
        "memswap_limit" | "mem_swappiness" => "a job has no swap: leave it out",
        _ => {
            "no job has this: leave it out, or say what is meant under x-nearlight, with the keys of job.toml"
        }
    }
}
