//! The process that copies files out of a job's container and into it: this very program, started by the agent as
//! `edge-node copier get|put PID TICKS PATH`.
//!
//! ```text
//! root, one thread --mount namespace, control groups, user of the job--> the job's own view, for good
//!   get: looks the tree through --> {"length"}, and the archive
//!   put: the archive --> {"copied"}              or {"refused"}, and nothing more
//! ```
//!
//! It gives up what the agent is before it looks at a single name: from then on each name means what it means for the
//! job, a link of the job's leads nowhere but in the job's own file system, and the kernel refuses what it refuses
//! the job. A race with the job's program wins that program nothing. No library is loaded after that, and nothing
//! but files, directories and links is opened.
//!
//! **Invariants.** It never works as root. /proc, /sys and /dev are never copied, secrets only where they are named.
//!
//! **What it does not know:** containers, tunnels.

use crate::process::ProcessId;
use nearlight_kit::tree::{Destination, Packed, Skips, TreeError};
use nearlight_protocol::inside::{ARCHIVE_BYTES_MAX, Copied};
use nix::sched::{CloneFlags, setns};
use nix::unistd::{Gid, Uid, getpid, setgid, setgroups, setuid};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// This very program, whatever has become of its file.
pub(crate) const PROGRAM: &str = "/proc/self/exe";
/// The first argument of a copier.
pub const VERB: &str = "copier";
/// What is the kernel's.
const NEVER: [&str; 3] = ["/proc", "/sys", "/dev"];
/// Where a job has its secrets. Its tenant may have them, and has to say so: a tree is easily copied further than
/// one thinks.
const UNNAMED: [&str; 2] = ["/run/secrets", "/var/run/secrets"];

/// The one line that a copier says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Said {
    /// An archive of so many bytes follows.
    Length(u64),
    /// The archive is in place.
    Copied(Copied),
    /// Nothing more comes.
    Refused {
        /// Why, for the caller.
        detail: String,
        /// What was named is not there.
        is_absent: bool,
    },
}

/// Why nothing is copied.
#[derive(Debug, thiserror::Error)]
enum CopyError {
    #[error("the arguments are wrong")]
    Usage,
    #[error("the job's view cannot be taken: {0}")]
    Enter(#[source] io::Error),
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// Copies, and ends. Runs before any thread is started.
pub fn run(arguments: &[OsString]) -> ExitCode {
    let failed = match copy(arguments) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(error) => error,
    };
    let is_absent = matches!(&failed, CopyError::Tree(error) if error.is_not_found());
    let said = Said::Refused {
        detail: words(&failed),
        is_absent,
    };
    // The agent that does not hear it is gone.
    let _ = say(&said);
    ExitCode::FAILURE
}

/// What a caller can do about it.
fn words(error: &CopyError) -> String {
    let hint = match error {
        CopyError::Tree(TreeError::Path { source, .. }) => match source.kind() {
            io::ErrorKind::ReadOnlyFilesystem => {
                " A job can write /tmp, /var/tmp, its home and its volumes."
            }
            io::ErrorKind::PermissionDenied => " Copies are made as the job's own user.",
            io::ErrorKind::StorageFull => " Give the job more `disk_mib`.",
            _ => "",
        },
        _ => "",
    };
    format!("{error}.{hint}")
}

fn copy(arguments: &[OsString]) -> Result<(), CopyError> {
    let [way, pid, ticks, path] = arguments else {
        return Err(CopyError::Usage);
    };
    let number = |text: &OsString| text.to_str().and_then(|text| text.parse::<u64>().ok());
    let id = ProcessId {
        pid: number(pid)
            .and_then(|pid| i32::try_from(pid).ok())
            .ok_or(CopyError::Usage)?,
        start_ticks: number(ticks).ok_or(CopyError::Usage)?,
    };
    let path = PathBuf::from(path);
    enter(id).map_err(CopyError::Enter)?;
    match way.to_str() {
        Some("get") => get(&path),
        Some("put") => put(&path),
        Some(_) | None => Err(CopyError::Usage),
    }
}

fn get(path: &Path) -> Result<(), CopyError> {
    let skips = Skips {
        never: &NEVER,
        unnamed: &UNNAMED,
    };
    let packed = Packed::scan(path, None, skips)?;
    say(&Said::Length(packed.length())).map_err(TreeError::Out)?;
    let mut out = io::BufWriter::with_capacity(64 * 1024, io::stdout().lock());
    Ok(packed.write(&mut out)?)
}

fn put(path: &Path) -> Result<(), CopyError> {
    let is_taken = |taken: &&str| path.starts_with(taken);
    if NEVER.iter().any(is_taken) {
        let path = path.display().to_string();
        let what = "the kernel's";
        return Err(TreeError::Unfit { path, what }.into());
    }
    let input = io::BufReader::with_capacity(64 * 1024, io::stdin().lock());
    let done = Destination::of(path)?.unpack(input, ARCHIVE_BYTES_MAX)?;
    let copied = Copied {
        entries: done.entries,
        bytes: done.bytes,
        links_skipped: done.links_skipped,
    };
    Ok(say(&Said::Copied(copied)).map_err(TreeError::Out)?)
}

fn say(said: &Said) -> io::Result<()> {
    let mut line = serde_json::to_vec(said)?;
    line.push(b'\n');
    let mut stdout = io::stdout().lock();
    stdout.write_all(&line)?;
    stdout.flush()
}

/// Takes the view and the user of a process of the job, with no way back.
fn enter(id: ProcessId) -> io::Result<()> {
    let who = Who::of(id.pid)?;
    let view = File::open(format!("/proc/{}/ns/mnt", id.pid))?;
    let groups = fs::read_to_string(format!("/proc/{}/cgroup", id.pid))?;
    if !id.is_alive() {
        return Err(io::Error::other("the container has ended"));
    }
    join(&groups);
    setns(&view, CloneFlags::CLONE_NEWNS)?;
    std::env::set_current_dir("/")?;
    setgroups(&who.groups)?;
    setgid(who.gid)?;
    setuid(who.uid)?;
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    nix::sys::prctl::set_no_new_privs()?;
    // A user that is not root has lost every right with the change; a kernel that leaves one is not believed.
    if setuid(Uid::from_raw(0)).is_ok() {
        return Err(io::Error::other("root cannot be given up here"));
    }
    Ok(())
}

/// Joins the job's control groups, so that what is written counts as the job's. Where that cannot be, the disk and
/// the memory that the job may fill still have their bounds.
fn join(groups: &str) {
    let pid = getpid().to_string();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        let root = Path::new("/sys/fs/cgroup").join(controllers.trim_start_matches("name="));
        let procs = root.join(path.trim_start_matches('/')).join("cgroup.procs");
        let _ = fs::write(procs, &pid);
    }
}

/// As whom a process runs.
#[derive(Debug, PartialEq, Eq)]
struct Who {
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
}

impl Who {
    fn of(pid: i32) -> io::Result<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/status"))?)
    }

    fn parse(status: &str) -> io::Result<Self> {
        let numbers = |name: &str| {
            let mut lines = status.lines();
            let line = lines.find_map(|line| line.strip_prefix(name));
            let words = line.into_iter().flat_map(str::split_ascii_whitespace);
            words
                .filter_map(|word| word.parse::<u32>().ok())
                .collect::<Vec<_>>()
        };
        let (uids, gids) = (numbers("Uid:"), numbers("Gid:"));
        // Real, effective, saved and of the file system: one and the same, and not root.
        let one = |ids: &[u32]| match ids {
            [id, rest @ ..] if rest.len() == 3 && rest.iter().all(|other| other == id) => Some(*id),
            _ => None,
        };
        match (one(&uids), one(&gids)) {
            (Some(uid), Some(gid)) if uid != 0 => Ok(Self {
                uid: Uid::from_raw(uid),
                gid: Gid::from_raw(gid),
                groups: numbers("Groups:").into_iter().map(Gid::from_raw).collect(),
            }),
            _ => Err(io::Error::other("the container runs as root")),
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn it_works_as_the_job_and_never_as_root() {
        let status =
            |uid: &str| format!("Name:\tx\nUid:\t{uid}\nGid:\t7\t7\t7\t7\nGroups:\t7 8 \n");
        let who = Who::parse(&status("5\t5\t5\t5")).unwrap();
        assert_eq!(who.uid.as_raw(), 5);
        assert_eq!(who.groups, [7, 8].map(Gid::from_raw));
        for wrong in ["0\t0\t0\t0", "5\t0\t5\t5", "5\t5", ""] {
            assert!(Who::parse(&status(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let of = |kind: io::ErrorKind| {
            words(&CopyError::Tree(TreeError::Path {
                path: "/etc/x".to_owned(),
                source: kind.into(),
            }))
        };
        assert!(of(io::ErrorKind::ReadOnlyFilesystem).contains("/tmp"));
        assert!(of(io::ErrorKind::PermissionDenied).contains("user"));
        assert!(of(io::ErrorKind::NotFound).starts_with("/etc/x: "));
    }
}
