//! `POST /v1/sessions` with the pass of a checker: the session goes to the node that the checker is to play on.
//!
//! **Invariants.** Whoever has the pass is a player like others, with a player's rates and quotas; what makes its session
//! another one stays in this broker. It is noted in the audit log.

use super::Api;
use super::caller::Caller;
use super::problem::{Refusal, create_refused, forbidden, pass_refused, store_failed};
use super::session::as_seen_by;
use crate::ledger::AssignmentRow;
use crate::sessions::{Create, CreateError, End};
use axum::http::HeaderMap;
use nearlight_protocol::api::{EndReason, Session};
use nearlight_protocol::checker::STREAM_PASS_HEADER;
use nearlight_protocol::id::SessionId;
use nearlight_protocol::identity::AuditAction;

/// What a pass comes to.
#[derive(Debug)]
pub(super) enum Passed {
    /// The session is to be made on the assignment's node.
    Steered(Box<AssignmentRow>),
    /// It was made when this was asked before.
    Again(Box<Session>),
}

impl Api {
    /// Looks at the pass of a request, if it has one, and steers the session that is to be made.
    pub(super) async fn passed(
        &self,
        caller: &Caller,
        headers: &HeaderMap,
        create: &mut Create,
    ) -> Result<Option<Passed>, Refusal> {
        let Some(text) = headers.get(STREAM_PASS_HEADER) else {
            return Ok(None);
        };
        let checks = self.checks()?;
        let app = create.work.app().map(|work| work.app.id.clone());
        let text = text.to_str().unwrap_or_default();
        let row = checks.pass(text, app.as_ref()).await;
        let row = row.map_err(pass_refused)?;
        if let Some(session) = &row.session {
            let made = self.sessions.directory().session(session);
            let own = made.filter(|session| caller.owns(session));
            let own = own.ok_or_else(used)?;
            return Ok(Some(Passed::Again(Box::new(as_seen_by(caller, &own)))));
        }
        let is_first = checks.plays(&row, &create.id).await;
        if !is_first.map_err(|e| store_failed(&e))? {
            return Err(used());
        }
        create.wish.probed = Some(row.node.clone());
        // Where it runs is settled.
        create.wish.region = None;
        create.wish.save = None;
        Ok(Some(Passed::Steered(Box::new(row))))
    }

    /// What came of a session that was steered. Where nothing was free its assignment is void.
    pub(super) async fn steered(
        &self,
        caller: &Caller,
        row: &AssignmentRow,
        created: Result<Session, CreateError>,
    ) -> Result<Session, Refusal> {
        if let Err(CreateError::NoRoom(why)) = &created {
            let void = self.checks()?.void(row, why).await;
            void.map_err(|e| store_failed(&e))?;
        }
        let session = created.map_err(create_refused)?;
        let action = AuditAction::NodeProbe;
        let subject = row.node.as_str();
        self.note(caller.audit(self, action, subject, session.id.as_str()))
            .await?;
        Ok(session)
    }

    /// Ends a session that its checker gave up.
    pub(super) async fn end_given_up(&self, session: SessionId) {
        let reason = EndReason::PlayerEnded;
        let end = End {
            session,
            reason,
            audit: None,
        };
        if let Err(error) = self.sessions.end(end).await {
            tracing::debug!(%error, "a probe's session is over already");
        }
    }
}

fn used() -> Refusal {
    forbidden("The checker's pass was used: it is worth one session.")
}
