//! Credentials that were looked up of late, and keys that were used.
//!
//! **Invariants.** A credential is believed for [`FRESH`]: so long after another broker has voided it,
//! at the most, this one still takes it. What this broker voids is looked up again at once, also where a
//! look-up was under way meanwhile. What was looked up and not found is remembered for as long, for whoever asks for it
//! ([`Identities::is_void`]).

use crate::ledger::{Credential, CredentialHash};
use nearlight_protocol::id::KeyId;
use nearlight_protocol::unit::{MonoTime, UnixMillis};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// For how long a credential is believed.
pub(crate) const FRESH: Duration = Duration::from_secs(3);
/// Credentials kept in memory. Past it all are forgotten and looked up again.
const CACHED_MAX: usize = 10_000;
/// Keys whose use waits to be written down. Past it the use of others is not noted.
const USED_MAX: usize = 10_000;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Identities {
    /// Held for a look-up, never across an await.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    cached: HashMap<CredentialHash, Kept>,
    /// What was not found, and until when that is believed. At most [`CACHED_MAX`], too.
    void: HashMap<CredentialHash, MonoTime>,
    /// Counts the times at which everything was put in doubt.
    doubts: u64,
    used: HashMap<KeyId, UnixMillis>,
}

#[derive(Debug)]
struct Kept {
    credential: Arc<Credential>,
    /// It is looked up again from then on.
    until: MonoTime,
}

/// What is known of a credential.
#[derive(Clone, Debug)]
pub(super) enum Known {
    /// It holds.
    Holds(Arc<Credential>),
    /// It was there; whether it still holds is to be looked up. With what [`Identities::keep`] needs.
    InDoubt(Asked),
    /// Nothing.
    Nothing(Asked),
}

/// When a look-up began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked(u64);

impl Identities {
    pub(super) fn known(&self, hash: &CredentialHash, now: MonoTime) -> Known {
        let state = self.lock();
        let asked = Asked(state.doubts);
        match state.cached.get(hash) {
            Some(kept) if kept.until > now => Known::Holds(kept.credential.clone()),
            Some(_) => Known::InDoubt(asked),
            None => Known::Nothing(asked),
        }
    }

    /// Whether a look-up of late found nothing. A secret that is made from now on is another one.
    pub(super) fn is_void(&self, hash: &CredentialHash, now: MonoTime) -> bool {
        self.lock().void.get(hash).is_some_and(|until| *until > now)
    }

    /// Takes what a look-up found; `None` if nothing.
    pub(super) fn keep(
        &self,
        hash: &CredentialHash,
        found: Option<Arc<Credential>>,
        asked: Asked,
        now: MonoTime,
    ) {
        let mut state = self.lock();
        let fresh = MonoTime(now.0.saturating_add(FRESH.as_micros() as u64));
        let Some(credential) = found else {
            state.cached.remove(hash);
            if state.void.len() >= CACHED_MAX {
                state.void.clear();
            }
            state.void.insert(*hash, fresh);
            return;
        };
        state.void.remove(hash);
        if state.cached.len() >= CACHED_MAX {
            state.cached.clear();
        }
        // Something was voided since the look-up began: this may be it.
        let until = if asked.0 == state.doubts { fresh } else { now };
        state.cached.insert(*hash, Kept { credential, until });
    }

    /// Something was voided or changed: everything is looked up again.
    pub(super) fn doubt(&self) {
        let mut state = self.lock();
        state.doubts += 1;
        state.void.clear();
        for kept in state.cached.values_mut() {
            kept.until = MonoTime::default();
        }
    }

    /// Notes that a key was used.
    pub(super) fn used(&self, key: &KeyId, at: UnixMillis) {
        let mut state = self.lock();
        if state.used.len() < USED_MAX || state.used.contains_key(key) {
            state.used.insert(key.clone(), at);
        }
    }

    /// The keys that were used since this was asked last.
    pub(crate) fn take_used(&self) -> Vec<(KeyId, UnixMillis)> {
        std::mem::take(&mut self.lock().used).into_iter().collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use nearlight_protocol::api::Role;

    fn credential() -> Arc<Credential> {
        let user = nearlight_kit::ids::user();
        Arc::new(Credential::plain([1; 32], user, "guest", Role::Guest))
    }

    #[test]
    fn a_credential_is_believed_for_a_while_and_not_after_a_doubt() {
        let identities = Identities::default();
        let hash = [1; 32];
        let Known::Nothing(asked) = identities.known(&hash, MonoTime(0)) else {
            panic!("nothing is known");
        };
        identities.keep(&hash, Some(credential()), asked, MonoTime(0));
        let known = |at| identities.known(&hash, at);
        assert!(matches!(known(MonoTime(1)), Known::Holds(_)));
        let later = MonoTime(FRESH.as_micros() as u64);
        assert!(matches!(known(later), Known::InDoubt(_)));
        identities.doubt();
        assert!(matches!(known(MonoTime(1)), Known::InDoubt(_)));
    }

    #[test]
    fn what_was_not_found_is_remembered_for_a_while_and_not_after_a_change() {
        let identities = Identities::default();
        let hash = [1; 32];
        let Known::Nothing(asked) = identities.known(&hash, MonoTime(0)) else {
            panic!("nothing is known");
        };
        assert!(!identities.is_void(&hash, MonoTime(0)));
        let find = |found| identities.keep(&hash, found, asked, MonoTime(0));
        find(None);
        assert!(identities.is_void(&hash, MonoTime(1)));
        assert!(!identities.is_void(&hash, MonoTime(FRESH.as_micros() as u64)));
        find(Some(credential()));
        assert!(!identities.is_void(&hash, MonoTime(1)));
        find(None);
        identities.doubt();
        assert!(!identities.is_void(&hash, MonoTime(1)));
    }

    #[test]
    fn what_was_voided_during_a_look_up_is_not_believed() {
        let identities = Identities::default();
        let Known::Nothing(asked) = identities.known(&[1; 32], MonoTime(5)) else {
            panic!("nothing is known");
        };
        identities.doubt();
        identities.keep(&[1; 32], Some(credential()), asked, MonoTime(5));
        let known = identities.known(&[1; 32], MonoTime(5));
        assert!(matches!(known, Known::InDoubt(_)));
    }
}
