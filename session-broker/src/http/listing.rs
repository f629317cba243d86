//! Lists over every broker of the region: each is asked for its own; for one that does not answer, the
//! ledger's rows stand in.

use super::Api;
use super::caller::Caller;
use super::forward::{Forwarded, Region};
use super::problem::{Refusal, store_failed};
use super::serve::Peer;
use crate::ledger::{BrokerId, LiveOf, SessionRow};
use crate::sessions::{Whose, view_of};
use axum::body::{Bytes, to_bytes};
use axum::http::StatusCode;
use axum::http::request::Parts;
use futures_util::future::join_all;
use nearlight_protocol::api::{Session, SessionList};
use std::collections::BTreeMap;

/// A peer's list at most.
const LIST_BYTES_MAX: usize = 64 * 1024 * 1024;

impl Api {
    /// `here`, with the sessions that other brokers hold; newest first.
    pub(super) async fn with_those_elsewhere(
        &self,
        here: Vec<Session>,
        caller: &Caller,
        parts: &Parts,
    ) -> Result<Vec<Session>, Refusal> {
        let is_forwarded = parts.extensions.get::<Forwarded>().is_some();
        let Some(region) = self.region.as_ref().filter(|_| !is_forwarded) else {
            return Ok(here);
        };
        let peers = region.peers.all();
        let asked = peers
            .iter()
            .map(|(peer, _)| self.listed_by(region, peer, caller, parts));
        // One that moved meanwhile is listed twice, or here as it was.
        let mut all: BTreeMap<_, Session> = here.into_iter().map(|s| (s.id.clone(), s)).collect();
        for list in join_all(asked).await {
            all.extend(list?.into_iter().map(|s| (s.id.clone(), s)));
        }
        Ok(all.into_values().rev().collect())
    }

    async fn listed_by(
        &self,
        region: &Region,
        peer: &BrokerId,
        caller: &Caller,
        parts: &Parts,
    ) -> Result<Vec<Session>, Refusal> {
        let from = Peer::of(&parts.extensions);
        if let Ok(answer) = region.ask(peer, parts, Bytes::new(), from).await
            && answer.status() == StatusCode::OK
            && let Ok(body) = to_bytes(answer.into_body(), LIST_BYTES_MAX).await
            && let Ok(list) = serde_json::from_slice::<SessionList>(&body)
        {
            return Ok(list.sessions);
        }
        let whose = match caller.whose() {
            Whose::Users(users) => LiveOf::Users(users.to_vec()),
            Whose::Tenant(tenant) => LiveOf::Tenant(tenant.clone()),
            Whose::Everyones => LiveOf::Everyone,
        };
        let rows = self.ledger.live_of(peer.clone(), whose).await;
        let rows = rows.map_err(|e| store_failed(&e))?;
        let within = |row: &SessionRow| {
            !row.is_member() && caller.whose().takes(&row.user, row.tenant.as_ref())
        };
        let seen = rows.into_iter().filter(within).map(|row| {
            let owned = caller.is(&row.user);
            Session {
                owned,
                ..view_of(row, &self.times)
            }
        });
        Ok(seen.collect())
    }
}
