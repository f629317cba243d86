//! Sessions of checkers that play a stream: on the node that is to be checked, in a slot that nobody else wants.
//!
//! **Invariants.** A probe takes a free slot at once or is none: it never waits, and while a player waits who could have a
//! slot of that node it gets none. The node is told of it as of any session.
//!
//! **What it does not know:** who may send one, and what comes of it.

use super::owner::Owner;
use super::placing::{Chosen, NotPlaced};
use crate::ledger::SessionRow;
use nearlight_placement::Reason;
use nearlight_protocol::unit::MonoTime;

/// What is said of a node that has nothing free.
const NO_SLOT: &str = "no free slot";

impl Owner {
    /// Why a session that is a probe is not made now; `None` if it may be, and of every other session.
    pub(super) fn keeps_probe_out(
        &self,
        row: &SessionRow,
        chosen: Option<&Result<Chosen, NotPlaced>>,
        now: MonoTime,
    ) -> Option<String> {
        let node = row.wish.probed.as_ref()?;
        if self.others_wait() || self.is_waited_for(node, now) {
            return Some(format!("{NO_SLOT}: players wait for one"));
        }
        match chosen? {
            Ok(_) => None,
            Err(NotPlaced::Rejected(rejection)) => Some(words(rejection.nearest())),
            Err(NotPlaced::TooFew(_) | NotPlaced::Volume { .. } | NotPlaced::NoSlot) => {
                Some(NO_SLOT.to_owned())
            }
            Err(NotPlaced::Elsewhere { .. }) => {
                Some("the node has gone to another broker".to_owned())
            }
        }
    }
}

fn words(lacks: Option<Reason>) -> String {
    match lacks {
        Some(Reason::SlotsTaken | Reason::Unproven | Reason::Held) | None => NO_SLOT.to_owned(),
        Some(reason) => format!("{NO_SLOT}: {}", reason.label()),
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn what_a_node_lacks_is_said_in_one_phrase() {
        assert_eq!(words(Some(Reason::SlotsTaken)), "no free slot");
        assert_eq!(words(Some(Reason::Unproven)), "no free slot");
        assert_eq!(words(Some(Reason::Draining)), "no free slot: draining");
    }
}
