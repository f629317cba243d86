//! Credentials that were looked up of late, and keys that were used.
//!
//! **Invariants.** A credential is believed for [`FRESH`]: so long after another broker has voided it,
//! at the most, this one still takes it. What this broker voids is looked up again at once, also where a
//! look-up was under way meanwhile, and nothing else is. What was looked up and not found is remembered for as long
//! ([`Identities::is_void`]): a secret that is made from then on is another one. A credential is looked up once at a time:
//! whoever asks meanwhile waits for that, and has its failure, too.

use super::doubt::{Doubt, Doubts};
use crate::ledger::{Credential, CredentialHash, StoreError};
use nearlight_protocol::id::KeyId;
use nearlight_protocol::unit::{MonoTime, UnixMillis};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

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
    doubts: Doubts,
    /// What is looked up now, with how its look-up failed.
    looking: HashMap<CredentialHash, watch::Receiver<Failed>>,
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
    /// It was there; whether it still holds is to be looked up.
    InDoubt,
    /// Nothing.
    Nothing,
}

/// Why a look-up found nothing out.
type Failed = Option<Arc<StoreError>>;

/// Whose it is to look a credential up.
#[derive(Debug)]
pub(super) enum Turn<'a> {
    /// Whoever asked.
    Ours(Look<'a>),
    /// Somebody else's, who is at it.
    Theirs(Theirs),
}

/// The only look-up of a credential. Dropped, it is the next one's turn.
#[derive(Debug)]
pub(super) struct Look<'a> {
    of: &'a Identities,
    hash: CredentialHash,
    /// Doubts that there were before it.
    doubts: u64,
    told: watch::Sender<Failed>,
}

/// Somebody else's look-up.
#[derive(Debug)]
pub(super) struct Theirs(watch::Receiver<Failed>);

impl Theirs {
    /// Waits for its end, and says how it failed.
    pub(super) async fn end(mut self) -> Failed {
        // Closed without a word it has found something out, or was given up.
        let _ = self.0.changed().await;
        self.0.borrow().clone()
    }
}

impl Look<'_> {
    /// Takes what it found; `None` if nothing.
    pub(super) fn found(self, found: Option<Arc<Credential>>, now: MonoTime) {
        self.of.keep(&self.hash, found, self.doubts, now);
    }

    /// The ledger did not answer.
    pub(super) fn failed(self, error: Arc<StoreError>) {
        self.told.send_replace(Some(error));
    }
}

impl Drop for Look<'_> {
    fn drop(&mut self) {
        self.of.lock().looking.remove(&self.hash);
    }
}

impl Identities {
    pub(super) fn known(&self, hash: &CredentialHash, now: MonoTime) -> Known {
        match self.lock().cached.get(hash) {
            Some(kept) if kept.until > now => Known::Holds(kept.credential.clone()),
            Some(_) => Known::InDoubt,
            None => Known::Nothing,
        }
    }

    /// Whether a look-up of late found nothing.
    pub(super) fn is_void(&self, hash: &CredentialHash, now: MonoTime) -> bool {
        self.lock().void.get(hash).is_some_and(|until| *until > now)
    }

    /// Whose turn it is to look up what is not known.
    pub(super) fn turn(&self, hash: CredentialHash) -> Turn<'_> {
        let mut state = self.lock();
        if let Some(theirs) = state.looking.get(&hash) {
            return Turn::Theirs(Theirs(theirs.clone()));
        }
        let (told, heard) = watch::channel(None);
        state.looking.insert(hash, heard);
        Turn::Ours(Look {
            of: self,
            hash,
            doubts: state.doubts.count(),
            told,
        })
    }

    fn keep(
        &self,
        hash: &CredentialHash,
        found: Option<Arc<Credential>>,
        doubts: u64,
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
        // It may have been voided since the look-up began.
        let is_doubted = state.doubts.concern(doubts, hash, &credential);
        let until = if is_doubted { now } else { fresh };
        state.cached.insert(*hash, Kept { credential, until });
    }

    /// Something was voided or changed: what that concerns is looked up again.
    pub(super) fn doubt(&self, doubt: Doubt) {
        let mut state = self.lock();
        for (hash, kept) in &mut state.cached {
            if doubt.concerns(hash, &kept.credential) {
                kept.until = MonoTime::default();
            }
        }
        state.doubts.add(doubt);
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
mod test;
