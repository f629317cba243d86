//! Whether a decision is right: every node checked and ranked one by one.

use nearlight_placement::{Decision, NodeView, Policy, Reason, SessionRequest, check};
use std::collections::BTreeMap;

/// What is wrong with `decision`, if anything is.
pub(crate) fn compare(
    nodes: &[NodeView],
    request: &SessionRequest,
    policy: &Policy,
    decision: &Decision,
) -> Option<String> {
    let mut reasons: BTreeMap<Reason, u32> = BTreeMap::new();
    let mut able = Vec::new();
    for node in nodes {
        match check(node, request, policy) {
            Ok(why) => able.push((why.points(), &node.id, why)),
            Err(reason) => *reasons.entry(reason).or_default() += 1,
        }
    }
    match decision {
        Decision::Reject(rejection) if rejection.reasons == reasons => None,
        Decision::Reject(rejection) => Some(format!("{:?} is not {reasons:?}", rejection.reasons)),
        Decision::Place { node, why, .. } => {
            able.sort_unstable_by(|(p, m, _), (q, n, _)| p.cmp(q).then_with(|| m.cmp(n)));
            let few = able.iter().take(policy.best_few);
            let found = few.clone().any(|(_, id, w)| *id == node && w == why);
            (!found).then(|| format!("{node}, {why:?}, is none of {:?}", few.collect::<Vec<_>>()))
        }
    }
}
