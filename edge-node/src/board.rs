//! What the broker should know of each session: the newest state, whoever hears it.
//!
//! Reports are not queued. While no stream is up, and when one comes up, only the newest state of a
//! session matters: how far it is, who is attached, how many watch, what it has used, or that it ended and why. Ended sessions are
//! kept for a while, for a report that was sent may not have arrived; on disk too ([`crate::ended`]), for the next agent.
//!
//! **Invariant.** Bounded: one entry a live session, and the last
//! [`ENDED_KEPT_MAX`] ended ones.

use crate::ended::Ended;
use crate::limits::ENDED_KEPT_MAX;
use crate::session::machine::Ending;
use nearlight_protocol::control::{FromEdge, SessionReport};
use nearlight_protocol::id::SessionId;
use nearlight_protocol::unit::U64;
use std::collections::{BTreeMap, VecDeque};

/// The newest state of each session.
#[derive(Debug, Default)]
pub(crate) struct Board {
    live: BTreeMap<SessionId, Newest>,
    /// What each had used, if it is known, and how it ended.
    ended: VecDeque<(Option<FromEdge>, FromEdge)>,
}

#[derive(Debug, Default)]
struct Newest {
    epoch: U64,
    stage: Option<SessionReport>,
    attachment: Option<SessionReport>,
    watchers: Option<SessionReport>,
    used: Option<SessionReport>,
}

impl Board {
    /// Takes a report, and returns it as the message to send if a stream is up.
    pub(crate) fn post(
        &mut self,
        session: &SessionId,
        epoch: U64,
        event: SessionReport,
    ) -> FromEdge {
        let message = report(session, epoch, event.clone());
        let newest = self.live.entry(session.clone()).or_default();
        newest.epoch = epoch;
        match event {
            SessionReport::Progress { .. } | SessionReport::Ready => newest.stage = Some(event),
            SessionReport::Attached { .. } | SessionReport::Detached { .. } => {
                newest.attachment = Some(event);
            }
            SessionReport::Watchers { .. } => newest.watchers = Some(event),
            SessionReport::Used { .. } => newest.used = Some(event),
            // Of no use later.
            SessionReport::InputSeen => {}
            SessionReport::Ended { .. } => {
                let used = self.live.remove(session).and_then(|newest| newest.used);
                let used = used.map(|used| report(session, epoch, used));
                if self.ended.len() == ENDED_KEPT_MAX {
                    self.ended.pop_front();
                }
                self.ended.push_back((used, message.clone()));
            }
        }
        message
    }

    /// Takes over what an earlier agent left of an end.
    pub(crate) fn restore(&mut self, ended: &Ended) {
        let (session, epoch) = (&ended.session, ended.epoch);
        if let Some(facts) = ended.used {
            self.post(session, epoch, SessionReport::Used { facts });
        }
        let Ending { reason, detail } = ended.ending();
        self.post(session, epoch, SessionReport::Ended { reason, detail });
    }

    /// On a fresh stream, before it is said what runs: how the rest ended.
    pub(crate) fn ended(&self) -> Vec<FromEdge> {
        let ended = self.ended.iter().cloned();
        ended
            .flat_map(|(used, end)| used.into_iter().chain([end]))
            .collect()
    }

    /// On a fresh stream, after it is said what runs: how far each is.
    pub(crate) fn live(&self) -> Vec<FromEdge> {
        let stages = self.live.iter().flat_map(|(session, newest)| {
            [
                &newest.stage,
                &newest.attachment,
                &newest.watchers,
                &newest.used,
            ]
            .into_iter()
            .flatten()
            .map(|event| report(session, newest.epoch, event.clone()))
        });
        stages.collect()
    }

    /// Whether this very run of a session ended, not too long ago.
    pub(crate) fn has_ended(&self, wanted: &SessionId, under: U64) -> bool {
        let is_it = |message: &FromEdge| matches!(message, FromEdge::Report { session, epoch, .. } if session == wanted && *epoch == under);
        self.ended.iter().any(|(_, end)| is_it(end))
    }

    /// The report of a session's end, if it ended not too long ago.
    pub(crate) fn end_of(&self, wanted: &SessionId) -> Option<FromEdge> {
        let is_it = |message: &&FromEdge| matches!(message, FromEdge::Report { session, .. } if session == wanted);
        self.ended
            .iter()
            .rev()
            .map(|(_, end)| end)
            .find(is_it)
            .cloned()
    }
}

fn report(session: &SessionId, epoch: U64, event: SessionReport) -> FromEdge {
    FromEdge::Report {
        session: session.clone(),
        epoch,
        event,
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use nearlight_protocol::api::{EndReason, StartProgress};
    use nearlight_protocol::usage::UsageFacts;

    fn progress() -> SessionReport {
        SessionReport::Progress {
            progress: StartProgress::StartingApp,
        }
    }

    fn used(cpu_ms: u64) -> SessionReport {
        let facts = UsageFacts {
            cpu_ms: Some(cpu_ms),
            ..UsageFacts::default()
        };
        SessionReport::Used { facts }
    }

    fn ended() -> SessionReport {
        SessionReport::Ended {
            reason: EndReason::AppExited,
            detail: String::new(),
        }
    }

    #[test]
    fn the_newest_state_wins() {
        let mut board = Board::default();
        let session = nearlight_kit::ids::session();
        let attachment = nearlight_kit::ids::attachment();
        let detached = SessionReport::Detached {
            attachment: attachment.clone(),
        };
        for event in [
            progress(),
            SessionReport::Ready,
            SessionReport::InputSeen,
            SessionReport::Attached { attachment },
            detached.clone(),
            SessionReport::Watchers { count: 2 },
            SessionReport::Watchers { count: 1 },
            used(1),
            used(2),
        ] {
            board.post(&session, U64(1), event);
        }
        let expected = [
            report(&session, U64(1), SessionReport::Ready),
            report(&session, U64(1), detached),
            report(&session, U64(1), SessionReport::Watchers { count: 1 }),
            report(&session, U64(1), used(2)),
        ];
        assert_eq!(board.live(), expected);
        board.post(&session, U64(1), ended());
        assert!(board.live().is_empty());
        let last = [used(2), ended()].map(|event| report(&session, U64(1), event));
        assert_eq!(board.ended(), last, "what it had used is said first");
        assert!(board.end_of(&session).is_some());
    }

    #[test]
    fn an_end_that_an_earlier_agent_left_is_said_with_what_was_used() {
        let mut board = Board::default();
        let session = nearlight_kit::ids::session();
        let SessionReport::Used { facts } = used(3) else {
            unreachable!()
        };
        let ending = Ending {
            reason: EndReason::AppExited,
            detail: String::new(),
        };
        board.restore(&Ended::now((&session, U64(1)), &ending).having_used(facts));
        let expected = [used(3), ended()].map(|event| report(&session, U64(1), event));
        assert_eq!(board.ended(), expected);
        assert!(board.live().is_empty() && board.end_of(&session).is_some());
    }

    #[test]
    fn a_run_that_comes_back_under_a_new_epoch_has_not_ended() {
        let mut board = Board::default();
        let session = nearlight_kit::ids::session();
        board.post(&session, U64(1), ended());
        assert!(board.has_ended(&session, U64(1)));
        assert!(!board.has_ended(&session, U64(2)));
        assert!(!board.has_ended(&nearlight_kit::ids::session(), U64(1)));
    }

    #[test]
    fn ended_sessions_are_kept_to_a_bound() {
        let mut board = Board::default();
        let first = nearlight_kit::ids::session();
        board.post(&first, U64(1), ended());
        for _ in 0..ENDED_KEPT_MAX {
            board.post(&nearlight_kit::ids::session(), U64(1), ended());
        }
        assert_eq!(board.ended().len(), ENDED_KEPT_MAX);
        assert!(board.end_of(&first).is_none());
    }
}
