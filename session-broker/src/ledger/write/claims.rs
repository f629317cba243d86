//! Claims, the capacity that they take, and the usage that they stand for.

use super::orders;
use crate::ledger::batch::Answers;
use crate::ledger::phase_row::{PhaseRow, epoch_column, int, to_ms};
use crate::ledger::plan::At;
use crate::ledger::tx::Tx;
use crate::ledger::{Applied, Reserve, StoreError};
use nearlight_protocol::id::{AppId, SessionId, UserId};
use nearlight_protocol::unit::MonoTime;
use nearlight_session::Claim;
use serde::Serialize;
use sqlx::Row;
use std::collections::{BTreeSet, HashSet};

const TAKE_CAPACITY: &str = "
    UPDATE node_capacity SET rev = node_capacity.rev + 1,
        cpu_milli_free = node_capacity.cpu_milli_free - r.cpu_milli,
        mem_mib_free = node_capacity.mem_mib_free - r.mem_mib,
        uplink_kbps_free = node_capacity.uplink_kbps_free - r.kbps
    FROM {rows node_id text, rev bigint, cpu_milli bigint, mem_mib bigint, kbps bigint}
    WHERE node_capacity.node_id = r.node_id AND node_capacity.rev = r.rev
        AND node_capacity.cpu_milli_free >= r.cpu_milli
        AND node_capacity.mem_mib_free >= r.mem_mib
        AND (node_capacity.uplink_kbps_free IS NULL OR node_capacity.uplink_kbps_free >= r.kbps)
    RETURNING node_capacity.node_id AS won";

const TAKE_SLOTS: &str = "
    UPDATE slot SET epoch = r.epoch FROM {rows slot_id text, node_id text, epoch bigint}
    WHERE slot.slot_id = r.slot_id AND slot.node_id = r.node_id AND slot.epoch = r.epoch - 1
        AND slot.listed = 1
    RETURNING slot.slot_id AS won";

const TAKE_SESSIONS: &str = "
    UPDATE session SET phase = r.phase, since_ms = r.since_ms, node_id = r.node_id,
        slot_id = r.slot_id, epoch = r.epoch
    FROM {rows session_id text, phase text, since_ms bigint, node_id text, slot_id text,
        epoch bigint}
    WHERE session.session_id = r.session_id AND session.phase = 'queued'
    RETURNING session.session_id AS won";

const INSERT: &str = "
    INSERT INTO claim (slot_id, epoch, node_id, session_id, cpu_milli, mem_mib, kbps, claimed_ms)
    SELECT r.slot_id, r.epoch, r.node_id, r.session_id, r.cpu_milli, r.mem_mib, r.kbps,
        r.claimed_ms
    FROM {rows slot_id text, epoch bigint, node_id text, session_id text, cpu_milli bigint,
        mem_mib bigint, kbps bigint, claimed_ms bigint}
    WHERE TRUE ON CONFLICT DO NOTHING
    RETURNING slot_id AS won";

const FREE: &str = "
    UPDATE claim SET released_ms = r.at FROM {rows slot_id text, epoch bigint, at bigint}
    WHERE claim.slot_id = r.slot_id AND claim.epoch = r.epoch AND claim.released_ms IS NULL
    RETURNING claim.node_id AS node_id";

/// Free capacity is what no live claim holds; after a node shrank, nothing rather than less.
pub(super) const RECOUNT: &str = "
    UPDATE node_capacity SET rev = node_capacity.rev + 1,
        cpu_milli_free = CASE WHEN cpu_milli_total > held.cpu
            THEN cpu_milli_total - held.cpu ELSE 0 END,
        mem_mib_free = CASE WHEN mem_mib_total > held.mem
            THEN mem_mib_total - held.mem ELSE 0 END,
        uplink_kbps_free = CASE WHEN uplink_kbps_total IS NULL THEN NULL
            WHEN uplink_kbps_total > held.kbps THEN uplink_kbps_total - held.kbps ELSE 0 END
    FROM (SELECT r.node_id, CAST(COALESCE(SUM(c.cpu_milli), 0) AS BIGINT) AS cpu,
              CAST(COALESCE(SUM(c.mem_mib), 0) AS BIGINT) AS mem,
              CAST(COALESCE(SUM(c.kbps), 0) AS BIGINT) AS kbps
          FROM {rows node_id text}
          LEFT JOIN claim c ON c.node_id = r.node_id AND c.released_ms IS NULL
          GROUP BY r.node_id) AS held
    WHERE node_capacity.node_id = held.node_id";

const BEGIN_USAGE: &str = "
    INSERT INTO usage_interval (session_id, epoch, user_id, app_id, node_id, began_ms)
    SELECT r.session_id, r.epoch, r.user_id, r.app_id, r.node_id, r.at
    FROM {rows session_id text, epoch bigint, user_id text, app_id text, node_id text, at bigint}
    WHERE TRUE ON CONFLICT DO NOTHING";

const END_USAGE: &str = "
    UPDATE usage_interval SET ended_ms = r.at FROM {rows session_id text, epoch bigint, at bigint}
    WHERE usage_interval.session_id = r.session_id AND usage_interval.epoch = r.epoch
        AND usage_interval.ended_ms IS NULL";

const VOID_STARTS: &str = "
    DELETE FROM outbox WHERE kind = 'start' AND (session_id, epoch) IN
        (SELECT r.session_id, r.epoch FROM {rows session_id text, epoch bigint})";

/// Everything of a claim that is to be made, for whichever statement.
#[derive(Debug, Serialize)]
struct Wanted<'a> {
    slot_id: &'a str,
    node_id: &'a str,
    session_id: &'a str,
    epoch: i64,
    rev: i64,
    cpu_milli: u32,
    mem_mib: u32,
    kbps: u32,
    claimed_ms: i64,
    phase: String,
    since_ms: i64,
    #[serde(skip)]
    at: At,
    #[serde(skip)]
    reserve: &'a Reserve,
}

impl<'a> Wanted<'a> {
    fn new(at: At, reserve: &'a Reserve) -> Result<Self, StoreError> {
        let phase = PhaseRow::of(&reserve.phase, reserve.at)?;
        Ok(Self {
            slot_id: reserve.claim.slot.as_str(),
            node_id: reserve.claim.node.as_str(),
            session_id: reserve.session.as_str(),
            epoch: epoch_column(reserve.claim.epoch)?,
            rev: int(reserve.capacity_rev)?,
            cpu_milli: reserve.cpu_milli,
            mem_mib: reserve.mem_mib,
            kbps: reserve.kbps,
            claimed_ms: to_ms(reserve.at),
            phase: phase.phase,
            since_ms: phase.since_ms,
            at,
            reserve,
        })
    }
}

/// Makes the claims, each wholly or not at all.
///
/// All are tried at once. Where one is lost after it has taken something, all is undone and tried
/// again without it; each round loses one at least, and losses are rare.
pub(crate) async fn reserve(
    tx: &mut Tx,
    reserves: Vec<(At, &Reserve)>,
    answers: &mut Answers,
) -> Result<(), StoreError> {
    let wanted = reserves.into_iter().map(|(at, r)| Wanted::new(at, r));
    let mut wanted: Vec<Wanted<'_>> = wanted.collect::<Result<_, _>>()?;
    while !wanted.is_empty() {
        tx.mark().await?;
        let (taken, mut lost) = take_capacity(tx, wanted).await?;
        wanted = taken;
        let left_something = take_rest(tx, &mut wanted, &mut lost).await?;
        for loser in lost {
            answers.set(loser.at, Applied::RaceLost);
        }
        if left_something {
            tx.undo().await?;
            tx.keep().await?;
            continue;
        }
        tx.keep().await?;
        break;
    }
    let orders = wanted
        .iter()
        .map(|w| {
            let (r, claim) = (w.reserve, &w.reserve.claim);
            let push = orders::Push::new(&r.session, &claim.node, claim.epoch, &r.order, r.at)?;
            Ok((w.at, push))
        })
        .collect::<Result<Vec<_>, StoreError>>()?;
    orders::push(tx, &orders, answers).await
}

type Split<'a> = (Vec<Wanted<'a>>, Vec<Wanted<'a>>);

/// The first to be taken, for most races are lost here: what is lost here has taken nothing.
async fn take_capacity<'a>(tx: &mut Tx, wanted: Vec<Wanted<'a>>) -> Result<Split<'a>, StoreError> {
    let won = won(tx, TAKE_CAPACITY, &wanted).await?;
    Ok(wanted.into_iter().partition(|w| won.contains(w.node_id)))
}

/// A statement, and the name by which it returns those that have won.
type Step<'a> = (&'static str, fn(&Wanted<'a>) -> &'a str);

/// Slots, sessions and claims of those in `wanted`. Moves the losers; whether there were any.
async fn take_rest<'a>(
    tx: &mut Tx,
    wanted: &mut Vec<Wanted<'a>>,
    lost: &mut Vec<Wanted<'a>>,
) -> Result<bool, StoreError> {
    let steps: [Step<'a>; 3] = [
        (TAKE_SLOTS, |w| w.slot_id),
        (TAKE_SESSIONS, |w| w.session_id),
        (INSERT, |w| w.slot_id),
    ];
    for (statement, name) in steps {
        let won = won(tx, statement, wanted).await?;
        let losers = wanted.extract_if(.., |w| !won.contains(name(w)));
        let before = lost.len();
        lost.extend(losers);
        if lost.len() > before {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn won(
    tx: &mut Tx,
    statement: &'static str,
    wanted: &[Wanted<'_>],
) -> Result<HashSet<String>, StoreError> {
    let rows = tx.ask(statement, wanted).await?;
    Ok(rows.iter().map(|row| row.get("won")).collect())
}

/// A claim that is free again.
#[derive(Debug, Serialize)]
pub(crate) struct Release<'a> {
    session_id: &'a str,
    slot_id: &'a str,
    epoch: i64,
    at: i64,
}

impl<'a> Release<'a> {
    pub(in crate::ledger) fn new(
        session: &'a SessionId,
        claim: &'a Claim,
        at: MonoTime,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            session_id: session.as_str(),
            slot_id: claim.slot.as_str(),
            epoch: epoch_column(claim.epoch)?,
            at: to_ms(at),
        })
    }
}

#[derive(Debug, Serialize)]
pub(super) struct NodeKey<'a> {
    pub(super) node_id: &'a str,
}

pub(crate) async fn release(tx: &mut Tx, releases: &[Release<'_>]) -> Result<(), StoreError> {
    let freed = tx.ask(FREE, releases).await?;
    let nodes: BTreeSet<&str> = freed.iter().map(|row| row.get("node_id")).collect();
    let nodes: Vec<NodeKey<'_>> = nodes.iter().map(|node_id| NodeKey { node_id }).collect();
    tx.run(RECOUNT, &nodes).await?;
    tx.run(END_USAGE, releases).await?;
    tx.run(VOID_STARTS, releases).await?;
    Ok(())
}

/// A usage interval that begins.
#[derive(Debug, Serialize)]
pub(crate) struct BeginUsage<'a> {
    session_id: &'a str,
    epoch: i64,
    user_id: &'a str,
    app_id: &'a str,
    node_id: &'a str,
    at: i64,
}

impl<'a> BeginUsage<'a> {
    pub(in crate::ledger) fn new(
        session: &'a SessionId,
        user: &'a UserId,
        app: &'a AppId,
        claim: &'a Claim,
        at: MonoTime,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            session_id: session.as_str(),
            epoch: epoch_column(claim.epoch)?,
            user_id: user.as_str(),
            app_id: app.as_str(),
            node_id: claim.node.as_str(),
            at: to_ms(at),
        })
    }
}

pub(crate) async fn begin_usage(tx: &mut Tx, usages: &[BeginUsage<'_>]) -> Result<(), StoreError> {
    tx.run(BEGIN_USAGE, usages).await?;
    Ok(())
}
