//! A session that is asked for: made, refused, placed at once, or given to another broker.

use super::entry::Entry;
use super::owner::Owner;
use super::placing::NotPlaced;
use super::turn::{New, Then, Turn};
use super::{Create, CreateError};
use crate::ledger::{Op, SessionRow};
use nearlight_protocol::api::Session;
use nearlight_protocol::unit::MonoTime;
use nearlight_session::lifecycle::Phase;
use tokio::sync::oneshot;

impl Owner {
    /// Makes a session in this turn, or says why not: what its key has made before is the answer in any case.
    pub(super) fn take_create(
        &mut self,
        create: Create,
        reply: oneshot::Sender<Result<Session, CreateError>>,
        now: MonoTime,
        turn: &mut Turn,
    ) {
        let mut row = SessionRow {
            id: create.id,
            user: create.user,
            tenant: create.tenant,
            priority: create.priority,
            work: create.work,
            sealed: create.sealed,
            wish: create.wish,
            created_at: now,
            phase: Phase::Queued,
            starts_denied: 0,
            moves: 0,
            since: now,
            node: None,
            replica: None,
        };
        let payer = row.tenant.as_ref();
        let is_spent = payer.is_some_and(|tenant| self.spending.is_spent(tenant, now));
        // Nobody waits before it: its claim can go into the same transaction. What it lacks is told
        // when it has its place in the queue.
        let is_next = self.queue.is_empty() && !self.others_wait();
        let at_once = row.wish.probed.is_some() || is_next && !row.is_cluster();
        let chosen = (at_once && !is_spent).then(|| self.choose(&row, None, now));
        let refused = match is_spent {
            true => Some(CreateError::BudgetSpent),
            false => {
                let no_room = self.keeps_probe_out(&row, chosen.as_ref(), now);
                no_room.map(CreateError::NoRoom)
            }
        };
        if let Some(Ok(chosen)) = &chosen {
            chosen.settle(&mut row);
        }
        let limits = self.times.limits(&row);
        let entry = Entry::new(row.clone(), limits);
        let is_refused = refused.is_some();
        let op = Op::CreateSession {
            row: Box::new(row.clone()),
            idempotency: create.idempotency,
            // What is refused has no place, but a key that was used answers what it made.
            quota: if is_refused { Some(0) } else { create.quota },
            tenant_quota: create.tenant_quota,
        };
        let new = New {
            entry,
            reply,
            refused,
        };
        turn.push(op, Then::Created(Box::new(new)));
        if is_refused {
            return;
        }
        let claimed = chosen.map(|chosen| self.claim(&row, chosen?, true, now, turn));
        let elsewhere = match claimed {
            Some(Ok(())) => return,
            Some(Err(NotPlaced::Elsewhere { holder, node })) => Some((holder, Some(node))),
            Some(Err(
                NotPlaced::Rejected(_)
                | NotPlaced::TooFew(_)
                | NotPlaced::Volume { .. }
                | NotPlaced::NoSlot,
            ))
            | None => self.other_home(),
        };
        if let Some((to, node)) = elsewhere {
            self.give_away(&row, to, node, turn);
        }
    }
}
