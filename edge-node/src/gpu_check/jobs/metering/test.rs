use super::super::super::Verdict::{self, Fail, Pass, Skip};
use super::super::skipped;
use super::*;
use crate::args::Args;
use crate::gpu::{Process, Reading};
use crate::session::machine::Ending;
use clap::Parser;
use nearlight_protocol::usage::UsageFacts;
use std::process::Command;

fn metered() -> Metered {
    Metered {
        load_mib: 1024,
        ran: Ran {
            ending: Ending {
                reason: EndReason::PlayerEnded,
                detail: String::new(),
            },
            used: UsageFacts {
                cpu_ms: Some(4000),
                mem_mib_peak: Some(190),
                gpu_mem_mib_peak: Some(1538),
                gpu_mem_mib_mean: Some(1100),
                gpu_busy_percent_mean: Some(93),
            },
            was_ready: true,
        },
        was_listed: true,
        not_back: None,
    }
}

fn is(change: impl FnOnce(&mut Metered), verdict: Verdict, words: &str) {
    let mut metered = metered();
    change(&mut metered);
    let check = judge("jobs-metering", &metered);
    assert_eq!(check.verdict, verdict, "{words}: {check:?}");
    assert_eq!(check.fix.is_some(), verdict == Fail, "{check:?}");
    assert!(check.detail.contains(words), "{words}: {check:?}");
}

#[test]
fn what_usage_says_of_a_job_is_what_it_had_on_its_gpu() {
    is(
        |_| {},
        Pass,
        "usage would say 1538 MiB at most, 1100 on average",
    );
    // A slice has no utilisation of its own.
    is(
        |m| m.ran.used.gpu_busy_percent_mean = None,
        Pass,
        "utilisation unknown",
    );
    is(
        |m| m.ran.used.gpu_busy_percent_mean = Some(0),
        Fail,
        "no utilisation",
    );
    is(
        |m| m.ran.used.gpu_mem_mib_peak = Some(1000),
        Fail,
        "1000 MiB of a job that had 1024",
    );
    is(
        |m| m.ran.used.gpu_mem_mib_peak = Some(9000),
        Fail,
        "9000 MiB",
    );
    is(|m| m.ran.used.gpu_mem_mib_peak = None, Fail, "unknown MiB");
    is(|m| m.ran.used.cpu_ms = None, Fail, "not metered");
    is(|m| m.ran.used.cpu_ms = Some(0), Fail, "not metered");
    is(|m| m.ran.used.mem_mib_peak = None, Fail, "not metered");
    is(
        |m| m.was_listed = false,
        Fail,
        "no program of its container",
    );
    is(
        |m| m.not_back = Some("1600 MiB are in use".to_owned()),
        Fail,
        "after it: 1600 MiB",
    );
}

#[test]
fn a_job_that_did_not_run_says_what_it_said() {
    let failed = Ending {
        reason: EndReason::JobFailed,
        detail: "cuInit: 100".to_owned(),
    };
    is(|m| m.ran.ending = failed, Fail, "JobFailed: cuInit: 100");
    is(|m| m.ran.was_ready = false, Fail, "the job ended");
}

#[test]
fn a_gpu_that_somebody_uses_is_skipped_and_a_sick_one_fails() {
    const UUID: &str = "GPU-1";
    let judged = |reading: Reading, xids: &[u64]| {
        let board = Board::new(vec![gpu(UUID)]);
        let seen = (reading, xids.iter().copied().collect());
        board.look(&[(UUID.to_owned(), seen)].into());
        let why = board.check(&[UUID.to_owned()], 1).unwrap_err();
        not_tried("jobs-metering", UUID, why.to_string(), &board)
    };
    let busy = Reading {
        processes: Some(vec![Process {
            pid: 7,
            used_mib: None,
        }]),
        ..Reading::default()
    };
    let full = Reading {
        used_mib: Some(9000),
        ..Reading::default()
    };
    for (used, words) in [(busy.clone(), "process 7"), (full, "9000 MiB")] {
        let check = judged(used, &[]);
        assert_eq!(check.verdict, Skip, "{check:?}");
        assert!(check.detail.contains(words), "{check:?}");
        assert!(check.fix.is_some());
    }
    // What is wrong with it comes first.
    assert_eq!(judged(busy, &[79]).verdict, Fail);
}

fn gpu(uuid: &str) -> Gpu {
    Gpu {
        uuid: uuid.to_owned(),
        ..Gpu::default()
    }
}

#[tokio::test]
async fn a_node_that_takes_no_jobs_meters_none() {
    let line = Args::parse_from(["edge-node", "--run", "/nonexistent/run"]);
    let mut config = Config::load(&line, &crate::preflight::host()).unwrap();
    config.jobs.take = false;
    let stop = CancellationToken::new();
    let all = Box::pin(checks(&config, &[gpu("GPU-1")], &stop)).await;
    let [check] = <[Check; 1]>::try_from(all).unwrap();
    assert_eq!(check.verdict, Skip, "{check:?}");
    assert!(check.detail.contains("jobs.take"), "{check:?}");
}

#[test]
fn a_program_is_its_containers_by_its_control_group() {
    let own = i32::try_from(std::process::id()).unwrap();
    assert!(is_of(std::process::id(), own));
    assert!(!is_of(u32::MAX, own) && !is_of(std::process::id(), i32::MAX));
}

/// The check's own node, and a job on it that has no GPU. Needs a Docker engine with our base image, and root.
#[tokio::test]
async fn a_job_of_the_check_runs_and_is_metered_as_any_and_nothing_of_it_is_left() {
    if let Some(ran) = Box::pin(ended(|_| Next::Stop)).await {
        assert!(ran.used.cpu_ms.is_some_and(|ms| ms > 0), "{ran:?}");
        assert!(ran.used.mem_mib_peak.is_some_and(|mib| mib > 0), "{ran:?}");
        assert_eq!(ran.used.gpu_mem_mib_peak, None);
    }
}

#[tokio::test]
async fn a_check_that_is_told_to_stop_leaves_nothing_of_its_job() {
    Box::pin(ended(|stop| {
        stop.cancel();
        Next::Wait
    }))
    .await;
}

/// A job that ends by what is done as soon as its container runs; nothing of it is left. `None` where none can run.
async fn ended(end: impl Fn(&CancellationToken) -> Next) -> Option<Ran> {
    const IMAGE: &str = "nearlight/base:1";
    let engine = match Engine::open(&ids::node()).await {
        Ok(engine) if nix::unistd::geteuid().is_root() => engine,
        Ok(_) => {
            skipped("jobs need root");
            return None;
        }
        Err(_) => {
            skipped("no container engine answers");
            return None;
        }
    };
    if engine.image(IMAGE).await.is_err() {
        skipped("the image nearlight/base:1 is not here");
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let [data, run] = ["data", "run"].map(|name| dir.path().join(name));
    let line = [
        "edge-node",
        "--data",
        data.to_str().unwrap(),
        "--run",
        run.to_str().unwrap(),
    ];
    let config = Config::load(&Args::parse_from(line), &crate::preflight::host()).unwrap();
    let stop = CancellationToken::new();
    let mut site = Box::pin(Site::open(&config, &stop)).await.unwrap();
    let node = site.node();
    let mut spec = JobSpec::of_image(IMAGE);
    spec.entrypoint = ["/bin/sh", "-c", "while :; do :; done"]
        .map(str::to_owned)
        .into();
    (spec.resources.disk_mib, spec.time.stop_s) = (0, 1);
    let mut was_there = false;
    let look = |view: &crate::session::driver::View| {
        let Some(pid) = view.container_pid else {
            return Next::Wait;
        };
        was_there |= is_of(u32::try_from(pid).unwrap(), pid);
        end(&stop)
    };
    let ran = Box::pin(site.run((ids::session(), spec, Vec::new()), look)).await;
    assert!(was_there);
    assert!(ran.was_ready, "{ran:?}");
    assert_eq!(ran.ending.reason, EndReason::PlayerEnded, "{ran:?}");
    site.close().await;
    let left = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let label = format!("label=nearlight.node={node}");
    assert_eq!(left("docker", &["ps", "-aq", "--filter", &label]), "");
    assert_eq!(
        left("docker", &["network", "ls", "-q", "--filter", &label]),
        ""
    );
    assert!(!left("iptables", &["-w", "-S"]).contains(node.as_str()));
    assert_eq!(fs::read_dir(&run).unwrap().count(), 0);
    assert!(!data.exists());
    Some(ran)
}
