//! A node that cannot write its journal starts nothing, and says so until it can again.
//!
//! ```text
//!   well --a write fails--> at fault --a write of the same journal succeeds--> well
//! ```

use super::Agent;
use crate::journal::JournalError;
use crate::limits::JOURNAL_RETRY;
use crate::meters;
use nearlight_protocol::id::SessionId;
use std::error::Error;
use tokio::time::Instant;

impl Agent {
    /// The journal could not be written: the broker hears of it before it asks for the next session.
    pub(super) fn cannot_write(&mut self, error: &JournalError) {
        tracing::error!(
            error = error as &dyn Error,
            "cannot write the epoch journal; starting nothing until it can be written"
        );
        self.fault = Some(Instant::now() + JOURNAL_RETRY);
        self.inventory.fault = chain(error);
        meters::fault(true);
        self.say_inventory();
    }

    /// Tries again, by writing what the journal has.
    pub(super) fn try_journal(&mut self) {
        match self.journal.write() {
            Ok(()) => {
                tracing::info!("the epoch journal can be written again");
                self.fault = None;
                self.inventory.fault.clear();
                meters::fault(false);
                self.say_inventory();
            }
            Err(error) => {
                tracing::debug!(
                    error = &error as &dyn Error,
                    "still cannot write the epoch journal"
                );
                self.fault = Some(Instant::now() + JOURNAL_RETRY);
            }
        }
    }

    pub(super) fn release(&mut self, session: &SessionId) {
        if let Err(error) = self.journal.release(session) {
            tracing::warn!(session_id = %session, "the journal has it as running; the next write of it, or start of this node, puts that right");
            self.cannot_write(&error);
        }
    }
}

/// What failed, and why.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
