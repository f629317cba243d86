//! Files that a reader finds either old or new, never half, whatever crashes in between.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Hexadecimal digits at the end of a draft's name.
const DRAFT_DIGITS: usize = 16;

/// Replaces `path` with `bytes` and gives it `mode`, so that after a crash or a power cut the file
/// holds either its former or its new content in full.
///
/// The new content is written beside the target, synced, and renamed over it; then the directory is
/// synced, without which the rename itself may be lost. The file never exists with a wider mode than
/// `mode`, so a key is not readable by others for even a moment.
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    let draft = Draft::create(directory, path, mode)?;
    draft.fill_and_rename(bytes, mode, path)?;
    File::open(directory)?.sync_all()
}

/// Whether a file's name is that of a draft of [`write_atomic`]: one that lies there was cut off before it became its
/// target, and nobody wants it.
pub fn is_draft(name: &OsStr) -> bool {
    let hidden = name.to_str().and_then(|name| name.strip_prefix('.'));
    let suffix = hidden.and_then(|name| Some(name.rsplit_once('.')?.1));
    suffix.is_some_and(|suffix| {
        suffix.len() == DRAFT_DIGITS && suffix.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

/// A file beside the target that disappears unless it becomes the target.
struct Draft {
    path: PathBuf,
    file: File,
    renamed: bool,
}

impl Draft {
    fn create(directory: &Path, target: &Path, mode: u32) -> io::Result<Self> {
        let name = target.file_name().ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{} names no file", target.display()),
            )
        })?;
        let suffix: u64 = rand::random();
        let path = directory.join(format!(".{}.{suffix:0DRAFT_DIGITS$x}", name.display()));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&path)?;
        Ok(Self {
            path,
            file,
            renamed: false,
        })
    }

    fn fill_and_rename(mut self, bytes: &[u8], mode: u32, target: &Path) -> io::Result<()> {
        // The mode at creation is cut by the umask; this is the mode that was asked for.
        self.file
            .set_permissions(fs::Permissions::from_mode(mode))?;
        self.file.write_all(bytes)?;
        self.file.sync_all()?;
        fs::rename(&self.path, target)?;
        self.renamed = true;
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.renamed {
            // Nobody looks at a draft; a failure to remove it changes nothing for the caller.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn content_and_mode_are_replaced_and_no_draft_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        write_atomic(&path, b"old", 0o644).unwrap();
        write_atomic(&path, b"new", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_draft() {
        let dir = tempfile::tempdir().unwrap();
        // A directory that is not empty cannot be replaced by a file: the rename fails.
        let target = dir.path().join("taken");
        fs::create_dir(&target).unwrap();
        fs::write(target.join("content"), b"old").unwrap();
        assert!(write_atomic(&target, b"new", 0o600).is_err());
        assert_eq!(fs::read(target.join("content")).unwrap(), b"old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_draft_is_known_by_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let draft = Draft::create(dir.path(), Path::new("ses_1.json"), 0o600).unwrap();
        assert!(is_draft(draft.path.file_name().unwrap()));
        for other in [
            "ses_1.json",
            ".ses_1.json",
            ".0123456789abcdef",
            "a.0123456789abcdef",
            ".a.0123456789abcdeg",
        ] {
            assert!(!is_draft(OsStr::new(other)), "{other}");
        }
    }

    #[test]
    fn a_path_without_a_name_is_refused() {
        assert!(write_atomic(Path::new("/"), b"", 0o600).is_err());
    }
}
