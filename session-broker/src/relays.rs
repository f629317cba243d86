//! Credentials for TURN servers (RFC 8656), made on the spot and void after a while.
//!
//! The server keeps no accounts: it shares a secret with the broker, the username says until when it
//! holds, and the password proves that the broker said so (coturn calls it `use-auth-secret`; on the
//! wire it is the long-term credential of RFC 8489 section 9.2).
//!
//! **What it does not know:** the servers themselves. Nothing is asked of them.

use crate::config::TurnSettings;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nearlight_protocol::attach::IceServer;
use ring::hmac;
use std::time::Duration;

/// The servers that browsers may use.
pub(crate) struct Relays {
    urls: Vec<String>,
    key: hmac::Key,
    ttl: Duration,
}

impl std::fmt::Debug for Relays {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relays")
            .field("urls", &self.urls)
            .finish_non_exhaustive()
    }
}

impl Relays {
    pub(crate) fn new(settings: TurnSettings) -> Self {
        // SHA-1 is what the servers speak; as an HMAC it is not broken.
        let algorithm = hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY;
        Self {
            urls: settings.urls,
            key: hmac::Key::new(algorithm, settings.secret.as_bytes()),
            ttl: settings.ttl,
        }
    }

    /// The servers with a credential for `what`, which the server's log will show. `now_ms` is Unix time.
    pub(crate) fn servers(&self, what: &str, now_ms: u64) -> Vec<IceServer> {
        let until_s = now_ms / 1000 + self.ttl.as_secs();
        let username = format!("{until_s}:{what}");
        let tag = hmac::sign(&self.key, username.as_bytes());
        vec![IceServer {
            urls: self.urls.clone(),
            username,
            credential: STANDARD.encode(tag),
        }]
    }
}

#[cfg(test)]
mod test {
    use super::*;

    /// The value is of another implementation:
    /// `printf 1700000600:ses_x | openssl dgst -sha1 -hmac correct-horse-battery -binary | base64`.
    #[test]
    fn a_credential_is_what_a_server_computes_from_the_shared_secret() {
        let relays = Relays::new(TurnSettings {
            urls: vec!["turn:turn.example.org:3478".to_owned()],
            secret: "correct-horse-battery".to_owned(),
            ttl: Duration::from_secs(600),
        });
        let servers = relays.servers("ses_x", 1_700_000_000_999);
        assert_eq!(servers[0].username, "1700000600:ses_x");
        assert_eq!(servers[0].credential, "A3lQsx2Ru3TEP3sMxXIWqwcKzrk=");
        let later = relays.servers("ses_x", 1_700_000_001_000);
        assert_ne!(later[0].credential, servers[0].credential);
        assert!(!format!("{relays:?}").contains("horse"));
    }
}
