//! Sessions that a node still runs, and of which the ledger has lost everything: back from their grants.
//!
//! One by one, each wholly or not at all, for this happens after a database has failed over to a copy that
//! was behind, or was restored, and never beside that.
//!
//! **Invariants.** A slot's claim comes back only above every epoch that this ledger has claimed of it: the
//! row of a slot stays, so what was claimed, ended and swept is known by it. An epoch that only a node has
//! shown (`slot.raised`) was claimed by nobody. What does not come back is stopped, in the same transaction.

use super::jobs::{self, Job};
use super::{gpus, orders, quotas, usage, volumes, work};
use crate::ledger::batch::Answers;
use crate::ledger::dialect::Foreign;
use crate::ledger::phase_row::{APP, JOB, PhaseRow, epoch_column, ms, to_ms};
use crate::ledger::plan::At;
use crate::ledger::share::BrokerId;
use crate::ledger::tx::Tx;
use crate::ledger::{Readmit, StoreError};
use nearlight_protocol::grant::GrantWork;
use nearlight_protocol::id::TenantId;
use serde::Serialize;

/// What runs is an edition that the ledger has, or nobody could say what it is.
const FIND_EDITION: &str = "
    SELECT e.digest FROM {rows app_digest text} JOIN app_edition e ON e.digest = r.app_digest";

const TAKE_SLOT: &str = "
    UPDATE slot SET epoch = r.epoch, raised = 0
    FROM {rows slot_id text, node_id text, epoch bigint}
    WHERE slot.slot_id = r.slot_id AND slot.node_id = r.node_id AND {still slot.listed = 1}
        AND (slot.epoch < r.epoch OR (slot.epoch = r.epoch AND slot.raised = r.epoch))";

const TAKE_CAPACITY: &str = "
    UPDATE node_capacity SET rev = node_capacity.rev + 1,
        cpu_milli_free = node_capacity.cpu_milli_free - r.cpu_milli,
        mem_mib_free = node_capacity.mem_mib_free - r.mem_mib,
        uplink_kbps_free = node_capacity.uplink_kbps_free - r.kbps
    FROM {rows node_id text, cpu_milli bigint, mem_mib bigint, kbps bigint}
    WHERE node_capacity.node_id = r.node_id AND node_capacity.cpu_milli_free >= r.cpu_milli
        AND node_capacity.mem_mib_free >= r.mem_mib
        AND (node_capacity.uplink_kbps_free IS NULL OR node_capacity.uplink_kbps_free >= r.kbps)";

const INSERT_SESSION: &str = "
    INSERT INTO session (session_id, user_id, tenant_id, app_id, app_digest, display_width,
        display_height, display_hz, keyboard_layout, created_ms, phase, since_ms, ready_ms, node_id,
        slot_id, epoch, viewer, detail, starts_denied, holder, kind, gpus, cpu_milli, mem_mib)
    SELECT r.session_id, r.user_id, r.tenant_id, r.app_id, r.app_digest, r.display_width,
        r.display_height, r.display_hz, r.keyboard_layout, r.created_ms, r.phase, r.since_ms,
        r.ready_ms, r.node_id, r.slot_id, r.epoch, r.viewer, '', 0, r.holder, r.kind, r.gpus,
        r.cpu_milli, r.mem_mib
    FROM {rows session_id text, user_id text, tenant_id text, app_id text, app_digest text,
        display_width bigint, display_height bigint, display_hz bigint, keyboard_layout text,
        created_ms bigint, phase text, since_ms bigint, ready_ms bigint, node_id text, slot_id text,
        epoch bigint, viewer text, holder text, kind text, gpus bigint, cpu_milli bigint,
        mem_mib bigint}
    WHERE TRUE ON CONFLICT DO NOTHING";

/// A slot with a live claim conflicts, too.
const INSERT_CLAIM: &str = "
    INSERT INTO claim (slot_id, epoch, node_id, session_id, cpu_milli, mem_mib, kbps, disk_mib,
        gpus, claimed_ms)
    SELECT r.slot_id, r.epoch, r.node_id, r.session_id, r.cpu_milli, r.mem_mib, r.kbps, r.disk_mib,
        r.gpus, r.granted_ms
    FROM {rows slot_id text, epoch bigint, node_id text, session_id text, cpu_milli bigint,
        mem_mib bigint, kbps bigint, disk_mib bigint, gpus bigint, granted_ms bigint}
    WHERE TRUE ON CONFLICT DO NOTHING";

/// Whatever the cap is: it had its place when it was created.
const TAKE_QUOTAS: &str = "
    UPDATE quota SET used = quota.used + 1 FROM {rows user_id text}
    WHERE quota.user_id = r.user_id";

/// Of the slot's sessions before, the end was lost with this one's beginning.
const END_USAGE_BEFORE: &str = "
    UPDATE usage_interval SET ended_ms = CASE
        WHEN usage_interval.began_ms > r.granted_ms THEN usage_interval.began_ms
        ELSE r.granted_ms END
    FROM {rows slot_id text, epoch bigint, granted_ms bigint}
    JOIN claim c ON c.slot_id = r.slot_id AND c.epoch < r.epoch
    WHERE usage_interval.session_id = c.session_id AND usage_interval.epoch = c.epoch
        AND usage_interval.slot_id IN (c.slot_id, '') AND usage_interval.ended_ms > r.granted_ms";

/// What finds rows by their keys.
#[cfg(test)]
pub(in crate::ledger) const BY_KEY: &[&str] =
    &[FIND_EDITION, TAKE_SLOT, TAKE_CAPACITY, TAKE_QUOTAS];

/// All of it, for whichever statement.
#[derive(Debug, Serialize)]
struct Row<'a> {
    session_id: &'a str,
    user_id: &'a str,
    tenant_id: Option<&'a str>,
    app_id: &'a str,
    app_digest: &'a str,
    display_width: u32,
    display_height: u32,
    display_hz: u32,
    keyboard_layout: Foreign<'a>,
    created_ms: i64,
    granted_ms: i64,
    cpu_milli: u32,
    mem_mib: u32,
    kbps: u32,
    disk_mib: u32,
    gpus: usize,
    kind: &'static str,
    holder: &'a str,
    /// Node, slot and epoch are those of its claim.
    #[serde(flatten)]
    phase: PhaseRow,
}

impl<'a> Row<'a> {
    fn new(readmit: &'a Readmit, holder: &'a BrokerId) -> Result<Self, StoreError> {
        let (row, claim) = (&readmit.row, &readmit.claim);
        let (kind, app_id, app_digest, display, layout) = match &row.work {
            GrantWork::App {
                app,
                edition,
                display,
                keyboard_layout,
            } => (
                APP,
                app.as_str(),
                edition.as_str(),
                *display,
                keyboard_layout.as_str(),
            ),
            GrantWork::Job { .. } => (JOB, "", "", work::NO_DISPLAY, ""),
        };
        Ok(Self {
            kind,
            session_id: readmit.session.as_str(),
            user_id: readmit.user.as_str(),
            tenant_id: row.tenant.as_ref().map(TenantId::as_str),
            app_id,
            app_digest,
            display_width: display.width,
            display_height: display.height,
            display_hz: display.hz,
            keyboard_layout: Foreign(layout),
            created_ms: ms(row.created_ms),
            granted_ms: to_ms(readmit.granted_at),
            cpu_milli: row.cpu_milli,
            mem_mib: row.mem_mib,
            kbps: row.kbps,
            disk_mib: row.disk_mib,
            gpus: readmit.gpus.len(),
            holder: holder.as_str(),
            phase: PhaseRow {
                node_id: Some(claim.node.to_string()),
                slot_id: Some(claim.slot.to_string()),
                epoch: Some(epoch_column(claim.epoch)?),
                ..PhaseRow::of(&readmit.phase, readmit.at)?
            },
        })
    }
}

#[derive(Debug, Serialize)]
struct Quota<'a> {
    user_id: &'a str,
}

/// Readmits each, as `me`, or orders its node to stop it.
pub(crate) async fn readmit(
    tx: &mut Tx,
    me: &BrokerId,
    readmits: &[(At, &Readmit)],
    answers: &mut Answers,
) -> Result<(), StoreError> {
    for (at, readmit) in readmits {
        let row = [Row::new(readmit, me)?];
        tx.mark().await?;
        if is_back(tx, &row, readmit).await? {
            if let GrantWork::Job { job } = &readmit.row.work {
                let job = Job::new(&readmit.session, job, None)?;
                jobs::add(tx, &[&job]).await?;
            }
            take_quotas(tx, &row[0]).await?;
            let Readmit {
                session,
                claim,
                bill,
                ..
            } = readmit;
            let begun = usage::Begin::new(session, claim, bill, readmit.granted_at)?;
            usage::begin(tx, &[begun]).await?;
            tx.run(END_USAGE_BEFORE, &row).await?;
        } else {
            tx.undo().await?;
            let Readmit { session, claim, .. } = readmit;
            let stop = &readmit.stop;
            let stop = orders::Push::new(session, &claim.node, claim.epoch, stop, readmit.at)?;
            orders::push(tx, &[(*at, stop)], answers).await?;
        }
    }
    Ok(())
}

/// Whether nothing stands in its way. What was written until then is to be undone.
async fn is_back(tx: &mut Tx, row: &[Row<'_>; 1], readmit: &Readmit) -> Result<bool, StoreError> {
    if row[0].kind == APP && tx.ask(FIND_EDITION, row).await?.is_empty() {
        return Ok(false);
    }
    for step in [TAKE_SLOT, TAKE_CAPACITY, INSERT_SESSION, INSERT_CLAIM] {
        if tx.run(step, row).await? == 0 {
            return Ok(false);
        }
    }
    let claims = std::iter::once((&readmit.claim, &*readmit.gpus));
    if !gpus::take(tx, claims).await?.is_empty() {
        return Ok(false);
    }
    volumes::take_back(tx, readmit).await
}

async fn take_quotas(tx: &mut Tx, row: &Row<'_>) -> Result<(), StoreError> {
    let holders = std::iter::once(row.user_id).chain(row.tenant_id);
    let holders: Vec<Quota<'_>> = holders.map(|user_id| Quota { user_id }).collect();
    tx.run(quotas::OPEN, &holders).await?;
    tx.run(TAKE_QUOTAS, &holders).await?;
    Ok(())
}
