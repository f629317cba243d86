//! File systems that the agent mounts for a job: a disk of a fixed size, and memory for secrets.
//!
//! A disk is ext4 on a file of the node's data directory, through a loop device. The file is reserved in
//! full and unlinked once it is mounted: whatever happens to the agent or the host, it is gone with its mount.
//! Secrets lie on ramfs, which is never swapped out; a job cannot write there.
//!
//! **Invariant.** Whatever is mounted below a job's directory is found by that path, and taken down with it.

use crate::limits::{COMMAND_DEADLINE, DISK_MIB_MIN, VOLUME_DETACH_DEADLINE};
use rustix::mount::{MountFlags, UnmountFlags};
use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Seek};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

/// Makes a disk of so many MiB, backed by `file`, and mounts it at `at`.
pub(crate) async fn disk(file: &Path, mib: u32, at: &Path) -> io::Result<()> {
    let made = make_disk(file, mib, at).await;
    // With its mount it stays as long as that; without, nobody needs it.
    let unlinked = fs::remove_file(file);
    made.and(unlinked)
}

async fn make_disk(file: &Path, mib: u32, at: &Path) -> io::Result<()> {
    let bytes = u64::from(mib.max(DISK_MIB_MIN)) << 20;
    let backing = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)?;
    // Reserved, so that no job finds a full disk before it has used its own.
    rustix::fs::fallocate(&backing, rustix::fs::FallocateFlags::empty(), 0, bytes)?;
    drop(backing);
    format(file, false).await?;
    attach(file, at).await
}

/// Makes a file system in a file. With a journal it is whole again after a power cut.
pub(crate) async fn format(file: &Path, has_journal: bool) -> io::Result<()> {
    let journal = if has_journal {
        "has_journal"
    } else {
        "^has_journal"
    };
    let options = ["-q", "-F", "-m", "0", "-O", journal];
    let lazy = ["-E", "lazy_itable_init=1,nodiscard"];
    let args = options.iter().chain(&lazy).map(OsStr::new);
    command("mkfs.ext4", args.chain([file.as_os_str()])).await
}

/// Mounts the file system in a file.
pub(crate) async fn attach(file: &Path, at: &Path) -> io::Result<()> {
    let args = ["-t", "ext4", "-o", "loop,nosuid,nodev"].map(OsStr::new);
    let places = [file.as_os_str(), at.as_os_str()];
    command("mount", args.into_iter().chain(places)).await
}

/// Mounts memory at `at`, for us alone.
pub(crate) fn memory(at: &Path) -> io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount("none", at, "ramfs", flags, c"mode=0700")?;
    Ok(())
}

/// Whether something is mounted there.
pub(crate) fn is_mounted(at: &Path) -> bool {
    all().is_ok_and(|mounts| mounts.iter().any(|mount| mount == at))
}

/// Unmounts everything below `dir`, the last mounted first. What is busy goes when it is not any more.
pub(crate) fn unmount_below(dir: &Path) -> io::Result<()> {
    let mounts = all()?;
    for mount in mounts.iter().rev().filter(|mount| mount.starts_with(dir)) {
        rustix::mount::unmount(mount, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)?;
    }
    Ok(())
}

/// Where something is mounted, in order.
fn all() -> io::Result<Vec<PathBuf>> {
    let text = fs::read("/proc/self/mountinfo")?;
    let lines = text.split(|byte| *byte == b'\n');
    // proc(5): the fifth field, in which blanks are octal.
    let points = lines.filter_map(|line| line.split(|byte| *byte == b' ').nth(4));
    Ok(points.map(unescaped).collect())
}

fn unescaped(point: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(point.len());
    let mut rest = point;
    while let Some((first, after)) = rest.split_first() {
        let octal = after
            .get(..3)
            .filter(|_| *first == b'\\')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.push(octal.unwrap_or(*first));
        rest = if octal.is_some() { &after[3..] } else { after };
    }
    PathBuf::from(OsStr::from_bytes(&bytes))
}

/// Runs a program of the host's to its end.
pub(crate) async fn command(
    program: &str,
    args: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> io::Result<()> {
    match outcome(program, args, COMMAND_DEADLINE).await? {
        (Some(0), _) => Ok(()),
        (_, words) => Err(io::Error::other(format!("{program} failed: {words}"))),
    }
}

/// What flock(1) ends with if somebody else has the file.
const TAKEN: i32 = 75;

/// Runs a program of the host's that must not be killed while it writes a file, and has the file for itself meanwhile:
/// whoever waits for it may go, by a deadline or with the whole agent, and it goes on. Its exit status, and its last
/// words; `None` where another one still has the file.
pub(crate) async fn unkilled(
    program: &str,
    args: impl IntoIterator<Item = impl AsRef<OsStr>>,
    file: &Path,
    deadline: Duration,
) -> io::Result<Option<(Option<i32>, String)>> {
    unkilled_after(program, args, (file, VOLUME_DETACH_DEADLINE), deadline).await
}

pub(super) async fn unkilled_after(
    program: &str,
    args: impl IntoIterator<Item = impl AsRef<OsStr>>,
    (file, wait): (&Path, Duration),
    deadline: Duration,
) -> io::Result<Option<(Option<i32>, String)>> {
    // Into memory: a pipe would end with whoever reads it, and the program by its next word.
    let words = rustix::fs::memfd_create("words", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut words = fs::File::from(words);
    let taken = TAKEN.to_string();
    let wait_s = wait.as_secs_f32().to_string();
    // In place of itself: the lock is the program's, and goes with it.
    let mut child = tokio::process::Command::new("flock")
        .args([
            "--no-fork",
            "--wait",
            &wait_s,
            "--conflict-exit-code",
            &taken,
        ])
        .arg(file)
        .arg(program)
        .args(args)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(words.try_clone()?)
        .stderr(words.try_clone()?)
        .spawn()
        .map_err(|error| io::Error::new(error.kind(), format!("flock: {error}")))?;
    let ended = tokio::time::timeout(deadline, child.wait()).await;
    let status = ended.map_err(|_elapsed| {
        let late = format!("{program} did not end in time, and goes on");
        io::Error::new(io::ErrorKind::TimedOut, late)
    })??;
    if status.code() == Some(TAKEN) {
        return Ok(None);
    }
    let mut said = Vec::new();
    words.seek(io::SeekFrom::Start(0))?;
    words.read_to_end(&mut said)?;
    Ok(Some((status.code(), crate::runtime::last_words(&said))))
}

/// Runs a program of the host's: its exit status, and its last words.
pub(crate) async fn outcome(
    program: &str,
    args: impl IntoIterator<Item = impl AsRef<OsStr>>,
    deadline: Duration,
) -> io::Result<(Option<i32>, String)> {
    let child = tokio::process::Command::new(program)
        .args(args)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(deadline, child)
        .await
        .map_err(|_elapsed| {
            io::Error::new(
                io::ErrorKind::TimedOut,
                format!("{program} did not end in time"),
            )
        })?
        .map_err(|error| io::Error::new(error.kind(), format!("{program}: {error}")))?;
    let said = if output.stderr.is_empty() {
        &output.stdout
    } else {
        &output.stderr
    };
    Ok((output.status.code(), crate::runtime::last_words(said)))
}

/// Whether this host can hold a job to a disk: tried out. Needs root.
pub(crate) async fn try_disk(disks: &Path, run: &Path) -> io::Result<()> {
    let at = run.join("disk-trial");
    fs::create_dir_all(disks)?;
    let _ = fs::remove_file(disks.join("trial"));
    unmount_below(&at)?;
    fs::create_dir_all(&at)?;
    let tried = disk(&disks.join("trial"), DISK_MIB_MIN, &at).await;
    unmount_below(&at)?;
    fs::remove_dir(&at)?;
    tried
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn blanks_in_a_mount_point_are_octal() {
        for (point, path) in [
            ("/run/a", "/run/a"),
            (r"/run/a\040b\134", r"/run/a b\"),
            (r"/run/a\04", r"/run/a\04"),
            (r"\9", r"\9"),
        ] {
            assert_eq!(unescaped(point.as_bytes()), PathBuf::from(path), "{point}");
        }
        assert!(is_mounted(Path::new("/proc")));
        assert!(!is_mounted(Path::new("/proc/self")));
    }
}
