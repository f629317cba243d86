//! What is left of a command, found and killed. The engine starts commands and ends none.
//!
//! A command is in a control group of its own ([`super::groups`]), which neither it nor what it starts can leave. Where no
//! such group can be made there is less: it leads a session (setsid, which the OCI runtime does), and has a mark in its
//! environment, which what it starts inherits. A process is of the command then if it is in the container's control group and
//! of that session, or has the mark; a mark alone would be any process's of the host to forge, a session's number may be
//! another's by now. Whoever sheds both there ends with the job, and no later.
//!
//! **Invariants.** Only processes of this container are ever signalled: each is pinned first, and looked at then. The
//! container's first process is not among them.

use super::groups::{Group, Groups, container_of};
use crate::limits::{EXEC_KILLS_MAX, EXEC_LOOK_EVERY};
use crate::process::Process;
use rustix::process::Signal;
use std::fs;
use std::io;

/// The variable that marks what commands start.
pub(crate) const MARK: &str = "NEARLIGHT_EXEC";

/// The processes of a command, or of all of them.
#[derive(Clone, Debug)]
pub(crate) struct Marked {
    /// The container's first process.
    container_pid: i32,
    /// The container's control groups, as the kernel names them.
    place: String,
    /// Those that can be told apart, where any can.
    groups: Option<Groups>,
    /// The command's own, once it has begun.
    group: Option<Group>,
    /// The command's first process, once it is known.
    pub(super) leader: Option<i32>,
    /// `NAME=VALUE`, or `NAME=` for whatever value.
    mark: String,
}

impl Marked {
    /// Of the command with this id; `None` if the container is gone.
    pub(super) fn of(container_pid: i32, id: &str) -> Option<Self> {
        Self::with(container_pid, format!("{MARK}={id}"))
    }

    fn with(container_pid: i32, mark: String) -> Option<Self> {
        let place = fs::read_to_string(format!("/proc/{container_pid}/cgroup")).ok()?;
        // One that shares its group with the host's own processes is not told apart from them.
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        (place != own).then(|| Self {
            container_pid,
            place,
            groups: Groups::of(container_pid),
            group: None,
            leader: None,
            mark,
        })
    }

    /// Has the job's own processes stand aside before the command begins.
    pub(super) async fn make_way(&mut self) {
        let made = match &self.groups {
            Some(groups) => groups.make_way().await,
            None => Ok(()),
        };
        self.without(made.err());
    }

    /// The command has begun: what there is of it, and what becomes of that, is in a group of its own from now on.
    pub(super) async fn take(&mut self, id: &str) {
        let Some(groups) = &self.groups else { return };
        let is_elsewhere = self.leader.is_some_and(|leader| groups.is_of_job(leader));
        match groups.take_command(id).await {
            Ok(_) if is_elsewhere => {
                self.without(Some(io::Error::other("the runtime puts it beside the job")));
            }
            Ok(group) => self.group = Some(group),
            Err(error) => self.without(Some(error)),
        }
    }

    fn without(&mut self, error: Option<io::Error>) {
        if let Some(error) = error {
            tracing::warn!(%error, "a command in a job has no control group of its own; what sheds its session and environment ends with the job");
            self.groups = None;
        }
    }

    /// Signals each of them. How many there were.
    pub(super) fn signal(&self, signal: Signal) -> usize {
        let pids = pids().into_iter().filter(|pid| self.has(*pid));
        let mut found = 0;
        for pid in pids {
            let Some(process) = crate::process::ProcessId::of(pid)
                .and_then(|id| Process::find(id).ok().flatten())
                // Pinned: what is read now is of this very process.
                .filter(|_| self.has(pid))
            else {
                continue;
            };
            process.signal(signal);
            found += 1;
        }
        found
    }

    /// Kills all of them, and what they start meanwhile.
    pub(super) async fn kill(&self) {
        for _ in 0..EXEC_KILLS_MAX {
            if let Some(group) = &self.group {
                group.kill();
            }
            // What was forked behind the look's back is in the group.
            let is_empty = |group: &Group| group.pids().is_empty();
            if self.signal(Signal::KILL) == 0 && self.group.as_ref().is_none_or(is_empty) {
                if let Some(group) = &self.group {
                    group.remove();
                }
                return;
            }
            tokio::time::sleep(EXEC_LOOK_EVERY).await;
        }
        tracing::warn!("something of a command in a job cannot be killed; it ends with the job");
    }

    fn has(&self, pid: i32) -> bool {
        let file = |name| fs::read(format!("/proc/{pid}/{name}"));
        let is_inside = |groups: Vec<u8>| {
            let groups = String::from_utf8_lossy(&groups);
            container_of(&groups) == container_of(&self.place)
        };
        if pid == self.container_pid || !file("cgroup").is_ok_and(is_inside) {
            return false;
        }
        if let Some(group) = &self.group
            && group.pids().contains(&pid)
        {
            return true;
        }
        let is_led = self.leader.is_some() && session_of(pid) == self.leader;
        let has_mark = |environ: Vec<u8>| {
            let mut variables = environ.split(|byte| *byte == 0);
            variables.any(|variable| match self.mark.ends_with('=') {
                true => variable.starts_with(self.mark.as_bytes()),
                false => variable == self.mark.as_bytes(),
            })
        };
        is_led || file("environ").is_ok_and(has_mark)
    }
}

/// Kills what commands of an earlier agent left in a container.
pub(crate) async fn sweep(container_pid: i32) {
    let Some(mut all) = Marked::with(container_pid, format!("{MARK}=")) else {
        return;
    };
    if let Some(groups) = all.groups.clone() {
        // One that was just started when that agent was killed is in no group of its own yet.
        if groups.is_split() {
            all.take("swept").await;
        }
        for group in groups.commands() {
            all.group = Some(group);
            all.kill().await;
        }
    }
    all.group = None;
    all.kill().await;
}

fn pids() -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    names.collect()
}

/// Field 6 of `/proc/<pid>/stat`.
fn session_of(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_ascii_whitespace().nth(6 - 3)?.parse().ok()
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn processes_of_other_groups_are_never_touched() {
        let me = i32::try_from(std::process::id()).unwrap();
        // A container in the agent's own group: nothing can be told apart, so nothing is.
        assert!(Marked::with(me, format!("{MARK}=")).is_none());
        let foreign = Marked {
            container_pid: 1,
            place: "0::/of/another\n".to_owned(),
            groups: None,
            group: None,
            leader: session_of(me),
            mark: "PATH=".to_owned(),
        };
        assert!(!foreign.has(me));
        let own = Marked {
            place: fs::read_to_string("/proc/self/cgroup").unwrap(),
            ..foreign
        };
        assert!(own.has(me), "of the session");
        let first = Marked {
            container_pid: me,
            ..own
        };
        assert!(!first.has(me), "the first process");
    }
}
