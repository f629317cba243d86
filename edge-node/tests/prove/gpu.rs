//! GPUs of a node, each proved by a program of its own: Mesa's lavapipe and llvmpipe play two of them, by Vulkan and by
//! GL (package mesa-vulkan-drivers).

use super::{LOOK_EVERY, Site};
use nearlight_proof::receipt::predicate::Finding;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

pub(super) const MESA: &str = "adapter = \"llvmpipe\"";

impl Site {
    /// With Mesa's CPUs as GPUs, and what they are called.
    async fn with_gpus() -> (Self, Vec<String>) {
        let site = Self::start_with(|_| {}, MESA).await;
        let probe = loop {
            match site.open().await {
                Ok(probe) => break probe,
                Err(_) => tokio::time::sleep(LOOK_EVERY).await,
            }
        };
        site.end(&probe).await;
        let gpus = probe.offer.gpus;
        let none = "no Vulkan and no GL here; install mesa-vulkan-drivers and libvulkan1";
        assert!(gpus.iter().all(|gpu| gpu.starts_with("adapter-")), "{none}");
        (site, gpus)
    }

    /// The program of a GPU that is being proved, by its process id.
    fn program_of(&self, gpu: &str) -> Option<i32> {
        let agent = self.agent.as_ref().unwrap().id();

        let tasks = std::fs::read_dir(format!("/proc/{agent}/task")).unwrap();
        let of_task = |task: std::io::Result<std::fs::DirEntry>| {
            std::fs::read_to_string(task.ok()?.path().join("children")).ok()
        };
        let all: String = tasks.filter_map(of_task).collect::<Vec<_>>().join(" ");

        let is_its = |pid: &i32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0)
                .any(|part| part == gpu.as_bytes())
        };
        let pids = all.split_whitespace().filter_map(|pid| pid.parse().ok());
        pids.into_iter().find(is_its)
    }

    async fn free_of(&self, gpu: &str) {
        loop {
            if let Ok(probe) = self.open_of(Some(gpu)).await {
                self.end(&probe).await;
                if !probe.offer.busy {
                    return;
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// A driver that crashes takes its program along and nothing else: that is said, and the next probe runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_program_that_is_killed_is_refused_honestly_and_the_next_one_proves() {
    let (site, gpus) = Site::with_gpus().await;
    let gpu = &gpus[0];
    let kill = async {
        loop {
            if let Some(pid) = site.program_of(gpu) {
                let pid = nix::unistd::Pid::from_raw(pid);
                nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
                return;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    let (found, ()) = tokio::join!(site.probe_of(gpu, "long"), kill);
    let reason = &found.porc.reason;
    assert_eq!(found.porc.finding, Finding::Inconclusive, "{reason}");
    assert!(reason.contains("ended before it was done"), "{reason}");

    site.free_of(gpu).await;
    let again = site.probe_of(gpu, "slow").await;
    assert_eq!(again.porc.finding, Finding::Pass, "{}", again.porc.reason);
    assert_eq!((again.porc.gpu, again.unsigned), (gpu.clone(), None));
    assert_eq!(site.program_of(gpu), None, "no program outlives its probe");
}

/// Beside a probe of one GPU another one is free, and its own is taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn gpus_are_proved_beside_each_other_and_each_once() {
    let (site, gpus) = Site::with_gpus().await;
    let mut open = Vec::new();
    for gpu in &gpus {
        let probe = site.open_of(Some(gpu)).await.unwrap();
        assert!(!probe.offer.busy, "{gpu} beside {}", open.len());
        open.push(probe);
    }
    let again = site.open_of(Some(&gpus[0])).await.unwrap_err();
    assert!(again.contains("being probed"), "{again}");
    let none = site.open_of(Some("GPU-none")).await.unwrap_err();
    assert!(none.contains("no GPU of that id"), "{none}");
    let odd = site.open_of(Some("a/b")).await.unwrap_err();
    assert!(odd.contains("no id"), "{odd}");
}

/// Its answers would be wrong, and the node would fail: it says what to install instead, also of its CPU.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_node_whose_prover_is_of_another_edition_proves_nothing_and_says_what_to_do() {
    let mut site = Site::start_with(|_| {}, MESA).await;
    site.stop_agent();
    // The program runs as a user of its own.
    let open = Permissions::from_mode(0o755);
    std::fs::set_permissions(site.dir.path(), open.clone()).unwrap();
    site.program = site.dir.path().join("edge-prover");
    std::fs::write(&site.program, "#!/bin/sh\necho '[]'\n").unwrap();
    std::fs::set_permissions(&site.program, open).unwrap();
    site.start_agent();
    let probe = loop {
        match site.open().await {
            Ok(probe) => break probe,
            Err(_) => tokio::time::sleep(LOOK_EVERY).await,
        }
    };
    assert!(probe.offer.busy);
    site.end(&probe).await;
    let found = site.probe("slow").await;
    let reason = &found.porc.reason;
    assert_eq!(found.porc.finding, Finding::Inconclusive, "{reason}");
    assert!(reason.contains("This node proves nothing"), "{reason}");
    assert!(reason.contains("install both from one version"), "{reason}");
}

/// Where no driver shows what is to be proved, the node proves its CPU and says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_node_without_a_usable_gpu_proves_its_cpu() {
    let site = Site::start_with(|_| {}, "adapter = \"no such adapter\"").await;
    site.free().await;
    let probe = site.open().await.unwrap();
    assert_eq!(probe.offer.gpus, ["cpu"]);
    site.end(&probe).await;
    site.free().await;
    let found = site.probe("slow").await;
    assert_eq!(found.porc.finding, Finding::Pass, "{}", found.porc.reason);
}
