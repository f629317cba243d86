//! The probes of checkers that this broker carries: which node, under which id, and whose.
//!
//! A probe's id has a session's shape, for a tunnel carries it; no session has it, and its epoch is 0, which none has.
//!
//! **Invariants.** One probe a GPU of a node at a time, so many in all. One that nobody speaks in any more is gone, and its
//! tunnel with it. Nothing of it outlives the broker: its checker begins another.
//!
//! **What it does not know:** what is said in a probe.

use crate::tunnels::Place;
use nearlight_protocol::id::{NodeId, SessionId, UserId};
use nearlight_session::Epoch;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Probes at a time.
const PROBES_MAX: usize = 256;
/// The longest step: a leg of a slow node.
pub(crate) const STEP_WITHIN: Duration = Duration::from_secs(600);
/// Without a step for so long a probe is gone, as is one whose step takes longer than it may.
const IDLE_FOR: Duration = Duration::from_secs(610);
/// The epoch of probes.
const EPOCH: Epoch = Epoch(0);

/// Why there is no new probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// The node is being probed, or that GPU of it.
    Node,
    /// As many as there may be.
    All,
}

/// The probes that are under way.
#[derive(Debug, Default)]
pub(crate) struct Probes(Mutex<HashMap<SessionId, Probe>>);

#[derive(Debug)]
struct Probe {
    node: NodeId,
    by: UserId,
    used: Instant,
    /// Which GPU of the node it has; a question whether the node is there has none.
    seat: Option<Seat>,
}

/// Which GPU of a node: one by its id, or the first that the node proves.
pub(crate) type Seat = Option<String>;

impl Probes {
    /// Room for a probe of a GPU of a node, by this checker.
    pub(crate) fn open(
        &self,
        (node, seat): (&NodeId, Seat),
        by: &UserId,
        now: Instant,
    ) -> Result<Place, Full> {
        let mut probes = self.lock();
        probes.retain(|_, probe| now.duration_since(probe.used) < IDLE_FOR);
        let mut of_node = probes.values().filter(|of| of.node == *node);
        if of_node.any(|of| of.seat.as_ref() == Some(&seat)) {
            return Err(Full::Node);
        }
        if probes.len() >= PROBES_MAX {
            return Err(Full::All);
        }
        Ok(insert(&mut probes, (node, by), now, Some(seat)))
    }

    /// Room for a question that takes no prover; `None` if as much is under way as may be.
    pub(crate) fn ask(&self, node: &NodeId, by: &UserId, now: Instant) -> Option<Place> {
        let mut probes = self.lock();
        probes.retain(|_, probe| now.duration_since(probe.used) < IDLE_FOR);
        (probes.len() < PROBES_MAX).then(|| insert(&mut probes, (node, by), now, None))
    }

    /// A probe of this checker, which says something in it now.
    pub(crate) fn of(&self, id: &SessionId, by: &UserId, now: Instant) -> Option<Place> {
        let mut probes = self.lock();
        let probe = probes.get_mut(id)?;
        let is_theirs = probe.by == *by && now.duration_since(probe.used) < IDLE_FOR;
        is_theirs.then(|| {
            probe.used = now;
            place(id.clone(), &probe.node)
        })
    }

    /// Whether this is the place of a probe that is under way.
    pub(crate) fn has(&self, place: &Place, now: Instant) -> bool {
        let probes = self.lock();
        let probe = probes.get(&place.session);
        probe.is_some_and(|probe| {
            probe.node == place.node && now.duration_since(probe.used) < IDLE_FOR
        })
    }

    /// It is over.
    pub(crate) fn close(&self, id: &SessionId) {
        self.lock().remove(id);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Probe>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn insert(
    probes: &mut HashMap<SessionId, Probe>,
    (node, by): (&NodeId, &UserId),
    now: Instant,
    seat: Option<Seat>,
) -> Place {
    let id = nearlight_kit::ids::session();
    let probe = Probe {
        node: node.clone(),
        by: by.clone(),
        used: now,
        seat,
    };
    probes.insert(id.clone(), probe);
    place(id, node)
}

fn place(id: SessionId, node: &NodeId) -> Place {
    Place {
        session: id,
        node: node.clone(),
        epoch: EPOCH,
        ended: false,
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use nearlight_kit::ids;

    #[tokio::test]
    async fn one_a_node_of_one_checker_until_nobody_speaks() {
        let (probes, node, by) = (Probes::default(), ids::node(), ids::user());
        let now = Instant::now();
        let place = probes.open((&node, None), &by, now).unwrap();
        assert_eq!(probes.open((&node, None), &by, now), Err(Full::Node));
        let gpu = |n: u32| Some(format!("GPU-{n}"));
        let other = probes.open((&node, gpu(1)), &by, now).unwrap();
        let both = probes.open((&node, gpu(2)), &by, now).unwrap();
        assert_eq!(probes.open((&node, gpu(1)), &by, now), Err(Full::Node));
        probes.close(&other.session);
        probes.close(&both.session);
        assert!(probes.has(&place, now));
        assert_eq!(
            probes.of(&place.session, &ids::user(), now),
            None,
            "another's"
        );
        let later = now + Duration::from_secs(600);
        assert_eq!(probes.of(&place.session, &by, later), Some(place.clone()));
        assert!(probes.has(&place, later + Duration::from_secs(600)));
        assert!(!probes.has(&place, later + IDLE_FOR));
        assert_eq!(probes.of(&place.session, &by, later + IDLE_FOR), None);
        let asked = probes.ask(&node, &by, later + IDLE_FOR).unwrap();
        assert!(probes.has(&asked, later + IDLE_FOR));
        probes.close(&asked.session);
        let again = probes.open((&node, None), &by, later + IDLE_FOR).unwrap();
        assert!(!probes.has(&place, later + IDLE_FOR), "forgotten");
        probes.close(&again.session);
        for _ in 0..PROBES_MAX {
            probes.open((&ids::node(), None), &by, now).unwrap();
        }
        assert_eq!(probes.open((&node, None), &by, now), Err(Full::All));
    }
}
