//! Wire types of the log of receipts. Envelopes and proofs are text, byte for byte as they are verified;
//! docs/receipts.md specifies them.

use serde::{Deserialize, Serialize};

/// Where a receipt stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Placed {
    /// Its place in the log, from zero.
    pub index: u64,
    /// Its leaf: what later receipts name it by, 64 hex digits.
    pub leaf: String,
}

/// A receipt in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema)]
pub struct ReceiptSummary {
    /// Its place in the log.
    #[ts(type = "number")]
    pub index: u64,
    /// Its leaf.
    pub leaf: String,
    /// Its kind, such as `porc/v1`.
    pub kind: String,
    /// The key id of whoever issued it.
    pub issuer: String,
    /// What it is about: the key id of a node, a session's commitment, the leaf of another receipt, or a key id.
    pub about: String,
    /// When it says that it was issued, Unix seconds.
    #[ts(type = "number")]
    pub issued_at_s: u64,
}

/// Receipts, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema)]
pub struct ReceiptList {
    /// The receipts.
    pub receipts: Vec<ReceiptSummary>,
    /// What to send as `before` for the next page; none on the last.
    #[ts(type = "number | null")]
    pub next_before: Option<u64>,
}

/// A receipt with its proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema)]
pub struct Receipt {
    /// Its place in the log.
    #[ts(type = "number")]
    pub index: u64,
    /// The envelope, as it stands there.
    pub envelope: String,
    /// Its `.tlog-proof` (c2sp.org/tlog-proof).
    pub proof: String,
}

/// Whose keys are whose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema)]
pub struct Directory {
    /// The newest edition, an envelope.
    pub envelope: String,
    /// The key that signed it, 64 hex digits. Whoever takes it from here believes this broker.
    pub directory_key: String,
    /// The key of the log's checkpoints, as policies have it (c2sp.org/signed-note).
    pub log_key: String,
    /// The operator's own policy (c2sp.org/tlog-policy): its log, and the witnesses that it asks.
    pub policy: String,
}

/// A key of the directory, and when it counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyWindow {
    /// `witness`, `broker`, `checker`, `node` or `referee`.
    pub role: String,
    /// Who runs it.
    pub operator: String,
    /// The licence that was delegated to it, by key id.
    pub licence: Option<String>,
    /// From when it counts, Unix seconds.
    pub from_s: u64,
    /// Until when, Unix seconds.
    pub until_s: u64,
}
