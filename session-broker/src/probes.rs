//! The probes of checkers that this broker carries: which node, under which id, and whose.
//!
//! A probe's id has a session's shape, for a tunnel carries it; no session has it, and its epoch is 0, which none has.
//!
//! **Invariants.** One probe a GPU of a node at a time, so many in all. One that nobody speaks in any more is gone, and its
//! tunnel with it; so is one whose time is over, whoever speaks in it. What is due comes before what nobody assigned, which gives its
//! room up. Questions whether a node is there have room of their own. Nothing of a probe outlives the broker: its checker
//! begins another.
//!
//! **What it does not know:** what is said in a probe, what is due.

use crate::tunnels::Place;
use nearlight_protocol::id::{NodeId, SessionId, UserId};
use nearlight_session::Epoch;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Probes at a time.
const PROBES_MAX: usize = 256;
/// Questions whether a node is there at a time.
const ASKS_MAX: usize = 256;
/// Of them of one user: a checker asks four at a time.
const ASKS_OF_ONE_MAX: usize = 32;
/// Probes that nobody assigned, of one user at a time: those of a host with many GPUs.
const OWN_MAX: usize = 16;
/// How long a probe that nobody assigned may last: seven steps of a slow node, as a rule minutes.
const OWN_FOR: Duration = Duration::from_secs(3600);
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
    /// As many that nobody assigned as one user may have.
    Own,
}

/// Why somebody may probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// It is assigned to them, for so long.
    Due(Duration),
    /// They may, and nobody assigned it.
    Own,
}

/// The probes that are under way.
#[derive(Debug, Default)]
pub(crate) struct Probes(Mutex<HashMap<SessionId, Probe>>);

#[derive(Debug)]
struct Probe {
    node: NodeId,
    by: UserId,
    used: Instant,
    ends: Instant,
    is_due: bool,
    /// Which GPU of the node it has; a question whether the node is there has none.
    seat: Option<Seat>,
}

/// Which GPU of a node: one by its id, or the first that the node proves.
pub(crate) type Seat = Option<String>;

impl Probe {
    fn is_over(&self, now: Instant) -> bool {
        now.duration_since(self.used) >= IDLE_FOR || now >= self.ends
    }
}

impl Probes {
    /// Room for a probe of a GPU of a node, by this checker.
    pub(crate) fn open(
        &self,
        (node, seat): (&NodeId, Seat),
        (by, reason): (&UserId, Reason),
        now: Instant,
    ) -> Result<Place, Full> {
        let mut probes = self.lock();
        probes.retain(|_, probe| !probe.is_over(now));
        let is_due = matches!(reason, Reason::Due(_));
        let own = probes.values().filter(|of| of.seat.is_some() && !of.is_due);
        if !is_due && own.filter(|of| of.by == *by).count() >= OWN_MAX {
            return Err(Full::Own);
        }
        let same = |of: &Probe| of.node == *node && of.seat.as_ref() == Some(&seat);
        let seated = probes.iter().find(|(_, of)| same(of));
        match seated.map(|(id, of)| (id.clone(), of.is_due)) {
            Some((id, false)) if is_due => drop(probes.remove(&id)),
            Some(_) => return Err(Full::Node),
            None => {}
        }
        if probes.values().filter(|of| of.seat.is_some()).count() >= PROBES_MAX {
            let own = probes
                .iter()
                .filter(|(_, of)| of.seat.is_some() && !of.is_due);
            let oldest = own.min_by_key(|(_, of)| of.ends).map(|(id, _)| id.clone());
            let oldest = oldest.filter(|_| is_due).ok_or(Full::All)?;
            probes.remove(&oldest);
        }
        let lasts = match reason {
            Reason::Due(lasts) => lasts,
            Reason::Own => OWN_FOR,
        };
        let probe = Probe {
            node: node.clone(),
            by: by.clone(),
            used: now,
            ends: now + lasts,
            is_due,
            seat: Some(seat),
        };
        Ok(insert(&mut probes, probe))
    }

    /// Room for a question that takes no prover; `None` if as much is under way as may be.
    pub(crate) fn ask(&self, node: &NodeId, by: &UserId, now: Instant) -> Option<Place> {
        let mut probes = self.lock();
        probes.retain(|_, probe| !probe.is_over(now));
        let asks = probes.values().filter(|of| of.seat.is_none());
        let (mut all, mut own) = (0, 0);
        for ask in asks {
            all += 1;
            own += usize::from(ask.by == *by);
        }
        let probe = Probe {
            node: node.clone(),
            by: by.clone(),
            used: now,
            ends: now + IDLE_FOR,
            is_due: false,
            seat: None,
        };
        (all < ASKS_MAX && own < ASKS_OF_ONE_MAX).then(|| insert(&mut probes, probe))
    }

    /// A probe of this checker, which says something in it now.
    pub(crate) fn of(&self, id: &SessionId, by: &UserId, now: Instant) -> Option<Place> {
        let mut probes = self.lock();
        let probe = probes.get_mut(id)?;
        let is_theirs = probe.by == *by && !probe.is_over(now);
        is_theirs.then(|| {
            probe.used = now;
            place(id.clone(), &probe.node)
        })
    }

    /// Whether this is the place of a probe that is under way.
    pub(crate) fn has(&self, place: &Place, now: Instant) -> bool {
        let probes = self.lock();
        let probe = probes.get(&place.session);
        probe.is_some_and(|probe| probe.node == place.node && !probe.is_over(now))
    }

    /// It is over.
    pub(crate) fn close(&self, id: &SessionId) {
        self.lock().remove(id);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Probe>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn insert(probes: &mut HashMap<SessionId, Probe>, probe: Probe) -> Place {
    let (id, node) = (nearlight_kit::ids::session(), probe.node.clone());
    probes.insert(id.clone(), probe);
    place(id, &node)
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
        let due = Reason::Due(2 * IDLE_FOR);
        let by = (&by, due);
        let place = probes.open((&node, None), by, now).unwrap();
        assert_eq!(probes.open((&node, None), by, now), Err(Full::Node));
        let gpu = |n: u32| Some(format!("GPU-{n}"));
        let other = probes.open((&node, gpu(1)), by, now).unwrap();
        let both = probes.open((&node, gpu(2)), by, now).unwrap();
        assert_eq!(probes.open((&node, gpu(1)), by, now), Err(Full::Node));
        probes.close(&other.session);
        probes.close(&both.session);
        assert!(probes.has(&place, now));
        assert_eq!(
            probes.of(&place.session, &ids::user(), now),
            None,
            "another's"
        );
        let later = now + Duration::from_secs(600);
        assert_eq!(probes.of(&place.session, by.0, later), Some(place.clone()));
        assert!(probes.has(&place, later + Duration::from_secs(600)));
        assert!(!probes.has(&place, later + IDLE_FOR));
        assert_eq!(probes.of(&place.session, by.0, later + IDLE_FOR), None);
        let asked = probes.ask(&node, by.0, later + IDLE_FOR).unwrap();
        assert!(probes.has(&asked, later + IDLE_FOR));
        probes.close(&asked.session);
        let again = probes.open((&node, None), by, later + IDLE_FOR).unwrap();
        assert!(!probes.has(&place, later + IDLE_FOR), "forgotten");
        probes.close(&again.session);
        for _ in 0..PROBES_MAX {
            probes.open((&ids::node(), None), by, now).unwrap();
        }
        assert_eq!(probes.open((&node, None), by, now), Err(Full::All));
    }

    #[tokio::test]
    async fn what_is_due_waits_for_nothing_that_nobody_assigned() {
        let (probes, node) = (Probes::default(), ids::node());
        let (lazy, other, due) = (ids::user(), ids::user(), Reason::Due(OWN_FOR));
        let now = Instant::now();
        let own = probes.open((&node, None), (&lazy, Reason::Own), now);
        let own = own.unwrap();
        let taken = probes.open((&node, None), (&other, Reason::Own), now);
        assert_eq!(taken, Err(Full::Node));
        let assigned = probes.open((&node, None), (&other, due), now).unwrap();
        assert!(!probes.has(&own, now), "it gave its seat up");
        assert_eq!(probes.of(&own.session, &lazy, now), None);
        let again = probes.open((&node, None), (&lazy, due), now);
        assert_eq!(again, Err(Full::Node), "the committee's others wait");
        for _ in 0..OWN_MAX {
            let opened = probes.open((&ids::node(), None), (&lazy, Reason::Own), now);
            opened.unwrap();
        }
        let more = probes.open((&ids::node(), None), (&lazy, Reason::Own), now);
        assert_eq!(more, Err(Full::Own));
        // All of the room, by many keys: what is due has room all the same, and questions have theirs.
        for n in 0..PROBES_MAX {
            let by = if n % 8 == 0 {
                ids::user()
            } else {
                other.clone()
            };
            drop(probes.open((&ids::node(), None), (&by, Reason::Own), now));
        }
        for _ in 0..PROBES_MAX - 1 {
            probes
                .open((&ids::node(), None), (&other, due), now)
                .unwrap();
        }
        assert!(probes.has(&assigned, now));
        let full = probes.open((&ids::node(), None), (&other, due), now);
        assert_eq!(full, Err(Full::All));
        for _ in 0..ASKS_OF_ONE_MAX {
            assert!(probes.ask(&node, &other, now).is_some());
        }
        assert!(probes.ask(&node, &other, now).is_none());
        assert!(probes.ask(&node, &lazy, now).is_some(), "nor by one key");
        // However often it is spoken in.
        let mut at = now;
        while at < now + OWN_FOR {
            assert!(probes.of(&assigned.session, &other, at).is_some());
            at += IDLE_FOR / 2;
        }
        assert_eq!(probes.of(&assigned.session, &other, now + OWN_FOR), None);
        assert!(!probes.has(&assigned, now + OWN_FOR));
    }
}
