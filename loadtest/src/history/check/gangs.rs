//! I7, as nodes have it; what the ledger has of it is in its books.

use super::Window;
use crate::history::event::{Entry, Event, Part};
use std::collections::HashMap;

/// Of two runs of a gang the second begins when nothing of the first runs.
pub(super) fn runs(history: &[Entry], window: Window) -> Vec<String> {
    let mut running: HashMap<(&str, u64), (&Part, u64)> = HashMap::new();
    let mut broken = Vec::new();
    for Entry { at_ms, event } in history {
        match event {
            Event::Began {
                slot,
                epoch,
                part: Some(part),
                ..
            } => {
                let others = running.values().filter(|(other, began)| {
                    other.gang == part.gang && other.run != part.run && !window.has(*began)
                });
                broken.extend(others.map(|(other, _)| {
                    format!(
                        "I7: replica {} of run {} of {} begins while replica {} of run {} runs",
                        part.rank, part.run, part.gang, other.rank, other.run
                    )
                }));
                running.insert((slot, *epoch), (part, *at_ms));
            }
            Event::Over { slot, epoch, .. } => {
                running.remove(&(slot.as_str(), *epoch));
            }
            _ => {}
        }
    }
    broken
}
