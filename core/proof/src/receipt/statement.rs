//! What a receipt says: an in-toto Statement v1 in RFC 8785 form, with integers and strings only.
//!
//! One subject; a [`Head`] that every kind shares; and the kind's own [`Predicate`]. A member that
//! is not of the kind is refused, so a newer kind has a new type and never a new member. Fields are
//! declared in the order in which they are written ([`ordered`]).

use super::envelope::{Envelope, IN_TOTO};
use super::predicate::{KINDS, Predicate};
use crate::canon::{self, CanonError, ordered};
use crate::encoding::hex;
use crate::key::KeyId;
use serde::de::{DeserializeOwned, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;

/// The type of an in-toto Statement.
const STATEMENT: &str = "https://in-toto.io/Statement/v1";
/// What the type of each predicate begins with.
const PREDICATE_BASE: &str = "https://nearlight.dev/";

/// Why a payload is no statement of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// Not in RFC 8785 form, or with floats.
    #[error("the statement: {0}")]
    Form(#[from] CanonError),
    /// The payload is no in-toto Statement, or has another shape than ours have.
    #[error(
        "the payload is no in-toto Statement with one subject and a predicate of a known shape"
    )]
    Shape,
    /// A kind of receipt that this version does not know.
    #[error("the receipt is of a kind that this version does not know; take a newer verifier")]
    Kind,
}

/// When an entry of a log says that it was issued, Unix seconds: a statement, or an edition of the directory. 0 if it does not.
#[must_use]
pub fn issued_at_s(envelope: &Envelope) -> u64 {
    #[derive(Deserialize)]
    struct Edition {
        issued_at_s: u64,
    }
    match Statement::parse(envelope) {
        Ok(statement) => statement.head.issued_at_s,
        Err(_) => serde_json::from_slice(&envelope.payload)
            .map_or(0, |edition: Edition| edition.issued_at_s),
    }
}

/// What a statement is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// `node:ID`, `session` or `receipt`.
    pub name: String,
    /// The node's key id, the session's salted commitment, or the leaf of the receipt.
    pub sha256: KeyId,
}

/// How much stands behind a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Assurance {
    /// Answers in time, from a machine that says what it is.
    Timing,
    /// The same, and other cards of the operator were busy in the same round.
    Exclusive,
    /// The same, and a quote of a trusted execution environment.
    Quote,
}

/// What became of the node's own signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Countersign {
    /// The node signs, too, with this key.
    Node(KeyId),
    /// The node was asked and refused, or did not answer; the reason as a sentence.
    Refused(String),
    /// This kind of receipt asks for none.
    None,
}

/// Pieces of evidence that one receipt may name: an opening of full size in pieces of 60,000 bytes has some 290, and so many
/// names fit an entry of the log.
pub const EVIDENCE_MAX: usize = 320;

/// Something that stands beside the log, by its hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// How many bytes.
    pub bytes: u64,
    /// Until when it is kept, Unix seconds.
    pub kept_until_s: u64,
    /// SHA-256 of its bytes.
    pub sha256: KeyId,
}

/// What every predicate has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// How much stands behind it.
    pub assurance: Assurance,
    /// Whether the node signs, too.
    pub countersign: Countersign,
    /// What a reader must not conclude, as sentences.
    pub does_not_prove: Vec<String>,
    /// What it rests on.
    pub evidence: Vec<Evidence>,
    /// When, Unix seconds.
    pub issued_at_s: u64,
    /// The key that issues it, and signs first.
    pub issuer: KeyId,
}

/// A statement: the payload of a receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// What it is about.
    pub subject: Subject,
    /// Who says it, and when.
    pub head: Head,
    /// What is said.
    pub predicate: Predicate,
}

impl Statement {
    /// Reads an envelope's payload.
    ///
    /// # Errors
    /// Every [`StatementError`].
    pub fn parse(envelope: &Envelope) -> Result<Self, StatementError> {
        let payload = envelope.payload.as_slice();
        // What is written anew from what was understood must be what was read: one form, nothing twice, nothing skipped.
        let read = Self::read(payload).filter(|statement| {
            envelope.payload_type == IN_TOTO && statement.to_bytes().as_deref() == Ok(payload)
        });
        read.ok_or_else(|| why_not(payload))
    }

    fn read(payload: &[u8]) -> Option<Self> {
        let typed: Typed<'_> = serde_json::from_slice(payload).ok()?;
        match typed.predicate_type.strip_prefix(PREDICATE_BASE)? {
            "porc/v1" => Self::of(payload, Predicate::Porc),
            "porw/v1" => Self::of(payload, Predicate::Porw),
            "session/v1" => Self::of(payload, Predicate::Session),
            "verdict/v1" => Self::of(payload, Predicate::Verdict),
            "revoke/v1" => Self::of(payload, Predicate::Revoke),
            "dispute/v1" => Self::of(payload, Predicate::Dispute),
            _ => None,
        }
        .filter(|read| match &read.predicate {
            Predicate::Session(session) => session.holds(),
            _ => true,
        })
    }

    fn of<B: DeserializeOwned>(payload: &[u8], kind: fn(B) -> Predicate) -> Option<Self> {
        let form: Form<'_, B, Head> = serde_json::from_slice(payload).ok()?;
        let [about] = form.subject;
        Some(Self {
            subject: Subject {
                name: about.name.into_owned(),
                sha256: about.digest.sha256,
            },
            head: form.predicate.head,
            predicate: kind(form.predicate.body),
        })
    }

    fn to_bytes(&self) -> Result<Vec<u8>, CanonError> {
        ordered::write(&Form {
            statement_type: STATEMENT.into(),
            predicate: Said {
                body: &self.predicate,
                head: &self.head,
            },
            predicate_type: format!("{PREDICATE_BASE}{}", self.predicate.kind()).into(),
            subject: [About {
                digest: Digest {
                    sha256: self.subject.sha256,
                },
                name: (&*self.subject.name).into(),
            }],
        })
    }

    /// An envelope with this statement, which nobody has signed yet.
    ///
    /// # Errors
    /// [`StatementError::Form`] for a number of more than 53 bits.
    pub fn envelope(&self) -> Result<Envelope, StatementError> {
        Ok(Envelope::new(IN_TOTO, self.to_bytes()?))
    }
}

/// Why a payload that could not be read is no statement of ours.
fn why_not(payload: &[u8]) -> StatementError {
    let value = match canon::strict(payload) {
        Ok(value) => value,
        Err(error) => return error.into(),
    };
    let kind = value["predicateType"].as_str();
    let of_ours = value["_type"] == STATEMENT;
    let known = |kind: &str| {
        let kind = kind.strip_prefix(PREDICATE_BASE);
        kind.is_some_and(|kind| KINDS.contains(&kind))
    };
    match kind {
        Some(kind) if of_ours && !known(kind) => StatementError::Kind,
        _ => StatementError::Shape,
    }
}

/// A statement as it is written.
#[derive(Serialize, Deserialize)]
struct Form<'a, B, H> {
    #[serde(borrow, rename = "_type")]
    statement_type: Cow<'a, str>,
    predicate: Said<B, H>,
    #[serde(borrow, rename = "predicateType")]
    predicate_type: Cow<'a, str>,
    #[serde(borrow)]
    subject: [About<'a>; 1],
}

#[derive(Serialize, Deserialize)]
struct Said<B, H> {
    body: B,
    head: H,
}

#[derive(Serialize, Deserialize)]
struct About<'a> {
    digest: Digest,
    #[serde(borrow)]
    name: Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
struct Digest {
    sha256: KeyId,
}

/// Of which kind it says that it is.
#[derive(Deserialize)]
struct Typed<'a> {
    #[serde(borrow, rename = "predicateType")]
    predicate_type: Cow<'a, str>,
}

impl Serialize for KeyId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex(&self.0))
    }
}

impl<'de> Deserialize<'de> for KeyId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Digits)
    }
}

/// What reads a [`KeyId`].
struct Digits;

impl Visitor<'_> for Digits {
    type Value = KeyId;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("64 lower-case hex digits")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<KeyId, E> {
        KeyId::from_hex(text).ok_or_else(|| E::custom("not 64 lower-case hex digits"))
    }
}

#[cfg(test)]
#[path = "statement/test.rs"]
mod test;
