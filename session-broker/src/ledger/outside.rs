//! What tenants have outside of this network and the broker goes to for them: registries, and endpoints of webhooks.

use super::{BrokerId, Sealed};
use nearlight_protocol::id::{SessionId, TenantId, UserId};
use nearlight_protocol::registry::ImagePolicy;
use nearlight_protocol::unit::UnixMillis;
use nearlight_protocol::webhook::{DeliveryState, NoticeType};
use std::fmt;

/// Whose it is: a tenant's, or a user's who has none. What is in it is for all of its members.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OwnerId(String);

impl OwnerId {
    /// Of a user, or of the tenant that they belong to.
    pub fn of(tenant: Option<&TenantId>, user: &UserId) -> Self {
        let id = tenant.map_or(user.as_str(), TenantId::as_str);
        Self(id.to_owned())
    }

    /// As it was written down.
    pub(in crate::ledger) const fn read(text: String) -> Self {
        Self(text)
    }

    /// As it is written down.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for OwnerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A credential for a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryRow {
    /// `HOST` or `HOST:PORT`.
    pub registry: String,
    /// Who logs in.
    pub username: String,
    /// Their password.
    pub sealed: Sealed,
    /// Since when.
    pub created_ms: UnixMillis,
}

/// What is known of a registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegistryKnown {
    /// The credential of whoever asks.
    pub login: Option<RegistryRow>,
    /// Whether anybody has, or had, a credential for it: what nodes have of it is not for everybody.
    pub is_guarded: bool,
}

/// A change of what a tenant has outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutsideChange {
    /// A credential for a registry, in place of the one that was there;
    /// [`super::Applied::QuotaUsedUp`] beyond the number that one may have.
    PutRegistry {
        /// Whose.
        owner: OwnerId,
        /// The credential.
        row: RegistryRow,
        /// How many registries one may have.
        most: u32,
    },
    /// A credential is no more; [`super::Applied::Missing`] if there is none.
    RemoveRegistry {
        /// Whose.
        owner: OwnerId,
        /// For which registry.
        registry: String,
    },
    /// Which images jobs may have.
    PutImagePolicy {
        /// Whose.
        owner: OwnerId,
        /// As it is to be.
        policy: ImagePolicy,
    },
    /// An endpoint for one who has none; [`super::Applied::NameTaken`] otherwise.
    AddWebhook {
        /// Whose.
        owner: OwnerId,
        /// Where.
        url: String,
        /// Its secret.
        sealed: Sealed,
        /// When.
        at_ms: UnixMillis,
    },
    /// An endpoint is elsewhere; [`super::Applied::Missing`] if there is none.
    MoveWebhook {
        /// Whose.
        owner: OwnerId,
        /// Where.
        url: String,
    },
    /// An endpoint has a new secret; the former one signs beside it for a while.
    RotateWebhook {
        /// Whose.
        owner: OwnerId,
        /// The new one.
        sealed: Sealed,
        /// How long the former one signs.
        former_until_ms: UnixMillis,
    },
    /// There is no endpoint any more, and what waited for it is dropped.
    RemoveWebhook {
        /// Whose.
        owner: OwnerId,
    },
    /// A broker delivers a notice that is due; [`super::Applied::RaceLost`] if another one does.
    Lease {
        /// Which.
        delivery: String,
        /// How often it was tried before.
        attempts: u32,
        /// Who delivers it.
        holder: BrokerId,
        /// If nothing is heard of it, it is due again then.
        until_ms: UnixMillis,
    },
    /// What came of a try; [`super::Applied::RaceLost`] if another broker tries it by now.
    Settle {
        /// Which.
        delivery: String,
        /// How often it was tried, this one included.
        attempts: u32,
        /// Where it is.
        state: DeliveryState,
        /// When it is tried again.
        next_ms: UnixMillis,
        /// What went wrong.
        problem: String,
    },
}

/// A notice to be delivered, if its owner has an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// `webhook-id`.
    pub id: String,
    /// Whose endpoint.
    pub owner: OwnerId,
    /// What about.
    pub session: Option<SessionId>,
    /// What.
    pub kind: NoticeType,
    /// What is posted, JSON.
    pub body: String,
    /// When that happened.
    pub at_ms: UnixMillis,
}

/// Notices of one owner that wait at most: past it they are lost, and counted.
pub const NOTICES_WAITING_MAX: u32 = 1000;

/// An endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookRow {
    /// Where.
    pub url: String,
    /// Its secret.
    pub sealed: Sealed,
    /// The former one, and until when it signs.
    pub former: Option<(Sealed, UnixMillis)>,
    /// Since when.
    pub created_ms: UnixMillis,
    /// Notices that wait.
    pub waiting: u32,
    /// Notices that were not kept.
    pub lost: u32,
}

/// A notice that is to be delivered now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// Which.
    pub row: DeliveryRow,
    /// Whether its owner's endpoint has failed: a notice of theirs waits that was tried in vain.
    pub is_failing: bool,
}

/// A notice, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryRow {
    /// `webhook-id`.
    pub id: String,
    /// Whose endpoint.
    pub owner: OwnerId,
    /// What about.
    pub session: Option<String>,
    /// What.
    pub kind: String,
    /// What is posted.
    pub body: String,
    /// Where it is.
    pub state: DeliveryState,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is tried next.
    pub next_ms: UnixMillis,
    /// When that happened.
    pub created_ms: UnixMillis,
    /// What came of the last try.
    pub problem: String,
}
