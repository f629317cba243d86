//! What a receipt says: an in-toto Statement v1 in RFC 8785 form, with integers and strings only.
//!
//! One subject; a [`Head`] that every kind shares; and the kind's own [`Predicate`]. A member that
//! is not of the kind is refused, so a newer kind has a new type and never a new member.

use super::envelope::{Envelope, IN_TOTO};
use super::predicate::Predicate;
use crate::canon;
use crate::key::KeyId;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The type of an in-toto Statement.
const STATEMENT: &str = "https://in-toto.io/Statement/v1";
/// What the type of each predicate begins with.
const PREDICATE_BASE: &str = "https://nearlight.dev/";

/// Why a payload is no statement of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// Not in RFC 8785 form, or with floats.
    #[error("the statement: {0}")]
    Form(#[from] canon::CanonError),
    /// The payload is no in-toto Statement, or has another shape than ours have.
    #[error(
        "the payload is no in-toto Statement with one subject and a predicate of a known shape"
    )]
    Shape,
    /// A kind of receipt that this version does not know.
    #[error("the receipt is of a kind that this version does not know; take a newer verifier")]
    Kind,
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
    /// SHA-256 of its bytes.
    pub sha256: KeyId,
    /// How many bytes.
    pub bytes: u64,
    /// Until when it is kept, Unix seconds.
    pub kept_until_s: u64,
}

/// What every predicate has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The key that issues it, and signs first.
    pub issuer: KeyId,
    /// When, Unix seconds.
    pub issued_at_s: u64,
    /// Whether the node signs, too.
    pub countersign: Countersign,
    /// How much stands behind it.
    pub assurance: Assurance,
    /// What a reader must not conclude, as sentences.
    pub does_not_prove: Vec<String>,
    /// What it rests on.
    pub evidence: Vec<Evidence>,
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
        let value = canon::strict(&envelope.payload)?;
        if envelope.payload_type != IN_TOTO || value["_type"] != STATEMENT {
            return Err(StatementError::Shape);
        }
        let kind = value["predicateType"]
            .as_str()
            .ok_or(StatementError::Shape)?;
        let kind = kind
            .strip_prefix(PREDICATE_BASE)
            .ok_or(StatementError::Kind)?;
        let body = value["predicate"]["body"].clone();
        let predicate = Predicate::from_value(kind, body)?;
        // What is written anew from what was understood must be what was read: nothing is skipped.
        Self::from_value(&value, predicate)
            .filter(|statement| statement.to_value().as_ref() == Some(&value))
            .ok_or(StatementError::Shape)
    }

    fn from_value(value: &Value, predicate: Predicate) -> Option<Self> {
        let subject = &value["subject"][0];
        let head = serde_json::from_value(value["predicate"]["head"].clone()).ok()?;
        let sha256 = KeyId::from_hex(subject["digest"]["sha256"].as_str()?)?;
        let subject = Subject {
            name: subject["name"].as_str()?.to_owned(),
            sha256,
        };
        Some(Self {
            subject,
            head,
            predicate,
        })
    }

    fn to_value(&self) -> Option<Value> {
        let body = self.predicate.to_value()?;
        let digest = json!({ "sha256": self.subject.sha256.to_string() });
        Some(json!({
            "_type": STATEMENT,
            "subject": [{ "name": self.subject.name, "digest": digest }],
            "predicateType": format!("{PREDICATE_BASE}{}", self.predicate.kind()),
            "predicate": { "head": serde_json::to_value(&self.head).ok()?, "body": body },
        }))
    }

    /// An envelope with this statement, which nobody has signed yet.
    ///
    /// # Errors
    /// [`StatementError::Form`] for a number of more than 53 bits.
    pub fn envelope(&self) -> Result<Envelope, StatementError> {
        let bytes = canon::to_bytes(&self.to_value().ok_or(StatementError::Shape)?);
        canon::strict(&bytes)?;
        Ok(Envelope::new(IN_TOTO, bytes))
    }
}

impl Serialize for KeyId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::from_hex(&text)
            .ok_or_else(|| serde::de::Error::custom("not 64 lower-case hex digits"))
    }
}
