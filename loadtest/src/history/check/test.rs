//! Each promise has a history that breaks it, and one that keeps it.

use super::*;
use crate::history::books::{Session, Usage};
use crate::history::event::Part;

/// Events, ten milliseconds apart, with the books of the end.
fn history(events: Vec<Event>, books: Books) -> Vec<Entry> {
    let books = Box::new(books);
    let all = events.into_iter().chain([Event::Books { books }]);
    (1..)
        .zip(all)
        .map(|(n, event)| Entry {
            at_ms: n * 10,
            event,
        })
        .collect()
}

pub(super) fn faults(events: Vec<Event>, books: Books) -> Vec<String> {
    check(&history(events, books), &Given::default())
}

fn breaks(name: &str, events: Vec<Event>, books: Books) {
    let found = faults(events, books);
    assert!(
        found.iter().any(|fault| fault.starts_with(name)),
        "{name} is not among {found:?}"
    );
}

pub(super) fn began(slot: &str, epoch: u64, session: &str) -> Event {
    Event::Began {
        node: "n".to_owned(),
        slot: slot.to_owned(),
        epoch,
        session: session.to_owned(),
        part: None,
    }
}

/// The same of a replica of the gang `g`.
fn began_in(slot: &str, epoch: u64, (run, rank): (u32, u32)) -> Event {
    let session = match rank {
        0 => "g".to_owned(),
        _ => format!("g-{run}-{rank}"),
    };
    Event::Began {
        node: "n".to_owned(),
        slot: slot.to_owned(),
        epoch,
        session,
        part: Some(Part {
            gang: "g".to_owned(),
            run,
            rank,
        }),
    }
}

pub(super) fn over(slot: &str, epoch: u64, session: &str) -> Event {
    Event::Over {
        node: "n".to_owned(),
        slot: slot.to_owned(),
        epoch,
        session: session.to_owned(),
        why: String::new(),
    }
}

pub(super) fn asked(ask: u64, what: Ask) -> Event {
    let broker = 0;
    Event::Asked { ask, broker, what }
}

pub(super) fn answered(ask: u64, status: u16, session: &str, phase: &str) -> Event {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Event::Answered {
        ask,
        status,
        session: text(session),
        phase: text(phase),
    }
}

pub(super) fn create(ask: u64, key: &str, session: &str) -> [Event; 2] {
    let key = key.to_owned();
    [
        asked(ask, Ask::Create { key, gang: None }),
        answered(ask, 201, session, "queued"),
    ]
}

pub(super) fn look(ask: u64, session: &str, status: u16, phase: &str) -> [Event; 2] {
    let named = if status == 200 { session } else { "" };
    let session = session.to_owned();
    [
        asked(ask, Ask::Look { session }),
        answered(ask, status, named, phase),
    ]
}

fn row(id: &str, phase: &str) -> Session {
    Session {
        id: id.to_owned(),
        phase: phase.to_owned(),
        reason: (phase == "ended").then(|| "app-exited".to_owned()),
        holder: "a".to_owned(),
    }
}

pub(super) fn ended(ids: &[&str]) -> Books {
    Books {
        sessions: ids.iter().map(|id| row(id, "ended")).collect(),
        ..Books::default()
    }
}

fn one() -> Vec<String> {
    vec!["x".to_owned()]
}

#[test]
fn a_good_history_breaks_nothing() {
    let mut events = Vec::new();
    events.extend(create(1, "k", "s"));
    events.push(began("slot", 1, "s"));
    events.extend(look(2, "s", 200, "ready"));
    events.extend(create(3, "k", "s"));
    events.push(over("slot", 1, "s"));
    events.extend(look(4, "s", 200, "ended"));
    events.push(began("slot", 3, "t"));
    events.push(over("slot", 3, "t"));
    let usage = |session: &str, epoch, began_ms| Usage {
        session: session.to_owned(),
        node: "n".to_owned(),
        epoch,
        began_ms,
        ended_ms: Some(began_ms + 10),
    };
    let books = Books {
        usage: vec![usage("s", 1, 30), usage("t", 3, 110)],
        ..ended(&["s", "t"])
    };
    assert_eq!(faults(events, books), Vec::<String>::new());
}

#[test]
fn i1_what_is_booked_twice_or_miscounted_is_found() {
    let wrongs: [fn(&mut Books); 5] = [
        |books| books.double_slots = one(),
        |books| books.overbooked_nodes = one(),
        |books| books.miscounted_nodes = one(),
        |books| books.low_epochs = one(),
        |books| books.sessions_without_claim = one(),
    ];
    for wrong in wrongs {
        let mut books = Books::default();
        wrong(&mut books);
        breaks("I1", Vec::new(), books.clone());
        // At any moment, not at the end alone.
        let books = Box::new(books);
        breaks("I1", vec![Event::Books { books }], Books::default());
    }
}

#[test]
fn i2_two_epochs_of_a_slot_at_once_are_found() {
    let both = vec![began("slot", 1, "s"), began("slot", 2, "t")];
    breaks("I2", both, Books::default());
}

#[test]
fn i2_an_epoch_that_falls_or_comes_twice_is_found() {
    for second in [2, 1] {
        let events = vec![
            began("slot", 2, "s"),
            over("slot", 2, "s"),
            began("slot", second, "t"),
        ];
        breaks("I2", events, Books::default());
    }
}

#[test]
fn i2_a_session_that_begins_in_a_second_place_is_found() {
    let events = vec![
        began("slot", 1, "s"),
        over("slot", 1, "s"),
        began("other", 1, "s"),
    ];
    breaks("I2", events, Books::default());
}

#[test]
fn i3_a_session_that_was_acked_and_is_not_there_is_found() {
    let mut events = Vec::from(create(1, "k", "s"));
    breaks("I3", events.clone(), Books::default());
    events.extend(look(2, "s", 404, ""));
    breaks("I3", events, ended(&["s"]));
}

#[test]
fn i3_a_key_that_stands_for_two_sessions_is_found() {
    let mut events = Vec::from(create(1, "k", "s"));
    events.extend(create(2, "k", "t"));
    breaks("I3", events, ended(&["s", "t"]));
    let books = Books {
        unasked_sessions: one(),
        ..Books::default()
    };
    breaks("I3", Vec::new(), books);
}

#[test]
fn i3_a_session_that_comes_back_is_found() {
    let mut events = Vec::from(create(1, "k", "s"));
    events.extend(look(2, "s", 200, "ended"));
    let mut early = events.clone();
    early.extend(look(3, "s", 200, "queued"));
    early.extend([began("slot", 1, "s"), over("slot", 1, "s"), Event::Healed]);
    assert_eq!(faults(early, ended(&["s"])), Vec::<String>::new());
    events.push(Event::Healed);
    events.extend(look(3, "s", 200, "queued"));
    breaks("I3", events, ended(&["s"]));
    let books = |phase| Event::Books {
        books: Box::new(Books {
            sessions: vec![row("s", phase)],
            ..Books::default()
        }),
    };
    let events = vec![books("ended"), books("ready")];
    breaks("I3", events, ended(&["s"]));
}

#[test]
fn i3_a_key_that_is_refused_while_its_session_lives_is_found() {
    let mut events = Vec::from(create(1, "k", "s"));
    let key = "k".to_owned();
    events.extend([
        asked(2, Ask::Create { key, gang: None }),
        answered(2, 410, "", ""),
    ]);
    events.push(Event::Healed);
    events.extend(look(3, "s", 200, "ready"));
    breaks("I3", events, ended(&["s"]));
}

#[test]
fn i3_an_end_without_a_reason_is_found() {
    let mut books = ended(&["s"]);
    books.sessions[0].reason = None;
    breaks("I3", Vec::new(), books);
}

#[test]
fn i4_whatever_is_left_is_found() {
    let wrongs: [fn(&mut Books); 6] = [
        |books| books.sessions = vec![row("s", "ready")],
        |books| books.live_claims = 1,
        |books| books.quota_used = 1,
        |books| books.outbox_nodes = one(),
        |books| books.claims_of_nobody = one(),
        |books| books.wrong_quotas = one(),
    ];
    for wrong in wrongs {
        let mut books = Books::default();
        wrong(&mut books);
        breaks("I4", Vec::new(), books);
    }
}

#[test]
fn i4_orders_of_nodes_that_lie_or_are_lost_are_not_counted() {
    let books = Books {
        outbox_nodes: vec!["liar".to_owned(), "lost".to_owned()],
        ..Books::default()
    };
    let given = Given {
        liars: HashSet::from(["liar".to_owned()]),
        lost: HashSet::from(["lost".to_owned()]),
    };
    assert_eq!(
        check(&history(Vec::new(), books), &given),
        Vec::<String>::new()
    );
}

#[test]
fn i5_usage_that_overlaps_or_never_ends_is_found() {
    let wrongs: [fn(&mut Books); 3] = [
        |books| books.overlapping_usage = one(),
        |books| books.endless_usage = one(),
        |books| books.usage = vec![Usage::default()],
    ];
    for wrong in wrongs {
        let mut books = Books::default();
        wrong(&mut books);
        breaks("I5", Vec::new(), books);
    }
}

#[test]
fn i5_usage_that_is_not_counted_or_of_nobody_is_found() {
    let mut events = Vec::from(create(1, "k", "s"));
    events.extend(look(2, "s", 200, "ready"));
    breaks("I5", events, ended(&["s"]));
    let usage = Usage {
        session: "s".to_owned(),
        node: "n".to_owned(),
        epoch: 1,
        began_ms: 10,
        ended_ms: Some(20),
    };
    let books = Books {
        usage: vec![usage],
        ..ended(&["s"])
    };
    breaks("I5", Vec::new(), books);
}

#[test]
fn i6_a_caller_that_is_misdirected_is_found() {
    let events = Vec::from(look(1, "s", 421, ""));
    breaks("I6", events, Books::default());
}

#[test]
fn i7_a_gang_that_is_not_whole_or_not_of_one_fate_is_found() {
    let wrongs: [fn(&mut Books); 2] = [
        |books| books.half_gangs = one(),
        |books| books.split_gangs = one(),
    ];
    for wrong in wrongs {
        let mut books = Books::default();
        wrong(&mut books);
        breaks("I7", Vec::new(), books);
    }
}

#[test]
fn i7_two_runs_of_a_gang_at_once_are_found() {
    let first = [began_in("a", 1, (0, 0)), began_in("b", 1, (0, 1))];
    let mut events = Vec::from(first.clone());
    events.extend([over("a", 1, "g"), began_in("a", 2, (1, 0))]);
    breaks("I7", events, Books::default());
    let mut events = Vec::from(first);
    events.extend([over("a", 1, "g"), over("b", 1, "g-0-1")]);
    events.extend([began_in("b", 2, (1, 0)), began_in("a", 2, (1, 1))]);
    assert_eq!(faults(events, Books::default()), Vec::<String>::new());
}

#[test]
fn i2_the_first_of_a_gang_that_begins_twice_in_one_run_is_found() {
    let events = vec![
        began_in("a", 1, (0, 0)),
        over("a", 1, "g"),
        began_in("b", 1, (0, 0)),
    ];
    breaks("I2", events, Books::default());
}

#[test]
fn a_lagging_standby_may_lose_what_was_acked_meanwhile_and_only_that() {
    let lost_at = |lag: usize| {
        // Later than what may have been on its way, and so before the lag.
        let filler = Event::Note {
            what: String::new(),
        };
        let mut events = vec![filler; 200];
        events.extend(create(1, "k", "s"));
        events.extend(create(2, "l", "t"));
        events.insert(lag, Event::Lag);
        events.push(Event::FailedOver);
        events.extend(look(3, "s", 404, ""));
        faults(events, ended(&["t"]))
    };
    assert_eq!(lost_at(200), Vec::<String>::new());
    let mut events = Vec::from(create(1, "k", "s"));
    let filler = Event::Note {
        what: String::new(),
    };
    events.extend(vec![filler; 200]);
    events.extend([Event::Lag, Event::FailedOver]);
    events.extend(look(3, "s", 404, ""));
    breaks("I3", events, Books::default());
}

/// A session that runs from 2.1 s on, and in the ledger's books has no key, and usage since `used_ms`.
fn back_from_its_grant(fails_over: bool, used_ms: u64) -> Vec<String> {
    let filler = Event::Note {
        what: String::new(),
    };
    let mut events = vec![filler; 200];
    events.extend(fails_over.then_some(Event::Lag));
    events.extend(vec![events[0].clone(); 10]);
    events.push(began("slot", 1, "s"));
    events.extend(fails_over.then_some(Event::FailedOver));
    events.push(over("slot", 1, "s"));
    let books = Books {
        unasked_sessions: vec!["s".to_owned()],
        usage: vec![Usage {
            session: "s".to_owned(),
            node: "n".to_owned(),
            epoch: 1,
            began_ms: used_ms,
            ended_ms: Some(9_000),
        }],
        ..ended(&["s"])
    };
    faults(events, books)
}

#[test]
fn a_session_that_is_back_from_its_grant_has_no_key_and_is_used_since_then() {
    assert_eq!(back_from_its_grant(true, 2_030), Vec::<String>::new());
    let broken = back_from_its_grant(false, 2_030);
    assert_eq!(broken.len(), 2, "{broken:?}");
    let before_the_lag = back_from_its_grant(true, 1_000);
    assert_eq!(before_the_lag.len(), 1, "{before_the_lag:?}");
}

#[test]
fn an_ack_that_crosses_with_the_failover_may_be_lost_and_a_later_one_may_not() {
    let with = |is_asked_before: bool| {
        let filler = Event::Note {
            what: String::new(),
        };
        let mut events = vec![filler; 200];
        events.push(Event::Lag);
        let [ask, answer] = create(1, "k", "s");
        let crosses = [ask.clone(), Event::FailedOver];
        let follows = [Event::FailedOver, ask];
        events.extend(if is_asked_before { crosses } else { follows });
        events.push(answer);
        faults(events, Books::default())
    };
    assert_eq!(with(true), Vec::<String>::new());
    assert_eq!(with(false).len(), 1, "{:?}", with(false));
}

#[test]
fn what_a_broker_tells_of_a_lost_session_before_it_knows_needs_no_usage() {
    let with = |is_in_the_lag: bool| {
        let filler = Event::Note {
            what: String::new(),
        };
        let mut events = vec![filler; 200];
        events.extend(is_in_the_lag.then_some(Event::Lag));
        events.push(began("slot", 1, "s"));
        events.push(over("slot", 1, "s"));
        events.push(Event::FailedOver);
        events.extend(look(1, "s", 200, "ready"));
        faults(events, Books::default())
    };
    assert_eq!(with(true), Vec::<String>::new());
    assert_eq!(with(false).len(), 1, "{:?}", with(false));
}

#[test]
fn a_session_whose_end_was_lost_with_a_standby_may_begin_once_more() {
    let with = |is_over_in_the_lag: bool| {
        let filler = Event::Note {
            what: String::new(),
        };
        let mut events = vec![began("slot", 1, "s")];
        let end = over("slot", 1, "s");
        events.extend((!is_over_in_the_lag).then(|| end.clone()));
        events.extend(vec![filler; 200]);
        events.push(Event::Lag);
        events.extend(is_over_in_the_lag.then_some(end));
        events.push(Event::FailedOver);
        events.extend([began("other", 1, "s"), over("other", 1, "s")]);
        faults(events, ended(&["s"]))
    };
    assert_eq!(with(true), Vec::<String>::new());
    assert_eq!(with(false).len(), 1, "{:?}", with(false));
}

#[test]
fn an_end_that_was_lost_with_a_standby_is_no_comeback() {
    let mut events = Vec::from(create(1, "k", "s"));
    events.push(Event::Lag);
    events.extend(look(2, "s", 200, "ended"));
    events.extend([Event::FailedOver, Event::Healed]);
    events.extend(look(3, "s", 200, "ready"));
    let found = faults(events, ended(&["s"]));
    assert!(
        !found.iter().any(|fault| fault.starts_with("I3")),
        "{found:?}"
    );
}

#[test]
fn a_history_without_a_look_at_the_ledger_proves_nothing() {
    assert_eq!(check(&[], &Given::default()).len(), 1);
}
