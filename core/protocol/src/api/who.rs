//! Who asks.

use crate::id::{KeyId, TenantId, UserId};
use crate::identity::Scope;
use serde::{Deserialize, Serialize};

/// `GET /v1/whoami`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema)]
pub struct WhoAmI {
    /// `guest`, the player's name, or the name of the API key.
    pub name: String,
    /// What the caller is.
    pub role: Role,
    /// The user, whose sessions are the caller's own.
    #[schema(value_type = String)]
    pub user: UserId,
    /// The caller's tenant.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub tenant: Option<TenantId>,
    /// The API key.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub key: Option<KeyId>,
    /// What the caller may do.
    #[serde(default)]
    pub scopes: Vec<Scope>,
    /// Where a guest can log in, if players can: `/v1/login`.
    #[serde(default)]
    pub login_path: Option<String>,
}

/// What a caller is. What each may do is one table: session-broker/src/access.rs.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Somebody with a cookie: plays a little.
    Guest,
    /// Somebody who logged in, or a tenant's program for one player: plays.
    Player,
    /// A tenant's program: its sessions and its keys.
    Tenant,
    /// Who runs nodes.
    Operator,
    /// Everything.
    Admin,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] = [
        Self::Guest,
        Self::Player,
        Self::Tenant,
        Self::Operator,
        Self::Admin,
    ];

    /// Its name, as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Guest => "guest",
            Self::Player => "player",
            Self::Tenant => "tenant",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

/// A text is no role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no role; roles are guest, player, tenant, operator and admin")]
pub struct UnknownRole(String);

impl std::str::FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        let found = Self::ALL.into_iter().find(|role| role.name() == text);
        found.ok_or_else(|| UnknownRole(text.to_owned()))
    }
}
