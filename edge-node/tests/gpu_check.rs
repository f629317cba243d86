//! `edge-node --gpu-check` as it is run by hand: JSON on standard output, and an exit status that
//! goes with it, with a GPU and without.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that fails should say where, and one that tests nothing why"
)]

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

#[test]
fn the_report_is_json_and_the_status_goes_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_edge-node"))
        .arg("--gpu-check")
        .arg("--data")
        .arg(dir.path().join("data"))
        .arg("--run")
        .arg(dir.path().join("run"))
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["passed"].as_bool(), Some(output.status.success()));
    let checks = report["checks"].as_array().unwrap();
    if let Some(why) = report["skipped"].as_str() {
        assert!(output.status.success() && checks.is_empty());
        assert!(why.contains("no NVIDIA GPU"), "{why}");
        assert!(!dir.path().join("run").exists(), "it leaves nothing behind");
        return;
    }
    assert!(!checks.is_empty());
    for check in checks {
        let failed = check["verdict"] == "fail";
        assert!(!failed || check["fix"].is_string(), "{check}");
    }
}

const L4: &str = "GPU-4b0c2f0e-5d4e-7c66-3f3a-1b6f0a6b9d11";
const H200: &str = "GPU-c1a7e1b2-0a5f-4be2-8c29-3d9be0d2ee03";
const SLICES: [&str; 2] = [
    "MIG-5be5d8a6-9b3c-5fd2-9d5d-52e0a8a4b6d4",
    "MIG-0c9e7f7e-3b0f-5cf5-b6a4-74a0d3c9f1e5",
];

/// A driver that is played: its library (`nvml.c`), and its tool, which says of the second slice that it has so much memory.
fn driver(dir: &Path, slice_mib: u32) {
    let library = Command::new("cc")
        .args(["-shared", "-fPIC", "-Wall", "-Wextra", "-o"])
        .arg(dir.join("libnvidia-ml.so.1"))
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/gpu_check/nvml.c"
        ))
        .status();
    assert!(library.unwrap().success());
    let whole = format!(
        "{L4}, NVIDIA L4, 23034, 8.9, 1, 0, Enabled, 0, 2\n{H200}, NVIDIA H200, 143771, 9.0, 585, [N/A], Enabled, 0, 0\n"
    );
    let listed = format!(
        "GPU 0: NVIDIA L4 (UUID: {L4})\nGPU 1: NVIDIA H200 (UUID: {H200})\n  MIG 3g.71gb     Device  0: (UUID: {})\n  \
         MIG 1g.18gb     Device  1: (UUID: {})\n",
        SLICES[0], SLICES[1]
    );
    let slice = |place: u32, total: u32, used: u32| {
        format!(
            "<mig_device>\n<index>{place}</index>\n<fb_memory_usage>\n<total>{total} MiB</total>\n<used>{used} MiB</used>\n\
             </fb_memory_usage>\n</mig_device>\n"
        )
    };
    let xml = format!(
        "<nvidia_smi_log>\n<gpu id=\"00000000:C1:00.0\">\n<mig_devices>\n{}{}</mig_devices>\n<uuid>{H200}</uuid>\n</gpu>\n\
         </nvidia_smi_log>\n",
        slice(0, 71_040, 45),
        slice(1, slice_mib, 540)
    );
    let programs = format!("{H200}, 31337, 488\n");
    for (name, text) in [
        ("whole", whole),
        ("listed", listed),
        ("xml", xml),
        ("programs", programs),
    ] {
        fs::write(dir.join(name), text).unwrap();
    }
    let tool = dir.join("nvidia-smi");
    let script = "#!/bin/sh\ncd \"${0%/*}\" || exit\ncase $1 in\n--query-gpu=*) cat whole ;;\n-L) cat listed ;;\n\
        --query-compute-apps=*) cat programs ;;\n-q) cat xml ;;\n*) exit 2 ;;\nesac\n";
    fs::write(&tool, script).unwrap();
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
}

/// The check on the driver that is there.
fn command(dir: &Path) -> Command {
    let path = std::env::var("PATH").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_edge-node"));
    command
        .arg("--gpu-check")
        .arg("--data")
        .arg(dir.join("data"))
        .arg("--run")
        .arg(dir.join("run"))
        // What games need is looked at no further.
        .args(["--worker", "/nonexistent"])
        .env("LD_LIBRARY_PATH", dir)
        .env("PATH", format!("{}:{path}", dir.display()));
    command
}

/// The checks on this driver, by name.
fn checked(slice_mib: u32) -> Vec<Value> {
    let dir = tempfile::tempdir().unwrap();
    driver(dir.path(), slice_mib);
    let output = command(dir.path()).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(
        !output.status.success() && report["skipped"].is_null(),
        "{report}"
    );
    assert_eq!(report["gpus"][1]["mig"], true, "{report}");
    assert!(!dir.path().join("run").exists(), "it leaves nothing behind");
    report["checks"].as_array().unwrap().clone()
}

fn named<'a>(checks: &'a [Value], name: &str) -> &'a Value {
    let found = checks.iter().find(|check| check["name"] == name);
    found.unwrap_or_else(|| panic!("there is no {name} in {checks:?}"))
}

/// Whether there is what the check's job needs: root, an engine, and an image with Python.
fn takes_jobs() -> bool {
    let is_there = |image: &str| {
        let look = Command::new("docker")
            .args(["image", "inspect", image])
            .output();
        look.is_ok_and(|look| look.status.success())
    };
    let images = ["embeddings", "jupyter", "torchrun"];
    geteuid().is_root() && (images.iter()).any(|name| is_there(&format!("nearlight/job-{name}:1")))
}

#[test]
fn gpus_of_a_driver_that_is_played_are_as_its_tool_says_and_no_job_gets_any() {
    let checks = checked(16_384);
    let inventory = named(&checks, "jobs-inventory");
    assert_eq!(inventory["verdict"], "pass", "{inventory}");
    let detail = inventory["detail"].as_str().unwrap();
    assert!(
        detail.starts_with("2 GPUs, 2 slices and 1 programs"),
        "{detail}"
    );
    assert!(
        detail.ends_with(&format!("given by neither: {H200} utilisation")),
        "{detail}"
    );
    // There is nothing behind it: what needs the engine's part of the driver does not pass.
    for name in ["jobs-container", "jobs-metering", "jobs-metering-slice"] {
        let check = named(&checks, name);
        assert!(
            check["verdict"] != "pass" && check["fix"].is_string(),
            "{check}"
        );
    }
    let metering = named(&checks, "jobs-metering");
    let detail = metering["detail"].as_str().unwrap();
    // The job came as far as the engine.
    let was_run =
        detail.starts_with("the job ended with RuntimeFailed: the container engine refused");
    let is_skipped = metering["verdict"] == "skip";
    assert_eq!(is_skipped, !takes_jobs(), "{metering}");
    assert!(is_skipped || was_run, "{metering}");
    if is_skipped {
        eprintln!("skipped: {detail}");
    }
}

/// A Ctrl-C, a `timeout`, a terminal that is closed. What was begun is brought to its end: containers, a job.
#[test]
fn a_check_that_is_told_to_stop_ends_what_it_began_and_says_nothing() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let dir = tempfile::tempdir().unwrap();
        driver(dir.path(), 16_384);
        let script = "#!/bin/sh\ncd \"${0%/*}\" || exit\n: > asked\nuntil [ -e go ]; do sleep 0.1; done\nexit 1\n";
        fs::write(dir.path().join("nvidia-smi"), script).unwrap();
        let mut child = command(dir.path()).stdout(Stdio::piped()).spawn().unwrap();
        while !dir.path().join("asked").exists() {
            assert!(child.try_wait().unwrap().is_none(), "{signal}: it is over");
            std::thread::sleep(Duration::from_millis(10));
        }
        kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
        fs::write(dir.path().join("go"), "").unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{signal}: {output:?}");
        assert_eq!(output.stdout, b"", "{signal}");
        assert!(!dir.path().join("run").exists(), "it leaves nothing behind");
    }
}

#[test]
fn a_slice_of_which_the_tool_says_something_else_fails() {
    let checks = checked(18_432);
    let inventory = named(&checks, "jobs-inventory");
    assert_eq!(inventory["verdict"], "fail", "{inventory}");
    let detail = inventory["detail"].as_str().unwrap();
    let said = format!(
        "memory of {}: 16384 by NVML, 18432 by nvidia-smi",
        SLICES[1]
    );
    assert_eq!(detail, said);
}
