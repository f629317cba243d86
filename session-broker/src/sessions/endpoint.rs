//! What the endpoint of jobs has to know of a session.

use super::{Directory, Sessions, Whose};
use crate::tunnels::Place;
use nearlight_protocol::api::SessionState;
use nearlight_protocol::id::{SessionId, TenantId, UserId};
use nearlight_protocol::job::Port;
use std::sync::Arc;

/// A session as its callers meet it.
#[derive(Clone, Debug)]
pub(crate) struct JobEndpoint {
    user: UserId,
    tenant: Option<TenantId>,
    /// How far it is.
    pub(crate) state: SessionState,
    /// Where it runs, once it has a place.
    pub(crate) place: Option<Place>,
    /// What it listens on, the first one first.
    pub(crate) ports: Arc<[Port]>,
}

impl JobEndpoint {
    /// Whether it is among these sessions.
    pub(crate) fn is_of(&self, whose: Whose<'_>) -> bool {
        whose.takes(&self.user, self.tenant.as_ref())
    }
}

impl Sessions {
    /// A session that this broker holds, for its callers.
    pub(crate) fn endpoint_of(&self, id: &SessionId) -> Option<JobEndpoint> {
        let directory = self.directory();
        let session = directory.session(id)?;
        let state = session.view.borrow().state.clone();
        Some(JobEndpoint {
            state,
            place: directory.place_of(id),
            user: session.user,
            tenant: session.tenant,
            ports: session.ports,
        })
    }
}

impl Directory {
    /// Where a session runs, and under which epoch.
    pub(crate) fn place_of(&self, id: &SessionId) -> Option<Place> {
        let session = self.session(id)?;
        let claim = session.claim.borrow().clone()?;
        Some(Place {
            session: id.clone(),
            node: claim.node,
            epoch: claim.epoch,
            ended: false,
        })
    }
}
