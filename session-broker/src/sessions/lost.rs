//! What others took from this broker, or it never had, and what becomes of changes that were meant for it.

use super::entry::Entry;
use super::owner::Owner;
use crate::ledger::{Applied, AuditRow, HandedBack, IdentityChange, Op, StoreError};
use nearlight_protocol::id::{NodeId, SessionId};
use nearlight_protocol::identity::AuditAction;
use nearlight_protocol::unit::MonoTime;
use std::collections::HashSet;

/// What the edge of a node that another broker holds waits before it dials again.
const MOVED_RETRY_S: u32 = 1;

/// What others took.
#[derive(Debug, Default)]
pub(super) struct Lost {
    pub(super) nodes: HashSet<NodeId>,
    pub(super) sessions: HashSet<SessionId>,
}

impl Lost {
    /// Counts among the lost whatever the changes say was on a node that is lost. Returns what is new.
    pub(super) fn widen(&mut self, ops: &[Op]) -> Vec<SessionId> {
        let mut new = Vec::new();
        for op in ops {
            if let Op::Release { session, claim, .. }
            | Op::BeginUsage { session, claim, .. }
            | Op::NoteUsed { session, claim, .. } = op
                && self.nodes.contains(&claim.node)
                && self.sessions.insert(session.clone())
            {
                new.push(session.clone());
            }
        }
        new
    }

    fn is_of_lost(&self, audit: &AuditRow) -> bool {
        let is_end = audit.action == AuditAction::SessionEnd;
        is_end && self.sessions.iter().any(|id| id.as_str() == audit.subject)
    }

    /// What came of a change that is not this broker's to make any more.
    pub(super) fn answer(&self, op: &Op) -> Option<Applied> {
        match op {
            Op::Reserve(reserve) => {
                let is_lost = self.nodes.contains(&reserve.claim.node)
                    || self.sessions.contains(&reserve.session);
                is_lost.then_some(Applied::RaceLost)
            }
            Op::ReserveCluster(cluster) => {
                let is_lost = cluster.reserves.iter().any(|reserve| {
                    self.nodes.contains(&reserve.claim.node)
                        || self.sessions.contains(&reserve.session)
                });
                is_lost.then_some(Applied::RaceLost)
            }
            Op::Readmit(readmit) => self
                .nodes
                .contains(&readmit.claim.node)
                .then_some(Applied::Missing),
            Op::SavePhase { session, .. }
            | Op::ReturnQuota { session, .. }
            | Op::BeginUsage { session, .. }
            | Op::NoteUsed { session, .. }
            | Op::Release { session, .. }
            | Op::SetEdition { session, .. }
            | Op::ForgetSecrets { session }
            | Op::CountMove { session }
            | Op::SetBudget { session, .. }
            | Op::GiveSession { session, .. } => {
                self.sessions.contains(session).then_some(Applied::Missing)
            }
            // Whoever holds it notes who ended it.
            Op::Identity {
                change: IdentityChange::Nothing,
                audit: Some(audit),
            } => self.is_of_lost(audit).then_some(Applied::Missing),
            Op::Notify(notice) => {
                let of = notice.session.as_ref();
                let is_lost = of.is_some_and(|session| self.sessions.contains(session));
                is_lost.then_some(Applied::Missing)
            }
            // Orders are a node's. What it acked here it will ack again, and what follows from that is
            // then written with it.
            Op::OrderStop { node, .. }
            | Op::Acked { node, .. }
            | Op::SaveNode { node, .. }
            | Op::NoteVolumes { node, .. } => self.nodes.contains(node).then_some(Applied::Missing),
            Op::CreateSession { .. }
            | Op::HoldNode { .. }
            | Op::SeizeBroker { .. }
            | Op::RaiseEpoch { .. }
            | Op::DeleteVolume { .. }
            | Op::SeenNodes { .. }
            | Op::PutRateCard { .. }
            | Op::NoteSave { .. }
            | Op::SpendTicket { .. }
            | Op::AddCredential { .. }
            | Op::Identity { .. }
            | Op::App { .. }
            | Op::Outside { .. }
            | Op::Log { .. }
            | Op::Check { .. }
            | Op::AddWatchLink { .. }
            | Op::RevokeWatchLink { .. }
            | Op::AddJoinToken { .. }
            | Op::RedeemJoinToken { .. }
            | Op::DrainNode { .. }
            | Op::RevokeNode { .. }
            | Op::VetNode { .. }
            | Op::SweepEnded { .. }
            | Op::Prune { .. } => None,
        }
    }
}

impl Owner {
    /// Writes as the holder of what this broker holds. What turns out to be another one's is let go,
    /// and what was meant for it comes to nothing.
    pub(super) async fn write(&mut self, mut ops: Vec<Op>) -> Result<Vec<Applied>, StoreError> {
        let mut void: Vec<Option<Applied>> = vec![None; ops.len()];
        loop {
            let error = match self.ledger.write_as_holder(ops, self.basis).await {
                Ok(mut applied) => {
                    for (applied, void) in applied.iter_mut().zip(void) {
                        if let Some(void) = void {
                            *applied = void;
                        }
                    }
                    return Ok(applied);
                }
                Err(error) => error,
            };
            let StoreError::Lost(back) = error else {
                return Err(error);
            };
            let HandedBack {
                ops: unwritten,
                basis,
                nodes,
                sessions,
            } = *back;
            ops = unwritten;
            self.basis = basis;
            let mut lost = Lost {
                nodes: nodes.into_iter().collect(),
                ..Lost::default()
            };
            lost.sessions.extend(self.let_go(&lost.nodes));
            lost.sessions.extend(sessions.iter().cloned());
            // What ended in this very turn holds nothing in memory any more; in the ledger it is the
            // other broker's, which will end it itself.
            for session in lost.widen(&ops).iter().chain(&sessions) {
                self.ended.retain(|(_, over)| over != session);
                self.drop_session(session);
            }
            for session in &sessions {
                tracing::warn!(session_id = %session, "the session was to end here, and is another \
                    broker's: that it was given to this one is lost");
            }
            for (op, void) in ops.iter_mut().zip(&mut void) {
                if let Some(instead) = lost.answer(op) {
                    *void = Some(instead);
                    *op = Op::SeenNodes {
                        nodes: Vec::new(),
                        at: MonoTime(0),
                    };
                }
            }
        }
    }

    /// Nodes are another broker's, with whatever has a claim on them. Returns those sessions.
    pub(super) fn let_go(&mut self, nodes: &HashSet<NodeId>) -> Vec<SessionId> {
        let claims_there = |entry: &Entry| {
            let held = entry.life.held();
            held.is_some_and(|held| nodes.contains(&held.claim.node))
        };
        let listed = nodes.iter().flat_map(|node| self.claimed.at(node));
        let there = listed.filter(|id| self.sessions.get(*id).is_some_and(|e| claims_there(e)));
        let sessions: Vec<SessionId> = there.cloned().collect();
        debug_assert_eq!(
            sessions.len(),
            self.sessions.values().filter(|e| claims_there(e)).count(),
            "whoever has a claim on a node is listed there"
        );
        crate::metrics::moved("lost", sessions.len());
        for session in &sessions {
            self.drop_session(session);
        }
        for node in nodes {
            tracing::info!(node_id = %node, sessions = sessions.len(), of_nodes = nodes.len(),
                "the node is another broker's now");
            if let Some(stream) = self.fleet.get(node).and_then(|n| n.link.stream()) {
                stream.go_away(MOVED_RETRY_S);
            }
            self.directory.set_stream(node, None);
            let news = self.fleet.let_go(node);
            self.directory.show_remote(news);
            if let Some(sharing) = &self.sharing {
                sharing.hub.left(node);
            }
        }
        sessions
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use nearlight_protocol::api::EndReason;
    use nearlight_protocol::control::Order;
    use nearlight_session::lifecycle::Phase;
    use nearlight_session::{Claim, Epoch};

    /// Otherwise its place in the quota is given back twice: here, and by whoever has it now.
    #[test]
    fn an_end_that_crosses_with_the_loss_of_its_node_is_not_written() {
        let session = nearlight_kit::ids::session();
        let claim = Claim {
            node: nearlight_kit::ids::node(),
            slot: nearlight_kit::ids::slot(),
            epoch: Epoch(1),
        };
        let at = MonoTime(0);
        let ended = Phase::Ended {
            reason: EndReason::AppExited,
            detail: String::new(),
        };
        let ops = [
            Op::ReturnQuota {
                session: session.clone(),
                user: nearlight_kit::ids::user(),
                tenant: None,
            },
            Op::Release {
                session: session.clone(),
                claim: claim.clone(),
                billed_until: at,
                at,
            },
            Op::SavePhase {
                session: session.clone(),
                phase: ended,
                starts_denied: 0,
                at,
            },
        ];
        let mut lost = Lost::default();
        assert!(lost.widen(&ops).is_empty());
        lost.nodes.insert(claim.node);
        assert_eq!(lost.widen(&ops), [session]);
        for op in &ops {
            assert_eq!(lost.answer(op), Some(Applied::Missing), "{op:?}");
        }
    }

    /// Otherwise its node's new broker, which read its orders before, never hears of the one, and waits for
    /// ever for what the other one did.
    #[test]
    fn orders_and_acks_are_their_nodes_and_not_their_sessions() {
        let (node, session) = (nearlight_kit::ids::node(), nearlight_kit::ids::session());
        let stop = Op::OrderStop {
            session: session.clone(),
            node: node.clone(),
            epoch: Epoch(1),
            order: Order::Stop {
                session: session.clone(),
                reason: EndReason::NodeLost,
            },
            at: MonoTime(0),
        };
        let acked = Op::Acked {
            node: node.clone(),
            command: 7,
        };
        // It runs what holds no claim there.
        let of_the_node = Lost {
            nodes: HashSet::from([node]),
            ..Lost::default()
        };
        // Its session is another broker's; what still runs on a node of ours has to stop all the same.
        let of_the_session = Lost {
            sessions: HashSet::from([session]),
            ..Lost::default()
        };
        for op in [stop, acked] {
            assert_eq!(of_the_node.answer(&op), Some(Applied::Missing), "{op:?}");
            assert_eq!(of_the_session.answer(&op), None, "{op:?}");
        }
    }
}
