//! What a fresh stream is shown of what runs here: all of it, in as many messages as that takes.
//!
//! A broker that takes no parts is shown as many sessions as fit in one message. It takes the others for lost, and may
//! start them elsewhere: those end here.
//!
//! **Invariant.** No session runs here that the broker was not shown.

use super::Agent;
use nearlight_protocol::api::EndReason;
use nearlight_protocol::control::{FromEdge, RunningSession};
use nearlight_protocol::id::SessionId;
use nearlight_protocol::limits::{CONTROL_MESSAGE_BYTES_MAX, RUNNING_PARTS_MAX};

/// What a message of them has beside them.
const ENVELOPE_BYTES: usize = 64;

impl Agent {
    /// Says what runs.
    pub(super) fn show_running(&mut self) {
        let sessions = self.sessions.iter();
        let sessions: Vec<_> = sessions
            .map(|(session, live)| RunningSession {
                session: session.clone(),
                grant: live.grant.clone(),
                attached: live.app().is_some_and(|app| app.attachment.is_some()),
                ready: live.ready,
            })
            .collect();
        let parts_max = match self.broker_takes_parts {
            true => RUNNING_PARTS_MAX,
            false => 0,
        };
        let (parts, unshown) = parts(sessions, CONTROL_MESSAGE_BYTES_MAX, parts_max);
        for message in messages(parts) {
            self.say(message);
        }
        for session in unshown {
            tracing::error!(session_id = %session, "the broker cannot be shown all that runs here, and takes this session for lost: ending it; update the broker");
            if let Some(live) = self.sessions.get(&session) {
                live.end(EndReason::NodeLost);
            }
        }
    }
}

/// The last part ends the list.
fn messages(mut parts: Vec<Vec<RunningSession>>) -> Vec<FromEdge> {
    let sessions = parts.pop().unwrap_or_default();
    let parts = parts.into_iter();
    let parts = parts.map(|sessions| FromEdge::RunningPart { sessions });
    parts.chain([FromEdge::Running { sessions }]).collect()
}

/// Sessions in messages of `bytes_max`, at most `parts_max` and a last one, and those that fit in none: the largest,
/// so that they are few.
fn parts(
    sessions: Vec<RunningSession>,
    bytes_max: usize,
    parts_max: usize,
) -> (Vec<Vec<RunningSession>>, Vec<SessionId>) {
    let mut sized: Vec<_> = sessions
        .into_iter()
        .map(|shown| (bytes_of(&shown), shown))
        .collect();
    sized.sort_by_key(|(bytes, _)| *bytes);
    let (mut parts, mut part, mut filled) = (Vec::new(), Vec::new(), ENVELOPE_BYTES);
    let mut unshown = Vec::new();
    for (bytes, shown) in sized {
        if filled + bytes > bytes_max {
            if parts.len() == parts_max || ENVELOPE_BYTES + bytes > bytes_max {
                unshown.push(shown.session);
                continue;
            }
            parts.push(std::mem::take(&mut part));
            filled = ENVELOPE_BYTES;
        }
        filled += bytes;
        part.push(shown);
    }
    parts.push(part);
    (parts, unshown)
}

/// What one takes of a message, with its comma.
fn bytes_of(shown: &RunningSession) -> usize {
    let text = serde_json::to_string(shown).expect("strings and flags are JSON");
    text.len() + 1
}

#[cfg(test)]
mod test {
    use super::*;

    fn running(grant_bytes: usize) -> RunningSession {
        RunningSession {
            session: nearlight_kit::ids::session(),
            grant: "g".repeat(grant_bytes),
            attached: false,
            ready: true,
        }
    }

    /// As the stream sends them.
    fn check_sizes(parts: Vec<Vec<RunningSession>>) {
        for message in messages(parts) {
            let bytes = serde_json::to_string(&message).unwrap().len();
            assert!(bytes <= CONTROL_MESSAGE_BYTES_MAX, "{bytes}");
        }
    }

    #[test]
    fn as_many_jobs_as_a_node_has_slots_are_all_shown() {
        // A spec of 4 KiB, and what is around it, as a JWT.
        let all: Vec<_> = (0..256).map(|_| running(8 * 1024)).collect();
        let (parts, unshown) = parts(all.clone(), CONTROL_MESSAGE_BYTES_MAX, RUNNING_PARTS_MAX);
        assert!(unshown.is_empty() && parts.len() > 1);
        let mut shown: Vec<_> = parts.iter().flatten().map(|s| &s.session).collect();
        let mut expected: Vec<_> = all.iter().map(|s| &s.session).collect();
        shown.sort_unstable();
        expected.sort_unstable();
        assert_eq!(shown, expected);
        let said = messages(parts.clone());
        assert!(
            matches!(said.last(), Some(FromEdge::Running { sessions }) if !sessions.is_empty())
        );
        check_sizes(parts);
    }

    #[test]
    fn a_broker_that_takes_no_parts_is_shown_what_fits_and_the_rest_is_named() {
        let small: Vec<_> = (0..20).map(|_| running(100)).collect();
        let large: Vec<_> = (0..40).map(|_| running(8 * 1024)).collect();
        let all = large.into_iter().chain(small.clone()).collect::<Vec<_>>();
        let (parts, unshown) = parts(all.clone(), CONTROL_MESSAGE_BYTES_MAX, 0);
        assert_eq!(parts.len(), 1);
        assert_eq!(parts[0].len() + unshown.len(), all.len());
        assert!(!unshown.is_empty());
        let is_small = |id: &SessionId| small.iter().any(|shown| shown.session == *id);
        assert!(!unshown.iter().any(is_small), "the largest are left out");
        check_sizes(parts);
    }

    #[test]
    fn nothing_is_one_empty_list() {
        let (parts, unshown) = parts(Vec::new(), CONTROL_MESSAGE_BYTES_MAX, RUNNING_PARTS_MAX);
        assert!(unshown.is_empty());
        let expected = FromEdge::Running {
            sessions: Vec::new(),
        };
        assert_eq!(messages(parts), [expected]);
    }
}
