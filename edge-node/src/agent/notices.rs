//! What a session's viewer, or a job's program, is told of its end.
//!
//! **Invariant.** What the broker said holds until it says otherwise, or until the next attach, after which it says
//! again what still holds.

use super::Agent;
use super::live::What;
use crate::job::notice::{self, EndNotice};
use nearlight_protocol::api::EndReason;
use nearlight_protocol::id::SessionId;
use nearlight_protocol::notice::Notice;

impl Agent {
    /// It ends by itself in so many seconds.
    pub(super) fn ends_soon(&mut self, session: SessionId, reason: EndReason, in_s: u32) {
        let Some(live) = self.sessions.get_mut(&session) else {
            return;
        };
        match live.what {
            What::App(_) => {
                let notice = Notice::EndingSoon { reason, in_s };
                self.host.transport.notify(session, notice);
            }
            What::Job(_) => {
                live.ends = Some(EndNotice {
                    reason,
                    ends_unix_ms: nearlight_kit::clock::unix_ms() + u64::from(in_s) * 1000,
                });
                self.tell_job(&session);
            }
        }
    }

    /// What was said last of its end does not hold.
    pub(super) fn goes_on(&mut self, session: SessionId) {
        let Some(live) = self.sessions.get_mut(&session) else {
            return;
        };
        live.ends = None;
        match live.what {
            What::App(_) => self.host.transport.notify(session, Notice::GoesOn),
            What::Job(_) => self.clear(&session),
        }
    }

    /// A broker that was just found says again what ends.
    pub(super) fn forget_ends(&mut self) {
        let mut jobs = Vec::new();
        for (session, live) in &mut self.sessions {
            live.ends = None;
            if matches!(live.what, What::Job(_)) {
                jobs.push(session.clone());
            }
        }
        for session in jobs {
            self.clear(&session);
        }
    }

    /// A job's program finds what its agent was told, perhaps before there was a container.
    pub(super) fn tell_job(&self, session: &SessionId) {
        let Some(notice) = self.sessions.get(session).and_then(|live| live.ends) else {
            return;
        };
        let dir = self.host.config.run.join(session.as_str());
        if let Err(error) = notice::write(&dir, notice) {
            tracing::debug!(session_id = %session, %error, "the job has no place to be told of its end yet");
        }
    }

    fn clear(&self, session: &SessionId) {
        let dir = self.host.config.run.join(session.as_str());
        if let Err(error) = notice::clear(&dir) {
            tracing::warn!(session_id = %session, %error, "a job believes that it ends soon");
        }
    }
}
