//! Both runtimes give an app the same world, and take it away the same way.
#![allow(clippy::unwrap_used, reason = "a test that fails should say where")]

mod support;

use edge_node::runtime::docker::Docker;
use edge_node::runtime::sandbox::Sandbox;
use edge_node::runtime::{AppExit, AppPlan, AppRef, Runtime, RuntimeError};
use nearlight_protocol::api::EndReason;
use nearlight_protocol::unit::U64;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;
use support::node::{app, give_rootfs, until};
use support::{IMAGE, docker_with_image};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);

/// A runtime, and where its sessions are.
struct Bench {
    runtime: Box<dyn Runtime>,
    dir: TempDir,
}

impl Bench {
    fn dir() -> TempDir {
        let dir = tempfile::Builder::new().prefix("nl").tempdir().unwrap();
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::create_dir(dir.path().join("run")).unwrap();
        dir
    }

    async fn docker() -> Option<Self> {
        if !docker_with_image() {
            return None;
        }
        let node = nearlight_kit::ids::node();
        let runtime = Box::new(Docker::open(&node).await.unwrap());
        Some(Self {
            runtime,
            dir: Self::dir(),
        })
    }

    async fn sandbox() -> Option<Self> {
        let dir = Self::dir();
        // A data directory that only we can walk to, as one under /root is.
        let data = dir.path().join("data");
        give_rootfs(&data);
        std::fs::set_permissions(&data, PermissionsExt::from_mode(0o700)).unwrap();
        match Sandbox::open(&data, &dir.path().join("run"), &nearlight_kit::ids::node()).await {
            Ok(sandbox) => Some(Self {
                runtime: Box::new(sandbox),
                dir,
            }),
            Err(error) => {
                support::skipped(&error.to_string());
                None
            }
        }
    }

    async fn both() -> Vec<Self> {
        let both = [Self::docker().await, Self::sandbox().await];
        both.into_iter().flatten().collect()
    }

    fn name(&self) -> &'static str {
        self.runtime.name()
    }

    fn plan(&self, script: &str) -> AppPlan {
        let session = nearlight_kit::ids::session();
        let dir = self.dir.path().join("run").join(session.as_str());
        std::fs::create_dir_all(dir.join("desk/app")).unwrap();
        let root = nix::unistd::geteuid().is_root();
        AppPlan::new(session, U64(3), &app(script), &dir, root)
    }

    fn saves(&self) -> PathBuf {
        let saves = self.dir.path().join("saves");
        std::fs::create_dir_all(&saves).unwrap();
        if nix::unistd::geteuid().is_root() {
            let app = Some(nix::unistd::Uid::from_raw(1000));
            nix::unistd::chown(&saves, app, None).unwrap();
        }
        saves
    }

    async fn wait(&self, app: &AppRef) -> AppExit {
        let waited = tokio::time::timeout(PATIENCE, self.runtime.wait(app));
        waited.await.expect("the app does not end")
    }

    /// Runs a script to its end and takes it away.
    async fn run(&self, plan: &AppPlan) -> AppExit {
        let app = self.runtime.start(plan).await.unwrap();
        let exit = self.wait(&app).await;
        self.runtime.remove(&app).await.unwrap();
        exit
    }
}

#[tokio::test]
async fn an_app_has_no_more_than_it_needs() {
    let script = "id -u; cat /proc/self/status | while read name value; do \
        case $name in CapEff:|CapBnd:|NoNewPrivs:) echo $name$value;; esac; done; \
        for dir in / /usr /run/nearlight /bin; do touch $dir/x 2>/dev/null && echo wrote $dir; done; \
        for dir in /tmp /home/player /run/user/1000 /dev/shm; do touch $dir/x || echo no $dir; done; \
        while read line; do echo net $line; done < /proc/net/dev; \
        echo home $HOME display $WAYLAND_DISPLAY pulse $PULSE_SERVER; pwd; exit 7";
    for bench in Bench::both().await {
        let exit = bench.run(&bench.plan(script)).await;
        let (name, said) = (bench.name(), exit.detail);
        assert_eq!(exit.status, Some(7), "{name}: {said}");
        assert!(!exit.out_of_memory);
        let lines: Vec<_> = said.lines().collect();
        assert_eq!(lines[0], "1000", "{name}: {said}");
        assert!(said.contains("CapEff:0000000000000000"), "{name}: {said}");
        assert!(said.contains("NoNewPrivs:1"), "{name}: {said}");
        assert!(!said.contains("wrote"), "{name}: {said}");
        assert!(!said.contains("no /"), "{name}: {said}");
        let interfaces = lines
            .iter()
            .filter(|l| l.starts_with("net ") && !l.contains('|'));
        assert!(
            interfaces.into_iter().all(|l| l.starts_with("net lo:")),
            "{name}: {said}"
        );
        assert!(
            said.contains(
                "home /home/player display /run/nearlight/wayland-0 pulse unix:/run/nearlight/pulse"
            ),
            "{name}: {said}"
        );
        assert_eq!(lines.last(), Some(&"/home/player"), "{name}: {said}");
    }
}

#[tokio::test]
async fn an_app_sees_its_own_processes_alone_and_no_foreign_descriptor() {
    let script = "ls /proc | while read p; do case $p in [0-9]*) echo pid $p;; esac; done; \
        env; echo descriptors:; exec ls /proc/self/fd";
    for bench in Bench::both().await {
        let exit = bench.run(&bench.plan(script)).await;
        let (name, said) = (bench.name(), exit.detail);
        let pids: Vec<_> = said.lines().filter(|l| l.starts_with("pid ")).collect();
        assert!(pids.len() <= 6, "{name}: {said}");
        let (_, fds) = said.split_once("descriptors:").unwrap();
        let fds: Vec<_> = fds.split_ascii_whitespace().collect();
        // Standard input, output and error, and the directory that is being listed.
        assert_eq!(fds, ["0", "1", "2", "3"], "{name}: {said}");
        assert!(
            !said.contains("NEARLIGHT") && !said.contains("CARGO"),
            "{name}: {said}"
        );
    }
}

#[tokio::test]
async fn saves_persist_and_the_way_to_them_is_writable() {
    for bench in Bench::both().await {
        let saves = bench.saves();
        let mut plan =
            bench.plan("echo level 9 > ~/.local/share/doom/slot && touch ~/.local/other");
        plan.saves = Some((saves.clone(), "/home/player/.local/share/doom".to_owned()));
        let exit = bench.run(&plan).await;
        assert_eq!(exit.status, Some(0), "{}: {}", bench.name(), exit.detail);
        let slot = std::fs::read_to_string(saves.join("slot")).unwrap();
        assert_eq!(slot, "level 9\n");
        let mut again = bench.plan("cat ~/.local/share/doom/slot");
        again.saves = plan.saves;
        assert_eq!(bench.run(&again).await.detail, "level 9");
    }
}

#[tokio::test]
async fn an_app_that_takes_too_much_memory_is_told_apart() {
    for bench in Bench::both().await {
        // `tail` keeps a line that never ends.
        let exit = bench
            .run(&bench.plan("head -c 300000000 /dev/zero | tail -n 1; exit 9"))
            .await;
        let name = bench.name();
        assert!(
            exit.out_of_memory || exit.status != Some(0),
            "{name}: {exit:?}"
        );
        assert!(exit.out_of_memory || !has_cgroups(), "{name}: {exit:?}");
    }
}

fn has_cgroups() -> bool {
    nix::unistd::geteuid().is_root() && std::path::Path::new("/sys/fs/cgroup").exists()
}

#[tokio::test]
async fn an_app_is_asked_first_and_killed_if_it_does_not_listen() {
    for bench in Bench::both().await {
        let name = bench.name();
        let saves = bench.saves();
        let mut polite = bench
            .plan("trap 'echo saved; exit 3' TERM; touch ~/.x/up; while :; do sleep 0.05; done");
        polite.saves = Some((saves.clone(), "/home/player/.x".to_owned()));
        let app = bench.runtime.start(&polite).await.unwrap();
        until("its handler is in place", || saves.join("up").exists()).await;
        bench.runtime.ask_to_end(&app).await;
        let exit = bench.wait(&app).await;
        assert_eq!(exit.status, Some(3), "{name}: {exit:?}");
        assert_eq!(exit.detail, "saved", "{name}");
        bench.runtime.remove(&app).await.unwrap();

        let deaf = bench.plan("trap '' TERM; while :; do sleep 1; done");
        let app = bench.runtime.start(&deaf).await.unwrap();
        bench.runtime.ask_to_end(&app).await;
        bench.runtime.remove(&app).await.unwrap();
        bench.wait(&app).await;
        bench.runtime.remove(&app).await.unwrap();
        assert!(bench.runtime.running().await.unwrap().is_empty(), "{name}");
    }
}

#[tokio::test]
async fn what_runs_is_found_again_by_its_session() {
    for bench in Bench::both().await {
        let plan = bench.plan("while :; do sleep 1; done");
        let app = bench.runtime.start(&plan).await.unwrap();
        let running = bench.runtime.running().await.unwrap();
        assert_eq!(
            running,
            [(plan.session.clone(), app.clone())],
            "{}",
            bench.name()
        );
        bench.runtime.remove(&app).await.unwrap();
        assert!(bench.runtime.running().await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_missing_image_and_a_missing_program_are_told_apart() {
    for bench in Bench::both().await {
        let name = bench.name();
        bench.runtime.fetch(IMAGE, None, &|_| {}).await.unwrap();
        let missing = bench
            .runtime
            .fetch("nearlight/no-such-app:1", None, &|_| {})
            .await;
        let error = missing.unwrap_err();
        assert_eq!(error.reason(), EndReason::ImageMissing, "{name}: {error}");
        assert!(error.to_string().contains("make play"), "{name}: {error}");

        let mut plan = bench.plan("");
        plan.command = vec!["/no/such/program".to_owned()];
        match bench.runtime.start(&plan).await {
            // An init that comes up first says it as an exit.
            Ok(app) => {
                let exit = bench.wait(&app).await;
                assert_ne!(exit.status, Some(0), "{name}: {exit:?}");
                bench.runtime.remove(&app).await.unwrap();
            }
            Err(error) => assert!(matches!(
                error,
                RuntimeError::Engine { .. } | RuntimeError::Sandbox { .. }
            )),
        }
        assert!(bench.runtime.running().await.unwrap().is_empty(), "{name}");
    }
}

#[tokio::test]
async fn a_start_that_is_repeated_meets_its_own_name() {
    let Some(bench) = Bench::docker().await else {
        return;
    };
    let plan = bench.plan("while :; do sleep 1; done");
    let first = bench.runtime.start(&plan).await.unwrap();
    let second = bench.runtime.start(&plan).await.unwrap();
    assert_ne!(first, second);
    let running = bench.runtime.running().await.unwrap();
    assert_eq!(running, [(plan.session.clone(), second.clone())]);
    bench.runtime.remove(&second).await.unwrap();
    bench.runtime.remove(&first).await.unwrap();
}

#[tokio::test]
async fn images_are_listed_by_reference() {
    for bench in Bench::both().await {
        let images = bench.runtime.images().await.unwrap();
        assert!(
            images.iter().any(|image| image == IMAGE),
            "{}: {images:?}",
            bench.name()
        );
    }
}
