//! Rounds that take their values from drand: an audit believes signatures alone, and follows what the log says of beacons.

use super::duties::streams::{session, stream};
use super::duties::{Played, ROUNDS, World, words_of};
use super::*;
use crate::audit::said::Said;
use nearlight_proof::beacon::drand::{Network, fixture::Signer};
use nearlight_proof::beacon::used::{Beacon, Timetable, Used};
use serde_json::json;

fn signer() -> Signer {
    Signer::new(21)
}

fn network() -> Network {
    signer().network(START_S - 100_000, 3)
}

/// A network whose rounds take their values from these beacons, each from a round on.
fn world(uses: &[(u64, Beacon)]) -> World {
    let mut world = World::new();
    let mut table = Timetable::new(world.network.anchor.clone());
    for (from_round, beacon) in uses {
        let used = used(&world, *from_round, *beacon);
        table.add(used).unwrap();
    }
    world.drand = Some((signer(), table));
    world
}

fn used(world: &World, from_round: u64, beacon: Beacon) -> Used {
    Used {
        anchor: world.network.anchor.anchor,
        beacon,
        from_round,
    }
}

fn drand() -> Beacon {
    Beacon::Drand(network())
}

fn audited(world: &World, log: &mut Served) -> Audit {
    world.audit(log, Rounds::UntilNow)
}

fn by_drand() -> World {
    let mut world = world(&[(1, drand())]);
    world.believed = Some(drand());
    world
}

#[test]
fn rounds_of_drand_are_worked_out_as_those_of_a_chain() {
    let world = by_drand();
    let audit = audited(&world, &mut world.log(&world.all()));
    assert_eq!(audit.verdict, Verdict::Clean, "{:?}", audit.findings);
    assert_eq!(audit.rounds.len(), world.due().len());
    assert!(audit.rounds.iter().all(|of| of.state == "passed"));
    // The day has rounds that are due whatever their value is, and some by it.
    assert_ne!(world.due(), World::new().due());
}

#[test]
fn another_rounds_signature_is_none_and_what_follows_from_it_neither() {
    let world = by_drand();
    let all = world.all();
    let due = all[0].number;
    let mut log = world.log(&all);
    let other = world.signature(due + 1).unwrap();
    log.signatures.insert(due, hex(&other));
    let audit = audited(&world, &mut log);
    let (_, of) = world.drand.as_ref().unwrap().1.drand(due).unwrap();
    let wrong = words_of(&audit, Oddity::WrongAssignment);
    let says = format!("round {due}: the signature that is told is none of round {of} of drand");
    assert!(wrong.iter().any(|of| of.starts_with(&says)), "{wrong:?}");
    assert_eq!(
        words_of(&audit, Oddity::Unassigned).len(),
        3,
        "{:?}",
        audit.findings
    );
    // Told with the round's own signature, another value is not the round's.
    let mut all = world.all();
    all[0].told["value"] = json!(KeyId(sha256(&[&other])));
    let audit = audited(&world, &mut world.log(&all));
    let wrong = words_of(&audit, Oddity::WrongAssignment);
    assert!(
        wrong[0].contains(&format!("not that of round {of} of ")),
        "{wrong:?}"
    );
}

/// A broker that does not like whom a round draws has one way left: to say that no relay had it.
#[test]
fn rounds_that_are_said_to_have_no_value_show() {
    let world = by_drand();
    let all: Vec<Played> = world.all();
    let due = all[0].number;
    let kept: Vec<Played> = all.into_iter().filter(|of| of.number != due).collect();
    let mut log = world.log(&kept);
    log.signatures.insert(due, String::new());
    let audit = audited(&world, &mut log);
    let told = words_of(&audit, Oddity::NotTold);
    assert!(
        told[0].starts_with("without a value"),
        "{:?}",
        audit.findings
    );
    assert!(told[0].ends_with(&format!(": {due}")), "{told:?}");
    // Nor is a round passed over in which a check was due by its value.
    let mut log = world.log(&kept);
    log.told.remove(&due);
    let audit = audited(&world, &mut log);
    let told = words_of(&audit, Oddity::NotTold);
    assert!(told[0].starts_with("of 1 of"), "{:?}", audit.findings);
}

/// One round without a value made every audit for ever after find something, though nobody was to be checked in it.
#[test]
fn a_void_round_in_which_nothing_was_due_is_no_finding_where_drand_says_so() {
    let world = by_drand();
    let (due, all) = (world.due(), world.all());
    let idle = (1..ROUNDS).find(|round| !due.contains(round)).unwrap();
    let mut log = world.log(&all);
    log.signatures.insert(idle, String::new());
    let audit = audited(&world, &mut log);
    assert_eq!(
        words_of(&audit, Oddity::NotTold).len(),
        1,
        "nobody is asked"
    );
    let (_, table) = world.drand.as_ref().unwrap();
    let of = |round: u64| table.drand(round).unwrap().1;
    log.relayed
        .insert(of(idle), hex(&world.signature(idle).unwrap()));
    let audit = audited(&world, &mut log);
    assert_eq!(audit.verdict, Verdict::Clean, "{:?}", audit.findings);
    assert_eq!(audit.rounds_void, 1);
    // A relay is not believed.
    let other = world.signature(idle + 1).unwrap();
    log.relayed.insert(of(idle), hex(&other));
    let audit = audited(&world, &mut log);
    let told = words_of(&audit, Oddity::NotTold);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].contains("what the relay says of them is no signature"),
        "{told:?}"
    );
    // One in which a check was due was left out.
    let kept: Vec<Played> = world
        .all()
        .into_iter()
        .filter(|of| of.number != due[0])
        .collect();
    let mut log = world.log(&kept);
    log.signatures.insert(due[0], String::new());
    log.relayed
        .insert(of(due[0]), hex(&world.signature(due[0]).unwrap()));
    let audit = audited(&world, &mut log);
    let left = words_of(&audit, Oddity::LeftOut);
    assert!(
        left[0].ends_with(&format!("was due: {}", due[0])),
        "{left:?}"
    );
    assert_eq!(audit.rounds_void, 0);
}

/// What would be no finding in a round with a value was `left-out` in a void one.
#[test]
fn a_void_round_in_which_nobody_would_be_missed_is_none_that_was_left_out() {
    // Whether a void round is left out by what drand has, and how many are known to be nobody's.
    let of_void = |world: &World, void: u64, change: &dyn Fn(&mut Played)| {
        let mut kept: Vec<Played> = world.all();
        kept.retain(|of| of.number != void);
        kept.iter_mut().for_each(change);
        let mut log = world.log(&kept);
        log.signatures.insert(void, String::new());
        let (_, of) = world.drand.as_ref().unwrap().1.drand(void).unwrap();
        log.relayed.insert(of, hex(&world.signature(void).unwrap()));
        let audit = audited(world, &mut log);
        let left = words_of(&audit, Oddity::LeftOut);
        let says = format!("had a check of the node was due: {void}");
        (left.iter().any(|of| of.ends_with(&says)), audit.rounds_void)
    };
    let world = by_drand();
    let due = world.due();
    assert_eq!(of_void(&world, due[0], &|_| ()), (true, 0));
    // The log has a stream of the node, and a session in the round.
    let idle = (3..ROUNDS - 1).find(|round| !due.contains(round)).unwrap();
    let checker = key(10).public().id();
    let streamed = |of: &mut Played| {
        if of.number == ROUNDS {
            of.entries.push(stream(&world, "of a checker", 1, &checker));
            of.entries
                .push(session(&world, "of a player", (idle - 1, idle + 1)));
        }
    };
    let checked = |of: &mut Played| {
        streamed(of);
        of.told["committees"] = json!([1, 3, 1]);
    };
    let played = |of: &mut Played| {
        checked(of);
        for checker in of.told["checkers"].as_array_mut().unwrap() {
            checker["plays_since_s"] = json!(1);
        }
    };
    let streams = "streams are not checked";
    assert_eq!(of_void(&world, idle, &streamed), (false, 1), "{streams}");
    assert_eq!(of_void(&world, idle, &checked), (false, 1), "nobody plays");
    assert_eq!(of_void(&world, idle, &played), (true, 0));
    // The node's key came in as the round began.
    let began_s = world.network.anchor.begins_ms(due[0]) / 1000;
    let newer = World {
        network: World::since(8, began_s - 300).network,
        ..by_drand()
    };
    assert_eq!(of_void(&newer, due[0], &|_| ()), (false, 1));
}

#[test]
fn what_is_no_signature_hides_no_round() {
    let world = by_drand();
    let all: Vec<Played> = world.all();
    let due = all[0].number;
    let kept: Vec<Played> = all.into_iter().filter(|of| of.number != due).collect();
    let mut log = world.log(&kept);
    log.signatures.insert(due, "none".to_owned());
    let audit = audited(&world, &mut log);
    let wrong = words_of(&audit, Oddity::WrongAssignment);
    let says = format!("what is told as a signature is not 96 hex digits: {due}");
    assert_eq!(wrong, [says.as_str()]);
}

#[test]
fn a_network_of_drand_that_nobody_named_is_not_taken_for_quicknet() {
    let mut world = by_drand();
    world.believed = None;
    let says = |world: &World, expected: &str| {
        let audit = audited(world, &mut world.log(&world.all()));
        let wrong = words_of(&audit, Oddity::WrongAssignment);
        assert_eq!(wrong.len(), 1, "{:?}", audit.findings);
        assert!(wrong[0].contains(expected), "{wrong:?}");
    };
    says(&world, "which is not quicknet");
    world.believed = "quicknet".parse().ok();
    says(&world, "and not from quicknet");
    let mut chain = World::new();
    chain.believed = "quicknet".parse().ok();
    says(&chain, "from chain, and not from quicknet");
}

#[test]
fn a_change_of_beacons_is_followed_and_one_that_comes_late_is_named() {
    let mut world = world(&[(10, drand()), (20, Beacon::Chain), (28, drand())]);
    world.believed = None;
    let all = world.all();
    let audit = audited(&world, &mut world.log(&all));
    let other = |of: &&Finding| !of.words.contains("not quicknet");
    let others: Vec<&Finding> = audit.findings.iter().filter(other).collect();
    assert_eq!(others.len(), 1, "{others:?}");
    assert!(
        others[0].words.starts_with("rounds from 20 on") && others[0].words.contains("again"),
        "a way back to the chain is told: {others:?}"
    );
    assert_eq!(audit.rounds.len(), world.due().len());
    let of_drand = |round: &u64| world.signature(*round).is_some();
    assert!(world.due().iter().any(of_drand));
    assert!(!world.due().iter().all(of_drand));
    const { assert!(ROUNDS > 28) };
    // The last entry came when its rounds were over.
    let mut late = world.log(&all);
    let last = late.entries.remove(4);
    late.entries.push(last);
    // An entry that changes what was before.
    let backwards = used(&world, 5, drand()).sign(&key(8)).unwrap();
    late.entries.push(backwards);
    let (told, signatures) = (late.told, late.signatures);
    let mut late = Served::of(late.entries);
    (late.told, late.signatures) = (told, signatures);
    let audit = audited(&world, &mut late);
    let wrong = words_of(&audit, Oddity::WrongAssignment);
    let has = |words: &str| wrong.iter().any(|of| of.contains(words));
    assert!(has("round 28 had begun, or began within"), "{wrong:?}");
    assert!(has("rounds from 5 on are said"), "{wrong:?}");
}

/// Times in a log may be off by five minutes: whoever names a beacon when its first round has begun could say that it had not.
#[test]
fn a_beacon_that_comes_minutes_before_its_rounds_comes_late() {
    let world = world(&[]);
    let (trust, anchor) = (world.trust(), &world.network.anchor);
    let quicknet = used(&world, 28, "quicknet".parse().unwrap());
    let begins_s = anchor.begins_ms(28) / 1000;
    for (told_s, late) in [
        (begins_s - 300, 0),
        (begins_s - 299, 1),
        (begins_s + 1, 1),
        (begins_s + 300, 1),
    ] {
        let mut said = Said::default();
        said.entry(0, &anchor.sign(&key(8)).unwrap(), (&trust, 0));
        said.entry(1, &quicknet.sign(&key(8)).unwrap(), (&trust, told_s));
        assert_eq!(said.findings(None).len(), late, "{told_s}");
    }
}
