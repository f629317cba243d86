//! The log of a job that is over: kept by the node that had it last, for as long as that says.
//!
//! ```text
//!   the session's row --node--> attached here: asked over a tunnel
//!                           |--> attached to another broker: handed on to that, once
//!                           `--> away: said, with how long it keeps the log at the most
//! ```
//!
//! The row and not the directory says who may read and which node it was: it stays when the session is listed no more,
//! and any broker has it. Of a cluster each replica's row has its own node; of a job that was started anew elsewhere the
//! last one. A session that lives is none of this module's.
//!
//! **What it does not know:** whether the node still has the log; it says so itself.

use super::super::Api;
use super::super::caller::Caller;
use super::super::forward::Forwarded;
use super::super::problem::{Refusal, node_unreachable, not_found, store_failed};
use super::super::serve::Peer;
use super::{Of, START_RETRY_S, no_job, onward};
use crate::ledger::{BrokerId, SessionRow};
use crate::time::unix_ms;
use crate::tunnels::Place;
use axum::extract::Request;
use axum::response::Response;
use nearlight_kit::problem::ProblemResponse;
use nearlight_protocol::api::SessionState;
use nearlight_protocol::id::{NodeId, SessionId};
use nearlight_protocol::problem::ProblemType;
use nearlight_protocol::unit::rfc3339;
use nearlight_session::lifecycle::Phase;

const DAY_MS: u64 = 24 * 3600 * 1000;
/// Seconds after which a node that is away may be back.
const AWAY_RETRY_S: u32 = 10;

/// Where the log of a job that is over is to be asked for.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) place: Place,
    /// In words: until when its log is kept.
    until: String,
}

impl Of {
    /// Whether one that a job without replicas has, or a cluster's first, is meant.
    const fn is_first(self) -> bool {
        matches!(self.replica, None | Some(0))
    }
}

impl Api {
    /// Whether a session lives, as far as this broker lists it.
    pub(super) fn is_listed_alive(&self, id: &SessionId) -> bool {
        let session = self.sessions.directory().session(id);
        session.is_some_and(|of| !matches!(of.view.borrow().state, SessionState::Ended { .. }))
    }

    /// Where a job has its container, whose log is read: not while that is taken apart.
    pub(super) fn place_to_read(&self, id: &SessionId) -> Result<Place, Refusal> {
        let session = self.sessions.directory().session(id);
        let is_ending =
            session.is_some_and(|of| matches!(of.view.borrow().state, SessionState::Ending { .. }));
        match is_ending {
            false => self.place_inside(id),
            true => Err(ProblemResponse::new(
                ProblemType::JobNotReady,
                "The job is asked to end. Its log, with what it says meanwhile, is there once it is over.",
            )
            .retry_after_s(START_RETRY_S)),
        }
    }

    /// Where the log of a job is that is over, if the caller may see it.
    ///
    /// # Errors
    /// There is none for this caller, it never ran, or it lives elsewhere.
    pub(super) async fn ended_job(
        &self,
        caller: &Caller,
        id: &SessionId,
        of: Of,
    ) -> Result<Ended, Refusal> {
        let found = self.ledger.session(id.clone()).await;
        let found = found.map_err(|error| store_failed(&error))?;
        let row = found.map(|(row, _)| row).filter(|row| {
            // What is another's is answered like what is not there.
            caller.whose().takes(&row.user, row.tenant.as_ref())
        });
        let row = row.ok_or_else(|| not_found("session"))?;
        if row.work.job().is_none() {
            return Err(no_job());
        }
        let row = match of.replica.filter(|_| !of.is_first()) {
            None => row,
            Some(rank) => {
                let replica = self.ledger.replica(id.clone(), rank).await;
                let replica = replica.map_err(|error| store_failed(&error))?;
                replica.ok_or_else(|| not_found("replica"))?
            }
        };
        if !matches!(row.phase, Phase::Ended { .. }) {
            return Err(node_unreachable());
        }
        self.place_of_ended(row)
    }

    fn place_of_ended(&self, row: SessionRow) -> Result<Ended, Refusal> {
        let Some(node) = row.node else {
            return Err(ProblemResponse::new(
                ProblemType::SessionEnded,
                "The job ended before a node had it, so it has no log. Its session says why.",
            ));
        };
        let days = self.sessions.directory().log_days(&node);
        if days == Some(0) {
            return Err(ProblemResponse::new(
                ProblemType::SessionEnded,
                "The job is over, and the node that had it keeps no log of such.",
            ));
        }
        let until = days.map(|days| unix_ms(row.since) + u64::from(days) * DAY_MS);
        let until = until.map_or_else(
            || "for as long as its operator has set".to_owned(),
            |until| format!("until {} at the longest", rfc3339(until)),
        );
        let place = Place::of_ended(row.id, node);
        Ok(Ended { place, until })
    }

    /// The other broker that the node is attached to, if that may be asked.
    pub(super) fn other_broker_of(&self, node: &NodeId, request: &Request) -> Option<BrokerId> {
        self.region.as_ref()?;
        let directory = self.sessions.directory();
        if directory.stream(node).is_some() || Forwarded::is(request.extensions()) {
            return None;
        }
        directory.node_holder(node)
    }

    /// What that broker answers to the same request.
    pub(super) async fn logs_from_other(
        &self,
        holder: &BrokerId,
        session: &SessionId,
        request: Request,
    ) -> Result<Response, Refusal> {
        let region = self.region.as_ref().ok_or_else(node_unreachable)?;
        let from = Peer::of(request.extensions());
        onward::hand_on(self, (region, session), holder, request, from).await
    }
}

impl Ended {
    /// A refusal that says more of a node that does not answer.
    pub(super) fn explain(&self, api: &Api, refusal: Refusal) -> Refusal {
        let node = &self.place.node;
        let detail = match refusal.problem().name {
            ProblemType::NodeUnreachable if api.sessions.directory().stream(node).is_some() => {
                format!(
                    "The job is over, and the node that had it last ({node}) is here and opens no way to its log \
                     now: as many as it takes may be read. It keeps the log {}; ask again.",
                    self.until
                )
            }
            ProblemType::NodeUnreachable => format!(
                "The job is over, and the node that had it last ({node}) is away. It keeps the log {}; ask \
                 again once it is back.",
                self.until
            ),
            _ => return refusal,
        };
        ProblemResponse::new(ProblemType::NodeUnreachable, detail).retry_after_s(AWAY_RETRY_S)
    }
}
