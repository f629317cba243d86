//! The end of a volume's bytes, or a log's: everything that was ever written of its file is written over with zeros,
//! made durable, and then the file is removed.
//!
//! A volume's file is set aside without being written, so what was never written reads as zeros already and is
//! passed over: the file system below knows which is which. What a disk itself keeps of what was written over
//! (spare blocks of an SSD, snapshots below us) no program reaches; docs/guarantees.md says so.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use tokio_util::sync::CancellationToken;

/// Written at a time.
const CHUNK: usize = 4 * 1024 * 1024;

/// Wipes a file; `false` if it was stopped before the end.
pub(in crate::job) fn wipe(path: &Path, stop: &CancellationToken) -> io::Result<bool> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let length = file.metadata()?.len();
    let zeros = vec![0; CHUNK];
    let mut at = 0;
    while let Some((from, to)) = written(&file, at, length)? {
        let mut place = from;
        while place < to {
            if stop.is_cancelled() {
                return Ok(false);
            }
            let most = usize::try_from(to - place).unwrap_or(CHUNK).min(CHUNK);
            file.write_all_at(&zeros[..most], place)?;
            place += most as u64;
        }
        at = to;
    }
    file.sync_all()?;
    fs::remove_file(path)?;
    if let Some(dir) = path.parent() {
        File::open(dir)?.sync_all()?;
    }
    Ok(true)
}

/// The next range behind `at` that was written.
fn written(file: &File, at: u64, length: u64) -> io::Result<Option<(u64, u64)>> {
    use rustix::fs::{SeekFrom, seek};
    use rustix::io::Errno;
    if at >= length {
        return Ok(None);
    }
    let from = match seek(file, SeekFrom::Data(at)) {
        Ok(from) => from,
        Err(Errno::NXIO) => return Ok(None),
        // A file system that cannot tell has written everything.
        Err(Errno::INVAL) => return Ok(Some((at, length))),
        Err(error) => return Err(error.into()),
    };
    let to = seek(file, SeekFrom::Hole(from))?;
    Ok(Some((from, to.min(length))))
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn what_was_written_is_written_over_before_the_file_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("v.wiping");
        let file = File::create(&path).unwrap();
        file.set_len(64 << 20).unwrap();
        file.write_all_at(b"secret", 40 << 20).unwrap();
        // Another name keeps the bytes, to look at them.
        let kept = dir.path().join("kept");
        fs::hard_link(&path, &kept).unwrap();
        let stop = CancellationToken::new();
        stop.cancel();
        assert!(!wipe(&path, &stop).unwrap() && path.exists());
        assert!(wipe(&path, &CancellationToken::new()).unwrap());
        assert!(!path.exists());
        let bytes = fs::read(&kept).unwrap();
        assert!(bytes.iter().all(|byte| *byte == 0));
        use std::os::unix::fs::MetadataExt;
        let blocks = fs::metadata(&kept).unwrap().blocks() * 512;
        assert!(blocks < 8 << 20, "the rest was passed over: {blocks}");
    }
}
