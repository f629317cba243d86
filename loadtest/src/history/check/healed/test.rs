//! A region that does nothing, and one that is silent at the end.

use crate::history::books::Books;
use crate::history::check::test::{answered, asked, began, create, ended, faults, look, over};
use crate::history::event::{Ask, Event};

/// A region whose events up to its healing are good.
fn healed(after: impl IntoIterator<Item = Event>) -> Vec<String> {
    let mut events = Vec::from(create(1, "k", "s"));
    events.extend([began("slot", 1, "s"), over("slot", 1, "s"), Event::Healed]);
    events.push(Event::Books {
        books: Box::new(ended(&["s"])),
    });
    events.extend(after);
    faults(events, ended(&["s"]))
}

#[test]
fn a_broker_that_does_not_answer_when_nothing_breaks_any_more_is_found() {
    assert_eq!(healed(look(2, "s", 200, "ended")), Vec::<String>::new());
    let [ask, _] = look(2, "s", 200, "ended");
    let silent = "broker 0 does not answer of s, though nothing breaks any more";
    assert_eq!(healed([ask]), [silent]);
    let failing = "broker 0 answers 503 of s, though nothing breaks any more";
    assert_eq!(healed(look(2, "s", 503, "")), [failing]);
    let old = "I3: s is over, and broker 0 says that it is queued";
    assert_eq!(healed(look(2, "s", 200, "queued")), [old]);
}

#[test]
fn a_region_that_does_nothing_is_found() {
    let key = "k".to_owned();
    let refused = [
        asked(1, Ask::Create { key, gang: None }),
        answered(1, 503, "", ""),
        Event::Healed,
    ];
    let created = "no session was created in all this time";
    assert_eq!(faults(refused.into(), Books::default()), [created]);
    let mut events = Vec::from(create(1, "k", "s"));
    events.push(Event::Healed);
    let began = "no node began a session in all this time";
    assert_eq!(faults(events, ended(&["s"])), [began]);
}
