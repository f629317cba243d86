//! Nodes, their slots and what they can carry.

use super::claims::{RECOUNT, Recount};
use crate::ledger::batch::Answers;
use crate::ledger::dialect::Foreign;
use crate::ledger::phase_row::{epoch_column, to_ms};
use crate::ledger::plan::At;
use crate::ledger::share::BrokerId;
use crate::ledger::tx::{Tx, json};
use crate::ledger::{Applied, StoreError};
use nearlight_protocol::control::Inventory;
use nearlight_protocol::id::{NodeId, SlotId};
use nearlight_protocol::unit::MonoTime;
use nearlight_session::Epoch;
use serde::Serialize;
use sqlx::Row;
use std::collections::HashSet;

/// Of a node that another broker holds nothing is changed.
const UPSERT: &str = "
    INSERT INTO node (node_id, name, region, build, inventory, last_seen_ms, holder)
    SELECT r.node_id, r.name, r.region, r.build, r.inventory, r.at, r.holder
    FROM {rows node_id text, name text, region text, build text, inventory text, at bigint,
        holder text}
    WHERE TRUE ON CONFLICT (node_id) DO UPDATE SET name = excluded.name,
        region = excluded.region, build = excluded.build, inventory = excluded.inventory,
        last_seen_ms = excluded.last_seen_ms
        WHERE node.holder = excluded.holder
    RETURNING node_id AS won";

const UPSERT_CAPACITY: &str = "
    INSERT INTO node_capacity (node_id, cpu_milli_total, mem_mib_total, uplink_kbps_total,
        cpu_milli_free, mem_mib_free, rev)
    SELECT r.node_id, r.cpu_milli, r.mem_mib, r.uplink_kbps, 0, 0, 0
    FROM {rows node_id text, cpu_milli bigint, mem_mib bigint, uplink_kbps bigint}
    WHERE TRUE ON CONFLICT (node_id) DO UPDATE SET cpu_milli_total = excluded.cpu_milli_total,
        mem_mib_total = excluded.mem_mib_total, uplink_kbps_total = excluded.uplink_kbps_total";

const UNLIST: &str = "
    UPDATE slot SET listed = 0 FROM {rows node_id text} WHERE slot.node_id = r.node_id";

/// A node cannot take over another one's slot by naming it.
const LIST: &str = "
    INSERT INTO slot (slot_id, node_id, epoch, listed)
    SELECT r.slot_id, r.node_id, 0, 1 FROM {rows slot_id text, node_id text}
    WHERE TRUE ON CONFLICT (slot_id) DO UPDATE SET listed = 1
        WHERE slot.node_id = excluded.node_id";

const RAISE: &str = "
    UPDATE slot SET epoch = r.epoch, raised = r.epoch FROM {rows slot_id text, epoch bigint}
    WHERE slot.slot_id = r.slot_id AND slot.epoch < r.epoch";

const SEEN: &str = "
    UPDATE node SET last_seen_ms = r.at, heard_ms = CASE WHEN node.heard_ms > r.heard
        THEN node.heard_ms ELSE r.heard END
    FROM {rows node_id text, at bigint, heard bigint}
    WHERE node.node_id = r.node_id";

/// Rows of one statement of [`seen`].
const SEEN_ROWS: usize = 1000;

/// A node that is attached, with what it has.
#[derive(Debug, Serialize)]
pub(crate) struct SaveNode<'a> {
    node_id: &'a str,
    name: Foreign<'a>,
    region: Foreign<'a>,
    build: Foreign<'a>,
    inventory: String,
    cpu_milli: u32,
    mem_mib: u32,
    uplink_kbps: Option<u32>,
    at: i64,
    holder: &'a str,
    #[serde(skip)]
    slots: Vec<&'a str>,
}

impl<'a> SaveNode<'a> {
    pub(in crate::ledger) fn new(
        node: &'a NodeId,
        [name, region, build]: [&'a String; 3],
        inventory: &'a Inventory,
        at: MonoTime,
        holder: &'a BrokerId,
    ) -> Result<Self, StoreError> {
        let mut slots: Vec<&str> = inventory.slots.iter().map(|s| s.id.as_str()).collect();
        // One that is named twice is one.
        slots.sort_unstable();
        slots.dedup();
        Ok(Self {
            node_id: node.as_str(),
            name: Foreign(name),
            region: Foreign(region),
            build: Foreign(build),
            inventory: json(inventory)?,
            cpu_milli: inventory.cpu_milli,
            mem_mib: inventory.mem_mib,
            uplink_kbps: inventory.uplink_kbps,
            at: to_ms(at),
            holder: holder.as_str(),
            slots,
        })
    }
}

#[derive(Debug, Serialize)]
struct Listed<'a> {
    slot_id: &'a str,
    node_id: &'a str,
}

/// Nodes with what they have. [`Applied::RaceLost`] for one that another broker holds: a new node that
/// attached to both.
pub(crate) async fn save(
    tx: &mut Tx,
    nodes: &[(At, SaveNode<'_>)],
    answers: &mut Answers,
) -> Result<(), StoreError> {
    let rows: Vec<&SaveNode<'_>> = nodes.iter().map(|(_, node)| node).collect();
    let won = tx.ask(UPSERT, &rows).await?;
    let won: HashSet<&str> = won.iter().map(|row| row.get("won")).collect();
    for (at, _) in nodes.iter().filter(|(_, n)| !won.contains(n.node_id)) {
        answers.set(*at, Applied::RaceLost);
    }
    let mut nodes = rows;
    nodes.retain(|node| won.contains(node.node_id));
    tx.run(UPSERT_CAPACITY, &nodes).await?;
    let keys: Vec<Recount<'_>> = nodes
        .iter()
        .map(|node| Recount {
            node_id: node.node_id,
            changes: 1,
        })
        .collect();
    tx.run(RECOUNT, &keys).await?;
    tx.run(UNLIST, &keys).await?;
    let slots: Vec<Listed<'_>> = nodes
        .iter()
        .flat_map(|node| {
            let node_id = node.node_id;
            node.slots
                .iter()
                .map(move |slot_id| Listed { slot_id, node_id })
        })
        .collect();
    tx.run(LIST, &slots).await?;
    Ok(())
}

/// A slot whose epoch is higher than the ledger has it.
#[derive(Debug, Serialize)]
pub(crate) struct RaiseEpoch<'a> {
    slot_id: &'a str,
    epoch: i64,
}

impl<'a> RaiseEpoch<'a> {
    pub(in crate::ledger) fn new(slot: &'a SlotId, epoch: Epoch) -> Result<Self, StoreError> {
        Ok(Self {
            slot_id: slot.as_str(),
            epoch: epoch_column(epoch)?,
        })
    }
}

pub(crate) async fn raise_epochs(tx: &mut Tx, epochs: &[RaiseEpoch<'_>]) -> Result<(), StoreError> {
    tx.run(RAISE, epochs).await?;
    Ok(())
}

/// A node that was heard of.
#[derive(Debug, Serialize)]
pub(crate) struct Seen<'a> {
    node_id: &'a str,
    at: i64,
    heard: i64,
}

impl<'a> Seen<'a> {
    pub(in crate::ledger) fn new(node: &'a NodeId, heard: MonoTime, at: MonoTime) -> Self {
        Self {
            node_id: node.as_str(),
            at: to_ms(at),
            heard: to_ms(heard),
        }
    }
}

pub(crate) async fn seen(tx: &mut Tx, seen: &[Seen<'_>]) -> Result<(), StoreError> {
    for rows in seen.chunks(SEEN_ROWS) {
        tx.run(SEEN, rows).await?;
    }
    Ok(())
}
