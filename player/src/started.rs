//! Sessions that this program started, which it ends whatever happens.

use crate::broker::Broker;
use anyhow::Result;
use nearlight_protocol::api::Session;
use nearlight_protocol::id::{AppId, SessionId};

/// Ends its sessions when it is dropped.
#[derive(Debug)]
pub struct Started<'a> {
    broker: &'a Broker,
    sessions: Vec<SessionId>,
}

impl<'a> Started<'a> {
    /// None yet.
    pub fn new(broker: &'a Broker) -> Self {
        Self {
            broker,
            sessions: Vec::new(),
        }
    }

    /// Starts one and waits for its first picture.
    ///
    /// # Errors
    /// The broker refuses, or the session ends.
    pub fn start(&mut self, app: &AppId) -> Result<SessionId> {
        self.start_session(app).map(|session| session.id)
    }

    /// As [`Started::start`], with all that the broker says of it.
    ///
    /// # Errors
    /// As [`Started::start`].
    pub fn start_session(&mut self, app: &AppId) -> Result<Session> {
        let session = self.broker.start(app)?;
        self.sessions.push(session.id.clone());
        Ok(session)
    }

    /// One that was started elsewhere is this one's to end.
    pub fn keep(&mut self, session: SessionId) {
        self.sessions.push(session);
    }

    /// Ends them.
    pub fn end(&mut self) {
        for session in self.sessions.drain(..) {
            if let Err(error) = self.broker.end(&session) {
                tracing::warn!(%session, %error, "a session could not be ended");
            }
        }
    }
}

impl Drop for Started<'_> {
    fn drop(&mut self) {
        self.end();
    }
}
