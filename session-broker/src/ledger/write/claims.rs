//! Claims, and the capacity that they take. Their usage ends with them.

use super::gpus;
use super::orders;
use super::sessions::{self, Create, New};
use super::usage;
use super::volumes;
use crate::ledger::batch::Answers;
use crate::ledger::phase_row::{PhaseRow, epoch_column, int, to_ms};
use crate::ledger::plan::At;
use crate::ledger::tx::Tx;
use crate::ledger::{Applied, BrokerId, Reserve, StoreError};
use nearlight_protocol::id::SessionId;
use nearlight_protocol::unit::MonoTime;
use nearlight_session::Claim;
use serde::Serialize;
use sqlx::Row;
use std::collections::{BTreeMap, HashMap, HashSet};

const TAKE_CAPACITY: &str = "
    UPDATE node_capacity SET rev = node_capacity.rev + r.claims,
        cpu_milli_free = node_capacity.cpu_milli_free - r.cpu_milli,
        mem_mib_free = node_capacity.mem_mib_free - r.mem_mib,
        uplink_kbps_free = node_capacity.uplink_kbps_free - r.kbps
    FROM {rows node_id text, rev bigint, claims bigint, cpu_milli bigint, mem_mib bigint,
        kbps bigint}
    WHERE node_capacity.node_id = r.node_id AND node_capacity.rev = r.rev
        AND node_capacity.cpu_milli_free >= r.cpu_milli
        AND node_capacity.mem_mib_free >= r.mem_mib
        AND (node_capacity.uplink_kbps_free IS NULL OR node_capacity.uplink_kbps_free >= r.kbps)
    RETURNING node_capacity.node_id AS won";

const TAKE_SLOTS: &str = "
    UPDATE slot SET epoch = r.epoch FROM {rows slot_id text, node_id text, epoch bigint}
    WHERE slot.slot_id = r.slot_id AND slot.node_id = r.node_id AND slot.epoch = r.epoch - 1
        AND {still slot.listed = 1}
    RETURNING slot.slot_id AS won";

/// Of who holds it: that it was given to this broker may be lost, and the giver then has it (docs/adr/0049).
const TAKE_SESSIONS: &str = "
    UPDATE session SET phase = r.phase, since_ms = r.since_ms, node_id = r.node_id,
        slot_id = r.slot_id, epoch = r.epoch
    FROM {rows session_id text, phase text, since_ms bigint, node_id text, slot_id text,
        epoch bigint, holder text}
    WHERE session.session_id = r.session_id AND {still session.phase = 'queued'}
        AND {still session.holder = r.holder}
    RETURNING session.session_id AS won";

const INSERT: &str = "
    INSERT INTO claim (slot_id, epoch, node_id, session_id, cpu_milli, mem_mib, kbps, disk_mib,
        gpus, claimed_ms)
    SELECT r.slot_id, r.epoch, r.node_id, r.session_id, r.cpu_milli, r.mem_mib, r.kbps,
        r.disk_mib, r.gpus, r.claimed_ms
    FROM {rows slot_id text, epoch bigint, node_id text, session_id text, cpu_milli bigint,
        mem_mib bigint, kbps bigint, disk_mib bigint, gpus bigint, claimed_ms bigint}
    WHERE TRUE ON CONFLICT DO NOTHING
    RETURNING slot_id AS won";

const FREE: &str = "
    UPDATE claim SET released_ms = r.at FROM {rows slot_id text, epoch bigint, at bigint}
    WHERE claim.slot_id = r.slot_id AND claim.epoch = r.epoch
        AND {still claim.released_ms IS NULL}
    RETURNING claim.node_id AS node_id, claim.gpus AS gpus";

/// Free capacity is what no live claim holds; after a node shrank, nothing rather than less.
pub(super) const RECOUNT: &str = "
    UPDATE node_capacity SET rev = node_capacity.rev + held.changes,
        cpu_milli_free = CASE WHEN cpu_milli_total > held.cpu
            THEN cpu_milli_total - held.cpu ELSE 0 END,
        mem_mib_free = CASE WHEN mem_mib_total > held.mem
            THEN mem_mib_total - held.mem ELSE 0 END,
        uplink_kbps_free = CASE WHEN uplink_kbps_total IS NULL THEN NULL
            WHEN uplink_kbps_total > held.kbps THEN uplink_kbps_total - held.kbps ELSE 0 END
    FROM (SELECT r.node_id, r.changes, CAST(COALESCE(SUM(c.cpu_milli), 0) AS BIGINT) AS cpu,
              CAST(COALESCE(SUM(c.mem_mib), 0) AS BIGINT) AS mem,
              CAST(COALESCE(SUM(c.kbps), 0) AS BIGINT) AS kbps
          FROM {rows node_id text, changes bigint}
          LEFT JOIN claim c ON c.node_id = r.node_id AND c.released_ms IS NULL
          GROUP BY r.node_id, r.changes) AS held
    WHERE node_capacity.node_id = held.node_id";

const VOID_STARTS: &str = "
    DELETE FROM outbox WHERE {still outbox.kind = 'start'} AND (session_id, epoch) IN
        (SELECT r.session_id, r.epoch FROM {rows session_id text, epoch bigint})";

/// What finds rows by their keys.
#[cfg(test)]
pub(in crate::ledger) const BY_KEY: &[&str] = &[
    TAKE_CAPACITY,
    TAKE_SLOTS,
    TAKE_SESSIONS,
    FREE,
    RECOUNT,
    VOID_STARTS,
];

/// Everything of a claim that is to be made, for whichever statement.
#[derive(Debug, Serialize)]
pub(super) struct Wanted<'a> {
    slot_id: &'a str,
    node_id: &'a str,
    session_id: &'a str,
    holder: &'a str,
    epoch: i64,
    rev: i64,
    cpu_milli: u32,
    mem_mib: u32,
    kbps: u32,
    disk_mib: u32,
    gpus: usize,
    claimed_ms: i64,
    phase: String,
    since_ms: i64,
    #[serde(skip)]
    at: At,
    /// Claims of its node that are tried together with it, itself included.
    #[serde(skip)]
    claims_of_node: i64,
    #[serde(skip)]
    reserve: &'a Reserve,
    /// Its session, if that has no row yet.
    #[serde(skip)]
    create: Option<&'a Create<'a>>,
}

/// Sessions whose claims come with them, by where these stand: one row is written of both.
pub(crate) type Fresh<'a> = HashMap<At, &'a Create<'a>>;

impl<'a> Wanted<'a> {
    pub(super) fn new(
        at: At,
        reserve: &'a Reserve,
        create: Option<&'a Create<'a>>,
        me: &'a BrokerId,
    ) -> Result<Self, StoreError> {
        let phase = PhaseRow::of(&reserve.phase, reserve.at)?;
        Ok(Self {
            slot_id: reserve.claim.slot.as_str(),
            node_id: reserve.claim.node.as_str(),
            session_id: reserve.session.as_str(),
            holder: me.as_str(),
            epoch: epoch_column(reserve.claim.epoch)?,
            rev: int(reserve.capacity_rev)?,
            cpu_milli: reserve.cpu_milli,
            mem_mib: reserve.mem_mib,
            kbps: reserve.kbps,
            disk_mib: reserve.disk_mib,
            gpus: reserve.gpus.len(),
            claimed_ms: to_ms(reserve.at),
            phase: phase.phase,
            since_ms: phase.since_ms,
            at,
            claims_of_node: 1,
            reserve,
            create,
        })
    }
}

/// What the claims of one node take together.
#[derive(Debug, Serialize)]
struct Taken<'a> {
    node_id: &'a str,
    /// The revision that the first of them was decided on.
    rev: i64,
    claims: i64,
    cpu_milli: u64,
    mem_mib: u64,
    kbps: u64,
}

/// Makes the claims, each wholly or not at all, and the rows of the sessions in `fresh`.
///
/// All are tried at once. Where one is lost after it has taken something, all is undone and tried
/// again without it; each round settles one at least, and losses are rare.
pub(crate) async fn reserve<'a>(
    tx: &mut Tx,
    reserves: Vec<(At, &'a Reserve)>,
    fresh: &Fresh<'a>,
    me: &'a BrokerId,
    answers: &mut Answers,
) -> Result<(), StoreError> {
    let mut rows: Vec<New<'_>> = Vec::new();
    let wanted = reserves.into_iter();
    let wanted = wanted.map(|(at, r)| Wanted::new(at, r, fresh.get(&at).copied(), me));
    let mut wanted: Vec<Wanted<'_>> = wanted.collect::<Result<_, _>>()?;
    // Nodes that did not carry all at once: theirs are tried one by one.
    let mut singly: HashSet<&str> = HashSet::new();
    while !wanted.is_empty() {
        let (mut round, mut later) = round(std::mem::take(&mut wanted), &singly);
        tx.mark().await?;
        let refused = take_capacity(tx, &mut round).await?;
        let mut lost = Vec::new();
        let undo = take_rest(tx, &mut round, &mut lost).await?;
        if undo {
            tx.undo().await?;
        }
        let (alone, together): (Vec<_>, Vec<_>) =
            refused.into_iter().partition(|w| w.claims_of_node == 1);
        singly.extend(together.iter().map(|w| w.node_id));
        for loser in lost.iter().chain(&alone) {
            answers.set(loser.at, Applied::RaceLost);
            rows.extend(loser.create.map(New::queued));
        }
        if undo {
            later.append(&mut round);
        }
        for w in &round {
            if let Some(create) = w.create {
                rows.push(New::placed(create, &w.reserve.phase, w.reserve.at)?);
            }
        }
        push_starts(tx, &round, answers).await?;
        later.extend(together);
        later.sort_unstable_by_key(|w| w.at);
        wanted = later;
    }
    sessions::insert(tx, &rows).await
}

/// Takes capacity, slots and sessions of all of `wanted`, and makes their claims; or says that one of them
/// has lost. What was taken until then is to be undone.
pub(super) async fn take_all(tx: &mut Tx, mut wanted: Vec<Wanted<'_>>) -> Result<bool, StoreError> {
    let refused = take_capacity(tx, &mut wanted).await?;
    let mut lost = Vec::new();
    Ok(refused.is_empty() && !take_rest(tx, &mut wanted, &mut lost).await?)
}

/// Those that are tried now: of each node a run of claims each decided on what the one before leaves,
/// or one. The others wait for the next round.
fn round<'a>(
    wanted: Vec<Wanted<'a>>,
    singly: &HashSet<&str>,
) -> (Vec<Wanted<'a>>, Vec<Wanted<'a>>) {
    let mut runs: HashMap<&str, (i64, i64)> = HashMap::new();
    let mut closed: HashSet<&str> = HashSet::new();
    let (mut now, mut later): (Vec<Wanted<'a>>, Vec<Wanted<'a>>) = (Vec::new(), Vec::new());
    for w in wanted {
        let (claims, next) = runs.entry(w.node_id).or_insert((0, w.rev));
        let fits = *next == w.rev && (*claims == 0 || !singly.contains(w.node_id));
        if fits && !closed.contains(w.node_id) {
            *claims += 1;
            *next += 1;
            now.push(w);
        } else {
            // Order within a node is kept: nothing passes one that waits.
            closed.insert(w.node_id);
            later.push(w);
        }
    }
    for w in &mut now {
        w.claims_of_node = runs.get(w.node_id).map_or(1, |(claims, _)| *claims);
    }
    (now, later)
}

/// The first to be taken, for most races are lost here. Removes and returns those of nodes that do
/// not have it.
async fn take_capacity<'a>(
    tx: &mut Tx,
    round: &mut Vec<Wanted<'a>>,
) -> Result<Vec<Wanted<'a>>, StoreError> {
    let mut nodes: BTreeMap<&str, Taken<'_>> = BTreeMap::new();
    for w in round.iter() {
        let taken = nodes.entry(w.node_id).or_insert(Taken {
            node_id: w.node_id,
            rev: w.rev,
            claims: 0,
            cpu_milli: 0,
            mem_mib: 0,
            kbps: 0,
        });
        // Those of a cluster come in the order of their slots.
        taken.rev = taken.rev.min(w.rev);
        taken.claims += 1;
        taken.cpu_milli += u64::from(w.cpu_milli);
        taken.mem_mib += u64::from(w.mem_mib);
        taken.kbps += u64::from(w.kbps);
    }
    let nodes: Vec<Taken<'_>> = nodes.into_values().collect();
    let rows = tx.ask(TAKE_CAPACITY, &nodes).await?;
    let won: HashSet<String> = rows.iter().map(|row| row.get("won")).collect();
    Ok(round.extract_if(.., |w| !won.contains(w.node_id)).collect())
}

async fn push_starts(
    tx: &mut Tx,
    made: &[Wanted<'_>],
    answers: &mut Answers,
) -> Result<(), StoreError> {
    let orders = made
        .iter()
        .map(|w| {
            let (r, claim) = (w.reserve, &w.reserve.claim);
            let push = orders::Push::new(&r.session, &claim.node, claim.epoch, &r.order, r.at)?;
            Ok((w.at, push))
        })
        .collect::<Result<Vec<_>, StoreError>>()?;
    orders::push(tx, &orders, answers).await
}

/// A statement, whom it concerns, and the name by which it returns those that have won.
type Step<'a> = (
    &'static str,
    fn(&Wanted<'a>) -> bool,
    fn(&Wanted<'a>) -> &'a str,
);

/// Slots, sessions, claims and GPUs of those in `wanted`. Moves the losers; whether there were any.
async fn take_rest<'a>(
    tx: &mut Tx,
    wanted: &mut Vec<Wanted<'a>>,
    lost: &mut Vec<Wanted<'a>>,
) -> Result<bool, StoreError> {
    let steps: [Step<'a>; 3] = [
        (TAKE_SLOTS, |_| true, |w| w.slot_id),
        (TAKE_SESSIONS, |w| w.create.is_none(), |w| w.session_id),
        (INSERT, |_| true, |w| w.slot_id),
    ];
    for (statement, concerns, name) in steps {
        let concerned: Vec<&Wanted<'_>> = wanted.iter().filter(|w| concerns(w)).collect();
        let rows = tx.ask(statement, &concerned).await?;
        let won: HashSet<String> = rows.iter().map(|row| row.get("won")).collect();
        let losers = wanted.extract_if(.., |w| concerns(w) && !won.contains(name(w)));
        let before = lost.len();
        lost.extend(losers);
        if lost.len() > before {
            return Ok(true);
        }
    }
    let before = lost.len();
    let reserves = wanted.iter().map(|w| (&w.reserve.claim, &*w.reserve.gpus));
    let refused = gpus::take(tx, reserves).await?;
    lost.extend(wanted.extract_if(.., |w| refused.contains(w.slot_id)));
    let without = volumes::take(tx, wanted.iter().map(|w| w.reserve)).await?;
    lost.extend(wanted.extract_if(.., |w| without.contains(w.session_id)));
    Ok(lost.len() > before)
}

/// A claim that is free again.
#[derive(Debug, Serialize)]
pub(crate) struct Release<'a> {
    session_id: &'a str,
    slot_id: &'a str,
    epoch: i64,
    at: i64,
    billed: i64,
}

impl<'a> Release<'a> {
    pub(in crate::ledger) fn new(
        session: &'a SessionId,
        claim: &'a Claim,
        billed_until: MonoTime,
        at: MonoTime,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            session_id: session.as_str(),
            slot_id: claim.slot.as_str(),
            epoch: epoch_column(claim.epoch)?,
            at: to_ms(at),
            billed: to_ms(billed_until),
        })
    }
}

/// A node whose free capacity is to be counted again.
#[derive(Debug, Serialize)]
pub(super) struct Recount<'a> {
    pub(super) node_id: &'a str,
    /// By how much its revision rises.
    pub(super) changes: i64,
}

pub(crate) async fn release(tx: &mut Tx, releases: &[Release<'_>]) -> Result<(), StoreError> {
    let freed = tx.ask(FREE, releases).await?;
    if freed.iter().any(|row| row.get::<i64, _>("gpus") > 0) {
        gpus::free(tx, releases).await?;
    }
    let mut nodes: BTreeMap<&str, i64> = BTreeMap::new();
    for row in &freed {
        *nodes.entry(row.get("node_id")).or_default() += 1;
    }
    let recount = |(node_id, changes)| Recount { node_id, changes };
    let nodes: Vec<Recount<'_>> = nodes.into_iter().map(recount).collect();
    tx.run(RECOUNT, &nodes).await?;
    usage::end(tx, releases).await?;
    tx.run(VOID_STARTS, releases).await?;
    Ok(())
}
