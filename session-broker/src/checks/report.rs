//! What checkers say of their assignments, and whether it holds.
//!
//! A word alone settles nothing: that a node is there its signature says, what it can do a receipt in the log says,
//! which this very checker issued about this very node in this very round; what its stream is like, one about the session
//! that was made for it.

use super::{Checks, ChecksError};
use crate::ledger::{
    Applied, AssignmentQuery, AssignmentRow, AssignmentState, CheckChange, CheckerRow,
    ReceiptQuery, VoidKey,
};
use nearlight_proof::encoding::array_from_hex;
use nearlight_proof::key::{KeyId, PublicKey};
use nearlight_proof::porc::alive::{Challenge, message};
use nearlight_proof::porc::schedule::{Due, Duty};
use nearlight_proof::receipt::envelope::Envelope;
use nearlight_proof::receipt::predicate::Predicate;
use nearlight_proof::receipt::statement::Statement;
use nearlight_protocol::checker::{Outcome, Report};
use nearlight_protocol::id::SessionId;

/// Why a report is not taken.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum NotTaken {
    /// There is no such assignment of this checker, or it is settled.
    #[error("the checker has no such assignment that is due")]
    NotAssigned,
    /// It does not say what it should.
    #[error("{0}")]
    Wrong(&'static str),
    /// It cannot be looked at.
    #[error(transparent)]
    Checks(#[from] ChecksError),
}

impl Checks {
    /// Takes a report of `checker`. The session of its assignment, if nobody is to go on with it.
    pub(crate) async fn report(
        &self,
        checker: &CheckerRow,
        said: &Report,
    ) -> Result<Option<SessionId>, NotTaken> {
        let of = AssignmentQuery::One {
            round: said.round,
            node_key: said.node_key_id.clone(),
            duty: said.duty.clone(),
            checker: checker.key_id.clone(),
        };
        let found = self.assignments(of).await.map_err(ChecksError::from)?;
        let now_ms = self.clock.unix_ms();
        let is_due = |row: &AssignmentRow| {
            row.state == AssignmentState::Due && (row.due_ms..row.until_ms).contains(&now_ms)
        };
        let gives_up = matches!(said.outcome, Outcome::Missed { .. });
        if gives_up && found.iter().any(|row| row.state == AssignmentState::Void) {
            // It was told so.
            return Ok(None);
        }
        let row = found
            .into_iter()
            .find(is_due)
            .ok_or(NotTaken::NotAssigned)?;
        let leaf = match &said.outcome {
            Outcome::Missed { why } => {
                self.miss(&row, why).await?;
                return Ok(row.session);
            }
            Outcome::Alive { nonce, signature } => {
                self.check_alive(&row, nonce, signature).await?;
                String::new()
            }
            Outcome::Receipt { leaf } => {
                self.check_receipt(&row, leaf).await?;
                leaf.clone()
            }
        };
        let settle = CheckChange::Settle {
            round: row.round,
            node_key: row.node_key,
            duty: row.duty,
            checker: row.checker,
            state: AssignmentState::Done,
            why: String::new(),
            leaf,
        };
        let done = self.write(vec![settle]).await.map_err(ChecksError::from)?;
        match done.first() {
            Some(Applied::Done) => Ok(None),
            _ => Err(NotTaken::NotAssigned),
        }
    }

    async fn check_alive(
        &self,
        row: &AssignmentRow,
        nonce: &str,
        signature: &str,
    ) -> Result<(), NotTaken> {
        if row.duty != Duty::Alive.name() {
            return Err(NotTaken::Wrong("that duty takes a receipt"));
        }
        let seen = self.round(row.round).await?.ok_or(NotTaken::NotAssigned)?;
        let known = self.node_keys.of(&row.node);
        let key = known.and_then(|known| PublicKey::from_hex(&known.key));
        let key = key.filter(|key| key.id().to_string() == row.node_key);
        let key = key.ok_or(NotTaken::Wrong("the node has another key since"))?;
        let (nonce, signature) = array_from_hex(nonce)
            .zip(array_from_hex::<64>(signature))
            .ok_or(NotTaken::Wrong("nonce and signature are hex digits"))?;
        let challenge = Challenge {
            round: row.round,
            beacon: seen.round.value,
            node: key.id(),
            checker: KeyId::from_hex(&row.checker).ok_or(NotTaken::NotAssigned)?,
            nonce,
        };
        match key.verifies(&message(&challenge), &signature) {
            true => Ok(()),
            false => Err(NotTaken::Wrong(
                "the signature is not the node's for this round and checker",
            )),
        }
    }

    /// A receipt of another checker, about another node, of another round or of another set does not do.
    async fn check_receipt(&self, row: &AssignmentRow, leaf: &str) -> Result<(), NotTaken> {
        let of = ReceiptQuery {
            leaf: Some(leaf.to_owned()),
            max: 1,
            ..ReceiptQuery::default()
        };
        let known = self.ledger.receipts(of).await.map_err(ChecksError::from)?;
        let known = known.first();
        let known = known.ok_or(NotTaken::Wrong("there is no such receipt in the log"))?;
        if known.issuer != row.checker {
            return Err(NotTaken::Wrong("another checker issued that receipt"));
        }
        // It would weigh nothing, so somebody else is to stand in.
        let void = self.ledger.void_keys().await.map_err(ChecksError::from)?;
        let is_void = |of: &VoidKey| of.key_id == known.issuer && known.issued_at_s >= of.from_s;
        if void.iter().any(is_void) {
            return Err(NotTaken::Wrong(
                "what that key signs is void: it was revoked",
            ));
        }
        if known.about != row.node_key {
            return Err(NotTaken::Wrong("that receipt is about another node"));
        }
        let shown = self
            .receipts
            .show(known.place)
            .await
            .map_err(ChecksError::from)?;
        let shown = shown.ok_or(NotTaken::Wrong(
            "the log does not show that receipt yet; report it again",
        ))?;
        let statement = Envelope::parse(&shown.envelope)
            .ok()
            .and_then(|envelope| Statement::parse(&envelope).ok());
        let predicate = statement.map(|statement| statement.predicate);
        if row.duty == Duty::Stream.name() {
            let Some(Predicate::Porw(porw)) = predicate else {
                return Err(NotTaken::Wrong("that receipt is of no stream"));
            };
            let is_its = self.is_of_session(row, &porw).await;
            return match is_its.map_err(ChecksError::from)? {
                true => Ok(()),
                false => Err(NotTaken::Wrong(
                    "that receipt is not of the session that was made for the assignment",
                )),
            };
        }
        let Some(Predicate::Porc(porc)) = predicate else {
            return Err(NotTaken::Wrong("that receipt is no proof of capacity"));
        };
        let seen = self.round(row.round).await?.ok_or(NotTaken::NotAssigned)?;
        if (porc.round, porc.beacon.0) != (row.round, seen.round.value) {
            return Err(NotTaken::Wrong("that receipt is of another round"));
        }
        if Due::of_name(&row.duty).is_none_or(|due| due.gpu != porc.gpu) {
            return Err(NotTaken::Wrong(
                "that receipt is of another GPU of the node",
            ));
        }
        match porc.checkers == seen.root {
            true => Ok(()),
            false => Err(NotTaken::Wrong(
                "that receipt names another set of checkers",
            )),
        }
    }
}
