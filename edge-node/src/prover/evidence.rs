//! What this node keeps of its last probes, for disputes: what was said, and what it opened.
//!
//! `PROBE.record` and `PROBE.opening` in `disputes` of the data directory are what `nearlight node dispute` takes. A
//! probe whose receipt the node signed is forgotten; of the others the last few are kept.
//!
//! **What it does not know:** what a checker made of them.

use nearlight_kit::files::write_atomic;
use nearlight_protocol::id::SessionId;
use std::io;
use std::path::{Path, PathBuf};

/// Probes that are kept.
const KEPT: usize = 8;
const RECORD: &str = "record";
const OPENING: &str = "opening";

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Kept(PathBuf);

impl Kept {
    pub(super) fn in_data(data: &Path) -> Self {
        Self(data.join("disputes"))
    }

    /// Keeps a probe, and forgets the oldest. Blocks.
    pub(super) fn keep(&self, probe: &SessionId, record: &[u8], opening: &[u8]) -> io::Result<()> {
        std::fs::create_dir_all(&self.0)?;
        write_atomic(&self.path(probe.as_str(), OPENING), opening, 0o600)?;
        write_atomic(&self.path(probe.as_str(), RECORD), record, 0o600)?;
        // Ids begin with the time: the oldest come first.
        let mut probes: Vec<String> = std::fs::read_dir(&self.0)?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter_map(|name| name.strip_suffix(".record").map(str::to_owned))
            .collect();
        probes.sort();
        let old = probes.len().saturating_sub(KEPT);
        for probe in probes.iter().take(old) {
            self.remove(probe)?;
        }
        Ok(())
    }

    /// Forgets a probe. Blocks.
    pub(super) fn forget(&self, probe: &SessionId) -> io::Result<()> {
        self.remove(probe.as_str())
    }

    fn remove(&self, probe: &str) -> io::Result<()> {
        for part in [RECORD, OPENING] {
            match std::fs::remove_file(self.path(probe, part)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn path(&self, probe: &str, part: &str) -> PathBuf {
        self.0.join(format!("{probe}.{part}"))
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn the_last_few_are_kept_and_what_was_signed_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept::in_data(dir.path());
        let probe = |n: u64| SessionId::from_parts(n, [0; 10]);
        for n in 0..12 {
            kept.keep(&probe(n), b"said", b"opened").unwrap();
        }
        let files = || {
            std::fs::read_dir(dir.path().join("disputes"))
                .unwrap()
                .count()
        };
        assert_eq!(files(), 2 * KEPT);
        assert!(!kept.path(probe(3).as_str(), RECORD).exists());
        let opening = std::fs::read(kept.path(probe(11).as_str(), OPENING)).unwrap();
        assert_eq!(opening, b"opened");
        kept.forget(&probe(11)).unwrap();
        kept.forget(&probe(11)).unwrap();
        assert_eq!(files(), 2 * (KEPT - 1));
    }
}
