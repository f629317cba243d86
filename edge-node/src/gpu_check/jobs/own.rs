//! Whether a container sees exactly the GPU that it was asked for: each GPU and slice of the machine in turn, by every way
//! of asking that the engine has. Jobs get the first way that is there; the other one may be refused, as the hook is by a
//! toolkit that is set to CDI, but must show no more.

use super::super::report::Check;
use super::TOOLKIT;
use super::smi::uuid_of;
use crate::job::devices;
use crate::job::engine::Engine;
use bollard::models::{ContainerCreateBody, DeviceRequest, HostConfig};
use std::path::PathBuf;
use tokio_util::sync::CancellationToken;

const NAME: &str = "jobs-container";
/// What every built-in game stands on; the toolkit brings nvidia-smi into it.
const IMAGE: &str = "nearlight/base:1";
/// What Docker says of a driver of devices that it has not.
const NO_DRIVER: &str = "could not select device driver";

/// What came of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    /// What nvidia-smi lists in it.
    Saw(String),
    /// The engine knows no such way.
    NoWay,
    /// It was refused, or did not end.
    Failed(String),
}

/// A container by one way of asking.
#[derive(Clone, Debug)]
struct Look {
    uuid: String,
    driver: String,
    /// Whether jobs are asked for like that.
    is_jobs: bool,
    outcome: Outcome,
}

pub(super) async fn check(uuids: &[String], stop: &CancellationToken) -> Check {
    let node = nearlight_kit::ids::node();
    let engine = match Engine::open(&node).await {
        Ok(engine) => engine,
        Err(error) => {
            let fix = "Install Docker and the NVIDIA Container Toolkit.";
            let detail = format!("no Docker engine answers ({error})");
            return Check::skip(NAME, detail, Some(fix));
        }
    };
    if engine.image(IMAGE).await.is_err() {
        let detail = format!("the image {IMAGE} is not here");
        return Check::skip(NAME, detail, Some("make images"));
    }
    let dirs = engine.about().await.map(|about| about.cdi_dirs);
    let dirs: Vec<PathBuf> = dirs.unwrap_or_default();
    let mut looks = Vec::new();
    for uuid in uuids {
        let ways = devices::ways(std::slice::from_ref(uuid), None, &dirs);
        for (at, request) in ways.into_iter().enumerate() {
            if stop.is_cancelled() {
                break;
            }
            looks.push(Look {
                uuid: uuid.clone(),
                driver: request.driver.clone().unwrap_or_default(),
                is_jobs: at == 0,
                outcome: look(&engine, uuid, request).await,
            });
        }
    }
    judge(&looks)
}

/// A container asked for as a job's is, in which nvidia-smi lists what it sees.
async fn look(engine: &Engine, uuid: &str, request: DeviceRequest) -> Outcome {
    let body = ContainerCreateBody {
        image: Some(IMAGE.to_owned()),
        entrypoint: Some(vec!["nvidia-smi".to_owned()]),
        cmd: Some(vec!["-L".to_owned()]),
        env: Some(devices::environment(
            Some(&request),
            &[uuid.to_owned()],
            &[],
        )),
        host_config: Some(HostConfig {
            device_requests: Some(vec![request]),
            network_mode: Some("none".to_owned()),
            readonly_rootfs: Some(true),
            cap_drop: Some(vec!["ALL".to_owned()]),
            runtime: Some("runc".to_owned()),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    };
    let name = format!("nearlight-{}-gpus", nearlight_kit::ids::session());
    match engine.output_of(&name, &body).await {
        Ok(seen) => Outcome::Saw(seen),
        Err(error) if is_no_way(&error) => Outcome::NoWay,
        Err(error) => Outcome::Failed(error.to_string()),
    }
}

fn is_no_way(error: &dyn std::error::Error) -> bool {
    error.to_string().contains(NO_DRIVER)
}

fn judge(looks: &[Look]) -> Check {
    for look in looks {
        let refused = match &look.outcome {
            Outcome::Saw(seen) => judge_seen(&look.uuid, &look.driver, seen),
            // Jobs have the other one.
            Outcome::NoWay | Outcome::Failed(_) if !look.is_jobs => None,
            Outcome::NoWay => {
                let detail = format!("the engine gives no GPU through {}", look.driver);
                Some(Check::fail(NAME, detail, TOOLKIT))
            }
            Outcome::Failed(why) => {
                let detail = format!("{} through {}: {why}", look.uuid, look.driver);
                Some(Check::fail(NAME, detail, TOOLKIT))
            }
        };
        if let Some(refused) = refused {
            return refused;
        }
    }
    let of = |driver: &str| {
        let own = looks.iter().filter(|look| look.driver == driver);
        let tried = own.clone().count();
        let saw = own
            .clone()
            .filter(|look| matches!(look.outcome, Outcome::Saw(_)));
        let said = match (saw.count(), tried) {
            (0, 0) => format!("not tried through {driver}, for no spec names them"),
            (0, _) if own.clone().all(|look| look.outcome == Outcome::NoWay) => {
                format!("{driver} is not at this engine")
            }
            (saw, _) => format!("{saw} through {driver}"),
        };
        let failed = own.filter_map(|look| match &look.outcome {
            Outcome::Failed(why) => Some((&look.uuid, why)),
            Outcome::Saw(_) | Outcome::NoWay => None,
        });
        match failed.clone().next() {
            Some((uuid, why)) => {
                let count = failed.count();
                format!("{said} ({count} refused, which no job takes; {uuid}: {why})")
            }
            None => said,
        }
    };
    let detail = format!(
        "a container sees its own GPU or slice and no other: {}, {}",
        of("cdi"),
        of("nvidia")
    );
    Check::pass(NAME, detail)
}

/// What is wrong with what a container with this GPU alone sees.
fn judge_seen(uuid: &str, driver: &str, seen: &str) -> Option<Check> {
    let uuids: Vec<&str> = seen.lines().filter_map(uuid_of).collect();
    let mut others = uuids
        .iter()
        .filter(|seen| **seen != uuid && !is_parent(uuid, seen));
    if let Some(other) = others.next() {
        let detail = format!("a container with {uuid} alone, through {driver}, sees {other}, too");
        let fix = "The engine's default runtime adds GPUs: set accept-nvidia-visible-devices-envvar-when-unprivileged \
            = false in /etc/nvidia-container-runtime/config.toml.";
        return Some(Check::fail(NAME, detail, fix));
    }
    if uuids.contains(&uuid) {
        return None;
    }
    let seen = seen.trim();
    let detail = format!("a container with {uuid}, through {driver}, does not see it: {seen}");
    Some(Check::fail(NAME, detail, TOOLKIT))
}

/// nvidia-smi lists a slice below the GPU that it is of.
fn is_parent(uuid: &str, seen: &str) -> bool {
    uuid.starts_with("MIG-") && seen.starts_with("GPU-")
}

#[cfg(test)]
mod test {
    use super::super::super::Verdict::{self, Fail, Pass};
    use super::super::skipped;
    use super::*;
    use crate::runtime::RuntimeError;
    use std::path::Path;

    fn look(uuid: &str, driver: &str, outcome: Outcome) -> Look {
        Look {
            uuid: uuid.to_owned(),
            driver: driver.to_owned(),
            is_jobs: driver == "cdi",
            outcome,
        }
    }

    fn saw(uuids: &[&str]) -> Outcome {
        let line = |uuid: &&str| match uuid.starts_with("MIG-") {
            true => format!("  MIG 1g.5gb     Device  0: (UUID: {uuid})\n"),
            false => format!("GPU 0: NVIDIA L4 (UUID: {uuid})\n"),
        };
        Outcome::Saw(uuids.iter().map(line).collect())
    }

    fn is(looks: &[Look], verdict: Verdict, words: &str) {
        let check = judge(looks);
        assert_eq!(check.verdict, verdict, "{check:?}");
        assert_eq!(check.fix.is_some(), verdict == Fail, "{check:?}");
        assert!(check.detail.contains(words), "{words}: {check:?}");
    }

    #[test]
    fn a_container_has_to_see_its_own_gpu_and_no_other() {
        let one = |uuid, seen: &[&str]| [look(uuid, "cdi", saw(seen))];
        is(&one("GPU-1", &["GPU-1"]), Pass, "1 through cdi");
        is(&one("GPU-2", &["GPU-1"]), Fail, "GPU-1, too");
        is(&one("GPU-1", &["GPU-1", "GPU-2"]), Fail, "GPU-2, too");
        is(&one("MIG-3", &["GPU-1", "MIG-3"]), Pass, "1 through cdi");
        is(
            &one("MIG-3", &["GPU-1", "MIG-3", "MIG-4"]),
            Fail,
            "MIG-4, too",
        );
        is(&one("GPU-1", &["GPU-1", "MIG-4"]), Fail, "MIG-4, too");
        let none = Outcome::Saw("No devices found.".to_owned());
        is(&[look("GPU-1", "cdi", none)], Fail, "No devices found");
    }

    #[test]
    fn every_gpu_has_to_be_seen_by_every_way_that_is_there() {
        let both = |second: Outcome, by_hook: Outcome| {
            [
                look("GPU-1", "cdi", saw(&["GPU-1"])),
                look("GPU-1", "nvidia", saw(&["GPU-1"])),
                look("GPU-2", "cdi", second),
                look("GPU-2", "nvidia", by_hook),
            ]
        };
        let own = saw(&["GPU-2"]);
        is(
            &both(own.clone(), own.clone()),
            Pass,
            "2 through cdi, 2 through nvidia",
        );
        is(
            &both(saw(&["GPU-1"]), own.clone()),
            Fail,
            "through cdi, sees GPU-1",
        );
        is(
            &both(own.clone(), saw(&["GPU-1"])),
            Fail,
            "through nvidia, sees GPU-1",
        );
        let failed = Outcome::Failed("no such device".to_owned());
        is(&both(failed, own), Fail, "no such device");
    }

    #[test]
    fn a_way_that_no_job_takes_may_be_refused() {
        let why = "invoking the NVIDIA Container Runtime Hook directly is not supported";
        let hook = look("GPU-1", "nvidia", Outcome::Failed(why.to_owned()));
        let cdi = look("GPU-1", "cdi", saw(&["GPU-1"]));
        let words = format!(
            "1 through cdi, 0 through nvidia (1 refused, which no job takes; GPU-1: {why})"
        );
        is(&[cdi, hook.clone()], Pass, &words);
        let jobs = Look {
            is_jobs: true,
            ..hook
        };
        is(&[jobs], Fail, why);
    }

    #[test]
    fn a_way_that_the_engine_has_not_is_missed_only_by_jobs_that_take_it() {
        let cdi = look("GPU-1", "cdi", saw(&["GPU-1"]));
        let hook = look("GPU-1", "nvidia", Outcome::NoWay);
        is(&[cdi, hook.clone()], Pass, "nvidia is not at this engine");
        let jobs = Look {
            is_jobs: true,
            ..hook
        };
        is(&[jobs], Fail, "gives no GPU through nvidia");
        let alone = Look {
            is_jobs: true,
            ..look("GPU-1", "nvidia", saw(&["GPU-1"]))
        };
        is(&[alone], Pass, "not tried through cdi");
    }

    /// As an engine without NVIDIA's toolkit answers.
    #[tokio::test]
    async fn an_engine_without_the_toolkit_is_known_by_what_it_says() {
        let Ok(engine) = Engine::open(&nearlight_kit::ids::node()).await else {
            return skipped("no container engine answers");
        };
        if engine.image(IMAGE).await.is_err() {
            return skipped("the image nearlight/base:1 is not here");
        }
        if Path::new("/proc/driver/nvidia/version").exists() {
            return skipped("there is a GPU here");
        }
        let uuid = "GPU-00000000-0000-0000-0000-000000000000";
        let ways = devices::ways(&[uuid.to_owned()], None, &[]);
        let [by_hook] = <[DeviceRequest; 1]>::try_from(ways).expect("no spec, no CDI");
        assert_eq!(super::look(&engine, uuid, by_hook).await, Outcome::NoWay);
        let other = RuntimeError::Deadline { action: "start" };
        assert!(!is_no_way(&other));
    }
}
