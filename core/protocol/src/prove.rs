//! What a checker asks of a node, by way of its broker: `POST /v1/probes`, and the steps of a probe.
//!
//! The steps themselves are bytes that only checker and node understand (core/proof, `porc::exchange`).

use crate::id::NodeId;
use crate::unit::U64;
use serde::{Deserialize, Serialize};

/// Where a node says what it can prove, on a probe's tunnel.
pub const OFFER: &str = "offer";

/// What a node can prove.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ProverOffer {
    /// The key that it signs with: Ed25519, 64 hex digits.
    pub receipt_key: String,
    /// What it has, by its own ids: `cpu`, or the UUIDs of GPUs.
    pub gpus: Vec<String>,
    /// Memory that a probe of it may take, MiB.
    #[schema(value_type = String)]
    pub mem_mib: U64,
    /// Work that a probe may be, in multiplications or about as much.
    #[schema(value_type = String)]
    pub work: U64,
    /// Memory that the GPU has, MiB, as its driver says; none of a CPU, nor where no driver says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card_mib: Option<u32>,
    /// Whether it would refuse at this moment: a session has what is to be probed, or another probe has.
    pub busy: bool,
}

/// The body of `POST /v1/probes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateProbe {
    /// The node to probe.
    #[schema(value_type = String)]
    pub node: NodeId,
    /// Which of the node's GPUs, by its own id; the first that it proves without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<String>,
}

/// A probe that can begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NewProbe {
    /// Its id: in the address of its steps, and in what is signed.
    pub id: String,
    /// The node.
    #[schema(value_type = String)]
    pub node: NodeId,
    /// What the node says that it can prove.
    pub offer: ProverOffer,
    /// Whether the broker knows of sessions on the node: then it may refuse, otherwise it has no reason to.
    pub has_sessions: bool,
}

/// Header of a refusal that is the node's own, in its words: without it the broker refuses.
pub const SAID_BY: &str = "nearlight-said-by";
/// Its value.
pub const SAID_BY_NODE: &str = "node";
