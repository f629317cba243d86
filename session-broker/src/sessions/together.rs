//! Placing a cluster: the claims of all its replicas, in one transaction, or none.
//!
//! The session that waits is the first replica's. Those of the others are made with their claims, so no
//! replica is ever there, or holds anything, without all others.
//!
//! A broker that shares its ledger places a cluster on one node: the nodes of one engine may attach to
//! different brokers, and a cluster that two of them hold has no one who decides.

use super::entry::Entry;
use super::owner::Owner;
use super::placing::{NotPlaced, outbox_of};
use super::turn::{Then, Turn};
use super::{Placement, request_for_job};
use crate::fleet::Link;
use crate::ledger::{Applied, Op, OutboxRow, Reserve, ReserveCluster, SessionRow};
use nearlight_placement::{NodeView, SessionRequest, TooFew, Why, has_room_beside, together};
use nearlight_protocol::id::{NodeId, SessionId};
use nearlight_protocol::job::JobSpec;
use nearlight_protocol::region::PlacedIn;
use nearlight_protocol::unit::MonoTime;
use nearlight_protocol::work::{Replica, Work};
use nearlight_session::Claim;
use std::collections::{BTreeMap, BTreeSet};

/// Clusters that are looked for places in one turn: each look is at every node.
const LOOKS_MAX: u32 = 8;

/// What is to follow if the ledger makes the claims of a cluster, or not.
#[derive(Debug)]
pub(super) struct Claimed {
    /// Of each replica, in their order: its claim, and its order, yet without its number.
    replicas: Vec<(Claim, OutboxRow)>,
    /// The sessions of all but the first.
    members: Vec<SessionRow>,
    run: u32,
    placement: Placement,
}

impl Owner {
    /// Claims a slot for each replica of a cluster that waits, or says why not.
    pub(super) fn place_cluster(
        &mut self,
        row: &SessionRow,
        hint: Option<&NodeId>,
        now: MonoTime,
        turn: &mut Turn,
    ) -> Result<(), NotPlaced> {
        let Some(spec) = row.work.job() else {
            return Err(NotPlaced::NoSlot);
        };
        turn.looks += 1;
        let is_left = self.has_members_left(&row.id) || self.is_being_stopped(row);
        if turn.looks > LOOKS_MAX || is_left {
            return Err(NotPlaced::NoSlot);
        }
        let waited_ms = now.millis_since(row.created_at);
        let request = request_for_job(
            row,
            spec,
            self.price_cap(spec),
            waited_ms,
            self.apps.ahead(),
        );
        let request = self.told(row, request);
        let nodes = self.find_site(&request, spec.replicas(), hint)?;
        let run = row.replica.as_ref().map_or(0, |replica| replica.run + 1);
        let rows = self.replica_rows(row, spec, run, now);
        let mut rows = rows.ok_or(NotPlaced::NoSlot)?;
        let claims = self.slots_of(&nodes, now).ok_or(NotPlaced::NoSlot)?;
        let mut reserves: Vec<Reserve> = Vec::new();
        for (row, claim) in rows.iter_mut().zip(claims) {
            let Some(reserve) = self.reserve(row, &claim, (&request, Vec::new()), now) else {
                for taken in &reserves {
                    self.fleet.release(&taken.claim, &taken.session, now);
                }
                return Err(NotPlaced::NoSlot);
            };
            row.phase = reserve.phase.clone();
            row.node = Some(claim.node);
            reserves.push(reserve);
        }
        let members = rows.split_off(1);
        let replicas = reserves.iter();
        let claimed = Claimed {
            replicas: replicas
                .map(|reserve| (reserve.claim.clone(), outbox_of(reserve)))
                .collect(),
            members: members.clone(),
            run,
            placement: self.placed_together(&nodes[0], &request),
        };
        let reserve = ReserveCluster {
            reserves,
            members,
            run,
        };
        let then = Then::ClaimedTogether(Box::new(claimed));
        turn.push(Op::ReserveCluster(Box::new(reserve)), then);
        Ok(())
    }

    /// Whether a node that is back still stops the first replica of a former run: it would refuse another.
    fn is_being_stopped(&self, row: &SessionRow) -> bool {
        row.replica.is_some()
            && self.fleet.iter().any(|node| {
                let mut orders = node.outbox.values();
                let is_its = |order: &OutboxRow| order.session == row.id && !order.is_start();
                matches!(node.link, Link::Online(_)) && orders.any(is_its)
            })
    }

    /// A node for each replica, all of one site and held here.
    fn find_site(
        &self,
        request: &SessionRequest,
        replicas: u32,
        hint: Option<&NodeId>,
    ) -> Result<Vec<(NodeId, Why)>, NotPlaced> {
        let mut views: Vec<NodeView> = self.fleet.views().collect();
        if self.sharing.is_some() {
            for jobs in views.iter_mut().filter_map(|view| view.jobs.as_mut()) {
                jobs.engine.clear();
            }
        }
        let policy = &self.policy_chosen;
        let hinted = views.iter().filter(|view| Some(&view.id) == hint);
        let hinted = hint.and_then(|_| together(hinted, request, policy, replicas).ok());
        let mut lack =
            match hinted.map_or_else(|| together(views.iter(), request, policy, replicas), Ok) {
                Ok(found) => return Ok(found.nodes),
                Err(lack) => lack,
            };
        for (holder, views) in self.fleet.remote_views() {
            match self.find_elsewhere(&views, request, replicas) {
                Ok(node) => return Err(NotPlaced::Elsewhere { holder, node }),
                Err(there) => lack = both(lack, there),
            }
        }
        crate::metrics::place_rejected(&lack.rejection);
        Err(NotPlaced::TooFew(lack))
    }

    /// A node of another broker that has room for all.
    fn find_elsewhere(
        &self,
        views: &[NodeView],
        request: &SessionRequest,
        replicas: u32,
    ) -> Result<NodeId, TooFew> {
        let apart: Vec<NodeView> = views.iter().cloned().map(apart).collect();
        let found = together(apart.iter(), request, &self.policy_chosen, replicas)?;
        Ok(found.nodes[0].0.clone())
    }

    /// Whether a site has room for all of a cluster at some time, beside the nodes that refused it.
    pub(super) fn has_another_site(&self, request: &SessionRequest, replicas: u32) -> bool {
        let views = self.fleet.views();
        let views: Vec<NodeView> = match self.sharing {
            None => views.collect(),
            Some(_) => {
                let remote = self.fleet.remote_views().into_values().flatten();
                views.chain(remote).map(apart).collect()
            }
        };
        has_room_beside(views.iter(), request, &self.policy_chosen, replicas)
    }

    /// A free slot for each, none twice.
    fn slots_of(&self, nodes: &[(NodeId, Why)], now: MonoTime) -> Option<Vec<Claim>> {
        let mut free: BTreeMap<&NodeId, Vec<Claim>> = BTreeMap::new();
        let claims = nodes.iter().map(|(node, _)| {
            let slots = free.entry(node).or_insert_with(|| {
                let mut slots = self.fleet.slots_to_claim(node, now);
                slots.reverse();
                slots
            });
            slots.pop()
        });
        claims.collect()
    }

    /// The rows of all replicas, the first one's first. `None` if its secrets cannot be sealed again.
    fn replica_rows(
        &self,
        row: &SessionRow,
        spec: &JobSpec,
        run: u32,
        now: MonoTime,
    ) -> Option<Vec<SessionRow>> {
        let of_node = self.for_node(row)?;
        let rows = (0..spec.replicas()).map(|rank| {
            let replica = Replica {
                cluster: row.id.clone(),
                run,
                rank,
                of: spec.replicas(),
            };
            let mut of_rank = SessionRow {
                replica: Some(replica),
                ..row.clone()
            };
            if rank > 0 {
                of_rank.id = nearlight_kit::ids::session();
                of_rank.work = Work::Job(Box::new(spec.of_replica(rank)));
                of_rank.created_at = now;
                of_rank.starts_denied = 0;
                of_rank.sealed = match of_node.is_empty() {
                    true => None,
                    false => Some(self.sealer.seal(&of_rank.id, &of_node).ok()?),
                };
            }
            Some(of_rank)
        });
        rows.collect()
    }

    fn placed_together(&self, (node, why): &(NodeId, Why), request: &SessionRequest) -> Placement {
        let region = self.fleet.get(node).map(|known| known.row.region.clone());
        Placement::Placed {
            node: node.clone(),
            why: *why,
            waited_ms: request.waited_ms,
            placed_in: Box::new(PlacedIn {
                chosen: false,
                rtt_ms: why.rtt_ms,
                rtt_from: None,
                step: None,
                region: region.unwrap_or_default(),
            }),
        }
    }

    /// The ledger holds the claims of all, or of none.
    pub(super) async fn claimed_together(
        &mut self,
        applied: Applied,
        claimed: Claimed,
        now: MonoTime,
        touched: &mut BTreeSet<SessionId>,
    ) {
        let Claimed {
            replicas,
            members,
            run,
            placement,
        } = claimed;
        let Some((head, of)) = replicas
            .first()
            .map(|(_, order)| (order.session.clone(), replicas.len()))
        else {
            return;
        };
        touched.insert(head.clone());
        let Applied::OrderedAll { commands } = applied else {
            crate::metrics::race_lost();
            tracing::debug!(session_id = %head, "race lost for a cluster");
            let nodes: BTreeSet<NodeId> = replicas.into_iter().map(|(c, _)| c.node).collect();
            for node in nodes {
                self.read_back(&node).await;
            }
            self.lost_its_claim(&head, now).await;
            return;
        };
        let node = &replicas[0].0.node;
        tracing::info!(session_id = %head, replicas = of, run, node_id = %node, "cluster placed");
        if let Some(entry) = self.sessions.get_mut(&head) {
            entry.row.replica = Some(Replica {
                cluster: head.clone(),
                run,
                rank: 0,
                of: u32::try_from(of).unwrap_or(u32::MAX),
            });
            entry.said_ready = false;
            let life = &entry.life;
            let limits = self.times.limits(&entry.row);
            entry.life = nearlight_session::Lifecycle::restore(
                limits,
                life.phase().clone(),
                life.starts_denied(),
            );
        }
        for row in members {
            let entry = Entry::new(row.clone(), self.times.limits(&row));
            let phase = entry.life.phase().clone();
            self.clusters.add(&row);
            self.directory.show(row.id.clone(), entry.for_readers());
            self.sessions.insert(row.id.clone(), Box::new(entry));
            self.note(&row.id, &phase, now);
        }
        let mut orders = replicas.into_iter().zip(commands);
        if let Some(((claim, order), command)) = orders.next() {
            let order = OutboxRow { command, ..order };
            self.claimed(&head, (claim, placement), order, now);
        }
        for ((_, order), command) in orders {
            self.give(OutboxRow { command, ..order }, now);
        }
    }
}

/// A node as a site of its own.
fn apart(mut view: NodeView) -> NodeView {
    if let Some(jobs) = view.jobs.as_mut() {
        jobs.engine.clear();
    }
    view
}

/// What two brokers' nodes lack.
fn both(one: TooFew, two: TooFew) -> TooFew {
    let mut rejection = one.rejection;
    for (reason, nodes) in two.rejection.reasons {
        *rejection.reasons.entry(reason).or_default() += nodes;
    }
    TooFew {
        replicas: one.replicas,
        best: one.best.max(two.best),
        most: one.most.max(two.most),
        rejection,
    }
}
