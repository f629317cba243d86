//! Volumes: taken with a claim, noted as their node says, deleted; and the usage that follows from that.
//!
//! **Invariant.** In every transaction that changes a volume, [`settle`] brings its usage after it: an
//! interval is open exactly while the volume is there, neither deleted nor lost, and has its size.

use crate::ledger::batch::Answers;
use crate::ledger::phase_row::to_ms;
use crate::ledger::plan::At;
use crate::ledger::tx::{Tx, json};
use crate::ledger::{Applied, Readmit, Reserve, StoreError, VolumesSeen};
use nearlight_protocol::control::Order;
use nearlight_protocol::grant::GrantWork;
use nearlight_protocol::id::{NodeId, VolumeId};
use nearlight_protocol::unit::MonoTime;
use nearlight_protocol::volume::owner;
use serde::Serialize;
use sqlx::Row;
use std::collections::{HashMap, HashSet};

/// A session has a volume as long as its claim lives.
const TAKE: &str = "
    UPDATE volume SET used_by = r.session_id, used_ms = r.at,
        size_mib = CASE WHEN r.size_mib > volume.size_mib THEN r.size_mib ELSE volume.size_mib END
    FROM {rows volume_id text, session_id text, node_id text, size_mib bigint, at bigint}
    WHERE volume.volume_id = r.volume_id AND volume.node_id = r.node_id
        AND {still volume.deleted_ms IS NULL}
        AND (volume.used_by = r.session_id OR NOT EXISTS (SELECT 1 FROM claim c
            WHERE c.session_id = volume.used_by AND c.released_ms IS NULL))
    RETURNING volume.volume_id AS won, volume.used_by AS taker";

const MAKE: &str = "
    INSERT INTO volume (volume_id, owner, name, node_id, size_mib, used_by, labels, created_ms, used_ms)
    SELECT r.volume_id, r.owner, r.name, r.node_id, r.size_mib, r.session_id, r.labels, r.at, r.at
    FROM {rows volume_id text, owner text, name text, node_id text, size_mib bigint,
        session_id text, labels text, owner_mib_max bigint, at bigint}
    WHERE r.size_mib + (SELECT COALESCE(SUM(v.size_mib), 0) FROM volume v WHERE v.owner = r.owner)
        <= r.owner_mib_max
    ON CONFLICT DO NOTHING
    RETURNING volume_id AS won, used_by AS taker";

/// A job that runs on has the volumes that its spec names, and no number of them. Of one row: so it is found by its name.
const TAKE_BACK: &str = "
    UPDATE volume SET used_by = (SELECT r.session_id FROM {rows session_id text}),
        used_ms = (SELECT r.at FROM {rows at bigint})
    WHERE volume.owner = (SELECT r.owner FROM {rows owner text})
        AND volume.name = (SELECT r.name FROM {rows name text}) AND volume.deleted_ms IS NULL
        AND {still volume.node_id = (SELECT r.node_id FROM {rows node_id text})}
        AND NOT EXISTS (SELECT 1 FROM claim c
            WHERE c.session_id = volume.used_by AND {still c.released_ms IS NULL})";

/// Of one row, too.
const HELD_BY_OTHERS: &str = "
    SELECT v.volume_id FROM volume v
    JOIN claim c ON c.session_id = v.used_by AND {still c.released_ms IS NULL}
    WHERE v.owner = (SELECT r.owner FROM {rows owner text})
        AND v.name = (SELECT r.name FROM {rows name text}) AND v.deleted_ms IS NULL
        AND {still v.used_by <> (SELECT r.session_id FROM {rows session_id text})}";

/// A node that is shut out is never told to wipe anything again.
const FORGET_DELETED: &str = "
    DELETE FROM volume WHERE {still volume.deleted_ms IS NOT NULL}
        AND node_id IN (SELECT r.node_id FROM {rows node_id text})";

/// What it has beside that nobody gets to see again.
const LOST_WITH_NODE: &str = "
    UPDATE volume SET lost_ms = COALESCE(volume.lost_ms, r.at)
    FROM {rows node_id text, at bigint}
    WHERE volume.node_id = r.node_id AND {still volume.deleted_ms IS NULL}
    RETURNING volume.volume_id AS lost, volume.lost_ms AS lost_ms";

/// What a node that is shut out has stays lost, whatever it still says.
const THERE: &str = "
    UPDATE volume SET lost_ms = NULL, made_ms = COALESCE(volume.made_ms, r.at)
    FROM {rows volume_id text, node_id text, at bigint}
    WHERE volume.volume_id = r.volume_id AND volume.node_id = r.node_id
        AND NOT EXISTS (SELECT 1 FROM node_standing s
            WHERE s.node_id = r.node_id AND s.revoked_ms IS NOT NULL)";

const LOST: &str = "
    UPDATE volume SET lost_ms = COALESCE(volume.lost_ms, r.at)
    FROM {rows volume_id text, node_id text, at bigint}
    WHERE volume.volume_id = r.volume_id AND volume.node_id = r.node_id";

const WIPED: &str = "
    DELETE FROM volume WHERE {still volume.deleted_ms IS NOT NULL} AND (volume_id, node_id) IN
        (SELECT r.volume_id, r.node_id FROM {rows volume_id text, node_id text, at bigint})";

const DELETE: &str = "
    UPDATE volume SET deleted_ms = r.at FROM {rows volume_id text, at bigint}
    WHERE volume.volume_id = r.volume_id AND {still volume.deleted_ms IS NULL}
        AND NOT EXISTS (SELECT 1 FROM claim c
            WHERE c.session_id = volume.used_by AND c.released_ms IS NULL)
    RETURNING volume.volume_id AS won";

/// What is not as its volume is has ended; never before it began.
const END_USAGE: &str = "
    UPDATE volume_usage SET ended_ms = CASE WHEN volume_usage.began_ms > r.at
        THEN volume_usage.began_ms ELSE r.at END
    FROM {rows volume_id text, at bigint}
    WHERE volume_usage.volume_id = r.volume_id AND {still volume_usage.ended_ms IS NULL}
        AND volume_usage.size_mib <> COALESCE((SELECT v.size_mib FROM volume v
            WHERE v.volume_id = volume_usage.volume_id AND {still v.deleted_ms IS NULL}
                AND {still v.lost_ms IS NULL}), -1)";

const BEGIN_USAGE: &str = "
    INSERT INTO volume_usage (volume_id, size_mib, owner, name, node_id, region, labels, began_ms)
    SELECT v.volume_id, v.size_mib, v.owner, v.name, v.node_id,
        COALESCE((SELECT n.region FROM node n WHERE n.node_id = v.node_id), ''), v.labels, r.at
    FROM {rows volume_id text, at bigint} JOIN volume v ON v.volume_id = r.volume_id
    WHERE {still v.deleted_ms IS NULL} AND {still v.lost_ms IS NULL}
        AND {still NOT EXISTS (SELECT 1 FROM volume_usage u
            WHERE u.volume_id = r.volume_id AND u.ended_ms IS NULL)}
    ON CONFLICT DO NOTHING";

/// What finds rows by their keys.
#[cfg(test)]
pub(in crate::ledger) const BY_KEY: &[&str] = &[
    TAKE,
    TAKE_BACK,
    HELD_BY_OTHERS,
    FORGET_DELETED,
    LOST_WITH_NODE,
    THERE,
    LOST,
    WIPED,
    DELETE,
    END_USAGE,
    BEGIN_USAGE,
];

#[derive(Debug, Serialize)]
struct Taken<'a> {
    volume_id: &'a str,
    owner: &'a str,
    name: &'a str,
    node_id: &'a str,
    size_mib: u32,
    session_id: &'a str,
    labels: String,
    owner_mib_max: i64,
    at: i64,
}

/// A volume that was changed.
#[derive(Debug, Serialize)]
struct Changed<'a> {
    volume_id: &'a str,
    at: i64,
}

/// Brings the usage of volumes after them.
async fn settle(tx: &mut Tx, changed: &[Changed<'_>]) -> Result<(), StoreError> {
    if changed.is_empty() {
        return Ok(());
    }
    tx.run(END_USAGE, changed).await?;
    tx.run(BEGIN_USAGE, changed).await?;
    Ok(())
}

/// The labels of the job that a claim is for, as JSON.
fn labels(reserve: &Reserve) -> Result<String, StoreError> {
    match &reserve.order {
        Order::Start(start) => match start.work.job() {
            Some(spec) => json(&spec.labels),
            None => Ok("{}".to_owned()),
        },
        Order::Stop { .. } => Ok("{}".to_owned()),
    }
}

/// Takes the volumes of claims that are made. Returns the sessions that did not get all of theirs.
pub(crate) async fn take<'a>(
    tx: &mut Tx,
    reserves: impl Iterator<Item = &'a Reserve>,
) -> Result<HashSet<&'a str>, StoreError> {
    let mut wanted: HashMap<&str, usize> = HashMap::new();
    let (mut made, mut taken) = (Vec::new(), Vec::new());
    for reserve in reserves.filter(|reserve| !reserve.volumes.is_empty()) {
        wanted.insert(reserve.session.as_str(), reserve.volumes.len());
        let labels = labels(reserve)?;
        for volume in &reserve.volumes {
            let row = Taken {
                volume_id: volume.id.as_str(),
                owner: &volume.owner,
                name: &volume.name,
                node_id: reserve.claim.node.as_str(),
                size_mib: volume.size_mib,
                session_id: reserve.session.as_str(),
                labels: labels.clone(),
                owner_mib_max: i64::try_from(volume.owner_mib_max).unwrap_or(i64::MAX),
                at: to_ms(reserve.at),
            };
            let rows = if volume.is_new { &mut made } else { &mut taken };
            rows.push(row);
        }
    }
    for (statement, rows) in [(MAKE, &made), (TAKE, &taken)] {
        for row in tx.ask(statement, rows).await? {
            if let Some(left) = wanted.get_mut(row.get::<&str, _>("taker")) {
                *left = left.saturating_sub(1);
            }
        }
    }
    let changed = made.iter().chain(&taken).map(|row| Changed {
        volume_id: row.volume_id,
        at: row.at,
    });
    settle(tx, &changed.collect::<Vec<_>>()).await?;
    let without = wanted.into_iter().filter(|(_, left)| *left > 0);
    Ok(without.map(|(session, _)| session).collect())
}

#[derive(Debug, Serialize)]
struct TakenBack<'a> {
    owner: &'a str,
    name: &'a str,
    node_id: &'a str,
    session_id: &'a str,
    at: i64,
}

/// Takes those that a session that is back from its grant holds. `false`: another one has one of them.
pub(super) async fn take_back(tx: &mut Tx, readmit: &Readmit) -> Result<bool, StoreError> {
    let GrantWork::Job { job } = &readmit.row.work else {
        return Ok(true);
    };
    let owner = owner(readmit.row.tenant.as_ref(), &readmit.user);
    for volume in &job.volumes {
        let row = [TakenBack {
            owner: &owner,
            name: &volume.name,
            node_id: readmit.claim.node.as_str(),
            session_id: readmit.session.as_str(),
            at: to_ms(readmit.at),
        }];
        tx.run(TAKE_BACK, &row).await?;
        if !tx.ask(HELD_BY_OTHERS, &row).await?.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

#[derive(Debug, Serialize)]
pub(super) struct ShutOut<'a> {
    pub(super) node_id: &'a str,
    pub(super) at: i64,
}

/// What is deleted of nodes that are shut out counts for nobody any more, and what else they have is lost.
pub(super) async fn shut_out(tx: &mut Tx, nodes: &[ShutOut<'_>]) -> Result<(), StoreError> {
    tx.run(FORGET_DELETED, nodes).await?;
    let lost = tx.ask(LOST_WITH_NODE, nodes).await?;
    let changed = lost.iter().map(|row| Changed {
        volume_id: row.get("lost"),
        at: row.get("lost_ms"),
    });
    settle(tx, &changed.collect::<Vec<_>>()).await
}

#[derive(Debug, Serialize)]
struct Noted<'a> {
    volume_id: &'a str,
    node_id: &'a str,
    at: i64,
}

/// What a node says of its volumes.
pub(crate) type Note<'a> = (&'a NodeId, &'a VolumesSeen, MonoTime);

pub(crate) async fn note(tx: &mut Tx, notes: &[Note<'_>]) -> Result<(), StoreError> {
    for (node, seen, at) in notes {
        for (statement, ids) in [
            (THERE, &seen.there),
            (LOST, &seen.lost),
            (WIPED, &seen.wiped),
        ] {
            let rows = ids.iter().map(|id| Noted {
                volume_id: id.as_str(),
                node_id: node.as_str(),
                at: to_ms(*at),
            });
            tx.run(statement, &rows.collect::<Vec<_>>()).await?;
        }
        let changed = seen.there.iter().chain(&seen.lost).map(|id| Changed {
            volume_id: id.as_str(),
            at: to_ms(*at),
        });
        settle(tx, &changed.collect::<Vec<_>>()).await?;
    }
    Ok(())
}

#[derive(Debug, Serialize)]
pub(crate) struct Delete<'a> {
    volume_id: &'a str,
    at: i64,
}

impl<'a> Delete<'a> {
    pub(in crate::ledger) fn new(volume: &'a VolumeId, at: MonoTime) -> Self {
        Self {
            volume_id: volume.as_str(),
            at: to_ms(at),
        }
    }
}

/// Deletes volumes that no session has. [`Applied::RaceLost`] for one that is in use, or gone already.
pub(crate) async fn delete(
    tx: &mut Tx,
    deletes: &[(At, Delete<'_>)],
    answers: &mut Answers,
) -> Result<(), StoreError> {
    let rows: Vec<&Delete<'_>> = deletes.iter().map(|(_, delete)| delete).collect();
    let won = tx.ask(DELETE, &rows).await?;
    let changed = rows.iter().map(|delete| Changed {
        volume_id: delete.volume_id,
        at: delete.at,
    });
    settle(tx, &changed.collect::<Vec<_>>()).await?;
    let won: HashSet<&str> = won.iter().map(|row| row.get("won")).collect();
    for (at, delete) in deletes {
        let applied = match won.contains(delete.volume_id) {
            true => Applied::Done,
            false => Applied::RaceLost,
        };
        answers.set(*at, applied);
    }
    Ok(())
}
