//! The lines of those who wait, each with its pace.
//!
//! A line is those who wait for the same in the same place; what that is, is the caller's to say. In one
//! line people are served one after the other, as slots that suit them come free: its pace is what others
//! in it have just seen, whatever makes it slow.
//!
//! **Invariants.** A session stands in one line at most. A new line is begun beside fewer than `LINES_MAX`
//! in which nobody stands; of more, those that were left first are forgotten.
//!
//! **What it does not know:** the order of the queue. It is handed in, next first.

use super::{Eta, Pace};
use nearlight_protocol::id::SessionId;
use nearlight_protocol::unit::MonoTime;
use std::collections::HashMap;
use std::hash::Hash;

/// Lines that are remembered though nobody stands in them: what a region has of places, and of kinds of
/// needs that are ever short.
const LINES_MAX: usize = 1024;

/// Who stands in which line.
#[derive(Clone, Debug)]
pub struct Lines<K> {
    lines: HashMap<K, Pace>,
    members: HashMap<SessionId, K>,
}

impl<K> Default for Lines<K> {
    fn default() -> Self {
        Self {
            lines: HashMap::new(),
            members: HashMap::new(),
        }
    }
}

impl<K: Clone + Eq + Hash> Lines<K> {
    /// A session joins a line at its end, unless it stands in one.
    pub fn join(&mut self, session: &SessionId, line: impl FnOnce() -> K, now: MonoTime) {
        if self.members.contains_key(session) {
            return;
        }
        let line = line();
        if !self.lines.contains_key(&line) {
            self.make_room();
        }
        self.lines.entry(line.clone()).or_default().join(now);
        self.members.insert(session.clone(), line);
    }

    /// A session leaves its line, with a slot or without.
    pub fn leave(&mut self, session: &SessionId, now: MonoTime) {
        let line = self.members.remove(session);
        if let Some(pace) = line.and_then(|line| self.lines.get_mut(&line)) {
            pace.leave(now);
        }
    }

    /// Whoever stands in a line and is not among those who wait has left it.
    pub fn keep(&mut self, waits: impl Fn(&SessionId) -> bool, now: MonoTime) {
        let lines = &mut self.lines;
        self.members.retain(|session, line| {
            let stays = waits(session);
            if !stays && let Some(pace) = lines.get_mut(line) {
                pace.leave(now);
            }
            stays
        });
    }

    /// Everybody goes on waiting elsewhere.
    pub fn clear(&mut self, now: MonoTime) {
        for (_, line) in self.members.drain() {
            if let Some(pace) = self.lines.get_mut(&line) {
                pace.step_out(now);
            }
        }
    }

    /// When it is the turn of each of those who wait, next first, as far as the pace of their lines says.
    pub fn etas<'a>(
        &'a self,
        order: impl Iterator<Item = &'a SessionId>,
        now: MonoTime,
    ) -> impl Iterator<Item = Option<Eta>> {
        let mut places: HashMap<&K, u32> = HashMap::new();
        order.map(move |session| {
            let line = self.members.get(session)?;
            let place = places.entry(line).or_default();
            *place += 1;
            self.lines.get(line)?.eta(*place, now)
        })
    }

    /// When it is the turn of whoever stands last in the line of this session.
    pub fn eta_of_the_last(&self, session: &SessionId, now: MonoTime) -> Option<Eta> {
        let pace = self.lines.get(self.members.get(session)?)?;
        pace.eta(pace.len(), now)
    }

    /// Forgets the older half of the lines in which nobody stands, once they are too many.
    fn make_room(&mut self) {
        if self.lines.len() < LINES_MAX {
            return;
        }
        let empty = self.lines.iter().filter(|(_, pace)| pace.is_empty());
        let mut empty: Vec<(MonoTime, K)> = empty
            .map(|(line, pace)| (pace.looked_at(), line.clone()))
            .collect();
        if empty.len() < LINES_MAX {
            return;
        }
        empty.sort_by_key(|(looked_at, _)| *looked_at);
        for (_, line) in &empty[..empty.len() - LINES_MAX / 2] {
            self.lines.remove(line);
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn at(s: u64) -> MonoTime {
        MonoTime(s * 1_000_000)
    }

    fn id(n: u64) -> SessionId {
        SessionId::from_parts(n, [0; 10])
    }

    /// Ten seconds a place in the line "fast", a minute in "slow", for ten minutes; nobody is left.
    fn moving() -> Lines<&'static str> {
        let mut lines = Lines::default();
        for s in 0..=600 {
            for (line, every_s) in [("fast", 10), ("slow", 60)] {
                if s % every_s == 0 {
                    let (before, after) =
                        (id(s * 100 + every_s), id((s + every_s) * 100 + every_s));
                    lines.join(&after, || line, at(s));
                    lines.leave(&before, at(s));
                }
            }
        }
        lines.keep(|_| false, at(600));
        lines
    }

    fn half_s(eta: Option<Eta>) -> u32 {
        eta.unwrap().half_s.unwrap()
    }

    #[test]
    fn each_is_told_the_pace_of_its_own_line_by_its_place_in_the_queue() {
        let mut lines = moving();
        let waiting = [
            (1, "slow"),
            (2, "fast"),
            (3, "new"),
            (4, "fast"),
            (5, "slow"),
        ];
        // They come in another order than theirs in the queue.
        for (n, line) in waiting.into_iter().rev() {
            lines.join(&id(n), || line, at(700));
        }
        let order: Vec<SessionId> = waiting.iter().map(|(n, _)| id(*n)).collect();
        let etas: Vec<Option<Eta>> = lines.etas(order.iter(), at(700)).collect();
        assert_eq!(etas[2], None, "of a new line nothing is known");
        let (fast, slow) = (half_s(etas[1]), half_s(etas[0]));
        assert!((8..=12).contains(&fast), "{fast}");
        assert!((50..=70).contains(&slow), "{slow}");
        assert!(half_s(etas[3]).abs_diff(2 * fast) <= 1);
        assert!(half_s(etas[4]).abs_diff(2 * slow) <= 1);
        assert_eq!(lines.eta_of_the_last(&id(1), at(700)), etas[4]);
    }

    #[test]
    fn who_does_not_wait_any_more_has_left_and_who_waits_elsewhere_has_not() {
        let mut lines = Lines::default();
        for n in 0..6 {
            lines.join(&id(n), || "line", at(0));
            lines.join(&id(n), || "another", at(0));
        }
        let mut moved = lines.clone();
        for n in 1..6 {
            lines.keep(|session| *session >= id(n), at(10 * n));
        }
        let eta = lines.eta_of_the_last(&id(5), at(50)).unwrap();
        assert_eq!(eta.half_s, Some(10));
        moved.clear(at(50));
        moved.join(&id(9), || "line", at(50));
        assert_eq!(moved.eta_of_the_last(&id(9), at(50)), None);
    }

    #[test]
    fn so_many_empty_lines_are_remembered_and_none_with_people_is_forgotten() {
        let mut lines = Lines::default();
        let many = LINES_MAX as u64 + 10;
        for n in 0..many {
            lines.join(&id(n), || n, at(n));
        }
        assert_eq!(lines.lines.len() as u64, many, "somebody stands in each");
        lines.keep(|_| false, at(many));
        lines.join(&id(many), || many, at(many));
        assert_eq!(lines.lines.len(), LINES_MAX / 2 + 1);
        assert!(lines.lines.contains_key(&many));
    }
}
