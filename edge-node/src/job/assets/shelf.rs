//! What a node has of assets, and what may go: bookkeeping, without a file.
//!
//! **Invariants.** What is here and what is on its way never exceed the limit together. Nothing that is held goes.
//! Whatever goes was let go longest ago. An owner is listed for a file only after [`Shelf::put`] named it.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// There is no room for an asset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this node keeps {limit_mib} MiB of assets, of which live jobs use {held_mib}; {wanted_mib} MiB more do not fit"
)]
pub(crate) struct NoRoom {
    limit_mib: u64,
    held_mib: u64,
    wanted_mib: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    bytes: u64,
    used_ms: u64,
    owners: BTreeSet<String>,
}

/// Assets by digest.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shelf {
    entries: BTreeMap<String, Entry>,
    limit: u64,
    /// How many jobs use each.
    held: HashMap<String, usize>,
    /// Bytes that are set aside for what is on its way.
    reserved: HashMap<String, u64>,
}

impl Shelf {
    /// From what [`Shelf::text`] was; empty from anything else.
    pub(crate) fn read(text: &[u8], limit: u64) -> Self {
        Self {
            entries: serde_json::from_slice(text).unwrap_or_default(),
            limit,
            ..Self::default()
        }
    }

    /// To be written down.
    pub(crate) fn text(&self) -> Vec<u8> {
        serde_json::to_vec(&self.entries).unwrap_or_default()
    }

    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// Forgets what is not there as it is listed.
    pub(crate) fn retain(&mut self, is_there: impl Fn(&str, u64) -> bool) {
        self.entries
            .retain(|digest, entry| is_there(digest, entry.bytes));
    }

    pub(crate) fn has(&self, digest: &str) -> bool {
        self.entries.contains_key(digest)
    }

    /// Its size, if it is here and the owner has shown its right to it.
    pub(crate) fn size_for(&self, owner: &str, digest: &str) -> Option<u64> {
        let entry = self.entries.get(digest)?;
        entry.owners.contains(owner).then_some(entry.bytes)
    }

    /// Names of the last used, by owner and digest.
    pub(crate) fn names(&self, most: usize) -> Vec<String> {
        let mut entries: Vec<_> = self.entries.iter().collect();
        entries.sort_by_key(|(_, entry)| std::cmp::Reverse(entry.used_ms));
        let names = entries.into_iter().flat_map(|(digest, entry)| {
            let owners = entry.owners.iter();
            owners.map(move |owner| nearlight_protocol::volume::asset_name(owner, digest))
        });
        names.take(most).collect()
    }

    /// A job uses it, or waits for it.
    pub(crate) fn hold(&mut self, digest: &str) {
        *self.held.entry(digest.to_owned()).or_default() += 1;
    }

    /// A job uses it no more.
    pub(crate) fn let_go(&mut self, digest: &str, now_ms: u64) {
        if let Some(uses) = self.held.get_mut(digest) {
            *uses -= 1;
            if *uses == 0 {
                self.held.remove(digest);
            }
        }
        if let Some(entry) = self.entries.get_mut(digest) {
            entry.used_ms = now_ms;
        }
    }

    fn used(&self) -> u64 {
        let here: u64 = self.entries.values().map(|entry| entry.bytes).sum();
        here + self.reserved.values().sum::<u64>()
    }

    /// Sets room aside for one that is to come. Returns what has to go for it, already forgotten here.
    pub(crate) fn reserve(&mut self, digest: &str, bytes: u64) -> Result<Vec<String>, NoRoom> {
        let mut idle: Vec<(u64, String)> = self
            .entries
            .iter()
            .filter(|(other, _)| !self.held.contains_key(*other))
            .map(|(other, entry)| (entry.used_ms, other.clone()))
            .collect();
        idle.sort_unstable();
        let idle_bytes: u64 = idle.iter().map(|(_, idle)| self.entries[idle].bytes).sum();
        let busy = self.used() - idle_bytes;
        if busy + bytes > self.limit {
            return Err(NoRoom {
                limit_mib: self.limit >> 20,
                held_mib: busy >> 20,
                wanted_mib: bytes >> 20,
            });
        }
        let mut leave = Vec::new();
        for (_, other) in idle {
            if self.used() + bytes <= self.limit {
                break;
            }
            self.entries.remove(&other);
            leave.push(other);
        }
        self.reserved.insert(digest.to_owned(), bytes);
        Ok(leave)
    }

    /// What was to come has come, or will not.
    pub(crate) fn unreserve(&mut self, digest: &str) {
        self.reserved.remove(digest);
    }

    /// It is here, and this owner has fetched all of it.
    pub(crate) fn put(&mut self, digest: &str, bytes: u64, owner: &str, now_ms: u64) {
        let entry = self.entries.entry(digest.to_owned()).or_insert(Entry {
            bytes,
            used_ms: now_ms,
            owners: BTreeSet::new(),
        });
        entry.used_ms = now_ms;
        entry.owners.insert(owner.to_owned());
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use proptest::prelude::*;

    const LIMIT: u64 = 100;

    #[derive(Clone, Debug)]
    enum Step {
        Hold(u8),
        LetGo(u8),
        Fetch {
            digest: u8,
            bytes: u64,
            owner: u8,
            comes: bool,
        },
        Reopen,
    }

    fn step() -> impl Strategy<Value = Step> {
        let fetch = (0..6_u8, 1..80_u64, 0..3_u8, any::<bool>());
        prop_oneof![
            (0..6_u8).prop_map(Step::Hold),
            (0..6_u8).prop_map(Step::LetGo),
            fetch.prop_map(|(digest, bytes, owner, comes)| Step::Fetch {
                digest,
                bytes,
                owner,
                comes
            }),
            Just(Step::Reopen),
        ]
    }

    proptest! {
        #[test]
        fn nothing_held_goes_the_limit_holds_and_rights_are_earned(steps in prop::collection::vec(step(), 0..60)) {
            let mut shelf = Shelf::read(b"", LIMIT);
            let mut held = BTreeMap::<String, usize>::new();
            let mut rights = BTreeSet::<(String, String)>::new();
            for (now, step) in (0_u64..).zip(steps) {
                match step {
                    Step::Hold(n) => {
                        shelf.hold(&n.to_string());
                        *held.entry(n.to_string()).or_default() += 1;
                    }
                    Step::LetGo(n) => {
                        if let Some(uses) = held.get_mut(&n.to_string()) {
                            *uses -= 1;
                            shelf.let_go(&n.to_string(), now);
                        }
                        held.retain(|_, uses| *uses > 0);
                    }
                    Step::Fetch { digest, bytes, owner, comes } => {
                        let (digest, owner) = (digest.to_string(), owner.to_string());
                        if shelf.has(&digest) {
                            shelf.put(&digest, bytes, &owner, now);
                            rights.insert((owner, digest));
                            continue;
                        }
                        let before = shelf.clone();
                        match shelf.reserve(&digest, bytes) {
                            Ok(leave) => {
                                for gone in &leave {
                                    prop_assert!(!held.contains_key(gone));
                                    rights.retain(|(_, of)| of != gone);
                                }
                                let oldest_left = shelf.entries.iter().filter(|(d, _)| !held.contains_key(*d)).map(|(_, e)| e.used_ms).min();
                                for gone in &leave {
                                    prop_assert!(oldest_left.is_none_or(|left| before.entries[gone].used_ms <= left));
                                }
                                prop_assert!(shelf.used() <= LIMIT);
                                shelf.unreserve(&digest);
                                if comes {
                                    shelf.put(&digest, bytes, &owner, now);
                                    rights.insert((owner, digest));
                                }
                            }
                            Err(_) => {
                                prop_assert_eq!(&shelf.entries, &before.entries);
                                let busy: u64 = shelf.entries.iter().filter(|(d, _)| held.contains_key(*d)).map(|(_, e)| e.bytes).sum();
                                prop_assert!(busy + bytes > LIMIT);
                            }
                        }
                    }
                    Step::Reopen => {
                        let text = shelf.text();
                        shelf = Shelf { held: shelf.held, ..Shelf::read(&text, LIMIT) };
                    }
                }
                prop_assert!(shelf.used() <= LIMIT);
                for digest in 0..6_u8 {
                    for owner in 0..3_u8 {
                        let (digest, owner) = (digest.to_string(), owner.to_string());
                        let has = shelf.size_for(&owner, &digest).is_some();
                        prop_assert_eq!(has, rights.contains(&(owner, digest)));
                    }
                }
            }
        }
    }
}
