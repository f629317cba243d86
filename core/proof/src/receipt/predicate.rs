//! What each kind of receipt says.
//!
//! Times are Unix seconds or microseconds elapsed, ratios are thousandths of the reference, hashes
//! and secrets are hex. No IP address, user id or region finer than a metro stands in any of them.

use super::quality::Quality;
use super::session::Session;
use super::statement::StatementError;
use crate::key::KeyId;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The body of a receipt, by its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Predicate {
    /// A proof of render capacity.
    Porc(Box<Porc>),
    /// A probe of rendering work, in a real stream.
    Porw(Porw),
    /// A session that was played.
    Session(Box<Session>),
    /// What a round's reports come to, or how a dispute ended.
    Verdict(Verdict),
    /// A receipt or a key is void.
    Revoke(Revoke),
    /// A receipt is contested.
    Dispute(Dispute),
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Finding {
    /// Everything that was opened is right, and in time.
    Pass,
    /// Something is wrong or late.
    Fail,
    /// Nothing can be said.
    Inconclusive,
}

/// The times of the three legs, microseconds on the checker's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Elapsed {
    /// From the seed to the commitment over C.
    pub compute_us: u64,
    /// From the seed to the commitment over the blocks.
    pub fill_us: u64,
    /// From the read key to the commitment over the running values.
    pub read_us: u64,
    /// From the seed to the commitment over the frames.
    pub render_us: u64,
}

/// The sizes of the three legs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sizes {
    /// Rows of the square matrices.
    pub rows: u32,
    /// Blocks of 64 KiB.
    pub blocks: u32,
    /// Chains of reads side by side.
    pub lanes: u32,
    /// Reads of each chain.
    pub reads: u32,
    /// Frames in a row.
    pub frames: u32,
    /// Tiles of a frame.
    pub tiles: u32,
    /// Steps of the march.
    pub steps: u32,
}

/// The ratios to the reference of the class, thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ratios {
    /// Of the matrix product.
    pub compute_permille: u32,
    /// Of the reads from memory that was filled.
    pub memory_permille: u32,
    /// Of the rendered frames.
    pub render_permille: u32,
}

/// A proof of render capacity, as one checker found it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Porc {
    /// Round of the beacon.
    pub round: u64,
    /// The beacon's value for the round.
    pub beacon: KeyId,
    /// Which GPU of the node, as its own id.
    pub gpu: String,
    /// The class of the table that it is held to.
    pub class: String,
    /// SHA-256 of the signed table.
    pub table: KeyId,
    /// Which probe.
    pub probe: String,
    /// The root over the checkers that could have been assigned.
    pub checkers: KeyId,
    /// The checker's nonce, revealed.
    pub nonce: KeyId,
    /// The checker's read secret, revealed.
    pub read_secret: KeyId,
    /// The checker's secret that the openings follow from, revealed.
    pub open_secret: KeyId,
    /// Sizes of the legs.
    pub sizes: Sizes,
    /// Root over the rows of C.
    pub matrix_root: KeyId,
    /// Root over the blocks.
    pub fill_root: KeyId,
    /// Root over the running values of the reads.
    pub read_root: KeyId,
    /// Root over the frames.
    pub frame_root: KeyId,
    /// Times of the legs.
    pub elapsed: Elapsed,
    /// Ratios of the legs.
    pub ratios: Ratios,
    /// The least ratio, thousandths: the result.
    pub score_permille: u32,
    /// How it ended.
    pub finding: Finding,
    /// Why it did not pass, as a sentence; empty if it passed.
    pub reason: String,
}

/// A probe of rendering work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Porw {
    /// Salted commitment to the session that was played.
    pub session: KeyId,
    /// The catalogue app.
    pub app: String,
    /// SHA-256 of the recorded input.
    pub input: KeyId,
    /// Markers of the session that were found, of so many looked for.
    pub markers: [u32; 2],
    /// What was measured.
    pub quality: Quality,
    /// How it ended.
    pub finding: Finding,
    /// Why it did not pass, as a sentence; empty if it passed.
    pub reason: String,
}

/// What a round's reports come to, or how a dispute ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// The leaves of the receipts that were weighed.
    pub receipts: Vec<KeyId>,
    /// The leaf of the dispute that it ends, if it ends one.
    pub dispute: Option<KeyId>,
    /// How the node stands.
    pub finding: Finding,
    /// The score that counts, thousandths; the least of those that agree.
    pub score_permille: u32,
    /// Whoever claimed what re-execution refuted.
    pub liars: Vec<KeyId>,
    /// Which step was re-executed, if there was a referee; empty if all agreed.
    pub step: String,
    /// Why, as a sentence.
    pub reason: String,
}

/// A receipt or a key is void. The subject says which: a leaf, or a key id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revoke {
    /// Why, as a sentence.
    pub reason: String,
    /// From when on, Unix seconds.
    pub from_s: u64,
}

/// A receipt is contested. The subject is its leaf.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dispute {
    /// What is contested, as a sentence.
    pub claim: String,
    /// Until when a referee must have decided, Unix seconds.
    pub deadline_s: u64,
}

impl Predicate {
    /// The kind, as the predicate's type ends.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Porc(_) => "porc/v1",
            Self::Porw(_) => "porw/v1",
            Self::Session(_) => "session/v1",
            Self::Verdict(_) => "verdict/v1",
            Self::Revoke(_) => "revoke/v1",
            Self::Dispute(_) => "dispute/v1",
        }
    }

    pub(super) fn from_value(kind: &str, body: Value) -> Result<Self, StatementError> {
        let read = match kind {
            "porc/v1" => serde_json::from_value(body).map(Self::Porc),
            "porw/v1" => serde_json::from_value(body).map(Self::Porw),
            "session/v1" => serde_json::from_value(body).map(Self::Session),
            "verdict/v1" => serde_json::from_value(body).map(Self::Verdict),
            "revoke/v1" => serde_json::from_value(body).map(Self::Revoke),
            "dispute/v1" => serde_json::from_value(body).map(Self::Dispute),
            _ => return Err(StatementError::Kind),
        };
        let read = read.map_err(|_| StatementError::Shape)?;
        match &read {
            Self::Session(session) if !session.holds() => Err(StatementError::Shape),
            _ => Ok(read),
        }
    }

    pub(super) fn to_value(&self) -> Option<Value> {
        let written = match self {
            Self::Porc(body) => serde_json::to_value(body),
            Self::Porw(body) => serde_json::to_value(body),
            Self::Session(body) => serde_json::to_value(body),
            Self::Verdict(body) => serde_json::to_value(body),
            Self::Revoke(body) => serde_json::to_value(body),
            Self::Dispute(body) => serde_json::to_value(body),
        };
        written.ok()
    }
}
