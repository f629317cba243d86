//! Who plays a node's stream in a round, and what is wrong with who is said to.
//!
//! One checker plays, the first of the round's order that could: that plays streams, as it has told its broker since before the
//! round. One that misses is stood in for by the next that could, [`STAND_INS`] times at most. [`super::schedule::stream_is_due`]
//! says when.
//!
//! **What it does not know:** who has a decoder, and what became of what was played.

use super::committee::STAND_INS;
use crate::key::KeyId;

/// Whether a checker that has told since this second that it plays may be assigned a stream of a round that began then. Seconds are
/// whole: one that told it within the second before the round may have been too late.
#[must_use]
pub const fn could_play(since_s: u64, began_ms: u64) -> bool {
    since_s.saturating_add(1).saturating_mul(1000) < began_ms
}

/// An assignment of a stream, as it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// Its checker.
    pub checker: KeyId,
    /// The checker's place in the round's order.
    pub place: u32,
    /// Whether it was missed.
    pub is_missed: bool,
}

/// Something that does not follow from the round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// This one has another place, or none.
    Misplaced(KeyId),
    /// This one could play, comes before all that were assigned, and was not.
    PassedOver(KeyId),
    /// So many stand in, and so many missed it.
    StandIns {
        /// Behind the first.
        stand_in: usize,
        /// Of all.
        missed: usize,
    },
}

impl Wrong {
    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Misplaced(_) => "misplaced",
            Self::PassedOver(_) => "passed-over",
            Self::StandIns { .. } => "stand-ins",
        }
    }

    /// Who it is about.
    #[must_use]
    pub const fn checker(&self) -> Option<&KeyId> {
        match self {
            Self::Misplaced(checker) | Self::PassedOver(checker) => Some(checker),
            Self::StandIns { .. } => None,
        }
    }
}

/// Those that may be asked, first the one that plays: `order` is of all that may check the node.
pub fn players(order: &[KeyId], could: impl Fn(&KeyId) -> bool) -> impl Iterator<Item = &KeyId> {
    order
        .iter()
        .filter(move |key| could(key))
        .take(1 + STAND_INS)
}

/// What is wrong with the assignments of a round's stream.
pub fn wrong(rows: &[Assigned], order: &[KeyId], could: impl Fn(&KeyId) -> bool) -> Vec<Wrong> {
    let is_misplaced = |row: &&Assigned| {
        let place = order.iter().position(|key| *key == row.checker);
        place.is_none() || place != usize::try_from(row.place).ok()
    };
    let misplaced = rows.iter().filter(is_misplaced);
    let mut found: Vec<Wrong> = misplaced.map(|row| Wrong::Misplaced(row.checker)).collect();
    let places = rows
        .iter()
        .filter_map(|row| usize::try_from(row.place).ok());
    let before = places.min().unwrap_or_default().min(order.len());
    let passed_over = order[..before].iter().filter(|key| could(key));
    found.extend(passed_over.map(|key| Wrong::PassedOver(*key)));
    let stand_in = rows.len().saturating_sub(1);
    let missed = rows.iter().filter(|row| row.is_missed).count();
    if stand_in > missed.min(STAND_INS) {
        found.push(Wrong::StandIns { stand_in, missed });
    }
    found
}

#[cfg(test)]
mod test {
    use super::*;

    const ORDER: [KeyId; 6] = [
        KeyId([1; 32]),
        KeyId([2; 32]),
        KeyId([3; 32]),
        KeyId([4; 32]),
        KeyId([5; 32]),
        KeyId([6; 32]),
    ];

    fn row(place: usize, is_missed: bool) -> Assigned {
        Assigned {
            checker: ORDER[place],
            place: place as u32,
            is_missed,
        }
    }

    fn could(key: &KeyId) -> bool {
        *key != ORDER[0] && *key != ORDER[3]
    }

    #[test]
    fn the_first_that_could_plays_and_the_next_two_stand_in() {
        let found: Vec<&KeyId> = players(&ORDER, could).collect();
        assert_eq!(found, [&ORDER[1], &ORDER[2], &ORDER[4]]);
        assert_eq!(players(&ORDER, |_| false).count(), 0);
        assert!(!could_play(100, 101_000) && could_play(100, 101_001));
        assert!(!could_play(u64::MAX, 5));
    }

    #[test]
    fn what_does_not_follow_is_named() {
        let found = |rows: &[Assigned]| wrong(rows, &ORDER, could);
        assert_eq!(found(&[]), []);
        assert_eq!(found(&[row(1, false)]), []);
        assert_eq!(found(&[row(1, true), row(2, true), row(4, false)]), []);
        assert_eq!(found(&[row(2, false)]), [Wrong::PassedOver(ORDER[1])]);
        let moved = Assigned {
            place: 1,
            ..row(5, false)
        };
        assert_eq!(found(&[moved]), [Wrong::Misplaced(ORDER[5])]);
        let stranger = Assigned {
            checker: KeyId([9; 32]),
            ..row(1, false)
        };
        assert_eq!(found(&[stranger]), [Wrong::Misplaced(stranger.checker)]);
        let two = [row(1, false), row(2, false)];
        let (stand_in, missed) = (1, 0);
        assert_eq!(found(&two), [Wrong::StandIns { stand_in, missed }]);
        let far = Assigned {
            place: u32::MAX,
            ..row(5, false)
        };
        let all = [
            Wrong::Misplaced(ORDER[5]),
            Wrong::PassedOver(ORDER[1]),
            Wrong::PassedOver(ORDER[2]),
            Wrong::PassedOver(ORDER[4]),
            Wrong::PassedOver(ORDER[5]),
        ];
        assert_eq!(found(&[far]), all);
    }
}
