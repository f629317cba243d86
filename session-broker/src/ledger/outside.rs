//! What tenants have outside of this network and the broker goes to for them: registries.

use super::Sealed;
use nearlight_protocol::id::{TenantId, UserId};
use nearlight_protocol::unit::UnixMillis;
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
}
