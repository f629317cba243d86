//! Volumes of this node: `<data>/volumes/`, one file system in a file each.
//!
//! ```text
//! <vol>.new      being made: never mounted, made anew after a crash
//! <vol>.img      ext4, all of its size set aside; mounted while a job has it
//! <vol>.orphan   beside it: since when the ledger does not know it, Unix milliseconds
//! <vol>.wiping   deleted: no job gets it any more, and its bytes are being written over
//! ```
//!
//! It is checked (`e2fsck -p`) before each mount, and never mounted twice: two mounts of one file destroy it. What checks
//! it or makes it grow is never killed, and has it locked (flock(1)): a job, or an agent, that does not wait for that any
//! more leaves it to its end, and until then nobody else gets the volume.
//! What a mount leaves after a kill of the agent goes with the job's directory, as its disk does.
//!
//! **Invariants.** A volume that was here and is gone is never replaced by an empty one. What the ledger has
//! deleted is wiped; what it does not know is kept for days first, for a ledger may have been restored.
//!
//! **What it does not know:** owners and names. Files are named by ids, so no two of them meet.

pub(super) mod wipe;

use super::mounts;
use super::who::Who;
use crate::limits::{DISK_MIB_MIN, VOLUME_COMMAND_DEADLINE, VOLUME_DETACH_DEADLINE};
use nearlight_protocol::id::VolumeId;
use nearlight_protocol::limits::VOLUMES_PER_NODE_MAX;
use nearlight_protocol::volume::{VolumeGrant, VolumeHeld, VolumesKnown};
use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const MIB: u64 = 1024 * 1024;
const DAY_MS: u64 = 24 * 3600 * 1000;
/// Between two looks whether a former mount has let go.
const DETACH_POLL: Duration = Duration::from_millis(100);
/// The job's part of a file system; beside it is `lost+found`, which is nobody's.
const ROOT: &str = "data";

/// The volumes of a node.
#[derive(Clone, Debug)]
pub(crate) struct Volumes {
    dir: PathBuf,
    orphan_days: u32,
}

/// Why a job cannot have a volume.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VolumeError {
    /// It is gone.
    #[error("its volume `{0}` is not on this node any more")]
    Lost(String),
    /// Something still has it mounted.
    #[error(
        "its volume `{0}` is still mounted on this node, or its file system is still looked over or grows"
    )]
    Busy(String),
    /// Its file system cannot be put in order without a human.
    #[error("the file system of its volume `{name}` is damaged; e2fsck -p says: {words}")]
    Damaged {
        /// Which.
        name: String,
        /// What is wrong.
        words: String,
    },
    /// There are too many.
    #[error("this node keeps {VOLUMES_PER_NODE_MAX} volumes and takes no more")]
    TooMany,
    /// The host.
    #[error("cannot mount its volume `{name}`: {source}")]
    Host {
        /// Which.
        name: String,
        /// Why.
        source: io::Error,
    },
}

impl Volumes {
    pub(crate) fn new(data: &Path, orphan_days: u32) -> Self {
        Self {
            dir: data.join("volumes"),
            orphan_days,
        }
    }

    /// Those that are here, being wiped or not.
    pub(crate) fn held(&self) -> Vec<VolumeHeld> {
        let found = self.files(&["img", "wiping"]);
        let held = found.into_iter().map(|(volume, path)| VolumeHeld {
            size_mib: size_mib(&path),
            volume,
        });
        held.collect()
    }

    /// Disk that they take, MiB.
    pub(crate) fn held_mib(&self) -> u64 {
        let sizes = self.held();
        sizes.iter().map(|held| u64::from(held.size_mib)).sum()
    }

    /// Mounts a volume for a job, at a directory that is there; makes or grows it first. Returns what the
    /// container gets of it.
    pub(crate) async fn mount(
        &self,
        grant: &VolumeGrant,
        at: &Path,
        who: &Who,
    ) -> Result<PathBuf, VolumeError> {
        let name = || grant.name.clone();
        let host = |source| VolumeError::Host {
            name: name(),
            source,
        };
        let file = self.file(&grant.volume, "img");
        if !file.exists() {
            if !grant.is_new {
                return Err(VolumeError::Lost(name()));
            }
            if self.held().len() >= VOLUMES_PER_NODE_MAX {
                return Err(VolumeError::TooMany);
            }
            self.make(&grant.volume, grant.size_mib)
                .await
                .map_err(host)?;
        } else if !detached(&file).await {
            return Err(VolumeError::Busy(name()));
        }
        // Whoever grants it knows it, whatever the last list said.
        let _ = fs::remove_file(self.file(&grant.volume, "orphan"));
        let fault = |fault| match fault {
            Fault::Busy => VolumeError::Busy(name()),
            Fault::Damaged(words) => VolumeError::Damaged {
                name: name(),
                words,
            },
            Fault::Host(source) => host(source),
        };
        check(&file).await.map_err(fault)?;
        grow(&file, grant.size_mib).await.map_err(fault)?;
        mounts::attach(&file, at).await.map_err(host)?;
        own(&at.join(ROOT), who).map_err(host)
    }

    async fn make(&self, volume: &VolumeId, mib: u32) -> io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        let (new, file) = (self.file(volume, "new"), self.file(volume, "img"));
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let made = async {
            reserve(&new, mib).await?;
            mounts::format(&new, true).await?;
            File::open(&new)?.sync_all()?;
            fs::rename(&new, &file)?;
            File::open(&self.dir)?.sync_all()
        };
        let made = made.await;
        if made.is_err() {
            // What could not be made takes no room; that there may be nothing to remove is fine.
            let _ = fs::remove_file(&new);
        }
        made
    }

    /// Removes what an earlier agent was making: it was never mounted, and has nothing of anybody's.
    pub(crate) fn sweep(&self) {
        for (volume, file) in self.files(&["new"]) {
            tracing::warn!(volume_id = %volume, "removing a volume that was never made");
            if let Err(error) = fs::remove_file(&file) {
                tracing::error!(volume_id = %volume, %error, "it stays");
            }
        }
    }

    /// Wipes what the ledger has deleted, and what it has not known for days. Blocks for as long as writing
    /// over what was written takes. Returns whether anything is gone.
    pub(crate) fn tidy(&self, known: &VolumesKnown, stop: &CancellationToken) -> bool {
        let keep: BTreeSet<&VolumeId> = known.keep.iter().collect();
        let wipe: BTreeSet<&VolumeId> = known.wipe.iter().collect();
        for (volume, file) in self.files(&["img"]) {
            let mark = self.file(&volume, "orphan");
            let is_over = if keep.contains(&volume) {
                let _ = fs::remove_file(mark);
                false
            } else {
                wipe.contains(&volume) || self.is_long_unknown(&volume, &mark)
            };
            if is_over && !is_attached(&file) {
                let to = self.file(&volume, "wiping");
                if let Err(error) = fs::rename(&file, to) {
                    tracing::error!(volume_id = %volume, %error, "a volume cannot be wiped");
                }
            }
        }
        let mut is_any_gone = false;
        for (volume, file) in self.files(&["wiping"]) {
            match wipe::wipe(&file, stop) {
                Ok(true) => {
                    tracing::info!(volume_id = %volume, "a volume is wiped");
                    let _ = fs::remove_file(self.file(&volume, "orphan"));
                    is_any_gone = true;
                }
                // The next start goes on.
                Ok(false) => return is_any_gone,
                Err(error) => {
                    tracing::error!(volume_id = %volume, %error, "a volume cannot be wiped; the next look tries again");
                }
            }
        }
        is_any_gone
    }

    /// Whether nobody has known a volume for as long as the operator says. Begins to count.
    fn is_long_unknown(&self, volume: &VolumeId, mark: &Path) -> bool {
        let now = nearlight_kit::clock::unix_ms();
        let since = fs::read_to_string(mark).ok();
        let since = since.and_then(|text| text.trim().parse::<u64>().ok());
        let Some(since) = since else {
            tracing::warn!(volume_id = %volume, days = self.orphan_days, "the ledger does not know a volume; it is kept for so many days, then wiped");
            let _ = nearlight_kit::files::write_atomic(mark, now.to_string().as_bytes(), 0o600);
            return false;
        };
        now.saturating_sub(since) >= u64::from(self.orphan_days) * DAY_MS
    }

    fn file(&self, volume: &VolumeId, kind: &str) -> PathBuf {
        self.dir.join(format!("{volume}.{kind}"))
    }

    fn files(&self, kinds: &[&str]) -> Vec<(VolumeId, PathBuf)> {
        let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let found = entries.filter_map(|entry| {
            let path = entry.path();
            let kind = path.extension()?.to_str()?;
            let volume = path.file_stem()?.to_str()?.parse().ok()?;
            kinds.contains(&kind).then_some((volume, path))
        });
        let mut found: Vec<_> = found.collect();
        found.sort_unstable();
        found
    }
}

fn size_mib(file: &Path) -> u32 {
    let bytes = fs::metadata(file).map_or(0, |found| found.len());
    u32::try_from(bytes.div_ceil(MIB)).unwrap_or(u32::MAX)
}

/// Sets all of a size aside, so that no job finds a full disk before it has used its own.
async fn reserve(file: &Path, mib: u32) -> io::Result<()> {
    let file = file.to_owned();
    let bytes = u64::from(mib.max(DISK_MIB_MIN)) * MIB;
    let reserved = tokio::task::spawn_blocking(move || {
        let backing = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(file)?;
        rustix::fs::fallocate(&backing, rustix::fs::FallocateFlags::empty(), 0, bytes)?;
        backing.sync_all()
    });
    reserved.await.map_err(io::Error::other)?
}

async fn grow(file: &Path, mib: u32) -> Result<(), Fault> {
    if size_mib(file) < mib {
        reserve(file, mib).await.map_err(Fault::Host)?;
    }
    // After a kill in between the file is larger than what is in it; where nothing is to do it is quick.
    let args = [file.as_os_str()];
    let outcome = mounts::unkilled("resize2fs", args, file, VOLUME_COMMAND_DEADLINE).await;
    match outcome.map_err(Fault::Host)? {
        None => Err(Fault::Busy),
        Some((Some(0), _)) => Ok(()),
        Some((_, words)) => {
            let failed = format!("resize2fs failed: {words}");
            Err(Fault::Host(io::Error::other(failed)))
        }
    }
}

enum Fault {
    /// Something that was not waited for still works on it.
    Busy,
    Damaged(String),
    Host(io::Error),
}

/// Puts a file system in order, as far as that loses nothing (e2fsck(8): 0 well, 1 put in order).
async fn check(file: &Path) -> Result<(), Fault> {
    let args = [std::ffi::OsStr::new("-p"), "-f".as_ref(), file.as_os_str()];
    let outcome = mounts::unkilled("e2fsck", args, file, VOLUME_COMMAND_DEADLINE).await;
    match outcome.map_err(Fault::Host)? {
        None => Err(Fault::Busy),
        Some((Some(0), _)) => Ok(()),
        Some((Some(1 | 2), words)) => {
            tracing::warn!(file = %file.display(), words, "the file system of a volume was put in order");
            Ok(())
        }
        Some((_, words)) => Err(Fault::Damaged(words)),
    }
}

/// Makes the job's part its own. What is in it stays as its former jobs left it.
fn own(root: &Path, who: &Who) -> io::Result<PathBuf> {
    match DirBuilder::new().mode(0o700).create(root) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Ok(()) | Err(_) => {}
    }
    super::space::chown(root, who)?;
    Ok(root.to_owned())
}

/// Waits until no loop device has a file: a container that has just gone takes its mounts along a moment later.
async fn detached(file: &Path) -> bool {
    let waits = async {
        while is_attached(file) {
            tokio::time::sleep(DETACH_POLL).await;
        }
    };
    tokio::time::timeout(VOLUME_DETACH_DEADLINE, waits)
        .await
        .is_ok()
}

/// Whether a loop device has a file (Documentation/ABI/testing/sysfs-block-loop).
fn is_attached(file: &Path) -> bool {
    let devices = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let mut backing = devices
        .filter_map(|device| fs::read_to_string(device.path().join("loop/backing_file")).ok());
    backing.any(|backing| Path::new(backing.trim_end()) == file)
}

#[cfg(test)]
#[path = "volumes/test.rs"]
mod test;
