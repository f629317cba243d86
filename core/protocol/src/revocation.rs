//! `/v1/revocations`: a receipt of the log, or what a key signed, is void.

use serde::{Deserialize, Serialize};

/// The body of `POST /v1/revocations`: `receipt`, or `key` and `from_s`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateRevocation {
    /// The receipt, by its place in the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<u64>,
    /// The key of which what it signed is void, by its id, 64 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// From when on, Unix seconds, by what its receipts say of themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_s: Option<u64>,
    /// Why, as a sentence of at most 200 bytes.
    pub reason: String,
}

/// A revocation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Revocation {
    /// Its place in the log.
    pub index: u64,
    /// Its leaf.
    pub leaf: String,
    /// What is void: the leaf of a receipt, or a key id.
    pub subject: String,
}
