//! The end of this copy, as threads wait for it.

use super::lock;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Wakes threads that wait, once this copy stops.
#[derive(Debug, Default)]
pub(crate) struct Leaving {
    has_begun: Mutex<bool>,
    changed: Condvar,
}

impl Leaving {
    pub(crate) fn begin(&self) {
        *lock(&self.has_begun) = true;
        self.changed.notify_all();
    }

    /// Waits for so long, or until it begins. Whether it has.
    pub(crate) fn wait(&self, most: Duration) -> bool {
        let held = lock(&self.has_begun);
        let waited = self
            .changed
            .wait_timeout_while(held, most, |has_begun| !*has_begun);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}
