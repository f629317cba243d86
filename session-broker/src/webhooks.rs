//! Webhooks: notices of jobs, from the outbox in the ledger to the tenants' endpoints.
//!
//! ```text
//!   Op::Notify, with the change of phase --> webhook_delivery, waiting
//!        due --lease (compare-and-swap)--> POST, signed --2xx--> delivered
//!         ^                                  | anything else
//!         +--- backoff, up to a day ---------+------> dropped, with what went wrong
//! ```
//!
//! **Invariants.** A notice is written in the transaction of what it tells of, and stays until its endpoint
//! has answered 2xx or a day is over: at least once, under one id. One broker delivers it at a time; if
//! that is killed, the next one does once the lease is over, or the same one as soon as it is there
//! again. Of one owner few are under way at a time, so a dead endpoint holds up nobody else's; nor do many of them: owners
//! whose endpoints fail never have all turns, and neither do the others. Where an endpoint may be, [`crate::outward`] says;
//! no redirect is followed.
//!
//! **What it does not know:** what is worth telling (the owner of sessions does), who may set one.

use crate::ledger::{BrokerId, DeliveryRow, Due, Ledger, Op, OutsideChange, OwnerId, WebhookRow};
use crate::seal::{OpenError, Sealer};
use crate::time::Clock;
use nearlight_kit::network::Network;
use nearlight_protocol::unit::UnixMillis;
use nearlight_protocol::webhook::DeliveryState;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

mod backoff;
mod post;
mod signature;

pub(crate) use post::{Poster, checked_url};
pub(crate) use signature::Secret;

/// Between two looks at what is due.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Longer than a try can take: another broker may take the notice over then.
const LEASE_MS: u64 = 30_000;
/// Notices of one owner that are under way at a time, and of all.
const OF_OWNER_MAX: u32 = 4;
const UNDER_WAY_MAX: usize = 32;
/// Of those whose endpoints have failed: a try at one that is dead takes all of its time. And of the others.
const FAILING_MAX: usize = 24;
const WELL_MAX: usize = 28;
/// What is kept of what went wrong.
const PROBLEM_CHARS_MAX: usize = 200;

/// What the secret of an owner's endpoint is sealed for.
pub(crate) fn sealed_for(owner: &OwnerId) -> String {
    format!("webhook of {owner}")
}

/// A notice that is under way.
#[derive(Debug)]
struct UnderWay {
    id: String,
    is_failing: bool,
}

/// What is due and not under way, as far as there are turns for it.
fn with_turns(mut due: Vec<Due>, under_way: &HashMap<Id, UnderWay>) -> Vec<Due> {
    let failing = under_way.values().filter(|of| of.is_failing).count();
    let mut turns = UNDER_WAY_MAX.saturating_sub(under_way.len());
    let mut of_failing = FAILING_MAX.saturating_sub(failing);
    let mut of_well = WELL_MAX.saturating_sub(under_way.len() - failing);
    let is_under_way = |due: &Due| under_way.values().any(|of| of.id == due.row.id);
    due.retain(|due| {
        let of_kind = match due.is_failing {
            true => &mut of_failing,
            false => &mut of_well,
        };
        let has_turn = turns > 0 && *of_kind > 0 && !is_under_way(due);
        if has_turn {
            turns -= 1;
            *of_kind -= 1;
        }
        has_turn
    });
    due
}

/// Delivers until the shutdown. What is under way then is cut off, and tried again by whoever comes.
pub(crate) async fn keep(deliverer: Deliverer, stop: CancellationToken) {
    let mut beat = tokio::time::interval(LOOK_EVERY);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let deliverer = Arc::new(deliverer);
    let mut tries: JoinSet<Result<(), String>> = JoinSet::new();
    let mut under_way: HashMap<Id, UnderWay> = HashMap::new();
    loop {
        tokio::select! {
            _ = beat.tick() => {}
            Some(tried) = tries.join_next_with_id() => {
                // One that panicked is due again when its lease is over.
                let (task, result) = match tried {
                    Ok((task, result)) => (task, result),
                    Err(error) => (error.id(), Err(error.to_string())),
                };
                let of = under_way.remove(&task);
                if let (Some(of), Err(problem)) = (of, result) {
                    tracing::debug!(delivery = of.id, problem, "a notice was not delivered");
                }
                continue;
            }
            () = stop.cancelled() => return,
        }
        let due = match deliverer.due(&under_way).await {
            Ok(due) => due,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "what is due is not known; webhooks wait"
                );
                continue;
            }
        };
        for (Due { row, is_failing }, webhook) in due {
            let id = row.id.clone();
            let deliverer = deliverer.clone();
            let task = tries.spawn(async move { deliverer.deliver(row, webhook).await });
            under_way.insert(task.id(), UnderWay { id, is_failing });
        }
    }
}

/// What delivering takes.
#[derive(Debug)]
pub(crate) struct Deliverer {
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) sealer: Sealer,
    pub(crate) clock: Clock,
    pub(crate) me: BrokerId,
    pub(crate) poster: Poster,
}

impl Deliverer {
    /// What delivers to public addresses, and to those of `networks`.
    pub(crate) fn new(
        (ledger, sealer): (&Arc<dyn Ledger>, &Sealer),
        clock: Clock,
        me: BrokerId,
        networks: Arc<[Network]>,
    ) -> Self {
        Self {
            ledger: ledger.clone(),
            sealer: sealer.clone(),
            clock,
            me,
            poster: Poster::new(networks),
        }
    }

    /// What is to be tried now, with where it goes.
    async fn due(
        &self,
        under_way: &HashMap<Id, UnderWay>,
    ) -> Result<Vec<(Due, Option<WebhookRow>)>, crate::ledger::StoreError> {
        let now_ms = self.clock.unix_ms();
        let most = UNDER_WAY_MAX as u32;
        let due = self.ledger.due_deliveries(now_ms, OF_OWNER_MAX, most);
        let due = with_turns(due.await?, under_way);
        let mut endpoints: BTreeMap<OwnerId, Option<WebhookRow>> = BTreeMap::new();
        let mut found = Vec::new();
        for due in due {
            let owner = &due.row.owner;
            let webhook = match endpoints.get(owner) {
                Some(known) => known.clone(),
                None => {
                    let known = self.ledger.webhook(owner.clone()).await?;
                    endpoints.insert(owner.clone(), known.clone());
                    known
                }
            };
            found.push((due, webhook));
        }
        Ok(found)
    }

    /// One try, if nobody else makes it.
    async fn deliver(&self, row: DeliveryRow, webhook: Option<WebhookRow>) -> Result<(), String> {
        let lease = OutsideChange::Lease {
            delivery: row.id.clone(),
            attempts: row.attempts,
            holder: self.me.clone(),
            until_ms: self.clock.unix_ms() + LEASE_MS,
        };
        if !self.change(lease).await? {
            return Ok(());
        }
        let attempts = row.attempts.saturating_add(1);
        let tried = self.tried(&row, webhook).await;
        let now_ms = self.clock.unix_ms();
        let next_ms = backoff::next(row.created_ms, now_ms, attempts, rand::random());
        let (state, next_ms) = match (&tried, next_ms) {
            (Ok(()), _) => (DeliveryState::Delivered, now_ms),
            (Err(_), Some(next_ms)) => (DeliveryState::Waiting, next_ms),
            (Err(_), None) => (DeliveryState::Dropped, now_ms),
        };
        crate::metrics::webhook(match state {
            DeliveryState::Delivered => "delivered",
            DeliveryState::Waiting => "failed",
            DeliveryState::Dropped => "dropped",
        });
        let problem = tried.as_ref().err().cloned().unwrap_or_default();
        let settle = OutsideChange::Settle {
            delivery: row.id,
            attempts,
            state,
            next_ms,
            problem: problem.chars().take(PROBLEM_CHARS_MAX).collect(),
        };
        self.change(settle).await?;
        tried
    }

    async fn tried(&self, row: &DeliveryRow, webhook: Option<WebhookRow>) -> Result<(), String> {
        let webhook = webhook.ok_or_else(|| "there is no endpoint any more".to_owned())?;
        let at_ms = self.clock.unix_ms();
        let secrets = secrets(&self.sealer, (&row.owner, &webhook), at_ms);
        let secrets = secrets.map_err(|error| {
            format!("its secret does not open ({error}); make a new one: nearlight webhook rotate")
        })?;
        let signed = signature::Signed::new(&row.id, at_ms, &row.body, &secrets);
        self.poster
            .post(&webhook.url, signed, row.body.clone())
            .await
    }

    /// Whether the change was this broker's to make.
    async fn change(&self, change: OutsideChange) -> Result<bool, String> {
        let op = Op::Outside {
            change,
            audit: None,
        };
        let applied = self.ledger.write(vec![op]).await;
        let applied = applied.map_err(|error| error.to_string())?;
        Ok(applied == [crate::ledger::Applied::Done])
    }
}

/// What a notice is signed with: the secret, and for a while the former one.
fn secrets(
    sealer: &Sealer,
    (owner, webhook): (&OwnerId, &WebhookRow),
    at_ms: UnixMillis,
) -> Result<Vec<Secret>, OpenError> {
    let open = |sealed| {
        let opened = sealer.open_for(&sealed_for(owner), sealed)?;
        Ok(Secret::of(opened))
    };
    let former = webhook.former.iter().filter(|(_, until)| *until > at_ms);
    // One that does not open is why there is another: it keeps no notice back.
    let former = former.filter_map(|(sealed, _)| open(sealed).ok());
    Ok(std::iter::once(open(&webhook.sealed)?)
        .chain(former)
        .collect())
}

#[cfg(test)]
mod test;
