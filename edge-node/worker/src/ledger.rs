//! What became of every commit: the one place that counts them.
//!
//! ```text
//! committed() -> Commit --encoded()-->  handed to the agent
//!                       --dropped(r)->  dropped, with the reason
//!                       (neither yet)   in flight
//! ```
//!
//! **Invariant:** `committed == encoded + in_flight + sum(dropped)` in every snapshot. A
//! [`Commit`] is a debt: both ways to settle it consume it, so it is settled at most once; one that
//! is lost on an error path counts as [`DropReason::Encoder`], so it is settled at least once.
//!
//! **What it does not know:** pictures, encoders, why a reason was chosen.

use nearlight_protocol::worker::DropReason;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts of one session's frames; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Ledger(Arc<Mutex<Totals>>);

/// A snapshot of a [`Ledger`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Commits of a new picture.
    pub committed: u64,
    /// Commits whose access unit the agent took.
    pub encoded: u64,
    /// Commits that are not settled yet.
    pub in_flight: u64,
    /// Commits that made no access unit.
    pub dropped: BTreeMap<DropReason, u64>,
    /// Access units that showed a settled commit once more: for a new viewer, a key frame, or
    /// better quality. They belong to no commit.
    pub repeated: u64,
}

/// One commit that is not settled yet.
#[derive(Debug)]
#[must_use = "a commit must be settled"]
pub struct Commit {
    ledger: Ledger,
    number: u32,
    settled: bool,
}

impl Ledger {
    /// The app committed a new picture.
    pub fn committed(&self) -> Commit {
        let mut totals = self.lock();
        totals.committed += 1;
        totals.in_flight += 1;
        Commit {
            ledger: self.clone(),
            // The wire's frame number wraps after 2.2 years at 60 Hz.
            number: totals.committed as u32,
            settled: false,
        }
    }

    /// An access unit repeated a picture.
    pub fn repeated(&self) {
        self.lock().repeated += 1;
    }

    /// All counts at one moment.
    pub fn snapshot(&self) -> Totals {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Totals> {
        // Counters stay consistent: no code between the two additions of a settlement can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Commit {
    /// Its number, from 1.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Its access unit was handed to the agent.
    pub fn encoded(mut self) {
        self.settled = true;
        let mut totals = self.ledger.lock();
        totals.in_flight -= 1;
        totals.encoded += 1;
    }

    /// It made no access unit.
    pub fn dropped(mut self, reason: DropReason) {
        self.settle_dropped(reason);
    }

    fn settle_dropped(&mut self, reason: DropReason) {
        self.settled = true;
        let mut totals = self.ledger.lock();
        totals.in_flight -= 1;
        *totals.dropped.entry(reason).or_default() += 1;
    }
}

impl Drop for Commit {
    fn drop(&mut self) {
        if !self.settled {
            self.settle_dropped(DropReason::Encoder);
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use proptest::prelude::*;

    fn balanced(totals: &Totals) -> bool {
        totals.committed == totals.encoded + totals.in_flight + totals.dropped.values().sum::<u64>()
    }

    #[test]
    fn a_lost_commit_counts_as_the_encoders() {
        let ledger = Ledger::default();
        drop(ledger.committed());
        assert_eq!(ledger.snapshot().dropped[&DropReason::Encoder], 1);
        assert_eq!(ledger.snapshot().in_flight, 0);
    }

    proptest! {
        #[test]
        fn the_sum_holds_after_every_step(steps in proptest::collection::vec(0..6u8, 0..200)) {
            let ledger = Ledger::default();
            let mut open = Vec::new();
            for step in steps {
                match (step, open.pop()) {
                    (0 | 1, last) => {
                        open.extend(last);
                        open.push(ledger.committed());
                    }
                    (2, Some(commit)) => commit.encoded(),
                    (3, Some(commit)) => commit.dropped(DropReason::Superseded),
                    (4, Some(commit)) => drop(commit),
                    (_, last) => {
                        open.extend(last);
                        ledger.repeated();
                    }
                }
                let totals = ledger.snapshot();
                prop_assert!(balanced(&totals));
                prop_assert_eq!(totals.in_flight, open.len() as u64);
            }
        }
    }
}
