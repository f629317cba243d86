//! Control groups for what the agent runs without a container engine: limits, and who ran into
//! them. Version 1 and version 2 of the kernel's interface.
//!
//! A node's groups lie in `nearlight-<node>/` at the root of each hierarchy. Making them takes root;
//! where none can be made, [`Cgroups::open`] says so and its callers do with resource limits.

use nearlight_protocol::id::NodeId;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

const MOUNT: &str = "/sys/fs/cgroup";
const V1_CONTROLLERS: [&str; 3] = ["memory", "cpu", "pids"];
/// A group is busy for a moment after its last process was killed.
const REMOVE_ATTEMPTS: u32 = 20;
const REMOVE_PAUSE: Duration = Duration::from_millis(25);
const CREATE_ATTEMPTS: u32 = 5;
/// Over which the CPU limit is averaged, microseconds: the kernel's default.
const CPU_PERIOD_US: u64 = 100_000;
/// What the kernel gives a group that says nothing, in the scale of [`Ceiling::cpu_weight`].
pub(crate) const CPU_WEIGHT_DEFAULT: u32 = 100;
/// Of the node's own group against the host's others, and of what makes pictures against the apps in
/// it: little work, for which a player waits. An app that takes every core would else hold each
/// frame back by a slice of the scheduler's.
pub(crate) const CPU_WEIGHT_FIRST: u32 = 800;
/// Version 1 counts in shares; this many are its default.
const V1_SHARES_DEFAULT: u32 = 1024;

/// The hierarchies of this host in which groups can be made.
#[derive(Clone, Debug)]
pub(crate) struct Cgroups {
    version: Version,
    mount: PathBuf,
    parent: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

/// Limits of a group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ceiling {
    pub(crate) mem_bytes: u64,
    /// Thousandths of a core; none: as much as there is.
    pub(crate) cpu_milli: Option<u32>,
    /// Where there is less CPU than is wanted: its part, against [`CPU_WEIGHT_DEFAULT`].
    pub(crate) cpu_weight: u32,
    pub(crate) pids: u64,
}

/// One group, in each hierarchy.
#[derive(Clone, Debug)]
pub(crate) struct Cgroup {
    version: Version,
    dirs: Vec<PathBuf>,
}

impl Cgroups {
    /// Tries to make the node's parent group; `None` where that is not permitted or not there.
    pub(crate) fn open(node: &NodeId) -> Option<Self> {
        let mount = PathBuf::from(MOUNT);
        let version = if mount.join("cgroup.controllers").exists() {
            Version::V2
        } else if mount.join("memory").is_dir() {
            Version::V1
        } else {
            return None;
        };
        let parent = format!("nearlight-{node}");
        let cgroups = Self {
            version,
            mount,
            parent,
        };
        match cgroups.make_parent() {
            Ok(()) => {
                cgroups.find("any").remove_parent();
                Some(cgroups)
            }
            Err(error) => {
                tracing::debug!(%error, "cannot make a control group");
                None
            }
        }
    }

    fn make_parent(&self) -> io::Result<()> {
        for dir in self.dirs_of("") {
            make(&dir)?;
        }
        if self.version == Version::V2 {
            for dir in [self.mount.clone(), self.mount.join(&self.parent)] {
                fs::write(dir.join("cgroup.subtree_control"), "+memory +cpu +pids")?;
            }
        }
        self.find("").set_cpu_weight(CPU_WEIGHT_FIRST)
    }

    fn dirs_of(&self, name: &str) -> Vec<PathBuf> {
        match self.version {
            Version::V1 => V1_CONTROLLERS
                .map(|controller| self.mount.join(controller).join(&self.parent).join(name))
                .to_vec(),
            Version::V2 => vec![self.mount.join(&self.parent).join(name)],
        }
    }

    /// The group of this name, whether or not it is there.
    pub(crate) fn find(&self, name: &str) -> Cgroup {
        Cgroup {
            version: self.version,
            dirs: self.dirs_of(name),
        }
    }

    /// The names of the groups that are there.
    pub(crate) fn names(&self) -> Vec<String> {
        self.dirs_of("")
            .first()
            .and_then(|parent| fs::read_dir(parent).ok())
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.path().is_dir())
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect()
    }

    /// Makes a group, or takes the one of the same name, with these limits.
    pub(crate) fn create(&self, name: &str, ceiling: Ceiling) -> io::Result<Cgroup> {
        let group = self.find(name);
        for attempt in 1..=CREATE_ATTEMPTS {
            let made = self
                .make_parent()
                .and_then(|()| group.dirs.iter().try_for_each(|dir| make(dir)));
            match made {
                Ok(()) => break,
                // The last group of another session was just removed, and the parent with it.
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound && attempt < CREATE_ATTEMPTS => {}
                Err(error) => return Err(error),
            }
        }
        group.limit(ceiling)?;
        Ok(group)
    }
}

impl Cgroup {
    fn limit(&self, ceiling: Ceiling) -> io::Result<()> {
        let Ceiling {
            mem_bytes,
            cpu_milli,
            cpu_weight,
            pids,
        } = ceiling;
        self.set_cpu_weight(cpu_weight)?;
        let quota = cpu_milli.map(|milli| u64::from(milli) * CPU_PERIOD_US / 1000);
        match self.version {
            Version::V1 => {
                self.set("memory.limit_in_bytes", mem_bytes)?;
                // Not there where the kernel counts no swap.
                self.set_if_there("memory.memsw.limit_in_bytes", mem_bytes)?;
                self.set("cpu.cfs_period_us", CPU_PERIOD_US)?;
                let unlimited = "-1".to_owned();
                self.set(
                    "cpu.cfs_quota_us",
                    quota.map_or(unlimited, |q| q.to_string()),
                )?;
                self.set("pids.max", pids)
            }
            Version::V2 => {
                self.set("memory.max", mem_bytes)?;
                self.set_if_there("memory.swap.max", 0)?;
                let quota = quota.map_or("max".to_owned(), |q| q.to_string());
                self.set("cpu.max", format!("{quota} {CPU_PERIOD_US}"))?;
                self.set("pids.max", pids)
            }
        }
    }

    fn set_cpu_weight(&self, weight: u32) -> io::Result<()> {
        match self.version {
            Version::V1 => {
                let shares = weight * V1_SHARES_DEFAULT / CPU_WEIGHT_DEFAULT;
                self.set("cpu.shares", shares)
            }
            Version::V2 => self.set("cpu.weight", weight),
        }
    }

    fn set(&self, file: &str, value: impl ToString) -> io::Result<()> {
        fs::write(self.dir_of(file).join(file), value.to_string())
            .map_err(|error| io::Error::new(error.kind(), format!("{file}: {error}")))
    }

    fn set_if_there(&self, file: &str, value: impl ToString) -> io::Result<()> {
        if self.dir_of(file).join(file).exists() {
            self.set(file, value)
        } else {
            Ok(())
        }
    }

    /// The directory that has this file: in version 1, the one of its controller.
    fn dir_of(&self, file: &str) -> &Path {
        let controller = file.split('.').next().unwrap_or(file);
        let place = V1_CONTROLLERS.iter().position(|c| *c == controller);
        let place = match self.version {
            Version::V1 => place.unwrap_or(0),
            Version::V2 => 0,
        };
        &self.dirs[place]
    }

    /// What a process writes zero into to join.
    pub(crate) fn procs(&self) -> io::Result<Vec<File>> {
        self.dirs
            .iter()
            .map(|dir| {
                OpenOptions::new()
                    .write(true)
                    .open(dir.join("cgroup.procs"))
            })
            .collect()
    }

    /// How many processes were killed for memory; zero if nobody knows.
    pub(crate) fn oom_kills(&self) -> u64 {
        let file = match self.version {
            Version::V1 => "memory.oom_control",
            Version::V2 => "memory.events",
        };
        let text = fs::read_to_string(self.dir_of(file).join(file)).unwrap_or_default();
        text.lines()
            .find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
            .unwrap_or(0)
    }

    /// Kills what is in the group and removes it.
    pub(crate) async fn remove(&self) -> io::Result<()> {
        for attempt in 1..=REMOVE_ATTEMPTS {
            self.kill();
            match self.try_remove() {
                Ok(()) => {
                    self.remove_parent();
                    return Ok(());
                }
                Err(error) if attempt == REMOVE_ATTEMPTS => return Err(error),
                Err(_busy) => tokio::time::sleep(REMOVE_PAUSE).await,
            }
        }
        Ok(())
    }

    fn kill(&self) {
        let Some(dir) = self.dirs.first() else { return };
        let pids = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
        for pid in pids.lines().filter_map(|line| line.parse().ok()) {
            if let Some(pid) = rustix::process::Pid::from_raw(pid) {
                // It may be gone by now, which is what is wanted.
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }

    /// The node's parent group goes with the last group in it.
    fn remove_parent(&self) {
        for parent in self.dirs.iter().filter_map(|dir| dir.parent()) {
            // It stays as long as something is in it.
            let _ = fs::remove_dir(parent);
        }
    }

    fn try_remove(&self) -> io::Result<()> {
        for dir in &self.dirs {
            match fs::remove_dir(dir) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn make(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::process::Launch;

    #[tokio::test]
    async fn pictures_come_before_apps() {
        let Some(cgroups) = Cgroups::open(&nearlight_kit::ids::node()) else {
            return; // As below.
        };
        let made = |name, cpu_weight| {
            let ceiling = Ceiling {
                mem_bytes: 32 * 1024 * 1024,
                cpu_milli: None,
                cpu_weight,
                pids: 16,
            };
            cgroups.create(name, ceiling).unwrap()
        };
        let app = made("app", CPU_WEIGHT_DEFAULT);
        let worker = made("worker", CPU_WEIGHT_FIRST);
        let (file, scale) = match cgroups.version {
            Version::V1 => ("cpu.shares", 1024),
            Version::V2 => ("cpu.weight", 100),
        };
        let weight = |group: &Cgroup| -> u32 {
            let text = fs::read_to_string(group.dir_of(file).join(file)).unwrap();
            text.trim().parse().unwrap()
        };
        assert_eq!((weight(&app), weight(&worker)), (scale, 8 * scale));
        assert_eq!(weight(&cgroups.find("")), 8 * scale);
        app.remove().await.unwrap();
        worker.remove().await.unwrap();
    }

    #[tokio::test]
    async fn a_group_limits_memory_and_says_so() {
        let Some(cgroups) = Cgroups::open(&nearlight_kit::ids::node()) else {
            return; // Not permitted here; the sandbox then limits by address space.
        };
        let name = "test";
        let ceiling = Ceiling {
            mem_bytes: 32 * 1024 * 1024,
            cpu_milli: Some(1000),
            cpu_weight: CPU_WEIGHT_DEFAULT,
            pids: 16,
        };
        let group = cgroups.create(name, ceiling).unwrap();
        let process = Launch::new("/bin/sh".into(), "sh")
            .args([
                "-c",
                "x=$(head -c 200000000 /dev/zero | tr '\\0' a); exit 0",
            ])
            .env("PATH", "/usr/bin:/bin")
            .cgroups(group.procs().unwrap())
            .spawn()
            .unwrap();
        process.exited().await;
        assert!(group.oom_kills() > 0);
        assert_eq!(cgroups.names(), [name]);
        group.remove().await.unwrap();
        assert!(cgroups.names().is_empty());
        assert!(!cgroups.dirs_of("")[0].exists());
    }
}
