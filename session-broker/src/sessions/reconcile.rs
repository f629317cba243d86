//! A node attaches and says what it runs: that and what this broker believes are brought together.
//!
//! What it runs under a claim that holds goes on; what has a claim and does not run there any more is told
//! so; whatever else it runs is back from its grant, if the ledger lost it, or has to stop.

use super::driving::push_stop;
use super::owner::Owner;
use super::turn::{Then, Turn};
use crate::control::{ShownSession, Stream};
use crate::fleet::Link;
use crate::ledger::{Op, OutboxRow};
use nearlight_protocol::api::EndReason;
use nearlight_protocol::grant::Grant;
use nearlight_protocol::id::{NodeId, SessionId};
use nearlight_protocol::limits::CONTROL_OUTBOX_MAX;
use nearlight_protocol::unit::MonoTime;
use nearlight_session::lifecycle::{Event, Phase, Presence};
use nearlight_session::{Claim, Epoch};
use std::collections::HashMap;
use std::sync::Arc;

/// What an overtaken stream's edge waits, if it is still there.
pub(super) const OVERTAKEN_RETRY_S: u32 = 1;

impl Owner {
    /// Brings what a node runs and what we believe together.
    pub(super) fn reconcile(
        &mut self,
        stream: &Arc<Stream>,
        shown: Vec<ShownSession>,
        now: MonoTime,
        turn: &mut Turn,
    ) {
        let node = stream.node.clone();
        let mut running: HashMap<SessionId, (Grant, Presence)> = HashMap::new();
        for session in shown {
            let presence = Presence::Running {
                attached: session.attached,
                ready: session.ready,
            };
            match session.grant {
                Some(grant) => {
                    running.insert(session.session, (grant, presence));
                }
                // Whatever it is, nobody ordered it.
                None => {
                    let (id, epoch) = (session.session, Epoch(0));
                    self.stop_unknown(&id, (&node, epoch), EndReason::Internal, now, turn);
                }
            }
        }
        for (grant, _) in running.values() {
            self.raise_epoch(&node, grant, now, turn);
        }
        for id in self.fleet.holders(&node) {
            let claim = self.sessions.get(&id).and_then(|e| e.life.held());
            let Some(claim) = claim.map(|held| held.claim.clone()) else {
                continue;
            };
            let same = running
                .get(&id)
                .is_some_and(|(grant, _)| is_of(grant, &claim));
            let presence = match running.remove(&id) {
                Some((_, presence)) if same => presence,
                Some((grant, _)) => {
                    let held = (&node, Epoch::from(grant.epoch));
                    push_stop(&id, held, EndReason::NodeLost, now, turn);
                    Presence::Absent
                }
                None => Presence::Absent,
            };
            self.drive(&id, Event::NodeBack { presence }, now, turn);
            if same {
                self.stop_again(&id, &claim, now, turn);
            }
        }
        for (id, (grant, presence)) in running {
            let reason = self.why_over(&id);
            tracing::info!(session_id = %id, node_id = %node, ?reason,
                "the node runs a session that is over, or lost");
            if self.may_order(&id, (&node, grant.epoch.into()), now, turn) {
                self.readmit_or_stop(grant, presence, reason, now, turn);
            }
        }
        let online = Link::Online(stream.clone());
        self.fleet.change(&node, now, |n| {
            n.link = online;
            n.heard_at = now;
        });
        turn.synced.push(node);
    }

    /// Has a node stop what ends and still runs there, should the order not be in its outbox: another
    /// run of the session, elsewhere and under the same epoch, may have taken its place.
    fn stop_again(&self, id: &SessionId, claim: &Claim, now: MonoTime, turn: &mut Turn) {
        let phase = self.sessions.get(id).map(|entry| entry.life.phase());
        let Some(Phase::Ending { reason, .. }) = phase else {
            return;
        };
        let is_it =
            |row: &OutboxRow| !row.is_start() && row.session == *id && row.epoch == claim.epoch;
        let known = self.fleet.get(&claim.node);
        if !known.is_some_and(|known| known.outbox.values().any(is_it)) {
            push_stop(id, (&claim.node, claim.epoch), *reason, now, turn);
        }
    }

    /// Has a node stop what holds no claim, as far as its outbox takes that: whoever makes sessions up, or
    /// acks nothing, fills no ledger. The rest is shown again once what was ordered is acked.
    fn stop_unknown(
        &mut self,
        id: &SessionId,
        (node, epoch): (&NodeId, Epoch),
        reason: EndReason,
        now: MonoTime,
        turn: &mut Turn,
    ) {
        if self.may_order(id, (node, epoch), now, turn) {
            push_stop(id, (node, epoch), reason, now, turn);
        }
    }

    /// Whether a node's outbox takes one order more to stop what holds no claim.
    fn may_order(
        &mut self,
        id: &SessionId,
        (node, epoch): (&NodeId, Epoch),
        now: MonoTime,
        turn: &Turn,
    ) -> bool {
        let waiting = self.fleet.get(node).map_or(0, |known| {
            let again = |row: &OutboxRow| row.session == *id && row.epoch == epoch;
            match known.outbox.values().any(again) {
                true => 0,
                false => known.outbox.len(),
            }
        });
        if waiting + turn.orders_for(node) < CONTROL_OUTBOX_MAX {
            return true;
        }
        let known = self
            .fleet
            .change(node, now, |n| std::mem::replace(&mut n.overflows, true));
        if known == Some(false) {
            crate::metrics::outbox_full();
            tracing::warn!(node_id = %node, "the node runs more that nobody ordered than its \
                outbox takes; the rest is stopped once it has acked that");
        }
        false
    }

    /// A grant of ours with a newer epoch than the ledger's: rows were lost.
    fn raise_epoch(&mut self, node: &NodeId, grant: &Grant, now: MonoTime, turn: &mut Turn) {
        let epoch = Epoch::from(grant.epoch);
        let raised = self.fleet.change(node, now, |n| {
            let slot = n.row.slots.get_mut(&grant.slot)?;
            (slot.epoch < epoch).then(|| slot.epoch = epoch)
        });
        if raised.flatten().is_some() {
            tracing::warn!(node_id = %node, slot_id = %grant.slot, epoch = epoch.0,
                "a grant is newer than the ledger; raising the slot's epoch");
            let slot = grant.slot.clone();
            turn.push(Op::RaiseEpoch { slot, epoch }, Then::Nothing);
        }
    }

    /// Why a session that a node still runs must not run.
    fn why_over(&self, id: &SessionId) -> EndReason {
        match self.sessions.get(id).map(|e| e.life.phase()) {
            Some(Phase::Ended { reason, .. } | Phase::Ending { reason, .. }) => *reason,
            Some(
                Phase::Queued
                | Phase::Placing { .. }
                | Phase::Starting { .. }
                | Phase::Ready { .. }
                | Phase::Playing { .. }
                | Phase::Detached { .. },
            ) => EndReason::NodeLost,
            None => EndReason::Internal,
        }
    }

    /// Lets a node that had more to stop than its outbox took attach again, for it shows then what is
    /// left.
    pub(super) fn show_again(&mut self, node: &NodeId, now: MonoTime) {
        let is_due = self.fleet.change(node, now, |n| {
            n.outbox.is_empty() && std::mem::take(&mut n.overflows)
        });
        let stream = self.fleet.get(node).and_then(|known| known.link.stream());
        if let Some(stream) = stream.filter(|_| is_due == Some(true)) {
            stream.go_away(OVERTAKEN_RETRY_S);
        }
    }
}

fn is_of(grant: &Grant, claim: &Claim) -> bool {
    grant.slot == claim.slot && Epoch::from(grant.epoch) == claim.epoch
}
