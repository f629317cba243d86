//! What a change may have made void.
//!
//! **Invariants.** What a change cannot void is not in doubt by it: whoever makes changes of their own all day has nobody
//! else's credential looked up again. A look-up that began before a change does not outlive it.
//!
//! Does not know what was looked up, or by whom.

use crate::ledger::{CheckChange, Credential, CredentialHash, IdentityChange, Op};
use nearlight_protocol::id::{KeyId, TenantId, UserId};
use std::collections::VecDeque;

/// Doubts that are told apart for look-ups under way. Of one that has missed more everything is in doubt.
const RECENT_MAX: usize = 256;

/// Which credentials may be others now, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// Any.
    Everyones,
    /// This key's.
    Key(KeyId),
    /// Those of this tenant's members.
    Tenant(TenantId),
    /// This user's.
    User(UserId),
    /// Those of this name: a checker that comes in again has another key, and the former one's id is not known here.
    Named(String),
    /// This secret's.
    Secret(CredentialHash),
}

impl Doubt {
    /// What there is to doubt once `op` was made. What it makes was nobody's before.
    pub(super) fn of(op: &Op) -> Option<Self> {
        match op {
            Op::Identity { change, .. } => match change {
                IdentityChange::SetTenant { tenant, .. } => Some(Self::Tenant(tenant.clone())),
                IdentityChange::RotateKey { key, .. } | IdentityChange::RevokeKey { key, .. } => {
                    Some(Self::Key(key.clone()))
                }
                // Other browsers of the player learn of the guest's sessions once they are looked up again.
                IdentityChange::LogIn(login) => login.guest.clone().map(Self::User),
                IdentityChange::LogOut { hash, .. } => Some(Self::Secret(*hash)),
                IdentityChange::AddTenant(_)
                | IdentityChange::AddKey { .. }
                | IdentityChange::UsedKeys(_)
                | IdentityChange::Nothing
                | IdentityChange::Prune { .. } => None,
            },
            Op::Check { change, .. } => match change {
                CheckChange::Join(joins) => Some(Self::Named(joins.api_key.name.clone())),
                CheckChange::Revoke { .. } | CheckChange::RevokeLicence { .. } => {
                    Some(Self::Everyones)
                }
                _ => None,
            },
            _ => None,
        }
    }

    pub(super) fn concerns(&self, hash: &CredentialHash, who: &Credential) -> bool {
        match self {
            Self::Everyones => true,
            Self::Key(key) => who.key.as_ref() == Some(key),
            Self::Tenant(tenant) => who.tenant.as_ref().is_some_and(|of| of.tenant == *tenant),
            Self::User(user) => who.user == *user,
            Self::Named(name) => who.name == *name,
            Self::Secret(of) => of == hash,
        }
    }
}

/// Doubts of late, in their order.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    recent: VecDeque<Doubt>,
    count: u64,
}

impl Doubts {
    pub(super) fn add(&mut self, doubt: Doubt) {
        if self.recent.len() >= RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(doubt);
        self.count += 1;
    }

    /// How many there were so far.
    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    /// Whether one since the first `count` concerns what a look-up found.
    pub(super) fn concern(&self, count: u64, hash: &CredentialHash, who: &Credential) -> bool {
        let missed = usize::try_from(self.count.saturating_sub(count)).unwrap_or(usize::MAX);
        let mut since = self.recent.iter().rev().take(missed);
        missed > self.recent.len() || since.any(|doubt| doubt.concerns(hash, who))
    }
}
