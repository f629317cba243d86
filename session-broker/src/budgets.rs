//! Budgets: a task looks at what was spent, and tells the owner of sessions when that comes to the limit.
//!
//! ```text
//!   ledger (usage, rates, budgets) --> core/session's spent_at --> the owner's timer --> BudgetReached
//! ```
//!
//! Each look starts from the ledger alone, so that restarts, takeovers and other brokers change nothing.
//! Every broker looks for itself: at the sessions that it holds, and at every tenant with a budget, whose
//! sessions it holds are its to end. What starts between two looks is seen by the next one.
//!
//! **What it does not know:** how a session ends, who may ask for one.

use crate::ledger::{Ledger, StoreError, UsageLine, UsageQuery};
use crate::rates::Prices;
use crate::sessions::Sessions;
use crate::time::Clock;
use nearlight_protocol::id::{SessionId, TenantId};
use nearlight_protocol::unit::UnixMillis;
use nearlight_session::bill::{Line, Month, Range, spent_at};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A tenant with many sessions is looked at less often: no more than one part in so many of the time.
const SHARE_OF_TIME: u32 = 20;
/// But once in so long.
const TENANT_AT_LEAST: Duration = Duration::from_secs(60);
/// Lines read at a time.
const PAGE_LINES: u32 = 1000;

/// Whose budget it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Payer {
    /// A session.
    Session(SessionId),
    /// All members of a tenant together.
    Tenant(TenantId),
}

/// A budget, and when it is spent if nothing changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    /// Whose.
    pub(crate) payer: Payer,
    /// When.
    pub(crate) at_ms: UnixMillis,
}

/// Looks until the shutdown.
pub(crate) async fn keep(
    ledger: Arc<dyn Ledger>,
    sessions: Sessions,
    clock: Clock,
    stop: CancellationToken,
) {
    let mut beat = tokio::time::interval(LOOK_EVERY);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut tenants = HashMap::new();
    let mut told = None;
    loop {
        tokio::select! {
            _ = beat.tick() => {}
            () = stop.cancelled() => return,
        }
        match Prices::read(&ledger).await {
            Ok(prices) if told.as_ref() != Some(&prices) => {
                told = Some(prices.clone());
                sessions.prices(prices).await;
            }
            // Whoever is told of the failure is, below.
            Ok(_) | Err(_) => {}
        }
        match look(&ledger, &mut tenants, clock.unix_ms()).await {
            Ok(look) => {
                sessions.budgets(look.dues).await;
                for (tenant, error) in look.unread {
                    tracing::warn!(
                        tenant_id = %tenant,
                        error = &error as &dyn std::error::Error,
                        "what a tenant has spent is not known; its budget waits"
                    );
                }
            }
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "what was spent is not known; budgets wait"
            ),
        }
    }
}

/// What the last look at a tenant came to.
#[derive(Debug)]
pub(crate) struct Seen {
    /// Of this month and this budget.
    of: (UnixMillis, u64),
    due_ms: Option<UnixMillis>,
    again_at: Instant,
}

/// What a look has seen.
#[derive(Debug, Default)]
pub(crate) struct Look {
    /// Of each payer that reaches its budget, when.
    pub(crate) dues: Vec<Due>,
    /// Tenants whose usage could not be read. What was seen of them before holds on, and nobody else's budget waits.
    pub(crate) unread: Vec<(TenantId, StoreError)>,
}

pub(crate) async fn look(
    ledger: &Arc<dyn Ledger>,
    tenants: &mut HashMap<TenantId, Seen>,
    now_ms: UnixMillis,
) -> Result<Look, StoreError> {
    let budgeted = ledger.budgeted().await?;
    let limited = ledger.tenant_budgets().await?.into_iter();
    let limited: HashMap<TenantId, u64> = limited.collect();
    tenants.retain(|tenant, _| limited.contains_key(tenant));
    if budgeted.is_empty() && limited.is_empty() {
        return Ok(Look::default());
    }
    let prices = Prices::read(ledger).await?;
    let (mut dues, mut unread) = (Vec::new(), Vec::new());
    for one in budgeted {
        let at_ms = spent_at(
            &prices.book,
            &one.lines,
            one.budget_micro,
            Range::ALL,
            now_ms,
        );
        let payer = Payer::Session(one.session);
        dues.extend(at_ms.map(|at_ms| Due { payer, at_ms }));
    }
    for (tenant, budget) in limited {
        let month = Month::of(now_ms).range();
        let of = (month.from_ms, budget);
        let seen = tenants.get(&tenant).filter(|seen| seen.of == of);
        let due_ms = match seen.filter(|seen| seen.again_at > Instant::now()) {
            Some(seen) => seen.due_ms,
            None => {
                let began = Instant::now();
                match lines_of(ledger, &tenant, month).await {
                    Ok(lines) => {
                        let due_ms = spent_at(&prices.book, &lines, budget, month, now_ms);
                        let wait = (began.elapsed() * SHARE_OF_TIME).min(TENANT_AT_LEAST);
                        let again_at = Instant::now() + wait;
                        let seen = Seen {
                            of,
                            due_ms,
                            again_at,
                        };
                        tenants.insert(tenant.clone(), seen);
                        due_ms
                    }
                    Err(error) => {
                        unread.push((tenant.clone(), error));
                        seen.and_then(|seen| seen.due_ms)
                    }
                }
            }
        };
        let payer = Payer::Tenant(tenant);
        dues.extend(due_ms.map(|at_ms| Due { payer, at_ms }));
    }
    Ok(Look { dues, unread })
}

async fn lines_of(
    ledger: &Arc<dyn Ledger>,
    tenant: &TenantId,
    month: Range,
) -> Result<Vec<Line>, StoreError> {
    let (mut lines, mut after) = (Vec::new(), None);
    loop {
        let page = UsageQuery {
            tenant: Some(tenant.clone()),
            from_ms: month.from_ms,
            to_ms: month.to_ms,
            after,
            max: PAGE_LINES,
        };
        let read = ledger.spent_lines(page).await?;
        let is_last = read.len() < PAGE_LINES as usize;
        after = read.last().map(UsageLine::place);
        lines.extend(read.into_iter().map(UsageLine::for_budget));
        if is_last {
            return Ok(lines);
        }
    }
}
