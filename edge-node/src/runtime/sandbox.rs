//! Apps in bubblewrap, where no container engine answers.
//!
//! ```text
//! agent --spawns--> monitor (bwrap, in a session of its own; writes the exit status to app.status)
//!                      `--> init (bwrap, pid 1 of the app's PID namespace)
//!                              `--> the app
//! ```
//!
//! As root the agent gives up every right first: the monitor is user 1000 and makes all its
//! namespaces as that user. The root file system and the saves are bound into the session's
//! directory in a mount namespace of the monitor, so that a data directory which only root can walk
//! to will do.
//!
//! **Limits** come from a cgroup where one can be made; elsewhere memory is limited for each process
//! by its address space, and CPU is not.
//!
//! **What it does not know:** why it starts or stops anything.

mod command;

use super::plan::app_user;
use super::{AppExit, AppPlan, AppRef, Pulled, Runtime, RuntimeError, last_words};
use crate::cgroup::{CPU_WEIGHT_DEFAULT, Ceiling, Cgroup, Cgroups};
use crate::limits::{
    APP_FILES_MAX, APP_PIDS_MAX, ENGINE_PROBE_DEADLINE, SANDBOX_START_DEADLINE,
    WORKER_EXIT_DEADLINE,
};
use crate::process::{Bind, Launch, Limit, Process, ProcessId, User, children_of, with_argument};
use crate::session::dirs;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use nearlight_protocol::id::{NodeId, SessionId};
use nearlight_protocol::work::PullLogin;
use nix::sys::resource::Resource;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Directories of a root file system over which something is mounted.
const MOUNT_POINTS: [&str; 5] = ["proc", "dev", "tmp", "run", "home"];
/// Between two looks at `app.status` while `bwrap` starts.
const STATUS_POLL: Duration = Duration::from_millis(5);

/// The sandbox of this host.
#[derive(Debug)]
pub struct Sandbox {
    bwrap: PathBuf,
    rootfs: PathBuf,
    run: PathBuf,
    user: Option<User>,
    cgroups: Option<Cgroups>,
}

impl Sandbox {
    /// Finds `bwrap` and tries it.
    pub async fn open(data: &Path, run: &Path, node: &NodeId) -> Result<Self, RuntimeError> {
        let bwrap = ["/usr/bin/bwrap", "/usr/local/bin/bwrap", "/bin/bwrap"]
            .iter()
            .map(PathBuf::from)
            .find(|path| path.exists())
            .ok_or_else(|| {
                failed(
                    "start",
                    "bwrap is not installed; apt-get install bubblewrap",
                )
            })?;
        let user = nix::unistd::geteuid().is_root().then(app_user);
        let cgroups = Cgroups::open(node);
        if cgroups.is_none() {
            tracing::warn!(
                "no cgroup can be made here: the sandbox limits memory by process and CPU not at all"
            );
        }
        let sandbox = Self {
            bwrap,
            rootfs: data.join("rootfs"),
            run: run.to_owned(),
            user,
            cgroups,
        };
        sandbox.try_out().await?;
        Ok(sandbox)
    }

    /// Whether this kernel lets us make the namespaces at all.
    async fn try_out(&self) -> Result<(), RuntimeError> {
        let output = rustix::fs::memfd_create("bwrap", rustix::fs::MemfdFlags::CLOEXEC)
            .map(File::from)
            .map_err(|error| failed("start", error))?;
        let stderr = output.try_clone().map_err(|error| failed("start", error))?;
        let process = Launch::new(self.bwrap.clone(), "bwrap")
            .args(command::trial())
            .user(self.user.clone())
            .stderr(stderr)
            .spawn()
            .map_err(|error| failed("start", error))?;
        let status = match tokio::time::timeout(ENGINE_PROBE_DEADLINE, process.exited()).await {
            Ok(status) => status,
            Err(_elapsed) => {
                process.kill();
                return Err(failed("start", "bwrap hangs"));
            }
        };
        if status.is_some_and(|status| status.success()) {
            return Ok(());
        }
        let mut said = vec![0; 1024];
        let len = std::os::unix::fs::FileExt::read_at(&output, &mut said, 0).unwrap_or(0);
        Err(failed("make its namespaces", last_words(&said[..len])))
    }

    /// The root file system of an image: the directory of the same name.
    fn root_of(&self, image: &str) -> Result<PathBuf, RuntimeError> {
        let missing = |detail: String| RuntimeError::ImageMissing {
            image: image.to_owned(),
            detail,
        };
        let name = image.rsplit('/').next().unwrap_or(image);
        let name = name.split([':', '@']).next().unwrap_or(name);
        let root = self.rootfs.join(name);
        if name.is_empty() || name.starts_with('.') || !root.is_dir() {
            return Err(missing(format!(
                "there is no root file system {}; `make play` builds it",
                root.display()
            )));
        }
        match MOUNT_POINTS.iter().find(|point| !root.join(point).is_dir()) {
            None => Ok(root),
            Some(point) => Err(missing(format!(
                "its root file system has no directory /{point}; build it again"
            ))),
        }
    }

    async fn start_app(&self, plan: &AppPlan) -> Result<AppRef, RuntimeError> {
        let root = self.root_of(&plan.image)?;
        let cgroup = match &self.cgroups {
            Some(cgroups) => Some(
                cgroups
                    .create(
                        &cgroup_name(&plan.dir),
                        Ceiling {
                            mem_bytes: u64::from(plan.mem_mib) * 1024 * 1024,
                            cpu_milli: Some(plan.cpu_milli),
                            cpu_weight: CPU_WEIGHT_DEFAULT,
                            pids: APP_PIDS_MAX.unsigned_abs(),
                        },
                    )
                    .map_err(|error| failed("limit the app", error))?,
            ),
            None => None,
        };
        let (monitor, status) = self
            .spawn(plan, &root, cgroup.as_ref())
            .map_err(|error| failed("start", error))?;
        let Some(init) = wait_for_init(&monitor, &status).await? else {
            // It never came as far as the app: bwrap's own words say why.
            let words = read_tail(&dirs::app_log(&plan.dir));
            return Err(failed("start the app", words));
        };
        Ok(AppRef::Sandbox {
            monitor: monitor.id(),
            init,
            dir: plan.dir.clone(),
        })
    }

    fn spawn(
        &self,
        plan: &AppPlan,
        root: &Path,
        cgroup: Option<&Cgroup>,
    ) -> io::Result<(Process, PathBuf)> {
        let status_path = dirs::app_status(&plan.dir);
        let status = File::create(&status_path)?;
        let log = dirs::log_for_writing(&dirs::app_log(&plan.dir))?;
        let (root, saves, binds) = self.places(plan, root)?;
        let mut limits = vec![
            Limit(Resource::RLIMIT_CORE, 0),
            Limit(Resource::RLIMIT_NOFILE, APP_FILES_MAX),
        ];
        if cgroup.is_none() {
            let bytes = u64::from(plan.mem_mib) * 1024 * 1024;
            limits.push(Limit(Resource::RLIMIT_AS, bytes));
        }
        let mut launch = Launch::new(self.bwrap.clone(), "bwrap")
            .args(command::app(
                plan,
                &root,
                saves.as_deref(),
                status.as_raw_fd(),
            ))
            .user(self.user_of(plan))
            .limits(limits)
            .binds(binds)
            .cgroups(cgroup.map_or_else(|| Ok(Vec::new()), Cgroup::procs)?)
            .keep(status.into())
            .stdout(log.try_clone()?)
            .stderr(log);
        for (key, value) in &plan.env {
            launch = launch.env(key, value);
        }
        Ok((launch.spawn()?, status_path))
    }

    /// The app's user, with the groups of its render nodes. Namespaces keep them: the kernel goes by
    /// the groups that a process has, whether they have a name in its namespace or not.
    fn user_of(&self, plan: &AppPlan) -> Option<User> {
        self.user.clone().map(|user| User {
            groups: plan.render_groups(),
            ..user
        })
    }

    /// Where `bwrap`, as the app's user, finds the root file system and the saves.
    fn places(
        &self,
        plan: &AppPlan,
        root: &Path,
    ) -> io::Result<(PathBuf, Option<PathBuf>, Vec<Bind>)> {
        let saves = plan.saves.as_ref().map(|(host, _)| host.clone());
        if self.user.is_none() {
            return Ok((root.to_owned(), saves, Vec::new()));
        }
        let mut binds = Vec::new();
        let mut place = |name: &str, source: &Path| {
            let target = plan.dir.join(name);
            match fs::create_dir(&target) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
            binds.push(Bind {
                source: source.to_owned(),
                target: target.clone(),
            });
            Ok(target)
        };
        let root = place("root", root)?;
        let saves = saves.map(|saves| place("saves", &saves)).transpose()?;
        Ok((root, saves, binds))
    }

    async fn wait_for(&self, monitor: ProcessId, dir: &Path) -> AppExit {
        match Process::find(monitor) {
            Ok(Some(process)) => {
                process.exited().await;
            }
            Ok(None) => {}
            Err(error) => tracing::error!(pid = monitor.pid, %error, "cannot watch an app"),
        }
        let cgroups = self.cgroups.as_ref();
        let out_of_memory = cgroups.is_some_and(|c| c.find(&cgroup_name(dir)).oom_kills() > 0);
        AppExit {
            status: read_status(&dirs::app_status(dir)).exit_code,
            out_of_memory,
            detail: read_tail(&dirs::app_log(dir)),
        }
    }

    async fn remove_app(&self, monitor: ProcessId, init: ProcessId, dir: &Path) -> io::Result<()> {
        // The init first: with it the kernel kills every process of the namespace.
        for id in [init, monitor] {
            if let Some(process) = Process::find(id)? {
                process.kill();
                let gone = tokio::time::timeout(WORKER_EXIT_DEADLINE, process.exited()).await;
                if gone.is_err() {
                    return Err(io::Error::other(format!("pid {} does not die", id.pid)));
                }
            }
        }
        if let Some(cgroups) = &self.cgroups {
            cgroups.find(&cgroup_name(dir)).remove().await?;
        }
        Ok(())
    }

    fn find_all(&self) -> Vec<(SessionId, AppRef)> {
        let Ok(entries) = fs::read_dir(&self.run) else {
            return Vec::new();
        };
        entries
            .flatten()
            .filter_map(|entry| {
                let session: SessionId = entry.file_name().to_str()?.parse().ok()?;
                let dir = entry.path();
                // Both bwrap processes carry the path of the sockets; the app does not.
                let found = with_argument(dirs::sockets(&dir).as_os_str());
                let pids: Vec<_> = found.iter().map(|id| id.pid).collect();
                let is_parent =
                    |id: &&ProcessId| children_of(id.pid).iter().any(|kid| pids.contains(kid));
                let monitor = *found.iter().find(is_parent).or(found.first())?;
                let init = *found.iter().find(|id| **id != monitor).unwrap_or(&monitor);
                Some((session, AppRef::Sandbox { monitor, init, dir }))
            })
            .collect()
    }
}

impl Runtime for Sandbox {
    fn name(&self) -> &'static str {
        super::SANDBOX
    }

    /// It is this program.
    fn answers(&self) -> BoxFuture<'_, Result<(), RuntimeError>> {
        async { Ok(()) }.boxed()
    }

    fn images(&self) -> BoxFuture<'_, Result<Vec<String>, RuntimeError>> {
        async {
            let mut images: Vec<_> = fs::read_dir(&self.rootfs)
                .into_iter()
                .flatten()
                .flatten()
                .filter(|entry| entry.path().is_dir())
                .filter_map(|entry| entry.file_name().into_string().ok())
                // With a dot it is one that is being made.
                .filter(|name| !name.contains('.'))
                .map(|name| format!("nearlight/{name}:1"))
                .collect();
            images.sort();
            Ok(images)
        }
        .boxed()
    }

    fn image_store(&self) -> BoxFuture<'_, Option<PathBuf>> {
        async { Some(self.rootfs.clone()) }.boxed()
    }

    /// Root file systems are built here, by hand: none is fetched, and so none is removed.
    fn image_bytes<'a>(
        &'a self,
        _image: &'a str,
    ) -> BoxFuture<'a, Result<Option<u64>, RuntimeError>> {
        async { Ok(None) }.boxed()
    }

    fn remove_image<'a>(&'a self, _image: &'a str) -> BoxFuture<'a, Result<bool, RuntimeError>> {
        async { Ok(false) }.boxed()
    }

    fn fetch<'a>(
        &'a self,
        image: &'a str,
        _login: Option<&'a PullLogin>,
        _pulled: &'a (dyn Fn(Pulled) + Send + Sync),
    ) -> BoxFuture<'a, Result<(), RuntimeError>> {
        async move { self.root_of(image).map(drop) }.boxed()
    }

    fn start<'a>(&'a self, plan: &'a AppPlan) -> BoxFuture<'a, Result<AppRef, RuntimeError>> {
        self.start_app(plan).boxed()
    }

    fn pid<'a>(&'a self, app: &'a AppRef) -> BoxFuture<'a, Option<i32>> {
        async move {
            match app {
                AppRef::Sandbox { init, .. } => Some(init.pid),
                AppRef::Docker { .. } => None,
            }
        }
        .boxed()
    }

    fn wait<'a>(&'a self, app: &'a AppRef) -> BoxFuture<'a, AppExit> {
        async move {
            match app {
                AppRef::Sandbox { monitor, dir, .. } => self.wait_for(*monitor, dir).await,
                // Of the other runtime, before the operator changed it: not ours to wait for.
                AppRef::Docker { .. } => AppExit::default(),
            }
        }
        .boxed()
    }

    fn ask_to_end<'a>(&'a self, app: &'a AppRef) -> BoxFuture<'a, ()> {
        async move {
            let AppRef::Sandbox { init, .. } = app else {
                return;
            };
            // A signal to the init itself is lost: it has no handler.
            for pid in children_of(init.pid) {
                if let Some(id) = ProcessId::of(pid)
                    && let Ok(Some(process)) = Process::find(id)
                {
                    process.signal(rustix::process::Signal::TERM);
                }
            }
        }
        .boxed()
    }

    fn remove<'a>(&'a self, app: &'a AppRef) -> BoxFuture<'a, Result<(), RuntimeError>> {
        async move {
            match app {
                AppRef::Sandbox { monitor, init, dir } => self
                    .remove_app(*monitor, *init, dir)
                    .await
                    .map_err(|error| failed("remove the app", error)),
                AppRef::Docker { .. } => Ok(()),
            }
        }
        .boxed()
    }

    fn running(&self) -> BoxFuture<'_, Result<Vec<(SessionId, AppRef)>, RuntimeError>> {
        async { Ok(self.find_all()) }.boxed()
    }
}

/// What `bwrap` wrote into `app.status`: one JSON object after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Status {
    child_pid: Option<i32>,
    exit_code: Option<i64>,
}

fn read_status(path: &Path) -> Status {
    fs::read(path).map_or_else(|_| Status::default(), |bytes| parse_status(&bytes))
}

fn parse_status(bytes: &[u8]) -> Status {
    let mut status = Status::default();
    let documents = serde_json::Deserializer::from_slice(bytes).into_iter::<serde_json::Value>();
    // An object that is only half written ends the reading; it will be whole the next time.
    for document in documents.map_while(Result::ok) {
        let number = |key: &str| document.get(key).and_then(serde_json::Value::as_i64);
        if let Some(pid) = number("child-pid").and_then(|pid| i32::try_from(pid).ok()) {
            status.child_pid = Some(pid);
        }
        status.exit_code = number("exit-code").or(status.exit_code);
    }
    status
}

/// The init's lasting name; `None` if the monitor ended first.
async fn wait_for_init(
    monitor: &Process,
    status: &Path,
) -> Result<Option<ProcessId>, RuntimeError> {
    let poll = async {
        loop {
            if let Some(pid) = read_status(status).child_pid {
                // An app that is over already: its monitor stands for it.
                return ProcessId::of(pid).unwrap_or_else(|| monitor.id());
            }
            tokio::time::sleep(STATUS_POLL).await;
        }
    };
    tokio::select! {
        biased;
        init = poll => Ok(Some(init)),
        _ = monitor.exited() => {
            Ok(read_status(status).child_pid.map(|_| monitor.id()))
        }
        () = tokio::time::sleep(SANDBOX_START_DEADLINE) => {
            monitor.kill();
            Err(RuntimeError::Deadline { action: "start the app" })
        }
    }
}

/// Named after the directory, by which alone an app is found again.
fn cgroup_name(dir: &Path) -> String {
    let name = dir.file_name().unwrap_or_default();
    format!("{}-app", name.to_string_lossy())
}

fn read_tail(path: &Path) -> String {
    dirs::tail(path).map_or_else(|_| String::new(), |bytes| last_words(&bytes))
}

fn failed(action: &'static str, detail: impl ToString) -> RuntimeError {
    RuntimeError::Sandbox {
        action,
        detail: detail.to_string(),
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn the_status_file_is_read_as_far_as_it_is_whole() {
        let check = |text: &str, child_pid, exit_code| {
            let expected = Status {
                child_pid,
                exit_code,
            };
            assert_eq!(parse_status(text.as_bytes()), expected, "{text}");
        };
        check("", None, None);
        check("{ \"child-pid\": 12, ", None, None);
        check(
            "{ \"child-pid\": 12, \"cgroup-namespace\": 4026531835 }\n",
            Some(12),
            None,
        );
        check(
            "{ \"child-pid\": 12 }\n{ \"exit-code\": 3 }\n",
            Some(12),
            Some(3),
        );
    }
}
