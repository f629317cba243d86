//! XIDs of the GPUs for jobs, on disk: `<data>/xids.json`.
//!
//! The driver tells each once, to whoever listens then, and its counters do not have most of them: an agent that begins
//! anew would take a GPU for well that must be reset before anything else runs on it. They count until the host is booted
//! again; of a GPU that was reset meanwhile they are forgotten by removing the file while the agent is stopped.
//!
//! **What it does not know:** what an XID means.

use nearlight_kit::files::write_atomic;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// By the UUID of a GPU.
pub(crate) type ByGpu = BTreeMap<String, BTreeSet<u64>>;

/// The file.
#[derive(Debug)]
pub(crate) struct Xids {
    path: PathBuf,
    boot: String,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    boot: String,
    xids: ByGpu,
}

impl Xids {
    /// What an earlier agent saw since the host was booted.
    pub(crate) fn open(data: &Path) -> (Self, ByGpu) {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self::of_boot(data, boot.trim())
    }

    fn of_boot(data: &Path, boot: &str) -> (Self, ByGpu) {
        let path = data.join("xids.json");
        let stored = fs::read(&path).ok();
        let stored = stored.and_then(|text| serde_json::from_slice::<Stored>(&text).ok());
        let seen = stored.filter(|stored| stored.boot == boot);
        let seen = seen.map_or_else(ByGpu::new, |stored| stored.xids);
        for (gpu, xids) in seen.iter().filter(|(_, xids)| !xids.is_empty()) {
            tracing::warn!(gpu, ?xids, path = %path.display(), "a GPU had XIDs before this agent was started; if it was reset since, stop the agent, remove the file and start it again");
        }
        let boot = boot.to_owned();
        (Self { path, boot }, seen)
    }

    /// Writes down what was seen so far.
    pub(crate) fn keep(&self, xids: ByGpu) {
        let boot = self.boot.clone();
        let text = serde_json::to_vec_pretty(&Stored { boot, xids });
        let text = text.expect("strings and numbers are JSON");
        if let Err(error) = write_atomic(&self.path, &text, 0o600) {
            tracing::error!(path = %self.path.display(), %error, "cannot write down which XIDs the GPUs had; the next agent does not know of them");
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn xids_count_until_the_next_boot() {
        let data = tempfile::tempdir().unwrap();
        let (file, seen) = Xids::of_boot(data.path(), "one");
        assert!(seen.is_empty());
        let xids = ByGpu::from([("GPU-1".to_owned(), BTreeSet::from([31, 95]))]);
        file.keep(xids.clone());
        assert_eq!(Xids::of_boot(data.path(), "one").1, xids);
        assert!(Xids::of_boot(data.path(), "two").1.is_empty());
        fs::write(data.path().join("xids.json"), b"{").unwrap();
        assert!(Xids::of_boot(data.path(), "one").1.is_empty());
    }
}
