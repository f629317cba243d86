//! The one place where the agent forks.
#![allow(
    unsafe_code,
    reason = "what must happen between fork and exec (session, limits, user) has no safe interface"
)]

use super::Process;
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{Gid, Uid, setgid, setgroups, setsid, setuid};
use rustix::mount::{MountPropagationFlags, mount_bind_recursive, mount_change};
use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// After standard input, output and error.
const FIRST_UNNAMED_FD: u32 = 3;

/// A user to become, for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Supplementary groups.
    pub(crate) groups: Vec<u32>,
}

/// One resource limit, hard and soft.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit(pub(crate) Resource, pub(crate) u64);

/// A directory shown at another path, in a mount namespace of the process alone. Only root can.
#[derive(Clone, Debug)]
pub(crate) struct Bind {
    pub(crate) source: PathBuf,
    pub(crate) target: PathBuf,
}

/// What to start, and how little it gets.
#[derive(Debug)]
pub(crate) struct Launch {
    program: PathBuf,
    name: &'static str,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    user: Option<User>,
    limits: Vec<Limit>,
    binds: Vec<Bind>,
    cgroups: Vec<File>,
    kept: Vec<OwnedFd>,
    stdin: Option<File>,
    stdout: Option<File>,
    stderr: Option<File>,
}

impl Launch {
    /// Nothing but the program: no arguments, no environment, output to nowhere.
    pub(crate) fn new(program: PathBuf, name: &'static str) -> Self {
        Self {
            program,
            name,
            args: Vec::new(),
            env: Vec::new(),
            user: None,
            limits: Vec::new(),
            binds: Vec::new(),
            cgroups: Vec::new(),
            kept: Vec::new(),
            stdin: None,
            stdout: None,
            stderr: None,
        }
    }

    pub(crate) fn args<I: IntoIterator<Item: Into<OsString>>>(mut self, args: I) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    pub(crate) fn env(mut self, key: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((key.into(), value.into()));
        self
    }

    pub(crate) fn envs<K: Into<OsString>, V: Into<OsString>>(
        mut self,
        more: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        self.env
            .extend(more.into_iter().map(|(k, v)| (k.into(), v.into())));
        self
    }

    /// Becomes this user, with no way back.
    pub(crate) fn user(mut self, user: Option<User>) -> Self {
        self.user = user;
        self
    }

    pub(crate) fn limits(mut self, limits: impl IntoIterator<Item = Limit>) -> Self {
        self.limits.extend(limits);
        self
    }

    pub(crate) fn binds(mut self, binds: impl IntoIterator<Item = Bind>) -> Self {
        self.binds.extend(binds);
        self
    }

    /// Joins the groups whose `cgroup.procs` these are.
    pub(crate) fn cgroups(mut self, procs: Vec<File>) -> Self {
        self.cgroups = procs;
        self
    }

    /// Leaves this descriptor open in the program, under the same number.
    pub(crate) fn keep(mut self, kept: OwnedFd) -> Self {
        self.kept.push(kept);
        self
    }

    pub(crate) fn stdin(mut self, file: File) -> Self {
        self.stdin = Some(file);
        self
    }

    pub(crate) fn stdout(mut self, file: File) -> Self {
        self.stdout = Some(file);
        self
    }

    pub(crate) fn stderr(mut self, file: File) -> Self {
        self.stderr = Some(file);
        self
    }

    /// Starts it, in a session of its own.
    pub(crate) fn spawn(self) -> io::Result<Process> {
        // Kept open until the child has executed it.
        let (path, _pinned) = match &self.user {
            Some(_) if !reachable_by_all(&self.program) => pin(&self.program)?,
            Some(_) | None => (self.program.clone(), None),
        };
        let mut command = Command::new(path);
        command
            .arg0(self.name)
            .args(&self.args)
            .env_clear()
            .envs(self.env.iter().map(|(k, v)| (k, v)))
            .current_dir("/")
            .stdin(self.stdin.map_or_else(Stdio::null, Stdio::from))
            .stdout(self.stdout.map_or_else(Stdio::null, Stdio::from))
            .stderr(self.stderr.map_or_else(Stdio::null, Stdio::from));
        let child = Child {
            binds: self
                .binds
                .iter()
                .map(|bind| Ok((c_string(&bind.source)?, c_string(&bind.target)?)))
                .collect::<io::Result<_>>()?,
            cgroups: self.cgroups,
            kept: self.kept,
            limits: self.limits,
            user: self.user.map(|user| {
                let groups = user.groups.into_iter().map(Gid::from_raw).collect();
                (Uid::from_raw(user.uid), Gid::from_raw(user.gid), groups)
            }),
        };
        // SAFETY: `become_it` makes system calls alone: it allocates nothing, takes no lock, and
        // touches memory that was set up before the fork, as a child of a threaded process must.
        unsafe {
            command.pre_exec(move || child.become_it());
        }
        Process::of_child(command.spawn()?)
    }
}

/// What the child does between fork and exec, ready to use.
struct Child {
    binds: Vec<(CString, CString)>,
    cgroups: Vec<File>,
    kept: Vec<OwnedFd>,
    limits: Vec<Limit>,
    user: Option<(Uid, Gid, Vec<Gid>)>,
}

impl Child {
    fn become_it(&self) -> io::Result<()> {
        setsid()?;
        for mut procs in &self.cgroups {
            // Zero is whoever writes it.
            io::Write::write_all(&mut procs, b"0")?;
        }
        if !self.binds.is_empty() {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS)?;
            mount_change(
                c"/",
                MountPropagationFlags::REC | MountPropagationFlags::DOWNSTREAM,
            )?;
            for (source, target) in &self.binds {
                mount_bind_recursive(source, target)?;
            }
        }
        for Limit(resource, value) in &self.limits {
            setrlimit(*resource, *value, *value)?;
        }
        close_on_exec_from(FIRST_UNNAMED_FD)?;
        for fd in &self.kept {
            rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty())?;
        }
        if let Some((uid, gid, groups)) = &self.user {
            setgroups(groups)?;
            setgid(*gid)?;
            setuid(*uid)?;
        }
        nix::sys::prctl::set_no_new_privs()?;
        Ok(())
    }
}

/// Whoever started the agent may have left descriptors open that are nobody's business.
fn close_on_exec_from(first: u32) -> io::Result<()> {
    // SAFETY: the call takes three numbers, touches no memory, and marks descriptors of this
    // process alone, which is about to execute another program.
    let done = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    if done == 0 {
        return Ok(());
    }
    Err(io::Error::last_os_error())
}

/// Whether any user can execute the program by its path.
fn reachable_by_all(program: &Path) -> bool {
    const EXECUTE_BY_OTHERS: u32 = 0o001;
    program.ancestors().all(|part| {
        part.as_os_str().is_empty()
            || fs::metadata(part).is_ok_and(|meta| meta.mode() & EXECUTE_BY_OTHERS != 0)
    })
}

/// A path to the program that works for a user who cannot walk to it: root's open descriptor.
fn pin(program: &Path) -> io::Result<(PathBuf, Option<File>)> {
    let path_only = i32::try_from(rustix::fs::OFlags::PATH.bits())
        .map_err(|_| io::Error::other("O_PATH is out of range"))?;
    let file = fs::OpenOptions::new()
        .read(true)
        .custom_flags(path_only)
        .open(program)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    Ok((path, Some(file)))
}

fn c_string(path: &Path) -> io::Result<CString> {
    let path: &OsStr = path.as_os_str();
    Ok(CString::new(path.as_bytes())?)
}
