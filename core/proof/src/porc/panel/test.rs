//! Who has a seat, and who has none, with why.

use super::*;
use crate::beacon::chain;
use crate::receipt::directory::Entry;
use crate::receipt::fixture::{Network, key, listed, porc};
use crate::receipt::predicate::Finding;

const COMMITTEE: usize = 3;
/// Round 2 begins at 1,060 s.
const GENESIS: (u64, u64) = (1_000_000, 60_000);
const FAR_S: u64 = 1_000_000;
/// The node's key comes in at 1,050 s.
const NODE_FROM_S: u64 = 750;

/// Eight checkers of as many operators, one of which runs the node; one came in too late for round 2.
fn keys() -> Vec<Entry> {
    let mut keys: Vec<Entry> = (1..=8)
        .map(|n| {
            let operator = format!("op{n}");
            listed(&key(n).public(), Role::Checker, &operator, (0, FAR_S))
        })
        .collect();
    keys.push(listed(
        &key(20).public(),
        Role::Checker,
        "late",
        (1_000, FAR_S),
    ));
    keys.push(listed(
        &key(30).public(),
        Role::Node,
        "op1",
        (NODE_FROM_S, FAR_S),
    ));
    keys
}

fn network() -> Network {
    Network::new(GENESIS, keys(), &key(99))
}

fn panel(network: &Network) -> Panel<'_> {
    Panel {
        directory: &network.directory,
        chain: Some(&network.anchor),
        committee: COMMITTEE,
        capacity_s: 900,
    }
}

/// In round 2, and as far as the log goes.
const SAID: SaidAt = SaidAt {
    issued_at_s: 1_090,
    told_s: 1_080,
};

/// A receipt of round 2 as it should be.
fn of_round_2(network: &Network) -> Porc {
    let value = network.value(2).unwrap();
    let set = set_of(&network.directory, 1_060);
    Porc {
        round: 2,
        beacon: KeyId(value),
        checkers: KeyId(set_root(&set)),
        ..porc(Finding::Pass)
    }
}

#[test]
fn the_first_of_the_order_have_seats_and_nobody_else() {
    let network = network();
    let porc = of_round_2(&network);
    let node = key(30).public().id();
    let seat = |n: u8| {
        let issuer = key(n).public().id();
        panel(&network).seat(&porc, &node, &issuer, SAID, |round| network.value(round))
    };
    let mut seats: Vec<u32> = (1..=8).filter_map(|n| seat(n).ok()).collect();
    seats.sort_unstable();
    assert_eq!(seats, [0, 1, 2, 3, 4], "three, and two who stand in");
    assert_eq!(seat(1), Err(Unseated::NotAssigned), "it runs the node");
    assert_eq!(seat(20), Err(Unseated::NotAssigned), "not of the set yet");
    assert_eq!(seat(77), Err(Unseated::NotAssigned), "no checker at all");
}

#[test]
fn what_a_receipt_names_has_to_be_the_rounds() {
    let network = network();
    let good = of_round_2(&network);
    let node = key(30).public().id();
    let seated = (1..=8)
        .map(|n| key(n).public().id())
        .find(|id| {
            panel(&network)
                .seat(&good, &node, id, SAID, |r| network.value(r))
                .is_ok()
        })
        .unwrap();
    let seat = |porc: &Porc, node: &KeyId| {
        panel(&network).seat(porc, node, &seated, SAID, |round| network.value(round))
    };
    let other = |change: fn(&mut Porc)| {
        let mut porc = good.clone();
        change(&mut porc);
        seat(&porc, &node)
    };
    assert_eq!(
        other(|porc| porc.beacon = KeyId([1; 32])),
        Err(Unseated::OtherValue)
    );
    assert_eq!(other(|porc| porc.round = 3), Err(Unseated::OtherValue));
    assert_eq!(other(|porc| porc.round = 0), Err(Unseated::NoRound));
    assert_eq!(other(|porc| porc.round = u64::MAX), Err(Unseated::NoRound));
    assert_eq!(
        other(|porc| porc.checkers = KeyId([1; 32])),
        Err(Unseated::OtherSet)
    );
    assert_eq!(seat(&good, &key(31).public().id()), Err(Unseated::NoNode));
    // Where nobody is assigned everybody may speak.
    let open = Panel {
        chain: None,
        ..panel(&network)
    };
    assert_eq!(
        open.seat(&good, &node, &key(77).public().id(), SAID, |_| None),
        Ok(0)
    );
}

/// Colluders who are a whole committee of a round of their choice, or of a key that was made for it, or who speak when the
/// others cannot any more.
#[test]
fn a_check_counts_in_a_round_that_was_due_of_a_key_that_was_there_and_in_its_time() {
    let day = 24 * 60;
    let network = network();
    let node = key(30).public().id();
    let seats = |round: u64, at: SaidAt, keys: Vec<Entry>| {
        let network = Network::new(GENESIS, keys, &key(99));
        let began_s = network.anchor.begins_ms(round) / 1000;
        let porc = Porc {
            round,
            beacon: KeyId(network.value(round).unwrap()),
            checkers: KeyId(set_root(&set_of(&network.directory, began_s))),
            ..porc(Finding::Pass)
        };
        let seat = |n: u8| {
            let issuer = key(n).public().id();
            panel(&network).seat(&porc, &node, &issuer, at, |round| network.value(round))
        };
        let mut all: Vec<_> = (2..=8).map(seat).collect();
        all.sort_by_key(|seat| seat.is_err());
        all
    };
    let at = |round: u64, issued: u64, told: u64| {
        let began_s = network.anchor.begins_ms(round) / 1000;
        SaidAt {
            issued_at_s: began_s + issued,
            told_s: began_s + told,
        }
    };
    // Its first ten minutes, and then what the schedule has.
    let counts = |round| seats(round, at(round, 60, 60), keys())[0].is_ok();
    assert!(counts(2) && counts(11));
    let last = 12 + 2 * day;
    let (mut later, mut value) = (Vec::new(), network.value(last).unwrap());
    for round in (12..=last).rev() {
        if panel(&network).due(&Drawn { round, value }, &node) == Ok(Cause::Schedule) {
            later.push(round);
        }
        value = chain::step(&value);
    }
    later.reverse();
    assert!((2..20).contains(&later.len()), "{later:?}");
    assert!(counts(later[0]));
    let quiet = (12..).find(|round| !later.contains(round)).unwrap();
    let none = seats(quiet, at(quiet, 60, 60), keys());
    assert!(none.iter().all(|seat| *seat == Err(Unseated::NotDue)));
    // A key that was made once the value was known.
    let due = later[0];
    let mut made = keys();
    let began_s = network.anchor.begins_ms(due) / 1000;
    made.last_mut().unwrap().from_s = began_s - 300;
    let newer = seats(due, at(due, 60, 60), made.clone());
    assert!(newer.iter().all(|seat| *seat == Err(Unseated::KeyIsNewer)));
    made.last_mut().unwrap().from_s = began_s - 301;
    assert!(seats(due, at(due, 60, 60), made)[0].is_ok());
    // Weeks later, whatever it says of when it was.
    for late in [at(due, 3_001, 60), at(due, 60, 3_001)] {
        let late = seats(due, late, keys());
        assert!(late.iter().all(|seat| *seat == Err(Unseated::OutOfTime)));
    }
    assert!(
        seats(due, at(due, 3_000, 3_000), keys())[0].is_ok(),
        "who stands in last"
    );
}

/// That a node is not there is said by whoever asked, in rounds in which nothing else was asked.
#[test]
fn who_can_say_nothing_has_a_seat_in_any_round_by_the_order_alone() {
    let network = network();
    let node = key(30).public().id();
    let began_s = |round| network.anchor.begins_ms(round) / 1000;
    let quiet = |round: &u64| {
        let value = network.value(*round).unwrap();
        let drawn = Drawn {
            round: *round,
            value,
        };
        panel(&network).due(&drawn, &node) == Err(Unseated::NotDue)
    };
    let quiet = (12..40).find(quiet).unwrap();
    let seats = |finding: Finding| {
        let porc = Porc {
            round: quiet,
            beacon: KeyId(network.value(quiet).unwrap()),
            checkers: KeyId(set_root(&set_of(&network.directory, began_s(quiet)))),
            ..porc(finding)
        };
        let at = SaidAt {
            issued_at_s: began_s(quiet) + 30,
            told_s: began_s(quiet) + 30,
        };
        let seat = |n: u8| {
            let issuer = key(n).public().id();
            panel(&network).seat(&porc, &node, &issuer, at, |round| network.value(round))
        };
        (1..=20).filter(|n| seat(*n).is_ok()).count()
    };
    assert_eq!(seats(Finding::Inconclusive), 5, "nobody else");
    assert_eq!((seats(Finding::Pass), seats(Finding::Fail)), (0, 0));
}

/// Twenty of a hundred checkers collude. They are a whole committee, and so can decide a round, as often as three drawn of
/// a hundred are all of twenty: 0.71 % of rounds. In 49.2 % at least one of them sits in it, and can do no more than split it.
#[test]
fn a_colluding_minority_has_a_committee_as_seldom_as_stated() {
    const ROUNDS: u32 = 4_000;
    const COLLUDE: u8 = 20;
    let set: Vec<crate::porc::committee::Checker> = (0..100_u8)
        .map(|n| crate::porc::committee::Checker {
            key: KeyId([n; 32]),
            operator: format!("op{n}"),
        })
        .collect();
    let node = Candidate {
        key: KeyId([200; 32]),
        operator: "host".to_owned(),
    };
    let (mut whole, mut some) = (0_u32, 0_u32);
    for round in 0..ROUNDS {
        let mut value = [0; 32];
        value[..4].copy_from_slice(&round.to_le_bytes());
        let committee = assign(&value, &node, &set, COMMITTEE);
        let colluding = committee.iter().filter(|of| of.key.0[0] < COLLUDE).count();
        whole += u32::from(colluding == COMMITTEE);
        some += u32::from(colluding > 0);
    }
    let near = |found: u32, share: f64| {
        let expected = f64::from(ROUNDS) * share;
        let sigma = (expected * (1.0 - share)).sqrt();
        (f64::from(found) - expected).abs() < 4.0 * sigma
    };
    assert!(near(whole, 1_140.0 / 161_700.0), "{whole}");
    assert!(near(some, 1.0 - 82_160.0 / 161_700.0), "{some}");
}

/// Who comes in later, or is shut out later, changes nothing of a round that began before.
#[test]
fn a_later_edition_gives_the_same_seats() {
    let network = network();
    let node = key(30).public().id();
    let drawn = Drawn {
        round: 2,
        value: network.value(2).unwrap(),
    };
    let before = panel(&network).order(&drawn, &node).unwrap();
    let mut later = keys();
    later[3].revoked_at_s = Some(1_060);
    later.push(listed(
        &key(40).public(),
        Role::Checker,
        "new",
        (1_000, FAR_S),
    ));
    let later = Network::new(GENESIS, later, &key(99));
    assert_eq!(panel(&later).order(&drawn, &node).unwrap(), before);
    // One that was shut out the second before is of no set.
    let mut earlier = keys();
    earlier[3].revoked_at_s = Some(1_059);
    let earlier = Network::new(GENESIS, earlier, &key(99));
    assert_ne!(panel(&earlier).order(&drawn, &node).unwrap().0, before.0);
}
