//! What an operator decides about a node, carried out.

use super::StandingError;
use super::owner::Owner;
use super::turn::{Then, Turn};
use crate::enrol::StandingChange;
use crate::fleet::Link;
use crate::ledger::{Applied, Decided, Op, Standing};
use nearlight_protocol::api::EndReason;
use nearlight_protocol::id::NodeId;
use nearlight_protocol::unit::MonoTime;
use nearlight_session::lifecycle::{Event, Phase};
use tokio::sync::oneshot;

/// Told to players whose node is shut out.
const REVOKED_DETAIL: &str = "the operator has revoked the node";

/// A decision on its way to the disk.
#[derive(Debug)]
pub(super) struct Decision {
    node: NodeId,
    change: StandingChange,
    reply: oneshot::Sender<Result<(), StandingError>>,
}

impl Owner {
    pub(super) fn take_decision(
        &mut self,
        node: NodeId,
        change: StandingChange,
        reply: oneshot::Sender<Result<(), StandingError>>,
        now: MonoTime,
        turn: &mut Turn,
    ) {
        let op = match &change {
            StandingChange::Drain(reclaim) => Op::DrainNode {
                node: node.clone(),
                drained: true,
                reclaim: reclaim.clone(),
                at: now,
            },
            StandingChange::Undrain => Op::DrainNode {
                node: node.clone(),
                drained: false,
                reclaim: None,
                at: now,
            },
            StandingChange::Revoke => Op::RevokeNode {
                node: node.clone(),
                at: now,
            },
            StandingChange::Vet | StandingChange::Unvet => Op::VetNode {
                node: node.clone(),
                vetted: change == StandingChange::Vet,
                at: now,
            },
        };
        // From this turn on nothing is placed there that should not be; what may be only when that is
        // durable.
        let before = self.standings.of(&node);
        let after = change.on(before.clone());
        let at_once = Decided {
            standing: match after.standing {
                Standing::Active => before.standing,
                Standing::Drained | Standing::Revoked => after.standing,
            },
            vetted: before.vetted && after.vetted,
            ..before
        };
        self.fleet.set_decided(&node, at_once, now);
        if change == StandingChange::Revoke {
            self.end_sessions_of(&node, now, turn);
        }
        let decision = Decision {
            node,
            change,
            reply,
        };
        turn.push(op, Then::Decided(Box::new(decision)));
    }

    /// Nobody waits for the node's word: it is not to be believed any more.
    fn end_sessions_of(&mut self, node: &NodeId, now: MonoTime, turn: &mut Turn) {
        for session in self.fleet.holders(node) {
            let Some(life) = self.sessions.get(&session).map(|entry| &entry.life) else {
                continue;
            };
            let Some(epoch) = life.held().map(|held| held.claim.epoch) else {
                continue;
            };
            let detail = REVOKED_DETAIL.to_owned();
            let event = match life.phase() {
                // It never began: another node can have it.
                Phase::Placing { .. } => Event::StartDenied { epoch, detail },
                Phase::Queued
                | Phase::Starting { .. }
                | Phase::Ready { .. }
                | Phase::Playing { .. }
                | Phase::Detached { .. }
                | Phase::Ending { .. }
                | Phase::Ended { .. } => Event::NodeEnded {
                    epoch,
                    reason: EndReason::NodeDrained,
                    detail,
                },
            };
            self.drive(&session, event, now, turn);
        }
    }

    /// What the ledger has; a peer may have written it.
    pub(super) fn learn_decisions(
        &mut self,
        all: Vec<(NodeId, Decided)>,
        now: MonoTime,
        turn: &mut Turn,
    ) {
        for (node, decided) in self.standings.learn(all) {
            let standing = decided.standing;
            self.fleet.set_decided(&node, decided, now);
            self.reclaims.insert(node.clone());
            if standing == Standing::Revoked {
                self.end_sessions_of(&node, now, turn);
                self.shut_out(&node, now);
                // Whoever decided did not know what this broker was writing of the node meanwhile.
                turn.push(Op::RevokeNode { node, at: now }, Then::Nothing);
            }
        }
    }

    /// The ledger has it.
    pub(super) fn decided(&mut self, applied: &Applied, decision: Decision, now: MonoTime) {
        let Decision {
            node,
            change,
            reply,
        } = decision;
        let known = *applied != Applied::Missing;
        let decided = match known {
            true => self.standings.decide(&node, &change),
            false => self.standings.of(&node),
        };
        let standing = decided.standing;
        self.fleet.set_decided(&node, decided, now);
        self.reclaims.insert(node.clone());
        if standing == Standing::Revoked {
            self.shut_out(&node, now);
        }
        // Who decided finds it in the next list of nodes, and so does who hung up.
        self.publish_fleet(now);
        let _ = reply.send(known.then_some(()).ok_or(StandingError::NotFound));
    }

    /// Closes a node's stream. What it still says counts for nothing.
    pub(super) fn shut_out(&mut self, node: &NodeId, now: MonoTime) {
        self.directory.set_stream(node, None);
        self.volumes.shut_out(node);
        let former = self
            .fleet
            .change(node, now, |n| std::mem::replace(&mut n.link, Link::Offline));
        if let Some(Link::Attaching(stream) | Link::Online(stream)) = former {
            tracing::warn!(node_id = %node, "the node is revoked; its stream closes");
            stream.dismiss();
        }
    }
}
