//! GPUs as jobs have them: what is offered is what nvidia-smi lists, a container sees its own and no other, and what
//! a program uses is metered.

use super::report::Check;
use crate::gpu::{self, Reading, Used};
use crate::job::devices;
use crate::job::engine::Engine;
use bollard::models::{ContainerCreateBody, HostConfig};
use nearlight_protocol::control::Gpu;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What every built-in game stands on; the toolkit brings nvidia-smi into it.
const IMAGE: &str = "nearlight/base:1";
const QUERY: [&str; 2] = [
    "--query-gpu=uuid,name,memory.total,compute_cap",
    "--format=csv,noheader,nounits",
];
const TOOLKIT: &str = "Install the NVIDIA Container Toolkit and let it describe the GPUs: nvidia-ctk cdi generate \
    --output=/etc/cdi/nvidia.yaml; `nearlight doctor` says what is stale.";
/// A small program of the driver's own interface: 256 MiB, written again and again for five seconds.
const LOAD: &str = r"
import ctypes, time
cuda = ctypes.CDLL('libcuda.so.1')
def do(name, *args):
    code = getattr(cuda, name)(*args)
    if code: raise SystemExit('%s: %d' % (name, code))
device, context, memory = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_uint64()
size = 256 * 1024 * 1024
do('cuInit', 0)
do('cuDeviceGet', ctypes.byref(device), 0)
do('cuCtxCreate_v2', ctypes.byref(context), 0, device)
do('cuMemAlloc_v2', ctypes.byref(memory), ctypes.c_size_t(size))
until = time.time() + 5
while time.time() < until:
    for _ in range(64): do('cuMemsetD8_v2', memory, 7, ctypes.c_size_t(size))
    do('cuCtxSynchronize')
";
const LOAD_MIB: u64 = 256;
const LOAD_WITHIN: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Looks at all of it.
pub(super) async fn checks() -> Vec<Check> {
    let ours = gpu::all_as_for_jobs();
    let mut all = vec![inventory(&ours)];
    let Some(first) = ours.first() else {
        return all;
    };
    all.push(container(&first.uuid).await);
    let uuid = first.uuid.clone();
    let metered = tokio::task::spawn_blocking(move || metering(&uuid)).await;
    all.push(metered.unwrap_or_else(|error| {
        let fix = "This is a bug, please report it.";
        Check::fail("jobs-metering", error.to_string(), fix)
    }));
    all
}

fn inventory(ours: &[Gpu]) -> Check {
    const NAME: &str = "jobs-inventory";
    let (Some(whole), Some(listed)) = (said("nvidia-smi", &QUERY), said("nvidia-smi", &["-L"]))
    else {
        let fix = "It comes with the driver (Debian: nvidia-smi).";
        return Check::skip(NAME, "nvidia-smi is not here, or fails", Some(fix));
    };
    judge_inventory(ours, &whole, &listed)
}

/// Whether what is offered is what nvidia-smi says: `whole` of GPUs, `listed` of GPUs and slices.
fn judge_inventory(ours: &[Gpu], whole: &str, listed: &str) -> Check {
    const NAME: &str = "jobs-inventory";
    const FIX: &str =
        "Two tools of one driver should agree: restart after an update of the driver.";
    for line in whole.lines() {
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let [uuid, model, mib, capability] = fields[..] else {
            let detail = format!("nvidia-smi says what is not understood: {line}");
            return Check::fail(NAME, detail, FIX);
        };
        // One that is cut is not offered; its slices are.
        let Some(own) = ours.iter().find(|gpu| gpu.uuid == uuid) else {
            continue;
        };
        let ten = capability.replace('.', "").parse().unwrap_or(0);
        let same =
            own.model == model && mib.parse() == Ok(own.vram_mib) && own.compute_capability == ten;
        if !same {
            return Check::fail(NAME, format!("{own:?}, and nvidia-smi says {line}"), FIX);
        }
    }
    let uuids: Vec<&str> = listed.lines().filter_map(uuid_of).collect();
    let unknown = ours.iter().find(|gpu| !uuids.contains(&gpu.uuid.as_str()));
    if let Some(gpu) = unknown {
        return Check::fail(NAME, format!("nvidia-smi does not list {}", gpu.uuid), FIX);
    }
    let is_offered = |uuid: &&str| ours.iter().any(|gpu| gpu.uuid == *uuid);
    let is_cut = |at: usize| {
        uuids
            .get(at + 1)
            .is_some_and(|next| next.starts_with("MIG-"))
    };
    let missing = uuids.iter().enumerate();
    let mut missing = missing.filter(|(at, uuid)| !is_offered(uuid) && !is_cut(*at));
    match missing.next() {
        Some((_, uuid)) => Check::fail(NAME, format!("{uuid} is not offered to jobs"), FIX),
        None => Check::pass(
            NAME,
            format!("{} GPUs and slices as nvidia-smi lists them", ours.len()),
        ),
    }
}

fn uuid_of(line: &str) -> Option<&str> {
    let (_, uuid) = line.split_once("UUID: ")?;
    Some(uuid.trim_end_matches(')').trim())
}

/// A container asked for as a job's is, in which nvidia-smi lists what it sees.
async fn container(uuid: &str) -> Check {
    const NAME: &str = "jobs-container";
    let node = nearlight_kit::ids::node();
    let engine = match Engine::open(&node).await {
        Ok(engine) => engine,
        Err(error) => {
            let fix = "Install Docker and the NVIDIA Container Toolkit.";
            return Check::skip(
                NAME,
                format!("no Docker engine answers ({error})"),
                Some(fix),
            );
        }
    };
    if engine.image(IMAGE).await.is_err() {
        let detail = format!("the image {IMAGE} is not here");
        return Check::skip(NAME, detail, Some("make images"));
    }
    let dirs = engine.about().await.map(|about| about.cdi_dirs);
    let uuids = [uuid.to_owned()];
    let request = devices::request(&uuids, None, &dirs.unwrap_or_default());
    let driver = request.as_ref().and_then(|request| request.driver.clone());
    let body = ContainerCreateBody {
        image: Some(IMAGE.to_owned()),
        entrypoint: Some(vec!["nvidia-smi".to_owned()]),
        cmd: Some(vec!["-L".to_owned()]),
        env: Some(devices::environment(request.as_ref(), &uuids, &[])),
        host_config: Some(HostConfig {
            device_requests: request.map(|request| vec![request]),
            network_mode: Some("none".to_owned()),
            readonly_rootfs: Some(true),
            cap_drop: Some(vec!["ALL".to_owned()]),
            runtime: Some("runc".to_owned()),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    };
    let name = format!("nearlight-{}-gpus", nearlight_kit::ids::session());
    let seen = engine.output_of(&name, &body).await;
    let driver = driver.unwrap_or_default();
    match seen {
        Ok(seen) => judge_container(uuid, &driver, &seen),
        Err(error) => Check::fail(NAME, error.to_string(), TOOLKIT),
    }
}

fn judge_container(uuid: &str, driver: &str, seen: &str) -> Check {
    const NAME: &str = "jobs-container";
    let uuids: Vec<&str> = seen.lines().filter_map(uuid_of).collect();
    let own = |seen: &&&str| **seen == uuid;
    let others = uuids
        .iter()
        .filter(|seen| !own(seen) && !is_parent(uuid, seen));
    if let Some(other) = others.clone().next() {
        let detail = format!("a container with {uuid} alone sees {other}, too");
        let fix = "The engine's default runtime adds GPUs: set accept-nvidia-visible-devices-envvar-when-unprivileged \
            = false in /etc/nvidia-container-runtime/config.toml.";
        return Check::fail(NAME, detail, fix);
    }
    match uuids.contains(&uuid) {
        true => Check::pass(
            NAME,
            format!("a container sees {uuid} and no other, through {driver}"),
        ),
        false => {
            let detail = format!("a container with {uuid} does not see it: {}", seen.trim());
            Check::fail(NAME, detail, TOOLKIT)
        }
    }
}

/// nvidia-smi lists a slice below the GPU that it is of.
fn is_parent(uuid: &str, seen: &str) -> bool {
    uuid.starts_with("MIG-") && seen.starts_with("GPU-")
}

/// Runs a small load, and reads the GPU meanwhile and afterwards.
fn metering(uuid: &str) -> Check {
    const NAME: &str = "jobs-metering";
    let Some(before) = gpu::read(uuid) else {
        let detail = "NVML reads nothing of the GPU";
        return Check::fail(NAME, detail, "Restart after an update of the driver.");
    };
    let load = Command::new("python3")
        .args(["-c", LOAD])
        .env("CUDA_VISIBLE_DEVICES", uuid)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut load) = load else {
        return Check::skip(
            NAME,
            "python3 is not here to make a load",
            Some("apt-get install python3"),
        );
    };
    let (pid, until) = (load.id(), Instant::now() + LOAD_WITHIN);
    let mut looks = Vec::new();
    let status = loop {
        match load.try_wait() {
            Ok(Some(status)) => break Some(status),
            Ok(None) if Instant::now() < until => {}
            Ok(None) | Err(_) => {
                // It has ended, or nobody can say: there is nothing left to do about it.
                let _ = load.kill();
                let _ = load.wait();
                break None;
            }
        }
        looks.extend(gpu::read(uuid));
        std::thread::sleep(LOOK_AGAIN);
    };
    if !status.is_some_and(|status| status.success()) {
        let detail = "the load did not run: it takes libcuda.so.1";
        return Check::skip(
            NAME,
            detail,
            Some("Install the driver's CUDA library (Debian: libcuda1)."),
        );
    }
    let after = gpu::read(uuid).unwrap_or_default();
    judge_metering(pid, &before, &looks, &after)
}

/// Whether a load of so much memory, by this process, was seen while it ran, and is gone.
fn judge_metering(pid: u32, before: &Reading, looks: &[Reading], after: &Reading) -> Check {
    const NAME: &str = "jobs-metering";
    const FIX: &str = "In a container the agent needs the host's processes: --pid host.";
    let used = |reading: &Reading| reading.used_mib.unwrap_or(0);
    let most = looks.iter().map(used).max().unwrap_or(0);
    if most < used(before) + LOAD_MIB {
        let detail = format!(
            "{LOAD_MIB} MiB were in use, and {most} seen of {} before",
            used(before)
        );
        return Check::fail(NAME, detail, FIX);
    }
    let shown = |reading: &Reading| {
        let all = reading.processes.iter().flatten();
        all.clone().any(|process| process.pid == pid)
    };
    if !looks.iter().any(shown) {
        return Check::fail(NAME, format!("process {pid} was not listed"), FIX);
    }
    let busy = looks.iter().filter_map(|look| look.busy_percent).max();
    if busy == Some(0) {
        let detail = "memory was written for seconds, and no utilisation seen";
        return Check::fail(NAME, detail, "Update the driver.");
    }
    if used(after) > used(before) + LOAD_MIB / 2 {
        let detail = format!(
            "{} MiB are still in use after it, {} before",
            used(after),
            used(before)
        );
        return Check::fail(NAME, detail, "Look for a program that is left: nvidia-smi.");
    }
    let facts = Used::facts(&[Used::over(looks, before.used_mib)]);
    let known = |value: Option<u32>, unit: &str| {
        value.map_or_else(|| "unknown".to_owned(), |value| format!("{value} {unit}"))
    };
    let [peak, mean, busy] = [
        known(facts.gpu_mem_mib_peak, "MiB"),
        known(facts.gpu_mem_mib_mean, "MiB"),
        known(facts.gpu_busy_percent_mean, "%"),
    ];
    if facts
        .gpu_mem_mib_peak
        .is_none_or(|peak| u64::from(peak) < LOAD_MIB)
    {
        let detail = format!("usage would say {peak} of a program that had {LOAD_MIB} MiB");
        return Check::fail(NAME, detail, FIX);
    }
    Check::pass(
        NAME,
        format!(
            "{most} MiB in use at most; usage would say {peak}, {mean} on average, utilisation {busy}; \
             and the memory came back"
        ),
    )
}

/// What a small tool of the driver's says.
fn said(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new("timeout")
        .arg("20")
        .arg(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then_some(text)
}

#[cfg(test)]
mod test {
    use super::super::Verdict::{self, Fail, Pass};
    use super::*;
    use crate::gpu::Process;

    fn l4() -> Gpu {
        Gpu {
            uuid: "GPU-1".to_owned(),
            model: "NVIDIA L4".to_owned(),
            vram_mib: 23_034,
            compute_capability: 89,
            ..Gpu::default()
        }
    }

    fn is(check: &Check, verdict: Verdict) {
        assert_eq!(check.verdict, verdict, "{check:?}");
        assert_eq!(check.fix.is_some(), verdict == Fail, "{check:?}");
    }

    #[test]
    fn what_is_offered_is_what_nvidia_smi_says() {
        let whole = "GPU-1, NVIDIA L4, 23034, 8.9\n";
        let listed = "GPU 0: NVIDIA L4 (UUID: GPU-1)\n";
        is(&judge_inventory(&[l4()], whole, listed), Pass);
        is(&judge_inventory(&[], whole, listed), Fail);
        is(&judge_inventory(&[l4()], whole, ""), Fail);
        let other = whole.replace("23034", "24564");
        is(&judge_inventory(&[l4()], &other, listed), Fail);
        is(&judge_inventory(&[l4()], "GPU-1; L4", listed), Fail);
        // A GPU that is cut is no job's, and its slices are.
        let cut = "GPU 0: NVIDIA A100 (UUID: GPU-2)\n  MIG 1g.5gb     Device  0: (UUID: MIG-3)\n";
        let whole = "GPU-2, NVIDIA A100, 40960, 8.0\n";
        let slice = Gpu {
            uuid: "MIG-3".to_owned(),
            ..l4()
        };
        is(&judge_inventory(&[slice], whole, cut), Pass);
        is(&judge_inventory(&[], whole, cut), Fail);
    }

    #[test]
    fn a_container_has_to_see_its_own_gpu_and_no_other() {
        let one = "GPU 0: NVIDIA L4 (UUID: GPU-1)\n";
        is(&judge_container("GPU-1", "cdi", one), Pass);
        is(&judge_container("GPU-2", "cdi", one), Fail);
        is(&judge_container("GPU-1", "cdi", "No devices found."), Fail);
        let two = format!("{one}GPU 1: NVIDIA L4 (UUID: GPU-2)\n");
        is(&judge_container("GPU-1", "nvidia", &two), Fail);
        let slice = format!("{one}  MIG 1g.5gb Device 0: (UUID: MIG-3)\n");
        is(&judge_container("MIG-3", "nvidia", &slice), Pass);
    }

    #[test]
    fn a_load_has_to_be_seen_while_it_runs_and_to_be_gone_afterwards() {
        let reading = |used_mib, pid: Option<u32>, busy_percent| Reading {
            used_mib: Some(used_mib),
            processes: Some(
                pid.map(|pid| Process {
                    pid,
                    used_mib: None,
                })
                .into_iter()
                .collect(),
            ),
            busy_percent,
            ..Reading::default()
        };
        let free = reading(4, None, Some(0));
        let judge = |look, after: &Reading| judge_metering(7, &free, &[look], after);
        is(&judge(reading(420, Some(7), Some(80)), &free), Pass);
        is(&judge(reading(420, Some(7), None), &free), Pass);
        is(&judge(reading(200, Some(7), Some(80)), &free), Fail);
        is(&judge(reading(420, Some(8), Some(80)), &free), Fail);
        is(&judge(reading(420, Some(7), Some(0)), &free), Fail);
        is(
            &judge(reading(420, Some(7), Some(80)), &reading(420, None, None)),
            Fail,
        );
    }
}
