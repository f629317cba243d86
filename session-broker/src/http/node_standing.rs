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
use nearlight_proof::porc::rank::{Gate, Rank};
use nearlight_protocol::id::NodeId;
use nearlight_protocol::problem::Problem;
use nearlight_protocol::standing::{NodeGate, NodeRank, NodeStanding, NodeVerdict};
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
    let key = key_of(&api, &node).await?;
    let rows = match &key {
        Some(key) => api.ledger.verdicts_of(key.clone(), VERDICTS).await,
        None => Ok(Vec::new()),
    };
    let rows = rows.map_err(|e| store_failed(&e))?;
    let verdicts: Vec<NodeVerdict> = rows.into_iter().map(verdict).collect();
    let (gate, rank) = gate_of(api.verdicts.as_deref(), key.as_deref());
    let lately = api.sessions.lately(node.clone(), excluded_of).await;
    let advice = advice(&Advised {
        has_key: key.is_some(),
        gate,
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
        verdicts,
        lately,
        advice,
    }))
}

impl Api {
    /// How a node stands, in short.
    pub(super) async fn node_rank(&self, node: &NodeId) -> Result<NodeRank, Refusal> {
        let key = key_of(self, node).await?;
        let (gate, rank) = gate_of(self.verdicts.as_deref(), key.as_deref());
        Ok(NodeRank {
            gate,
            rank_permille: rank.permille,
        })
    }
}

/// The id of the node's receipt key.
async fn key_of(api: &Api, node: &NodeId) -> Result<Option<String>, Refusal> {
    let now_s = api.clock.unix_ms() / 1000;
    let keys = api.ledger.node_keys(now_s).await;
    let keys = keys.map_err(|e| store_failed(&e))?;
    let own = keys.into_iter().find(|row| row.node == *node);
    Ok(own.map(|row| row.key_id))
}

fn gate_of(verdicts: Option<&Verdicts>, key: Option<&str>) -> (NodeGate, Rank) {
    let counting = verdicts.filter(|verdicts| verdicts.ranks().is_counted());
    let Some(counting) = counting else {
        return (NodeGate::Unchecked, Rank::default());
    };
    let rank = key.map_or_else(Rank::default, |key| counting.rank_of(key));
    let gate = match rank.gate {
        Gate::Unproven => NodeGate::Unproven,
        Gate::Proven => NodeGate::Proven,
        Gate::Failing => NodeGate::Failing,
    };
    (gate, rank)
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
