//! Whether an address agrees to be sent a stream, as RFC 7675 has it: it has answered a question that
//! nobody can answer who does not read what is sent there.
//!
//! ```text
//!   the viewer's own packet comes from elsewhere --> asked --its answer--> agrees, for 30 s
//!                                                      |
//!                                                      +--2 s, or newer questions--> forgotten
//! ```
//!
//! A viewer's packets prove who sent them, not from where: a source address is easily made up. The
//! address that DTLS finished over has answered; any other is asked before the stream moves there.
//! A question is about as large as what provokes it, and there are at most 20 a second: nothing is to be
//! gained by having us ask somebody else.
//!
//! Pure: time and random bytes are handed in. **What it does not know:** STUN, and why a viewer moves.

use crate::net::socket::Path;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long an answer counts (RFC 7675, section 5.1).
const GIVEN_FOR: Duration = Duration::from_secs(30);
/// How long a question can be answered: longer than any round trip that can be played over.
const ASKED_FOR: Duration = Duration::from_secs(2);
/// Between two questions of one attachment. A viewer provokes one with each of its reports.
const ASK_INTERVAL: Duration = Duration::from_millis(50);
/// Questions that are open: a viewer moves to one place at a time.
const ASKED_MAX: usize = 8;
/// Answers that are remembered: Wi-Fi and mobile, of both address families.
const GIVEN_MAX: usize = 8;

/// The number of a question, which its answer repeats.
pub(crate) type Transaction = [u8; 12];

/// What an attachment knows of its viewer's addresses.
#[derive(Debug, Default)]
pub(crate) struct Consent {
    asked: Vec<Question>,
    given: Vec<(SocketAddr, Instant)>,
    due: Option<(Path, Transaction)>,
    last: Option<Instant>,
}

#[derive(Debug)]
struct Question {
    transaction: Transaction,
    path: Path,
    at: Instant,
}

impl Consent {
    /// Whether `remote` agrees.
    pub(crate) fn holds(&self, remote: SocketAddr, now: Instant) -> bool {
        let fresh = |at: Instant| now.saturating_duration_since(at) < GIVEN_FOR;
        let mut given = self.given.iter();
        given.any(|(address, at)| *address == remote && fresh(*at))
    }

    /// Asks over `path`, unless something was asked just now. `transaction` cannot be guessed.
    pub(crate) fn ask(&mut self, now: Instant, path: Path, transaction: Transaction) {
        let since = |at: Instant| now.saturating_duration_since(at);
        if self.last.is_some_and(|at| since(at) < ASK_INTERVAL) {
            return;
        }
        self.last = Some(now);
        self.asked.retain(|question| since(question.at) < ASKED_FOR);
        if self.asked.len() >= ASKED_MAX {
            self.asked.remove(0);
        }
        self.asked.push(Question {
            transaction,
            path,
            at: now,
        });
        self.due = Some((path, transaction));
    }

    /// The question that is to be sent now.
    pub(crate) fn take_due(&mut self) -> Option<(Path, Transaction)> {
        self.due.take()
    }

    /// An answer came from `from`: the path that it opens, if it was asked for from there.
    pub(crate) fn answered(
        &mut self,
        now: Instant,
        transaction: Transaction,
        from: SocketAddr,
    ) -> Option<Path> {
        let since = |at: Instant| now.saturating_duration_since(at);
        let found = self.asked.iter().position(|question| {
            question.transaction == transaction
                && question.path.remote == from
                && since(question.at) < ASKED_FOR
        })?;
        let path = self.asked.remove(found).path;
        self.given
            .retain(|(address, at)| *address != from && since(*at) < GIVEN_FOR);
        if self.given.len() >= GIVEN_MAX {
            self.given.remove(0);
        }
        self.given.push((from, now));
        Some(path)
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn path(port: u16) -> Path {
        Path {
            remote: SocketAddr::from(([192, 0, 2, 1], port)),
            local: None,
        }
    }

    #[test]
    fn only_the_answer_to_the_question_from_the_address_that_was_asked_opens_a_path() {
        let mut consent = Consent::default();
        let now = Instant::now();
        let (old, new) = (path(1), path(2));
        consent.ask(now, new, [7; 12]);
        assert_eq!(consent.take_due(), Some((new, [7; 12])));
        assert_eq!(consent.take_due(), None);
        assert_eq!(consent.answered(now, [8; 12], new.remote), None, "a guess");
        assert_eq!(consent.answered(now, [7; 12], old.remote), None);
        assert!(!consent.holds(new.remote, now));
        assert_eq!(consent.answered(now, [7; 12], new.remote), Some(new));
        assert!(consent.holds(new.remote, now) && !consent.holds(old.remote, now));
        assert_eq!(consent.answered(now, [7; 12], new.remote), None, "twice");
        assert!(!consent.holds(new.remote, now + GIVEN_FOR));
    }

    #[test]
    fn questions_are_few_and_forgotten() {
        let mut consent = Consent::default();
        let now = Instant::now();
        let mut asked = 0;
        for n in 0..1_000_u16 {
            consent.ask(now + Duration::from_millis(n.into()), path(n), [1; 12]);
            asked += usize::from(consent.take_due().is_some());
        }
        assert_eq!(asked, 20);
        assert_eq!(consent.asked.len(), ASKED_MAX);
        let late = now + Duration::from_secs(1) + ASKED_FOR;
        assert_eq!(consent.answered(late, [1; 12], path(950).remote), None);
        for n in 0..100 {
            let at = late + ASK_INTERVAL * u32::from(n);
            consent.ask(at, path(n), [2; 12]);
            assert!(consent.answered(at, [2; 12], path(n).remote).is_some());
        }
        assert_eq!(consent.given.len(), GIVEN_MAX);
    }
}
