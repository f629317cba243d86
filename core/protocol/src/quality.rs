//! What a player's program and a node say of a session that was played, and where its receipt is.
//!
//! Samples are text, byte for byte as they are signed; docs/receipts.md specifies them.

use crate::id::SessionId;
use crate::standing::NodeRank;
use crate::unit::U64;
use serde::{Deserialize, Serialize};

/// The header of a request for a ticket with the key that the page made for the session, 64 hex digits:
/// samples of that page are signed with it.
pub const SAMPLE_KEY_HEADER: &str = "nearlight-sample-key";

/// `POST /v1/sessions/{id}/quality`: what a player's program has measured so far. Each replaces the one
/// before of the same key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlayerSaid {
    /// What, in its one text.
    pub sample: String,
    /// The key that the program made for the session, 64 hex digits; empty if it can make none.
    #[serde(default)]
    pub key: String,
    /// Its signature over the text, 128 hex digits; empty if it has none.
    #[serde(default)]
    pub signature: String,
    /// Whether none follows.
    #[serde(default)]
    pub last: bool,
}

/// `GET /v1/sessions/{id}/receipt`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema)]
pub struct SessionReceipt {
    /// Its place in the log: `GET /v1/receipts/{index}` has it with its proof.
    #[ts(type = "number")]
    pub index: u64,
    /// Its leaf, 64 hex digits.
    pub leaf: String,
    /// With the session's id, what its subject is a commitment to: 64 hex digits. Whoever is told both can
    /// say that the receipt is this session's.
    pub salt: String,
    /// `agree`, `disagree` or `edge-only`: whether player and node measured the same.
    pub agreement: String,
    /// How the session's node stands now; absent if nobody remembers which it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub node_rank: Option<NodeRank>,
}

/// What a node has measured of a session so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    /// Which.
    pub session: SessionId,
    /// The node's key for receipts, 64 hex digits.
    pub key: String,
    /// When it was begun to play, Unix seconds.
    pub started_at_s: U64,
    /// When it was played last, Unix seconds.
    pub stopped_at_s: U64,
    /// The root over what was measured by each minute, 64 hex digits.
    pub segments: String,
    /// What, in its one text.
    pub sample: String,
    /// Whether the session is over, and none follows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub last: bool,
}

/// What a node answers to the statement of a session's receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Countersigned {
    /// It signs.
    Signed {
        /// Ed25519 over the envelope's encoding (DSSE), 128 hex digits.
        signature: String,
    },
    /// It does not.
    Refused {
        /// Why, as a sentence.
        reason: String,
    },
}
