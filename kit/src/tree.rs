//! A file or a tree as an archive, and an archive as a tree: what `cp` does at either end.
//!
//! ```text
//! scan: names, sizes --> length is known --> write: headers and files, exactly as long
//! unpack: entry --> its name is plain --> parents opened one by one, no link followed --> made anew
//! ```
//!
//! **Invariants.** What is unpacked is below its destination, whatever the archive says and whatever it made
//! before: no name has `..` or is absolute, no symbolic link on the way is followed, a file is never written
//! through what was there (it is removed first). A link is made only if it stays below the destination;
//! others are left out and counted. No owner is taken, and no bit beyond the nine permissions. Entries, bytes
//! and depth are bounded.
//!
//! **What it does not know:** whose file system it is. The caller chooses that, before it calls.

use crate::tar::TarError;
use std::io;

mod pack;
mod unpack;

pub use pack::{Packed, Skips};
pub use unpack::{Destination, Unpacked};

/// Files, directories and links of one tree.
pub const ENTRIES_MAX: usize = 250_000;
/// Directories below each other.
pub const DEPTH_MAX: usize = 100;

/// Why a tree is not copied.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// A path that could not be read or made.
    #[error("{path}: {source}")]
    Path {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// An archive that is not taken.
    #[error(transparent)]
    Tar(#[from] TarError),
    /// A name that leads elsewhere.
    #[error("the archive has the name `{0}`, which leads out of it; nothing of it is made")]
    Name(String),
    /// What is there is in the way.
    #[error("{path} is {what}; remove it first")]
    InTheWay {
        /// Which.
        path: String,
        /// What it is.
        what: &'static str,
    },
    /// An archive of several things cannot be made under one name.
    #[error("the archive has more than one file or directory; give a directory that exists")]
    Several,
    /// Too much.
    #[error("{0}")]
    TooMuch(String),
    /// What is copied is nothing that can be.
    #[error("{path} is {what}, which is not copied")]
    Unfit {
        /// Which.
        path: String,
        /// What it is.
        what: &'static str,
    },
    /// Where it goes.
    #[error("the copy cannot be written")]
    Out(#[source] io::Error),
    /// It shrank while it was copied.
    #[error("{0} changed while it was copied; try again")]
    Changed(String),
}

impl TreeError {
    /// Whether something that was named is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Path { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    fn at(path: impl AsRef<std::path::Path>) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().display().to_string();
        move |source| Self::Path { path, source }
    }
}

#[cfg(test)]
mod test;
