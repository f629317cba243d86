//! An archive, as a tree below one directory and nowhere else.

use super::{DEPTH_MAX, ENTRIES_MAX, TreeError};
use crate::tar::{Entry, Kind, Reader};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, UtimensatFlags, fchmod, mkdirat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{UnlinkatFlags, symlinkat, unlinkat};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

const NAME_PART_BYTES_MAX: usize = 255;

/// Where an archive goes.
#[derive(Debug)]
pub struct Destination {
    dir: OwnedFd,
    shown: PathBuf,
    /// What its one file or directory is called there; its own name otherwise.
    name: Option<OsString>,
}

/// What was unpacked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Files, directories and links.
    pub entries: u64,
    /// Bytes of files.
    pub bytes: u64,
    /// Links that were left out, for they lead out of the destination.
    pub links_skipped: u64,
}

impl Destination {
    /// `path`: below it if it is a directory, or as it. Its parent has to be there.
    ///
    /// # Errors
    /// [`TreeError::Path`]
    pub fn of(path: &Path) -> Result<Self, TreeError> {
        let is_slashed = path.as_os_str().as_bytes().ends_with(b"/");
        let last = path.file_name().filter(|_| !is_slashed);
        match last {
            Some(name) if !path.is_dir() => {
                let parent = path
                    .parent()
                    .filter(|parent| !parent.as_os_str().is_empty());
                Self::below(parent.unwrap_or(Path::new(".")), Some(name))
            }
            _ => Self::below(path, None),
        }
    }

    fn below(dir: &Path, name: Option<&OsStr>) -> Result<Self, TreeError> {
        // The caller named it: links on the way there are the caller's own.
        let opened = File::open(dir).map_err(TreeError::at(dir))?;
        if !opened.metadata().map_err(TreeError::at(dir))?.is_dir() {
            let error = io::Error::from(io::ErrorKind::NotADirectory);
            return Err(TreeError::at(dir)(error));
        }
        Ok(Self {
            dir: opened.into(),
            shown: dir.to_owned(),
            name: name.map(OsStr::to_owned),
        })
    }

    /// Unpacks an archive of `bytes_max` bytes of files at most.
    ///
    /// # Errors
    /// [`TreeError`]; what was unpacked before stays.
    pub fn unpack(self, archive: impl Read, bytes_max: u64) -> Result<Unpacked, TreeError> {
        let mut reader = Reader::new(archive);
        let mut at = At {
            to: self,
            top: None,
            parent: None,
            done: Unpacked::default(),
        };
        while let Some(entry) = reader.next_entry()? {
            if at.done.entries as usize >= ENTRIES_MAX {
                let what = format!("the archive has more than {ENTRIES_MAX} files");
                return Err(TreeError::TooMuch(what));
            }
            if let Kind::File(size) = entry.kind {
                at.done.bytes = at.done.bytes.saturating_add(size);
                if at.done.bytes > bytes_max {
                    let what = format!("the archive has more than {bytes_max} bytes");
                    return Err(TreeError::TooMuch(what));
                }
            }
            at.make(&entry, &mut reader)?;
        }
        Ok(at.done)
    }
}

struct At {
    to: Destination,
    /// The first part of every name, where there has to be one alone.
    top: Option<OsString>,
    /// The directory of the entry before: the next one is mostly in it, too.
    parent: Option<(Vec<OsString>, OwnedFd)>,
    done: Unpacked,
}

impl At {
    fn make(&mut self, entry: &Entry, content: &mut impl Read) -> Result<(), TreeError> {
        let parts = self.renamed(parts(&entry.path)?)?;
        let Some((name, parents)) = parts.split_last() else {
            // The directory itself, `./`.
            return Ok(());
        };
        let shown = parts
            .iter()
            .fold(self.to.shown.clone(), |path, part| path.join(part));
        let parent = self.open(parents)?;
        let made = match &entry.kind {
            Kind::Directory => directory(&parent, name, &shown, entry.mode).map(drop),
            Kind::File(size) => file(&parent, (name, &shown), (entry, *size), content),
            Kind::Symlink(link) if !stays_within(link, parents.len()) => {
                self.done.links_skipped += 1;
                Ok(())
            }
            Kind::Symlink(link) => {
                clear(&parent, name, &shown)?;
                let link = OsStr::from_bytes(link);
                symlinkat(link, &parent, name.as_os_str()).map_err(|e| at(&shown, e))
            }
        };
        self.done.entries += 1;
        self.parent = Some((parents.to_vec(), parent));
        made
    }

    /// Under the name that was asked for.
    fn renamed(&mut self, mut parts: Vec<OsString>) -> Result<Vec<OsString>, TreeError> {
        let (Some(name), Some(first)) = (&self.to.name, parts.first_mut()) else {
            return Ok(parts);
        };
        let top = self.top.get_or_insert_with(|| first.clone());
        if top != first {
            return Err(TreeError::Several);
        }
        first.clone_from(name);
        Ok(parts)
    }

    /// The directory of these names, each made if it is not there. No link is followed.
    fn open(&mut self, parents: &[OsString]) -> Result<OwnedFd, TreeError> {
        if let Some((known, fd)) = self.parent.take()
            && known == parents
        {
            return Ok(fd);
        }
        let mut shown = self.to.shown.clone();
        let mut dir = self.to.dir.try_clone().map_err(TreeError::at(&shown))?;
        for part in parents {
            shown.push(part);
            dir = directory(&dir, part, &shown, 0o755)?;
        }
        Ok(dir)
    }
}

/// A directory, made if it is not there.
fn directory(
    parent: &OwnedFd,
    name: &OsStr,
    shown: &Path,
    mode: u32,
) -> Result<OwnedFd, TreeError> {
    // What goes into it comes later.
    let made = mkdirat(parent, name, Mode::from_bits_truncate(mode & 0o777 | 0o700));
    match made {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(errno) => return Err(at(shown, errno)),
    }
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    match openat(parent, name, flags, Mode::empty()) {
        Ok(fd) => Ok(fd),
        Err(Errno::ELOOP | Errno::ENOTDIR) => Err(TreeError::InTheWay {
            path: shown.display().to_string(),
            what: "a file or a link, and the copy has a directory there",
        }),
        Err(errno) => Err(at(shown, errno)),
    }
}

fn file(
    parent: &OwnedFd,
    (name, shown): (&OsStr, &Path),
    (entry, size): (&Entry, u64),
    content: &mut impl Read,
) -> Result<(), TreeError> {
    clear(parent, name, shown)?;
    let flags =
        OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let fd = openat(parent, name, flags, Mode::from_bits_truncate(0o600));
    let mut file = File::from(fd.map_err(|errno| at(shown, errno))?);
    let mut buffer = vec![0; 64 * 1024];
    let mut left = size;
    while left > 0 {
        // Reading says for itself that an archive broke off.
        let read = content
            .read(&mut buffer)
            .map_err(crate::tar::TarError::Io)?;
        file.write_all(&buffer[..read])
            .map_err(TreeError::at(shown))?;
        left = left.saturating_sub(read as u64);
    }
    let mode = Mode::from_bits_truncate(entry.mode & 0o777);
    fchmod(file.as_fd(), mode).map_err(|errno| at(shown, errno))?;
    let seconds = i64::try_from(entry.mtime_s).unwrap_or(i64::MAX);
    let then = TimeSpec::new(seconds, 0);
    let flags = UtimensatFlags::NoFollowSymlink;
    utimensat(parent, name, &then, &then, flags).map_err(|errno| at(shown, errno))
}

/// Takes away what is there, if it is no directory: nothing is written through it.
fn clear(parent: &OwnedFd, name: &OsStr, shown: &Path) -> Result<(), TreeError> {
    match unlinkat(parent, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(Errno::EISDIR) => Err(TreeError::InTheWay {
            path: shown.display().to_string(),
            what: "a directory, and the copy has a file or a link there",
        }),
        Err(errno) => Err(at(shown, errno)),
    }
}

fn at(shown: &Path, errno: Errno) -> TreeError {
    TreeError::at(shown)(errno.into())
}

/// The parts of a name that leads nowhere but down.
fn parts(path: &[u8]) -> Result<Vec<OsString>, TreeError> {
    let wrong = || TreeError::Name(String::from_utf8_lossy(path).into_owned());
    if path.first() == Some(&b'/') || path.is_empty() {
        return Err(wrong());
    }
    let mut parts = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err(wrong()),
            _ if part.contains(&0) || part.len() > NAME_PART_BYTES_MAX => return Err(wrong()),
            _ => parts.push(OsString::from_vec(part.to_vec())),
        }
    }
    if parts.len() > DEPTH_MAX {
        return Err(wrong());
    }
    Ok(parts)
}

/// Whether a link in a directory of this depth stays below the destination. All `..` come first: behind a name they may
/// lead through another link.
fn stays_within(link: &[u8], depth: usize) -> bool {
    if link.is_empty() || link.first() == Some(&b'/') || link.contains(&0) {
        return false;
    }
    let mut up = 0;
    let mut is_down = false;
    for part in link.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." if is_down => return false,
            b".." => up += 1,
            _ => is_down = true,
        }
    }
    up <= depth
}

#[cfg(test)]
pub(super) fn link_stays(link: &str, depth: usize) -> bool {
    stays_within(link.as_bytes(), depth)
}
