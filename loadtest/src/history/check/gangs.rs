//! I7, as nodes have it; what the ledger has of it is in its books.
//!
//! A node whose agent is dead ends nothing, and is not expected to once it was away for its grace time: then,
//! and no earlier, another run may begin.

use super::{ROUNDING_MS, Window};
use crate::history::event::{Entry, Event, Part};
use crate::history::plan::Faults;
use std::collections::HashMap;

/// A replica that runs.
struct Running<'a> {
    part: &'a Part,
    node: &'a str,
    began_ms: u64,
}

/// Of two runs of a gang the second begins when nothing of the first runs.
pub(super) fn runs(history: &[Entry], window: Window) -> Vec<String> {
    let mut running: HashMap<(&str, u64), Running<'_>> = HashMap::new();
    // Since when each agent is dead that is.
    let mut dead: HashMap<&str, u64> = HashMap::new();
    let mut broken = Vec::new();
    for Entry { at_ms, event } in history {
        match event {
            Event::AgentDead { node } => {
                dead.entry(node).or_insert(*at_ms);
            }
            Event::AgentBack { node } => {
                dead.remove(node.as_str());
            }
            Event::Began {
                node,
                slot,
                epoch,
                part: Some(part),
                ..
            } => {
                let given_up = |node: &str| {
                    let since = dead.get(node);
                    since.is_some_and(|since| {
                        at_ms + ROUNDING_MS >= since + Faults::All.node_grace_s() * 1000
                    })
                };
                let others = running.values().filter(|other| {
                    other.part.gang == part.gang
                        && other.part.run != part.run
                        && !window.has(other.began_ms)
                        && !given_up(other.node)
                });
                broken.extend(others.map(|Running { part: other, .. }| {
                    format!(
                        "I7: replica {} of run {} of {} begins while replica {} of run {} runs",
                        part.rank, part.run, part.gang, other.rank, other.run
                    )
                }));
                let began_ms = *at_ms;
                running.insert(
                    (slot, *epoch),
                    Running {
                        part,
                        node,
                        began_ms,
                    },
                );
            }
            Event::Over { slot, epoch, .. } => {
                running.remove(&(slot.as_str(), *epoch));
            }
            _ => {}
        }
    }
    broken
}

#[cfg(test)]
mod test {
    use super::*;

    fn began(node: &str, run: u32) -> Event {
        Event::Began {
            node: node.to_owned(),
            slot: format!("slot of {node}"),
            epoch: 1,
            session: "g".to_owned(),
            part: Some(Part {
                gang: "g".to_owned(),
                run,
                rank: 0,
            }),
        }
    }

    fn found(events: &[(u64, Event)]) -> usize {
        let entry = |(at_ms, event): &(u64, Event)| Entry {
            at_ms: *at_ms,
            event: event.clone(),
        };
        let history: Vec<Entry> = events.iter().map(entry).collect();
        runs(&history, Window::default()).len()
    }

    #[test]
    fn i7_a_run_may_begin_beside_one_whose_agent_is_dead_once_its_grace_is_over() {
        let node = || "one".to_owned();
        let first = (0, began("one", 0));
        let dead = (1000, Event::AgentDead { node: node() });
        let back = (4000, Event::AgentBack { node: node() });
        let second = |at_ms| (at_ms, began("other", 1));
        let events = [first.clone(), dead.clone(), second(5000)];
        assert_eq!(found(&events), 0);
        assert_eq!(found(&[first.clone(), dead.clone(), second(4900)]), 1);
        assert_eq!(found(&[first.clone(), dead, back, second(5000)]), 1);
        assert_eq!(found(&[first, second(5000)]), 1);
    }
}
