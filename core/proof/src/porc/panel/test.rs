//! Who has a seat, and who has none, with why.

use super::*;
use crate::receipt::directory::Entry;
use crate::receipt::fixture::{Network, key, listed, porc};
use crate::receipt::predicate::Finding;

const COMMITTEE: usize = 3;
/// Round 2 begins at 1,060 s.
const GENESIS: (u64, u64) = (1_000_000, 60_000);
const FAR_S: u64 = 1_000_000;

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
    keys.push(listed(&key(30).public(), Role::Node, "op1", (0, FAR_S)));
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
    }
}

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
        panel(&network).seat(&porc, &node, &issuer, |round| network.value(round))
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
                .seat(&good, &node, id, |r| network.value(r))
                .is_ok()
        })
        .unwrap();
    let seat = |porc: &Porc, node: &KeyId| {
        panel(&network).seat(porc, node, &seated, |round| network.value(round))
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
        open.seat(&good, &node, &key(77).public().id(), |_| None),
        Ok(0)
    );
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
