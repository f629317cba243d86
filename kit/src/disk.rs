//! How much room there is.

use std::io;
use std::path::Path;

/// Bytes that a program of ours may still write where `path` is.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let found = nix::sys::statvfs::statvfs(path).map_err(io::Error::from)?;
    Ok(found
        .blocks_available()
        .saturating_mul(found.fragment_size()))
}
