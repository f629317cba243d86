//! Probes that wait for a moment that other checkers keep, too: nodes that may be one machine are told their nonces in it.
//!
//! ```text
//!   add --> waiting --LEAD before its moment, all that have it--> next --> opened, begun --the moment--> nonces
//! ```
//!
//! **Invariants.** What has one moment is handed out together, the earliest first, and once. Of more than are probed at once
//! the round's value says which go first: nobody knows it before the round, and it is another order for each place.
//!
//! **What it does not know:** what a probe is, which nodes belong together.

use super::{Work, lock};
use nearlight_proof::porc::meeting::LEAD_MS;
use nearlight_proof::porc::mixer::hash;
use nearlight_protocol::checker::Duty;
use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Nodes that wait. More are asked for again.
const WAITING_MAX: usize = 512;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Meetings {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// By moment, Unix milliseconds: all of a node each.
    waiting: BTreeMap<u64, Vec<Work>>,
    is_closed: bool,
}

impl State {
    /// What begins now, or for how long nothing does.
    fn due(&mut self, now_ms: u64) -> Result<(u64, Vec<Work>), Option<Duration>> {
        let first = self.waiting.first_entry().ok_or(None)?;
        let begins_ms = first.key().saturating_sub(LEAD_MS);
        match begins_ms.checked_sub(now_ms) {
            None | Some(0) => Ok(first.remove_entry()),
            Some(left_ms) => Err(Some(Duration::from_millis(left_ms))),
        }
    }
}

impl Meetings {
    /// A node's probes wait for their moment. Whether there is room.
    pub(super) fn add(&self, moment_ms: u64, work: Work) -> bool {
        let mut state = lock(&self.state);
        let waiting: usize = state.waiting.values().map(Vec::len).sum();
        if state.is_closed || waiting >= WAITING_MAX {
            return false;
        }
        state.waiting.entry(moment_ms).or_default().push(work);
        self.changed.notify_all();
        true
    }

    /// Waits until it is time to begin for a moment: the moment, and all that have it. `None` once it is closed.
    pub(super) fn next(&self, now_ms: impl Fn() -> u64) -> Option<(u64, Vec<Work>)> {
        let mut state = lock(&self.state);
        loop {
            if state.is_closed {
                return None;
            }
            state = match state.due(now_ms()) {
                Ok(met) => return Some(met),
                Err(None) => {
                    let woken = self.changed.wait(state);
                    woken.unwrap_or_else(PoisonError::into_inner)
                }
                Err(Some(left)) => {
                    let woken = self.changed.wait_timeout(state, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Nothing is handed out any more.
    pub(super) fn close(&self) {
        lock(&self.state).is_closed = true;
        self.changed.notify_all();
    }
}

/// Those that meet, in the order in which they are taken if there are too many.
pub(super) fn drawn(mut met: Vec<Work>) -> Vec<Work> {
    let rank = |duty: &Duty| {
        let (of, place) = (&duty.assignment, duty.assignment.place.to_le_bytes());
        let parts = [duty.value.as_bytes(), of.node_key_id.as_bytes(), &place];
        hash("porc/v1 first", &parts)
    };
    met.sort_by_cached_key(|(duties, _)| duties.first().map(rank));
    met
}

#[cfg(test)]
mod test {
    use super::super::test::duty;
    use super::*;

    fn work(node: &str) -> Work {
        (vec![duty(7, node, "capacity")], String::new())
    }

    fn names(met: &[Work]) -> Vec<&str> {
        let names = met.iter().map(|(duties, _)| &duties[0]);
        names
            .map(|duty| duty.assignment.node_key_id.as_str())
            .collect()
    }

    #[test]
    fn what_has_one_moment_is_handed_out_together_and_the_earliest_first() {
        let meetings = Meetings::default();
        for (moment_ms, node) in [(90_000, "late"), (80_000, "a"), (80_000, "b")] {
            assert!(meetings.add(moment_ms, work(node)));
        }
        let mut state = lock(&meetings.state);
        let left = Some(Duration::from_millis(1));
        assert_eq!(state.due(80_000 - LEAD_MS - 1).unwrap_err(), left);
        let (moment_ms, met) = state.due(80_000 - LEAD_MS).unwrap();
        assert_eq!((moment_ms, names(&met)), (80_000, vec!["a", "b"]));
        let (moment_ms, met) = state.due(95_000).unwrap();
        assert_eq!((moment_ms, names(&met)), (90_000, vec!["late"]));
        assert_eq!(state.due(95_000).unwrap_err(), None);
    }

    #[test]
    fn there_is_room_for_so_many_and_none_once_it_is_closed() {
        let meetings = Meetings::default();
        for n in 0..WAITING_MAX {
            assert!(meetings.add(1_000 + n as u64, work("a")));
        }
        assert!(!meetings.add(1_000, work("b")));
        assert_eq!(meetings.next(|| 1_000).unwrap().0, 1_000);
        assert!(meetings.add(1_000, work("b")));
        meetings.close();
        assert!(meetings.next(|| 1_000).is_none());
        assert!(!meetings.add(1_000, work("c")));
    }

    #[test]
    fn whoever_waits_for_a_moment_is_woken_by_an_earlier_one_and_by_the_end() {
        let meetings = Meetings::default();
        std::thread::scope(|scope| {
            let first = scope.spawn(|| meetings.next(|| 0));
            assert!(meetings.add(u64::MAX, work("far")));
            assert!(meetings.add(LEAD_MS, work("near")));
            assert_eq!(first.join().unwrap().unwrap().0, LEAD_MS);
            let second = scope.spawn(|| meetings.next(|| 0));
            meetings.close();
            assert!(second.join().unwrap().is_none());
        });
    }

    /// Every round and every place has an order of its own: whoever is behind in one is in front in another.
    #[test]
    fn who_goes_first_of_too_many_is_drawn() {
        let met = |value: &str, place: u32| -> Vec<String> {
            let of = |n: u32| {
                let mut duty = duty(7, &format!("node-{n}"), "capacity");
                (duty.value, duty.assignment.place) = (value.to_owned(), place);
                (vec![duty], String::new())
            };
            let drawn = drawn((0..20).map(of).collect());
            names(&drawn).into_iter().map(str::to_owned).collect()
        };
        assert_eq!(met("a", 0), met("a", 0));
        assert_ne!(met("a", 0), met("a", 1));
        assert_ne!(met("a", 0), met("b", 0));
        let mut sorted = met("a", 0);
        sorted.sort();
        sorted.dedup();
        assert_eq!(sorted.len(), 20);
    }
}
