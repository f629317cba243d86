//! What is given places together, and how each is answered.

use super::entry::Entry;
use super::{LogError, Logged};
use crate::ledger::{Advance, EvidenceRow, ReceiptRow};
use nearlight_proof::encoding::hex;
use nearlight_proof::log::tree::Hash;
use std::collections::{BTreeMap, HashMap, HashSet};
use tokio::sync::oneshot;

/// An entry that wants a place.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) entry: Entry,
    pub(super) reply: oneshot::Sender<Result<Logged, LogError>>,
}

/// Entries of a round, each leaf once, in the order in which they came.
pub(super) struct Batch<'a> {
    pub(super) entries: Vec<&'a Entry>,
}

impl<'a> Batch<'a> {
    pub(super) fn of(waiting: &'a [Job]) -> Self {
        let mut seen = HashSet::new();
        let entries = waiting.iter().map(|job| &job.entry);
        Self {
            entries: entries.filter(|entry| seen.insert(entry.leaf())).collect(),
        }
    }

    pub(super) fn places(&self, first: u64) -> HashMap<String, u64> {
        let leaves = self.entries.iter().map(|entry| entry.row.leaf.clone());
        leaves.zip(first..).collect()
    }

    pub(super) fn advance(&self, from: (u64, Hash), to: (u64, Hash), at_ms: u64) -> Advance {
        let mut evidence: BTreeMap<&str, EvidenceRow> = BTreeMap::new();
        for piece in self.entries.iter().flat_map(|entry| &entry.evidence) {
            let known = evidence
                .entry(&piece.sha256)
                .or_insert_with(|| piece.clone());
            known.kept_until_s = known.kept_until_s.max(piece.kept_until_s);
        }
        let rows = self.entries.iter().zip(from.0..);
        Advance {
            from: (from.0, hex(&from.1)),
            to: (to.0, hex(&to.1)),
            rows: rows
                .map(|(entry, place)| ReceiptRow {
                    place,
                    ..entry.row.clone()
                })
                .collect(),
            evidence: evidence.into_values().collect(),
            at_ms,
        }
    }
}

/// Answers everybody of a round; the same entry twice is new once.
pub(super) fn answer(waiting: &mut Vec<Job>, places: &HashMap<String, u64>) {
    let mut told = HashSet::new();
    for job in std::mem::take(waiting) {
        let Some(place) = places.get(job.entry.leaf()).copied() else {
            continue;
        };
        let is_new = told.insert(place);
        let _ = job.reply.send(Ok(Logged { place, is_new }));
    }
}

/// Tells everybody who still waits why it has no place.
pub(super) fn refuse(waiting: Vec<Job>, error: &LogError) {
    for job in waiting {
        let _ = job.reply.send(Err(error.clone()));
    }
}
