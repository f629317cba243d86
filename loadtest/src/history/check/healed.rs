//! What is to be so once nothing breaks any more, and at least once before.
//!
//! The promises of [`super`] hold of a region that answers nothing and takes nothing. So it is asked, too, whether it
//! has done anything at all, and whether at the end every broker answers.

use super::super::event::{Ask, Entry, Event};
use std::collections::{HashMap, HashSet};

/// What of it is not so.
pub(super) fn faults(history: &[Entry]) -> Vec<String> {
    let mut broken = answers(history);
    broken.extend(moves(history));
    broken
}

/// Whoever asks how a session is hears it from whatever broker, and of one that is over that it is.
fn answers(history: &[Entry]) -> Vec<String> {
    let is_healed = |entry: &Entry| entry.event == Event::Healed;
    let Some(healed) = history.iter().position(is_healed) else {
        return Vec::new();
    };
    let mut over: HashSet<&str> = HashSet::new();
    let mut waits: HashMap<u64, (usize, &str)> = HashMap::new();
    let mut broken = Vec::new();
    for Entry { event, .. } in &history[healed..] {
        match event {
            Event::Books { books } => {
                let ended = books.sessions.iter().filter(|s| s.phase == "ended");
                over.extend(ended.map(|s| s.id.as_str()));
            }
            Event::Asked {
                ask,
                broker,
                what: Ask::Look { session },
            } => drop(waits.insert(*ask, (*broker, session))),
            Event::Answered {
                ask, status, phase, ..
            } => {
                let Some((broker, session)) = waits.remove(ask) else {
                    continue;
                };
                let phase = phase.as_deref().unwrap_or_default();
                match status {
                    200 if phase != "ended" && over.contains(session) => broken.push(format!(
                        "I3: {session} is over, and broker {broker} says that it is {phase}"
                    )),
                    // Whether it may be gone is asked elsewhere.
                    200 | 404 | 410 => {}
                    _ => broken.push(format!(
                        "broker {broker} answers {status} of {session}, though nothing breaks any more"
                    )),
                }
            }
            _ => {}
        }
    }
    let mut silent: Vec<(usize, &str)> = waits.into_values().collect();
    silent.sort_unstable();
    broken.extend(silent.iter().map(|(broker, session)| {
        format!("broker {broker} does not answer of {session}, though nothing breaks any more")
    }));
    broken
}

/// Who asks for sessions has some, and nodes run some.
fn moves(history: &[Entry]) -> Option<String> {
    let any = |is: fn(&Event) -> bool| history.iter().any(|entry| is(&entry.event));
    let is_whole = any(|event| *event == Event::Healed);
    let asks = |event: &Event| {
        matches!(
            event,
            Event::Asked {
                what: Ask::Create { .. },
                ..
            }
        )
    };
    if !is_whole || !any(asks) {
        return None;
    }
    if !any(|event| matches!(event, Event::Answered { status: 201, .. })) {
        return Some("no session was created in all this time".to_owned());
    }
    let began = any(|event| matches!(event, Event::Began { .. }));
    (!began).then(|| "no node began a session in all this time".to_owned())
}

#[cfg(test)]
#[path = "healed/test.rs"]
mod test;
