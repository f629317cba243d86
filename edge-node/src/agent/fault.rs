//! A node that cannot write its journal, or whose engine does not answer, starts nothing, and says so until it can
//! again.
//!
//! ```text
//!   well --a write fails---------> at fault --a write of the same journal succeeds--> well
//!   well --the engine goes away--> at fault --it answers again----------------------> well
//! ```
//!
//! Both may be so at a time; what is told has both.

use super::Agent;
use crate::journal::JournalError;
use crate::limits::JOURNAL_RETRY;
use crate::meters;
use nearlight_protocol::id::SessionId;
use std::error::Error;
use tokio::time::Instant;

/// Why nothing can be started, by what fails.
#[derive(Debug, Default)]
pub(super) struct Faults {
    journal: Option<String>,
    engine: Option<String>,
}

impl Faults {
    /// All of them, for people; empty if there are none.
    fn words(&self) -> String {
        let all = self.journal.iter().chain(&self.engine);
        all.map(String::as_str).collect::<Vec<_>>().join("; ")
    }
}

impl Agent {
    /// The journal could not be written: the broker hears of it before it asks for the next session.
    pub(super) fn cannot_write(&mut self, error: &JournalError) {
        tracing::error!(
            error = error as &dyn Error,
            "cannot write the epoch journal; starting nothing until it can be written"
        );
        self.journal_due = Some(Instant::now() + JOURNAL_RETRY);
        self.faults.journal = Some(chain(error));
        self.say_faults();
    }

    /// Tries again, by writing what the journal has.
    pub(super) fn try_journal(&mut self) {
        match self.journal.write() {
            Ok(()) => {
                tracing::info!("the epoch journal can be written again");
                self.journal_due = None;
                self.faults.journal = None;
                self.say_faults();
            }
            Err(error) => {
                tracing::debug!(
                    error = &error as &dyn Error,
                    "still cannot write the epoch journal"
                );
                self.journal_due = Some(Instant::now() + JOURNAL_RETRY);
            }
        }
    }

    /// The engine went away, or is back.
    pub(super) fn engine_is(&mut self, away: Option<String>) {
        match &away {
            Some(error) => {
                tracing::error!(error, "starting nothing until the container engine answers");
            }
            None => tracing::info!("the container engine answers again"),
        }
        self.faults.engine = away;
        self.say_faults();
    }

    fn say_faults(&mut self) {
        self.inventory.fault = self.faults.words();
        meters::fault(!self.inventory.fault.is_empty());
        self.say_inventory();
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

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn what_is_told_has_all_that_fails() {
        let mut faults = Faults::default();
        assert_eq!(faults.words(), "");
        faults.engine = Some("no engine".to_owned());
        assert_eq!(faults.words(), "no engine");
        faults.journal = Some("no disk".to_owned());
        assert_eq!(faults.words(), "no disk; no engine");
        faults.engine = None;
        assert_eq!(faults.words(), "no disk");
    }
}
