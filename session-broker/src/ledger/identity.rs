//! What the ledger keeps of identity: credentials, tenants, keys, players, the audit log; and the
//! changes of them. These are few, and carried out one by one.
//!
//! **Invariant.** A change's line of the audit log is in the same transaction, and only if the change
//! was made.

use super::StoreError;
use super::resources::Amounts;
use nearlight_protocol::api::Role;
use nearlight_protocol::id::{KeyId, TenantId, UserId};
use nearlight_protocol::identity::{AuditAction, AuditOutcome, Priority, Scope, TenantChange};
use nearlight_protocol::unit::{MonoTime, UnixMillis};

/// SHA-256 of a cookie or an API key.
pub type CredentialHash = [u8; 32];

/// Whose credential it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// SHA-256 of the secret.
    pub hash: CredentialHash,
    /// The user.
    pub user: UserId,
    /// Guests that became this player: their sessions are the player's, too. The latest few.
    pub former: Vec<UserId>,
    /// `guest`, the player's name, or the key's.
    pub name: String,
    /// What it is.
    pub role: Role,
    /// What it may be used for; without, for all that its role allows. Of a key that names only what this broker
    /// does not know it is nothing.
    pub scopes: Option<Vec<Scope>>,
    /// The API key.
    pub key: Option<KeyId>,
    /// Its tenant.
    pub tenant: Option<Membership>,
    /// Sessions that the user may hold, where the key says so.
    pub sessions_max: Option<u32>,
    /// It is void from then on.
    pub expires_ms: Option<UnixMillis>,
}

impl Credential {
    /// One that is of nobody's tenant and never ends: a guest's, or the development key.
    pub fn plain(hash: CredentialHash, user: UserId, name: &str, role: Role) -> Self {
        Self {
            hash,
            user,
            former: Vec::new(),
            name: name.to_owned(),
            role,
            scopes: None,
            key: None,
            tenant: None,
            sessions_max: None,
            expires_ms: None,
        }
    }
}

/// A credential's tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// Which.
    pub tenant: TenantId,
    /// Sessions that its members may hold together.
    pub sessions_max: Option<u32>,
    /// Whether its members are turned away.
    pub suspended: bool,
    /// Where its members stand in the queue.
    pub priority: Priority,
}

/// A tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantRow {
    /// Its id.
    pub id: TenantId,
    /// Its name, unlike every other's.
    pub name: String,
    /// Sessions that its members may hold together.
    pub sessions_max: Option<u32>,
    /// Sessions that they hold.
    pub sessions_used: u32,
    /// What their sessions may have together.
    pub max: Amounts<Option<u32>>,
    /// What their sessions have.
    pub used: Amounts<u64>,
    /// Whether its members are turned away.
    pub suspended: bool,
    /// Where its members stand in the queue.
    pub priority: Priority,
    /// What they may spend together in a calendar month, micro-units.
    pub budget_micro_month: Option<u64>,
    /// When it was made.
    pub created_ms: UnixMillis,
}

/// An API key, without its secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRow {
    /// Its id.
    pub id: KeyId,
    /// The user that it acts as.
    pub user: UserId,
    /// Its tenant.
    pub tenant: Option<TenantId>,
    /// What it is for.
    pub name: String,
    /// What it is.
    pub role: Role,
    /// What it may be used for; without, for all that its role allows. Of a key that names only what this broker
    /// does not know it is nothing.
    pub scopes: Option<Vec<Scope>>,
    /// Whether it names scopes that this broker does not know, too: `scopes` is less than what it allows elsewhere.
    pub is_beyond: bool,
    /// The first characters of its newest secret.
    pub prefix: String,
    /// Sessions that its user may hold.
    pub sessions_max: Option<u32>,
    /// When it was made.
    pub created_ms: UnixMillis,
    /// It is void from then on.
    pub expires_ms: Option<UnixMillis>,
    /// When it was used, roughly.
    pub last_used_ms: Option<UnixMillis>,
    /// When it was revoked.
    pub revoked_ms: Option<UnixMillis>,
}

/// A key's secret, as the ledger may know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// SHA-256.
    pub hash: CredentialHash,
    /// Its first characters.
    pub prefix: String,
}

/// Which tenants or keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Of {
    /// All.
    Everyone,
    /// This tenant's.
    Tenant(TenantId),
    /// This one, a key's id.
    Key(KeyId),
}

/// A browser in which a player has logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// SHA-256 of its cookie.
    pub hash: CredentialHash,
    /// The provider that vouches.
    pub issuer: String,
    /// Who it says it is.
    pub subject: String,
    /// Their name.
    pub name: String,
    /// The user that they become if they were never here.
    pub user: UserId,
    /// The guest that they were.
    pub guest: Option<UserId>,
    /// When.
    pub at_ms: UnixMillis,
    /// The cookie is void from then on.
    pub expires_ms: UnixMillis,
}

/// A line of the audit log that is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRow {
    /// When.
    pub at_ms: UnixMillis,
    /// The request's id.
    pub request: String,
    /// Who.
    pub user: Option<UserId>,
    /// What they were.
    pub role: Option<Role>,
    /// The key that they used.
    pub key: Option<KeyId>,
    /// Their tenant.
    pub tenant: Option<TenantId>,
    /// Where they came from.
    pub address: Option<String>,
    /// What they did.
    pub action: AuditAction,
    /// On what.
    pub subject: String,
    /// What came of it.
    pub outcome: AuditOutcome,
    /// More words.
    pub detail: String,
}

/// A change of identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentityChange {
    /// A new tenant; [`super::Applied::NameTaken`] if there is one of that name.
    AddTenant(TenantRow),
    /// What is said of a tenant, and nothing else of it: two at once each have what they say. Also
    /// [`super::Applied::Missing`].
    SetTenant {
        /// Which.
        tenant: TenantId,
        /// What is said.
        change: Box<TenantChange>,
        /// When.
        at: MonoTime,
    },
    /// A new key; [`super::Applied::QuotaUsedUp`] if its tenant has as many as one may have.
    AddKey {
        /// The key.
        key: KeyRow,
        /// Its secret.
        secret: Secret,
        /// Only if there is no administrator yet; [`super::Applied::Skipped`] otherwise.
        if_no_admin: bool,
    },
    /// A key has a new secret. Former ones go on until `former_until_ms`, if they held for longer.
    RotateKey {
        /// The key.
        key: KeyId,
        /// Its new secret.
        secret: Secret,
        /// The others are void from then on.
        former_until_ms: UnixMillis,
        /// When.
        at: MonoTime,
    },
    /// A key is void. One that is stays as it was.
    RevokeKey {
        /// The key.
        key: KeyId,
        /// When.
        at: MonoTime,
    },
    /// Keys were used.
    UsedKeys(Vec<(KeyId, UnixMillis)>),
    /// A player logged in.
    LogIn(Box<Login>),
    /// A player's cookie is void.
    LogOut {
        /// Its hash.
        hash: CredentialHash,
        /// When.
        at: MonoTime,
    },
    /// Nothing: there is only something to note in the audit log.
    Nothing,
    /// Old lines of the audit log, and logins that are over, may go; guests whose cookies ended long ago, and keys that
    /// have been void for long, too.
    Prune {
        /// Lines from before may.
        audit_before: MonoTime,
        /// Now.
        now: MonoTime,
    },
}

/// A priority as the ledger has it.
pub(in crate::ledger) const fn priority_value(priority: Priority) -> i64 {
    match priority {
        Priority::Low => -1,
        Priority::Normal => 0,
        Priority::High => 1,
    }
}

/// A priority as the ledger has it, read back.
pub(in crate::ledger) fn priority(value: i64) -> Result<Priority, StoreError> {
    let found = Priority::ALL
        .into_iter()
        .find(|p| priority_value(*p) == value);
    found.ok_or_else(|| StoreError::Corrupt(format!("{value} is no priority")))
}
