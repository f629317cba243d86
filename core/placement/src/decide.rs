//! The decision: the three stages in a row.

use crate::filter::{Reason, check};
use crate::fleet::{FleetSnapshot, NodeView, Policy, SessionRequest};
use crate::pick::pick;
use crate::rank::{Why, why};
use nearlight_protocol::id::{NodeId, SlotId};
use std::collections::BTreeMap;

/// What to do with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Claim this slot.
    Place {
        /// The node.
        node: NodeId,
        /// One of its free slots.
        slot: SlotId,
        /// Why this node.
        why: Why,
    },
    /// No node can run it now.
    Reject(Rejection),
}

/// Why no node can run a session now, counted over the whole fleet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rejection {
    /// Nodes by the first reason that rules them out.
    pub reasons: BTreeMap<Reason, u32>,
}

impl Rejection {
    /// Whether some node could run it at another time.
    pub fn passes(&self) -> bool {
        self.reasons.keys().any(|reason| reason.passes())
    }

    /// What the node lacks that comes closest to taking the session: the one that passed the most
    /// checks. `None` without any node.
    pub fn nearest(&self) -> Option<Reason> {
        self.reasons.keys().next_back().copied()
    }
}

/// Places `request`, or says why not. `chance(n)` returns a number below `n`.
pub fn decide(
    fleet: &FleetSnapshot,
    request: &SessionRequest,
    policy: &Policy,
    chance: &mut impl FnMut(usize) -> usize,
) -> Decision {
    let mut rejection = Rejection::default();
    let mut candidates: Vec<(Why, &NodeView)> = Vec::new();
    for node in &fleet.nodes {
        match check(node, request) {
            Ok(()) => candidates.push((why(node, request), node)),
            Err(reason) => *rejection.reasons.entry(reason).or_default() += 1,
        }
    }
    // The id decides between equals, so that the order of the snapshot does not matter.
    candidates.sort_by(|(a, m), (b, n)| a.cmp(b).then_with(|| m.id.cmp(&n.id)));
    let ranked: Vec<Why> = candidates.iter().map(|(why, _)| *why).collect();
    if ranked.is_empty() {
        return Decision::Reject(rejection);
    }
    let (why, node) = candidates[pick(&ranked, policy.best_few, chance)];
    let slot = &node.slots_free[0];
    Decision::Place {
        node: node.id.clone(),
        slot: slot.clone(),
        why,
    }
}

/// Whether any of `nodes` could run `request` now or at another time.
pub fn could_ever<'a>(
    nodes: impl IntoIterator<Item = &'a NodeView>,
    request: &SessionRequest,
) -> bool {
    nodes
        .into_iter()
        .any(|node| check(node, request).map_or_else(Reason::passes, |()| true))
}

#[cfg(test)]
#[path = "decide/test.rs"]
mod test;
