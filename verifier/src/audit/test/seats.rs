//! Receipts that name a round somebody chose, that come when its time is over, or that name rounds which never were.

use super::duties::{ROUNDS, World, words_of};
use super::*;
use nearlight_proof::receipt::statement::Countersign;

/// The same log with other entries.
fn with(log: Served, change: impl FnOnce(&mut Vec<Vec<u8>>)) -> Served {
    let Served {
        mut entries, told, ..
    } = log;
    change(&mut entries);
    Served {
        told,
        ..Served::of(entries)
    }
}

/// A whole committee passes the node, in a round in which nobody was to check it.
#[test]
fn a_check_that_was_not_due_weighs_nothing() {
    let world = World::new();
    let mut all = world.all();
    let quiet = (3..ROUNDS).find(|round| !world.due().contains(round));
    let quiet = quiet.unwrap();
    all.push(world.played(quiet));
    all.sort_by_key(|of| of.number);
    let audit = world.audit(&mut world.log(&all), Rounds::UntilNow);
    let of_it = audit.rounds.iter().find(|of| of.round == quiet).unwrap();
    assert_eq!((of_it.state, of_it.entries.len()), ("open", 0));
    let words = words_of(&audit, Oddity::Unassigned);
    assert_eq!(words.len(), 3, "{words:?}");
    assert!(words[0].contains("no check of the node was due in that round"));
}

/// A node that was off is found so by whoever asks whether it is there, in a round in which nothing else was asked.
#[test]
fn silence_in_a_quiet_round_is_nobodys_fault() {
    let world = World::new();
    let mut all = world.all();
    let quiet = (3..ROUNDS).find(|round| !world.due().contains(round));
    let quiet = quiet.unwrap();
    all.push(world.unreachable(quiet));
    all.sort_by_key(|of| of.number);
    let audit = world.audit(&mut world.log(&all), Rounds::UntilNow);
    assert_eq!(audit.verdict, Verdict::Clean, "{:?}", audit.findings);
    let of_it = audit.rounds.iter().find(|of| of.round == quiet).unwrap();
    assert_eq!((of_it.state, of_it.entries.len()), ("open", 1));
}

/// Of two checkers no committee is made: that they looked, as they were asked to, is nothing odd.
#[test]
fn checkers_who_are_no_committee_may_look_in_any_round() {
    let world = World::of(2);
    let mut all = world.all();
    let quiet = (3..ROUNDS).find(|round| !world.due().contains(round));
    all.push(world.played(quiet.unwrap()));
    all.sort_by_key(|of| of.number);
    let audit = world.audit(&mut world.log(&all), Rounds::UntilNow);
    assert_eq!(words_of(&audit, Oddity::Unassigned), [""; 0]);
    assert!(audit.rounds.iter().all(|of| of.state == "open"));
}

/// The first round's receipts stand behind those of the last: nobody could dispute them any more.
#[test]
fn a_check_that_comes_when_its_round_is_over_weighs_nothing() {
    let world = World::new();
    let mut all = world.all();
    let late = all.remove(0);
    let number = late.number;
    all.push(late);
    let audit = world.audit(&mut world.log(&all), Rounds::UntilNow);
    let of_it = audit.rounds.iter().find(|of| of.round == number).unwrap();
    assert_eq!(of_it.state, "open");
    let words = words_of(&audit, Oddity::Unassigned);
    assert_eq!(words.len(), 3, "{words:?}");
    assert!(words[0].contains("out of the round's time"), "{words:?}");
}

/// However many values of later rounds one checker makes up: what others name is found, with nothing told.
#[test]
fn what_somebody_makes_up_hides_no_round() {
    let world = World::new();
    let mut made_up = Vec::new();
    for round in ROUNDS + 1..ROUNDS + 50 {
        let predicate = Predicate::Porc(Box::new(Porc {
            round,
            beacon: KeyId([7; 32]),
            ..fixture::porc(Found::Fail)
        }));
        let mut said = statement(&key(10), node(), world.now_s, predicate);
        said.head.countersign = Countersign::Refused("no".to_owned());
        made_up.push(entry(&said, &[&key(10)]));
    }
    let mut log = with(world.log(&world.all()), |entries| entries.extend(made_up));
    let audit = world.audit(&mut log, Rounds::Skipped);
    let passed = audit.rounds.iter().filter(|of| of.state == "passed");
    assert_eq!(passed.count(), world.due().len());
    assert_eq!(words_of(&audit, Oddity::Unassigned).len(), 49);
}

/// A chain that was made when its first round had begun is one of which values could be chosen.
#[test]
fn a_chain_that_was_begun_before_it_stood_in_the_log_is_named() {
    let world = World::new();
    let mut log = with(world.log(&world.all()), |entries| {
        let anchor = entries.remove(1);
        entries.push(anchor);
    });
    let audit = world.audit(&mut log, Rounds::UntilNow);
    let words = words_of(&audit, Oddity::WrongAssignment);
    assert!(
        words
            .iter()
            .any(|of| of.contains("had begun before it stood")),
        "{words:?}"
    );
}
