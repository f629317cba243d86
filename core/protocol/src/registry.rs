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

/// Prefixes of one policy.
pub const IMAGE_PREFIXES_MAX: usize = 64;
/// Longest PEM of a key, bytes.
pub const IMAGE_KEY_BYTES_MAX: usize = 1024;

/// `PUT` and `GET /v1/image-policy`: which images a tenant's jobs may have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImagePolicy {
    /// Registry and repository, or the folders that they begin with: `registry.example/team` allows
    /// `registry.example/team/server`. Empty: any image.
    #[serde(default)]
    pub allow: Vec<String>,
    /// PEM of the ECDSA P-256 public key (`cosign.pub`) that has to have signed an image; any
    /// image without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

impl ImagePolicy {
    /// Whether an image of this name, `registry/repository`, may be run.
    pub fn allows(&self, name: &str) -> bool {
        let below = |prefix: &String| {
            let rest = name.strip_prefix(prefix.trim_end_matches('/'));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.allow.is_empty() || self.allow.iter().any(below)
    }
}

/// The one name of a registry: Docker's own has two, and https has a port of its own.
pub fn registry_name(named: &str) -> &str {
    match named.strip_suffix(":443").unwrap_or(named) {
        "index.docker.io" => "docker.io",
        other => other,
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_registry_has_one_name() {
        for (named, is) in [
            ("registry.example:443", "registry.example"),
            ("index.docker.io:443", "docker.io"),
            ("index.docker.io", "docker.io"),
            ("registry.example:4443", "registry.example:4443"),
        ] {
            assert_eq!(registry_name(named), is, "{named}");
        }
    }

    #[test]
    fn a_prefix_is_whole_folders() {
        let policy = ImagePolicy {
            allow: vec!["registry.example/team".to_owned(), "tools/".to_owned()],
            key: None,
        };
        for (name, allowed) in [
            ("registry.example/team", true),
            ("registry.example/team/server", true),
            ("registry.example/teams/server", false),
            ("registry.example", false),
            ("tools/a", true),
            ("toolsmith/a", false),
            ("evil.example/registry.example/team", false),
        ] {
            assert_eq!(policy.allows(name), allowed, "{name}");
        }
        assert!(ImagePolicy::default().allows("any/thing"));
    }
}
