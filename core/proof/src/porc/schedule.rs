//! What is due for a node in a round: anyone who knows the round's value can work it out.
//!
//! | duty | when | how many checkers |
//! |---|---|---|
//! | alive | every round in which the node is attached | 1 |
//! | capacity | one round a day that its group has; rounds that the beacon draws; and the first rounds after its key came in, until it was assigned one | a committee |
//! | stream | every round that begins while it has sessions; and rounds that the beacon draws | 1 |
//!
//! All nodes of a group (an operator) have their daily and their drawn rounds together, and so have all GPUs of a node
//! ([`Due`]), so that one card cannot answer for two; [`super::meeting`] has the moments in which they are told their nonces.
//!
//! A check of capacity counts in a round in which it was due, and in its time ([`is_in_time`]): who checks nobody was to check,
//! or says weeks later what it found, could choose among all rounds the one whose order suits it.
//!
//! **What it does not know:** which nodes are attached, what they run, and what became of what was due.

use super::committee::{EARLY_S, STAND_INS, due};
use super::mixer::hash;
use crate::key::KeyId;
use crate::log::tree::Hash;

/// What may be due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Duty {
    /// Whether it is there.
    Alive,
    /// What it can do.
    Capacity,
    /// What players get of it.
    Stream,
}

impl Duty {
    /// All, in order.
    pub const ALL: [Self; 3] = [Self::Alive, Self::Capacity, Self::Stream];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Capacity => "capacity",
            Self::Stream => "stream",
        }
    }

    /// The duty of this name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|duty| duty.name() == name)
    }

    /// How many checkers it takes, of a committee of so many.
    #[must_use]
    pub const fn checkers(self, committee: usize) -> usize {
        match self {
            Self::Alive | Self::Stream => 1,
            Self::Capacity => committee,
        }
    }
}

/// What a duty is about: the host's own CPU has this id.
pub const CPU: &str = "cpu";

/// A duty, and of which GPU: what an assignment is called.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Due {
    /// What is due.
    pub duty: Duty,
    /// Of which GPU, by the node's own id; [`CPU`] of a duty that is of none.
    pub gpu: String,
}

impl Due {
    /// Its name: `alive`, `stream`, `capacity`, or `capacity/GPU` of a GPU.
    #[must_use]
    pub fn name(&self) -> String {
        match (self.duty, self.gpu.as_str()) {
            (duty, CPU) | (duty @ (Duty::Alive | Duty::Stream), _) => duty.name().to_owned(),
            (duty, gpu) => format!("{}/{gpu}", duty.name()),
        }
    }

    /// What has this name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        let (duty, gpu) = match name.split_once('/') {
            None => (Duty::of_name(name)?, CPU),
            Some((duty, gpu)) => (Duty::of_name(duty)?, gpu),
        };
        let due = Self {
            duty,
            gpu: gpu.to_owned(),
        };
        // One spelling each, and no GPU without a name.
        (!gpu.is_empty() && due.name() == name).then_some(due)
    }
}

/// A round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Round {
    /// Its number.
    pub number: u64,
    /// Its value.
    pub value: Hash,
    /// How many there are a day.
    pub a_day: u64,
}

/// So many seconds before it was told a node's key counts: its clock may be behind. It is of no round that began by then.
pub const NODE_EARLY_S: u64 = 300;
/// For so many seconds after its key came in, and for two rounds at least, each round is one in which a node is checked
/// for the first time.
pub const REGISTERS_S: u64 = 600;
/// How far clocks may be apart, seconds.
const CLOCKS_S: u64 = 300;

/// Whether a node's key was there before a round began, by when it counts from.
#[must_use]
pub const fn is_there(from_s: u64, began_s: u64) -> bool {
    from_s.saturating_add(NODE_EARLY_S) < began_s
}

/// Whether a round that began then, of so many seconds, is one of the first that a node could be checked in: its key and as
/// many checkers of `others` as a committee has had just come in. Both are given by when they count from.
#[must_use]
pub fn is_first(
    node_from_s: u64,
    others: impl Iterator<Item = u64>,
    committee: usize,
    (began_s, round_s): (u64, u64),
) -> bool {
    let mut joined: Vec<u64> = others
        .map(|from_s| from_s.saturating_add(EARLY_S))
        .collect();
    let Some(last) = committee.checked_sub(1).filter(|last| *last < joined.len()) else {
        return false;
    };
    let (_, joined_s, _) = joined.select_nth_unstable(last);
    let since_s = (*joined_s).max(node_from_s.saturating_add(NODE_EARLY_S));
    let until_s = since_s.saturating_add(REGISTERS_S.max(round_s.saturating_mul(2)));
    (since_s.saturating_add(1)..=until_s).contains(&began_s)
}

/// Whether what was said of a round that began then was said in its time: by the receipt's own word, and by what stands
/// before it in the log. A check takes `capacity_s` at most, and so does whoever stands in.
#[must_use]
pub fn is_in_time((issued_at_s, told_s): (u64, u64), began_s: u64, capacity_s: u64) -> bool {
    let checks = STAND_INS as u64 + 1;
    let ends_s = began_s
        .saturating_add(capacity_s.saturating_mul(checks))
        .saturating_add(CLOCKS_S);
    (began_s.saturating_sub(CLOCKS_S)..=ends_s).contains(&issued_at_s) && told_s <= ends_s
}

/// Drawn rounds of a group, and of a node's streams: so many a day on average.
pub const DRAWN_A_DAY: u64 = 2;

/// Whether a check of capacity is due for a group in a round by the schedule.
#[must_use]
pub fn capacity_is_due(round: &Round, group: &str) -> bool {
    due(round.number, group, round.a_day) || is_drawn(round, group)
}

/// Whether a probe of its stream is due for an attached node: as long as it `renders` for players, and now and then.
#[must_use]
pub fn stream_is_due(round: &Round, node: &KeyId, renders: bool) -> bool {
    renders || is_of_those_drawn(round, ("porw/v1 drawn", &node.0))
}

fn is_drawn(round: &Round, group: &str) -> bool {
    is_of_those_drawn(round, ("porc/v1 drawn", group.as_bytes()))
}

fn is_of_those_drawn(round: &Round, (label, whose): (&str, &[u8])) -> bool {
    let every = (round.a_day / DRAWN_A_DAY).max(1);
    let [a, b, c, d, e, f, g, h, ..] = hash(label, &[&round.value, whose]);
    u64::from_le_bytes([a, b, c, d, e, f, g, h]) % every == 0
}

#[cfg(test)]
mod test {
    use super::*;

    const A_DAY: u64 = 1440;

    fn round(number: u64) -> Round {
        Round {
            number,
            value: hash("test", &[&number.to_le_bytes()]),
            a_day: A_DAY,
        }
    }

    #[test]
    fn the_table() {
        let mut capacity = Vec::new();
        for number in 0..10 * A_DAY {
            if capacity_is_due(&round(number), "west") {
                capacity.push(number);
            }
        }
        let daily: Vec<u64> = (0..10 * A_DAY).filter(|n| due(*n, "west", A_DAY)).collect();
        assert_eq!(daily.len(), 10);
        assert!(daily.iter().all(|number| capacity.contains(number)));
        let drawn = capacity.len() - 10;
        assert!((8..=36).contains(&drawn), "{drawn} drawn in ten days");
    }

    #[test]
    fn a_key_is_of_the_rounds_that_begin_after_it_came_in() {
        assert!(!is_there(700, 1_000), "in the second before it, or in it");
        assert!(is_there(699, 1_000));
    }

    /// From when there is a committee for it, for ten minutes or two rounds.
    #[test]
    fn the_first_rounds_are_those_that_could_be_the_first() {
        let is = |node_from_s, others: &[u64], began_s, round_s| {
            is_first(node_from_s, others.iter().copied(), 3, (began_s, round_s))
        };
        let there = [0, 0, 0];
        let of_node = [1_000, 1_001, 1_600, 1_601].map(|began_s| is(700, &there, began_s, 60));
        assert_eq!(of_node, [false, true, true, false]);
        assert!(is(700, &there, 8_200, 3_600) && !is(700, &there, 8_201, 3_600));
        // The third checker comes in at 5,060; more change nothing of that.
        for others in [&[0, 5_000, 9][..], &[5_000, 7, 0, 6_000, 5_001]] {
            let of_set = [5_060, 5_061, 5_660, 5_661].map(|began_s| is(700, others, began_s, 60));
            assert_eq!(of_set, [false, true, true, false], "{others:?}");
        }
        assert!(!is(700, &[0, 0], 1_100, 60), "nobody could be a committee");
        assert!(!is_first(700, [0].into_iter(), 0, (1_100, 60)));
    }

    /// Three checks of 900 s after each other, and five minutes of clocks.
    #[test]
    fn what_is_said_late_or_dated_back_is_not_in_time() {
        let is = |issued_at_s, told_s| is_in_time((issued_at_s, told_s), 10_000, 900);
        assert!(is(9_700, 0) && !is(9_699, 0));
        assert!(is(13_000, 13_000) && !is(13_001, 0));
        assert!(!is(10_100, 13_001), "what stands before it is later");
    }

    #[test]
    fn another_group_has_other_rounds_and_the_same_group_the_same() {
        let of = |group: &str| -> Vec<u64> {
            let has = |number: &u64| capacity_is_due(&round(*number), group);
            (0..3 * A_DAY).filter(has).collect()
        };
        assert_ne!(of("west"), of("east"));
        assert_eq!(of("west"), of("west"));
    }

    #[test]
    fn a_stream_is_due_while_players_have_it_and_in_rounds_that_are_drawn() {
        let node = KeyId([4; 32]);
        let drawn = |node: &KeyId| -> Vec<u64> {
            let is = |number: &u64| stream_is_due(&round(*number), node, false);
            (0..10 * A_DAY).filter(is).collect()
        };
        let of_node = drawn(&node);
        assert!((8..=36).contains(&of_node.len()), "{of_node:?}");
        assert_ne!(of_node, drawn(&KeyId([5; 32])), "each has its own");
        assert!((0..100).all(|number| stream_is_due(&round(number), &node, true)));
    }

    #[test]
    fn names_are_names() {
        for duty in Duty::ALL {
            assert_eq!(Duty::of_name(duty.name()), Some(duty));
        }
        assert_eq!(Duty::of_name("sleep"), None);
        for name in [
            "alive",
            "stream",
            "capacity",
            "capacity/GPU-1",
            "capacity/pci-0000:01:00.0",
        ] {
            assert_eq!(Due::of_name(name).unwrap().name(), name);
        }
        for none in [
            "",
            "capacity/cpu",
            "capacity/",
            "alive/GPU-1",
            "stream/GPU-1",
            "sleep/GPU-1",
        ] {
            assert_eq!(Due::of_name(none), None, "{none}");
        }
        assert_eq!(Duty::ALL.map(|duty| duty.checkers(3)), [1, 3, 1]);
    }
}
