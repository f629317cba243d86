//! The first words of a control stream, and what each side can do.

#[cfg(doc)]
use super::{DenyReason, FromEdge, SessionReport};
use crate::id::NodeId;
use serde::{Deserialize, Serialize};

/// The first message of an edge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Oldest version of this wire that the edge speaks.
    pub proto_min: u32,
    /// Newest version of this wire that the edge speaks.
    pub proto_max: u32,
    /// The node. Must be the one in the client certificate.
    pub node: NodeId,
    /// Its build, such as `0.1.0`.
    pub build: String,
    /// Its name for people.
    pub name: String,
    /// Its region.
    pub region: String,
    /// The key that it signs receipts with; none from an older edge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt_key: Option<ReceiptKeyClaim>,
    /// What it can prove, at most [`crate::limits::NODE_GPUS_MAX`]; nothing from an older edge, which proves its CPU.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proves: Vec<Proves>,
}

/// Something that a node can prove: a claim, as long as nobody asks for the proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proves {
    /// Its id, as receipts name it: `cpu`, a GPU's UUID, or where it sits.
    pub gpu: String,
    /// Its model, as its driver says; empty of a CPU.
    pub model: String,
}

impl Proves {
    /// Whether its id and model are such as a receipt takes.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        is_device_id(&self.gpu)
            && self.model.len() <= DEVICE_BYTES_MAX
            && !self.model.contains(|c: char| c.is_control())
    }
}

/// The longest id and the longest model of a device, bytes.
pub const DEVICE_BYTES_MAX: usize = 100;

/// Whether this can be the id of a device: it stands in addresses and in names of duties.
#[must_use]
pub fn is_device_id(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    (1..=DEVICE_BYTES_MAX).contains(&id.len()) && id.bytes().all(plain)
}

/// A node's receipt key, with the proof that it has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptKeyClaim {
    /// The Ed25519 public key, 64 hex digits.
    pub key: String,
    /// Its signature over [`receipt_key_proof`], 128 hex digits.
    pub signature: String,
}

/// What a node signs with its receipt key, so that nobody names another one's as theirs.
#[must_use]
pub fn receipt_key_proof(node: &NodeId) -> Vec<u8> {
    format!("nearlight node key v1\n{node}\n").into_bytes()
}

/// The broker takes the edge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The version to speak.
    pub proto: u32,
    /// Seconds between heartbeats.
    pub heartbeat_s: u32,
    /// Seconds: shortest wait before a reconnect.
    pub backoff_min_s: u32,
    /// Seconds: longest wait before a reconnect.
    pub backoff_max_s: u32,
    /// Seconds for which an edge keeps its sessions with no broker at all.
    pub grace_s: u32,
    /// The Ed25519 keys that sign grants and tickets, as a JWK set (RFC 7517, RFC 8037).
    pub jwks: serde_json::Value,
    /// What this broker can do beside the version's messages; an edge ignores what it does not know.
    #[serde(default)]
    pub features: Vec<String>,
}

/// In [`Welcome::features`]: the broker understands [`DenyReason::NodeFault`].
pub const FAULT_FEATURE: &str = "node-fault";

/// In [`Welcome::features`]: the broker understands [`SessionReport::Used`].
pub const USED_FEATURE: &str = "session-used";

/// In [`Welcome::features`]: the broker takes [`FromEdge::RunningPart`].
pub const RUNNING_PARTS_FEATURE: &str = "running-parts";

/// The broker makes receipts of sessions: it hears [`FromEdge::Measured`] and [`FromEdge::Countersigned`].
pub const QUALITY_FEATURE: &str = "session-quality";
