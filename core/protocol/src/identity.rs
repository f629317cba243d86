//! Who may ask, as the API shows it: tenants, API keys with their scopes, the audit log, login.
//!
//! A secret stands in [`NewKey`] and [`DeviceLoginState`] alone, and only in the answer that makes it.

mod tenant;

pub use tenant::{Tenant, TenantChange, TenantList, TenantSettings};

use crate::api::Role;
use crate::id::{KeyId, TenantId, UserId};
use crate::unit::{U64, UnixMillis};
use serde::{Deserialize, Serialize};

/// What an API key starts with.
pub const KEY_PREFIX: &str = "nlk_";

/// What a key may be used for, within what its role allows.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    ts_rs::TS,
    utoipa::ToSchema,
)]
pub enum Scope {
    /// Tenants and the audit log.
    #[serde(rename = "admin")]
    Admin,
    /// Add versions of apps, and roll them out.
    #[serde(rename = "apps:write")]
    AppsWrite,
    /// Talk to jobs, and make tickets for that. `sessions:write` has it as well.
    #[serde(rename = "endpoint")]
    Endpoint,
    /// See keys.
    #[serde(rename = "keys:read")]
    KeysRead,
    /// Make, rotate and revoke keys.
    #[serde(rename = "keys:write")]
    KeysWrite,
    /// Have nodes prove what they can do, as a checker.
    #[serde(rename = "nodes:probe")]
    NodesProbe,
    /// See nodes, and check the line to them.
    #[serde(rename = "nodes:read")]
    NodesRead,
    /// Change nodes.
    #[serde(rename = "nodes:write")]
    NodesWrite,
    /// Run commands in jobs, and copy files out of them and into them.
    #[serde(rename = "sessions:enter")]
    SessionsEnter,
    /// See sessions.
    #[serde(rename = "sessions:read")]
    SessionsRead,
    /// Start, play, share and end sessions.
    #[serde(rename = "sessions:write")]
    SessionsWrite,
    /// See usage and what it costs.
    #[serde(rename = "usage:read")]
    UsageRead,
}

impl Scope {
    /// Every scope, in the order of their names.
    pub const ALL: [Self; 12] = [
        Self::Admin,
        Self::AppsWrite,
        Self::Endpoint,
        Self::KeysRead,
        Self::KeysWrite,
        Self::NodesProbe,
        Self::NodesRead,
        Self::NodesWrite,
        Self::SessionsEnter,
        Self::SessionsRead,
        Self::SessionsWrite,
        Self::UsageRead,
    ];

    /// Its name, as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::AppsWrite => "apps:write",
            Self::Endpoint => "endpoint",
            Self::KeysRead => "keys:read",
            Self::KeysWrite => "keys:write",
            Self::NodesProbe => "nodes:probe",
            Self::NodesRead => "nodes:read",
            Self::NodesWrite => "nodes:write",
            Self::SessionsEnter => "sessions:enter",
            Self::SessionsRead => "sessions:read",
            Self::SessionsWrite => "sessions:write",
            Self::UsageRead => "usage:read",
        }
    }
}

/// A text is no scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no scope; scopes are admin, apps:write, nodes:probe, sessions:enter, usage:read, and keys, nodes and sessions with :read or :write"
)]
pub struct UnknownScope(String);

impl std::str::FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        let found = Self::ALL.into_iter().find(|scope| scope.name() == text);
        found.ok_or_else(|| UnknownScope(text.to_owned()))
    }
}

/// How early in the queue a tenant's members stand.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Priority {
    /// As if they had come ten minutes later.
    Low,
    /// As everybody.
    #[default]
    Normal,
    /// As if they had come ten minutes earlier.
    High,
}

impl Priority {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Low, Self::Normal, Self::High];

    /// Its name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }
}

impl std::str::FromStr for Priority {
    type Err = UnknownPriority;

    fn from_str(text: &str) -> Result<Self, UnknownPriority> {
        let found = Self::ALL.into_iter().find(|one| one.name() == text);
        found.ok_or(UnknownPriority)
    }
}

/// There is no such priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a priority is low, normal or high")]
pub struct UnknownPriority;

/// `POST /v1/keys`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateKey {
    /// What it is for: 1 to 80 characters.
    #[schema(min_length = 1, max_length = 80)]
    pub name: String,
    /// What it is.
    pub role: Role,
    /// Whose. The role `tenant` needs one, the roles `admin` and `operator` take none.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub tenant: Option<TenantId>,
    /// What it may be used for; all that its role allows without any.
    #[serde(default)]
    pub scopes: Vec<Scope>,
    /// Seconds until it is void; it never is without it.
    #[serde(default)]
    #[schema(minimum = 1)]
    pub expires_s: Option<u32>,
    /// Sessions that it may hold at a time; its tenant's limit alone without it.
    #[serde(default)]
    pub sessions_max: Option<u32>,
}

/// A key, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ApiKey {
    /// Its id.
    #[schema(value_type = String)]
    pub id: KeyId,
    /// What it is for.
    pub name: String,
    /// The user that it acts as.
    #[schema(value_type = String)]
    pub user: UserId,
    /// What it is.
    pub role: Role,
    /// Whose.
    #[schema(value_type = Option<String>)]
    pub tenant: Option<TenantId>,
    /// What it may be used for.
    pub scopes: Vec<Scope>,
    /// The first characters of its secret, to tell keys apart.
    pub prefix: String,
    /// Sessions that it may hold at a time.
    pub sessions_max: Option<u32>,
    /// When it was made.
    pub created_unix_ms: UnixMillis,
    /// It is void from then on.
    pub expires_unix_ms: Option<UnixMillis>,
    /// When it was used last, give or take a minute.
    pub last_used_unix_ms: Option<UnixMillis>,
    /// When it was revoked.
    pub revoked_unix_ms: Option<UnixMillis>,
}

/// A key with a new secret, which is told this once: the broker keeps only a hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NewKey {
    /// The key.
    pub key: ApiKey,
    /// What goes behind `Authorization: Bearer`.
    pub secret: String,
}

/// `GET /v1/keys`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct KeyList {
    /// Those that the caller may see, oldest first.
    pub keys: Vec<ApiKey>,
    /// Where the next page begins, as `after`; there is none without it.
    #[schema(value_type = Option<String>)]
    pub next: Option<KeyId>,
}

/// `POST /v1/keys/{id}/rotate`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RotateKey {
    /// Seconds for which the former secret goes on working: a day without it, 0 for not at all, at most
    /// [`crate::limits::KEY_OVERLAP_S_MAX`].
    #[schema(maximum = 2_592_000)]
    pub overlap_s: Option<u32>,
}

/// What was done, for the audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AuditAction {
    /// A version of an app was added.
    AppAdd,
    /// A version of an app was rolled out.
    AppRoll,
    /// A roll-out was taken back.
    AppRollBack,
    /// The first administrator's key, made on the broker's machine.
    Bootstrap,
    /// A token for a checker was made.
    CheckerAdmit,
    /// A checker came in.
    CheckerJoin,
    /// A checker was shut out.
    CheckerRevoke,
    /// A licence to check was given.
    LicenceGive,
    /// A licence to check was taken back.
    LicenceRevoke,
    /// A key was made.
    KeyCreate,
    /// A key got a new secret.
    KeyRotate,
    /// A key was revoked.
    KeyRevoke,
    /// A player logged in.
    Login,
    /// A player logged out.
    Logout,
    /// A key of the directory of receipts was put in, or its window changed.
    DirectoryKeyPut,
    /// A key of the directory of receipts was revoked.
    DirectoryKeyRevoke,
    /// A receipt was contested.
    DisputeCreate,
    /// A receipt, or what a key signed, was revoked.
    ReceiptRevoke,
    /// Stakes were deposited or withdrawn.
    StakeMove,
    /// A join token was made.
    JoinTokenCreate,
    /// A node was drained.
    NodeDrain,
    /// A drain was ended.
    NodeUndrain,
    /// A node was shut out.
    NodeRevoke,
    /// A checker began to probe a node.
    NodeProbe,
    /// A node was vetted: jobs may go to it.
    NodeVet,
    /// A node is not vetted any more.
    NodeUnvet,
    /// A tenant got a credential for a registry, or another one.
    RegistryLogin,
    /// A tenant's credential for a registry was removed.
    RegistryRemove,
    /// Which images a tenant's jobs may have was changed.
    ImagePolicy,
    /// A tenant's webhook was set.
    WebhookSet,
    /// A tenant's webhook got a new secret.
    WebhookRotate,
    /// A tenant's webhook was removed.
    WebhookRemove,
    /// A session of somebody else was ended.
    SessionEnd,
    /// A command was started in a job.
    SessionExec,
    /// A command in a job ended: its exit status, and the bytes that went each way.
    SessionExecEnd,
    /// A job's log was read.
    SessionLogs,
    /// Files were copied out of a job.
    SessionFilesGet,
    /// Files were copied into a job.
    SessionFilesPut,
    /// A tenant was made.
    TenantCreate,
    /// A tenant was changed.
    TenantChange,
    /// A volume was deleted.
    VolumeDelete,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AuditOutcome {
    /// It was done.
    Done,
    /// The caller may not.
    Denied,
}

/// One line of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AuditEntry {
    /// Its number: later ones are higher.
    #[schema(value_type = String)]
    pub id: U64,
    /// When.
    pub at_unix_ms: UnixMillis,
    /// The request, as in the log.
    pub request: String,
    /// Who; nobody on the broker's own machine.
    #[schema(value_type = Option<String>)]
    pub user: Option<UserId>,
    /// What they were.
    pub role: Option<Role>,
    /// The key that they used.
    #[schema(value_type = Option<String>)]
    pub key: Option<KeyId>,
    /// Their tenant.
    #[schema(value_type = Option<String>)]
    pub tenant: Option<TenantId>,
    /// The address that they came from.
    pub address: Option<String>,
    /// What they did.
    pub action: AuditAction,
    /// On what.
    pub subject: String,
    /// What came of it.
    pub outcome: AuditOutcome,
    /// More words, such as a name that was given.
    pub detail: String,
}

/// `GET /v1/audit`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AuditPage {
    /// Newest first.
    pub entries: Vec<AuditEntry>,
    /// Where the next page begins, as `before`; there is none without it.
    #[schema(value_type = Option<String>)]
    pub next: Option<U64>,
}

/// `GET /v1/login/options`: how one can get in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema)]
pub struct LoginOptions {
    /// Where players log in, if they can: `/v1/login`.
    pub login_path: Option<String>,
    /// Whether one can play as a guest.
    pub guests: bool,
}

/// Answer to `POST /v1/login/device`: a login that is finished in a browser elsewhere (RFC 8628).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DeviceLogin {
    /// What to poll with. Whoever has it gets the login.
    pub device_code: String,
    /// What the person compares, or types.
    pub user_code: String,
    /// Where the person types it.
    pub verification_uri: String,
    /// The same with the code in it, where the provider has that.
    pub verification_uri_complete: Option<String>,
    /// Seconds until it comes to nothing.
    pub expires_s: u32,
    /// Seconds between two polls, at least.
    pub interval_s: u32,
}

/// `POST /v1/login/device/poll`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PollDeviceLogin {
    /// What the login began with.
    pub device_code: String,
}

/// What became of a login.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum DeviceLoginState {
    /// Nobody has agreed yet.
    Pending {
        /// Poll less often: five seconds more between two.
        slower: bool,
    },
    /// Somebody has.
    Done {
        /// The login's secret, to be sent as `Authorization: Bearer`. It is told this once.
        secret: String,
    },
    /// Somebody has refused.
    Denied,
    /// It took too long, or there is no such login.
    Expired,
}
