//! Whether a history keeps the broker's promises. Pure: it reads the history and nothing else.
//!
//! - **I1** one live claim a slot, claims within a node's capacity, free capacity exact;
//! - **I2** a slot runs one session at a time, its epochs only rise; a session runs in one place;
//! - **I3** a session that was acked is there until it ends, and ends once; a key stands for one session;
//! - **I4** no claim outlives its session, and at the end none is left, nor a quota, nor an order;
//! - **I5** usage is of sessions that a node has begun, ends, and does not overlap in a slot;
//! - **I6** no caller is told that a request was misdirected;
//! - **I7** a gang has all its replicas or none, they share one fate, and a run begins when nothing is left of the
//!   one before;
//! - sessions are created and begin, and at the end every broker answers: a region that does nothing breaks nothing.
//!
//! What a broker says of a session that another one took from it may be old until it reaches the ledger
//! again; so whether a session comes back is asked of the ledger at all times, and of brokers at the end.
//!
//! Where the database failed over to a standby that lagged, what was acked from the lag to the failover
//! may be gone, and nothing else; a session that began meanwhile may be back from its grant, without its key
//! and used since then. What is said of nodes that lie is not believed.

use super::books::Books;
use super::event::{Ask, Entry, Event};
use std::collections::{BTreeMap, HashMap, HashSet};

mod gangs;
mod healed;
mod quiet;

/// What is on its way when a standby begins to lag may be behind already, milliseconds.
const ON_ITS_WAY_MS: u64 = 500;
/// By how much clocks of one machine differ in what they round, milliseconds.
const ROUNDING_MS: u64 = 50;

/// What the checker has to know beside the history.
#[derive(Clone, Debug, Default)]
pub(super) struct Given {
    /// Nodes that lie.
    pub(super) liars: HashSet<String>,
    /// Nodes that never come back.
    pub(super) lost: HashSet<String>,
}

/// What is broken; empty if nothing is.
pub(super) fn check(history: &[Entry], given: &Given) -> Vec<String> {
    let window = Window::of(history);
    let mut broken = slots(history, window);
    broken.extend(gangs::runs(history, window));
    broken.extend(answers(history, window));
    broken.extend(healed::faults(history));
    broken.extend(comebacks(history, window));
    broken.extend(books(history, window));
    broken.extend(end(history, given, window));
    broken.dedup();
    broken
}

/// When what is acked may be lost.
#[derive(Clone, Copy, Debug, Default)]
struct Window(Option<(u64, u64)>);

/// When each request was sent.
fn asked(history: &[Entry]) -> HashMap<u64, u64> {
    let asked = history.iter().filter_map(|entry| match entry.event {
        Event::Asked { ask, .. } => Some((ask, entry.at_ms)),
        _ => None,
    });
    asked.collect()
}

impl Window {
    fn of(history: &[Entry]) -> Self {
        let at = |event: &Event| history.iter().find(|e| e.event == *event).map(|e| e.at_ms);
        let from = at(&Event::Lag).map(|at| at.saturating_sub(ON_ITS_WAY_MS));
        let to = at(&Event::FailedOver).unwrap_or(u64::MAX);
        Self(from.map(|from| (from, to)))
    }

    /// Sessions that were created or begun meanwhile. They may be back from their grants, which tell neither
    /// the key that they were asked for with, nor when exactly they began.
    fn began(self, history: &[Entry]) -> HashSet<&str> {
        let asked = asked(history);
        let mut meanwhile = HashSet::new();
        for Entry { at_ms, event } in history {
            match event {
                // The broker may have slept between its commit and the answer.
                Event::Answered {
                    ask,
                    status: 201,
                    session: Some(session),
                    ..
                } if self.touches(asked.get(ask).copied().unwrap_or(*at_ms), *at_ms) => {
                    meanwhile.insert(session.as_str());
                }
                Event::Began { session, .. } if self.has(*at_ms) => {
                    meanwhile.insert(session.as_str());
                }
                _ => {}
            }
        }
        meanwhile
    }

    /// Whether what was asked for and answered then may be lost: an answer that comes after the failover
    /// may tell of what was written before it.
    fn touches(self, asked_ms: u64, answered_ms: u64) -> bool {
        self.0
            .is_some_and(|(from, to)| asked_ms <= to && answered_ms >= from)
    }

    fn has(self, at_ms: u64) -> bool {
        self.0
            .is_some_and(|(from, to)| (from..=to).contains(&at_ms))
    }
}

/// I2.
fn slots(history: &[Entry], window: Window) -> Vec<String> {
    let mut running: HashMap<&str, (u64, &str)> = HashMap::new();
    let mut highest: HashMap<&str, u64> = HashMap::new();
    // Of each session, and of each run of one that stands for a gang.
    let mut places: HashMap<(&str, u32), (&str, u64)> = HashMap::new();
    // Of these it may be lost that they ended.
    let mut over: HashSet<&str> = HashSet::new();
    let mut broken = Vec::new();
    for Entry { at_ms, event } in history {
        match event {
            Event::Began {
                slot,
                epoch,
                session,
                part,
                ..
            } => {
                if let Some((other, of)) = running.insert(slot, (*epoch, session)) {
                    broken.push(format!(
                        "I2: {slot} begins epoch {epoch} ({session}) while it runs {other} ({of})"
                    ));
                }
                let highest = highest.entry(slot).or_default();
                if epoch <= highest {
                    broken.push(format!("I2: {slot} begins epoch {epoch} after {highest}"));
                }
                *highest = (*highest).max(*epoch);
                let run = part.as_ref().map_or(0, |part| part.run);
                if let Some((place, began)) = places.insert((session, run), (slot, *at_ms))
                    && !window.has(began)
                    && !over.contains(session.as_str())
                {
                    broken.push(format!("I2: {session} begins in {slot}, after {place}"));
                }
            }
            Event::Over {
                slot,
                epoch,
                session,
                ..
            } => {
                if window.has(*at_ms) {
                    over.insert(session);
                }
                let was = running.remove(slot.as_str());
                if was.is_none_or(|(running, _)| running != *epoch) {
                    broken.push(format!("I2: {slot} ends epoch {epoch}, and ran {was:?}"));
                }
            }
            _ => {}
        }
    }
    broken
}

/// What is known of a session by the answers to callers.
#[derive(Debug)]
struct Known {
    acked_ms: u64,
    /// Whether it was acked while that could be lost.
    may_be_lost: bool,
    /// When it was said first to be over.
    over_ms: Option<u64>,
    /// When its key was refused last: then it is to be over.
    refused_ms: Option<u64>,
}

/// I3 and I6, as far as callers see.
fn answers(history: &[Entry], window: Window) -> Vec<String> {
    let healed = history.iter().find(|entry| entry.event == Event::Healed);
    let healed_ms = healed.map_or(u64::MAX, |entry| entry.at_ms);
    let mut asks: HashMap<u64, (u64, &Ask)> = HashMap::new();
    let mut sessions: HashMap<&str, Known> = HashMap::new();
    let mut keys: HashMap<&str, (&str, bool)> = HashMap::new();
    let mut broken = Vec::new();
    for Entry { at_ms, event } in history {
        match event {
            Event::Asked { ask, what, .. } => {
                asks.insert(*ask, (*at_ms, what));
            }
            Event::Answered {
                ask,
                status,
                session,
                phase,
            } => {
                let Some((asked_ms, what)) = asks.get(ask) else {
                    broken.push(format!("an answer to {ask}, which nobody asked"));
                    continue;
                };
                if *status == 421 {
                    broken.push(format!("I6: a caller is told 421 on {what:?}"));
                }
                if let (Ask::Create { key, .. }, 201, Some(session)) = (what, status, session) {
                    let may_be_lost = window.touches(*asked_ms, *at_ms);
                    let (first, was_lost) = *keys.entry(key).or_insert((session, may_be_lost));
                    if first != session && !was_lost {
                        broken.push(format!("I3: {key} stands for {first} and {session}"));
                    }
                    let known = || Known {
                        acked_ms: *at_ms,
                        may_be_lost,
                        over_ms: None,
                        refused_ms: None,
                    };
                    sessions.entry(session).or_insert_with(known);
                }
                if let Ask::Create { key, .. } = what
                    && matches!(status, 400..=499)
                    && *status != 429
                    && let Some((session, _)) = keys.get(key.as_str())
                    && let Some(known) = sessions.get_mut(*session)
                {
                    known.refused_ms.get_or_insert(*at_ms);
                }
                if let Ask::Look { session } | Ask::End { session } = what
                    && let Some(known) = sessions.get_mut(session.as_str())
                    && known.acked_ms <= *asked_ms
                {
                    let fault = seen(
                        known,
                        (*asked_ms, *at_ms),
                        (*status, phase.as_deref()),
                        (window, healed_ms),
                    );
                    broken.extend(fault.map(|fault| format!("I3: {session} {fault}")));
                }
            }
            _ => {}
        }
    }
    broken
}

/// What an answer about a session breaks of what was said before.
fn seen(
    known: &mut Known,
    (asked_ms, answered_ms): (u64, u64),
    (status, phase): (u16, Option<&str>),
    (window, healed_ms): (Window, u64),
) -> Option<String> {
    match (status, phase) {
        (404 | 410, _) => {
            let is_lost = known.may_be_lost && answered_ms >= window.0?.1;
            (!is_lost).then(|| format!("was acked, and is not there ({status})"))
        }
        (200, Some("ended")) => {
            known.over_ms.get_or_insert(answered_ms);
            None
        }
        (200, Some(phase)) => {
            let is_excused = |at| window.has(at) || at > asked_ms || asked_ms < healed_ms;
            if known.refused_ms.is_some_and(|at| !is_excused(at)) {
                return Some(format!("is {phase}, and its key was refused"));
            }
            let came_back = known.over_ms.is_some_and(|at| !is_excused(at));
            came_back.then(|| format!("was over, and is {phase}"))
        }
        _ => None,
    }
}

/// I3, as the ledger has it: what is over stays over.
fn comebacks(history: &[Entry], window: Window) -> Vec<String> {
    let mut over: HashMap<&str, u64> = HashMap::new();
    let mut broken = Vec::new();
    for Entry { at_ms, event } in history {
        let Event::Books { books } = event else {
            continue;
        };
        for session in &books.sessions {
            if session.phase == "ended" {
                over.insert(&session.id, *at_ms);
            } else if over
                .get(session.id.as_str())
                .is_some_and(|at| !window.has(*at))
            {
                let (id, phase) = (&session.id, &session.phase);
                broken.push(format!("I3: {id} was over, and is {phase} in the ledger"));
            }
        }
    }
    broken
}

/// I1, and what of I4 and I5 holds at any moment.
fn books(history: &[Entry], window: Window) -> Vec<String> {
    let mut broken = Vec::new();
    let began = window.began(history);
    for entry in history {
        let Event::Books { books } = &entry.event else {
            continue;
        };
        let mut unasked = books.unasked_sessions.clone();
        unasked.retain(|session| !began.contains(session.as_str()));
        let lists: [(&str, &str, &Vec<String>); 12] = [
            ("I1", "slots with two live claims", &books.double_slots),
            (
                "I1",
                "nodes with more claimed than they have",
                &books.overbooked_nodes,
            ),
            (
                "I1",
                "nodes whose free capacity is wrong",
                &books.miscounted_nodes,
            ),
            (
                "I1",
                "slots with claims above their epoch",
                &books.low_epochs,
            ),
            (
                "I4",
                "live claims of sessions that hold none",
                &books.claims_of_nobody,
            ),
            (
                "I1",
                "sessions that run without a claim",
                &books.sessions_without_claim,
            ),
            (
                "I4",
                "quotas that do not count live sessions",
                &books.wrong_quotas,
            ),
            ("I7", "gangs without all replicas", &books.half_gangs),
            (
                "I7",
                "replicas without their gang's fate",
                &books.split_gangs,
            ),
            ("I3", "sessions that no key stands for", &unasked),
            (
                "I5",
                "usage that overlaps in a slot",
                &books.overlapping_usage,
            ),
            (
                "I5",
                "usage that goes on after its claim",
                &books.endless_usage,
            ),
        ];
        for (name, what, list) in lists {
            if !list.is_empty() {
                broken.push(format!("{name}: {what}: {}", list.join(", ")));
            }
        }
    }
    broken
}

/// What is left at the end: nothing that lives, and everything that was acked.
fn end(history: &[Entry], given: &Given, window: Window) -> Vec<String> {
    let last = history.iter().rev().find_map(|entry| match &entry.event {
        Event::Books { books } => Some(books),
        _ => None,
    });
    let Some(books) = last else {
        return vec!["nobody looked at the ledger at the end".to_owned()];
    };
    let mut broken = quiet::faults(books, given);
    let rows: BTreeMap<&str, &super::books::Session> =
        books.sessions.iter().map(|s| (s.id.as_str(), s)).collect();
    let mut began: Begun<'_> = HashMap::new();
    let mut ready: HashMap<&str, u64> = HashMap::new();
    let asked = asked(history);
    for Entry { at_ms, event } in history {
        match event {
            Event::Answered {
                ask,
                status: 201,
                session: Some(session),
                ..
            } if !rows.contains_key(session.as_str())
                && !window.touches(asked.get(ask).copied().unwrap_or(*at_ms), *at_ms) =>
            {
                broken.push(format!(
                    "I3: {session} was acked, and the ledger has it not"
                ));
            }
            Event::Answered {
                status: 200,
                session: Some(session),
                phase: Some(phase),
                ..
            } if phase == "ready" => {
                ready.entry(session).or_insert(*at_ms);
            }
            Event::Began {
                node,
                epoch,
                session,
                ..
            } => {
                // Epochs are a slot's: of two runs of a cluster on one node, the first.
                began.entry((session, node, *epoch)).or_insert(*at_ms);
            }
            _ => {}
        }
    }
    // Until it reaches the ledger again, a broker tells of what was lost as if it were there.
    let meanwhile = window.began(history);
    ready.retain(|session, seen_ms| !window.has(*seen_ms) && !meanwhile.contains(session));
    broken.extend(usage(books, given, &began, &ready, (window, &meanwhile)));
    broken
}

/// When a session began, by node and epoch.
type Begun<'a> = HashMap<(&'a str, &'a str, u64), u64>;

/// I5.
fn usage(
    books: &Books,
    given: &Given,
    began: &Begun<'_>,
    ready: &HashMap<&str, u64>,
    (window, meanwhile): (Window, &HashSet<&str>),
) -> Vec<String> {
    let mut broken = Vec::new();
    let mut used: HashMap<&str, u64> = HashMap::new();
    for usage in &books.usage {
        let (session, epoch) = (usage.session.as_str(), usage.epoch);
        let first = used.entry(session).or_insert(usage.began_ms);
        *first = usage.began_ms.min(*first);
        if usage.ended_ms.is_none_or(|ended| ended < usage.began_ms) {
            broken.push(format!(
                "I5: usage of {session} does not end, or before it begins"
            ));
        }
        let at = began.get(&(session, usage.node.as_str(), epoch));
        if given.liars.contains(&usage.node) {
            continue;
        }
        // One that is back from its grant is used from the grant on.
        let is_back = meanwhile.contains(session) && window.has(usage.began_ms);
        if !is_back && at.is_none_or(|at| usage.began_ms + ROUNDING_MS < *at) {
            broken.push(format!(
                "I5: usage of {session} ({epoch}) begins before it runs"
            ));
        }
    }
    for (session, seen_ms) in ready {
        if used
            .get(session)
            .is_none_or(|began| *began > seen_ms + ROUNDING_MS)
        {
            broken.push(format!("I5: {session} was ready, and no usage counts it"));
        }
    }
    broken
}

#[cfg(test)]
#[path = "check/test.rs"]
mod test;
