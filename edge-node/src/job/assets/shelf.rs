//! What a node has of assets, and what may go: bookkeeping, without a file.
//!
//! **Invariants.** What is here, whole or not, never exceeds the limit. What is on its way may become as large as it
//! was said to be, but nothing goes for it before its bytes come: a server that has nothing empties no shelf. Nothing
//! that is held goes. Whatever goes was let go longest ago, and what is not whole goes first. An owner is listed for
//! a file only after [`Shelf::put`] named it.

use nearlight_protocol::volume::EVERYBODY;
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

/// What is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Coming {
    /// How large it may become.
    bytes_max: u64,
    came: u64,
}

/// What broke off, and may be gone on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    bytes: u64,
    left_ms: u64,
}

/// What has to go for another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Gone {
    /// By its digest.
    Asset(String),
    /// By its file's name.
    Part(String),
}

/// Assets by digest.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shelf {
    entries: BTreeMap<String, Entry>,
    limit: u64,
    /// How many jobs use each.
    held: HashMap<String, usize>,
    /// By the names of their files.
    coming: HashMap<String, Coming>,
    parts: BTreeMap<String, Part>,
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
        let may = |owner| entry.owners.contains(owner);
        (may(owner) || may(EVERYBODY)).then_some(entry.bytes)
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
        let parts: u64 = self.parts.values().map(|part| part.bytes).sum();
        here + parts + self.coming.values().map(|coming| coming.came).sum::<u64>()
    }

    /// What nothing can take away: what jobs use, and what is on its way as large as it may become.
    fn busy(&self) -> u64 {
        let held = |(digest, _): &(&String, &Entry)| self.held.contains_key(*digest);
        let held: u64 = (self.entries.iter().filter(held))
            .map(|(_, entry)| entry.bytes)
            .sum();
        let most = |coming: &Coming| coming.bytes_max.max(coming.came);
        held + self.coming.values().map(most).sum::<u64>()
    }

    fn no_room(&self, bytes: u64) -> NoRoom {
        NoRoom {
            limit_mib: self.limit >> 20,
            held_mib: self.busy() >> 20,
            wanted_mib: bytes >> 20,
        }
    }

    /// A file of up to so many bytes is to come, or to be gone on with.
    pub(crate) fn expect(&mut self, file: &str, bytes_max: u64) -> Result<(), NoRoom> {
        if self.busy() + bytes_max > self.limit {
            return Err(self.no_room(bytes_max));
        }
        let came = self.parts.remove(file).map_or(0, |part| part.bytes);
        let coming = Coming { bytes_max, came };
        self.coming.insert(file.to_owned(), coming);
        Ok(())
    }

    /// So much of it will have come. Returns what goes for that, already forgotten here, and whether there is room.
    pub(crate) fn comes(&mut self, file: &str, came: u64) -> (Vec<Gone>, Result<(), NoRoom>) {
        if let Some(coming) = self.coming.get_mut(file) {
            coming.came = came;
        }
        let mut gone = Vec::new();
        while self.used() > self.limit {
            match self.first_to_go() {
                Some(Gone::Part(name)) => {
                    self.parts.remove(&name);
                    gone.push(Gone::Part(name));
                }
                Some(Gone::Asset(digest)) => {
                    self.entries.remove(&digest);
                    gone.push(Gone::Asset(digest));
                }
                // A job took what was idle when this one was expected.
                None => return (gone, Err(self.no_room(came))),
            }
        }
        (gone, Ok(()))
    }

    fn first_to_go(&self) -> Option<Gone> {
        let part = self.parts.iter().min_by_key(|(_, part)| part.left_ms);
        if let Some((name, _)) = part {
            return Some(Gone::Part(name.clone()));
        }
        let idle = self.entries.iter();
        let idle = idle.filter(|(digest, _)| !self.held.contains_key(*digest));
        let oldest = idle.min_by_key(|(_, entry)| entry.used_ms);
        oldest.map(|(digest, _)| Gone::Asset(digest.clone()))
    }

    /// It comes no more; so much of it is left on the disk.
    pub(crate) fn broke_off(&mut self, file: &str, bytes: u64, now_ms: u64) {
        self.coming.remove(file);
        if bytes > 0 {
            let left_ms = now_ms;
            self.parts.insert(file.to_owned(), Part { bytes, left_ms });
        }
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
        Expect { digest: u8, bytes: u64 },
        Comes { digest: u8, came: u64 },
        BreaksOff(u8),
        IsWhole { digest: u8, owner: u8 },
        Reopen,
    }

    fn step() -> impl Strategy<Value = Step> {
        let digest = 0..6_u8;
        prop_oneof![
            digest.clone().prop_map(Step::Hold),
            digest.clone().prop_map(Step::LetGo),
            (digest.clone(), 1..80_u64).prop_map(|(digest, bytes)| Step::Expect { digest, bytes }),
            (digest.clone(), 1..80_u64).prop_map(|(digest, came)| Step::Comes { digest, came }),
            digest.clone().prop_map(Step::BreaksOff),
            (digest, 0..3_u8).prop_map(|(digest, owner)| Step::IsWhole { digest, owner }),
            Just(Step::Reopen),
        ]
    }

    /// What a node does with a shelf, and what has to be true of it.
    #[derive(Default)]
    struct World {
        shelf: Shelf,
        held: BTreeMap<String, usize>,
        rights: BTreeSet<(String, String)>,
    }

    impl World {
        fn let_go(&mut self, digest: &str, now: u64) {
            if let Some(uses) = self.held.get_mut(digest) {
                *uses -= 1;
                self.shelf.let_go(digest, now);
            }
            self.held.retain(|_, uses| *uses > 0);
        }

        fn expect(&mut self, digest: &str, bytes: u64) -> Result<(), TestCaseError> {
            if self.shelf.has(digest) || self.shelf.coming.contains_key(digest) {
                return Ok(());
            }
            let before = self.shelf.clone();
            let expected = self.shelf.expect(digest, bytes);
            prop_assert_eq!(expected.is_err(), before.busy() + bytes > LIMIT);
            prop_assert_eq!(&self.shelf.entries, &before.entries, "nothing goes yet");
            prop_assert_eq!(self.shelf.used(), before.used());
            Ok(())
        }

        fn comes(&mut self, digest: &str, came: u64, now: u64) -> Result<(), TestCaseError> {
            let Some(coming) = self.shelf.coming.get(digest).copied() else {
                return Ok(());
            };
            let before = self.shelf.clone();
            let (gone, fits) = self.shelf.comes(digest, came.min(coming.bytes_max));
            for one in &gone {
                let Gone::Asset(one) = one else { continue };
                prop_assert!(!self.held.contains_key(one));
                prop_assert!(self.shelf.parts.is_empty(), "what is not whole goes first");
                let idle = self.shelf.entries.iter();
                let mut idle = idle.filter(|(digest, _)| !self.held.contains_key(*digest));
                prop_assert!(idle.all(|(_, left)| before.entries[one].used_ms <= left.used_ms));
                self.rights.retain(|(_, of)| of != one);
            }
            if fits.is_err() {
                // The caller writes nothing more.
                self.shelf.broke_off(digest, coming.came, now);
            }
            Ok(())
        }

        fn is_whole(&mut self, digest: &str, owner: &str, now: u64) {
            if let Some(coming) = self.shelf.coming.get(digest).copied() {
                self.shelf.broke_off(digest, 0, now);
                self.shelf.put(digest, coming.came, owner, now);
            } else if self.shelf.has(digest) {
                self.shelf.put(digest, 0, owner, now);
            } else {
                return;
            }
            self.rights.insert((owner.to_owned(), digest.to_owned()));
        }

        fn reopen(&mut self) {
            let shelf = Shelf::read(&self.shelf.text(), LIMIT);
            let old = std::mem::replace(&mut self.shelf, shelf);
            self.shelf.held = old.held;
            for (name, part) in old.parts {
                self.shelf.broke_off(&name, part.bytes, part.left_ms);
            }
            for (name, coming) in old.coming {
                self.shelf.broke_off(&name, coming.came, 0);
            }
        }

        fn step(&mut self, step: &Step, now: u64) -> Result<(), TestCaseError> {
            match step {
                Step::Hold(n) => {
                    self.shelf.hold(&n.to_string());
                    *self.held.entry(n.to_string()).or_default() += 1;
                }
                Step::LetGo(n) => self.let_go(&n.to_string(), now),
                Step::Expect { digest, bytes } => self.expect(&digest.to_string(), *bytes)?,
                Step::Comes { digest, came } => self.comes(&digest.to_string(), *came, now)?,
                Step::BreaksOff(n) => {
                    let file = n.to_string();
                    if let Some(coming) = self.shelf.coming.get(&file).copied() {
                        self.shelf.broke_off(&file, coming.came, now);
                    }
                }
                Step::IsWhole { digest, owner } => {
                    self.is_whole(&digest.to_string(), &owner.to_string(), now);
                }
                Step::Reopen => self.reopen(),
            }
            prop_assert!(self.shelf.used() <= LIMIT);
            for (digest, owner) in
                (0..6_u8).flat_map(|digest| (0..3_u8).map(move |owner| (digest, owner)))
            {
                let (digest, owner) = (digest.to_string(), owner.to_string());
                let has = self.shelf.size_for(&owner, &digest).is_some();
                prop_assert_eq!(has, self.rights.contains(&(owner, digest)));
            }
            Ok(())
        }
    }

    proptest! {
        #[test]
        fn nothing_held_goes_the_limit_holds_and_rights_are_earned(steps in prop::collection::vec(step(), 0..80)) {
            let shelf = Shelf::read(b"", LIMIT);
            let mut world = World { shelf, ..World::default() };
            for (now, step) in (0_u64..).zip(&steps) {
                world.step(step, now)?;
            }
        }
    }
}
