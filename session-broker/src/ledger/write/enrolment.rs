//! Join tokens, and what was decided about nodes.

use super::access::won;
use super::volumes;
use crate::ledger::batch::Answers;
use crate::ledger::dialect::Foreign;
use crate::ledger::phase_row::{hex, ms, to_ms};
use crate::ledger::plan::At;
use crate::ledger::tx::Tx;
use crate::ledger::{Applied, CredentialHash, JoinTokenRow, Reclaim, Redeemed, StoreError};
use nearlight_protocol::id::NodeId;
use nearlight_protocol::unit::{MonoTime, UnixMillis};
use serde::Serialize;

const ADD: &str = "
    INSERT INTO join_token (hash, name, region, operator, created_ms, expires_ms)
    SELECT r.hash, r.name, r.region, r.operator, r.created_ms, r.expires_ms
    FROM {rows hash text, name text, region text, operator text, created_ms bigint,
        expires_ms bigint}
    WHERE TRUE ON CONFLICT DO NOTHING";

/// The compare-and-swap: of two that come with one token, the second finds it used.
const REDEEM: &str = "
    UPDATE join_token SET used_ms = r.at, key_hash = r.key_hash, node_id = r.node_id
    FROM {rows hash text, key_hash text, node_id text, at bigint}
    WHERE join_token.hash = r.hash AND join_token.used_ms IS NULL AND join_token.expires_ms > r.at
    RETURNING join_token.hash AS won";

const ENROLLED: &str = "
    INSERT INTO node_standing (node_id, enrolled_ms, operator)
    SELECT r.node_id, r.at, t.operator FROM {rows hash text, node_id text, at bigint}
    JOIN join_token t ON t.hash = r.hash
    WHERE TRUE ON CONFLICT (node_id) DO NOTHING";

/// Of nodes that attached or came in with a token; a slip of the pen shuts nobody out.
const DRAIN: &str = "
    INSERT INTO node_standing (node_id, drained_ms, reclaim_ms, reclaim_of_ms, reclaim_reason)
    SELECT r.node_id, r.drained_ms, r.reclaim_ms, r.drained_ms, r.reason
    FROM {rows node_id text, drained_ms bigint, reclaim_ms bigint, reason text}
    WHERE EXISTS (SELECT 1 FROM node n WHERE n.node_id = r.node_id)
        OR EXISTS (SELECT 1 FROM node_standing s WHERE s.node_id = r.node_id)
    ON CONFLICT (node_id) DO UPDATE SET drained_ms = excluded.drained_ms,
        reclaim_ms = excluded.reclaim_ms, reclaim_of_ms = excluded.reclaim_of_ms,
        reclaim_reason = excluded.reclaim_reason
    RETURNING node_id AS won";

const VET: &str = "
    INSERT INTO node_standing (node_id, vetted_ms)
    SELECT r.node_id, r.vetted_ms FROM {rows node_id text, vetted_ms bigint}
    WHERE EXISTS (SELECT 1 FROM node n WHERE n.node_id = r.node_id)
        OR EXISTS (SELECT 1 FROM node_standing s WHERE s.node_id = r.node_id)
    ON CONFLICT (node_id) DO UPDATE SET vetted_ms = excluded.vetted_ms
    RETURNING node_id AS won";

const REVOKE: &str = "
    INSERT INTO node_standing (node_id, revoked_ms)
    SELECT r.node_id, r.at FROM {rows node_id text, at bigint}
    WHERE EXISTS (SELECT 1 FROM node n WHERE n.node_id = r.node_id)
        OR EXISTS (SELECT 1 FROM node_standing s WHERE s.node_id = r.node_id)
    ON CONFLICT (node_id) DO UPDATE
        SET revoked_ms = COALESCE(node_standing.revoked_ms, excluded.revoked_ms)
    RETURNING node_id AS won";

/// A new join token.
#[derive(Debug, Serialize)]
pub(crate) struct AddToken<'a> {
    hash: String,
    name: Foreign<'a>,
    region: Foreign<'a>,
    operator: Foreign<'a>,
    created_ms: i64,
    expires_ms: i64,
}

impl<'a> AddToken<'a> {
    pub(in crate::ledger) fn new(token: &'a JoinTokenRow) -> Self {
        Self {
            hash: hex(&token.hash),
            name: Foreign(&token.name),
            region: Foreign(&token.region),
            operator: Foreign(&token.operator),
            created_ms: ms(token.created_ms),
            expires_ms: ms(token.expires_ms),
        }
    }
}

pub(crate) async fn add_tokens(tx: &mut Tx, tokens: &[AddToken<'_>]) -> Result<(), StoreError> {
    tx.run(ADD, tokens).await?;
    Ok(())
}

/// Somebody who comes in.
#[derive(Debug, Serialize)]
pub(crate) struct Redeem<'a> {
    hash: String,
    key_hash: String,
    node_id: &'a str,
    at: i64,
}

impl<'a> Redeem<'a> {
    pub(in crate::ledger) fn new(
        hash: &CredentialHash,
        by: &'a Redeemed,
        at_ms: UnixMillis,
    ) -> Self {
        Self {
            hash: hex(hash),
            key_hash: hex(&by.key_hash),
            node_id: by.node.as_str(),
            at: ms(at_ms),
        }
    }
}

pub(crate) async fn redeem(
    tx: &mut Tx,
    redeemed: &[(At, Redeem<'_>)],
    answers: &mut Answers,
) -> Result<(), StoreError> {
    let won = won(tx, REDEEM, redeemed).await?;
    let mut enrolled = Vec::new();
    for (at, redeem) in redeemed {
        if won.contains(&redeem.hash) {
            enrolled.push(redeem);
        } else {
            answers.set(*at, Applied::Missing);
        }
    }
    tx.run(ENROLLED, &enrolled).await?;
    Ok(())
}

/// A node that is drained, or not any more.
#[derive(Debug, Serialize)]
pub(crate) struct Drain<'a> {
    node_id: &'a str,
    drained_ms: Option<i64>,
    reclaim_ms: Option<i64>,
    reason: Foreign<'a>,
}

impl<'a> Drain<'a> {
    pub(in crate::ledger) fn new(
        node: &'a NodeId,
        drained: bool,
        reclaim: Option<&'a Reclaim>,
        at: MonoTime,
    ) -> Self {
        let reclaim = reclaim.filter(|_| drained);
        Self {
            node_id: node.as_str(),
            drained_ms: drained.then(|| to_ms(at)),
            reclaim_ms: reclaim.map(|reclaim| to_ms(reclaim.until)),
            reason: Foreign(reclaim.map_or("", |reclaim| &reclaim.reason)),
        }
    }
}

pub(crate) async fn drain(
    tx: &mut Tx,
    drained: &[(At, Drain<'_>)],
    answers: &mut Answers,
) -> Result<(), StoreError> {
    let won = won(tx, DRAIN, drained).await?;
    for (at, drain) in drained {
        if !won.contains(drain.node_id) {
            answers.set(*at, Applied::Missing);
        }
    }
    Ok(())
}

/// A node that is vetted, or not any more.
#[derive(Debug, Serialize)]
pub(crate) struct Vet<'a> {
    node_id: &'a str,
    vetted_ms: Option<i64>,
}

impl<'a> Vet<'a> {
    pub(in crate::ledger) fn new(node: &'a NodeId, vetted: bool, at: MonoTime) -> Self {
        Self {
            node_id: node.as_str(),
            vetted_ms: vetted.then(|| to_ms(at)),
        }
    }
}

pub(crate) async fn vet(
    tx: &mut Tx,
    vetted: &[(At, Vet<'_>)],
    answers: &mut Answers,
) -> Result<(), StoreError> {
    let won = won(tx, VET, vetted).await?;
    for (at, vet) in vetted {
        if !won.contains(vet.node_id) {
            answers.set(*at, Applied::Missing);
        }
    }
    Ok(())
}

/// A node that is shut out.
#[derive(Debug, Serialize)]
pub(crate) struct Revoke<'a> {
    node_id: &'a str,
    at: i64,
}

impl<'a> Revoke<'a> {
    pub(in crate::ledger) fn new(node: &'a NodeId, at: MonoTime) -> Self {
        Self {
            node_id: node.as_str(),
            at: to_ms(at),
        }
    }
}

pub(crate) async fn revoke(
    tx: &mut Tx,
    revoked: &[(At, Revoke<'_>)],
    answers: &mut Answers,
) -> Result<(), StoreError> {
    let won = won(tx, REVOKE, revoked).await?;
    let nodes = revoked.iter().map(|(_, revoke)| volumes::ShutOut {
        node_id: revoke.node_id,
        at: revoke.at,
    });
    volumes::shut_out(tx, &nodes.collect::<Vec<_>>()).await?;
    for (at, revoke) in revoked {
        if !won.contains(revoke.node_id) {
            answers.set(*at, Applied::Missing);
        }
    }
    Ok(())
}
