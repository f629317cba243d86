//! Room on the disk while images come: how large one is only its registry knows, and a tenant names that.
//!
//! **Invariants.** The one that is given up is the one of which most has come: a layer without an end costs no
//! other tenant theirs. After it the others have a moment, in which the engine removes what there is of it.
//!
//! **What it does not know:** who fetches an image, and what is done about it.

use super::Limits;
use crate::runtime::Runtime;
use nix::sys::statvfs::statvfs;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Between two looks: at a gigabyte a second less than half of what stays free by default.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// For the engine to remove what it has of an image that was given up.
const REMOVED_WITHIN: Duration = Duration::from_secs(2);
const MIB: u64 = 1024 * 1024;

/// The images that come, and how much of each has.
#[derive(Debug, Default)]
pub(crate) struct Arrivals(Mutex<Coming>);

#[derive(Debug, Default)]
struct Coming {
    bytes: BTreeMap<u64, u64>,
    next: u64,
    given_up: Option<Instant>,
}

/// One that comes, while this lives.
#[derive(Debug)]
pub(crate) struct Arrival {
    arrivals: Arc<Arrivals>,
    id: u64,
}

impl Drop for Arrival {
    fn drop(&mut self) {
        self.arrivals.coming().bytes.remove(&self.id);
    }
}

impl Arrivals {
    fn coming(&self) -> MutexGuard<'_, Coming> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One is to come.
    pub(crate) fn one(self: &Arc<Self>) -> Arrival {
        let mut coming = self.coming();
        let id = coming.next;
        coming.next += 1;
        coming.bytes.insert(id, 0);
        let arrivals = self.clone();
        drop(coming);
        Arrival { arrivals, id }
    }
}

impl Arrival {
    /// So much of it is here.
    pub(crate) fn has(&self, bytes: u64) {
        self.arrivals.coming().bytes.insert(self.id, bytes);
    }

    /// Whether it is this one that has to go, now that one has to.
    fn has_to_go(&self, now: Instant) -> bool {
        let mut coming = self.arrivals.coming();
        let is_soon = |then| now.duration_since(then) < REMOVED_WITHIN;
        let largest = coming.bytes.iter().max_by_key(|(_, bytes)| **bytes);
        if largest.is_none_or(|(id, _)| *id != self.id) || coming.given_up.is_some_and(is_soon) {
            return false;
        }
        coming.given_up = Some(now);
        true
    }

    /// Returns once the disk gets so full that this one has to be given up, and says so.
    pub(crate) async fn runs_out(&self, runtime: &dyn Runtime, limits: Limits) -> String {
        let mut store = None;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if store.is_none() {
                // An engine that is elsewhere has none here; one that is busy answers the next time.
                store = runtime.image_store().await;
            }
            let free = store.as_ref().and_then(|store| statvfs(store).ok());
            let free = free.map(|stat| stat.blocks_available() * stat.fragment_size() / MIB);
            if let Some(why) = free.and_then(|mib| lacks(mib, limits))
                && self.has_to_go(Instant::now())
            {
                return why;
            }
        }
    }
}

/// What a job waits for may take half of what is kept from what is only fetched ahead.
fn lacks(free_mib: u64, limits: Limits) -> Option<String> {
    let least_mib = limits.free_mib / 2;
    (free_mib < least_mib).then(|| {
        format!(
            "it is too large for this node: the disk has {free_mib} MiB free, and {least_mib} are to \
             stay (half of images.free_mib)"
        )
    })
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn an_image_never_takes_the_last_of_the_disk() {
        let limits = Limits {
            pulls_max: 1,
            disk_mib: 50,
            free_mib: 4096,
        };
        assert_eq!(lacks(2048, limits), None);
        assert!(lacks(2047, limits).is_some_and(|why| why.contains("too large")));
        let none = Limits {
            free_mib: 0,
            ..limits
        };
        assert_eq!(lacks(0, none), None, "the operator wants it so");
    }

    #[test]
    fn the_largest_goes_and_the_others_have_a_moment() {
        let arrivals = Arc::<Arrivals>::default();
        let (small, large) = (arrivals.one(), arrivals.one());
        small.has(10);
        large.has(11);
        let now = Instant::now();
        assert!(!small.has_to_go(now));
        assert!(large.has_to_go(now));
        drop(large);
        assert!(!small.has_to_go(now + REMOVED_WITHIN / 2));
        assert!(small.has_to_go(now + REMOVED_WITHIN), "it did not help");
    }
}
