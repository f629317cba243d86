//! What was decided about nodes, in memory: asked at every attach and renewal.
//!
//! **Invariant.** A decision is here only after it is in the ledger. Written by the owner of sessions
//! alone.

use crate::ledger::Standing;
use nearlight_protocol::id::NodeId;
use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

/// What an operator decides about a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StandingChange {
    /// It takes no new sessions.
    Drain,
    /// It takes sessions again.
    Undrain,
    /// It is shut out for good.
    Revoke,
}

impl StandingChange {
    /// What it makes of a standing. Nothing ends a revocation.
    pub(crate) fn on(self, standing: Standing) -> Standing {
        match (self, standing) {
            (Self::Revoke, _) | (Self::Drain | Self::Undrain, Standing::Revoked) => {
                Standing::Revoked
            }
            (Self::Drain, Standing::Active | Standing::Drained) => Standing::Drained,
            (Self::Undrain, Standing::Active | Standing::Drained) => Standing::Active,
        }
    }
}

/// Nodes about which something was decided.
#[derive(Debug, Default)]
pub(crate) struct Standings {
    /// Held for a look-up, never across an await.
    decided: RwLock<HashMap<NodeId, Standing>>,
}

impl Standings {
    /// A node's.
    pub(crate) fn of(&self, node: &NodeId) -> Standing {
        let decided = self.decided.read().unwrap_or_else(PoisonError::into_inner);
        decided.get(node).copied().unwrap_or_default()
    }

    /// Takes all that the ledger has, where other brokers write, too. What was read may be older than
    /// the last decision here: a revocation stays in any case, the rest is read again. Returns what is
    /// new.
    pub(crate) fn learn(&self, all: Vec<(NodeId, Standing)>) -> Vec<(NodeId, Standing)> {
        let mut decided = self.decided.write().unwrap_or_else(PoisonError::into_inner);
        let mut all: HashMap<NodeId, Standing> = all.into_iter().collect();
        let revoked = decided
            .iter()
            .filter(|(_, standing)| **standing == Standing::Revoked);
        all.extend(revoked.map(|(node, standing)| (node.clone(), *standing)));
        let ended = decided.keys().filter(|node| !all.contains_key(*node));
        let mut news: Vec<_> = ended.map(|node| (node.clone(), Standing::Active)).collect();
        let differs =
            |(node, standing): &(&NodeId, &Standing)| decided.get(*node) != Some(*standing);
        let new = all.iter().filter(differs);
        news.extend(new.map(|(node, standing)| (node.clone(), *standing)));
        *decided = all;
        news
    }

    /// A decision that is durable. Returns what the node's standing is now.
    pub(crate) fn decide(&self, node: &NodeId, change: StandingChange) -> Standing {
        let mut decided = self.decided.write().unwrap_or_else(PoisonError::into_inner);
        let former = decided.get(node).copied().unwrap_or_default();
        let standing = change.on(former);
        match standing {
            Standing::Active => decided.remove(node),
            Standing::Drained | Standing::Revoked => decided.insert(node.clone(), standing),
        };
        standing
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn what_others_decide_is_learned_and_an_old_reading_ends_no_revocation() {
        let standings = Standings::default();
        let (one, two) = (nearlight_kit::ids::node(), nearlight_kit::ids::node());
        let drained = vec![(one.clone(), Standing::Drained)];
        assert_eq!(standings.learn(drained.clone()), drained);
        assert_eq!(standings.learn(drained), []);
        standings.decide(&two, StandingChange::Revoke);
        assert_eq!(
            standings.learn(Vec::new()),
            [(one.clone(), Standing::Active)]
        );
        assert_eq!(standings.of(&one), Standing::Active);
        assert_eq!(standings.of(&two), Standing::Revoked);
    }

    #[test]
    fn a_revocation_is_for_good() {
        let standings = Standings::default();
        let node = nearlight_kit::ids::node();
        assert_eq!(standings.of(&node), Standing::Active);
        assert_eq!(
            standings.decide(&node, StandingChange::Drain),
            Standing::Drained
        );
        assert_eq!(
            standings.decide(&node, StandingChange::Undrain),
            Standing::Active
        );
        for change in [
            StandingChange::Revoke,
            StandingChange::Undrain,
            StandingChange::Drain,
        ] {
            assert_eq!(standings.decide(&node, change), Standing::Revoked);
        }
        assert_eq!(standings.of(&node), Standing::Revoked);
    }
}
