//! Who may do what: credentials, attach tickets that were used, watch links.

use crate::ledger::batch::Answers;
use crate::ledger::dialect::Foreign;
use crate::ledger::phase_row::{hex, ms, to_ms};
use crate::ledger::plan::At;
use crate::ledger::tx::Tx;
use crate::ledger::{Applied, Credential, SpentTicket, StoreError, WatchLinkRow};
use nearlight_protocol::id::{SessionId, WatchLinkId};
use nearlight_protocol::unit::MonoTime;
use serde::Serialize;
use sqlx::Row;
use std::collections::HashSet;

const SPEND: &str = "
    INSERT INTO ticket_spend (ticket_id, session_id, attachment_id, spent_ms)
    SELECT r.ticket_id, r.session_id, r.attachment_id, r.at
    FROM {rows ticket_id text, session_id text, attachment_id text, at bigint}
    WHERE TRUE ON CONFLICT DO NOTHING RETURNING ticket_id AS won";

const ADD_CREDENTIALS: &str = "
    INSERT INTO credential (hash, user_id, name, role, created_ms)
    SELECT r.hash, r.user_id, r.name, r.role, r.at
    FROM {rows hash text, user_id text, name text, role text, at bigint}
    WHERE TRUE ON CONFLICT DO NOTHING";

const ADD_LINKS: &str = "
    INSERT INTO watch_link (link_id, hash, session_id, created_ms, expires_ms)
    SELECT r.link_id, r.hash, r.session_id, r.created_ms, r.expires_ms
    FROM {rows link_id text, hash text, session_id text, created_ms bigint, expires_ms bigint,
        links_max bigint}
    WHERE (SELECT COUNT(*) FROM watch_link w WHERE w.session_id = r.session_id
        AND w.revoked_ms IS NULL AND w.expires_ms > r.created_ms) < r.links_max
    RETURNING link_id AS won";

const REVOKE_LINKS: &str = "
    UPDATE watch_link SET revoked_ms = COALESCE(watch_link.revoked_ms, r.at)
    FROM {rows link_id text, session_id text, at bigint}
    WHERE watch_link.link_id = r.link_id AND watch_link.session_id = r.session_id
    RETURNING watch_link.link_id AS won";

/// A ticket that is used.
#[derive(Debug, Serialize)]
pub(crate) struct SpendTicket<'a> {
    ticket_id: &'a str,
    session_id: &'a str,
    attachment_id: &'a str,
    at: i64,
}

impl<'a> SpendTicket<'a> {
    pub(in crate::ledger) fn new(ticket: &'a str, on: &'a SpentTicket, at: MonoTime) -> Self {
        Self {
            ticket_id: ticket,
            session_id: on.session.as_str(),
            attachment_id: on.attachment.as_str(),
            at: to_ms(at),
        }
    }
}

pub(crate) async fn spend_tickets(
    tx: &mut Tx,
    tickets: &[(At, SpendTicket<'_>)],
    answers: &mut Answers,
) -> Result<(), StoreError> {
    let won = won(tx, SPEND, tickets).await?;
    for (at, ticket) in tickets {
        if !won.contains(ticket.ticket_id) {
            answers.set(*at, Applied::TicketSpent);
        }
    }
    Ok(())
}

/// A guest, or the development key.
#[derive(Debug, Serialize)]
pub(crate) struct AddCredential<'a> {
    hash: String,
    user_id: &'a str,
    name: Foreign<'a>,
    role: &'static str,
    at: i64,
}

impl<'a> AddCredential<'a> {
    pub(in crate::ledger) fn new(credential: &'a Credential, at: MonoTime) -> Self {
        Self {
            hash: hex(&credential.hash),
            user_id: credential.user.as_str(),
            name: Foreign(&credential.name),
            role: credential.role.name(),
            at: to_ms(at),
        }
    }
}

pub(crate) async fn add_credentials(
    tx: &mut Tx,
    credentials: &[AddCredential<'_>],
) -> Result<(), StoreError> {
    tx.run(ADD_CREDENTIALS, credentials).await?;
    Ok(())
}

/// A new watch link.
#[derive(Debug, Serialize)]
pub(crate) struct AddLink<'a> {
    link_id: &'a str,
    hash: String,
    session_id: &'a str,
    created_ms: i64,
    expires_ms: i64,
    links_max: u32,
}

impl<'a> AddLink<'a> {
    pub(in crate::ledger) fn new(link: &'a WatchLinkRow, links_max: u32) -> Self {
        Self {
            link_id: link.id.as_str(),
            hash: hex(&link.hash),
            session_id: link.session.as_str(),
            created_ms: ms(link.created_ms),
            expires_ms: ms(link.expires_ms),
            links_max,
        }
    }
}

pub(crate) async fn add_links(
    tx: &mut Tx,
    links: &[(At, AddLink<'_>)],
    answers: &mut Answers,
) -> Result<(), StoreError> {
    let won = won(tx, ADD_LINKS, links).await?;
    for (at, link) in links {
        if !won.contains(link.link_id) {
            answers.set(*at, Applied::QuotaUsedUp);
        }
    }
    Ok(())
}

/// A watch link that is void.
#[derive(Debug, Serialize)]
pub(crate) struct RevokeLink<'a> {
    link_id: &'a str,
    session_id: &'a str,
    at: i64,
}

impl<'a> RevokeLink<'a> {
    pub(in crate::ledger) fn new(
        session: &'a SessionId,
        link: &'a WatchLinkId,
        at: MonoTime,
    ) -> Self {
        Self {
            link_id: link.as_str(),
            session_id: session.as_str(),
            at: to_ms(at),
        }
    }
}

pub(crate) async fn revoke_links(
    tx: &mut Tx,
    revoked: &[(At, RevokeLink<'_>)],
    answers: &mut Answers,
) -> Result<(), StoreError> {
    let won = won(tx, REVOKE_LINKS, revoked).await?;
    for (at, link) in revoked {
        if !won.contains(link.link_id) {
            answers.set(*at, Applied::Missing);
        }
    }
    Ok(())
}

pub(super) async fn won<R: Serialize>(
    tx: &mut Tx,
    statement: &'static str,
    rows: &[(At, R)],
) -> Result<HashSet<String>, StoreError> {
    let rows: Vec<&R> = rows.iter().map(|(_, row)| row).collect();
    let won = tx.ask(statement, &rows).await?;
    Ok(won.iter().map(|row| row.get("won")).collect())
}
