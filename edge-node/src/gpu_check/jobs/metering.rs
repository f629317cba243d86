//! Whether what a job does on a GPU is metered: a job that fills a known part of its memory runs as any job does, with
//! its container, its limits, its meter and its looks at the GPU, and its line of usage is looked at.
//!
//! While it runs, both of the driver's tools are asked again, for only then is there a program that they can name.

use super::super::report::Check;
use super::site::{Next, Ran, Site};
use super::{TOOLKIT, inventory};
use crate::config::Config;
use crate::gpu::board::Board;
use crate::job::engine::Engine;
use nearlight_kit::ids;
use nearlight_protocol::api::EndReason;
use nearlight_protocol::control::Gpu;
use nearlight_protocol::id::SessionId;
use nearlight_protocol::job::{GpuNeed, JobSpec};
use std::fs;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// The images of recipes that have Python, by which the driver's library is called.
const IMAGES: [&str; 3] = [
    "nearlight/job-embeddings:1",
    "nearlight/job-jupyter:1",
    "nearlight/job-torchrun:1",
];
/// A small program of the driver's own interface: so many MiB, written again and again until it is ended.
const LOAD: &str = r"
import ctypes, sys, time
cuda = ctypes.CDLL('libcuda.so.1')
def do(name, *args):
    code = getattr(cuda, name)(*args)
    if code: raise SystemExit('%s: %d' % (name, code))
device, context, memory = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_uint64()
size = int(sys.argv[1]) * 1024 * 1024
do('cuInit', 0)
do('cuDeviceGet', ctypes.byref(device), 0)
do('cuCtxCreate_v2', ctypes.byref(context), 0, device)
do('cuMemAlloc_v2', ctypes.byref(memory), ctypes.c_size_t(size))
until = time.time() + 120
while time.time() < until:
    for _ in range(64): do('cuMemsetD8_v2', memory, 7, ctypes.c_size_t(size))
    do('cuCtxSynchronize')
";
const LOAD_MIB: u64 = 1024;
/// What a program has beside what it asks for: its context, with all kernels of the driver's.
const CONTEXT_MIB_MAX: u64 = 1536;
/// A job that was not metered by then is stopped, and judged by what was seen.
const LOAD_WITHIN: Duration = Duration::from_secs(60);
const LOOK: &str = "Look for what is wrong with it: nvidia-smi -q.";
const LOOKED_WITHIN: Duration = Duration::from_secs(20);

/// Of the first GPU that is whole, and of the first slice.
pub(super) async fn checks(config: &Config, gpus: &[Gpu], stop: &CancellationToken) -> Vec<Check> {
    let whole = gpus.iter().find(|gpu| gpu.slice_of.is_none());
    let slice = gpus.iter().find(|gpu| gpu.slice_of.is_some());
    let was_there = config.run.exists();
    let mut all = Vec::new();
    for (name, gpu) in [("jobs-metering", whole), ("jobs-metering-slice", slice)] {
        if let Some(gpu) = gpu.filter(|_| !stop.is_cancelled()) {
            all.extend(Box::pin(check((config, stop), name, gpu, gpus)).await);
        }
    }
    if !was_there {
        // What somebody else has put there meanwhile stays.
        let _ = fs::remove_dir(&config.run);
    }
    all
}

async fn check(
    (config, stop): (&Config, &CancellationToken),
    name: &'static str,
    gpu: &Gpu,
    all: &[Gpu],
) -> Vec<Check> {
    if !config.jobs.take {
        let fix = "Set it to have it tried.";
        return vec![Check::skip(
            name,
            "this node takes no jobs (`jobs.take` is false)",
            Some(fix),
        )];
    }
    if !nix::unistd::geteuid().is_root() {
        return vec![Check::skip(name, "jobs need root", Some("Run it as root."))];
    }
    let Some(image) = image().await else {
        let detail = format!("none of the images {} is here", IMAGES.join(", "));
        return vec![Check::skip(
            name,
            detail,
            Some("scripts/images.sh jobs embeddings"),
        )];
    };
    let mut site = match Box::pin(Site::open(config, stop)).await {
        Ok(site) => site,
        Err(error) => {
            let detail = format!("this machine takes no jobs: {error:#}");
            return vec![Check::fail(
                name,
                detail,
                "`nearlight doctor` says what is missing.",
            )];
        }
    };
    let offered = all.iter().map(|gpu| gpu.uuid.clone()).collect();
    let metered = Box::pin(meter(&mut site, image, (name, gpu), offered)).await;
    site.close().await;
    match metered {
        Ok((metered, same)) => [Some(judge(name, &metered)), same]
            .into_iter()
            .flatten()
            .collect(),
        Err(not_tried) => vec![not_tried],
    }
}

/// The first of the images that is here.
async fn image() -> Option<&'static str> {
    let engine = Engine::open(&ids::node()).await.ok()?;
    for image in IMAGES {
        if engine.image(image).await.is_ok() {
            return Some(image);
        }
    }
    None
}

/// What there is to judge of a job that had one GPU.
#[derive(Debug)]
struct Metered {
    load_mib: u64,
    ran: Ran,
    /// Whether a program of its container was among those of the GPU.
    was_listed: bool,
    /// Why the GPU takes no other job after it.
    not_back: Option<String>,
}

/// Runs the load, and compares both tools while it runs.
///
/// # Errors
/// No job can have the GPU.
async fn meter(
    site: &mut Site,
    image: &str,
    (name, gpu): (&'static str, &Gpu),
    offered: Vec<String>,
) -> Result<(Metered, Option<Check>), Check> {
    let uuids = [gpu.uuid.clone()];
    let failed = |why: String| Check::fail(name, why, LOOK);
    let board = (site.board()).ok_or_else(|| failed("this machine takes no jobs".to_owned()))?;
    looked(&board, &gpu.uuid).await.map_err(failed)?;
    let may_have = |board: &Board| board.check(&uuids, 1).map_err(|error| error.to_string());
    may_have(&board).map_err(|why| not_tried(name, &gpu.uuid, why, &board))?;
    let load_mib = LOAD_MIB.min(u64::from(gpu.vram_mib) / 4);
    let session = ids::session();
    let mut seen = Seen::new(gpu.uuid.clone(), load_mib, offered);
    let (own, on) = (session.clone(), board.clone());
    let job = (session, load(image, load_mib), uuids.to_vec());
    let ran = site
        .run(job, |view| seen.look(&on, &own, view.container_pid))
        .await;
    let metered = Metered {
        load_mib,
        ran,
        was_listed: seen.was_listed,
        not_back: may_have(&board).err(),
    };
    Ok((metered, seen.same))
}

/// What keeps a GPU from a job: somebody uses it, which is none of its faults, or it is not well.
fn not_tried(name: &'static str, uuid: &str, why: String, board: &Board) -> Check {
    match board.is_in_use(uuid) {
        true => Check::skip(name, why, Some("Run it again when nobody uses the GPU.")),
        false => Check::fail(name, why, LOOK),
    }
}

/// Waits for the first look at a GPU.
async fn looked(board: &Board, uuid: &str) -> Result<(), String> {
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    let first = async {
        while !board.seen().iter().any(|seen| seen.uuid == uuid) {
            ticks.tick().await;
        }
    };
    let waited = tokio::time::timeout(LOOKED_WITHIN, first).await;
    waited.map_err(|_elapsed| format!("nothing was read of {uuid}"))
}

/// A job like any other.
fn load(image: &str, mib: u64) -> JobSpec {
    let mut spec = JobSpec::of_image(image);
    spec.entrypoint = ["python3", "-c", LOAD].map(str::to_owned).into();
    spec.command = vec![mib.to_string()];
    spec.resources.mem_mib = 4096;
    spec.resources.disk_mib = 0;
    spec.resources.gpu = Some(GpuNeed {
        count: 1,
        model: None,
        vram_mib: 0,
        compute_capability: 0,
    });
    spec.time.stop_s = 2;
    spec
}

/// What is seen of it while it runs.
struct Seen {
    uuid: String,
    load_mib: u64,
    offered: Vec<String>,
    until: Instant,
    was_listed: bool,
    comparing: Option<Receiver<Check>>,
    same: Option<Check>,
}

impl Seen {
    fn new(uuid: String, load_mib: u64, offered: Vec<String>) -> Self {
        Self {
            uuid,
            load_mib,
            offered,
            until: Instant::now() + LOAD_WITHIN,
            was_listed: false,
            comparing: None,
            same: None,
        }
    }

    /// Stops it once its load was metered and both tools were compared, or when its time is over.
    fn look(&mut self, board: &Board, session: &SessionId, pid: Option<i32>) -> Next {
        if let Some(pid) = pid {
            self.was_listed |= programs(board, &self.uuid)
                .iter()
                .any(|program| is_of(*program, pid));
        }
        let is_metered = (board.used(session).iter()).any(|used| used.mib_max >= self.load_mib);
        if is_metered && self.comparing.is_none() {
            let (done, comparing) = sync_channel(1);
            let offered = self.offered.clone();
            self.comparing = Some(comparing);
            // Not waited for: a tool that hangs must not keep the job from its end.
            let _detached = std::thread::spawn(move || {
                let _ = done.send(inventory::check("jobs-inventory-loaded", &offered));
            });
        }
        let is_compared = match self.comparing.as_ref().map(Receiver::try_recv) {
            Some(Ok(check)) => {
                self.same = Some(check);
                true
            }
            Some(Err(TryRecvError::Disconnected)) => true,
            Some(Err(TryRecvError::Empty)) | None => false,
        };
        match is_compared || Instant::now() >= self.until {
            true => Next::Stop,
            false => Next::Wait,
        }
    }
}

/// Programs that compute on a GPU, as its last look has them.
fn programs(board: &Board, uuid: &str) -> Vec<u32> {
    let all = board.seen().into_iter().filter(|seen| seen.uuid == uuid);
    let programs = all.flat_map(|seen| seen.reading.processes.unwrap_or_default());
    programs.map(|program| program.pid).collect()
}

/// Whether a program is in the container whose first process is `first`.
fn is_of(program: u32, first: i32) -> bool {
    let group = |pid: String| fs::read_to_string(format!("/proc/{pid}/cgroup")).ok();
    let own = group(first.to_string());
    own.is_some() && group(program.to_string()) == own
}

fn judge(name: &'static str, metered: &Metered) -> Check {
    const HOST: &str = "In a container the agent needs the host's processes: --pid host.";
    let (ran, load) = (&metered.ran, metered.load_mib);
    if !ran.was_ready || ran.ending.reason != EndReason::PlayerEnded {
        let detail = format!(
            "the job ended with {:?}: {}",
            ran.ending.reason, ran.ending.detail
        );
        return Check::fail(name, detail, TOOLKIT);
    }
    let used = &ran.used;
    let Some((cpu_ms, mem_mib)) = used.cpu_ms.filter(|ms| *ms > 0).zip(used.mem_mib_peak) else {
        let fix = "Look what `docker stats` says of a container: its engine counts nothing.";
        return Check::fail(
            name,
            format!("its container was not metered: {used:?}"),
            fix,
        );
    };
    let known = |value: Option<u32>| value.map_or_else(|| "unknown".to_owned(), |v| v.to_string());
    let peak = used.gpu_mem_mib_peak.map(u64::from);
    if peak.is_none_or(|peak| peak < load || peak > load + CONTEXT_MIB_MAX) {
        let peak = known(used.gpu_mem_mib_peak);
        let detail = format!("usage would say {peak} MiB of a job that had {load} on its GPU");
        return Check::fail(name, detail, HOST);
    }
    if !metered.was_listed {
        return Check::fail(name, "no program of its container was listed", HOST);
    }
    if used.gpu_busy_percent_mean == Some(0) {
        let detail = "memory was written all the while, and no utilisation seen";
        return Check::fail(name, detail, "Update the driver.");
    }
    if let Some(why) = &metered.not_back {
        let fix = "Look for a program that is left: nvidia-smi.";
        return Check::fail(name, format!("after it: {why}"), fix);
    }
    Check::pass(
        name,
        format!(
            "a job had {load} MiB; usage would say {} MiB at most, {} on average, utilisation {} %, \
             {cpu_ms} ms of CPU, {mem_mib} MiB of memory; and the GPU's memory came back",
            known(used.gpu_mem_mib_peak),
            known(used.gpu_mem_mib_mean),
            known(used.gpu_busy_percent_mean),
        ),
    )
}

#[cfg(test)]
mod test;
