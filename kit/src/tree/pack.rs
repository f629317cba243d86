//! A file or a tree, as an archive of a length that is known before its first byte.

use super::{DEPTH_MAX, ENTRIES_MAX, TreeError};
use crate::tar::{END, Entry, Kind, header, padding};
use std::ffi::OsStr;
use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const BUFFER_BYTES: usize = 64 * 1024;

/// What is left out of a tree.
#[derive(Clone, Copy, Debug, Default)]
pub struct Skips<'a> {
    /// Never copied, not by name either: they are the kernel's.
    pub never: &'a [&'a str],
    /// Copied only if they are named themselves.
    pub unnamed: &'a [&'a str],
}

/// A tree that was looked through.
#[derive(Debug)]
pub struct Packed {
    parts: Vec<(PathBuf, Entry)>,
    length: u64,
    bytes: u64,
}

impl Packed {
    /// Looks through `path`; a link that is named itself is followed. In the archive it has the name that it has
    /// here, or `name`.
    ///
    /// # Errors
    /// [`TreeError`]
    pub fn scan(path: &Path, name: Option<&OsStr>, skips: Skips<'_>) -> Result<Self, TreeError> {
        let real = fs::canonicalize(path).map_err(TreeError::at(path))?;
        let is_below = |taken: &&str| real.starts_with(taken);
        if skips.never.iter().any(is_below) {
            return Err(TreeError::Unfit {
                path: path.display().to_string(),
                what: "the kernel's",
            });
        }
        let own = path.file_name().or(real.file_name());
        let name = name.or(own).unwrap_or(OsStr::new("root"));
        let mut packed = Self {
            parts: Vec::new(),
            length: END.len() as u64,
            bytes: 0,
        };
        packed.walk(&real, name.as_bytes().to_vec(), skips)?;
        Ok(packed)
    }

    /// Bytes of the archive.
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// Bytes of the files in it.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Files, directories and links.
    pub const fn entries(&self) -> usize {
        self.parts.len()
    }

    fn walk(&mut self, path: &Path, name: Vec<u8>, skips: Skips<'_>) -> Result<(), TreeError> {
        let mut waiting = vec![(path.to_owned(), name, 0)];
        while let Some((path, name, depth)) = waiting.pop() {
            let about = fs::symlink_metadata(&path).map_err(TreeError::at(&path))?;
            if !self.add(&path, &name, &about)? {
                continue;
            }
            if depth >= DEPTH_MAX {
                let what = format!("{} is too deep", path.display());
                return Err(TreeError::TooMuch(what));
            }
            let entries = fs::read_dir(&path).map_err(TreeError::at(&path))?;
            let mut below = Vec::new();
            for entry in entries {
                let entry = entry.map_err(TreeError::at(&path))?;
                let (at, file) = (entry.path(), entry.file_name());
                let mut skipped = skips.never.iter().chain(skips.unnamed);
                if skipped.any(|taken| at == Path::new(taken)) {
                    continue;
                }
                below.push((
                    at,
                    [name.as_slice(), b"/", file.as_bytes()].concat(),
                    depth + 1,
                ));
                if self.parts.len() + waiting.len() + below.len() > ENTRIES_MAX {
                    return Err(too_many());
                }
            }
            // The order of a file system is chance; that of an archive need not be.
            below.sort_unstable_by(|a, b| b.1.cmp(&a.1));
            waiting.extend(below);
        }
        Ok(())
    }

    /// Adds one thing. Whether it is a directory.
    fn add(&mut self, path: &Path, name: &[u8], about: &Metadata) -> Result<bool, TreeError> {
        let kind = about.file_type();
        let kind = if kind.is_dir() {
            Kind::Directory
        } else if kind.is_symlink() {
            let link = fs::read_link(path).map_err(TreeError::at(path))?;
            Kind::Symlink(link.into_os_string().as_bytes().to_vec())
        } else if kind.is_file() {
            // That it cannot be read is said before anything is sent.
            open(path).map_err(TreeError::at(path))?;
            Kind::File(about.len())
        } else if self.parts.is_empty() {
            return Err(TreeError::Unfit {
                path: path.display().to_string(),
                what: "a device, a pipe or a socket",
            });
        } else {
            return Ok(false);
        };
        let entry = Entry {
            path: name.to_vec(),
            kind,
            mode: about.mode() & 0o777,
            mtime_s: u64::try_from(about.mtime()).unwrap_or(0),
        };
        self.length += header(&entry).len() as u64;
        if let Kind::File(size) = entry.kind {
            self.length += size + padding(size) as u64;
            self.bytes += size;
        }
        let is_directory = entry.kind == Kind::Directory;
        self.parts.push((path.to_owned(), entry));
        Ok(is_directory)
    }

    /// Writes the archive, [`Packed::length`] bytes.
    ///
    /// # Errors
    /// [`TreeError`]; what was written is no archive then.
    pub fn write(&self, out: &mut impl Write) -> Result<(), TreeError> {
        let mut buffer = vec![0; BUFFER_BYTES];
        for (path, entry) in &self.parts {
            out.write_all(&header(entry)).map_err(TreeError::Out)?;
            let Kind::File(size) = entry.kind else {
                continue;
            };
            let mut file = open(path).map_err(TreeError::at(path))?;
            let mut left = size;
            while left > 0 {
                let most =
                    usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
                let read = match file.read(&mut buffer[..most]) {
                    Ok(0) => return Err(TreeError::Changed(path.display().to_string())),
                    Ok(read) => read,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => return Err(TreeError::at(path)(error)),
                };
                out.write_all(&buffer[..read]).map_err(TreeError::Out)?;
                left -= read as u64;
            }
            out.write_all(&END[..padding(size)])
                .map_err(TreeError::Out)?;
        }
        out.write_all(&END).map_err(TreeError::Out)?;
        out.flush().map_err(TreeError::Out)
    }
}

/// What was a file when it was looked at; a link or a pipe in its place is not waited for.
fn open(path: &Path) -> io::Result<fs::File> {
    use nix::fcntl::OFlag;
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits())
        .open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is no file any more")),
    }
}

fn too_many() -> TreeError {
    TreeError::TooMuch(format!(
        "there are more than {ENTRIES_MAX} files; copy a part of them, or an archive"
    ))
}
