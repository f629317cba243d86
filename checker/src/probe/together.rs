//! Probes that begin together: nobody is told a nonce before everybody has begun, or will not.
//!
//! A node may take its time to begin, and knows nothing by then. If one GPU were told its nonce meanwhile, a card that is
//! through with it could begin for the next.
//!
//! **Invariant.** Whoever has a place arrives once: when it waits, or when the place is dropped, whatever ended it.
//!
//! **What it does not know:** for how long somebody may take to arrive. Each has deadlines of its own.

use std::sync::{Condvar, Mutex, PoisonError};

/// See the module.
#[derive(Debug)]
pub(crate) struct Together {
    /// How many have not arrived.
    missing: Mutex<usize>,
    all: Condvar,
}

/// One that is waited for.
#[derive(Debug)]
pub(crate) struct Place<'a>(&'a Together);

impl Together {
    pub(crate) fn of(count: usize) -> Self {
        Self {
            missing: Mutex::new(count),
            all: Condvar::new(),
        }
    }

    /// A place for each of them.
    pub(crate) const fn place(&self) -> Place<'_> {
        Place(self)
    }
}

impl Place<'_> {
    /// Arrives, and waits for everybody else.
    pub(crate) fn wait(self) {
        let together = self.0;
        drop(self);
        let missing = together.missing.lock();
        let missing = missing.unwrap_or_else(PoisonError::into_inner);
        let waited = together.all.wait_while(missing, |missing| *missing > 0);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let missing = self.0.missing.lock();
        let mut missing = missing.unwrap_or_else(PoisonError::into_inner);
        *missing = missing.saturating_sub(1);
        if *missing == 0 {
            self.0.all.notify_all();
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn nobody_goes_on_before_everybody_has_arrived_or_is_gone() {
        let together = Together::of(3);
        let (went, heard) = channel();
        std::thread::scope(|scope| {
            let [one, other, gone] = [(); 3].map(|()| together.place());
            let told = went.clone();
            scope.spawn(move || {
                one.wait();
                told.send("one").unwrap();
            });
            went.send("before").unwrap();
            drop(gone);
            went.send("still before").unwrap();
            other.wait();
            assert_eq!(heard.recv().unwrap(), "before");
            assert_eq!(heard.recv().unwrap(), "still before");
            assert_eq!(heard.recv().unwrap(), "one");
        });
        assert_eq!(*together.missing.lock().unwrap(), 0);
    }

    #[test]
    fn one_alone_waits_for_nobody() {
        Together::of(1).place().wait();
    }
}
