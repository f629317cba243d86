//! Processes that outlive the agent: spawned into a session of their own, known by pid and start
//! time, watched through a pidfd.
//!
//! **Invariants.** A [`ProcessId`] never names another process that happens to have the same pid.
//! Nothing is inherited but what [`Launch`] names: the environment is cleared, every descriptor is
//! close-on-exec. The agent's death is no signal to a child (no `PR_SET_PDEATHSIG`).
//!
//! **What it does not know:** what the processes are for.

mod pidfd;
mod spawn;

pub(crate) use spawn::{Bind, Launch, Limit, User};

use pidfd::Pidfd;
use rustix::process::{Pid, Signal, WaitOptions};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::sync::Mutex;

/// One process for good: its pid, and when it started, in clock ticks since boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// The pid.
    pub pid: i32,
    /// Field 22 of `/proc/<pid>/stat`.
    pub start_ticks: u64,
}

impl ProcessId {
    /// Names the process that has this pid now, unless it is dead already.
    pub fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is the program's name in parentheses and may hold anything.
        let (_, after_name) = stat.rsplit_once(')')?;
        let mut fields = after_name.split_ascii_whitespace();
        let state = fields.next()?;
        if matches!(state, "Z" | "X") {
            return None;
        }
        // `fields` goes on with field 4.
        let start_ticks = fields.nth(22 - 4)?.parse().ok()?;
        Some(Self { pid, start_ticks })
    }

    /// Whether that very process still runs.
    pub fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }
}

/// A process that can be waited for and signalled.
#[derive(Debug)]
pub(crate) struct Process {
    id: ProcessId,
    pidfd: Pidfd,
    /// Ours to reap, unless it was adopted from an earlier agent.
    child: Mutex<Option<std::process::Child>>,
}

impl Process {
    /// Finds a process of an earlier agent; `None` if it is gone.
    pub(crate) fn find(id: ProcessId) -> io::Result<Option<Self>> {
        let pidfd = match Pidfd::open(id.pid) {
            Ok(pidfd) => pidfd,
            Err(error) if error.kind() == io::ErrorKind::NotFound || is_gone(&error) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        // The descriptor pins the process; now its identity can be checked without a race.
        if !id.is_alive() {
            return Ok(None);
        }
        Ok(Some(Self {
            id,
            pidfd,
            child: Mutex::new(None),
        }))
    }

    fn of_child(mut child: std::process::Child) -> io::Result<Self> {
        let named = i32::try_from(child.id())
            .map_err(|_| io::Error::other("pid out of range"))
            .and_then(|pid| Ok((pid, Pidfd::open(pid)?)));
        match named {
            Ok((pid, pidfd)) => Ok(Self {
                // A child that is dead already is a zombie until it is reaped, so its pid is safe.
                id: ProcessId::of(pid).unwrap_or(ProcessId {
                    pid,
                    start_ticks: 0,
                }),
                pidfd,
                child: Mutex::new(Some(child)),
            }),
            Err(error) => {
                // Without a pidfd nobody would ever stop it again.
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    /// Its lasting name.
    pub(crate) fn id(&self) -> ProcessId {
        self.id
    }

    /// Waits for its end. Of an adopted process the status is not known.
    pub(crate) async fn exited(&self) -> Option<std::process::ExitStatus> {
        // A pidfd is readable from the end of its process on; an error can only be one of epoll,
        // and then the process is taken for dead, which its owner makes true.
        if let Err(error) = self.pidfd.exited().await {
            tracing::error!(pid = self.id.pid, %error, "cannot watch a process");
        }
        let mut child = self
            .child
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        match child.as_mut() {
            Some(child) => child.try_wait().ok().flatten(),
            None => {
                self.reap();
                None
            }
        }
    }

    /// A child whose first handle is gone is still ours to reap. Somebody else's is not, and the
    /// kernel says so.
    fn reap(&self) {
        if let Some(pid) = Pid::from_raw(self.id.pid) {
            let _ = rustix::process::waitpid(Some(pid), WaitOptions::NOHANG);
        }
    }

    /// Kills it. A process that is gone is none the worse.
    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Signals it. A process that is gone is none the worse.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Err(error) = self.pidfd.signal(signal)
            && !is_gone(&error)
        {
            tracing::warn!(pid = self.id.pid, %error, "cannot signal a process");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A child that has ended must not stay a zombie; one that lives is left alone.
        let child = self
            .child
            .get_mut()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(child) = child
            && let Err(error) = child.try_wait()
        {
            tracing::debug!(pid = self.id.pid, %error, "cannot reap a process");
        }
    }
}

/// The children of a process, as the kernel lists them. Empty if it is gone.
pub(crate) fn children_of(pid: i32) -> Vec<i32> {
    fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).map_or_else(
        |_| Vec::new(),
        |list| {
            list.split_ascii_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .collect()
        },
    )
}

/// Every process whose arguments hold `argument` as a whole, such as the directory of a session.
pub(crate) fn with_argument(argument: &std::ffi::OsStr) -> Vec<ProcessId> {
    use std::os::unix::ffi::OsStrExt;
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| {
                line.split(|byte| *byte == 0)
                    .any(|part| part == argument.as_bytes())
            })
        })
        .filter_map(ProcessId::of)
        .collect()
}

fn is_gone(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}

#[cfg(test)]
mod test {
    use super::*;

    fn sleeper() -> Process {
        let launch = Launch::new("/bin/sleep".into(), "sleep");
        launch.args(["1000"]).spawn().unwrap()
    }

    #[tokio::test]
    async fn a_child_is_watched_killed_and_reaped() {
        let process = sleeper();
        let id = process.id();
        assert!(id.is_alive());
        process.kill();
        let status = process.exited().await.unwrap();
        assert_eq!(
            std::os::unix::process::ExitStatusExt::signal(&status),
            Some(9)
        );
        assert!(!id.is_alive());
        assert!(Process::find(id).unwrap().is_none());
    }

    #[tokio::test]
    async fn a_process_is_found_again_by_its_name_only() {
        let process = sleeper();
        let id = process.id();
        let other = ProcessId {
            start_ticks: id.start_ticks + 1,
            ..id
        };
        assert!(Process::find(other).unwrap().is_none());
        let again = Process::find(id).unwrap().unwrap();
        drop(process);
        assert!(id.is_alive());
        again.kill();
        assert!(again.exited().await.is_none());
        let zombie = fs::read_to_string(format!("/proc/{}/stat", id.pid));
        assert!(zombie.is_err(), "{zombie:?}");
    }

    #[tokio::test]
    async fn a_child_leads_a_session_of_its_own_with_a_clean_environment() {
        let process = sleeper();
        let pid = process.id().pid;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields: Vec<_> = stat.split_ascii_whitespace().collect();
        assert_eq!(fields[5], pid.to_string(), "field 6 is the session");
        assert_eq!(fs::read(format!("/proc/{pid}/environ")).unwrap(), b"");
        process.kill();
        process.exited().await;
    }
}
