//! Desktops that are ready before anybody asks for a session: worker, sockets, sound and encoders, without an
//! app and without anything of anybody's.
//!
//! - [`plan`]: how many are to be there; pure.
//! - [`keeper`]: the one task that starts and ends them.
//!
//! ```text
//!   starting --it says that it is ready--> spare --taken--> a session's own, and never a spare again
//!      |                                     |
//!      '--not in time----> ended <--no room, not wanted, worker gone, node stops
//! ```
//!
//! **Invariants.** A desktop is taken once: [`Warm::take`] removes it. Two workers that live at the same time
//! have two users: a spare has a place of its own, which its session keeps until nothing of it is left. A spare
//! is in no record: after a crash its directory, its control group and its worker are owned by no session, and
//! adoption removes them.
//!
//! **What it does not know:** sessions, images, versions of apps: a desktop is the same for all of them.

mod keeper;
mod plan;

pub(crate) use keeper::Keeper;
pub(crate) use plan::Room;

use crate::process::Process;
use nearlight_protocol::app::DisplayMode;
use nearlight_protocol::control::WarmReady;
use nearlight_protocol::id::{AppId, SessionId};
use nearlight_protocol::limits::SPARE_KEYBOARD_LAYOUT;
use nearlight_protocol::work::AppWork;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use tokio_util::sync::DropGuard;

/// Places start behind the slots, of which there are at most so many.
const PLACE_FIRST: usize = 256;

/// The spare desktops of a node.
#[derive(Debug)]
pub(crate) struct Warm {
    /// Held for a look-up, never across an await.
    shelf: Mutex<Shelf>,
    is_over: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Shelf {
    spares: Vec<Spare>,
    /// Holders of each place.
    places: BTreeMap<usize, usize>,
}

/// A desktop that waits for its session.
#[derive(Debug)]
pub(crate) struct Spare {
    /// What directory and control group are named after.
    pub(crate) name: SessionId,
    pub(crate) place: Place,
    pub(crate) worker: Process,
    kind: Kind,
    /// Whoever takes it is the one whom the worker talks to.
    _reading: DropGuard,
}

/// What a spare is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kind {
    app: AppId,
    display: DisplayMode,
}

/// A user for a worker, while this lives.
#[derive(Debug)]
pub(crate) struct Place {
    warm: Arc<Warm>,
    index: usize,
}

impl Place {
    /// Its number, behind those of the slots.
    pub(crate) fn index(&self) -> usize {
        self.index
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut shelf = self.warm.shelf();
        if let Some(holders) = shelf.places.get_mut(&self.index) {
            *holders -= 1;
            if *holders == 0 {
                shelf.places.remove(&self.index);
            }
        }
    }
}

impl Warm {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            shelf: Mutex::default(),
            is_over: watch::channel(false).0,
        })
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds the place that a session has; `None` for a slot's own.
    pub(crate) fn hold(self: &Arc<Self>, index: usize) -> Option<Place> {
        (index >= PLACE_FIRST).then(|| {
            *self.shelf().places.entry(index).or_default() += 1;
            Place {
                warm: self.clone(),
                index,
            }
        })
    }

    /// A place that nobody has.
    fn free_place(self: &Arc<Self>) -> Place {
        let mut shelf = self.shelf();
        let is_free = |index: &usize| !shelf.places.contains_key(index);
        let index = (PLACE_FIRST..).find(is_free).unwrap_or(PLACE_FIRST);
        shelf.places.insert(index, 1);
        drop(shelf);
        Place {
            warm: self.clone(),
            index,
        }
    }

    /// Takes a desktop for this session, if one fits. Nobody else gets it.
    pub(crate) fn take(&self, work: &AppWork) -> Option<Spare> {
        if work.keyboard_layout != SPARE_KEYBOARD_LAYOUT {
            return None;
        }
        let mut shelf = self.shelf();
        let fits = |spare: &Spare| {
            let kind = &spare.kind;
            kind.app == work.app.id && kind.display == work.display && spare.worker.id().is_alive()
        };
        let at = shelf.spares.iter().position(fits)?;
        Some(shelf.spares.remove(at))
    }

    fn remove(&self, name: &SessionId) -> Option<Spare> {
        let mut shelf = self.shelf();
        let at = shelf.spares.iter().position(|spare| spare.name == *name)?;
        Some(shelf.spares.remove(at))
    }

    fn put(&self, spare: Spare) {
        self.shelf().spares.push(spare);
    }

    fn kinds(&self) -> Vec<(SessionId, Kind)> {
        let shelf = self.shelf();
        let kinds = shelf.spares.iter();
        kinds.map(|s| (s.name.clone(), s.kind.clone())).collect()
    }

    /// How many are ready, by app.
    fn ready(&self) -> Vec<WarmReady> {
        let mut counts: BTreeMap<AppId, u32> = BTreeMap::new();
        for (_, kind) in self.kinds() {
            *counts.entry(kind.app).or_default() += 1;
        }
        let ready = |(app, count)| WarmReady { app, count };
        counts.into_iter().map(ready).collect()
    }

    /// Waits until the keeper has ended all spares for good.
    pub(crate) async fn emptied(&self) {
        // Never closed: this holds the sender.
        let _ = self.is_over.subscribe().wait_for(|over| *over).await;
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_place_is_nobody_elses_until_its_last_holder_is_gone() {
        let warm = Warm::new();
        assert!(warm.hold(PLACE_FIRST - 1).is_none(), "a slot's own");
        // A session that was adopted.
        let adopted = warm.hold(PLACE_FIRST).unwrap();
        let spare = warm.free_place();
        assert_eq!(spare.index(), PLACE_FIRST + 1);
        let session = warm.hold(spare.index());
        drop((spare, adopted));
        assert_eq!(warm.free_place().index(), PLACE_FIRST);
        let first = warm.free_place();
        assert_eq!(warm.free_place().index(), PLACE_FIRST + 2);
        drop((session, first));
        assert_eq!(warm.shelf().places.len(), 0);
    }
}
