//! Who is next when every slot is taken, and when.
//!
//! **Fairness.** Everyone's first waiting session comes before anyone's second; within a rank, who
//! came first: by the time at which it was asked for, whichever broker was asked. One caller cannot push others back by asking more often.
//!
//! **Priority** is a head start: a session of high priority stands where it would stand had it come
//! [`HEAD_START_MS`] earlier, one of low priority as much later. So nobody starves: who has waited for
//! twice that long is overtaken by no newcomer, whatever they are.
//!
//! **Honesty.** What an ETA is computed from is in [`forecast`]. Where it is not known the answer is
//! "unknown", not a guess.
//!
//! **What it does not know:** slots and needs. The caller walks the order and takes the first
//! session that fits somewhere, so that one with rare needs does not hold up the rest.

use nearlight_protocol::id::{SessionId, UserId};
use nearlight_protocol::identity::Priority;
use nearlight_protocol::unit::MonoTime;
use std::collections::{BTreeMap, HashMap};

pub mod forecast;

/// By how much a priority moves a session, milliseconds.
pub const HEAD_START_MS: i64 = 10 * 60 * 1000;

/// The sessions that wait.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    /// By arrival; what comes back to the front is before the first.
    waiting: BTreeMap<Arrival, UserId>,
    arrivals: HashMap<SessionId, i64>,
    revision: u64,
}

/// When a session came, microseconds, and which; what came at once has an order, too.
type Arrival = (i64, SessionId);

/// A session that has a slot, as far as the ETA is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occupied {
    /// How long it has had its slot, milliseconds.
    pub age_ms: u64,
    /// In how many milliseconds it ends at the latest, if that is certain: a time limit, or the
    /// grace of an absent player.
    pub ends_in_ms: Option<u64>,
}

impl Queue {
    /// Lets a session wait that came at `came_at`. One that waits already keeps its place.
    pub fn push(&mut self, session: SessionId, user: UserId, came_at: MonoTime) {
        self.push_as(session, user, came_at, Priority::Normal);
    }

    /// Lets a session of this priority wait. One that waits already keeps its place.
    pub fn push_as(
        &mut self,
        session: SessionId,
        user: UserId,
        came_at: MonoTime,
        priority: Priority,
    ) {
        let arrival = i64::try_from(came_at.0).unwrap_or(i64::MAX);
        let later_ms = match priority {
            Priority::Low => HEAD_START_MS,
            Priority::Normal => 0,
            Priority::High => -HEAD_START_MS,
        };
        self.insert(arrival.saturating_add(later_ms * 1000), session, user);
    }

    /// Puts a session that had a slot and lost it before it started back to the front.
    pub fn push_front(&mut self, session: SessionId, user: UserId) {
        let first = self.waiting.keys().next().map_or(0, |(at, _)| *at);
        self.insert(first.saturating_sub(1), session, user);
    }

    /// Takes a session out.
    pub fn remove(&mut self, session: &SessionId) {
        if let Some(arrival) = self.arrivals.remove(session) {
            self.waiting.remove(&(arrival, session.clone()));
            self.revision += 1;
        }
    }

    /// Rises with every change.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Everyone who waits, next first.
    pub fn order(&self) -> Vec<SessionId> {
        let mut seen: HashMap<&UserId, u32> = HashMap::new();
        let mut ranked: Vec<(u32, &Arrival)> = self
            .waiting
            .iter()
            .map(|(arrival, user)| {
                let rank = seen.entry(user).or_default();
                *rank += 1;
                (*rank, arrival)
            })
            .collect();
        ranked.sort_unstable();
        ranked.into_iter().map(|(_, (_, s))| s.clone()).collect()
    }

    fn insert(&mut self, arrival: i64, session: SessionId, user: UserId) {
        if self.arrivals.contains_key(&session) {
            return;
        }
        self.arrivals.insert(session.clone(), arrival);
        self.waiting.insert((arrival, session), user);
        self.revision += 1;
    }
}

/// Seconds until the slot for `position` (1 is next) is expected to be free, or unknown.
/// `typical_ms` is how long sessions of late have lasted, once there were enough.
pub fn eta_s(position: u32, occupied: &[Occupied], typical_ms: Option<u64>) -> Option<u32> {
    let mut free_in: Vec<u64> = occupied
        .iter()
        .filter_map(|o| match (o.ends_in_ms, typical_ms) {
            (certain, Some(typical)) => {
                let rest = typical.saturating_sub(o.age_ms);
                // One that outlasted the typical time may end any minute or last as long again.
                let rest = if rest == 0 { typical / 2 } else { rest };
                Some(certain.map_or(rest, |c| c.min(rest)))
            }
            (Some(certain), None) => Some(certain),
            (None, None) => None,
        })
        .collect();
    free_in.sort_unstable();
    let nth = usize::try_from(position.checked_sub(1)?).ok()?;
    let ms = *free_in.get(nth)?;
    u32::try_from(ms.div_ceil(1000)).ok()
}

#[cfg(test)]
mod test {
    use super::*;

    fn session(n: u64) -> SessionId {
        SessionId::from_parts(n, [0; 10])
    }

    fn user(n: u64) -> UserId {
        UserId::from_parts(n, [0; 10])
    }

    fn queue(arrivals: &[(u64, u64)]) -> Queue {
        let mut queue = Queue::default();
        for (s, u) in arrivals {
            queue.push(session(*s), user(*u), MonoTime(*s));
        }
        queue
    }

    #[test]
    fn everyones_first_comes_before_anyones_second() {
        let mut q = queue(&[(1, 1), (2, 1), (3, 2), (4, 1), (5, 2)]);
        let order = |q: &Queue| q.order();
        assert_eq!(order(&q), [1, 3, 2, 5, 4].map(session));
        q.remove(&session(1));
        assert_eq!(order(&q), [2, 3, 4, 5].map(session));
        let revision = q.revision();
        q.remove(&session(1));
        assert_eq!((q.len(), q.revision()), (4, revision));
    }

    #[test]
    fn a_priority_is_a_head_start_and_nobody_starves() {
        let minute = |n: u64| MonoTime(n * 60_000_000);
        let mut q = Queue::default();
        let as_of = |q: &mut Queue, n: u64, at: u64, priority| {
            q.push_as(session(n), user(n), minute(at), priority);
        };
        as_of(&mut q, 1, 60, Priority::Normal);
        as_of(&mut q, 2, 60, Priority::Low);
        as_of(&mut q, 3, 69, Priority::High);
        assert_eq!(q.order(), [3, 1, 2].map(session));
        // From ten minutes on nobody who comes overtakes the normal one, from twenty on the low one.
        as_of(&mut q, 4, 71, Priority::High);
        as_of(&mut q, 5, 82, Priority::High);
        as_of(&mut q, 6, 71, Priority::Normal);
        assert_eq!(q.order(), [3, 1, 4, 2, 6, 5].map(session));
    }

    #[test]
    fn a_priority_gets_nobodys_second_before_anybodys_first() {
        let mut q = Queue::default();
        q.push_as(session(1), user(1), MonoTime(1), Priority::High);
        q.push_as(session(2), user(1), MonoTime(2), Priority::High);
        q.push_as(session(3), user(2), MonoTime(3), Priority::Low);
        assert_eq!(q.order(), [1, 3, 2].map(session));
    }

    #[test]
    fn one_that_lost_its_slot_is_next_again() {
        let mut q = queue(&[(1, 1), (2, 2)]);
        q.push_front(session(3), user(3));
        q.push_front(session(4), user(4));
        q.push(session(1), user(1), MonoTime(9));
        assert_eq!(q.order(), [4, 3, 1, 2].map(session));
    }

    #[test]
    fn whoever_was_told_first_of_it_the_first_to_come_is_next() {
        let mut q = queue(&[(2, 2), (4, 4)]);
        q.push(session(3), user(3), MonoTime(3));
        q.push(session(1), user(1), MonoTime(1));
        q.push(session(5), user(5), MonoTime(1));
        assert_eq!(q.order(), [1, 5, 2, 3, 4].map(session));
    }

    #[test]
    fn an_eta_is_known_or_unknown_but_never_made_up() {
        let kept = |ms| Occupied {
            age_ms: 0,
            ends_in_ms: Some(ms),
        };
        let open = |age_ms| Occupied {
            age_ms,
            ends_in_ms: None,
        };
        assert_eq!(eta_s(1, &[], None), None);
        assert_eq!(eta_s(1, &[open(5)], None), None);
        assert_eq!(eta_s(1, &[open(5), kept(1500)], None), Some(2));
        assert_eq!(eta_s(2, &[open(5), kept(1500)], None), None);
        assert_eq!(
            eta_s(2, &[open(40_000), kept(1500)], Some(60_000)),
            Some(20)
        );
        assert_eq!(eta_s(1, &[open(90_000)], Some(60_000)), Some(30));
        assert_eq!(eta_s(0, &[kept(1)], None), None);
    }
}
