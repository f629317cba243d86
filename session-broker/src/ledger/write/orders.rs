//! Orders that nodes have not acked.

use crate::ledger::batch::Answers;
use crate::ledger::phase_row::{START, STOP, epoch_column, int, reason_text, to_ms};
use crate::ledger::plan::At;
use crate::ledger::tx::Tx;
use crate::ledger::{Applied, StoreError};
use nearlight_protocol::control::Order;
use nearlight_protocol::id::{NodeId, SessionId};
use nearlight_protocol::unit::MonoTime;
use nearlight_session::Epoch;
use serde::Serialize;
use sqlx::Row;
use sqlx::any::AnyRow;
use std::borrow::Cow;
use std::collections::HashMap;

/// Epochs are a slot's: a session that runs again on another node may do so under the same epoch, while
/// what stops it at the former one still waits. The newer order stands: a former node that comes back
/// with the session shows it, and is told again. The update makes the row come back, too, whether it is
/// new or not.
const PUSH: &str = "
    INSERT INTO outbox (node_id, session_id, epoch, kind, body, created_ms)
    SELECT r.node_id, r.session_id, r.epoch, r.kind, r.body, r.at
    FROM {rows node_id text, session_id text, epoch bigint, kind text, body text, at bigint}
    WHERE TRUE ON CONFLICT (session_id, epoch, kind) DO UPDATE
        SET node_id = excluded.node_id, body = excluded.body
    RETURNING session_id, command_id";

const ACKED: &str = "
    DELETE FROM outbox WHERE (command_id, node_id) IN
        (SELECT r.command_id, r.node_id FROM {rows command_id bigint, node_id text})";

/// What finds rows by their keys.
#[cfg(test)]
pub(in crate::ledger) const BY_KEY: &[&str] = &[ACKED];

/// An order for the outbox.
#[derive(Debug, Serialize)]
pub(crate) struct Push<'a> {
    node_id: &'a str,
    session_id: &'a str,
    epoch: i64,
    kind: &'static str,
    body: Cow<'a, str>,
    at: i64,
}

impl<'a> Push<'a> {
    pub(in crate::ledger) fn new(
        session: &'a SessionId,
        node: &'a NodeId,
        epoch: Epoch,
        order: &'a Order,
        at: MonoTime,
    ) -> Result<Self, StoreError> {
        let (kind, body) = match order {
            Order::Start(start) => (START, start.grant.as_str().into()),
            Order::Stop { reason, .. } => (STOP, reason_text(*reason)?.into()),
        };
        Ok(Self {
            node_id: node.as_str(),
            session_id: session.as_str(),
            epoch: epoch_column(epoch)?,
            kind,
            body,
            at: to_ms(at),
        })
    }
}

/// Puts them into the outbox; the answers have their numbers. No session has two among them.
pub(crate) async fn push(
    tx: &mut Tx,
    orders: &[(At, Push<'_>)],
    answers: &mut Answers,
) -> Result<(), StoreError> {
    let rows: Vec<&Push<'_>> = orders.iter().map(|(_, push)| push).collect();
    let stand: HashMap<&str, At> = orders.iter().map(|(at, p)| (p.session_id, *at)).collect();
    for row in put(tx, &rows).await? {
        let command = number(row.get("command_id"))?;
        if let Some(at) = stand.get(row.get::<&str, _>("session_id")) {
            answers.set(*at, Applied::Ordered { command });
        }
    }
    Ok(())
}

/// Puts them into the outbox. Each row has a `session_id` and its `command_id`.
pub(super) async fn put(tx: &mut Tx, orders: &[&Push<'_>]) -> Result<Vec<AnyRow>, StoreError> {
    tx.ask(PUSH, orders).await
}

/// The number of an order from its column.
pub(super) fn number(command: i64) -> Result<u64, StoreError> {
    u64::try_from(command)
        .map_err(|_| StoreError::Corrupt(format!("order number {command} is negative")))
}

/// An order that its node has acked.
#[derive(Debug, Serialize)]
pub(crate) struct Acked<'a> {
    command_id: i64,
    node_id: &'a str,
}

impl<'a> Acked<'a> {
    pub(in crate::ledger) fn new(node: &'a NodeId, command: u64) -> Result<Self, StoreError> {
        Ok(Self {
            command_id: int(command)?,
            node_id: node.as_str(),
        })
    }
}

pub(crate) async fn acked(tx: &mut Tx, acked: &[Acked<'_>]) -> Result<(), StoreError> {
    tx.run(ACKED, acked).await?;
    Ok(())
}
