//! What can be known to be wrong before the first session: checked at start, with what to do.

use crate::config::Config;
use crate::control::host_mem_mib;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Why the node cannot run here.
#[derive(Debug, thiserror::Error)]
pub enum PreflightError {
    /// The worker's program is missing.
    #[error("there is no session worker at {}; build it (cargo build -p edge-worker) or give --worker", .0.display())]
    NoWorker(PathBuf),
    /// The run directory belongs to somebody else, who could swap our sockets.
    #[error("{} belongs to another user; remove it or give another --run", .0.display())]
    ForeignRun(PathBuf),
    /// A directory cannot be used.
    #[error("cannot use {}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// What the host has.
pub fn host() -> crate::config::Host {
    let name = fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "node".to_owned(), |name| name.trim().to_owned());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    crate::config::Host {
        name,
        cores: u32::try_from(cores).unwrap_or(1),
        mem_mib: host_mem_mib(),
        root: nix::unistd::geteuid().is_root(),
    }
}

/// Makes the directories and checks what can be checked.
pub(crate) fn check(config: &Config) -> Result<(), PreflightError> {
    if !config.worker.is_file() {
        return Err(PreflightError::NoWorker(config.worker.clone()));
    }
    make_run(&config.run)?;
    raise_file_limit();
    if !nix::unistd::geteuid().is_root() {
        tracing::warn!("not root: workers run as this user, not as users of their own");
    }
    Ok(())
}

/// The directory of sockets: walked through by workers and apps, listed by nobody but us.
fn make_run(run: &Path) -> Result<(), PreflightError> {
    let error = |source| PreflightError::Directory {
        path: run.to_owned(),
        source,
    };
    let made = DirBuilder::new().recursive(true).mode(0o711).create(run);
    made.map_err(error)?;
    let meta = fs::symlink_metadata(run).map_err(error)?;
    if !meta.is_dir() || meta.uid() != nix::unistd::geteuid().as_raw() {
        return Err(PreflightError::ForeignRun(run.to_owned()));
    }
    fs::set_permissions(run, Permissions::from_mode(0o711)).map_err(error)
}

/// Leaves nothing of the directory of sockets; what somebody else put there stays.
pub(crate) fn remove_run(run: &Path) {
    let registry = crate::encoders::registry(run);
    let plugins = registry.parent().unwrap_or(run);
    let removed = fs::remove_dir_all(plugins).and_then(|()| fs::remove_dir(run));
    if let Err(error) = removed {
        tracing::debug!(run = %run.display(), %error, "the run directory stays");
    }
}

/// Each session takes a handful of descriptors; the soft limit of many shells is 1024.
fn raise_file_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_soft, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_run_directory_is_made_and_a_link_in_its_place_refused() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("a/run");
        make_run(&run).unwrap();
        make_run(&run).unwrap();
        assert_eq!(fs::metadata(&run).unwrap().mode() & 0o777, 0o711);
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&run, &link).unwrap();
        let error = make_run(&link).unwrap_err();
        assert!(matches!(error, PreflightError::ForeignRun(_)), "{error}");
    }
}
