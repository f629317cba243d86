//! `/v1/disputes`: a receipt of a check is contested, and a referee decides.

use serde::{Deserialize, Serialize};

/// The body of `POST /v1/disputes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateDispute {
    /// The receipt, by its place in the log.
    pub receipt: u64,
    /// What is wrong with it, as a sentence of at most 200 bytes.
    pub reason: String,
    /// What it rests on, at most 320 pieces: for each probe its record, and the pieces of what was opened behind it
    /// (docs/proof.md). The bytes go to `PUT /v1/evidence/{sha256}` afterwards.
    pub evidence: Vec<EvidenceName>,
}

/// A piece of evidence by its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EvidenceName {
    /// SHA-256 of its bytes, 64 hex digits.
    pub sha256: String,
    /// How many bytes, at most 65,536.
    pub bytes: u64,
}

/// A dispute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Dispute {
    /// Its place in the log.
    pub index: u64,
    /// Its leaf.
    pub leaf: String,
    /// The receipt that is contested.
    pub receipt: u64,
    /// Until when it is decided, Unix seconds: on what is shown until then.
    pub deadline_s: u64,
    /// The verdict that ended it, by its place in the log; none while it is open.
    pub verdict: Option<u64>,
}
