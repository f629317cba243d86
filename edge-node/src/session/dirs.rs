//! Where a session's files and sockets are.
//!
//! ```text
//! <run>/<session>/      agent   0711   walked through by the worker and the app, listed by nobody
//!   worker.log          agent   0600   the worker's stderr
//!   app.log             agent   0600   the app's output (sandbox; an engine keeps its own)
//!   app.status          agent   0600   what bwrap says (sandbox)
//!   root/ saves/        agent   0755   mount points (sandbox)
//!   desk/               worker  0711   the worker's --dir
//!     agent.sock        worker  0600   made by the worker
//!     app/              worker  2750   group: the app's; shown to the app, read-only
//!       wayland-0 pulse worker  0660   made by the worker
//! ```
//!
//! **Invariant.** The agent trusts no file below `desk/`: what it reads or names processes by lies
//! beside it, where the worker cannot write.

use crate::limits::{DETAIL_BYTES_MAX, LOG_BYTES_MAX};
use crate::process::User;
use crate::runtime::plan::APP_UID;
use nix::unistd::{Gid, Uid};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The worker's directory.
pub(crate) fn desk(dir: &Path) -> PathBuf {
    dir.join("desk")
}

/// What the app sees of it.
pub(crate) fn sockets(dir: &Path) -> PathBuf {
    dir.join("desk/app")
}

/// The worker's socket for us.
pub(crate) fn agent_socket(dir: &Path) -> PathBuf {
    dir.join("desk/agent.sock")
}

/// The worker's stderr.
pub(crate) fn worker_log(dir: &Path) -> PathBuf {
    dir.join("worker.log")
}

/// A sandboxed app's output.
pub(crate) fn app_log(dir: &Path) -> PathBuf {
    dir.join("app.log")
}

/// What bwrap says of a sandboxed app.
pub(crate) fn app_status(dir: &Path) -> PathBuf {
    dir.join("app.status")
}

/// Makes a session's directory afresh. `worker` is the worker's user where it has its own.
pub(crate) fn make(dir: &Path, worker: Option<&User>) -> io::Result<()> {
    remove(dir)?;
    let (desk, sockets) = (desk(dir), sockets(dir));
    for path in [dir, &desk, &sockets] {
        fs::create_dir(path)?;
    }
    if let Some(worker) = worker {
        let (uid, gid) = (Uid::from_raw(worker.uid), Gid::from_raw(worker.gid));
        nix::unistd::chown(&sockets, Some(uid), Some(Gid::from_raw(APP_UID)))?;
        nix::unistd::chown(&desk, Some(uid), Some(gid))?;
    }
    // After the owners: a change of owner clears the set-group-id bit.
    for (path, mode) in [(&sockets, 0o2750), (&desk, 0o711), (&dir.to_owned(), 0o711)] {
        fs::set_permissions(path, Permissions::from_mode(mode))?;
    }
    Ok(())
}

/// Removes a session's directory, if it is there.
pub(crate) fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Opens a log to be written by a child: whatever it does, it only adds.
pub(crate) fn log_for_writing(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
}

/// The end of a log.
pub(crate) fn tail(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let wanted = DETAIL_BYTES_MAX as u64;
    let skip = file.metadata()?.len().saturating_sub(wanted);
    file.seek(SeekFrom::Start(skip))?;
    let mut bytes = Vec::with_capacity(DETAIL_BYTES_MAX);
    file.take(wanted).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Cuts a session's logs that have grown past their bound.
pub(crate) fn bound_logs(dir: &Path) {
    for path in [worker_log(dir), app_log(dir)] {
        let grown = fs::metadata(&path).is_ok_and(|meta| meta.len() > LOG_BYTES_MAX);
        if grown
            && let Err(error) = OpenOptions::new()
                .write(true)
                .open(&path)
                .and_then(|file| file.set_len(0))
        {
            tracing::warn!(path = %path.display(), %error, "cannot cut a log");
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_session_directory_keeps_worker_app_and_agent_apart() {
        let run = tempfile::tempdir().unwrap();
        let dir = run.path().join("ses");
        let root = nix::unistd::geteuid().is_root();
        let worker = root.then(|| User {
            uid: 64_001,
            gid: 64_001,
            groups: Vec::new(),
        });
        make(&dir, worker.as_ref()).unwrap();
        fs::write(agent_socket(&dir), b"stale").unwrap();
        make(&dir, worker.as_ref()).unwrap();
        assert!(!agent_socket(&dir).exists(), "made afresh");
        let look = |path: &Path| {
            let meta = fs::metadata(path).unwrap();
            (meta.uid(), meta.gid(), meta.mode() & 0o7777)
        };
        assert_eq!(look(&desk(&dir)).2, 0o711);
        assert_eq!(look(&sockets(&dir)).2, 0o2750);
        if root {
            assert_eq!(look(&dir), (0, 0, 0o711));
            assert_eq!(look(&desk(&dir)), (64_001, 64_001, 0o711));
            assert_eq!(look(&sockets(&dir)), (64_001, 1000, 0o2750));
        }
        remove(&dir).unwrap();
        remove(&dir).unwrap();
        assert!(!dir.exists());
    }

    #[test]
    fn logs_are_bounded_and_their_end_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = worker_log(dir.path());
        fs::write(&path, vec![b'x'; 5000]).unwrap();
        assert_eq!(tail(&path).unwrap().len(), DETAIL_BYTES_MAX);
        bound_logs(dir.path());
        assert_eq!(fs::metadata(&path).unwrap().len(), 5000);
        File::create(&path)
            .unwrap()
            .set_len(LOG_BYTES_MAX + 1)
            .unwrap();
        bound_logs(dir.path());
        assert_eq!(fs::metadata(&path).unwrap().len(), 0);
    }
}
