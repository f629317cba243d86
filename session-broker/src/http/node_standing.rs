//! `GET /v1/nodes/{node}/standing`: what a node's receipts come to, why placements pass it over, and what would
//! raise it.

use super::Api;
use super::body::NodePath;
use super::caller::Caller;
use super::placement::excluded_of;
use super::problem::{Refusal, not_found, store_failed};
use crate::access::Permission;
use crate::ledger::VerdictRow;
use crate::verdicts::{Advised, Verdicts, advice};
use axum::Json;
use axum::extract::State;
use nearlight_proof::porc::rank::{DAYS, Gate, Rank};
use nearlight_protocol::id::NodeId;
use nearlight_protocol::problem::Problem;
use nearlight_protocol::standing::{GpuMemory, NodeGate, NodeRank, NodeStanding, NodeVerdict};
use std::sync::Arc;

/// Verdicts that are shown.
const VERDICTS: u32 = 16;

/// How a node stands: its rank and verdicts with their receipts, why the last placements passed it over, and what
/// would raise it.
#[utoipa::path(
    get, path = "/v1/nodes/{node}/standing", tag = "nodes",
    security(("api_key" = []), ("guest" = [])),
    params(("node" = String, Path, description = "The node.")),
    responses(
        (status = 200, body = NodeStanding, description = "How it stands, as this broker knows it."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`not-found`, `unauthenticated`, `too-many-requests`."),
    )
)]
pub(super) async fn show_standing(
    State(api): State<Arc<Api>>,
    caller: Caller,
    NodePath(node): NodePath,
) -> Result<Json<NodeStanding>, Refusal> {
    caller.check(Permission::SeeNodes)?;
    if !api.sessions.directory().knows(&node) {
        return Err(not_found("node"));
    }
    let key = api.node_keys.of(&node).map(|known| known.key_id.clone());
    let keys = keys_of(&api, &node).await?;
    let mut rows = Vec::new();
    for key in &keys {
        let of = api.ledger.verdicts_of(key.clone(), VERDICTS).await;
        rows.extend(of.map_err(|e| store_failed(&e))?);
    }
    rows.sort_by_key(|row| std::cmp::Reverse((row.at_s, row.of.round)));
    rows.truncate(VERDICTS as usize);
    let verdicts: Vec<NodeVerdict> = rows.into_iter().map(verdict).collect();
    let (gate, rank) = gate_of(api.verdicts.as_deref(), (&node, keys.as_slice()));
    let lately = api.sessions.lately(node.clone(), excluded_of).await;
    let counted = api.verdicts.as_ref().map(|verdicts| verdicts.ranks());
    let proven = counted.map(|ranks| ranks.of(&node)).unwrap_or_default();
    let advice = advice(&Advised {
        has_key: key.is_some(),
        gate,
        has_class: !proven.is_unchecked,
        rank,
        verdicts: &verdicts,
        lately: &lately,
        checkers: api.verdicts.as_ref().map_or(0, |verdicts| verdicts.least()),
    });
    Ok(Json(NodeStanding {
        node,
        receipt_key_id: key.unwrap_or_default(),
        gate,
        rank_permille: rank.permille,
        gpu_memory: proven
            .memory
            .iter()
            .flat_map(|of| of.iter())
            .map(memory_of)
            .collect(),
        verdicts,
        lately,
        advice,
    }))
}

impl Api {
    /// How a node stands, in short.
    pub(super) async fn node_rank(&self, node: &NodeId) -> Result<NodeRank, Refusal> {
        let keys = keys_of(self, node).await?;
        let (gate, rank) = gate_of(self.verdicts.as_deref(), (node, keys.as_slice()));
        Ok(NodeRank {
            gate,
            rank_permille: rank.permille,
        })
    }
}

/// The ids of the node's receipt keys of the days that count.
async fn keys_of(api: &Api, node: &NodeId) -> Result<Vec<String>, Refusal> {
    let since_s = (api.clock.unix_ms() / 1000).saturating_sub(DAYS * 24 * 3600);
    let keys = api.ledger.node_keys(since_s).await;
    let keys = keys.map_err(|e| store_failed(&e))?;
    let own = keys.into_iter().filter(|row| row.node == *node);
    Ok(own.map(|row| row.key_id).collect())
}

fn gate_of(verdicts: Option<&Verdicts>, (node, keys): (&NodeId, &[String])) -> (NodeGate, Rank) {
    let counting = verdicts.filter(|verdicts| verdicts.ranks().is_counted());
    let Some(counting) = counting else {
        return (NodeGate::Unchecked, Rank::default());
    };
    let rank = counting.rank_of(keys);
    if counting.ranks().of(node).is_unchecked {
        return (NodeGate::Unchecked, rank);
    }
    let gate = match rank.gate {
        Gate::Unproven => NodeGate::Unproven,
        Gate::Proven => NodeGate::Proven,
        Gate::Failing => NodeGate::Failing,
    };
    (gate, rank)
}

fn memory_of((gpu, proved_mib): (&String, &u32)) -> GpuMemory {
    GpuMemory {
        gpu: gpu.clone(),
        proved_mib: *proved_mib,
    }
}

fn verdict(row: VerdictRow) -> NodeVerdict {
    NodeVerdict {
        round: row.of.round,
        gpu: row.of.gpu,
        state: row.state,
        finding: row.finding,
        score_permille: row.score_permille,
        at_s: row.at_s,
        receipts: row.places,
        liars: row.liars,
    }
}
