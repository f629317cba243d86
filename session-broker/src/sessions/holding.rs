//! Room for jobs that have waited long: a cluster, or a job of many GPUs, would wait for ever behind small ones
//! that fit wherever something comes free.
//!
//! Whoever of the first in the queue is a job, and has waited for `sessions.hold_after_s` in vain, has a site held for it
//! ([`nearlight_placement::hold()`]): from then on nobody who stands behind it is placed there, but whoever does not put it off. It is
//! placed by the same rules as ever, there or wherever else there is room first.
//!
//! **Invariants.** Nothing is claimed: a hold is in the memory of the queue's home, and what is lost with it is a moment of
//! waiting. Who stands in front of a job is not kept from what is held for it.
//!
//! Nothing is held where the job is kept off, for as long as it is.
//!
//! Held are nodes of this broker: of another one's it is not known when what runs there ends. A job that is tied to the node
//! of its volumes has nothing held.

use super::owner::Owner;
use super::request_for_job;
use crate::ledger::{HeldBy, SessionRow};
use nearlight_placement::{Busy, Hold, Need, NodeView, Running, SessionRequest, hold};
use nearlight_protocol::id::{NodeId, SessionId};
use nearlight_protocol::limits::NODE_GPUS_MAX;
use nearlight_protocol::unit::MonoTime;
use nearlight_protocol::work::Work;
use std::collections::BTreeSet;

/// Those in front of whom some may be held room for, and for how many at a time.
const LOOKED_AT_MAX: usize = 256;
const HOLDS_MAX: usize = 4;
/// Between two looks at the fleet for those who have none yet, milliseconds.
const LOOK_EVERY_MS: u64 = 1000;

/// What is held, and for whom: those in front first.
#[derive(Debug, Default)]
pub(super) struct Holds {
    all: Vec<(SessionId, Hold)>,
    looked_at: Option<MonoTime>,
}

impl Owner {
    /// Holds room for those who have waited long, and gives up what is held for nobody any more.
    pub(super) fn hold_room(&mut self, now: MonoTime) {
        let mut before = std::mem::take(&mut self.holds.all);
        let looks = self
            .holds
            .looked_at
            .is_none_or(|at| now.millis_since(at) >= LOOK_EVERY_MS);
        let long: Vec<SessionId> = {
            let front = self.queue.iter().take(LOOKED_AT_MAX);
            let long = front.filter(|id| self.has_waited_long(id, now));
            long.take(HOLDS_MAX).cloned().collect()
        };
        if !long.is_empty() && looks {
            self.holds.looked_at = Some(now);
        }
        for id in long {
            let at = before.iter().position(|(of, _)| *of == id);
            let held = at.map(|at| before.swap_remove(at).1);
            if held.is_none() && !looks {
                continue;
            }
            let found = self.hold_for(&id, held.as_ref(), now);
            if let (None, Some(found)) = (&held, &found) {
                tracing::info!(session_id = %id, nodes = ?found.nodes().collect::<Vec<_>>(),
                    room_in_s = found.room_in_ms() / 1000, "room is held for a job that has waited long");
            }
            let kept = |node: &NodeId| found.as_ref().is_some_and(|f| f.nodes().any(|n| n == node));
            let freed = held.iter().flat_map(Hold::nodes);
            let freed: Vec<NodeId> = freed.filter(|node| !kept(node)).cloned().collect();
            freed.into_iter().for_each(|node| self.fleet.reopen(node));
            self.holds
                .all
                .extend(found.map(|found| (id.clone(), found)));
        }
        for (_, over) in before {
            // News to all who stood behind it.
            let nodes = over.nodes().cloned();
            nodes.for_each(|node| self.fleet.reopen(node));
        }
    }

    /// The nodes that this one is not placed on, for they are held for others.
    pub(super) fn held_against(
        &self,
        row: &SessionRow,
        request: &SessionRequest,
    ) -> BTreeSet<NodeId> {
        let others = self.holds.all.iter().filter(|(of, _)| {
            *of != row.id && self.queue.contains(of) && !self.queue.is_before(&row.id, of)
        });
        // Replicas that come together are not weighed one by one: they are gone by then, or they wait.
        let ends_in_ms = self.most_ms(row);
        let is_one = !row.is_cluster();
        let policy = self.policy_for(row);
        let held = others.flat_map(|(_, hold)| {
            hold.nodes().filter(move |node| {
                let lets = hold.lets(node, (request, ends_in_ms), policy);
                !lets || (!is_one && ends_in_ms > hold.room_in_ms())
            })
        });
        held.cloned().collect()
    }

    /// Somebody has a claim on a node.
    pub(super) fn let_in(&mut self, row: &SessionRow, node: &NodeId, request: &SessionRequest) {
        if self.holds.all.is_empty() {
            return;
        }
        let ends_in_ms = self.most_ms(row);
        let others = self.holds.all.iter_mut().filter(|(of, _)| *of != row.id);
        for (_, hold) in others {
            hold.let_in(node, (request, ends_in_ms));
        }
    }

    /// For how long it may have its claim, at most.
    fn most_ms(&self, row: &SessionRow) -> u64 {
        let limits = self.times.limits(row);
        let most_ms = limits.start_total_ms.saturating_add(limits.max_ms);
        most_ms.saturating_add(limits.stop_ms)
    }

    fn has_waited_long(&self, id: &SessionId, now: MonoTime) -> bool {
        self.sessions.get(id).is_some_and(|entry| {
            let waited_ms = now.millis_since(entry.row.waits_since());
            let is_job = matches!(entry.row.work, Work::Job(_));
            is_job && waited_ms >= u64::from(self.times.hold_after_s) * 1000
        })
    }

    fn hold_for(&self, id: &SessionId, held: Option<&Hold>, now: MonoTime) -> Option<Hold> {
        let row = &self.sessions.get(id)?.row;
        let spec = row.work.job()?;
        if self.volume_plan(row).ok()?.on.is_some() {
            return None;
        }
        let waited_ms = now.millis_since(row.created_at);
        let mut request = request_for_job(
            row,
            spec,
            self.price_cap(spec),
            waited_ms,
            self.apps.ahead(),
        );
        // It would not be placed there, and nobody else could be.
        request.refused = self.kept_off(row, &request);
        // Of two who have waited long each has nodes of its own.
        let others = self.holds.all.iter().flat_map(|(_, hold)| hold.nodes());
        request.held_against = others.cloned().collect();
        let need = Need {
            request: &request,
            replicas: spec.replicas(),
            policy: &self.policy_chosen,
        };
        // What is held stays where it is, as long as it will do.
        let same = held.and_then(|held| {
            let views = held.nodes().filter_map(|node| self.fleet.view(node));
            let nodes: Vec<Busy> = views.map(|view| self.busy(view, now)).collect();
            hold(&nodes, need, Some(held))
        });
        same.or_else(|| {
            let nodes = self.fleet.views().map(|view| self.busy(view, now));
            hold(&nodes.collect::<Vec<Busy>>(), need, None)
        })
    }

    /// A node, with what has claims there and when that is over.
    fn busy(&self, mut node: NodeView, now: MonoTime) -> Busy {
        if self.sharing.is_some()
            && let Some(jobs) = node.jobs.as_mut()
        {
            // As clusters are placed: each node is a site.
            jobs.engine.clear();
        }
        let known = self.fleet.get(&node.id);
        let claims = known.into_iter().flat_map(|known| known.claims());
        let running = claims.filter_map(|held| {
            let entry = self.sessions.get(&held.session)?;
            let age_ms = now.millis_since(entry.placed_at);
            Some(Running {
                ends_in_ms: self.most_ms(&entry.row).saturating_sub(age_ms),
                cpu_milli: held.cpu_milli,
                mem_mib: held.mem_mib,
                kbps: held.kbps,
                disk_mib: held.disk_mib,
                gpus: gpus_of(held, &node),
            })
        });
        let running = running.collect();
        Busy { node, running }
    }
}

/// The GPUs of a claim, a bit each in the order of the node's.
fn gpus_of(held: &HeldBy, node: &NodeView) -> u64 {
    let gpus = node.jobs.iter().flat_map(|jobs| &jobs.gpus);
    let numbered = gpus.take(NODE_GPUS_MAX).enumerate();
    let its = numbered.filter(|(_, gpu)| held.gpu_uuids.contains(&gpu.uuid));
    its.fold(0, |bits, (at, _)| bits | 1 << at)
}
