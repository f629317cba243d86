//! Who is next when every slot is taken, when, and whom to try.
//!
//! **Fairness.** Who came first is next, by the time at which it was asked for, whichever broker was asked;
//! but each further session that a caller has waiting counts as if it had come [`FURTHER_MS`] later than the
//! one before. So everyone's first comes before anyone's second, one caller cannot push others back by
//! asking more often, and yet a second is not overtaken for ever.
//!
//! **Standing.** A caller's weight divides that time, and its head start makes its sessions count as if
//! they had come earlier. Both are bounded times, so nobody starves: whatever comes later than that stands
//! behind.
//!
//! **Whom to try.** To try everybody against the whole fleet whenever a node has changed costs more than
//! all else, and to try only the first few leaves those behind them waiting for nothing, as long as the
//! first want what is not there. So a session is tried against the fleet when it comes, and when the
//! circle around it widens ([`Queue::due`]). In between only a node that can take more than before is
//! news: offer it to [`Queue::iter`], next first.
//!
//! **Honesty.** An ETA is computed from what is known: sessions that are kept for an absent player
//! end at a known time, the others last as long as sessions of late have lasted. Where neither is
//! known the answer is "unknown", not a guess.
//!
//! **What it does not know:** slots, nodes and needs.

use nearlight_protocol::id::{SessionId, UserId};
use nearlight_protocol::unit::MonoTime;
use std::collections::{BTreeMap, BTreeSet, HashMap};

mod pace;

pub use pace::Pace;

/// How much later each further session of a caller counts than the one before, milliseconds.
pub const FURTHER_MS: u64 = 120_000;
/// The longest head start, milliseconds.
pub const HEAD_START_MS_MAX: u64 = 600_000;

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
    standing: Standing,
    /// When it is to be tried against the whole fleet.
    due: Option<MonoTime>,
}

/// How a caller stands in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Divides what further sessions are put back by: 1 is usual, 0 counts as 1.
    pub weight: u32,
    /// As if it had come so much earlier, milliseconds; [`HEAD_START_MS_MAX`] at most.
    pub head_start_ms: u64,
}

impl Default for Standing {
    fn default() -> Self {
        Self {
            weight: 1,
            head_start_ms: 0,
        }
    }
}

impl Standing {
    /// What the caller's `nth` session (from 0) that came at `arrival` counts as.
    fn counts_as(self, arrival: i64, nth: usize) -> i64 {
        let nth = u64::try_from(nth).unwrap_or(u64::MAX);
        let back_ms = nth.saturating_mul(FURTHER_MS / u64::from(self.weight.max(1)));
        let micros = |ms: u64| i64::try_from(ms.saturating_mul(1000)).unwrap_or(i64::MAX);
        let ahead = micros(self.head_start_ms.min(HEAD_START_MS_MAX));
        arrival
            .saturating_sub(ahead)
            .saturating_add(micros(back_ms))
    }
}

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
        self.enter(session, user, came_at, Standing::default());
    }

    /// The same for a caller of some standing.
    pub fn enter(
        &mut self,
        session: SessionId,
        user: UserId,
        came_at: MonoTime,
        standing: Standing,
    ) {
        let arrival = i64::try_from(came_at.0).unwrap_or(i64::MAX);
        self.insert((arrival, session), user, standing);
    }

    /// Puts a session that had a slot and lost it before it started back to the front.
    pub fn push_front(&mut self, session: SessionId, user: UserId) {
        let first = self.waiting.keys().next().map_or(0, |(at, _)| *at);
        let standing = Standing::default();
        self.insert((first.saturating_sub(1), session), user, standing);
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

    /// When somebody is due next.
    pub fn next_due(&self) -> Option<MonoTime> {
        self.waiting.values().filter_map(|one| one.due).min()
    }

    fn insert(&mut self, arrival: Arrival, user: UserId, standing: Standing) {
        if self.places.contains_key(&arrival.1) {
            return;
        }
        let place = (arrival.0, arrival.clone());
        self.places.insert(arrival.1.clone(), place.clone());
        let arrivals = self.callers.entry(user.clone()).or_default();
        arrivals.insert(arrival);
        let waiting = Waiting {
            user: user.clone(),
            standing,
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
            place.0 = waiting.standing.counts_as(arrival.0, nth);
            self.waiting.insert(place.clone(), waiting);
        }
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
#[path = "queue/test.rs"]
mod test;
