//! The decision: search, pick, or count why not.

use crate::count::{Rejection, count};
use crate::index::FleetIndex;
use crate::pick::pick;
use crate::policy::{Policy, Step};
use crate::request::SessionRequest;
use crate::score::Why;
use crate::search::search;
use crate::sieve::Rules;
use nearlight_protocol::id::NodeId;

/// What to do with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Claim one of this node's free slots.
    Place {
        /// The node.
        node: NodeId,
        /// Why this node.
        why: Why,
        /// The latency step in force, which the node is near enough for; `None` where the policy
        /// has none.
        step: Option<Step>,
    },
    /// No node can run it now.
    Reject(Rejection),
}

/// Places `request`, or says why not. `chance(n)` returns a number below `n`.
pub fn decide(
    index: &FleetIndex,
    request: &SessionRequest,
    policy: &Policy,
    chance: &mut impl FnMut(usize) -> usize,
) -> Decision {
    let rules = Rules::new(index, request, policy);
    let mut walk = index.nearest_first(&request.rtts, policy.rtt_ms_unknown);
    let mut cells = Vec::new();
    let best = search(index, &rules, &mut walk, &mut cells);
    if best.found().is_empty() {
        cells.extend(walk);
        return Decision::Reject(count(index, &rules, &cells));
    }
    let ranked: Vec<Why> = best.found().iter().map(|found| found.why).collect();
    let taken = &best.found()[pick(&ranked, policy.best_few, chance)];
    Decision::Place {
        node: taken.id.clone(),
        why: taken.why,
        step: rules.step,
    }
}

#[cfg(test)]
#[path = "decide/test.rs"]
pub(crate) mod test;
