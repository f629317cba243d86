//! A real edge agent as a child process, in directories of its own.

use super::{IMAGE, broker::Broker, example};
use nearlight_protocol::app::{AppSpec, DisplayMode, Launch, Needs, Shelf, Time};
use nearlight_protocol::id::SessionId;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// How often a condition is looked at. Nothing depends on it.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Far longer than anything takes; a test that waits so long has failed.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Directories of a node, and the broker that it dials.
pub struct Site {
    pub dir: TempDir,
    pub broker: Broker,
    /// More of its configuration.
    pub config: String,
    pub runtime: &'static str,
    /// The engine's socket, if it is not the usual one.
    pub engine: Option<PathBuf>,
    /// What its agents have in place of this host's /etc/hosts, if they do.
    names: Option<PathBuf>,
}

/// Runs an agent with another /etc/hosts. What it mounts elsewhere the host has, too, where that is asked for.
const WITH_NAMES: &str = r#"mount --make-private "$(findmnt -n -o TARGET -T /etc/hosts)" &&
    mount --bind "$0" /etc/hosts && exec "$@""#;

/// A running agent; killed when it is dropped.
pub struct Agent {
    child: Child,
    /// Its ready line, once the broker has welcomed it.
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Site {
    pub async fn new(runtime: &'static str) -> Self {
        let dir = tempfile::Builder::new().prefix("nl").tempdir().unwrap();
        // Reachable for the users of workers and apps.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(dir.path(), open).unwrap();
        let broker = Broker::listen(&dir.path().join("pki")).await;
        Self {
            dir,
            broker,
            config: String::new(),
            runtime,
            engine: None,
            names: None,
        }
    }

    /// Gives the agents that are started from now on another file in place of this host's /etc/hosts. It is written in
    /// place.
    pub fn own_names(&mut self) -> PathBuf {
        let (names, run) = (self.dir.path().join("names"), self.run());
        std::fs::write(&names, "").unwrap();
        std::fs::create_dir(&run).unwrap();
        // The engine has to find what they mount there.
        mount(&[OsStr::new("--bind"), run.as_os_str(), run.as_os_str()]);
        mount(&[OsStr::new("--make-shared"), run.as_os_str()]);
        self.names = Some(names.clone());
        names
    }

    /// Undoes that, once nothing is mounted there any more.
    pub fn no_names(&mut self) {
        self.names = None;
        let unmounted = Command::new("umount").arg(self.run()).status().unwrap();
        assert!(unmounted.success(), "something is mounted there");
    }

    fn program(&self) -> Command {
        let program = env!("CARGO_BIN_EXE_edge-node");
        let Some(names) = &self.names else {
            return Command::new(program);
        };
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--propagation", "unchanged"])
            .args(["sh", "-c", WITH_NAMES])
            .arg(names)
            .arg(program);
        command
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub fn run(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    /// Starts an agent.
    pub fn agent(&self) -> Agent {
        let config = self.dir.path().join("edge.toml");
        let text = format!(
            "[slots]\ncount = 2\n[runtime]\nkind = \"{}\"\nstart_timeout_s = 20\n{}",
            self.runtime, self.config
        );
        std::fs::write(&config, text).unwrap();
        let mut command = self.program();
        if let Some(engine) = &self.engine {
            command.env("DOCKER_HOST", format!("unix://{}", engine.display()));
        }
        let mut child = command
            .arg("--config")
            .arg(config)
            .arg("--data")
            .arg(self.data())
            .arg("--run")
            .arg(self.run())
            .arg("--pki")
            .arg(self.dir.path().join("pki"))
            .args(["--broker", &self.broker.address.to_string()])
            .arg("--worker")
            .arg(example("quiet_worker"))
            .env(
                "NEARLIGHT_LOG",
                std::env::var("NEARLIGHT_LOG").unwrap_or("error".to_owned()),
            )
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Agent { child, lines }
    }

    fn socket(&self, session: &SessionId, name: &str) -> PathBuf {
        self.desk(session).join("desk/app").join(name)
    }

    /// The directory of a session, whatever it is named after.
    pub fn desk(&self, session: &SessionId) -> PathBuf {
        let record = self.data().join(format!("sessions/{session}.json"));
        let record: serde_json::Value =
            serde_json::from_slice(&std::fs::read(record).unwrap()).unwrap();
        PathBuf::from(record["dir"].as_str().unwrap())
    }

    /// Desktops, spare or not.
    pub fn desks(&self) -> Vec<PathBuf> {
        let left = self.leftovers();
        left.into_iter()
            .filter(|p| p.starts_with(self.run()))
            .collect()
    }

    /// Plays the app that shows a picture.
    pub fn show_picture(&self, session: &SessionId) {
        UnixStream::connect(self.socket(session, "wayland-0")).unwrap();
    }

    /// Makes the worker of a session `fail` or `crash`.
    pub fn tell_worker(&self, session: &SessionId, wish: &str) {
        let mut stream = UnixStream::connect(self.socket(session, "pulse")).unwrap();
        stream.write_all(wish.as_bytes()).unwrap();
    }

    /// What is left of any session in the files.
    pub fn leftovers(&self) -> Vec<PathBuf> {
        [self.data().join("sessions"), self.run()]
            .iter()
            .flat_map(|dir| std::fs::read_dir(dir).into_iter().flatten().flatten())
            .map(|entry| entry.path())
            .filter(|path| path.display().to_string().contains("ses_"))
            .collect()
    }

    /// Containers of this node.
    pub fn containers(&self) -> Vec<String> {
        let filter = format!("label=nearlight.node={}", self.broker.node);
        let list = Command::new("docker")
            .args(["ps", "-aq", "--no-trunc", "--filter", &filter])
            .output();
        let list = list.map_or_else(|_| Vec::new(), |list| list.stdout);
        let list = String::from_utf8(list).unwrap();
        list.lines().map(str::to_owned).collect()
    }
}

impl Agent {
    /// Waits for the ready line.
    pub fn ready(&mut self) -> serde_json::Value {
        let line = self.lines.next().expect("a ready line").unwrap();
        serde_json::from_str::<serde_json::Value>(&line).unwrap()["ready"].clone()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    /// Waits for its end.
    pub async fn exited(mut self) -> Option<i32> {
        let wait = tokio::task::spawn_blocking(move || self.child.wait().unwrap().code());
        let status = tokio::time::timeout(PATIENCE, wait).await;
        status.unwrap().unwrap()
    }

    /// As a power cut would.
    pub async fn kill(self) {
        self.signal(Signal::SIGKILL);
        self.exited().await;
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // One that ended by itself is none the worse.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Site {
    /// A test that failed leaves nothing behind either.
    fn drop(&mut self) {
        for container in self.containers() {
            let _ = Command::new("docker")
                .args(["rm", "-f", &container])
                .output();
        }
        super::jobs::sweep(self);
        let run = self.run().display().to_string();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let line = std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
            let pid = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok());
            if let Some(pid) = pid
                && line.contains(&run)
            {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }
}

fn mount(args: &[&OsStr]) {
    let mounted = Command::new("mount").args(args).status().unwrap();
    assert!(mounted.success(), "{args:?}");
}

/// An app that waits to be ended, in the image of the tests.
pub fn app(script: &str) -> AppSpec {
    AppSpec {
        id: "edge-test".parse().unwrap(),
        title: String::new(),
        summary: String::new(),
        picture: String::new(),
        shelf: Shelf::Tool,
        launch: Launch {
            image: IMAGE.to_owned(),
            command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            env: std::collections::BTreeMap::new(),
            display: nearlight_protocol::app::DisplayProtocol::Wayland,
        },
        needs: Needs {
            mem_mib: 64,
            tmp_mib: 16,
            display: DisplayMode {
                width: 640,
                height: 360,
                hz: 60,
            },
            ..Needs::default()
        },
        controls: Vec::new(),
        time: Time::default(),
        saves: None,
        warm: 0,
    }
}

/// Waits until something holds.
pub async fn until(what: &str, holds: impl Fn() -> bool) {
    let look = async {
        while !holds() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    let seen = tokio::time::timeout(PATIENCE, look).await;
    assert!(seen.is_ok(), "{what} does not hold");
}

/// Puts the root file system of [`IMAGE`] where the sandbox looks for it.
pub fn give_rootfs(data: &Path) {
    super::rootfs(&data.join("rootfs/edge-test"));
}
