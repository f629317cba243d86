//! What placement is told of a session beside what it needs itself: what it costs, where its tenant's sessions are,
//! and where it is not to go.
//!
//! **Invariants.** A session counts for the operator of the node that its claim is on, from when the claim is durable
//! until it is given back. Of sessions that other brokers hold nothing is known here: each spreads what it holds.
//!
//! **What it does not know:** what comes of it ([`nearlight_placement::decide`] says so).

use super::owner::Owner;
use super::{request_for, request_for_job};
use crate::ledger::SessionRow;
use crate::rates;
use nearlight_placement::SessionRequest;
use nearlight_protocol::id::TenantId;
use nearlight_protocol::unit::MonoTime;
use nearlight_protocol::work::Work;
use std::collections::{BTreeMap, HashMap};

/// Seconds of an hour.
const HOUR_S: u64 = 3600;

/// How many sessions of each tenant each operator has.
#[derive(Debug, Default)]
pub(super) struct Spread(HashMap<TenantId, BTreeMap<String, u32>>);

impl Spread {
    /// A session of a tenant is with this operator now, or with none. `counted` is where it counts.
    pub(super) fn moved(
        &mut self,
        tenant: &TenantId,
        counted: &mut Option<String>,
        now: Option<&str>,
    ) {
        if counted.as_deref() == now {
            return;
        }
        if let Some(former) = std::mem::replace(counted, now.map(str::to_owned)) {
            self.gone(tenant, &former);
        }
        if let Some(operator) = now {
            let held = self.0.entry(tenant.clone()).or_default();
            *held.entry(operator.to_owned()).or_default() += 1;
        }
    }

    /// A session that counted there is gone.
    pub(super) fn gone(&mut self, tenant: &TenantId, counted: &str) {
        let Some(held) = self.0.get_mut(tenant) else {
            return;
        };
        if let Some(sessions) = held.get_mut(counted) {
            *sessions -= 1;
            if *sessions == 0 {
                held.remove(counted);
            }
        }
        if held.is_empty() {
            self.0.remove(tenant);
        }
    }

    fn of(&self, tenant: &TenantId) -> BTreeMap<String, u32> {
        self.0.get(tenant).cloned().unwrap_or_default()
    }
}

impl Owner {
    /// The request with all that this broker knows of it.
    pub(super) fn told(&self, row: &SessionRow, request: SessionRequest) -> SessionRequest {
        let mut request = self.priced(row, request);
        // Where all nodes have one operator, nothing can be spread.
        if let Some(tenant) = row.tenant.as_ref()
            && self.fleet.index().has_operators()
        {
            request.held = self.spread.of(tenant);
        }
        request.refused = self.kept_off(row, &request);
        request.held_against = self.held_against(row, &request);
        request
    }

    /// What a session needs, of the version of its app that it has.
    pub(super) fn asked_for(&self, row: &SessionRow, now: MonoTime) -> SessionRequest {
        let waited_ms = now.millis_since(row.created_at);
        let request = match &row.work {
            Work::App(work) => request_for(row, &work.app, waited_ms),
            Work::Job(spec) => request_for_job(
                row,
                spec,
                self.price_cap(spec),
                waited_ms,
                self.apps.ahead(),
            ),
        };
        self.priced(row, request)
    }

    /// The request with what it costs by the rate card in force.
    pub(super) fn priced(&self, row: &SessionRow, request: SessionRequest) -> SessionRequest {
        let card = self.prices.book.at(self.clock.unix_ms());
        let max = row.wish.price_max;
        SessionRequest {
            rates: card.map_or_else(Default::default, |card| rates::hourly(card, &request)),
            price_micro_h_max: max.map(|max| u64::from(max) * HOUR_S),
            ..request
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_session_counts_where_its_claim_is_and_nothing_stays_behind() {
        let tenant = nearlight_kit::ids::tenant();
        let mut spread = Spread::default();
        let (mut first, mut second) = (None, None);
        spread.moved(&tenant, &mut first, Some("a"));
        spread.moved(&tenant, &mut second, Some("a"));
        spread.moved(&tenant, &mut second, Some("a"));
        assert_eq!(spread.of(&tenant), [("a".to_owned(), 2)].into());
        spread.moved(&tenant, &mut second, Some("b"));
        let both = [("a".to_owned(), 1), ("b".to_owned(), 1)];
        assert_eq!(spread.of(&tenant), both.into());
        spread.moved(&tenant, &mut first, None);
        assert_eq!(first, None);
        spread.gone(&tenant, "b");
        assert!(spread.0.is_empty());
        assert!(spread.of(&nearlight_kit::ids::tenant()).is_empty());
    }
}
