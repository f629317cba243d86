//! The trains of a line check: what is sent when, so that the browser can tell what its line carries.
//!
//! ```text
//! channels open -> 1 s of quiet -> train 0 -> acknowledged, given up, or 1 s -> train 1 -> ... -> over
//! ```
//!
//! Pure. The messages of a train are handed to SCTP at once, which sends as many as its congestion
//! window takes, back to back. The window starts at four packets and doubles each round trip, so the
//! first train is there to open it; the next two fit into what it opened, and leave in one burst. The
//! quiet at the start is for pings: what they take then is the line's own round trip.

use crate::limits::{LINE_CHECK_QUIET, TRAIN_PATIENCE};
use nearlight_protocol::notice::Mark;
use std::time::Instant;

/// Messages of each train: 105 KB that open the window, then twice 53 KB, which a queue of 100 ms
/// holds at 5 Mbit/s.
const COUNTS: [u16; 3] = [96, 48, 48];

/// Which train is on its way.
#[derive(Debug)]
pub(crate) struct Trains {
    next: usize,
    /// When the next one goes even if this one is not acknowledged.
    until: Option<Instant>,
}

impl Trains {
    pub(crate) fn new(opened: Instant) -> Self {
        Self {
            next: 0,
            until: Some(opened + LINE_CHECK_QUIET),
        }
    }

    /// The messages of the next train if it is time for it; `idle` says that nothing is under way.
    pub(crate) fn take(
        &mut self,
        now: Instant,
        idle: bool,
        sent_us: u64,
    ) -> impl Iterator<Item = Mark> + use<> {
        let early = self.until.is_some_and(|until| now < until);
        let waits = early && (self.next == 0 || !idle);
        let count = COUNTS.get(self.next).copied().filter(|_| !waits);
        let train = u8::try_from(self.next).unwrap_or(u8::MAX);
        if count.is_some() {
            self.next += 1;
            self.until = (self.next < COUNTS.len()).then(|| now + TRAIN_PATIENCE);
        }
        let count = count.unwrap_or(0);
        (0..count).map(move |seq| Mark::Train {
            train,
            seq,
            count,
            sent_us,
        })
    }

    /// When to ask again at the latest.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.until
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn each_train_waits_for_the_one_before_it_but_not_for_ever() {
        let opened = Instant::now();
        let start = opened + LINE_CHECK_QUIET;
        let mut trains = Trains::new(opened);
        assert_eq!(trains.deadline(), Some(start));
        let mut send = |now, idle| trains.take(now, idle, 7).count();
        assert_eq!(send(opened, true), 0);
        assert_eq!(send(start, true), 96);
        assert_eq!(send(start, false), 0);
        let late = start + TRAIN_PATIENCE;
        assert_eq!(send(late, false), 48);
        assert_eq!(send(late, true), 48);
        assert_eq!(send(late + TRAIN_PATIENCE, true), 0);
        assert_eq!(trains.deadline(), None);
    }

    #[test]
    fn messages_are_numbered_within_their_train() {
        let opened = Instant::now();
        let now = opened + LINE_CHECK_QUIET;
        let mut trains = Trains::new(opened);
        let first = trains.take(now, true, 7).last();
        let last = Mark::Train {
            train: 0,
            seq: 95,
            count: 96,
            sent_us: 7,
        };
        assert_eq!(first, Some(last));
        let second = trains.take(now, true, 8).next();
        assert!(matches!(
            second,
            Some(Mark::Train {
                train: 1,
                seq: 0,
                count: 48,
                ..
            })
        ));
    }
}
