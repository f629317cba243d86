//! Receipts of sessions that were played: what node and player measured, both signed, in the log.
//!
//! ```text
//!   page --key, samples (HTTP)--> ,------, --statement--> node --signature--> ,------, --> log --> ledger
//!   node --measured (control)---> | case |                                    | case |
//!                                 '------'                                    '------'
//! ```
//!
//! [`case`] decides what is to be done for one session, [`keeper`] does it.
//!
//! **Invariants.** A session that nobody played has no receipt. Each side changes its own column. Bounded: so many
//! cases, and each of them. Nothing here waits for a caller, a node or the log while it holds the cases.
//!
//! **What it does not know:** who of the two is right, what a receipt is worth. Cases are in memory: of a broker that
//! is killed between a session's end and its receipt the node tells again, the player does not.

mod case;
mod keeper;

use crate::sessions::Directory;
use crate::time::Clock;
use case::Case;
pub(crate) use case::NotTaken;
pub(crate) use keeper::keep;
use nearlight_protocol::id::{NodeId, SessionId};
use nearlight_protocol::quality::{Countersigned, Measured, PlayerSaid};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Sessions that are followed at once. What comes beyond them is left out, and gets no receipt.
const CASES_MAX: usize = 8192;

/// See the module.
#[derive(Debug)]
pub(crate) struct Desk {
    directory: Arc<Directory>,
    clock: Clock,
    /// Whether there is a log to write to; without one nothing is kept.
    logs: bool,
    /// Held for a look-up, never across an await.
    cases: Mutex<BTreeMap<SessionId, Case>>,
}

impl Desk {
    pub(crate) fn new(directory: Arc<Directory>, clock: Clock, logs: bool) -> Self {
        Self {
            directory,
            clock,
            logs,
            cases: Mutex::default(),
        }
    }

    /// A page that asks for a ticket signs its samples with this key.
    pub(crate) fn key_came(&self, session: &SessionId, key: &str) {
        self.change(session, |case| case.key_came(key));
    }

    /// What a page measured. `None` if there is no place for it: no log, or too many sessions.
    pub(crate) fn player_said(
        &self,
        session: &SessionId,
        said: PlayerSaid,
    ) -> Option<Result<(), NotTaken>> {
        self.change(session, |case| case.player_said(said))
    }

    /// What a node measured, of a session that it holds.
    pub(crate) fn edge_said(&self, node: &NodeId, said: &Measured) {
        let now = self.clock.now();
        let taken = self.change(&said.session, |case| {
            case.node == *node && case.edge_said(said, now)
        });
        if taken != Some(true) {
            tracing::debug!(session_id = %said.session, node_id = %node,
                "what a node measured of a session is not taken");
        }
    }

    /// A node's answer to a statement.
    pub(crate) fn answered(&self, node: &NodeId, session: &SessionId, answer: Countersigned) {
        let now = self.clock.now();
        if let Some(case) = self.cases().get_mut(session)
            && case.node == *node
        {
            case.answered(answer, now);
        }
    }

    /// Changes a session's case, which is begun if a node holds the session.
    fn change<T>(&self, session: &SessionId, change: impl FnOnce(&mut Case) -> T) -> Option<T> {
        if !self.logs {
            return None;
        }
        let node = || {
            let shown = self.directory.session(session)?;
            let view = shown.view.borrow();
            view.node.clone()
        };
        let mut cases = self.cases();
        if let Some(case) = cases.get_mut(session) {
            return Some(change(case));
        }
        if cases.len() >= CASES_MAX {
            tracing::warn!(session_id = %session, "too many sessions are followed; this one gets no receipt");
            return None;
        }
        let mut case = Case::new(node()?);
        let changed = change(&mut case);
        cases.insert(session.clone(), case);
        Some(changed)
    }

    fn cases(&self) -> MutexGuard<'_, BTreeMap<SessionId, Case>> {
        self.cases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
