//! Identifiers. Each is a short string with a fixed prefix, so that a log line or a URL says by
//! itself what it names: `ses_01kb3x9ktv7q2m5d8r4w6y0zab`.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Crockford's base32 alphabet in lower case: no i, l, o, u.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// 48 bits of time and 80 of chance, five bits a character.
const BODY_LEN: usize = 26;

/// Why a string is not an identifier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {kind} id")]
pub struct IdError {
    kind: &'static str,
}

macro_rules! prefixed_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ts_rs::TS)]
        #[serde(try_from = "String", into = "String")]
        #[ts(type = "string")]
        pub struct $name(String);

        impl $name {
            /// Builds an id from a time (milliseconds since the Unix epoch, 48 bits kept) and 80
            /// random bits: ids made later sort later.
            pub fn from_parts(unix_ms: u64, random: [u8; 10]) -> Self {
                Self(encode($prefix, unix_ms, random))
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdError;
            fn from_str(s: &str) -> Result<Self, IdError> {
                if is_valid($prefix, s) { Ok(Self(s.to_owned())) } else { Err(IdError { kind: $kind }) }
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(s: String) -> Result<Self, IdError> {
                if is_valid($prefix, &s) { Ok(Self(s)) } else { Err(IdError { kind: $kind }) }
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

prefixed_id!(/// A session, from placement to end; survives reconnects.
    SessionId, "ses_", "session");
prefixed_id!(/// One client transport bound to a session.
    AttachmentId, "att_", "attachment");
prefixed_id!(/// An edge node.
    NodeId, "nod_", "node");
prefixed_id!(/// Capacity for exactly one session on a node.
    SlotId, "slt_", "slot");
prefixed_id!(/// Who owns sessions: a guest, a player or a tenant.
    UserId, "usr_", "user");
prefixed_id!(/// One request, for logs and the `instance` of a problem.
    RequestId, "req_", "request");
prefixed_id!(/// A link on which others watch a session.
    WatchLinkId, "wat_", "watch link");
prefixed_id!(/// An organisation whose members see each other's sessions.
    TenantId, "ten_", "tenant");
prefixed_id!(/// An API key.
    KeyId, "key_", "key");
prefixed_id!(/// A tunnel that a broker has asked for; a secret that is used once.
    TunnelId, "tun_", "tunnel");
prefixed_id!(/// A directory of a tenant that outlives its jobs.
    VolumeId, "vol_", "volume");

/// Name of a catalogue entry: 1 to 40 of `a-z`, `0-9` and `-`, starting with a letter.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ts_rs::TS)]
#[serde(try_from = "String", into = "String")]
#[ts(type = "string")]
pub struct AppId(String);

impl AppId {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for AppId {
    type Error = IdError;
    fn try_from(s: String) -> Result<Self, IdError> {
        let valid = (1..=40).contains(&s.len())
            && s.as_bytes()[0].is_ascii_lowercase()
            && s.bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if valid {
            Ok(Self(s))
        } else {
            Err(IdError { kind: "app" })
        }
    }
}

impl std::str::FromStr for AppId {
    type Err = IdError;
    fn from_str(s: &str) -> Result<Self, IdError> {
        Self::try_from(s.to_owned())
    }
}

impl From<AppId> for String {
    fn from(id: AppId) -> String {
        id.0
    }
}

impl fmt::Display for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn encode(prefix: &str, unix_ms: u64, random: [u8; 10]) -> String {
    let mut bits = u128::from(unix_ms & 0xffff_ffff_ffff) << 80;
    for (i, byte) in random.iter().enumerate() {
        bits |= u128::from(*byte) << (8 * (9 - i));
    }
    let mut id = String::with_capacity(prefix.len() + BODY_LEN);
    id.push_str(prefix);
    for i in (0..BODY_LEN).rev() {
        let five_bits = (bits >> (5 * i)) & 31;
        id.push(char::from(ALPHABET[five_bits as usize]));
    }
    id
}

fn is_valid(prefix: &str, s: &str) -> bool {
    s.strip_prefix(prefix)
        .is_some_and(|body| body.len() == BODY_LEN && body.bytes().all(|b| ALPHABET.contains(&b)))
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn ids_sort_by_time_and_round_trip() {
        let early = SessionId::from_parts(1_000, [0xff; 10]);
        let late = SessionId::from_parts(1_001, [0; 10]);
        assert!(early < late);
        assert_eq!(early.as_str().parse::<SessionId>().unwrap(), early);
    }

    #[test]
    fn foreign_text_is_no_id() {
        for text in [
            "",
            "ses_",
            "nod_01kb3x9ktv7q2m5d8r4w6y0zab",
            "ses_01kb3x9ktv7q2m5d8r4w6y0zaU",
            "ses_../../../../etc/passwd000",
        ] {
            assert!(text.parse::<SessionId>().is_err(), "{text}");
        }
        for text in ["", "-a", "A", "a/b", "a b", "9a"] {
            assert!(text.parse::<AppId>().is_err(), "{text}");
        }
    }
}
