//! The packets that are under way, by their transport-wide sequence number.
//!
//! Numbers are 16 bits and wrap; inside they are unwrapped against the newest one sent. Packets may
//! leave out of order (sound overtakes the picture), so a gap is kept open for the number that has
//! yet to leave, and feedback that calls such a packet missing says nothing.

use super::Kind;
use std::collections::VecDeque;

/// Packets remembered: four seconds at 20 Mbit/s. Also the largest gap in numbers that is one.
const PACKETS_MAX: u64 = 8192;

/// A packet that left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) at_us: u64,
    pub(super) bytes: u32,
    pub(super) kind: Kind,
    fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    UnderWay,
    Arrived,
    Missing,
}

/// What an outcome says that was not known before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Learnt {
    /// Nothing: unknown, a repetition, or not sent yet.
    Nothing,
    /// It arrived; `was_missing` if an earlier report had it lost.
    Arrived { sent: Sent, was_missing: bool },
    /// It is missing.
    Missing,
}

/// The packets under way.
#[derive(Debug, Default)]
pub(super) struct History {
    packets: VecDeque<Option<Sent>>,
    /// The unwrapped number of the first of `packets`.
    first: u64,
}

impl History {
    /// The unwrapped number nearest to the newest one, if there was any.
    fn unwrap(&self, sequence: u16) -> Option<u64> {
        let newest = (self.first + self.packets.len() as u64).checked_sub(1)?;
        // The cast keeps the low 16 bits, which is what travels.
        let ahead = sequence.wrapping_sub(newest as u16).cast_signed();
        newest.checked_add_signed(i64::from(ahead))
    }

    /// Notes a packet that leaves.
    pub(super) fn sent(&mut self, sequence: u16, bytes: u32, kind: Kind, at_us: u64) {
        let sent = Sent {
            at_us,
            bytes,
            kind,
            fate: Fate::UnderWay,
        };
        let end = self.first + self.packets.len() as u64;
        match self.unwrap(sequence).filter(|_| !self.packets.is_empty()) {
            Some(number) if number < self.first => {}
            Some(number) if number < end => {
                self.packets[(number - self.first) as usize] = Some(sent);
            }
            Some(number) if number - end < PACKETS_MAX => {
                for _ in end..number {
                    self.packets.push_back(None);
                }
                self.packets.push_back(Some(sent));
            }
            Some(_) | None => {
                // The first one, or a jump that is no gap: start anew, 2^16 away from any number
                // before it so that nothing is mistaken.
                self.packets.clear();
                self.first = ((end >> 16) + 2) << 16 | u64::from(sequence);
                self.packets.push_back(Some(sent));
            }
        }
        while self.packets.len() as u64 > PACKETS_MAX {
            self.packets.pop_front();
            self.first += 1;
        }
    }

    /// Takes what the receiver says of one packet.
    pub(super) fn learn(&mut self, sequence: u16, arrived: bool) -> Learnt {
        let number = self.unwrap(sequence).filter(|_| !self.packets.is_empty());
        let index = number.and_then(|number| number.checked_sub(self.first));
        let slot = index.and_then(|index| self.packets.get_mut(index as usize));
        let Some(Some(sent)) = slot else {
            return Learnt::Nothing;
        };
        match (sent.fate, arrived) {
            (Fate::Arrived, _) | (Fate::Missing, false) => Learnt::Nothing,
            (Fate::UnderWay, false) => {
                sent.fate = Fate::Missing;
                Learnt::Missing
            }
            (before, true) => {
                sent.fate = Fate::Arrived;
                Learnt::Arrived {
                    sent: *sent,
                    was_missing: before == Fate::Missing,
                }
            }
        }
    }

    /// When the oldest packet left that nothing is known of and that left after `since_us`.
    pub(super) fn oldest_under_way(&self, since_us: u64) -> Option<u64> {
        let mut oldest = None;
        for sent in self.packets.iter().rev().flatten() {
            if sent.fate != Fate::UnderWay || sent.at_us <= since_us {
                break;
            }
            oldest = Some(sent.at_us);
        }
        oldest
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn sent(history: &mut History, sequence: u16) {
        history.sent(sequence, 100, Kind::Video, u64::from(sequence));
    }

    fn is_arrival(learnt: Learnt) -> bool {
        matches!(learnt, Learnt::Arrived { .. })
    }

    #[test]
    fn numbers_wrap_and_are_told_apart() {
        let mut history = History::default();
        for n in 65_530..65_546_u32 {
            sent(&mut history, n as u16);
        }
        assert!(is_arrival(history.learn(65_535, true)));
        assert!(is_arrival(history.learn(0, true)));
        assert_eq!(history.learn(0, true), Learnt::Nothing);
        assert_eq!(history.learn(10, true), Learnt::Nothing);
        assert_eq!(history.learn(65_529, true), Learnt::Nothing);
    }

    #[test]
    fn a_packet_that_has_yet_to_leave_is_not_missing() {
        let mut history = History::default();
        sent(&mut history, 1);
        sent(&mut history, 4);
        assert_eq!(history.learn(2, false), Learnt::Nothing);
        sent(&mut history, 2);
        assert_eq!(history.learn(2, false), Learnt::Missing);
        assert_eq!(history.learn(2, false), Learnt::Nothing);
        let late = history.learn(2, true);
        assert!(matches!(
            late,
            Learnt::Arrived {
                was_missing: true,
                ..
            }
        ));
    }

    #[test]
    fn a_jump_starts_anew_and_the_memory_is_bounded() {
        let mut history = History::default();
        sent(&mut history, 1);
        sent(&mut history, 20_000);
        assert_eq!(history.learn(1, true), Learnt::Nothing);
        assert!(is_arrival(history.learn(20_000, true)));
        for n in 0..200_000_u32 {
            sent(&mut history, n as u16);
            assert!(history.packets.len() as u64 <= PACKETS_MAX);
        }
    }

    #[test]
    fn what_is_under_way_is_what_nothing_is_known_of() {
        let mut history = History::default();
        for n in 1..=5 {
            sent(&mut history, n);
        }
        history.learn(3, true);
        assert_eq!(history.oldest_under_way(0), Some(4));
        assert_eq!(history.oldest_under_way(4), Some(5));
        assert_eq!(history.oldest_under_way(5), None);
    }
}
