//! Which processes of a container are a command's: told by control groups, which nobody in it can leave.
//!
//! ```text
//! the container's group --+-- nearlight-job     whatever the job runs, moved here before its first command
//!                         +-- nearlight-ID      a command, with all that it ever starts
//!                         `-- (by itself)       a command that the engine has just started
//! ```
//!
//! A process is born in its parent's group. A command can lead a session of its own, clear its environment and let its
//! parent end; to change its group it would have to write a file that is read only for a container and its host's root's. The
//! engine starts each command in the container's own group. That is kept empty, and commands are started one after
//! the other: so what is in it after a start is of the command that was started.
//!
//! Limits are the container's group's and hold for those below it. They are left to the engine, which removes all of them with
//! the container's.
//!
//! **Invariants.** Nothing is moved out of a command's group. A group of which this agent is a part itself, or that does not
//! have the container's first process in it, is never touched.
//!
//! **What it does not know:** engines, commands. Where no group can be made (an agent that runs in a container without
//! its host's hierarchies) it says so, and [`super::leftovers`] does with what else there is.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

const MOUNT: &str = "/sys/fs/cgroup";
/// The hierarchy of version 1 that every container has a group of: the number of its processes is bounded.
const V1: &str = "pids";
/// What names of groups begin with that are made here.
const PREFIX: &str = "nearlight-";
const JOB: &str = "nearlight-job";
/// Looks at a group that is to be empty. What a process that is moved has started meanwhile is found by the next; one
/// that is ending is in it, and cannot be moved, until the kernel has taken its memory back.
const LOOKS_MAX: u32 = 1000;
/// A look has a pause after it from the third on.
const LOOK_PAUSE: Duration = Duration::from_millis(5);

/// The groups of one container.
#[derive(Clone, Debug)]
pub(super) struct Groups {
    top: PathBuf,
}

/// One group.
#[derive(Clone, Debug)]
pub(super) struct Group {
    dir: PathBuf,
}

impl Groups {
    /// Of the container with this first process; `None` where they cannot be told from this agent's.
    pub(super) fn of(container_pid: i32) -> Option<Self> {
        let (hierarchy, controller) = hierarchy();
        let (theirs, ours) = (
            path_of(container_pid, controller)?,
            path_of(std::process::id(), controller)?,
        );
        let top = without_ours(&theirs);
        if top == "/" || Path::new(&ours).starts_with(top) {
            return None;
        }
        let within = |path: &str| Group {
            dir: hierarchy.join(path.trim_start_matches('/')),
        };
        // A path is relative to what this agent sees as the root.
        let is_there = within(&theirs).pids().contains(&container_pid);
        is_there.then(|| Self {
            top: within(top).dir,
        })
    }

    /// Moves the job's own processes out of the way: what is in the container's group from now on was started by the
    /// engine.
    pub(super) async fn make_way(&self) -> io::Result<()> {
        self.take(JOB).await.map(drop)
    }

    /// Whether the job has processes out of the way.
    pub(super) fn is_split(&self) -> bool {
        !self.group(JOB).pids().is_empty()
    }

    /// Whether a process is one of the job's own.
    pub(super) fn is_of_job(&self, pid: i32) -> bool {
        self.group(JOB).pids().contains(&pid)
    }

    /// Takes what the engine has just started into a group of its own.
    pub(super) async fn take_command(&self, id: &str) -> io::Result<Group> {
        self.take(&format!("{PREFIX}{id}")).await
    }

    /// Groups of commands that are there, whoever made them.
    pub(super) fn commands(&self) -> Vec<Group> {
        let entries = fs::read_dir(&self.top).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let names = names.filter(|name| name.starts_with(PREFIX) && name != JOB);
        names.map(|name| self.group(&name)).collect()
    }

    fn group(&self, name: &str) -> Group {
        Group {
            dir: self.top.join(name),
        }
    }

    async fn take(&self, name: &str) -> io::Result<Group> {
        let group = self.group(name);
        match fs::create_dir(&group.dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let own = Group {
            dir: self.top.clone(),
        };
        for look in 0..LOOKS_MAX {
            let pids = own.pids();
            if pids.is_empty() {
                return Ok(group);
            }
            for pid in pids {
                match fs::write(group.dir.join("cgroup.procs"), pid.to_string()) {
                    // It has ended.
                    Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                    other => other?,
                }
            }
            if look > 1 {
                tokio::time::sleep(LOOK_PAUSE).await;
            }
        }
        Err(io::Error::other("a container's group does not get empty"))
    }
}

impl Group {
    /// The processes in it, without those in groups below it.
    pub(super) fn pids(&self) -> Vec<i32> {
        let text = fs::read_to_string(self.dir.join("cgroup.procs")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// Kills what is in it at one stroke, where the kernel can (version 2, from 5.14 on).
    pub(super) fn kill(&self) {
        let file = self.dir.join("cgroup.kill");
        if file.exists()
            && let Err(error) = fs::write(file, "1")
        {
            tracing::debug!(%error, "a control group is not killed at one stroke");
        }
    }

    /// Removes it, unless something is in it: then it goes with the container's.
    pub(super) fn remove(&self) {
        let _ = fs::remove_dir(&self.dir);
    }
}

/// What tells one container from another in `/proc/<pid>/cgroup`, whichever of its groups the process is in.
pub(super) fn container_of(groups: &str) -> Vec<&str> {
    groups.lines().map(without_ours).collect()
}

/// Where groups are, and what its lines in `/proc/<pid>/cgroup` have between colons.
fn hierarchy() -> (PathBuf, &'static str) {
    let mount = Path::new(MOUNT);
    match mount.join("cgroup.controllers").exists() {
        true => (mount.to_owned(), ""),
        false => (mount.join(V1), V1),
    }
}

fn path_of(pid: impl std::fmt::Display, controller: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    lines.find_map(|(_, rest)| {
        let (controllers, path) = rest.split_once(':')?;
        let is_it = controllers.split(',').any(|one| one == controller);
        is_it.then(|| path.to_owned())
    })
}

/// A path without the group of ours that it may end with.
pub(crate) fn without_ours(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some((top, name)) if name.starts_with(PREFIX) => top,
        _ => path,
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::cgroup::{CPU_WEIGHT_DEFAULT, Ceiling, Cgroup, Cgroups};
    use crate::process::{Launch, Process};

    fn sh(script: &str, group: &Cgroup) -> Process {
        let launch = Launch::new("/bin/sh".into(), "sh").args(["-c", script]);
        let launch = launch.env("PATH", "/usr/bin:/bin");
        launch.cgroups(group.procs().unwrap()).spawn().unwrap()
    }

    async fn until(holds: impl Fn() -> bool) {
        let look = async {
            while !holds() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let patience = Duration::from_secs(30);
        tokio::time::timeout(patience, look).await.unwrap();
    }

    #[tokio::test]
    async fn a_command_that_sheds_all_it_can_is_told_from_the_job() {
        let Some(cgroups) = Cgroups::open(&nearlight_kit::ids::node()) else {
            return; // Not permitted here.
        };
        let ceiling = Ceiling {
            mem_bytes: 64 * 1024 * 1024,
            cpu_milli: None,
            cpu_weight: CPU_WEIGHT_DEFAULT,
            pids: 32,
        };
        // Its name is not of ours, as an engine's are not.
        let container = cgroups.create("engine", ceiling).unwrap();
        let job = sh("sleep 1000 & wait", &container);
        let groups = Groups::of(job.id().pid).unwrap();
        let top = || Group {
            dir: groups.top.clone(),
        };
        until(|| top().pids().len() == 2).await;
        assert!(!groups.is_split());
        groups.make_way().await.unwrap();
        assert!(groups.is_split());
        assert_eq!(groups.group(JOB).pids().len(), 2);
        assert!(Groups::of(job.id().pid).unwrap().top == groups.top);

        // As the engine does; what it leaves has neither its session nor its environment nor its parent.
        let command = sh("(env -i setsid sleep 1000 &) ; exit", &container);
        command.exited().await;
        until(|| !top().pids().is_empty()).await;
        let taken = groups.take_command("one").await.unwrap();
        assert_eq!(taken.pids().len(), 1);
        assert_eq!(top().pids(), [0; 0]);
        assert_eq!(groups.commands().len(), 1);
        for pid in taken.pids() {
            let pid = rustix::process::Pid::from_raw(pid).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        }
        until(|| taken.pids().is_empty()).await;
        taken.remove();
        assert_eq!(groups.commands().len(), 0);
        assert_eq!(groups.group(JOB).pids().len(), 2, "the job goes on");

        for pid in groups.group(JOB).pids() {
            let pid = rustix::process::Pid::from_raw(pid).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        }
        until(|| groups.group(JOB).pids().is_empty()).await;
        groups.group(JOB).remove();
        container.remove().await.unwrap();
    }

    #[test]
    fn this_agents_own_group_is_nobodys() {
        assert!(Groups::of(i32::try_from(std::process::id()).unwrap()).is_none());
    }

    #[test]
    fn a_container_is_one_whichever_group_a_process_is_in() {
        let of = |group: &str| format!("8:pids:/docker/abc{group}\n0::/docker/abc\n");
        let (job, command) = (of("/nearlight-job"), of("/nearlight-req_1"));
        assert_eq!(container_of(&job), container_of(&command));
        assert_eq!(container_of(&job), container_of(&of("")));
        assert_ne!(container_of(&job), container_of("8:pids:/docker/abd\n"));
    }
}
