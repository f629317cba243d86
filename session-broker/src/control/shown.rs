//! What a node shows of what it runs, in as many messages as that takes.
//!
//! **Invariant.** Nothing is done about a part: a session that it does not have may be in the next. What a stream has
//! shown in parts that were never ended goes with the stream, and is bounded.

use super::connection::StreamError;
use super::listener::Terms;
use nearlight_protocol::control::RunningSession;
use nearlight_protocol::grant::Grant;
use nearlight_protocol::id::{NodeId, SessionId};
use nearlight_protocol::limits::RUNNING_PARTS_MAX;

/// A session that a node shows.
#[derive(Debug)]
pub(crate) struct ShownSession {
    /// Which.
    pub(crate) session: SessionId,
    /// Its grant, if it is one of ours for this node and session.
    pub(crate) grant: Option<Grant>,
    /// Whether a viewer is attached.
    pub(crate) attached: bool,
    /// Whether it has shown a picture.
    pub(crate) ready: bool,
}

/// What came so far.
#[derive(Debug, Default)]
pub(super) struct Shown {
    parts: usize,
    sessions: Vec<RunningSession>,
}

impl Shown {
    /// Others follow.
    pub(super) fn part(&mut self, sessions: Vec<RunningSession>) -> Result<(), StreamError> {
        self.parts += 1;
        if self.parts > RUNNING_PARTS_MAX {
            let detail = format!("more than {RUNNING_PARTS_MAX} parts of what it runs");
            return Err(StreamError::Protocol(detail));
        }
        self.sessions.extend(sessions);
        Ok(())
    }

    /// These are the last: everything.
    pub(super) fn all(&mut self, sessions: Vec<RunningSession>) -> Vec<RunningSession> {
        let mut all = std::mem::take(self).sessions;
        all.extend(sessions);
        all
    }
}

/// A node's word for a session counts as much as our signature on it.
pub(super) fn verify(shown: RunningSession, node: &NodeId, terms: &Terms) -> ShownSession {
    let grant = match terms.signer.verify_grant(&shown.grant) {
        Ok(grant) if grant.node == *node && grant.session == shown.session => Some(grant),
        Ok(_) => {
            tracing::warn!(node_id = %node, session_id = %shown.session,
                "the node shows a grant for something else");
            None
        }
        Err(error) => {
            tracing::warn!(node_id = %node, session_id = %shown.session, %error,
                "the node shows a session without a grant of ours");
            None
        }
    };
    ShownSession {
        session: shown.session,
        grant,
        attached: shown.attached,
        ready: shown.ready,
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn running() -> RunningSession {
        RunningSession {
            session: nearlight_kit::ids::session(),
            grant: "a.b.c".to_owned(),
            attached: false,
            ready: true,
        }
    }

    #[test]
    fn parts_are_one_list_and_the_next_list_begins_anew() {
        let (one, two, three) = (running(), running(), running());
        let mut shown = Shown::default();
        shown.part(vec![one.clone()]).unwrap();
        shown.part(vec![two.clone()]).unwrap();
        assert_eq!(shown.all(vec![three.clone()]), [one, two, three.clone()]);
        assert_eq!(shown.all(vec![three.clone()]), [three]);
    }

    #[test]
    fn a_node_that_never_comes_to_the_last_is_cut_off() {
        let mut shown = Shown::default();
        for _ in 0..RUNNING_PARTS_MAX {
            shown.part(vec![running()]).unwrap();
        }
        shown.part(Vec::new()).unwrap_err();
    }
}
