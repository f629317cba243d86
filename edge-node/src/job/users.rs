//! As whom images run. Their /etc/passwd says it, which takes a container to read: once for each image that is in use here,
//! and not at every start. An image of other content has another digest, so nothing of it is ever stale.

use super::who::Who;
use crate::limits::USERS_KNOWN_MAX;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Users of images by the images' digests, the one that was asked for last at the end.
#[derive(Debug, Default)]
pub(crate) struct Users {
    known: Mutex<VecDeque<(String, Who)>>,
}

impl Users {
    /// As whom an image runs, if it is known.
    pub(crate) fn of(&self, digest: &str) -> Option<Who> {
        let mut known = self.known();
        let at = known.iter().position(|(of, _)| of == digest)?;
        let found = known.remove(at)?;
        let who = found.1.clone();
        known.push_back(found);
        Some(who)
    }

    /// Remembers it, in place of what was not asked for the longest.
    pub(crate) fn keep(&self, digest: &str, who: &Who) {
        let mut known = self.known();
        known.retain(|(of, _)| of != digest);
        if known.len() >= USERS_KNOWN_MAX {
            known.pop_front();
        }
        known.push_back((digest.to_owned(), who.clone()));
    }

    fn known(&self) -> MutexGuard<'_, VecDeque<(String, Who)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn user(uid: u32) -> Who {
        Who {
            uid,
            gid: uid,
            home: None,
        }
    }

    #[test]
    fn the_image_that_was_not_asked_for_the_longest_is_forgotten() {
        let users = Users::default();
        assert_eq!(users.of("sha256:0"), None);
        for uid in 0..256 {
            users.keep(&format!("sha256:{uid}"), &user(uid));
        }
        assert_eq!(users.of("sha256:0"), Some(user(0)));
        users.keep("sha256:256", &user(256));
        assert_eq!(users.of("sha256:1"), None);
        for uid in [0, 2, 256] {
            assert_eq!(users.of(&format!("sha256:{uid}")), Some(user(uid)));
        }
        // Two starts of one image that nobody knew.
        users.keep("sha256:2", &user(2));
        assert_eq!(users.of("sha256:3"), Some(user(3)));
        assert_eq!(users.known().len(), 256);
    }
}
