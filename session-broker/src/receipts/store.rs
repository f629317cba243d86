//! Where tiles, bundles and what is staged are kept: by path, written whole or not at all.
//!
//! A directory does ([`Directory`]), that of the broker or one that several of them reach; a store of
//! objects would. Nothing in it is trusted: tiles are held against the root that the ledger has.

use nearlight_kit::disk::free_bytes;
use nearlight_kit::files::write_atomic;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Something to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Object {
    /// Below the store's root: lower-case letters, digits, dots, dashes and slashes.
    pub(super) path: String,
    pub(super) bytes: Vec<u8>,
}

impl Object {
    pub(super) const fn new(path: String, bytes: Vec<u8>) -> Self {
        Self { path, bytes }
    }
}

/// See the module. Calls block.
pub(super) trait Store: Send + Sync + std::fmt::Debug {
    /// Writes them in their order, each in place of what was there. All of them survive a power cut once
    /// this returns; after an error any of them may have been written.
    fn put(&self, objects: &[Object]) -> io::Result<()>;

    /// What is at a path.
    fn get(&self, path: &str) -> io::Result<Option<Vec<u8>>>;

    /// The names right below a path; none if there is no such place.
    fn list(&self, path: &str) -> io::Result<Vec<String>>;

    /// Takes away what is at a path, if there is something.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// Bytes that there is room for; a store that has no end says so.
    fn free_bytes(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

/// Files in a directory.
#[derive(Debug)]
pub(super) struct Directory(PathBuf);

impl Directory {
    pub(super) const fn new(root: PathBuf) -> Self {
        Self(root)
    }

    /// Makes the directories that lead to `dir`, and has their names on the disk.
    fn make(&self, dir: &Path) -> io::Result<()> {
        if dir.is_dir() {
            return Ok(());
        }
        let above = dir.parent().unwrap_or(Path::new("/"));
        self.make(above)?;
        match std::fs::create_dir(dir) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => made?,
        }
        File::open(above)?.sync_all()
    }
}

impl Store for Directory {
    fn put(&self, objects: &[Object]) -> io::Result<()> {
        let mut made = BTreeSet::new();
        for object in objects {
            let path = self.0.join(&object.path);
            if let Some(dir) = path.parent()
                && made.insert(dir.to_owned())
            {
                self.make(dir)?;
            }
            write_atomic(&path, &object.bytes, 0o644)?;
        }
        Ok(())
    }

    fn get(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        match std::fs::read(self.0.join(path)) {
            Err(error) if is_absent(&error) => Ok(None),
            read => read.map(Some),
        }
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let entries = match std::fs::read_dir(self.0.join(path)) {
            Err(error) if is_absent(&error) => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut names = Vec::new();
        for entry in entries {
            if let Ok(name) = entry?.file_name().into_string()
                // Drafts of files that are being written.
                && !name.starts_with('.')
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        match std::fs::remove_file(self.0.join(path)) {
            Err(error) if is_absent(&error) => Ok(()),
            removed => removed,
        }
    }

    fn free_bytes(&self) -> io::Result<u64> {
        // It is made with the first entry.
        let made = self.0.ancestors().find(|path| path.is_dir());
        free_bytes(made.unwrap_or(Path::new("/")))
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory
    )
}
