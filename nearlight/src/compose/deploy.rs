//! `deploy`: what a service gets of the machine, how many there are, when they start again.

use super::place::{Finding, Place};
use super::service::restarts;
use super::{Reading, yaml};
use nearlight_protocol::job::{GpuNeed, RestartPolicy};

pub(super) fn deploy(reading: &mut Reading<'_>, deploy: &Place<'_>) -> Result<(), Finding> {
    for (name, place) in deploy.entries()? {
        match name {
            "replicas" => replicas(reading, &place)?,
            "mode" if place.text()? == "replicated" => {}
            "resources" => resources(reading, &place)?,
            "restart_policy" => restart_policy(reading, &place)?,
            "labels" => {
                return Err(
                    place.says("labels of a job are the service's: write them under `labels`")
                );
            }
            "placement" => {
                return Err(place.says("write x-nearlight.place: regions, trust, price_max"));
            }
            "endpoint_mode" | "mode" | "rollback_config" | "update_config" => {
                return Err(place.says("a job is not a service of a swarm: leave it out"));
            }
            _ => return Err(place.says("no job has this: leave it out")),
        }
    }
    Ok(())
}

pub(super) fn replicas(reading: &mut Reading<'_>, place: &Place<'_>) -> Result<(), Finding> {
    reading.came_from("cluster", place);
    reading.came_from("volumes", place);
    reading.replicas = match place.number()? {
        0 => return Err(place.says("a job has at least one container")),
        replicas => replicas,
    };
    Ok(())
}

fn resources(reading: &mut Reading<'_>, resources: &Place<'_>) -> Result<(), Finding> {
    for (_, part) in resources.entries()? {
        let is_reservation = part.key.ends_with(".reservations");
        if !is_reservation && !part.key.ends_with(".limits") {
            return Err(part.says("there are `limits` and `reservations`"));
        }
        for (name, place) in part.entries()? {
            match name {
                "cpus" => cpus(reading, &place)?,
                "memory" => memory(reading, &place)?,
                "pids" if !is_reservation => pids(reading, &place)?,
                "devices" if is_reservation => devices(reading, &place)?,
                _ => {
                    let why = "of the machine a job gets cpus, memory, pids and GPUs (devices)";
                    return Err(place.says(why));
                }
            }
        }
    }
    Ok(())
}

pub(super) fn cpus(reading: &mut Reading<'_>, place: &Place<'_>) -> Result<(), Finding> {
    let milli = reading.figure("resources.cpu_milli", place, place.milli()?)?;
    reading.spec.resources.cpu_milli = milli;
    Ok(())
}

pub(super) fn memory(reading: &mut Reading<'_>, place: &Place<'_>) -> Result<(), Finding> {
    reading.spec.resources.mem_mib = reading.figure("resources.mem_mib", place, place.mib()?)?;
    Ok(())
}

pub(super) fn pids(reading: &mut Reading<'_>, place: &Place<'_>) -> Result<(), Finding> {
    reading.spec.resources.pids = reading.figure("resources.pids", place, place.number()?)?;
    Ok(())
}

/// GPUs, as `devices` and the newer `gpus` have them.
pub(super) fn devices(reading: &mut Reading<'_>, place: &Place<'_>) -> Result<(), Finding> {
    const COUNT: &str =
        "say how many GPUs, such as `count: 1`: a job's GPUs are its own, and paid for";
    if let yaml::Value::Text { .. } = place.value {
        return Err(place.says(COUNT));
    }
    let items = place.items()?;
    let [device] = items.as_slice() else {
        return Err(place.says("one entry, with the number of GPUs as its `count`"));
    };
    let (mut count, mut is_gpu) = (None, place.key.ends_with(".gpus"));
    for (name, place) in device.entries()? {
        match name {
            "driver" if place.text()? == "nvidia" => {}
            "driver" => return Err(place.says("`nvidia` is the one driver")),
            "count" if place.text()? == "all" => return Err(place.says(COUNT)),
            "count" => count = Some(place.number()?),
            "capabilities" => {
                let wanted: Result<Vec<String>, _> =
                    place.items()?.iter().map(Place::text).collect();
                let wanted = wanted?;
                is_gpu = wanted.iter().any(|one| one == "gpu");
                // Every job has these with its GPUs.
                let known = ["gpu", "nvidia", "compute", "utility"];
                if !wanted.iter().all(|one| known.contains(&one.as_str())) {
                    return Err(
                        place.says("a job's GPUs have the capabilities compute and utility")
                    );
                }
            }
            "device_ids" => {
                return Err(place.says(
                    "which GPUs is decided when the job is placed: write `count`, and a model under \
                     x-nearlight.resources.gpu.model",
                ));
            }
            _ => return Err(place.says("no GPU of a job has this: leave it out")),
        }
    }
    if !is_gpu {
        return Err(device.says("devices are GPUs: write `capabilities: [gpu]`"));
    }
    reading.came_from("resources.gpu", place);
    reading.spec.resources.gpu = Some(GpuNeed {
        count: count.ok_or_else(|| device.says(COUNT))?,
        model: None,
        vram_mib: 0,
        compute_capability: 0,
    });
    Ok(())
}

fn restart_policy(reading: &mut Reading<'_>, policy: &Place<'_>) -> Result<(), Finding> {
    let (mut when, mut most) = (RestartPolicy::Always, None);
    for (name, place) in policy.entries()? {
        match name {
            "condition" => {
                when = match place.text()?.as_str() {
                    "none" => RestartPolicy::Never,
                    "on-failure" => RestartPolicy::OnFailure,
                    "any" => RestartPolicy::Always,
                    _ => return Err(place.says("none, on-failure or any")),
                }
            }
            "max_attempts" => most = Some(place.number()?),
            _ => return Err(place.says("how long to wait is the node's: leave it out")),
        }
    }
    restarts(reading, policy, when, most);
    Ok(())
}
