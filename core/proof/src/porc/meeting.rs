//! When nodes that may be one machine are told their nonces: all in the same moment.
//!
//! Different checkers probe them, and none of these asks another. So the moment follows from what all of them know: the
//! round, a checker's place in the order of a node, and how many probes the group has.
//!
//! ```text
//!   the round begins                                                          its window ends
//!   |  lead |  part  |  part  |  part  |  part  | ... |      for those who stand in       |
//!           m(0, 0)  m(0, 1)  m(1, 0)  m(1, 1)  ...             m(place, cell)
//! ```
//!
//! A group of more than [`AT_ONCE`] probes is divided into cells, anew in each round by its value: two of its nodes meet in
//! one round of `cells`. Those of one cell meet once for each place of the committee.
//!
//! **Invariants.** Nodes of one cell have the same moments, whoever checks them. Who stands in for another has none: it is
//! known too late that it does, and the others of the committee had theirs.
//!
//! **What it does not know:** who checks whom, what a group is, whose clock is right.

use super::committee::STAND_INS;
use super::mixer::hash;
use crate::key::KeyId;
use crate::log::tree::Hash;

/// Probes of a group that meet in one moment. What a broker and a few checkers carry at once, and as many as two hundred
/// thousand a day for three rounds a day and a committee of three.
pub const AT_ONCE: usize = 128;
/// The time in which those who meet begin, before their moment, milliseconds: opening a probe, a busy node's patience, and the
/// answer to `begin`.
pub const LEAD_MS: u64 = 30_000;

/// The probes of a group in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meeting {
    /// The round's value.
    pub value: Hash,
    /// When the round began, Unix milliseconds.
    pub began_ms: u64,
    /// For how long its probes may take.
    pub window_ms: u64,
    /// How many checkers probe each node.
    pub committee: usize,
    /// How many probes each of them has in the group: its nodes' GPUs.
    pub probes: usize,
}

impl Meeting {
    /// Into how many cells the group is divided: two nodes of it are of one cell with one by this.
    #[must_use]
    pub fn cells(&self) -> u64 {
        (self.probes.div_ceil(AT_ONCE) as u64).max(1)
    }

    /// Which a node is of.
    #[must_use]
    pub fn cell(&self, node: &KeyId) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = hash("porc/v1 cell", &[&self.value, &node.0]);
        u64::from_le_bytes([a, b, c, d, e, f, g, h]) % self.cells()
    }

    /// When the checker in this place of a node's order tells it its nonce, Unix milliseconds; `None` for one that stands in.
    #[must_use]
    pub fn moment_ms(&self, node: &KeyId, place: u32) -> Option<u64> {
        let place = u64::from(place);
        if place >= self.committee as u64 {
            return None;
        }
        let parts = self.committee as u64 * self.cells() + STAND_INS as u64;
        let part_ms = self.window_ms / parts.max(1);
        let lead_ms = LEAD_MS.min(part_ms / 2);
        let part = place * self.cells() + self.cell(node);
        Some(self.began_ms + lead_ms + part * part_ms)
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn meeting(value: u8, probes: usize) -> Meeting {
        Meeting {
            value: [value; 32],
            began_ms: 1_000_000,
            window_ms: 900_000,
            committee: 3,
            probes,
        }
    }

    fn nodes(count: u8) -> impl Iterator<Item = KeyId> + Clone {
        (0..count).map(|n| KeyId([n; 32]))
    }

    #[test]
    fn all_nodes_of_a_farm_meet_once_for_each_place_of_the_committee() {
        let farm = meeting(1, 100);
        for (place, moment_ms) in [(0, 1_030_000), (1, 1_210_000), (2, 1_390_000)] {
            for node in nodes(100) {
                assert_eq!(farm.moment_ms(&node, place), Some(moment_ms));
            }
        }
        assert_eq!(farm.moment_ms(&KeyId([1; 32]), 3), None, "stands in");
    }

    /// Two nodes of a group of eight cells: one round in eight, and never two cells at a time.
    #[test]
    fn a_pair_of_a_larger_group_meets_as_often_as_stated() {
        let [one, other] = [KeyId([1; 32]), KeyId([2; 32])];
        let met = (0..=u8::MAX).filter(|value| {
            let of = meeting(*value, 8 * AT_ONCE);
            assert_eq!(of.cells(), 8);
            let same_cell = of.cell(&one) == of.cell(&other);
            for (place, another) in [(0, 0), (1, 1), (2, 2), (0, 1), (1, 2)] {
                let meets = of.moment_ms(&one, place) == of.moment_ms(&other, another);
                assert_eq!(meets, same_cell && place == another);
            }
            same_cell
        });
        // 32 of 256 are expected, 5.3 the deviation.
        let met = met.count();
        assert!((16..=48).contains(&met), "{met} of 256 rounds");
    }

    #[test]
    fn moments_are_within_the_window_and_leave_time_to_begin() {
        for (probes, window_ms) in [(2, 10_000), (2, 900_000), (1_000, 900_000), (1, 0)] {
            let of = Meeting {
                window_ms,
                ..meeting(9, probes)
            };
            for (node, place) in nodes(50).flat_map(|node| (0..3).map(move |place| (node, place))) {
                let moment_ms = of.moment_ms(&node, place).unwrap();
                assert!((of.began_ms..=of.began_ms + window_ms).contains(&moment_ms));
            }
        }
    }
}
