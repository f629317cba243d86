//! `GET /v1/nodes/{node}/standing`: what a node's receipts come to, and what it lacks.

use crate::id::NodeId;
use crate::placement::Excluded;
use serde::{Deserialize, Serialize};

/// How a node stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NodeStanding {
    /// The node.
    #[schema(value_type = String)]
    pub node: NodeId,
    /// The id of the key that its receipts name it by; empty while it has told none.
    pub receipt_key_id: String,
    /// What its receipts open to it.
    pub gate: NodeGate,
    /// Its rank, thousandths (docs/proof.md has the formula).
    pub rank_permille: u32,
    /// How much memory of its GPUs receipts stand for: nothing that asks for more is placed on them. Of a GPU that is not
    /// here what its driver says counts.
    #[serde(default)]
    pub gpu_memory: Vec<GpuMemory>,
    /// Its last verdicts, newest first.
    pub verdicts: Vec<NodeVerdict>,
    /// What became of the last placements that this broker made.
    pub lately: Lately,
    /// What would raise it, as sentences; none if nothing does.
    pub advice: Vec<String>,
}

/// How much memory of a GPU receipts stand for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct GpuMemory {
    /// The GPU, by its own id.
    pub gpu: String,
    /// MiB: what a check had filled, which is 85 % of it.
    pub proved_mib: u32,
}

/// How a node stands, in short.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema,
)]
pub struct NodeRank {
    /// What its receipts open to it.
    pub gate: NodeGate,
    /// Its rank, thousandths (docs/proof.md has the formula).
    pub rank_permille: u32,
}

/// What a node's receipts open to it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum NodeGate {
    /// Too few checkers are there: nobody's rank helps or harms.
    Unchecked,
    /// No verdict that counts says that it passed: it takes few sessions at a time.
    Unproven,
    /// It passed.
    Proven,
    /// It failed, not for the first time: it takes no more sessions until it passes.
    Failing,
}

/// What a round of checks came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NodeVerdict {
    /// Round of the beacon.
    pub round: u64,
    /// The GPU, by its own id.
    pub gpu: String,
    /// `open` (too few said something certain), `passed`, `failed`, `split` (they contradict each other) or
    /// `settled` (a referee has decided).
    pub state: String,
    /// What counts: `pass`, `fail`, or `inconclusive`.
    pub finding: String,
    /// Thousandths of the reference.
    pub score_permille: u32,
    /// When the newest of its receipts was issued, Unix seconds.
    pub at_s: u64,
    /// Its receipts, by their places in the log.
    pub receipts: Vec<u64>,
    /// The keys whose word was refuted.
    pub liars: Vec<String>,
}

/// What became of the last placements, as the node is now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Lately {
    /// How many are looked at.
    pub placements: u32,
    /// How many came here.
    pub here: u32,
    /// Those that it could not run, by the first reason.
    pub excluded: Vec<Excluded>,
    /// Those that went to a node with fewer points, by the part of the score in which it was farthest behind.
    pub behind: Vec<Behind>,
}

/// Placements that another node was better for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Behind {
    /// The part of the score: `rtt`, `image`, `desktop`, `gpu`, `load`, `uplink`, `receipts`, `price` or `spread`;
    /// `chance` among equals.
    pub part: String,
    /// How many they are.
    pub placements: u32,
}
