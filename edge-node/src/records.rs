//! Records on disk, one JSON file a session, each replaced whole: what the next agent needs.

use nearlight_kit::files::write_atomic;
use nearlight_protocol::id::SessionId;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Puts a session's record on disk. Its grant is nobody else's to show.
pub(crate) fn write(dir: &Path, session: &SessionId, record: &impl Serialize) -> io::Result<()> {
    let bytes = serde_json::to_vec_pretty(record).map_err(io::Error::other)?;
    fs::create_dir_all(dir)?;
    write_atomic(&path(dir, session), &bytes, 0o600)
}

/// Every record in a directory. One that cannot be read is removed: what it stood for is found by its
/// other marks, and stopped.
pub(crate) fn read_all<T: DeserializeOwned>(dir: &Path) -> io::Result<Vec<T>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut records = Vec::new();
    for entry in entries {
        let path = entry?.path();
        match fs::read(&path).and_then(|bytes| Ok(serde_json::from_slice(&bytes)?)) {
            Ok(record) => records.push(record),
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "removing a damaged record; its session is stopped");
                fs::remove_file(&path)?;
            }
        }
    }
    Ok(records)
}

/// Nothing of the session is left.
pub(crate) fn remove(dir: &Path, session: &SessionId) -> io::Result<()> {
    match fs::remove_file(path(dir, session)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn path(dir: &Path, session: &SessionId) -> PathBuf {
    dir.join(format!("{session}.json"))
}
