//! What happens next. Same seed, same order: what is due at once happens as it was entered.

use nearlight_session::Epoch;
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// A session's number, from 0 in the order of coming.
pub(crate) type SessionNo = u32;
/// A node's number.
pub(crate) type NodeNo = u32;

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Happens {
    /// Somebody may come in a metro.
    Visit { metro: u32 },
    /// Something of a session, under the claim with this epoch where it has one.
    Session {
        session: SessionNo,
        epoch: Epoch,
        step: SessionStep,
    },
    /// Something of a node. Of an earlier boot or link it counts no more.
    Node {
        node: NodeNo,
        life: u32,
        step: NodeStep,
    },
    /// The broker looks at those who wait.
    Turn,
    /// ETAs are told, tenants' shares are counted.
    Housekeeping,
    /// All books are compared.
    Audit,
    /// The broker dies.
    BrokerDies,
    /// It is back, with what its ledger has.
    BrokerStarts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionStep {
    /// The order to start reaches the node.
    Ordered,
    /// The node has the image.
    Pulled,
    /// The first picture.
    Shows,
    /// The player attaches.
    Attaches,
    /// The player is seen at the keyboard.
    Input,
    /// The player goes.
    Leaves,
    /// The player has waited long enough.
    GivesUp,
    /// The order to stop has been carried out.
    Stopped,
    /// A phase may be over.
    Deadline,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NodeStep {
    /// The hour has come at which its owner turns it on or off.
    Rhythm,
    /// It stops at once.
    Crash,
    /// It boots.
    Boots,
    /// Its network goes away.
    Unplugs,
    /// The broker misses its heartbeats.
    Missed,
    /// It dials again.
    Dials,
    /// It has been without a broker for its grace time.
    Grace,
    /// Its operator drains it.
    Drains,
    /// The drain's deadline: what is left ends.
    DrainEnds,
    /// A drained rack is back in service.
    Undrains,
}

/// Everything to come.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    heap: BinaryHeap<Reverse<Entry>>,
    entered: u64,
}

#[derive(Debug)]
struct Entry {
    at_us: u64,
    number: u64,
    what: Happens,
}

impl Agenda {
    pub(crate) fn at(&mut self, at_us: u64, what: Happens) {
        self.entered += 1;
        let number = self.entered;
        self.heap.push(Reverse(Entry {
            at_us,
            number,
            what,
        }));
    }

    /// The next, with its time.
    pub(crate) fn next(&mut self) -> Option<(u64, Happens)> {
        let Reverse(entry) = self.heap.pop()?;
        Some((entry.at_us, entry.what))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at_us, self.number).cmp(&(other.at_us, other.number))
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn time_goes_forward_and_what_is_due_at_once_keeps_its_order() {
        let mut agenda = Agenda::default();
        for (at, metro) in [(5, 1), (3, 2), (5, 3), (1, 4)] {
            agenda.at(at, Happens::Visit { metro });
        }
        let order = std::iter::from_fn(|| agenda.next()).map(|(at, what)| match what {
            Happens::Visit { metro } => (at, metro),
            _ => unreachable!("only visits were entered"),
        });
        assert_eq!(order.collect::<Vec<_>>(), [(1, 4), (3, 2), (5, 1), (5, 3)]);
    }
}
