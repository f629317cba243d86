//! What each kind of receipt says.
//!
//! Times are Unix seconds or microseconds elapsed, ratios are thousandths of the reference, hashes
//! and secrets are hex. No IP address, user id or region finer than a metro stands in any of them.

use super::quality::Quality;
use super::session::Session;
use crate::key::KeyId;
use serde::{Deserialize, Serialize};

/// The kinds, as their predicates' types end.
pub(super) const KINDS: [&str; 6] = [
    "porc/v1",
    "porw/v1",
    "session/v1",
    "verdict/v1",
    "revoke/v1",
    "dispute/v1",
];

/// The body of a receipt, by its kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
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
    /// Blocks of 64 KiB.
    pub blocks: u32,
    /// Frames in a row.
    pub frames: u32,
    /// Chains of reads side by side.
    pub lanes: u32,
    /// Reads of each chain.
    pub reads: u32,
    /// Rows of the square matrices.
    pub rows: u32,
    /// Steps of the march.
    pub steps: u32,
    /// Tiles of a frame.
    pub tiles: u32,
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
    /// The beacon's value for the round.
    pub beacon: KeyId,
    /// The root over the checkers that could have been assigned.
    pub checkers: KeyId,
    /// The class of the table that it is held to.
    pub class: String,
    /// Times of the legs.
    pub elapsed: Elapsed,
    /// Root over the blocks.
    pub fill_root: KeyId,
    /// How it ended.
    pub finding: Finding,
    /// Root over the frames.
    pub frame_root: KeyId,
    /// Which GPU of the node, as its own id.
    pub gpu: String,
    /// Root over the rows of C.
    pub matrix_root: KeyId,
    /// The checker's nonce, revealed.
    pub nonce: KeyId,
    /// The checker's secret that the openings follow from, revealed.
    pub open_secret: KeyId,
    /// Which probe.
    pub probe: String,
    /// Ratios of the legs.
    pub ratios: Ratios,
    /// Root over the running values of the reads.
    pub read_root: KeyId,
    /// The checker's read secret, revealed.
    pub read_secret: KeyId,
    /// Why it did not pass, as a sentence; empty if it passed.
    pub reason: String,
    /// Round of the beacon.
    pub round: u64,
    /// The least ratio, thousandths: the result.
    pub score_permille: u32,
    /// Sizes of the legs.
    pub sizes: Sizes,
    /// SHA-256 of the signed table.
    pub table: KeyId,
}

/// A probe of rendering work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Porw {
    /// The catalogue app.
    pub app: String,
    /// How it ended.
    pub finding: Finding,
    /// SHA-256 of the recorded input.
    pub input: KeyId,
    /// Presses that pictures count, of so many that were made; zeros of an app whose pictures count none.
    pub markers: [u32; 2],
    /// What was measured.
    pub quality: Quality,
    /// Why it did not pass, as a sentence; empty if it passed.
    pub reason: String,
    /// Salted commitment to the session that was played.
    pub session: KeyId,
    /// Signs of the session's marker that agree, that do not, and that were looked for. Receipts of before have none, nor
    /// those of a session whose node says that it draws no marker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signs: Option<[u32; 3]>,
}

/// What a round's reports come to, or how a dispute ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// The leaf of the dispute that it ends, if it ends one.
    pub dispute: Option<KeyId>,
    /// How the node stands.
    pub finding: Finding,
    /// Whoever claimed what re-execution refuted.
    pub liars: Vec<KeyId>,
    /// Why, as a sentence.
    pub reason: String,
    /// The leaves of the receipts that were weighed.
    pub receipts: Vec<KeyId>,
    /// The score that counts, thousandths; the least of those that agree.
    pub score_permille: u32,
    /// Which step was re-executed, if there was a referee; empty if all agreed.
    pub step: String,
}

/// A receipt or a key is void. The subject says which: a leaf, or a key id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revoke {
    /// From when on, Unix seconds.
    pub from_s: u64,
    /// Why, as a sentence.
    pub reason: String,
}

/// A receipt is contested. The subject is its leaf.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dispute {
    /// What is contested, as a sentence.
    pub claim: String,
    /// Until when its issuer takes it to be decided, Unix seconds. Nobody is held to it: the time is the network's
    /// (`checks.dispute_days` after the receipt).
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
}
