//! What this node keeps of its probes, for disputes: what was said, and what it opened.
//!
//! `PROBE.record` and `PROBE.opening` in `disputes` of the data directory are what `nearlight node dispute` takes. A
//! probe whose receipt the node signed is forgotten; the others are kept for as long as anybody may dispute.
//!
//! **Invariant.** There are [`KEPT`] at most, and it is the checker that has most of them whose oldest one goes: who begins
//! probe after probe pushes out its own alone.
//!
//! **What it does not know:** what a checker made of them.

use nearlight_kit::clock::unix_ms;
use nearlight_kit::files::write_atomic;
use nearlight_proof::key::KeyId;
use nearlight_proof::porc::exchange::record::Record;
use nearlight_proof::receipt::verify::DISPUTE_DAYS_MAX;
use nearlight_protocol::id::SessionId;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// Probes that are kept: with openings of full size a gigabyte.
const KEPT: usize = 64;
/// For how long, days: a day more than any network has for disputes.
const KEPT_DAYS: u64 = DISPUTE_DAYS_MAX + 1;
const RECORD: &str = "record";
const OPENING: &str = "opening";

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Kept(PathBuf);

impl Kept {
    /// What the data directory has; openings that a crash left without their records are taken away. Blocks.
    pub(super) fn in_data(data: &Path) -> Self {
        let kept = Self(data.join("disputes"));
        let records = kept.probes(RECORD).unwrap_or_default();
        let openings = kept.probes(OPENING).unwrap_or_default();
        for probe in openings.iter().filter(|probe| !records.contains(probe)) {
            if let Err(error) = kept.remove(probe) {
                tracing::warn!(probe, %error, "an opening without its record is not taken away");
            }
        }
        kept
    }

    /// Keeps a probe, and forgets what is over or too much. Blocks.
    pub(super) fn keep(&self, probe: &SessionId, record: &[u8], opening: &[u8]) -> io::Result<()> {
        std::fs::create_dir_all(&self.0)?;
        // The record first: it is by records that probes are found again.
        write_atomic(&self.path(probe.as_str(), RECORD), record, 0o600)?;
        write_atomic(&self.path(probe.as_str(), OPENING), opening, 0o600)?;
        self.tidy(unix_ms())
    }

    fn tidy(&self, now_ms: u64) -> io::Result<()> {
        let since =
            UNIX_EPOCH + Duration::from_millis(now_ms) - Duration::from_secs(KEPT_DAYS * 24 * 3600);
        let mut of: BTreeMap<Option<KeyId>, Vec<String>> = BTreeMap::new();
        for probe in self.probes(RECORD)? {
            let at = self.path(&probe, RECORD);
            let written = std::fs::metadata(&at).and_then(|of| of.modified());
            match written {
                Ok(written) if written < since => self.remove(&probe)?,
                // Another probe's end has just forgotten it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                _ => of.entry(checker(&at)).or_default().push(probe),
            }
        }
        let count = |of: &BTreeMap<_, Vec<String>>| of.values().map(Vec::len).sum::<usize>();
        while count(&of) > KEPT {
            let most = of.values_mut().max_by_key(|probes| probes.len());
            let Some(probes) = most.filter(|probes| !probes.is_empty()) else {
                break;
            };
            // Ids begin with the time: the oldest come first.
            self.remove(&probes.remove(0))?;
        }
        Ok(())
    }

    /// The probes of which there is this part, the oldest first.
    fn probes(&self, part: &str) -> io::Result<Vec<String>> {
        let suffix = format!(".{part}");
        let mut probes: Vec<String> = std::fs::read_dir(&self.0)?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter_map(|name| name.strip_suffix(&suffix).map(str::to_owned))
            .collect();
        probes.sort();
        Ok(probes)
    }

    /// Forgets a probe. Blocks.
    pub(super) fn forget(&self, probe: &SessionId) -> io::Result<()> {
        self.remove(probe.as_str())
    }

    fn remove(&self, probe: &str) -> io::Result<()> {
        for part in [OPENING, RECORD] {
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

/// Who asked, by the record's first word; one that cannot be read is nobody's.
fn checker(record: &Path) -> Option<KeyId> {
    let bytes = std::fs::read(record).ok()?;
    Record::parse(&bytes).ok()?.checker()
}

#[cfg(test)]
mod test {
    use super::*;
    use nearlight_proof::key::SecretKey;
    use nearlight_proof::receipt::envelope::Envelope;

    fn probe(n: u64) -> SessionId {
        SessionId::from_parts(n, [0; 10])
    }

    /// A record of a checker, as far as who begins it goes.
    fn record(checker: u8) -> Vec<u8> {
        let mut begin = Envelope::new("test/begin", b"{}".to_vec());
        begin.sign(&SecretKey::from_seed(&[checker; 32]));
        Record::new(&begin.to_bytes()).to_bytes()
    }

    fn files(dir: &Path) -> usize {
        std::fs::read_dir(dir.join("disputes")).unwrap().count()
    }

    #[test]
    fn a_checker_that_asks_again_and_again_pushes_out_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept::in_data(dir.path());
        // Three GPUs failed by a committee of three, and then one that goes on.
        for n in 0..9 {
            let checker = u8::try_from(n % 3).unwrap();
            kept.keep(&probe(n), &record(checker), b"opened").unwrap();
        }
        for n in 9..200 {
            kept.keep(&probe(n), &record(0), b"opened").unwrap();
        }
        assert_eq!(files(dir.path()), 2 * KEPT);
        let has = |n: u64| kept.path(probe(n).as_str(), OPENING).exists();
        assert!((0..9).filter(|n| n % 3 != 0).all(has), "of the others all");
        assert!(!has(0) && !has(9) && has(199), "of its own the last");
        kept.forget(&probe(199)).unwrap();
        kept.forget(&probe(199)).unwrap();
        assert_eq!(files(dir.path()), 2 * (KEPT - 1));
    }

    #[test]
    fn what_nobody_can_dispute_any_more_goes_and_so_does_what_a_crash_left() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept::in_data(dir.path());
        kept.keep(&probe(1), &record(1), b"opened").unwrap();
        let days = |days: u64| unix_ms() + days * 24 * 3600 * 1000;
        kept.tidy(days(KEPT_DAYS - 1)).unwrap();
        assert_eq!(files(dir.path()), 2);
        std::fs::write(kept.path(probe(2).as_str(), OPENING), b"opened").unwrap();
        Kept::in_data(dir.path());
        assert_eq!(files(dir.path()), 2, "an opening without a record");
        kept.tidy(days(KEPT_DAYS + 1)).unwrap();
        assert_eq!(files(dir.path()), 0);
    }
}
