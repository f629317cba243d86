//! Streams: who can play them, passes to the node that is to be checked, and what becomes of a session that was let in.
//!
//! ```text
//!   due --pass of its checker, once--> a session on that node --receipt of that session--> done
//!    |                                        `--nothing free--> void
//!    `--silence, or a reason--> missed --> another one: due
//! ```
//!
//! **Invariants.** A pass is worth one session, which the ledger knows by its assignment: that session's receipt settles
//! it and no other one's. While a checker plays on a node no other one begins there.
//!
//! **What it does not know:** how a session is placed, and what it was like.

use super::keep::settled;
use super::{Checks, ChecksError};
use crate::ledger::{
    Applied, AssignmentQuery, AssignmentRow, AssignmentState, CheckChange, StoreError,
};
use nearlight_proof::encoding::array_from_hex;
use nearlight_proof::key::{KeyId, PublicKey};
use nearlight_proof::porc::schedule::Duty;
use nearlight_proof::porw::pass::Pass;
use nearlight_proof::receipt::predicate::Porw;
use nearlight_proof::receipt::session::commitment;
use nearlight_protocol::id::{AppId, SessionId};
use std::collections::BTreeSet;

/// Why a pass lets nobody in.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum NoPass {
    /// It is none, or for nothing that is due.
    #[error("{0}")]
    Wrong(&'static str),
    /// A checker plays on that node.
    #[error("another checker plays on the node")]
    Busy,
    /// The node is not here.
    #[error("the node is not attached to this broker")]
    Away {
        /// Whether another broker has it.
        elsewhere: bool,
    },
    /// It cannot be looked at.
    #[error(transparent)]
    Checks(#[from] ChecksError),
}

impl From<StoreError> for NoPass {
    fn from(error: StoreError) -> Self {
        Self::Checks(error.into())
    }
}

impl Checks {
    /// What checkers play; `None` where streams are not checked.
    pub(crate) fn stream_app(&self) -> Option<&str> {
        Some(self.settings.stream_app.as_str()).filter(|app| !app.is_empty())
    }

    /// Those that played streams before then, as they said; `None` where streams are not checked.
    pub(super) async fn players(
        &self,
        before_ms: u64,
    ) -> Result<Option<BTreeSet<KeyId>>, StoreError> {
        if self.stream_app().is_none() {
            return Ok(None);
        }
        let all = self.ledger.checkers().await?;
        let able = all.into_iter().filter(|of| {
            let since = of.plays_since_ms.filter(|since| *since < before_ms);
            of.revoked_s.is_none() && since.is_some()
        });
        Ok(Some(
            able.filter_map(|of| KeyId::from_hex(&of.key_id)).collect(),
        ))
    }

    /// The assignment that a pass is for. One that was used has a session.
    pub(crate) async fn pass(
        &self,
        text: &str,
        app: Option<&AppId>,
    ) -> Result<AssignmentRow, NoPass> {
        let pass = Pass::parse(text).ok_or(NoPass::Wrong("it is no pass"))?;
        if app.is_none_or(|app| Some(app.as_str()) != self.stream_app()) {
            return Err(NoPass::Wrong("it is for the app that checkers play"));
        }
        let checkers = self.ledger.checkers().await?;
        let id = pass.checker.to_string();
        let mut counting = checkers.into_iter().filter(|of| of.revoked_s.is_none());
        let checker = counting.find(|of| of.key_id == id);
        let key = checker.and_then(|of| PublicKey::from_hex(&of.key));
        let key = key.ok_or(NoPass::Wrong("it is of no checker"))?;
        let seen = self.round(pass.round).await?;
        let holds = seen.is_some_and(|seen| pass.holds(&key, &seen.round.value));
        if !holds {
            return Err(NoPass::Wrong("its signature does not hold"));
        }
        let of = AssignmentQuery::One {
            round: pass.round,
            node_key: pass.node.to_string(),
            duty: Duty::Stream.name().to_owned(),
            checker: id,
        };
        let now_ms = self.clock.unix_ms();
        let is_due = |row: &AssignmentRow| {
            row.state == AssignmentState::Due && (row.due_ms..row.until_ms).contains(&now_ms)
        };
        let row = self.assignments(of).await?.into_iter().find(is_due);
        let row = row.ok_or(NoPass::Wrong(
            "its checker has no such assignment that is due",
        ))?;
        if row.session.is_some() {
            return Ok(row);
        }
        if self.directory.stream(&row.node).is_none() {
            let elsewhere = self.directory.node_holder(&row.node).is_some();
            return Err(NoPass::Away { elsewhere });
        }
        match self.directory.is_probed(&row.node) {
            true => Err(NoPass::Busy),
            false => Ok(row),
        }
    }

    /// A session is made for an assignment. Whether it is the first.
    pub(crate) async fn plays(
        &self,
        row: &AssignmentRow,
        session: &SessionId,
    ) -> Result<bool, StoreError> {
        let play = CheckChange::Play {
            round: row.round,
            node_key: row.node_key.clone(),
            duty: row.duty.clone(),
            checker: row.checker.clone(),
            session: session.clone(),
        };
        let done = self.write(vec![play]).await?;
        Ok(matches!(done.first(), Some(Applied::Done)))
    }

    /// Nobody could have done it now: nobody stands in.
    pub(crate) async fn void(&self, row: &AssignmentRow, why: &str) -> Result<(), StoreError> {
        tracing::info!(round = row.round, node_id = %row.node, why, "a stream is not played");
        let change = settled(row, AssignmentState::Void, why);
        self.write(vec![change]).await.map(drop)
    }

    /// Whether a receipt is of the session that was made for an assignment.
    pub(super) async fn is_of_session(
        &self,
        row: &AssignmentRow,
        porw: &Porw,
    ) -> Result<bool, StoreError> {
        let Some(session) = &row.session else {
            return Ok(false);
        };
        let known = self.ledger.session_receipts(vec![session.clone()]).await?;
        let salt = known.first().and_then(|of| array_from_hex::<32>(&of.salt));
        Ok(salt.is_some_and(|salt| commitment(&salt, session.as_str()) == porw.session))
    }
}
