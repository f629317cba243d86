//! Who is next when every slot is taken, when, and whom to try.
//!
//! **Fairness.** Who came first is next, by the time at which it was asked for, whichever broker was asked;
//! but each further session that a caller has waiting counts as if it had come [`FURTHER_MS`] later than the
//! one before. So everyone's first comes before anyone's second, one caller cannot push others back by
//! asking more often, and yet a second is not overtaken for ever.
//!
//! **Priority** is a head start: a session of high priority stands where it would stand had it come
//! [`HEAD_START_MS`] earlier, one of low priority as much later. So nobody starves: who has waited for
//! twice that long is overtaken by no newcomer, whatever they are.
//!
//! **Whom to try.** To try everybody against the whole fleet whenever a node has changed costs more than
//! all else, and to try only the first few leaves those behind them waiting for nothing, as long as the
//! first want what is not there. So a session is tried against the fleet when it comes, and when the
//! circle around it widens ([`Queue::due`]). In between only a node that can take more than before is
//! news: offer it to [`Queue::iter`], next first. Whom it is too far away for is tried again
//! ([`Queue::try_again`]), unless that is due anyhow: nobody nearer may be worth waiting for any more.
//!
//! **Honesty.** What is told is the pace of one's line ([`Lines`]), and until that is known a forecast
//! of when slots are free ([`forecast`]). Where neither is known the answer is "unknown", not a guess.
//!
//! **What it does not know:** slots, nodes and needs.

use nearlight_protocol::id::{SessionId, UserId};
use nearlight_protocol::identity::Priority;
use nearlight_protocol::unit::MonoTime;
use std::collections::{BTreeMap, BTreeSet, HashMap};

pub mod forecast;
mod lines;
mod pace;

pub use lines::Lines;
pub use pace::Pace;

/// How much later each further session of a caller counts than the one before, milliseconds.
pub const FURTHER_MS: i64 = 120_000;
/// By how much a priority moves a session, milliseconds.
pub const HEAD_START_MS: i64 = 10 * 60 * 1000;

/// When somebody's turn is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Eta {
    /// Seconds that one wait in two does not exceed, or unknown.
    pub half_s: Option<u32>,
    /// Seconds that nine waits in ten do not exceed, or unknown.
    pub most_s: Option<u32>,
}

/// The sessions that wait.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    /// Next first.
    waiting: BTreeMap<Place, Waiting>,
    places: HashMap<SessionId, Place>,
    /// What each caller has waiting, by arrival.
    callers: HashMap<UserId, BTreeSet<Arrival>>,
    revision: u64,
}

/// When a session came, microseconds, and which; what came at once has an order, too.
type Arrival = (i64, SessionId);
/// What it counts as, microseconds, and when it came.
type Place = (i64, Arrival);

#[derive(Clone, Debug)]
struct Waiting {
    user: UserId,
    priority: Priority,
    /// When it is to be tried against the whole fleet.
    due: Option<MonoTime>,
}

/// What the `nth` session (from 0) of a caller counts as that came at `arrival`.
fn counts_as(arrival: i64, priority: Priority, nth: usize) -> i64 {
    let later_ms = match priority {
        Priority::Low => HEAD_START_MS,
        Priority::Normal => 0,
        Priority::High => -HEAD_START_MS,
    };
    let back_ms = i64::try_from(nth)
        .unwrap_or(i64::MAX)
        .saturating_mul(FURTHER_MS);
    arrival.saturating_add(later_ms.saturating_add(back_ms).saturating_mul(1000))
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
        self.insert((arrival, session), user, priority);
    }

    /// Puts a session that had a slot and lost it before it started back to the front.
    pub fn push_front(&mut self, session: SessionId, user: UserId) {
        let first = self.waiting.keys().next().map_or(0, |(at, _)| *at);
        let arrival = (first.saturating_sub(1), session);
        self.insert(arrival, user, Priority::Normal);
    }

    /// Takes a session out.
    pub fn remove(&mut self, session: &SessionId) {
        let Some(place) = self.places.remove(session) else {
            return;
        };
        if let Some(gone) = self.waiting.remove(&place) {
            if let Some(arrivals) = self.callers.get_mut(&gone.user) {
                arrivals.remove(&place.1);
            }
            self.place_anew(&gone.user);
        }
        self.revision += 1;
    }

    /// Rises with every change of who waits, and in which order.
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

    /// Whether a session waits.
    pub fn contains(&self, session: &SessionId) -> bool {
        self.places.contains_key(session)
    }

    /// Whether `one` waits, and comes before `other`, who may not wait.
    pub fn is_before(&self, one: &SessionId, other: &SessionId) -> bool {
        let (one, other) = (self.places.get(one), self.places.get(other));
        one.is_some_and(|one| other.is_none_or(|other| one < other))
    }

    /// Everyone who waits, next first.
    pub fn iter(&self) -> impl Iterator<Item = &SessionId> {
        self.waiting.keys().map(|(_, (_, session))| session)
    }

    /// Everyone who waits, next first.
    pub fn order(&self) -> Vec<SessionId> {
        self.iter().cloned().collect()
    }

    /// Who is to be tried against the whole fleet now, next first, `max` at most: who has just come,
    /// and who waited for this moment. They stay due until [`Queue::in_vain`].
    pub fn due(&self, now: MonoTime, max: usize) -> Vec<SessionId> {
        let due = |one: &Waiting| one.due.is_some_and(|at| at <= now);
        let due = self.waiting.iter().filter(|(_, one)| due(one));
        due.take(max).map(|((_, (_, s)), _)| s.clone()).collect()
    }

    /// A session was tried in vain. It is due again at `until`, or only offered nodes that can take
    /// more than before.
    pub fn in_vain(&mut self, session: &SessionId, until: Option<MonoTime>) {
        let place = self.places.get(session);
        if let Some(one) = place.and_then(|place| self.waiting.get_mut(place)) {
            one.due = until;
        }
    }

    /// A session that is due at no time is due now: something has changed for it that only a look at the
    /// whole fleet can judge.
    pub fn try_again(&mut self, session: &SessionId) {
        let place = self.places.get(session);
        if let Some(one) = place.and_then(|place| self.waiting.get_mut(place)) {
            one.due.get_or_insert(MonoTime(0));
        }
    }

    /// Everyone is due now: what they want has changed.
    pub fn try_all(&mut self) {
        for one in self.waiting.values_mut() {
            one.due = Some(MonoTime(0));
        }
    }

    /// When somebody is due next.
    pub fn next_due(&self) -> Option<MonoTime> {
        self.waiting.values().filter_map(|one| one.due).min()
    }

    fn insert(&mut self, arrival: Arrival, user: UserId, priority: Priority) {
        if self.places.contains_key(&arrival.1) {
            return;
        }
        let place = (arrival.0, arrival.clone());
        self.places.insert(arrival.1.clone(), place.clone());
        let arrivals = self.callers.entry(user.clone()).or_default();
        arrivals.insert(arrival);
        let waiting = Waiting {
            user: user.clone(),
            priority,
            due: Some(MonoTime(0)),
        };
        self.waiting.insert(place, waiting);
        self.place_anew(&user);
        self.revision += 1;
    }

    /// A caller's sessions where they belong, now that one has come or gone.
    fn place_anew(&mut self, user: &UserId) {
        let Some(arrivals) = self.callers.get(user) else {
            return;
        };
        if arrivals.is_empty() {
            self.callers.remove(user);
            return;
        }
        for (nth, arrival) in arrivals.iter().enumerate() {
            let Some(place) = self.places.get_mut(&arrival.1) else {
                continue;
            };
            let Some(waiting) = self.waiting.remove(place) else {
                continue;
            };
            place.0 = counts_as(arrival.0, waiting.priority, nth);
            self.waiting.insert(place.clone(), waiting);
        }
    }
}

#[cfg(test)]
#[path = "queue/test.rs"]
mod test;
