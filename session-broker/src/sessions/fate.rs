//! The one fate of a cluster's replicas, carried out: [`nearlight_session::cluster`] decides.
//!
//! Whatever moves a replica marks its cluster, and before a turn is committed each marked cluster is
//! settled: so what follows for the others is in the same transaction. After a start, and whenever the
//! ledger is read again, every cluster is marked.
//!
//! **Invariants.** A cluster's first replica is ready only once its node has said so and all others are. A
//! failure of it that is to be followed by another run never ends its session. A replica whose first one is
//! held by nobody here ends after [`ALONE_MS`].

use super::owner::Owner;
use super::turn::Turn;
use crate::ledger::SessionRow;
use nearlight_protocol::api::{ClusterMember, EndReason};
use nearlight_protocol::id::SessionId;
use nearlight_protocol::unit::MonoTime;
use nearlight_session::cluster::{Rules, Standing, Step, is_failure, settle};
use nearlight_session::lifecycle::{Event, Ignored, Link, Outcome, Phase, Presence};
use std::collections::{BTreeMap, BTreeSet};

/// How long a replica is kept without its first one, milliseconds: the nodes of a broker that is gone come
/// one by one.
const ALONE_MS: u64 = 30_000;

/// Which replicas clusters have, beside the first.
#[derive(Debug, Default)]
pub(super) struct Clusters {
    members: BTreeMap<SessionId, BTreeSet<SessionId>>,
    /// Clusters of which a replica has moved.
    marked: BTreeSet<SessionId>,
    /// Those without their first replica here, and since when.
    headless: BTreeMap<SessionId, MonoTime>,
}

impl Clusters {
    /// A session is here; if it is a replica, it is known as one from now on.
    pub(super) fn add(&mut self, row: &SessionRow) {
        let Some(replica) = &row.replica else { return };
        self.marked.insert(replica.cluster.clone());
        if replica.rank > 0 {
            let members = self.members.entry(replica.cluster.clone()).or_default();
            members.insert(row.id.clone());
        }
    }
}

impl Owner {
    /// The cluster that a session is a replica of, beside the first.
    pub(super) fn cluster_of(&self, id: &SessionId) -> Option<SessionId> {
        let row = &self.sessions.get(id)?.row;
        let replica = row.replica.as_ref().filter(|_| row.is_member())?;
        let cluster = &replica.cluster;
        self.sessions.contains_key(cluster).then(|| cluster.clone())
    }

    /// Whether replicas of an earlier run are not over.
    pub(super) fn has_members_left(&self, cluster: &SessionId) -> bool {
        let members = self.clusters.members.get(cluster).into_iter().flatten();
        let mut entries = members.filter_map(|id| self.sessions.get(id));
        entries.any(|entry| !matches!(entry.life.phase(), Phase::Ended { .. }))
    }

    /// A replica has moved.
    pub(super) fn mark_cluster(&mut self, id: &SessionId) {
        let replica = self.sessions.get(id).and_then(|e| e.row.replica.as_ref());
        if let Some(replica) = replica {
            let cluster = replica.cluster.clone();
            self.clusters.marked.insert(cluster);
        }
    }

    /// What an event is to a replica. `Err`: it is heard, and nothing follows yet.
    pub(super) fn as_replica(
        &mut self,
        id: &SessionId,
        event: Event,
        now: MonoTime,
        turn: &mut Turn,
    ) -> Result<Event, Outcome> {
        let Some(entry) = self.sessions.get(id) else {
            return Ok(event);
        };
        let Some(replica) = entry.row.replica.clone() else {
            return Ok(event);
        };
        if replica.rank > 0 {
            return Ok(match event {
                // It waits for nobody: all try again.
                Event::StartDenied { epoch, detail } => Event::NodeEnded {
                    epoch,
                    reason: EndReason::ClusterEnded,
                    detail,
                },
                event => event,
            });
        }
        let rules = self.rules_of(id);
        match event {
            Event::NodeReady { epoch } if !self.others_are_ready(id) => {
                let is_its = entry.life.held().is_some_and(|h| h.claim.epoch == epoch);
                self.say_ready(id, is_its);
                Err(Outcome::Ignored(Ignored::NotDue))
            }
            Event::NodeBack {
                presence: Presence::Running { attached, ready },
            } if ready && !self.others_are_ready(id) => {
                self.say_ready(id, true);
                let is_ready = matches!(Standing::of(&self.sessions[id].life), Standing::Ready);
                Ok(Event::NodeBack {
                    presence: Presence::Running {
                        attached,
                        ready: is_ready,
                    },
                })
            }
            Event::NodeEnded {
                epoch,
                reason,
                detail,
            } if rules.is_some_and(|rules| rules.restarts) && is_failure(reason) => {
                tracing::info!(session_id = %id, ?reason, detail, "replica 0 failed; all run again");
                Ok(Event::NodeEnded {
                    epoch,
                    reason: EndReason::ClusterEnded,
                    detail,
                })
            }
            Event::Tick | Event::NodeBack { .. }
                if rules.is_some_and(|rules| rules.restarts)
                    && (self.is_lost(id, &event, now) || self.is_taken_back(id, &event, now)) =>
            {
                let reason = EndReason::ClusterEnded;
                self.drive_alone(id, Event::EndRequested { reason }, now, turn);
                Ok(event)
            }
            event => Ok(event),
        }
    }

    fn rules_of(&self, cluster: &SessionId) -> Option<Rules> {
        let entry = self.sessions.get(cluster)?;
        let run = entry.row.replica.as_ref().map_or(0, |replica| replica.run);
        let denied = entry.life.starts_denied();
        Some(Rules::of(entry.row.work.job()?, run, denied))
    }

    fn say_ready(&mut self, id: &SessionId, is_its: bool) {
        if let Some(entry) = self.sessions.get_mut(id).filter(|_| is_its) {
            entry.said_ready = true;
        }
        self.mark_cluster(id);
    }

    /// Whether an event says that the node of a session has lost it.
    fn is_lost(&self, id: &SessionId, event: &Event, now: MonoTime) -> bool {
        let Some(entry) = self.sessions.get(id) else {
            return false;
        };
        if !matches!(
            Standing::of(&entry.life),
            Standing::Starting | Standing::Ready
        ) {
            return false;
        }
        match (event, entry.life.held().map(|held| held.link)) {
            (Event::Tick, Some(Link::Lost { since })) => {
                let grace_ms = self.times.limits(&entry.row).node_grace_ms;
                since.plus_millis(grace_ms) <= now
            }
            (Event::NodeBack { presence }, _) => {
                *presence == Presence::Absent
                    && !matches!(entry.life.phase(), Phase::Placing { .. })
            }
            _ => false,
        }
    }

    /// Whether an event says that the node of a session takes its capacity back.
    fn is_taken_back(&self, id: &SessionId, event: &Event, now: MonoTime) -> bool {
        let life = self.sessions.get(id).map(|entry| &entry.life);
        let is_due = |life: &nearlight_session::Lifecycle| {
            Standing::of(life).lives() && life.reclaim_at().is_some_and(|at| at <= now)
        };
        *event == Event::Tick && life.is_some_and(is_due)
    }

    /// How the other replicas of the first one's run stand. One that is not here any more is over for long.
    fn standings_of(&self, cluster: &SessionId) -> Vec<(u32, SessionId, Standing)> {
        let run = self
            .sessions
            .get(cluster)
            .and_then(|head| head.row.replica.as_ref());
        let run = run.map_or(0, |replica| replica.run);
        let members = self.clusters.members.get(cluster).into_iter().flatten();
        let standings = members.filter_map(|id| {
            let entry = self.sessions.get(id)?;
            let replica = entry.row.replica.as_ref()?;
            let standing = Standing::of(&entry.life);
            (replica.run == run).then(|| (replica.rank, id.clone(), standing))
        });
        let mut standings: Vec<_> = standings.collect();
        standings.sort_unstable_by_key(|(rank, ..)| *rank);
        standings
    }

    /// Shows clusters of which any of these sessions is a replica as their replicas stand now, each of them
    /// published before.
    pub(super) fn show_members(&mut self, moved: &BTreeSet<SessionId>) {
        let replicas = moved.iter().filter_map(|id| self.sessions.get(id));
        let clusters = replicas.filter_map(|entry| entry.row.replica.as_ref());
        let clusters: BTreeSet<SessionId> = clusters.map(|of| of.cluster.clone()).collect();
        for cluster in clusters {
            let members = self.members_of(&cluster);
            if let Some(head) = self.sessions.get_mut(&cluster) {
                head.members = members;
                head.publish();
            }
        }
    }

    /// The replicas of a cluster's run, the first with them; none of one that waits.
    fn members_of(&self, cluster: &SessionId) -> Vec<ClusterMember> {
        let head = self.sessions.get(cluster);
        let Some(head) = head.filter(|head| Standing::of(&head.life) != Standing::Waits) else {
            return Vec::new();
        };
        let others = self.standings_of(cluster).into_iter();
        let others = others.filter_map(|(rank, id, _)| Some((rank, self.sessions.get(&id)?)));
        let all = std::iter::once((0, head)).chain(others);
        all.map(|(replica, entry)| {
            let shown = entry.shown();
            ClusterMember {
                replica,
                session: shown.id,
                node: shown.node,
                state: shown.state,
            }
        })
        .collect()
    }

    /// The sessions that share the fate of this one: all replicas of its cluster's run, or it alone.
    pub(super) fn with_its_cluster(&self, id: &SessionId) -> Vec<SessionId> {
        let replica = self.sessions.get(id).and_then(|e| e.row.replica.as_ref());
        let Some(cluster) = replica.map(|replica| replica.cluster.clone()) else {
            return vec![id.clone()];
        };
        let others = self.standings_of(&cluster).into_iter();
        let others = others.map(|(_, id, _)| id);
        std::iter::once(cluster.clone()).chain(others).collect()
    }

    fn others_are_ready(&self, cluster: &SessionId) -> bool {
        let standings = self.standings_of(cluster);
        standings.iter().all(|(.., standing)| {
            matches!(
                standing,
                Standing::Ready | Standing::Over(EndReason::JobDone)
            )
        })
    }

    /// Has every replica share the fate of what has moved, in this turn.
    pub(super) fn settle_clusters(&mut self, now: MonoTime, turn: &mut Turn) {
        while let Some(cluster) = self.clusters.marked.pop_first() {
            if let Some(members) = self.clusters.members.get_mut(&cluster) {
                members.retain(|id| self.sessions.contains_key(id));
                if members.is_empty() {
                    self.clusters.members.remove(&cluster);
                }
            }
            let Some(head) = self.sessions.get(&cluster) else {
                if self.clusters.members.contains_key(&cluster) {
                    self.clusters.headless.entry(cluster).or_insert(now);
                }
                continue;
            };
            self.clusters.headless.remove(&cluster);
            let (standing, said_ready) = (Standing::of(&head.life), head.said_ready);
            let Some(rules) = self.rules_of(&cluster) else {
                continue;
            };
            let others = self.standings_of(&cluster);
            let ranks: Vec<_> = others.iter().map(|(rank, _, of)| (*rank, *of)).collect();
            for step in settle(standing, said_ready, &ranks, rules) {
                self.take_step(&cluster, step, &others, now, turn);
            }
        }
    }

    fn take_step(
        &mut self,
        cluster: &SessionId,
        step: Step,
        others: &[(u32, SessionId, Standing)],
        now: MonoTime,
        turn: &mut Turn,
    ) {
        let end = |reason| Event::EndRequested { reason };
        match step {
            Step::HeadReady => {
                let held = self.sessions.get(cluster).and_then(|e| e.life.held());
                if let Some(epoch) = held.map(|held| held.claim.epoch) {
                    self.drive_alone(cluster, Event::NodeReady { epoch }, now, turn);
                }
            }
            Step::EndHead { reason, rank } => {
                tracing::info!(session_id = %cluster, rank, ?reason, "a replica ended; all end");
                self.drive_alone(cluster, end(reason), now, turn);
            }
            Step::RunAgain { denied } => {
                tracing::info!(session_id = %cluster, denied, "a replica ended; all run again");
                if let Some(entry) = self.sessions.get_mut(cluster).filter(|_| denied) {
                    entry.life.note_denied();
                }
                self.drive_alone(cluster, end(EndReason::ClusterEnded), now, turn);
            }
            Step::EndReplica(rank) => {
                let of_rank = others.iter().find(|(of, ..)| *of == rank);
                if let Some((_, id, _)) = of_rank {
                    self.drive_alone(id, end(EndReason::ClusterEnded), now, turn);
                }
            }
        }
    }

    /// Ends replicas that were without their first one for too long.
    pub(super) fn end_headless(&mut self, now: MonoTime, turn: &mut Turn) {
        let due = self.clusters.headless.iter();
        let due = due.filter(|(_, since)| now.millis_since(**since) >= ALONE_MS);
        let due: Vec<SessionId> = due.map(|(cluster, _)| cluster.clone()).collect();
        for cluster in due {
            self.clusters.headless.remove(&cluster);
            if self.sessions.contains_key(&cluster) {
                continue;
            }
            let members = self.clusters.members.remove(&cluster).unwrap_or_default();
            for member in members {
                let reason = EndReason::ClusterEnded;
                self.drive_alone(&member, Event::EndRequested { reason }, now, turn);
            }
        }
    }
}
