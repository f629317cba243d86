//! What was said in a probe, as evidence: every signed word of both sides, but not what was opened.
//!
//! Each word is signed over all before it, so a record proves that the other side said what it has, in this
//! order, in this probe. A checker that asks the next step has taken the answers before as right and in time:
//! it does not ask on otherwise.
//!
//! **What it does not know:** when anything was said.

use super::super::commit::Commitment;
use super::Step;
use super::begin::{Begin, BeginError};
use super::said::{Side, Transcript};
use crate::canon;
use crate::encoding::{array_from_hex, hex};
use crate::key::{KeyId, PublicKey};
use crate::log::tree::Hash;
use crate::receipt::envelope::Envelope;
use serde::{Deserialize, Serialize};

/// The most words of a probe: two a step.
const SAID_MAX: usize = 2 * Step::ALL.len();

/// A record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The first message, an envelope.
    begin: String,
    /// What was said after it, in order.
    said: Vec<Line>,
}

/// A word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    side: String,
    step: String,
    value: KeyId,
    signature: String,
}

/// Why a record proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// It is none.
    #[error("this is no record of a probe in RFC 8785 form")]
    Shape,
    /// Its beginning is none.
    #[error("the record: {0}")]
    Begin(#[from] BeginError),
    /// A word is not where it should be, or not signed by who says it.
    #[error("word {0} of the record is not signed for its place; nothing after it counts")]
    Said(usize),
    /// A secret is not the one that was committed to.
    #[error("word {0} of the record reveals another secret than was committed to")]
    Secret(usize),
}

/// What a record proves.
#[derive(Clone, Debug)]
pub struct Heard {
    /// What was asked for.
    pub begin: Begin,
    /// Who asked.
    pub checker: PublicKey,
    /// The nonce, the read secret and the open secret, as far as they were revealed.
    pub secrets: [Option<Hash>; 3],
    /// The node's roots; zeros for what it did not say.
    pub roots: Commitment,
    /// BLAKE3 of what the node opened, if it did.
    pub opening: Option<Hash>,
}

impl Record {
    /// Of a probe that begins so.
    #[must_use]
    pub fn new(begin: &[u8]) -> Self {
        Self {
            begin: String::from_utf8_lossy(begin).into_owned(),
            said: Vec::new(),
        }
    }

    /// A word was said. Whoever adds it has verified it, or said it.
    pub fn add(&mut self, side: Side, step: Step, value: &Hash, signature: &[u8; 64]) {
        if self.said.len() < SAID_MAX {
            self.said.push(Line {
                side: side.word().to_owned(),
                step: step.name().to_owned(),
                value: KeyId(*value),
                signature: hex(signature),
            });
        }
    }

    /// A message of a value and a signature; of another length it is none.
    pub fn add_message(&mut self, side: Side, step: Step, message: &[u8]) {
        let parts = message.split_first_chunk::<32>();
        let parts = parts.and_then(|(value, rest)| Some((value, rest.try_into().ok()?)));
        if let Some((value, signature)) = parts {
            self.add(side, step, value, &signature);
        }
    }

    /// As evidence: its bytes in RFC 8785 form.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_value(self)
            .map(|value| canon::to_bytes(&value))
            .unwrap_or_default()
    }

    /// Reads evidence.
    ///
    /// # Errors
    /// [`RecordError::Shape`].
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        let value = canon::strict(bytes).map_err(|_| RecordError::Shape)?;
        let record: Self = serde_json::from_value(value).map_err(|_| RecordError::Shape)?;
        match record.said.len() <= SAID_MAX {
            true => Ok(record),
            false => Err(RecordError::Shape),
        }
    }

    /// Who begins it, by its own word: nothing of it is verified here.
    #[must_use]
    pub fn checker(&self) -> Option<KeyId> {
        let envelope = Envelope::parse(self.begin.as_bytes()).ok()?;
        envelope.signatures.first().map(|(id, _)| *id)
    }

    /// What it proves of a probe of the node with this key.
    ///
    /// # Errors
    /// Every [`RecordError`].
    pub fn replay(&self, node: &PublicKey) -> Result<Heard, RecordError> {
        let bytes = self.begin.as_bytes();
        let (begin, checker) = Begin::open(bytes)?;
        let mut transcript = Transcript::new(bytes);
        let none = [0; 32];
        let mut heard = Heard {
            begin,
            checker,
            secrets: [None; 3],
            roots: Commitment {
                matrix: none,
                fill: none,
                reads: none,
                frames: none,
            },
            opening: None,
        };
        for (at, (line, (side, step))) in self.said.iter().zip(order()).enumerate() {
            let signature: [u8; 64] =
                array_from_hex(&line.signature).ok_or(RecordError::Said(at))?;
            let key = match side {
                Side::Checker => &heard.checker,
                Side::Node => node,
            };
            let is_of_place = line.side == side.word() && line.step == step.name();
            let signed = transcript.hear((side, step), &line.value.0, &signature, key);
            if !is_of_place || signed.is_err() {
                return Err(RecordError::Said(at));
            }
            heard.take(at, (side, step), line.value.0)?;
        }
        Ok(heard)
    }
}

/// Who speaks when, after the beginning.
fn order() -> impl Iterator<Item = (Side, Step)> {
    let steps = Step::ALL.into_iter();
    let both = steps.flat_map(|step| [(Side::Checker, step), (Side::Node, step)]);
    // The beginning itself is the checker's first word.
    both.skip(1)
}

impl Heard {
    fn take(&mut self, at: usize, of: (Side, Step), value: Hash) -> Result<(), RecordError> {
        let secret = match of {
            (Side::Checker, Step::Fill) => Some(0),
            (Side::Checker, Step::Reads) => Some(1),
            (Side::Checker, Step::Open) => Some(2),
            _ => None,
        };
        if let Some(place) = secret {
            if !self.begin.committed(place, &value) {
                return Err(RecordError::Secret(at));
            }
            self.secrets[place] = Some(value);
        }
        match of {
            (Side::Node, Step::Fill) => self.roots.fill = value,
            (Side::Node, Step::Matrix) => self.roots.matrix = value,
            (Side::Node, Step::Frames) => self.roots.frames = value,
            (Side::Node, Step::Reads) => self.roots.reads = value,
            (Side::Node, Step::Open) => self.opening = Some(value),
            _ => {}
        }
        Ok(())
    }
}
