//! What a holder's changes go by, and what it is told when that does not hold any more.
//!
//! A broker keeps in memory what it holds. Two things change that behind its back: others take nodes from it
//! ([`super::share`]), and the ledger goes back behind what it had committed ([`super::writer`]). Its changes say
//! how much of both it knew of ([`Basis`]). And one thing is believed that may never have been: a session that
//! waits was *given* to it, and a ledger that went back lost that, with nothing that this broker wrote. So who
//! ends a session has to hold it.
//!
//! ```text
//!   begin, take the turn --as the basis says--> changes --> commit --> applied
//!           |                                                 ^
//!           +--otherwise--> read what was taken, whose it is -+------> handed back
//! ```
//!
//! **What is learned is committed.** All of it is read in a transaction of the holder's own, and believed when
//! that is committed. A standby has a prefix of what was committed: if what was read is lost, so is that
//! transaction, and the holder finds its row set back. What is read beside it, and lost, nobody would miss.
//!
//! **Nobody takes a node meanwhile.** The transaction holds the row `writer` of its broker, which whoever takes
//! or seizes has to change: so several statements read of one moment whatever this broker holds.
//!
//! **What it does not know:** what memory makes of it.

use super::phase_row::{int, parse};
use super::tx::Tx;
use super::writer::Job;
use super::{BrokerId, Op, StoreError};
use nearlight_protocol::id::{NodeId, SessionId};
use serde::Serialize;
use sqlx::Row;
use std::collections::HashSet;

/// What a holder's changes go by: what it knows to have happened, behind its back, to what it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Basis {
    /// How often others took nodes from it.
    pub losses: u64,
    /// The last of the nodes that it knows to be taken.
    pub last_move: u64,
    /// How often the ledger went back behind what it had committed.
    pub setbacks: u64,
}

/// Changes that come back to their holder unwritten, and what it did not know.
#[derive(Clone, Debug)]
pub struct HandedBack {
    /// The changes.
    pub ops: Vec<Op>,
    /// What to go by from now on.
    pub basis: Basis,
    /// The nodes that others took.
    pub nodes: Vec<NodeId>,
    /// The sessions that were to end, and are another broker's or nobody's.
    pub sessions: Vec<SessionId>,
}

/// What a holder has to learn before it writes.
#[derive(Debug)]
pub(super) struct News {
    basis: Basis,
    nodes: Vec<NodeId>,
    sessions: Vec<SessionId>,
}

impl News {
    pub(super) fn with(self, ops: Vec<Op>) -> HandedBack {
        HandedBack {
            ops,
            basis: self.basis,
            nodes: self.nodes,
            sessions: self.sessions,
        }
    }
}

const MOVES: &str = "
    SELECT m.move_id AS move_id, m.node_id AS node_id FROM {rows lost_by text, since bigint}
    JOIN node_move m ON m.lost_by = r.lost_by AND m.move_id > r.since ORDER BY m.move_id";

const LAST_MOVE: &str = "
    SELECT COALESCE((SELECT MAX(m.move_id) FROM node_move m WHERE m.lost_by = r.lost_by), 0) AS last_move
    FROM {rows lost_by text}";

const HELD: &str = "
    SELECT session.session_id AS held FROM {rows session_id text, holder text}
    JOIN session ON session.session_id = r.session_id WHERE {still session.holder = r.holder}";

/// What finds rows by their keys.
#[cfg(test)]
pub(super) const BY_KEY: &[&str] = &[HELD];

#[derive(Debug, Serialize)]
struct Loser<'a> {
    lost_by: &'a str,
    since: i64,
}

#[derive(Debug, Serialize)]
struct Believed<'a> {
    session_id: &'a str,
    holder: &'a str,
}

/// The basis of who reads now what `me` holds, in the open transaction, which found so many losses.
pub(super) async fn now(
    tx: &mut Tx,
    me: &BrokerId,
    losses: u64,
    setbacks: u64,
) -> Result<Basis, StoreError> {
    let of = Loser {
        lost_by: me.as_str(),
        since: 0,
    };
    let rows = tx.ask(LAST_MOVE, &[of]).await?;
    let last_move = rows.first().map_or(0, |row| row.get("last_move"));
    Ok(Basis {
        losses,
        last_move: unsigned(last_move),
        setbacks,
    })
}

/// Of each of a group: what its holder has to learn first, if anything. The open transaction has taken the turn
/// of `me`, and found so many losses.
pub(super) async fn news(
    tx: &mut Tx,
    me: &BrokerId,
    group: &[Job],
    losses: u64,
) -> Result<Vec<Option<News>>, StoreError> {
    let held = held(tx, me, group).await?;
    let mut all = Vec::with_capacity(group.len());
    for job in group {
        let Some(basis) = job.basis else {
            all.push(None);
            continue;
        };
        let mut news = News {
            basis,
            nodes: Vec::new(),
            sessions: ends(job)
                .filter(|id| !held.contains(id.as_str()))
                .cloned()
                .collect(),
        };
        if basis.losses != losses {
            taken(tx, me, losses, &mut news).await?;
        }
        let is_news = news.basis != basis || !news.sessions.is_empty();
        all.push(is_news.then_some(news));
    }
    Ok(all)
}

/// What others took since.
async fn taken(tx: &mut Tx, me: &BrokerId, losses: u64, news: &mut News) -> Result<(), StoreError> {
    let of = Loser {
        lost_by: me.as_str(),
        since: int(news.basis.last_move)?,
    };
    for row in tx.ask(MOVES, &[of]).await? {
        news.basis.last_move = unsigned(row.get("move_id"));
        news.nodes.push(parse(row.get("node_id"))?);
    }
    news.basis.losses = losses;
    Ok(())
}

/// Those that are `me`'s of the sessions that holders of a group are about to end.
async fn held(tx: &mut Tx, me: &BrokerId, group: &[Job]) -> Result<HashSet<String>, StoreError> {
    let ends: HashSet<&str> = group.iter().flat_map(ends).map(SessionId::as_str).collect();
    let believed = ends.into_iter().map(|session_id| Believed {
        session_id,
        holder: me.as_str(),
    });
    let believed: Vec<Believed<'_>> = believed.collect();
    let rows = tx.ask(HELD, &believed).await?;
    Ok(rows.iter().map(|row| row.get("held")).collect())
}

/// The sessions that a holder's changes end: each gives back its places in the quotas, once in its life.
fn ends(job: &Job) -> impl Iterator<Item = &SessionId> {
    let ops = job.basis.map_or(&[][..], |_| &*job.ops);
    ops.iter().filter_map(|op| match op {
        Op::ReturnQuota { session, .. } => Some(session),
        _ => None,
    })
}

fn unsigned(n: i64) -> u64 {
    u64::try_from(n).unwrap_or_default()
}
