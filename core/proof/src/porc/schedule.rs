//! What is due for a node in a round: anyone who knows the round's value can work it out.
//!
//! | duty | when | how many checkers |
//! |---|---|---|
//! | alive | every round in which the node is attached | 1 |
//! | capacity | the first round in which it is attached and was never assigned one; one round a day that its group has; and rounds that the beacon draws | a committee |
//! | stream | every round that begins while it has sessions; and rounds that the beacon draws | 1 |
//!
//! All nodes of a group (an operator) have their daily and their drawn rounds together, and so have all GPUs of a node
//! ([`Due`]), so that one card cannot answer for two; [`super::meeting`] has the moments in which they are told their nonces.
//!
//! **What it does not know:** which nodes are attached, what they run, and what became of what was due.

use super::committee::due;
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

/// Drawn rounds of a group, and of a node's streams: so many a day on average.
pub const DRAWN_A_DAY: u64 = 2;

/// What is due for an attached node of a group, whatever it runs.
#[must_use]
pub fn duties(round: &Round, group: &str, has_been_assigned: bool) -> Vec<Duty> {
    let capacity =
        !has_been_assigned || due(round.number, group, round.a_day) || is_drawn(round, group);
    match capacity {
        true => vec![Duty::Alive, Duty::Capacity],
        false => vec![Duty::Alive],
    }
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
            let found = duties(&round(number), "west", true);
            assert_eq!(found[0], Duty::Alive, "each round");
            if found.len() == 2 {
                assert_eq!(found[1], Duty::Capacity);
                capacity.push(number);
            }
            let new = duties(&round(number), "west", false);
            let both = [Duty::Alive, Duty::Capacity];
            assert_eq!(new, both, "a new node is probed at once");
        }
        let daily: Vec<u64> = (0..10 * A_DAY).filter(|n| due(*n, "west", A_DAY)).collect();
        assert_eq!(daily.len(), 10);
        assert!(daily.iter().all(|number| capacity.contains(number)));
        let drawn = capacity.len() - 10;
        assert!((8..=36).contains(&drawn), "{drawn} drawn in ten days");
    }

    #[test]
    fn another_group_has_other_rounds_and_the_same_group_the_same() {
        let of = |group: &str| -> Vec<u64> {
            let has = |number: &u64| duties(&round(*number), group, true).len() == 2;
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
