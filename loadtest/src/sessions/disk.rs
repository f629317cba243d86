//! The disk that syncs are measured on. In memory, or on a layer over something, they cost nothing.

use anyhow::{Context, Result, bail};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// File systems that are no disk's.
const NONE: [&str; 5] = ["tmpfs", "ramfs", "overlay", "devtmpfs", "fuse-overlayfs"];

/// The file system of a directory, and what it is on.
///
/// # Errors
/// It is on no disk, or nobody knows.
pub(super) fn of(dir: &Path) -> Result<String> {
    let dir = dir.canonicalize().context("--data is not there")?;
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    on(&mounts, &dir)
}

/// The same, with the mounts as the kernel writes them (proc(5)).
fn on(mounts: &str, dir: &Path) -> Result<String> {
    // Of two at one place, the later one covers the other.
    let found = mounts
        .lines()
        .filter_map(|line| {
            let (place, kind) = line.split_once(" - ")?;
            let at = unescaped(place.split(' ').nth(4)?);
            let mut kind = kind.split(' ');
            Some((at, kind.next()?, kind.next()?))
        })
        .filter(|(at, ..)| dir.starts_with(std::ffi::OsStr::from_bytes(at)))
        .max_by_key(|(at, ..)| at.len());
    let (_, kind, source) = found.context("--data is on no mount")?;
    if NONE.contains(&kind) {
        bail!("--data is on {kind}, where a sync costs nothing: name a directory on a disk");
    }
    Ok(format!("{kind} on {source}"))
}

/// A path with the bytes that the kernel writes as `\OOO`.
fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, more @ ..] = rest {
        let octal = more.get(..3).filter(|_| *first == b'\\');
        let octal = octal.and_then(|of| std::str::from_utf8(of).ok());
        match octal.and_then(|of| u8::from_str_radix(of, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &more[3..];
            }
            None => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod test {
    use super::*;

    const MOUNTS: &str = "\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:25 / /tmp rw shared:2 - tmpfs tmpfs rw
31 22 0:26 / /var/lib/docker/merged rw - overlay overlay rw,lowerdir=/a
32 22 8:1 / /mnt/a\\040disk rw master:1 propagate_from:2 - xfs /dev/sda1 rw
";

    #[test]
    fn a_directory_in_memory_is_no_disk() {
        let on = |dir: &str| on(MOUNTS, Path::new(dir));
        assert_eq!(on("/srv/data").unwrap(), "ext4 on /dev/vda");
        assert_eq!(on("/tmpfile").unwrap(), "ext4 on /dev/vda");
        assert_eq!(on("/mnt/a disk/x").unwrap(), "xfs on /dev/sda1");
        for dir in ["/tmp/x", "/var/lib/docker/merged"] {
            assert!(on(dir).is_err(), "{dir}");
        }
    }
}
