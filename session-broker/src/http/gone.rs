//! Sessions that are asked for here and that this broker has not, or not any more.
//!
//! One that ended at a broker which has stopped since is in the ledger, and nobody lists it; one that
//! changes hands is nobody's for a moment. Neither is unknown: to its owner that would mean lost.

use super::Api;
use super::caller::Caller;
use super::problem::{Refusal, node_unreachable, not_found, store_failed};
use crate::ledger::SessionRow;
use crate::sessions::view_of;
use nearlight_protocol::api::Session;
use nearlight_protocol::id::SessionId;
use nearlight_session::lifecycle::Phase;

/// What the ledger says of a session that is not here.
#[derive(Debug)]
pub(super) enum Fate {
    /// There is none, or none that anybody would list any more.
    Unknown,
    /// It lives: another broker has it, or is about to.
    Lives(Box<SessionRow>),
    /// It is over.
    Over(Box<SessionRow>),
}

impl Api {
    /// What has become of a session that is not here.
    ///
    /// # Errors
    /// The ledger does not answer.
    pub(super) async fn fate(&self, id: &SessionId) -> Result<Fate, Refusal> {
        if self.region.is_none() {
            return Ok(Fate::Unknown);
        }
        let found = self.ledger.session(id.clone()).await;
        let Some((row, _)) = found.map_err(|error| store_failed(&error))? else {
            return Ok(Fate::Unknown);
        };
        if !matches!(row.phase, Phase::Ended { .. }) {
            return Ok(Fate::Lives(Box::new(row)));
        }
        let keep_ms = u64::from(self.times.ended_keep_s) * 1000;
        Ok(if self.clock.now().millis_since(row.since) < keep_ms {
            Fate::Over(Box::new(row))
        } else {
            Fate::Unknown
        })
    }

    /// A session that is over, for as long as its broker would list it.
    ///
    /// # Errors
    /// It lives elsewhere, which is worth another try; or there is none for this caller.
    pub(super) async fn over(&self, caller: &Caller, id: &SessionId) -> Result<Session, Refusal> {
        let within = |row: &SessionRow| caller.whose().takes(&row.user, row.tenant.as_ref());
        let row = match self.fate(id).await? {
            Fate::Lives(row) if within(&row) => return Err(node_unreachable()),
            Fate::Over(row) if within(&row) => *row,
            // What is another's is answered like what is not there.
            Fate::Unknown | Fate::Lives(_) | Fate::Over(_) => return Err(not_found("session")),
        };
        let owned = caller.is(&row.user);
        Ok(Session {
            owned,
            ..view_of(row, &self.times)
        })
    }
}
