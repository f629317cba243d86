//! Which evidence the receipts of late name.
//!
//! Evidence comes within seconds of the receipt that names it. So it is looked for among the newest entries, which are read
//! from the tiles once each if another broker took them, or this one before it was started; what is older its sender finds by
//! naming the receipt. The ledger has a row of what is here, and an append writes none.
//!
//! **Invariants.** At most [`PIECES_MAX`] pieces are known; of one that several receipts name the longest time. No entry is read
//! twice, whatever is asked for.
//!
//! **What it does not know:** whether a piece is here.

use super::entry::Entry;
use super::store::Store;
use super::{LogError, Receipts, blocking, reader};
use crate::ledger::EvidenceRow;
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Pieces that are known: some 40,000 receipts', and 40 MB.
const PIECES_MAX: usize = 262_144;
/// Entries that are read from the tiles, the newest: about a second of a core, once.
const ENTRIES_MAX: u64 = 16_384;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Recent {
    named: Mutex<Named>,
    /// Entries before this place were read, or are too old. Held while some are.
    read_until: tokio::sync::Mutex<u64>,
}

#[derive(Debug, Default)]
struct Named {
    pieces: HashMap<String, EvidenceRow>,
    /// Oldest first.
    order: VecDeque<String>,
}

impl Named {
    fn add(&mut self, piece: &EvidenceRow, most: usize) {
        if let Some(known) = self.pieces.get_mut(&piece.sha256) {
            known.kept_until_s = known.kept_until_s.max(piece.kept_until_s);
            return;
        }
        while self.order.len() >= most {
            if let Some(oldest) = self.order.pop_front() {
                self.pieces.remove(&oldest);
            }
        }
        self.order.push_back(piece.sha256.clone());
        self.pieces.insert(piece.sha256.clone(), piece.clone());
    }
}

impl Recent {
    /// A receipt has its place, and names these.
    pub(super) fn add(&self, pieces: &[EvidenceRow]) {
        let mut named = self.named();
        pieces.iter().for_each(|piece| named.add(piece, PIECES_MAX));
    }

    pub(super) fn find(&self, digest: &str) -> Option<EvidenceRow> {
        self.named().pieces.get(digest).cloned()
    }

    fn named(&self) -> MutexGuard<'_, Named> {
        self.named.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Receipts {
    /// What the newest receipts say of a piece of evidence.
    pub(super) async fn named_of_late(
        &self,
        digest: &str,
    ) -> Result<Option<EvidenceRow>, LogError> {
        if let Some(found) = self.recent.find(digest) {
            return Ok(Some(found));
        }
        let mut read_until = self.recent.read_until.lock().await;
        // A broker that has just been started shows nothing yet.
        let size = self.published().ok_or(LogError::Busy)?.size;
        let mut next = (*read_until).max(size.saturating_sub(ENTRIES_MAX));
        while next < size {
            let read = move |store: &dyn Store| reader::entries_from(store, size, next);
            let entries = blocking(&self.store, read).await?;
            if entries.is_empty() {
                break;
            }
            next += entries.len() as u64;
            let named = move || -> Vec<EvidenceRow> {
                let entries = entries.into_iter().filter_map(|of| Entry::read(of).ok());
                entries.flat_map(|entry| entry.evidence).collect()
            };
            let named = tokio::task::spawn_blocking(named).await;
            self.recent.add(&named.map_err(|_| LogError::Closed)?);
        }
        *read_until = next;
        Ok(self.recent.find(digest))
    }

    /// What the receipt with this leaf says of it.
    pub(super) async fn named_by(
        &self,
        leaf: &str,
        digest: &str,
    ) -> Result<Option<EvidenceRow>, LogError> {
        if self.published().is_none() {
            return Err(LogError::Busy);
        }
        let placed = self.ledger.logged(vec![leaf.to_owned()]).await?;
        let Some((_, place)) = placed.into_iter().next() else {
            return Ok(None);
        };
        let entry = self.entry(place).await?;
        let entry = entry.and_then(|bytes| Entry::read(bytes).ok());
        let pieces = entry.map(|entry| entry.evidence).unwrap_or_default();
        Ok(pieces.into_iter().find(|piece| piece.sha256 == digest))
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn the_oldest_go_first_and_the_longest_time_counts() {
        let piece = |n: u8, kept_until_s| EvidenceRow {
            sha256: format!("{n}"),
            bytes: 1,
            kept_until_s,
        };
        let mut named = Named::default();
        for (n, kept_until_s) in [(1, 10), (2, 10), (1, 30), (2, 5), (3, 10)] {
            named.add(&piece(n, kept_until_s), 3);
        }
        assert_eq!(named.pieces["1"].kept_until_s, 30);
        assert_eq!(named.pieces["2"].kept_until_s, 10);
        named.add(&piece(4, 10), 3);
        assert!(!named.pieces.contains_key("1"), "the oldest");
        assert_eq!((named.pieces.len(), named.order.len()), (3, 3));
    }
}
