//! What the process gives up before it talks to anyone.
//!
//! The edge agent starts the worker as its own user, with its own cgroup. Here it only loses what
//! it could hand on to something that took it over: new privileges, core dumps (they would hold the
//! player's picture and keys), and being traced.

use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// File descriptors: [`crate::limits::POOLS_MAX`] and as many orphaned by their pools, clients,
/// GStreamer, and room.
const FILES_WANTED: u64 = 4096;

/// Gives it up.
///
/// # Errors
/// The call that the kernel refused.
pub fn harden() -> nix::Result<()> {
    prctl::set_no_new_privs()?;
    prctl::set_dumpable(false)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let wanted = FILES_WANTED.min(hard).max(soft.min(FILES_WANTED));
    setrlimit(Resource::RLIMIT_NOFILE, wanted, hard)
}
