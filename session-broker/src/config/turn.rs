//! `[turn]`: relays for browsers whose network lets no datagram through to a node.

use super::InvalidConfig;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// A shorter secret can be guessed from one credential.
const SECRET_BYTES_MIN: usize = 16;
/// A server asks for the credential again while it relays: it has to outlive a session.
const TTL_S: std::ops::RangeInclusive<u32> = 600..=7 * 24 * 3600;

/// What the file says. It explains each.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "configs/session-broker.toml is their documentation"
)]
pub struct TurnFile {
    pub urls: Vec<String>,
    pub secret_file: PathBuf,
    pub ttl_s: u32,
}

/// What the broker runs with.
#[derive(Clone, Serialize)]
pub struct TurnSettings {
    /// URIs of the servers (RFC 7065).
    pub urls: Vec<String>,
    /// What the broker shares with the servers.
    #[serde(skip)]
    pub secret: String,
    /// How long a credential holds.
    pub ttl: Duration,
}

impl std::fmt::Debug for TurnSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TurnSettings")
            .field("urls", &self.urls)
            .finish_non_exhaustive()
    }
}

impl TurnFile {
    /// The settings, `None` where there is no server.
    pub(super) fn checked(self) -> Result<Option<TurnSettings>, InvalidConfig> {
        let wrong = |key, problem: String| InvalidConfig::Value { key, problem };
        if self.urls.is_empty() {
            return Ok(None);
        }
        let is_turn = |url: &&String| url.starts_with("turn:") || url.starts_with("turns:");
        if let Some(url) = self.urls.iter().find(|url| !is_turn(url)) {
            let problem = format!("has `{url}`; give URIs such as turn:turn.example.org:3478");
            return Err(wrong("turn.urls", problem));
        }
        if !TTL_S.contains(&self.ttl_s) {
            let (least, most) = (TTL_S.start(), TTL_S.end());
            let problem = format!("is {}; it must be {least} to {most}", self.ttl_s);
            return Err(wrong("turn.ttl_s", problem));
        }
        if self.secret_file.as_os_str().is_empty() {
            let problem =
                "is missing; it names the file of the secret that the servers of turn.urls have";
            return Err(wrong("turn.secret_file", problem.to_owned()));
        }
        let file = self.secret_file.display();
        let read = std::fs::read_to_string(&self.secret_file);
        let secret = read.map_err(|error| {
            let problem = format!("cannot be read: {file}: {error}");
            wrong("turn.secret_file", problem)
        })?;
        let secret = secret.trim();
        if secret.len() < SECRET_BYTES_MIN {
            let problem = format!("{file} holds fewer than {SECRET_BYTES_MIN} characters");
            return Err(wrong("turn.secret_file", problem));
        }
        Ok(Some(TurnSettings {
            urls: self.urls,
            secret: secret.to_owned(),
            ttl: Duration::from_secs(self.ttl_s.into()),
        }))
    }
}
