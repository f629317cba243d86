//! Whose keys they are: a signed list with roles, operators and windows of validity.
//!
//! A directory is an envelope of its own type, signed by a key that the verifier was given; it
//! stands in the log like a receipt does. The verifier says which key pinned it.
//!
//! One of more than [`PAGE_KEYS`] keys has pages, for an entry of the log has no room for them: the edition names each by
//! its hash, and stands in front of them, a line each. [`edition`] writes both.
//!
//! **Invariants.** Nothing of a page is believed but under an edition that names it. What is read is bounded.

use super::envelope::{Envelope, EnvelopeError};
use crate::canon;
use crate::encoding::sha256;
use crate::key::{KeyId, PublicKey, SecretKey};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub mod edition;

pub use edition::Edition;

/// The type of a directory's payload.
pub const DIRECTORY: &str = "application/vnd.nearlight.directory.v1+json";
/// The same of one that has pages.
pub const DIRECTORY_PAGED: &str = "application/vnd.nearlight.directory.v2+json";
/// The type of a page.
pub const DIRECTORY_PAGE: &str = "application/vnd.nearlight.directory-page.v1+json";
/// Keys of a page, and of a directory without pages: an entry of the log has room for so many.
pub const PAGE_KEYS: usize = 128;
/// Pages of a directory.
pub const PAGES_MAX: usize = 128;

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

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Paged {
    serial: u64,
    issued_at_s: u64,
    /// SHA-256 of each page's envelope.
    pages: Vec<KeyId>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
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
    /// Pages that it names are not there, or others are.
    #[error("the directory names other pages than stand behind it; fetch it again")]
    Pages,
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
    /// Where each key stands.
    places: BTreeMap<KeyId, Vec<usize>>,
}

impl Directory {
    /// Reads a directory that `authority` signed.
    ///
    /// # Errors
    /// Every [`DirectoryError`].
    pub fn open(bytes: &[u8], authority: &PublicKey) -> Result<Self, DirectoryError> {
        // An envelope has no line feed.
        let mut lines = bytes.split(|byte| *byte == b'\n');
        let first = Envelope::parse(lines.next().unwrap_or_default())?;
        let listed = match first.payload_type.as_str() {
            DIRECTORY_PAGED => paged(&first, lines, authority)?,
            _ if lines.next().is_some() => return Err(DirectoryError::Pages),
            _ => payload(&first, DIRECTORY, authority)?,
        };
        let keyed = |entry: Entry| Some((PublicKey::from_hex(&entry.key)?, entry));
        let entries: Option<Vec<_>> = listed.keys.into_iter().map(keyed).collect();
        let entries = entries.ok_or(DirectoryError::Shape)?;
        let mut places: BTreeMap<KeyId, Vec<usize>> = BTreeMap::new();
        for (place, (key, _)) in entries.iter().enumerate() {
            places.entry(key.id()).or_default().push(place);
        }
        Ok(Self {
            serial: listed.serial,
            issued_at_s: listed.issued_at_s,
            pinned_by: authority.id(),
            entries,
            places,
        })
    }

    /// A directory as [`Directory::open`] reads it.
    ///
    /// # Errors
    /// [`DirectoryError::Shape`] for numbers or a length that no directory may have.
    pub fn sign(
        serial: u64,
        issued_at_s: u64,
        keys: Vec<Entry>,
        authority: &SecretKey,
    ) -> Result<Vec<u8>, DirectoryError> {
        let edition = Edition::sign((serial, issued_at_s), keys, authority, None)?;
        let bytes = edition.to_bytes();
        Self::open(&bytes, &authority.public())?;
        Ok(bytes)
    }

    /// A key by its id, in a role.
    #[must_use]
    pub fn find(&self, id: &KeyId, role: Role) -> Option<(&PublicKey, &Entry)> {
        let places = self.places.get(id).into_iter().flatten();
        let mut known = places.filter_map(|place| self.entries.get(*place));
        let found = known.find(|(_, entry)| entry.role == role);
        found.map(|(key, entry)| (key, entry))
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
        let place = self.places.get(&key.id())?.first()?;
        let (_, entry) = self.entries.get(*place)?;
        Some(&entry.operator)
    }
}

/// The keys that an entry of the log lists: an edition, or a page of one, that `authority` signed.
#[must_use]
pub fn listed_in(entry: &[u8], authority: &PublicKey) -> Option<Vec<Entry>> {
    let envelope = Envelope::parse(entry).ok()?;
    match envelope.payload_type.as_str() {
        DIRECTORY => {
            let listed: Listed = payload(&envelope, DIRECTORY, authority).ok()?;
            Some(listed.keys)
        }
        DIRECTORY_PAGE => {
            let page: Page = payload(&envelope, DIRECTORY_PAGE, authority).ok()?;
            Some(page.keys)
        }
        _ => None,
    }
}

/// What `authority` signed, of a type.
fn payload<T: serde::de::DeserializeOwned>(
    envelope: &Envelope,
    kind: &str,
    authority: &PublicKey,
) -> Result<T, DirectoryError> {
    let one = envelope.signatures.len() == 1 && envelope.payload_type == kind;
    if !one || !envelope.signed_by(authority) {
        return Err(DirectoryError::Signature);
    }
    let value = canon::strict(&envelope.payload).map_err(|_| DirectoryError::Shape)?;
    serde_json::from_value(value).map_err(|_| DirectoryError::Shape)
}

/// The pages of an edition, each of which it names.
fn paged<'a>(
    edition: &Envelope,
    mut lines: impl Iterator<Item = &'a [u8]>,
    authority: &PublicKey,
) -> Result<Listed, DirectoryError> {
    let paged: Paged = payload(edition, DIRECTORY_PAGED, authority)?;
    if paged.pages.len() > PAGES_MAX {
        return Err(DirectoryError::Shape);
    }
    let mut keys = Vec::new();
    for named in paged.pages {
        let line = lines.next().ok_or(DirectoryError::Pages)?;
        if sha256(&[line]) != named.0 {
            return Err(DirectoryError::Pages);
        }
        let page: Page = payload(&Envelope::parse(line)?, DIRECTORY_PAGE, authority)?;
        if page.keys.len() > PAGE_KEYS {
            return Err(DirectoryError::Shape);
        }
        keys.extend(page.keys);
    }
    match lines.next() {
        Some(_) => Err(DirectoryError::Pages),
        None => Ok(Listed {
            serial: paged.serial,
            issued_at_s: paged.issued_at_s,
            keys,
        }),
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
