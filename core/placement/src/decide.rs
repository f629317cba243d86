//! The decision: search, pick, or count why not.

use crate::count::{Counted, Rejection, count};
use crate::index::FleetIndex;
use crate::pick::pick;
use crate::policy::{Policy, Step};
use crate::reason::Reason;
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
    let mut rules = Rules::new(index, request, policy);
    loop {
        let mut walk = index.nearest_first(&request.rtts, policy.rtt_ms_unknown);
        let mut cells = Vec::new();
        let best = search(index, &rules, &mut walk, &mut cells);
        if !best.found().is_empty() {
            let ranked: Vec<Why> = best.found().iter().map(|found| found.why).collect();
            let taken = &best.found()[pick(&ranked, policy.best_few, chance)];
            return Decision::Place {
                node: taken.id().clone(),
                why: taken.why,
                step: rules.step,
            };
        }
        cells.extend(walk);
        let counted = count(index, &rules, &cells);
        match next_step(&rules, &counted) {
            // Each round takes a later step, and the last has none after it.
            Some(step) => rules.step = Some(step),
            None => return Decision::Reject(counted.rejection),
        }
    }
}

/// The step to go on with: nodes farther away can run it, and no nearer one ever will.
fn next_step(rules: &Rules<'_>, counted: &Counted) -> Option<Step> {
    let is_held_back = counted.rejection.reasons.contains_key(&Reason::TooFar);
    if counted.is_worth_waiting || !is_held_back {
        return None;
    }
    rules.policy.step_after(rules.step.as_ref()?)
}

#[cfg(test)]
#[path = "decide/test.rs"]
pub(crate) mod test;
