//! What was decided about nodes, and who runs them, in memory: asked at every attach and renewal.
//!
//! **Invariant.** What is here is in the ledger. Decisions are written by the owner of sessions alone; who runs a node is
//! said once, when it comes in.

use crate::ledger::{Decided, Reclaim, Standing};
use nearlight_protocol::id::NodeId;
use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

/// What an operator decides about a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StandingChange {
    /// It takes no new sessions; those that it runs end at a moment, or go on.
    Drain(Option<Reclaim>),
    /// It takes sessions again.
    Undrain,
    /// It is shut out for good.
    Revoke,
    /// Jobs go to it.
    Vet,
    /// Only jobs that go anywhere do.
    Unvet,
}

impl StandingChange {
    /// What it makes of what was decided before. Nothing ends a revocation.
    pub(crate) fn on(&self, decided: Decided) -> Decided {
        match (self, decided.standing) {
            (Self::Vet | Self::Unvet, _) => Decided {
                vetted: *self == Self::Vet,
                ..decided
            },
            (Self::Revoke, _) | (Self::Drain(_) | Self::Undrain, Standing::Revoked) => Decided {
                standing: Standing::Revoked,
                reclaim: None,
                ..decided
            },
            (Self::Drain(reclaim), Standing::Active | Standing::Drained) => Decided {
                standing: Standing::Drained,
                reclaim: reclaim.clone(),
                ..decided
            },
            (Self::Undrain, Standing::Active | Standing::Drained) => Decided {
                standing: Standing::Active,
                reclaim: None,
                ..decided
            },
        }
    }
}

/// Nodes about which something was decided.
#[derive(Debug, Default)]
pub(crate) struct Standings {
    /// Held for a look-up, never across an await.
    decided: RwLock<HashMap<NodeId, Decided>>,
}

impl Standings {
    /// A node's.
    pub(crate) fn of(&self, node: &NodeId) -> Decided {
        let decided = self.decided.read().unwrap_or_else(PoisonError::into_inner);
        decided.get(node).cloned().unwrap_or_default()
    }

    /// Takes all that the ledger has, where other brokers write, too. What was read may be older than
    /// the last decision here: a revocation stays in any case, the rest is read again. Returns what is
    /// new.
    pub(crate) fn learn(&self, all: Vec<(NodeId, Decided)>) -> Vec<(NodeId, Decided)> {
        let mut decided = self.decided.write().unwrap_or_else(PoisonError::into_inner);
        let mut all: HashMap<NodeId, Decided> = all.into_iter().collect();
        let revoked = decided
            .iter()
            .filter(|(_, of)| of.standing == Standing::Revoked);
        all.extend(revoked.map(|(node, of)| (node.clone(), of.clone())));
        let ended = decided.keys().filter(|node| !all.contains_key(*node));
        let mut news: Vec<_> = ended
            .map(|node| (node.clone(), Decided::default()))
            .collect();
        let differs = |(node, of): &(&NodeId, &Decided)| decided.get(*node) != Some(*of);
        let new = all.iter().filter(differs);
        news.extend(new.map(|(node, of)| (node.clone(), of.clone())));
        *decided = all;
        news
    }

    /// A node has come in, with this operator's token.
    pub(crate) fn enrolled(&self, node: &NodeId, operator: &str) {
        if operator.is_empty() {
            return;
        }
        let mut decided = self.decided.write().unwrap_or_else(PoisonError::into_inner);
        let of = decided.entry(node.clone()).or_default();
        operator.clone_into(&mut of.operator);
    }

    /// A decision that is durable. Returns what holds of the node now.
    pub(crate) fn decide(&self, node: &NodeId, change: &StandingChange) -> Decided {
        let mut decided = self.decided.write().unwrap_or_else(PoisonError::into_inner);
        let former = decided.get(node).cloned().unwrap_or_default();
        let now = change.on(former);
        match now == Decided::default() {
            true => decided.remove(node),
            false => decided.insert(node.clone(), now.clone()),
        };
        now
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn of(standing: Standing) -> Decided {
        Decided {
            standing,
            ..Decided::default()
        }
    }

    #[test]
    fn what_others_decide_is_learned_and_an_old_reading_ends_no_revocation() {
        let standings = Standings::default();
        let (one, two) = (nearlight_kit::ids::node(), nearlight_kit::ids::node());
        let drained = vec![(one.clone(), of(Standing::Drained))];
        assert_eq!(standings.learn(drained.clone()), drained);
        assert_eq!(standings.learn(drained), []);
        standings.decide(&two, &StandingChange::Revoke);
        assert_eq!(
            standings.learn(Vec::new()),
            [(one.clone(), of(Standing::Active))]
        );
        assert_eq!(standings.of(&one), of(Standing::Active));
        assert_eq!(standings.of(&two), of(Standing::Revoked));
    }

    #[test]
    fn who_runs_a_node_stays_whatever_is_decided_about_it() {
        let standings = Standings::default();
        let node = nearlight_kit::ids::node();
        standings.enrolled(&node, "acme");
        for change in [
            StandingChange::Vet,
            StandingChange::Unvet,
            StandingChange::Drain(None),
            StandingChange::Undrain,
            StandingChange::Revoke,
        ] {
            assert_eq!(standings.decide(&node, &change).operator, "acme");
        }
        standings.enrolled(&nearlight_kit::ids::node(), "");
        let known = vec![(node.clone(), standings.of(&node))];
        assert_eq!(standings.learn(known), []);
        assert_eq!(standings.of(&node).operator, "acme");
    }

    #[test]
    fn a_node_is_vetted_whether_it_takes_sessions_or_not() {
        let standings = Standings::default();
        let node = nearlight_kit::ids::node();
        assert!(standings.decide(&node, &StandingChange::Vet).vetted);
        let drained = standings.decide(&node, &StandingChange::Drain(None));
        assert!(drained.vetted && drained.standing == Standing::Drained);
        assert!(standings.decide(&node, &StandingChange::Undrain).vetted);
        let plain = standings.decide(&node, &StandingChange::Unvet);
        assert_eq!(plain, Decided::default());
        let vetted = Decided {
            vetted: true,
            ..plain
        };
        assert_eq!(
            standings.learn(vec![(node.clone(), vetted.clone())]).len(),
            1
        );
        assert_eq!(standings.of(&node), vetted);
    }

    #[test]
    fn the_last_word_of_a_drain_holds_and_its_end_ends_all_of_it() {
        let standings = Standings::default();
        let node = nearlight_kit::ids::node();
        let reclaim = Reclaim {
            until: nearlight_protocol::unit::MonoTime(7_000),
            reason: "sold".to_owned(),
        };
        let with = StandingChange::Drain(Some(reclaim.clone()));
        assert_eq!(
            standings.decide(&node, &with).reclaim,
            Some(reclaim.clone())
        );
        let vetted = standings.decide(&node, &StandingChange::Vet);
        assert_eq!(vetted.reclaim, Some(reclaim));
        let plain = standings.decide(&node, &StandingChange::Drain(None));
        assert_eq!((plain.standing, plain.reclaim), (Standing::Drained, None));
        standings.decide(&node, &with);
        let over = standings.decide(&node, &StandingChange::Undrain);
        assert_eq!((over.standing, over.reclaim), (Standing::Active, None));
        standings.decide(&node, &with);
        let shut = standings.decide(&node, &StandingChange::Revoke);
        assert_eq!((shut.standing, shut.reclaim), (Standing::Revoked, None));
    }

    #[test]
    fn a_revocation_is_for_good() {
        let standings = Standings::default();
        let node = nearlight_kit::ids::node();
        assert_eq!(standings.of(&node).standing, Standing::Active);
        assert_eq!(
            standings
                .decide(&node, &StandingChange::Drain(None))
                .standing,
            Standing::Drained
        );
        assert_eq!(
            standings.decide(&node, &StandingChange::Undrain).standing,
            Standing::Active
        );
        for change in [
            StandingChange::Revoke,
            StandingChange::Undrain,
            StandingChange::Drain(None),
            StandingChange::Vet,
        ] {
            let standing = standings.decide(&node, &change).standing;
            assert_eq!(standing, Standing::Revoked);
        }
        assert_eq!(standings.of(&node).standing, Standing::Revoked);
    }
}
