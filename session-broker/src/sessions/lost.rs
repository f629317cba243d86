//! What other brokers took from this one, and what becomes of changes that were meant for it.

use crate::ledger::{Applied, Op};
use nearlight_protocol::id::{NodeId, SessionId};
use std::collections::HashSet;

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

#[cfg(test)]
mod test {
    use super::*;
    use nearlight_protocol::api::EndReason;
    use nearlight_protocol::control::Order;
    use nearlight_protocol::unit::MonoTime;
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
