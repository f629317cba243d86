//! What is billed of a session: what its claim holds, for whom, and until when.
//!
//! The rule (docs/adr/0026): from the acked start to the acked stop. Where no node has confirmed the
//! stop, until the node was heard of last while it ran the session, and no longer than the order to stop.

use super::owner::Owner;
use super::turn::{Then, Turn};
use crate::ledger::{Bill, Item, Op, SessionRow};
use nearlight_placement::gpu_suits;
use nearlight_protocol::control::{Gpu, Inventory};
use nearlight_protocol::grant::{Grant, GrantRow, GrantWork};
use nearlight_protocol::id::{NodeId, SessionId, TenantId, UserId};
use nearlight_protocol::job::JobSpec;
use nearlight_protocol::unit::MonoTime;
use nearlight_protocol::usage::UsageFacts;
use nearlight_protocol::work::Work;
use nearlight_session::bill::Metered;
use nearlight_session::lifecycle::Stopped;
use nearlight_session::{Claim, Epoch};
use std::collections::BTreeMap;

/// What a claim holds of what its bill names.
#[derive(Clone, Copy, Debug, Default)]
struct Holding<'a> {
    cpu_milli: u32,
    mem_mib: u32,
    gpu_uuids: &'a [String],
}

/// The models of the GPUs that a claim has; of one that names none, of those that suit its job.
fn gpus_of(named: &[String], job: Option<&JobSpec>, inventory: &Inventory) -> Vec<String> {
    let need = job.and_then(|spec| spec.resources.gpu.as_ref());
    let Some((need, host)) = need.zip(inventory.jobs.as_ref()) else {
        return Vec::new();
    };
    let is_its = |gpu: &&Gpu| match named.is_empty() {
        true => gpu_suits(gpu, need),
        false => named.contains(&gpu.uuid),
    };
    let count = usize::try_from(need.count).unwrap_or(usize::MAX);
    let mut models: Vec<String> = host
        .gpus
        .iter()
        .filter(is_its)
        .map(|gpu| gpu.model.clone())
        .take(count)
        .collect();
    // One that has vanished from the inventory meanwhile is claimed all the same: its model is unknown.
    if !named.is_empty() {
        models.resize(named.len(), String::new());
    }
    models
}

impl Owner {
    /// What the bill needs of a session whose usage begins.
    pub(super) fn bill_of(&self, row: &SessionRow, claim: &Claim) -> Bill {
        let node = self.fleet.get(&claim.node);
        let slot = node.and_then(|node| node.row.slots.get(&claim.slot));
        let held = slot.and_then(|slot| slot.held_by.as_ref());
        let holding = held.map(|held| Holding {
            cpu_milli: held.cpu_milli,
            mem_mib: held.mem_mib,
            gpu_uuids: &held.gpu_uuids,
        });
        let item = match &row.work {
            Work::App(work) => Item::App(work.app.id.clone()),
            Work::Job(spec) => Item::Job(spec.image.clone()),
        };
        let who = (&row.user, row.tenant.as_ref());
        let work = (item, row.work.job());
        self.bill(who, work, &claim.node, holding.unwrap_or_default())
    }

    /// The same of a session of which there is its grant alone.
    pub(super) fn bill_of_grant(&self, grant: &Grant, row: &GrantRow) -> Bill {
        let holding = Holding {
            cpu_milli: row.cpu_milli,
            mem_mib: row.mem_mib,
            gpu_uuids: &grant.gpus,
        };
        let work = match &row.work {
            GrantWork::App { app, .. } => (Item::App(app.clone()), None),
            GrantWork::Job { job } => (Item::Job(job.image.clone()), Some(&**job)),
        };
        let who = (&grant.user, row.tenant.as_ref());
        self.bill(who, work, &grant.node, holding)
    }

    fn bill(
        &self,
        (user, tenant): (&UserId, Option<&TenantId>),
        (item, job): (Item, Option<&JobSpec>),
        node: &NodeId,
        holding: Holding<'_>,
    ) -> Bill {
        let node = self.fleet.get(node);
        let score = node.and_then(|node| node.score());
        Bill {
            user: user.clone(),
            tenant: tenant.cloned(),
            item,
            region: node.map_or_else(String::new, |node| node.row.region.clone()),
            metered: Metered {
                cpu_milli: holding.cpu_milli,
                mem_mib: holding.mem_mib,
                gpus: node.map_or_else(Vec::new, |node| {
                    gpus_of(holding.gpu_uuids, job, &node.row.inventory)
                }),
                score_permille: score.map(|score| score.permille),
            },
            score_receipt: score.and_then(|score| score.receipt),
            labels: job.map_or_else(BTreeMap::new, |spec| spec.labels.clone()),
        }
    }

    /// What a job has used so far. Of a claim that the session has no more nothing is written down.
    pub(super) fn used(
        &mut self,
        session: &SessionId,
        epoch: Epoch,
        facts: UsageFacts,
        turn: &mut Turn,
    ) {
        let held = self.sessions.get(session).and_then(|e| e.life.held());
        if let Some(held) = held.filter(|held| held.claim.epoch == epoch) {
            let noted = Op::NoteUsed {
                session: session.clone(),
                claim: held.claim.clone(),
                facts,
            };
            turn.push(noted, Then::Nothing);
        }
    }

    /// The end of a claim's usage.
    pub(super) fn billed_until(&self, claim: &Claim, stopped: Stopped, now: MonoTime) -> MonoTime {
        match stopped {
            Stopped::Confirmed => now,
            Stopped::Unconfirmed { ordered_at } => {
                let heard = self.fleet.get(&claim.node).map(|node| node.heard_at);
                let known = [heard, ordered_at].into_iter().flatten().min();
                known.map_or(now, |known| known.min(now))
            }
        }
    }
}
