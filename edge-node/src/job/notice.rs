//! What a job's program is told of its end before that comes: `/run/nearlight/ending` in its container.
//!
//! The directory is there from the start, and cannot be written from inside. While the job is to end at a moment that
//! is known, the file is there: `{"reason":"preempted","ends_unix_ms":1790000000000}`. It is written at once and as a
//! whole, again where the moment changes, and it goes where the job goes on.
//!
//! **What it does not know:** who decides.

use super::space;
use nearlight_protocol::api::EndReason;
use nearlight_protocol::unit::UnixMillis;
use serde::Serialize;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const FILE: &str = "ending";
/// In the same directory, so that the file is there as a whole.
const PART: &str = ".ending";

/// The end of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct EndNotice {
    pub(crate) reason: EndReason,
    pub(crate) ends_unix_ms: UnixMillis,
}

/// Tells the program in a job's container. One without a directory for it has none yet, or is of an older agent.
pub(crate) fn write(dir: &Path, notice: EndNotice) -> io::Result<()> {
    let at = space::notice(dir);
    let text = serde_json::to_string(&notice).map_err(io::Error::other)?;
    fs::write(at.join(PART), text + "\n")?;
    fs::set_permissions(at.join(PART), Permissions::from_mode(0o644))?;
    fs::rename(at.join(PART), at.join(FILE))
}

/// It goes on.
pub(crate) fn clear(dir: &Path) -> io::Result<()> {
    match fs::remove_file(space::notice(dir).join(FILE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_job_finds_its_end_as_a_whole_and_not_any_more_once_it_goes_on() {
        let run = tempfile::tempdir().unwrap();
        let dir = run.path().join("ses");
        let notice = |ends_unix_ms| EndNotice {
            reason: EndReason::Preempted,
            ends_unix_ms,
        };
        write(&dir, notice(1)).unwrap_err();
        clear(&dir).unwrap();
        fs::create_dir_all(space::notice(&dir)).unwrap();
        for moment in [7, 8] {
            write(&dir, notice(moment)).unwrap();
            let found = fs::read_to_string(space::notice(&dir).join(FILE)).unwrap();
            let expected = format!("{{\"reason\":\"preempted\",\"ends_unix_ms\":{moment}}}\n");
            assert_eq!(found, expected);
        }
        let left = fs::read_dir(space::notice(&dir)).unwrap().count();
        assert_eq!(left, 1);
        clear(&dir).unwrap();
        clear(&dir).unwrap();
        assert_eq!(fs::read_dir(space::notice(&dir)).unwrap().count(), 0);
    }
}
