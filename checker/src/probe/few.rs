//! Only a few at a time: whoever comes waits until there is room.
//!
//! Openings are megabytes and a second of a core each. Of many that were all due at once most would be late, and no node would be to
//! blame.

use std::sync::{Condvar, Mutex, PoisonError};

/// Room for a few.
#[derive(Debug)]
pub(crate) struct Few {
    free: Mutex<usize>,
    freed: Condvar,
}

/// One that has room, until it is dropped.
#[derive(Debug)]
pub(crate) struct Room<'a>(&'a Few);

impl Few {
    pub(crate) const fn of(count: usize) -> Self {
        Self {
            free: Mutex::new(count),
            freed: Condvar::new(),
        }
    }

    /// Waits for room.
    pub(crate) fn enter(&self) -> Room<'_> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.freed.wait_while(free, |free| *free == 0);
        *waited.unwrap_or_else(PoisonError::into_inner) -= 1;
        Room(self)
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn there_are_never_more_than_there_is_room_for() {
        let (few, inside, most) = (Few::of(3), AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..40 {
                scope.spawn(|| {
                    let room = few.enter();
                    most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::yield_now();
                    inside.fetch_sub(1, Ordering::SeqCst);
                    drop(room);
                });
            }
        });
        assert!((1..=3).contains(&most.into_inner()));
        assert_eq!(*few.free.lock().unwrap(), 3);
    }
}
