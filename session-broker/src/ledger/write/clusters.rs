//! Clusters: the claims of all replicas, or none.
//!
//! One by one, each wholly or not at all, like sessions that come back: clusters are few. What was taken of
//! one that loses a race, be it its last slot, is undone, and the others of the transaction stand.
//!
//! **Invariant.** I7: a cluster has a live claim for each of its replicas, or none was made; and none of a run
//! while one of an earlier run is live. The broker that has the first replica may not have the others any more:
//! their node may have attached to another one, which still stops them.

use super::claims::{self, Wanted};
use super::orders;
use super::sessions::{self, Create, New};
use crate::ledger::batch::Answers;
use crate::ledger::plan::At;
use crate::ledger::share::BrokerId;
use crate::ledger::tx::Tx;
use crate::ledger::{Applied, Idempotency, Reserve, ReserveCluster, StoreError};
use serde::Serialize;
use sqlx::Row;
use std::collections::HashMap;

/// The row of the first replica stays from run to run.
const ADD: &str = "
    INSERT INTO cluster_replica (session_id, cluster_id, cluster_run, cluster_rank)
    SELECT r.session_id, r.cluster_id, r.cluster_run, r.cluster_rank
    FROM {rows session_id text, cluster_id text, cluster_run bigint, cluster_rank bigint}
    WHERE TRUE ON CONFLICT (session_id) DO UPDATE SET cluster_run = excluded.cluster_run";

/// Whether something of a cluster has a claim: each run's replicas but the first are sessions of their own.
const IS_LEFT: &str = "
    SELECT r.cluster_id FROM {rows cluster_id text} WHERE EXISTS (
        SELECT 1 FROM cluster_replica AS replica JOIN claim ON claim.session_id = replica.session_id
        WHERE replica.cluster_id = r.cluster_id AND claim.released_ms IS NULL)";

#[derive(Debug, Serialize)]
struct Cluster<'a> {
    cluster_id: &'a str,
}

#[derive(Debug, Serialize)]
struct Replica<'a> {
    session_id: &'a str,
    cluster_id: &'a str,
    cluster_run: u32,
    cluster_rank: u32,
}

/// Makes the claims of each cluster, as `me`.
pub(crate) async fn reserve(
    tx: &mut Tx,
    me: &BrokerId,
    clusters: &[(At, &ReserveCluster)],
    answers: &mut Answers,
) -> Result<(), StoreError> {
    for (at, cluster) in clusters {
        tx.mark().await?;
        let applied = match claimed(tx, me, *at, cluster).await? {
            Some(commands) => Applied::OrderedAll { commands },
            None => {
                tx.undo().await?;
                Applied::RaceLost
            }
        };
        answers.set(*at, applied);
    }
    Ok(())
}

/// The numbers of their orders, or `None` if something is not what it was: then what was written is to be
/// undone.
async fn claimed(
    tx: &mut Tx,
    me: &BrokerId,
    at: At,
    cluster: &ReserveCluster,
) -> Result<Option<Vec<u64>>, StoreError> {
    let cluster_id = cluster.reserves[0].session.as_str();
    if !tx.ask(IS_LEFT, &[Cluster { cluster_id }]).await?.is_empty() {
        return Ok(None);
    }
    // Nobody asks for a member again: no key is written.
    let no_key = Idempotency {
        key: String::new(),
        body_hash: [0; 32],
    };
    let creates = cluster
        .members
        .iter()
        .map(|row| Create::new(row, &no_key, [None, None], me))
        .collect::<Result<Vec<_>, _>>()?;
    let of_session: HashMap<_, _> = cluster
        .members
        .iter()
        .map(|m| &m.id)
        .zip(&creates)
        .collect();
    // In the order of slots, as everybody takes them.
    let mut reserves: Vec<&Reserve> = cluster.reserves.iter().collect();
    reserves.sort_unstable_by(|a, b| a.claim.slot.cmp(&b.claim.slot));
    let wanted = reserves.into_iter().map(|reserve| {
        let create = of_session.get(&reserve.session).copied();
        Wanted::new(at, reserve, create, me)
    });
    let wanted = wanted.collect::<Result<Vec<_>, _>>()?;
    if !claims::take_all(tx, wanted).await? {
        return Ok(None);
    }
    let placed = cluster.reserves.iter().filter_map(|reserve| {
        let create = of_session.get(&reserve.session)?;
        Some(New::placed(create, &reserve.phase, reserve.at))
    });
    let placed = placed.collect::<Result<Vec<_>, _>>()?;
    sessions::insert(tx, &placed).await?;
    let replicas = cluster.reserves.iter().zip(0..);
    let replicas: Vec<Replica<'_>> = replicas
        .map(|(reserve, rank)| Replica {
            session_id: reserve.session.as_str(),
            cluster_id,
            cluster_run: cluster.run,
            cluster_rank: rank,
        })
        .collect();
    tx.run(ADD, &replicas).await?;
    order(tx, cluster).await.map(Some)
}

/// Puts the orders to start into the outbox. Their numbers are in the order of the replicas.
async fn order(tx: &mut Tx, cluster: &ReserveCluster) -> Result<Vec<u64>, StoreError> {
    let mut commands = Vec::new();
    for reserve in &cluster.reserves {
        let (session, claim) = (&reserve.session, &reserve.claim);
        let order = (&reserve.order, reserve.at);
        let push = orders::Push::new(session, &claim.node, claim.epoch, order.0, order.1)?;
        let rows = orders::put(tx, &[&push]).await?;
        let row = rows
            .first()
            .ok_or_else(|| StoreError::Corrupt("an order has no number".to_owned()))?;
        commands.push(orders::number(row.get("command_id"))?);
    }
    Ok(commands)
}
