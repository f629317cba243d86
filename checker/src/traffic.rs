//! How much this checker has sent and received in this month, counted on disk.
//!
//! What a crash loses is what one assignment took. Bodies are counted, not the headers around them. Past its limit a checker
//! does nothing that is assigned to it; that it asks what is due, and cosigns the log, goes on and is counted: a log that waits
//! for its line would show no head.

use crate::failure::Failure;
use nearlight_kit::files::write_atomic;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

const FILE: &str = "traffic.json";
const GB: u64 = 1_000_000_000;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Counted {
    /// Such as `2026-11`.
    month: String,
    bytes: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Traffic {
    path: PathBuf,
    counted: Counted,
    /// Bytes a month; `None` for no limit.
    most: Option<u64>,
}

impl Traffic {
    /// What was counted in this directory so far.
    ///
    /// # Errors
    /// [`Failure::Damaged`], [`Failure::File`].
    pub fn open(data: &Path, gb_max: Option<u64>) -> Result<Self, Failure> {
        let path = data.join(FILE);
        let counted = match std::fs::read(&path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map_err(|_| Failure::Damaged(path.clone()))?
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Counted::default(),
            Err(source) => return Err(Failure::File { path, source }),
        };
        let most = gb_max.map(|gb| gb.saturating_mul(GB));
        Ok(Self {
            path,
            counted,
            most,
        })
    }

    /// Counts so many bytes more, at this time.
    ///
    /// # Errors
    /// [`Failure::File`].
    pub fn add(&mut self, bytes: u64, unix_s: u64) -> Result<(), Failure> {
        self.turn(unix_s);
        self.counted.bytes = self.counted.bytes.saturating_add(bytes);
        let text = serde_json::to_vec(&self.counted).unwrap_or_default();
        write_atomic(&self.path, &text, 0o644).map_err(|source| Failure::File {
            path: self.path.clone(),
            source,
        })
    }

    /// Why nothing that takes much is to be done at this time, if so.
    pub fn is_over(&mut self, unix_s: u64) -> Option<String> {
        self.turn(unix_s);
        let most = self.most.filter(|most| self.counted.bytes >= *most)?;
        let (gb, month) = (most / GB, &self.counted.month);
        Some(format!(
            "the {gb} GB of this checker's month {month} are used up"
        ))
    }

    /// Bytes of this month.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.counted.bytes
    }

    fn turn(&mut self, unix_s: u64) {
        let month = month_of(unix_s);
        if self.counted.month != month {
            self.counted = Counted { month, bytes: 0 };
        }
    }
}

/// The month of a time, UTC.
fn month_of(unix_s: u64) -> String {
    let date = nearlight_protocol::unit::rfc3339(unix_s.saturating_mul(1000));
    date.get(..7).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_month_is_counted_on_disk_and_the_next_begins_anew() {
        let dir = tempfile::tempdir().unwrap();
        let (november, december) = (1_795_824_000, 1_796_083_200);
        assert_eq!(
            (month_of(november).as_str(), month_of(december).as_str()),
            ("2026-11", "2026-12")
        );
        let mut traffic = Traffic::open(dir.path(), Some(1)).unwrap();
        traffic.add(GB - 1, november).unwrap();
        assert_eq!(traffic.is_over(november), None);
        traffic.add(1, november).unwrap();
        let mut again = Traffic::open(dir.path(), Some(1)).unwrap();
        assert!(again.is_over(november).unwrap().contains("2026-11"));
        assert_eq!(again.bytes(), GB);
        assert_eq!(again.is_over(december), None);
        let mut endless = Traffic::open(dir.path(), None).unwrap();
        assert_eq!(endless.is_over(november), None);
    }
}
