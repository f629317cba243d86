//! Endpoints of webhooks, and what they are to be told.

use crate::ledger::dialect::Foreign;
use crate::ledger::outside::{NOTICES_WAITING_MAX, Notice, OutsideChange};
use crate::ledger::phase_row::ms;
use crate::ledger::tx::Tx;
use crate::ledger::{Applied, StoreError};
use nearlight_protocol::id::SessionId;
use serde::Serialize;

const ADD: &str = "
    INSERT INTO webhook (owner, url, sealed, created_ms)
    SELECT r.owner, r.url, r.sealed, r.at
    FROM {rows owner text, url text, sealed text, at bigint} WHERE TRUE ON CONFLICT DO NOTHING";

const MOVE: &str = "
    UPDATE webhook SET url = r.url FROM {rows owner text, url text} WHERE webhook.owner = r.owner";

const ROTATE: &str = "
    UPDATE webhook SET former = webhook.sealed, former_until_ms = r.at, sealed = r.sealed
    FROM {rows owner text, sealed text, at bigint} WHERE webhook.owner = r.owner";

const REMOVE: [&str; 2] = [
    "UPDATE webhook_delivery SET state = 'dropped', problem = 'the webhook was removed'
        FROM {rows owner text} WHERE webhook_delivery.owner = r.owner
            AND {still webhook_delivery.state = 'waiting'}",
    "DELETE FROM webhook WHERE owner IN (SELECT r.owner FROM {rows owner text})",
];

/// Nobody is told who has no endpoint, and an endpoint that takes nothing is not told for ever.
const NOTIFY: &str = "
    INSERT INTO webhook_delivery (delivery_id, owner, session_id, event, body, next_ms, created_ms)
    SELECT r.id, r.owner, r.session_id, r.event, r.body, r.at, r.at
    FROM {rows id text, owner text, session_id text, event text, body text, at bigint, most bigint}
    JOIN webhook w ON w.owner = r.owner
    WHERE (SELECT COUNT(*) FROM webhook_delivery d
        WHERE d.owner = r.owner AND d.state = 'waiting') < r.most
    ON CONFLICT DO NOTHING";

const COUNT_LOST: &str = "
    UPDATE webhook SET lost = webhook.lost + l.n FROM (
        SELECT r.owner AS owner, COUNT(*) AS n FROM {rows id text, owner text}
        WHERE NOT EXISTS (SELECT 1 FROM webhook_delivery d WHERE d.delivery_id = r.id)
        GROUP BY r.owner) AS l
    WHERE webhook.owner = l.owner";

const LEASE: &str = "
    UPDATE webhook_delivery SET attempts = webhook_delivery.attempts + 1, holder = r.holder,
        next_ms = r.at
    FROM {rows id text, attempts bigint, holder text, at bigint}
    WHERE webhook_delivery.delivery_id = r.id
        AND {still webhook_delivery.attempts = r.attempts}
        AND {still webhook_delivery.state = 'waiting'}";

const SETTLE: &str = "
    UPDATE webhook_delivery SET state = r.state, next_ms = r.at, problem = r.problem, holder = NULL
    FROM {rows id text, attempts bigint, state text, at bigint, problem text}
    WHERE webhook_delivery.delivery_id = r.id
        AND {still webhook_delivery.attempts = r.attempts}
        AND {still webhook_delivery.state = 'waiting'}";

/// What finds rows by their keys.
#[cfg(test)]
pub(in crate::ledger) const BY_KEY: &[&str] = &[LEASE, SETTLE];

/// A row of the one parameter; each statement reads the columns that it names.
#[derive(Debug, Default, Serialize)]
struct Row<'a> {
    id: &'a str,
    owner: &'a str,
    session_id: Option<&'a str>,
    event: &'a str,
    url: Option<Foreign<'a>>,
    sealed: &'a str,
    body: Option<Foreign<'a>>,
    attempts: u32,
    holder: &'a str,
    state: &'a str,
    problem: Option<Foreign<'a>>,
    at: i64,
    most: u32,
}

/// Notices, of owners with an endpoint.
pub(crate) async fn notify(tx: &mut Tx, notices: &[&Notice]) -> Result<(), StoreError> {
    let rows = notices.iter().map(|notice| Row {
        id: &notice.id,
        owner: notice.owner.as_str(),
        session_id: notice.session.as_ref().map(SessionId::as_str),
        event: notice.kind.name(),
        body: Some(Foreign(&notice.body)),
        at: ms(notice.at_ms),
        most: NOTICES_WAITING_MAX,
        ..Row::default()
    });
    let rows: Vec<Row<'_>> = rows.collect();
    let kept = tx.run(NOTIFY, &rows).await?;
    if kept < rows.len() as u64 {
        tx.run(COUNT_LOST, &rows).await?;
    }
    Ok(())
}

/// A change of endpoints or deliveries; `None` for one of something else.
pub(super) async fn change(
    tx: &mut Tx,
    change: &OutsideChange,
) -> Result<Option<Applied>, StoreError> {
    let (statement, row, otherwise) = match change {
        OutsideChange::AddWebhook {
            owner,
            url,
            sealed,
            at_ms,
        } => {
            let row = Row {
                owner: owner.as_str(),
                url: Some(Foreign(url)),
                sealed: &sealed.0,
                at: ms(*at_ms),
                ..Row::default()
            };
            (ADD, row, Applied::NameTaken)
        }
        OutsideChange::MoveWebhook { owner, url } => {
            let row = Row {
                owner: owner.as_str(),
                url: Some(Foreign(url)),
                ..Row::default()
            };
            (MOVE, row, Applied::Missing)
        }
        OutsideChange::RotateWebhook {
            owner,
            sealed,
            former_until_ms,
        } => {
            let row = Row {
                owner: owner.as_str(),
                sealed: &sealed.0,
                at: ms(*former_until_ms),
                ..Row::default()
            };
            (ROTATE, row, Applied::Missing)
        }
        OutsideChange::RemoveWebhook { owner } => {
            let owner = owner.as_str();
            let row = Row {
                owner,
                ..Row::default()
            };
            tx.run(REMOVE[0], &[&row]).await?;
            (REMOVE[1], row, Applied::Missing)
        }
        OutsideChange::Lease { .. } | OutsideChange::Settle { .. } => {
            return deliver(tx, change).await.map(Some);
        }
        OutsideChange::PutRegistry { .. }
        | OutsideChange::RemoveRegistry { .. }
        | OutsideChange::PutImagePolicy { .. } => return Ok(None),
    };
    let done = tx.run(statement, &[row]).await? > 0;
    Ok(Some(if done { Applied::Done } else { otherwise }))
}

async fn deliver(tx: &mut Tx, change: &OutsideChange) -> Result<Applied, StoreError> {
    let (statement, row) = match change {
        OutsideChange::Lease {
            delivery,
            attempts,
            holder,
            until_ms,
        } => {
            let row = Row {
                id: delivery,
                attempts: *attempts,
                holder: holder.as_str(),
                at: ms(*until_ms),
                ..Row::default()
            };
            (LEASE, row)
        }
        OutsideChange::Settle {
            delivery,
            attempts,
            state,
            next_ms,
            problem,
        } => {
            let row = Row {
                id: delivery,
                attempts: *attempts,
                state: state.name(),
                at: ms(*next_ms),
                problem: Some(Foreign(problem)),
                ..Row::default()
            };
            (SETTLE, row)
        }
        _ => return Ok(Applied::Missing),
    };
    let done = tx.run(statement, &[row]).await? > 0;
    Ok(if done {
        Applied::Done
    } else {
        Applied::RaceLost
    })
}
