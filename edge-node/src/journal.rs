//! The epoch journal on disk: `core/session`'s state machine, made durable.
//!
//! One small file, replaced whole: there are at most 256 slots, and a session starts or ends a few
//! times a second at most.
//!
//! **Invariants.** When [`Journal::admit`] answers `Admit`, the new epoch is on disk already. A
//! write that failed admits nothing and burns the epoch; whether it reached the disk does not
//! matter, for a burnt epoch is refused either way.

use nearlight_kit::files::write_atomic;
use nearlight_protocol::id::{SessionId, SlotId};
use nearlight_protocol::unit::U64;
use nearlight_session::{Admission, Epoch, EpochJournal, JournalEntry, Occupant};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The node's journal.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    state: EpochJournal,
}

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalError {
    /// The file is damaged: to guess would risk two sessions in one slot.
    #[error("{} is damaged; restore it from a copy, or remove the data directory and its certificate to begin anew as another node", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The file cannot be read or written.
    #[error("cannot use {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

#[derive(Serialize, Deserialize)]
struct StoredEntry {
    slot: SlotId,
    epoch: U64,
    occupant: StoredOccupant,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "state", content = "session", rename_all = "kebab-case")]
enum StoredOccupant {
    Vacant,
    Live(SessionId),
    Left(SessionId),
}

impl Journal {
    /// Reads the journal of a data directory; an empty one on the first start.
    pub(crate) fn open(data: &Path, slots: &[SlotId]) -> Result<Self, JournalError> {
        let path = data.join("epochs.json");
        let stored: Vec<StoredEntry> = match std::fs::read(&path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map_err(|source| JournalError::Damaged {
                    path: path.clone(),
                    source,
                })?
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(JournalError::File { path, source }),
        };
        let mut state = EpochJournal::restore(stored.into_iter().map(Into::into));
        for slot in slots {
            state.add_slot(slot.clone());
        }
        Ok(Self { path, state })
    }

    /// Whether `session` may run in `slot` under `epoch`; durable if it is admitted.
    pub(crate) fn admit(
        &mut self,
        slot: &SlotId,
        epoch: Epoch,
        session: &SessionId,
    ) -> Result<Admission, JournalError> {
        let admission = self.state.admit(slot, epoch, session);
        match admission {
            Admission::Admit => match self.write() {
                Ok(()) => Ok(admission),
                Err(error) => {
                    self.state.release(session);
                    Err(error)
                }
            },
            Admission::Already | Admission::Deny(_) => Ok(admission),
        }
    }

    /// Nothing of `session` is left. If the write fails, the next start finds the session still
    /// live and with nothing left of it, and releases it again.
    pub(crate) fn release(&mut self, session: &SessionId) -> Result<(), JournalError> {
        match self.state.release(session) {
            Some(_entry) => self.write(),
            None => Ok(()),
        }
    }

    /// Every slot with its epoch.
    pub(crate) fn entries(&self) -> impl Iterator<Item = JournalEntry> + '_ {
        self.state.entries()
    }

    /// Sessions that run as far as the journal knows, with their epochs.
    pub(crate) fn live(&self) -> Vec<(SessionId, Epoch)> {
        self.entries()
            .filter_map(|entry| match entry.occupant {
                Occupant::Live(session) => Some((session, entry.epoch)),
                Occupant::Vacant | Occupant::Left(_) => None,
            })
            .collect()
    }

    /// Writes what is on the disk already, to find out whether anything can be written.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn write(&self) -> Result<(), JournalError> {
        let stored: Vec<StoredEntry> = self.entries().map(Into::into).collect();
        let bytes = serde_json::to_vec_pretty(&stored).expect("ids and numbers are strings");
        write_atomic(&self.path, &bytes, 0o644).map_err(|source| JournalError::File {
            path: self.path.clone(),
            source,
        })
    }
}

impl From<StoredEntry> for JournalEntry {
    fn from(stored: StoredEntry) -> Self {
        Self {
            slot: stored.slot,
            epoch: stored.epoch.into(),
            occupant: match stored.occupant {
                StoredOccupant::Vacant => Occupant::Vacant,
                StoredOccupant::Live(session) => Occupant::Live(session),
                StoredOccupant::Left(session) => Occupant::Left(session),
            },
        }
    }
}

impl From<JournalEntry> for StoredEntry {
    fn from(entry: JournalEntry) -> Self {
        Self {
            slot: entry.slot,
            epoch: entry.epoch.into(),
            occupant: match entry.occupant {
                Occupant::Vacant => StoredOccupant::Vacant,
                Occupant::Live(session) => StoredOccupant::Live(session),
                Occupant::Left(session) => StoredOccupant::Left(session),
            },
        }
    }
}

#[cfg(test)]
#[path = "journal/test.rs"]
mod test;
