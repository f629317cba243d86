//! Brokers that share a ledger: who holds what, and how it changes hands.
//!
//! Each node and each live session has one holder, the broker that has its control stream or its place
//! in the queue. Only the holder changes it. It changes hands in three ways, each one transaction:
//!
//! - **given**: the holder gives a session that waits to another broker ([`super::Op::GiveSession`]);
//! - **taken**: a node attaches to another broker, which takes it with its sessions
//!   ([`super::Op::HoldNode`]);
//! - **seized**: a broker that has stopped, or whose `seq` stands still, loses everything and its term
//!   ([`super::Op::SeizeBroker`]); whatever it still sends changes nothing.
//!
//! **A holder finds out before it writes.** Whoever takes a node counts up the loser's `losses`, in the
//! row that each transaction of the loser changes first: so the two transactions do not overlap, and
//! the loser's next one sees the number. What it meant to write as a holder is handed back with what it lost
//! ([`super::basis`]).

use super::batch::Answers;
use super::phase_row::{int, ms, parse, to_ms};
use super::plan::At;
use super::tx::Tx;
use super::{Applied, StoreError};
use nearlight_protocol::id::{NodeId, SessionId};
use nearlight_protocol::unit::{MonoTime, UnixMillis};
use serde::Serialize;
use sqlx::{AnyPool, Row};
use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

const NAME_CHARS_MAX: usize = 32;

/// The name of a broker among those that share its ledger.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BrokerId(String);

/// Not a name of a broker.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no name of a broker: take 1 to 32 small letters, digits and hyphens")]
pub struct NotABroker(String);

impl FromStr for BrokerId {
    type Err = NotABroker;

    fn from_str(text: &str) -> Result<Self, NotABroker> {
        let fits = (1..=NAME_CHARS_MAX).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotABroker(text.to_owned()))
        }
    }
}

impl BrokerId {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BrokerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A broker as it introduces itself to those that share its ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub id: BrokerId,
    /// `HOST:PORT` where its peers reach it; empty for one that is alone.
    pub address: String,
    /// The public key of what it signs, a JWK (RFC 8037).
    pub jwk: String,
}

/// A broker that has ever written to the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerRow {
    /// Who.
    pub member: Member,
    /// Rises whenever it starts, and when it is seized.
    pub term: u64,
    /// Counts its transactions: one that lives moves it.
    pub seq: u64,
    /// Whether it has stopped, or was given up.
    pub stopped: bool,
    /// Whether it holds live sessions.
    pub holds: bool,
}

const FORMER_HOLDERS: &str = "
    SELECT node.node_id AS node_id, node.holder AS former
    FROM {rows node_id text} JOIN node ON node.node_id = r.node_id";

const COUNT_LOSSES: &str = "
    UPDATE writer SET losses = writer.losses + 1 FROM {rows writer_id text}
    WHERE writer.writer_id = r.writer_id";

const MOVE_NODES: &str = "
    UPDATE node SET holder = r.holder FROM {rows node_id text, holder text, former text}
    WHERE node.node_id = r.node_id AND node.holder = r.former
    RETURNING node.node_id AS won";

const MOVE_SESSIONS: &str = "
    UPDATE session SET holder = r.holder
    FROM {rows node_id text, holder text}
    JOIN claim c ON c.node_id = r.node_id AND c.released_ms IS NULL
    WHERE session.session_id = c.session_id";

const NOTE_MOVES: &str = "
    INSERT INTO node_move (node_id, lost_by, moved_ms)
    SELECT r.node_id, r.former, r.at FROM {rows node_id text, former text, at bigint} WHERE TRUE";

/// Only while it waits, by who holds it, and only to one that is there.
const GIVE: &str = "
    UPDATE session SET holder = r.holder FROM {rows session_id text, holder text, giver text}
    WHERE session.session_id = r.session_id AND {still session.phase = 'queued'}
        AND {still session.holder = r.giver}
        AND EXISTS (SELECT 1 FROM writer w WHERE w.writer_id = r.holder AND {still w.stopped = 0})
    RETURNING session.session_id AS won";

/// What it does from now on is of an older term.
const SEIZE: &str = "
    UPDATE writer SET term = writer.term + 1, stopped = 1
    FROM {rows writer_id text, term bigint, seq bigint}
    WHERE writer.writer_id = r.writer_id AND writer.term = r.term AND writer.seq = r.seq
    RETURNING writer.writer_id AS won";

const SEIZE_NODES: &str = "
    UPDATE node SET holder = r.holder FROM {rows writer_id text, holder text}
    WHERE node.holder = r.writer_id";

const SEIZE_SESSIONS: &str = "
    UPDATE session SET holder = r.holder FROM {rows writer_id text, holder text, since bigint}
    WHERE session.holder = r.writer_id
        AND (session.ended_ms IS NULL OR session.ended_ms >= r.since)";

/// What finds rows by their keys. Not so [`MOVE_SESSIONS`], which is rare and finds its live claims by a
/// partial index.
#[cfg(test)]
pub(super) const BY_KEY: &[&str] = &[FORMER_HOLDERS, COUNT_LOSSES, MOVE_NODES, GIVE, SEIZE];

/// A node that attached to another broker than its holder.
#[derive(Debug, Serialize)]
pub(super) struct HoldNode<'a> {
    node_id: &'a str,
    holder: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    former: Option<String>,
    at: i64,
}

impl<'a> HoldNode<'a> {
    pub(super) fn new(node: &'a NodeId, holder: &'a BrokerId, at: MonoTime) -> Self {
        Self {
            node_id: node.as_str(),
            holder: holder.as_str(),
            former: None,
            at: to_ms(at),
        }
    }
}

#[derive(Debug, Serialize)]
struct Loser<'a> {
    writer_id: &'a str,
}

/// Takes nodes from their holders. [`Applied::RaceLost`] for one that yet another broker took,
/// [`Applied::Missing`] for one that the ledger has never heard of.
pub(super) async fn hold_nodes(
    tx: &mut Tx,
    mut nodes: Vec<(At, HoldNode<'_>)>,
    answers: &mut Answers,
) -> Result<(), StoreError> {
    if nodes.is_empty() {
        return Ok(());
    }
    let rows: Vec<&HoldNode<'_>> = nodes.iter().map(|(_, node)| node).collect();
    let mut former: HashMap<String, String> = HashMap::new();
    for row in tx.ask(FORMER_HOLDERS, &rows).await? {
        former.insert(row.get("node_id"), row.get("former"));
    }
    // What nobody has, or we have already, needs no taking.
    nodes.retain_mut(|(at, node)| {
        node.former = former.remove(node.node_id);
        match &node.former {
            None => answers.set(*at, Applied::Missing),
            Some(former) if former == node.holder => {}
            Some(_) => return true,
        }
        false
    });
    let mut losers: Vec<&str> = nodes
        .iter()
        .filter_map(|(_, n)| n.former.as_deref())
        .collect();
    losers.sort_unstable();
    losers.dedup();
    let losers: Vec<Loser<'_>> = losers.iter().map(|id| Loser { writer_id: id }).collect();
    tx.run(COUNT_LOSSES, &losers).await?;
    let rows: Vec<&HoldNode<'_>> = nodes.iter().map(|(_, node)| node).collect();
    let won = tx.ask(MOVE_NODES, &rows).await?;
    let won: Vec<&str> = won.iter().map(|row| row.get("won")).collect();
    for (at, _) in nodes.iter().filter(|(_, n)| !won.contains(&n.node_id)) {
        answers.set(*at, Applied::RaceLost);
    }
    let moved: Vec<&HoldNode<'_>> = nodes
        .iter()
        .map(|(_, node)| node)
        .filter(|node| won.contains(&node.node_id))
        .collect();
    tx.run(MOVE_SESSIONS, &moved).await?;
    tx.run(NOTE_MOVES, &moved).await?;
    Ok(())
}

/// A session that waits, and who is to have it.
#[derive(Debug, Serialize)]
pub(super) struct GiveSession<'a> {
    session_id: &'a str,
    holder: &'a str,
    giver: &'a str,
}

impl<'a> GiveSession<'a> {
    pub(super) fn new(session: &'a SessionId, to: &'a BrokerId, giver: &'a BrokerId) -> Self {
        Self {
            session_id: session.as_str(),
            holder: to.as_str(),
            giver: giver.as_str(),
        }
    }
}

/// [`Applied::RaceLost`] for one that stays: its new holder is not there, it waits no longer, or whoever gives
/// it does not hold it.
pub(super) async fn give_sessions(
    tx: &mut Tx,
    given: &[(At, GiveSession<'_>)],
    answers: &mut Answers,
) -> Result<(), StoreError> {
    let rows: Vec<&GiveSession<'_>> = given.iter().map(|(_, give)| give).collect();
    let won = tx.ask(GIVE, &rows).await?;
    let won: Vec<&str> = won.iter().map(|row| row.get("won")).collect();
    for (at, _) in given.iter().filter(|(_, g)| !won.contains(&g.session_id)) {
        answers.set(*at, Applied::RaceLost);
    }
    Ok(())
}

/// A broker that is gone, and who takes what it has.
#[derive(Debug, Serialize)]
pub(super) struct SeizeBroker<'a> {
    writer_id: &'a str,
    term: i64,
    seq: i64,
    holder: &'a str,
    /// Of what is over, what ended later than this comes along.
    since: i64,
}

impl<'a> SeizeBroker<'a> {
    pub(super) fn new(
        gone: &'a BrokerRow,
        holder: &'a BrokerId,
        since: UnixMillis,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            writer_id: gone.member.id.as_str(),
            term: int(gone.term)?,
            seq: int(gone.seq)?,
            holder: holder.as_str(),
            since: ms(since),
        })
    }
}

/// [`Applied::RaceLost`] if it lives after all, or another one was first.
pub(super) async fn seize(
    tx: &mut Tx,
    gone: &[(At, SeizeBroker<'_>)],
    answers: &mut Answers,
) -> Result<(), StoreError> {
    for (at, broker) in gone {
        if tx.ask(SEIZE, &[broker]).await?.is_empty() {
            answers.set(*at, Applied::RaceLost);
            continue;
        }
        tx.run(SEIZE_NODES, &[broker]).await?;
        tx.run(SEIZE_SESSIONS, &[broker]).await?;
    }
    Ok(())
}

const BROKERS: &str = "
    SELECT w.writer_id, w.term, w.seq, w.address, w.jwk, w.stopped,
        (SELECT COUNT(*) FROM session s WHERE s.holder = w.writer_id
            AND s.ended_ms IS NULL) AS holds
    FROM writer w ORDER BY w.writer_id";

pub(super) async fn brokers(pool: &AnyPool) -> Result<Vec<BrokerRow>, StoreError> {
    let rows = sqlx::query(BROKERS).fetch_all(pool).await;
    let rows = rows.map_err(StoreError::NotApplied)?;
    let unsigned = |n: i64| u64::try_from(n).unwrap_or_default();
    rows.iter()
        .map(|row| {
            let holds: i64 = row.get("holds");
            Ok(BrokerRow {
                member: Member {
                    id: parse(row.get("writer_id"))?,
                    address: row.get("address"),
                    jwk: row.get("jwk"),
                },
                term: unsigned(row.get("term")),
                seq: unsigned(row.get("seq")),
                stopped: row.get::<i64, _>("stopped") != 0,
                holds: holds != 0,
            })
        })
        .collect()
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_broker_has_a_short_plain_name() {
        for good in ["broker", "eu-1", "a"] {
            assert_eq!(good.parse::<BrokerId>().unwrap().as_str(), good);
        }
        for bad in ["", "Broker", "a b", "a/b", "ä", &"a".repeat(33)] {
            assert!(bad.parse::<BrokerId>().is_err(), "{bad}");
        }
    }
}
