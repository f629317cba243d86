//! Whose keys they are: a signed list with roles, operators and windows of validity.
//!
//! A directory is an envelope of its own type, signed by a key that the verifier was given; it
//! stands in the log like a receipt does. The verifier says which key pinned it.

use super::envelope::{Envelope, EnvelopeError};
use crate::canon;
use crate::key::{KeyId, PublicKey, SecretKey};
use serde::{Deserialize, Serialize};

/// The type of a directory's payload.
pub const DIRECTORY: &str = "application/vnd.nearlight.directory.v1+json";

/// What a key may issue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Signs the log's checkpoints.
    Log,
    /// Cosigns them.
    Witness,
    /// Issues session receipts, verdicts on agreeing reports, and revocations.
    Broker,
    /// Issues porc and porw receipts.
    Checker,
    /// Countersigns, and disputes.
    Node,
    /// Issues verdicts and revocations.
    Referee,
}

/// One key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The key, 64 hex digits.
    pub key: String,
    /// What it may do.
    pub role: Role,
    /// Who runs it.
    pub operator: String,
    /// The licence that was delegated to it, by key id, if one was.
    pub licence: Option<KeyId>,
    /// From when it counts, Unix seconds.
    pub from_s: u64,
    /// Until when, Unix seconds.
    pub until_s: u64,
    /// When it was revoked, if it was.
    pub revoked_at_s: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    serial: u64,
    issued_at_s: u64,
    keys: Vec<Entry>,
}

/// Why bytes are no directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DirectoryError {
    /// No envelope.
    #[error("the directory: {0}")]
    Envelope(#[from] EnvelopeError),
    /// Another shape.
    #[error("the directory is not a list of keys in RFC 8785 form")]
    Shape,
    /// Not signed by the key that the verifier was given.
    #[error("the directory is not signed by the key that it should be; do not use it")]
    Signature,
}

/// A directory whose signature was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// Which edition; a newer one has a greater number.
    pub serial: u64,
    /// When it was issued, Unix seconds.
    pub issued_at_s: u64,
    /// The key that signed it.
    pub pinned_by: KeyId,
    entries: Vec<(PublicKey, Entry)>,
}

impl Directory {
    /// Reads a directory that `authority` signed.
    ///
    /// # Errors
    /// Every [`DirectoryError`].
    pub fn open(bytes: &[u8], authority: &PublicKey) -> Result<Self, DirectoryError> {
        let envelope = Envelope::parse(bytes)?;
        let one = envelope.signatures.len() == 1 && envelope.payload_type == DIRECTORY;
        if !one || !envelope.signed_by(authority) {
            return Err(DirectoryError::Signature);
        }
        let value = canon::strict(&envelope.payload).map_err(|_| DirectoryError::Shape)?;
        let listed: Listed = serde_json::from_value(value).map_err(|_| DirectoryError::Shape)?;
        let keyed = |entry: Entry| Some((PublicKey::from_hex(&entry.key)?, entry));
        let entries: Option<_> = listed.keys.into_iter().map(keyed).collect();
        Ok(Self {
            serial: listed.serial,
            issued_at_s: listed.issued_at_s,
            pinned_by: authority.id(),
            entries: entries.ok_or(DirectoryError::Shape)?,
        })
    }

    /// A directory as an entry of the log.
    ///
    /// # Errors
    /// [`DirectoryError::Shape`] for numbers or a length that no entry may have.
    pub fn sign(
        serial: u64,
        issued_at_s: u64,
        keys: Vec<Entry>,
        authority: &SecretKey,
    ) -> Result<Vec<u8>, DirectoryError> {
        let listed = Listed {
            serial,
            issued_at_s,
            keys,
        };
        let value = serde_json::to_value(listed).map_err(|_| DirectoryError::Shape)?;
        let mut envelope = Envelope::new(DIRECTORY, canon::to_bytes(&value));
        envelope.sign(authority);
        let bytes = envelope.to_bytes();
        Self::open(&bytes, &authority.public())?;
        Ok(bytes)
    }

    /// A key by its id, in a role.
    #[must_use]
    pub fn find(&self, id: &KeyId, role: Role) -> Option<(&PublicKey, &Entry)> {
        let of = |(key, entry): &&(PublicKey, Entry)| key.id() == *id && entry.role == role;
        self.entries
            .iter()
            .find(of)
            .map(|(key, entry)| (key, entry))
    }

    /// Every key of a role.
    pub fn of(&self, role: Role) -> impl Iterator<Item = (&PublicKey, &Entry)> {
        self.entries
            .iter()
            .filter(move |(_, e)| e.role == role)
            .map(|(key, entry)| (key, entry))
    }

    /// Who runs a key, if the directory says.
    #[must_use]
    pub fn operator(&self, key: &PublicKey) -> Option<&str> {
        self.entries
            .iter()
            .find(|(k, _)| k == key)
            .map(|(_, entry)| entry.operator.as_str())
    }
}

impl Entry {
    /// Whether the key counts for what is issued then.
    #[must_use]
    pub fn covers(&self, unix_s: u64) -> bool {
        (self.from_s..self.until_s).contains(&unix_s)
            && self.revoked_at_s.is_none_or(|revoked| unix_s < revoked)
    }
}
