//! Budgets that are spent: the sessions that they pay for end, and no new ones begin.

use super::owner::Owner;
use super::turn::Turn;
use crate::budgets::{Due, Payer};
use crate::rates::{self, Prices};
use nearlight_placement::PriceCap;
use nearlight_protocol::api::EndReason;
use nearlight_protocol::id::{SessionId, TenantId};
use nearlight_protocol::job::JobSpec;
use nearlight_protocol::unit::MonoTime;
use nearlight_session::lifecycle::Event;

/// The budgets that will be spent, as they were looked at last.
#[derive(Debug, Default)]
pub(super) struct Spending {
    /// Each, the next one first.
    dues: Vec<Due>,
    /// How many of them had their sessions told to end.
    told: usize,
}

impl Spending {
    /// What was looked at anew stands for everything.
    pub(super) fn set(&mut self, mut dues: Vec<Due>) {
        dues.sort_unstable_by_key(|due| due.at_ms);
        *self = Self { dues, told: 0 };
    }

    /// When the next one is spent.
    pub(super) fn next(&self) -> Option<MonoTime> {
        self.dues.get(self.told).map(at)
    }

    /// Whether a tenant has spent its month's.
    pub(super) fn is_spent(&self, tenant: &TenantId, now: MonoTime) -> bool {
        let mut spent = self.dues.iter().take_while(|due| at(due) <= now);
        spent.any(|due| matches!(&due.payer, Payer::Tenant(payer) if payer == tenant))
    }

    /// Those that are spent and were not told of.
    fn take_spent(&mut self, now: MonoTime) -> Vec<Payer> {
        let untold = self.dues.iter().skip(self.told);
        let spent = untold.take_while(|due| at(due) <= now);
        let spent: Vec<Payer> = spent.map(|due| due.payer.clone()).collect();
        self.told += spent.len();
        spent
    }
}

const fn at(due: &Due) -> MonoTime {
    MonoTime(due.at_ms.saturating_mul(1000))
}

impl Owner {
    /// What things cost has changed: who waited for a lower price is due once more.
    pub(super) fn set_prices(&mut self, prices: Prices) {
        self.prices = prices;
        self.follow_card();
        self.tried_apps = None;
    }

    /// What nodes cost follows the card in force: it may be another one since the last look.
    pub(super) fn follow_card(&mut self) {
        let card = self.prices.book.at(self.clock.unix_ms());
        self.fleet.set_by_score(card.and_then(|card| card.by_score));
    }

    /// What the GPUs of a job may cost now, if it says what it may cost.
    pub(super) fn price_cap(&self, spec: &JobSpec) -> Option<PriceCap> {
        let max = spec.place.price_max?;
        let rates = self.prices.book.at(self.clock.unix_ms());
        Some(rates::cap_of(rates, &spec.resources, max))
    }

    /// Ends what is spent.
    pub(super) fn take_spending(&mut self, now: MonoTime, turn: &mut Turn) {
        let reason = EndReason::BudgetReached;
        for payer in self.spending.take_spent(now) {
            let of: Vec<SessionId> = match payer {
                Payer::Session(session) => vec![session],
                Payer::Tenant(tenant) => {
                    let held = self.sessions.iter().filter(|(_, entry)| {
                        entry.row.tenant.as_ref() == Some(&tenant) && !entry.life.is_over()
                    });
                    held.map(|(id, _)| id.clone()).collect()
                }
            };
            for session in of {
                self.drive(&session, Event::EndRequested { reason }, now, turn);
            }
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_budget_that_is_spent_is_told_once_a_look_and_turns_away_until_the_next() {
        let tenant = nearlight_kit::ids::tenant();
        let due = |at_ms| Due {
            payer: Payer::Tenant(tenant.clone()),
            at_ms,
        };
        let mut spending = Spending::default();
        spending.set(vec![due(5)]);
        let (before, after) = (MonoTime(4_999), MonoTime(5_000));
        assert_eq!(spending.next(), Some(after));
        assert!(!spending.is_spent(&tenant, before));
        assert_eq!(spending.take_spent(before), []);
        assert_eq!(spending.take_spent(after), [Payer::Tenant(tenant.clone())]);
        assert_eq!(
            (spending.next(), spending.take_spent(after)),
            (None, vec![])
        );
        assert!(spending.is_spent(&tenant, after));
        spending.set(vec![due(9)]);
        assert!(!spending.is_spent(&tenant, after), "a higher one was set");
    }
}
