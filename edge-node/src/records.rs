//! Records on disk, one JSON file a session, each replaced whole: what the next agent needs.

use nearlight_kit::files::{is_draft, write_atomic};
use nearlight_protocol::id::SessionId;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What the names of records end in.
const EXTENSION: &str = ".json";

/// Puts a session's record on disk. Its grant is nobody else's to show.
pub(crate) fn write(dir: &Path, session: &SessionId, record: &impl Serialize) -> io::Result<()> {
    let bytes = serde_json::to_vec_pretty(record).map_err(io::Error::other)?;
    fs::create_dir_all(dir)?;
    write_atomic(&path(dir, session), &bytes, 0o600)
}

/// What is kept of one session.
pub(crate) trait OfSession {
    /// Which.
    fn session(&self) -> &SessionId;
}

/// The record of one session, if it is there and whole.
pub(crate) fn read<T: DeserializeOwned>(dir: &Path, session: &SessionId) -> Option<T> {
    let bytes = fs::read(path(dir, session)).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Whether a session has a record, whole or not.
pub(crate) fn is_there(dir: &Path, session: &SessionId) -> bool {
    path(dir, session).exists()
}

/// Every record in a directory, before any is written: what an earlier agent left. One that is damaged is removed: what it stood for is found by its other marks, and
/// stopped. So is the draft of one whose writing was cut off: the record that it was to replace is still there.
///
/// # Errors
/// A record cannot be read, which says nothing of what is in it: all stay.
pub(crate) fn read_all<T: DeserializeOwned + OfSession>(dir: &Path) -> io::Result<Vec<T>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut records = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.file_name().is_some_and(is_draft) {
            tracing::warn!(path = %path.display(), "removing a record that was not written to its end");
            fs::remove_file(&path)?;
        }
        if !is_record(&path) {
            continue;
        }
        let bytes = fs::read(&path).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", path.display()))
        })?;
        match parse::<T>(&path, &bytes) {
            Ok(record) => records.push(record),
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "removing a damaged record; its session is stopped");
                fs::remove_file(&path)?;
            }
        }
    }
    Ok(records)
}

/// The sessions that have a record in a directory, whole or not.
pub(crate) fn sessions(dir: &Path) -> io::Result<Vec<SessionId>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut sessions = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let name = name.to_str().and_then(|name| name.strip_suffix(EXTENSION));
        sessions.extend(name.and_then(|name| name.parse::<SessionId>().ok()));
    }
    Ok(sessions)
}

/// Whether a file is one of ours: an editor's copy is none.
fn is_record(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| !name.starts_with('.') && name.ends_with(EXTENSION))
}

/// A record is of the session that its file is named after, or it would stand for one that has another.
fn parse<T: DeserializeOwned + OfSession>(path: &Path, bytes: &[u8]) -> Result<T, String> {
    let record: T = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let own = file_name(record.session());
    match path.file_name() == Some(own.as_ref()) {
        true => Ok(record),
        false => Err(format!("it is of {}", record.session())),
    }
}

/// Nothing of the session is left.
pub(crate) fn remove(dir: &Path, session: &SessionId) -> io::Result<()> {
    match fs::remove_file(path(dir, session)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn path(dir: &Path, session: &SessionId) -> PathBuf {
    dir.join(file_name(session))
}

fn file_name(session: &SessionId) -> String {
    format!("{session}{EXTENSION}")
}

#[cfg(test)]
mod test {
    use super::*;
    use serde::Deserialize;
    use std::os::unix::fs::symlink;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Kept {
        session: SessionId,
        n: u32,
    }

    impl OfSession for Kept {
        fn session(&self) -> &SessionId {
            &self.session
        }
    }

    fn kept(n: u32) -> Kept {
        let session = nearlight_kit::ids::session();
        Kept { session, n }
    }

    fn draft(dir: &Path, record: &Kept) -> PathBuf {
        dir.join(format!(".{}.json.0123456789abcdef", record.session))
    }

    #[test]
    fn a_record_that_was_not_written_to_its_end_stands_for_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let record = kept(1);
        write(dir.path(), &record.session, &record).unwrap();
        // Whole, and killed before it was renamed; and one that was cut off in the middle.
        let newer = Kept {
            n: 2,
            ..record.clone()
        };
        fs::write(
            draft(dir.path(), &newer),
            serde_json::to_vec(&newer).unwrap(),
        )
        .unwrap();
        let other = kept(3);
        fs::write(draft(dir.path(), &other), b"{\"session\":").unwrap();
        assert_eq!(read_all::<Kept>(dir.path()).unwrap(), [record]);
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            1,
            "no draft stays"
        );
    }

    #[test]
    fn a_record_is_of_the_session_that_its_file_is_named_after() {
        let dir = tempfile::tempdir().unwrap();
        let (record, other) = (kept(1), kept(2));
        write(dir.path(), &record.session, &record).unwrap();
        write(dir.path(), &other.session, &record).unwrap();
        fs::write(dir.path().join("notes.txt"), b"ours").unwrap();
        assert_eq!(read_all::<Kept>(dir.path()).unwrap(), [record]);
        assert!(!path(dir.path(), &other.session).exists());
        assert!(dir.path().join("notes.txt").exists());
    }

    #[test]
    fn a_record_that_cannot_be_read_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (record, hidden) = (kept(1), kept(2));
        write(dir.path(), &record.session, &record).unwrap();
        // A link to itself: no open of it ever succeeds.
        let unreadable = path(dir.path(), &hidden.session);
        symlink(&unreadable, &unreadable).unwrap();
        let error = read_all::<Kept>(dir.path()).unwrap_err().to_string();
        assert!(error.contains(hidden.session.as_str()), "{error}");
        assert!(unreadable.symlink_metadata().is_ok());
    }
}
