//! Registries that a tenant has a credential for: `/v1/registries`.
//!
//! A credential is written and never read: the broker uses it to ask what a tag stands for, and a
//! node to pull a job's image. What names a registry is the host of an image's reference.

use crate::unit::UnixMillis;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Longest user name of a registry, bytes.
pub const REGISTRY_USER_BYTES_MAX: usize = 256;
/// Longest password or token of a registry, bytes: tokens of clouds come to some KiB.
pub const REGISTRY_PASSWORD_BYTES_MAX: usize = 8192;
/// Registries that one tenant has credentials for.
pub const REGISTRIES_MAX: u32 = 32;

/// `PUT /v1/registries/{registry}`. Nothing that is printed shows the password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegistryLogin {
    /// Who logs in.
    pub username: String,
    /// Their password, or a token that stands for one. It is in no answer.
    pub password: String,
}

impl fmt::Debug for RegistryLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryLogin").finish_non_exhaustive()
    }
}

/// A registry that the tenant has a credential for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Registry {
    /// `HOST` or `HOST:PORT`, as references of images have it.
    pub registry: String,
    /// Who logs in.
    pub username: String,
    /// Since when.
    pub created_unix_ms: UnixMillis,
}

/// `GET /v1/registries`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RegistryList {
    /// By name.
    pub registries: Vec<Registry>,
}

/// The name under which an engine keeps what it pulls from there: Docker's own registry has two.
pub fn registry_name(named: &str) -> &str {
    match named {
        "index.docker.io" => "docker.io",
        other => other,
    }
}
