//! Which sessions have a claim on which node, as their lives say.
//!
//! A node that another broker takes goes with whatever has a claim there. To ask every session for that is a
//! walk through all of their memory, for each node that moves; and the nodes' own rows do not know: one may be
//! from before a claim, or not be here at all.
//!
//! **Invariant.** Whoever has a claim on a node is listed there. Somebody who is gone may be, too: who asks looks
//! at the session.

use nearlight_protocol::id::{NodeId, SessionId};
use std::collections::{BTreeSet, HashMap};

/// Sessions by the node of their claim.
#[derive(Debug, Default)]
pub(super) struct Claimed(HashMap<NodeId, BTreeSet<SessionId>>);

impl Claimed {
    /// Those that are listed at a node.
    pub(super) fn at(&self, node: &NodeId) -> impl Iterator<Item = &SessionId> {
        self.0.get(node).into_iter().flatten()
    }

    /// A session's claim is there now, or nowhere. `listed` is where it is listed.
    pub(super) fn moved(
        &mut self,
        session: &SessionId,
        listed: &mut Option<NodeId>,
        now: Option<&NodeId>,
    ) {
        if listed.as_ref() == now {
            return;
        }
        if let Some(former) = std::mem::replace(listed, now.cloned()) {
            self.gone(session, &former);
        }
        if let Some(node) = now {
            let there = self.0.entry(node.clone()).or_default();
            there.insert(session.clone());
        }
    }

    /// A session that was listed there is gone.
    pub(super) fn gone(&mut self, session: &SessionId, listed: &NodeId) {
        if let Some(there) = self.0.get_mut(listed) {
            there.remove(session);
            if there.is_empty() {
                self.0.remove(listed);
            }
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_session_is_listed_where_its_claim_is_and_nothing_stays_behind() {
        let (session, other) = (nearlight_kit::ids::session(), nearlight_kit::ids::session());
        let (first, second) = (nearlight_kit::ids::node(), nearlight_kit::ids::node());
        let mut claimed = Claimed::default();
        let (mut listed, mut of_other) = (None, None);
        claimed.moved(&session, &mut listed, Some(&first));
        claimed.moved(&other, &mut of_other, Some(&first));
        claimed.moved(&session, &mut listed, Some(&second));
        assert_eq!(claimed.at(&first).collect::<Vec<_>>(), [&other]);
        assert_eq!(claimed.at(&second).collect::<Vec<_>>(), [&session]);
        claimed.moved(&session, &mut listed, None);
        claimed.gone(&other, &first);
        assert!(claimed.0.is_empty() && listed.is_none());
    }
}
