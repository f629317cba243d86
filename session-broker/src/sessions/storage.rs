//! What jobs keep on nodes, as the owner of sessions deals with it: volumes are found before a node is, go
//! along with the claim and the order to start, and nodes are told which they may keep.

use super::owner::Owner;
use super::placing::NotPlaced;
use super::turn::{Then, Turn};
use super::volumes::{Asking, Plan};
use super::{DeleteVolumeError, Request};
use crate::ledger::{Applied, Op, OutboxRow, SessionRow, Standing, VolumesSeen};
use nearlight_placement::{Reason, Rejection};
use nearlight_protocol::control::{Inventory, Order, ToEdge};
use nearlight_protocol::id::{NodeId, SessionId, VolumeId};
use nearlight_protocol::job::JobSpec;
use nearlight_protocol::unit::MonoTime;
use nearlight_protocol::volume::{JobStorage, owner};
use nearlight_protocol::work::Work;
use std::collections::BTreeSet;
use tokio::sync::oneshot;

/// How often the ledger is asked anew which volumes there are, where other brokers make and delete some, in
/// housekeepings.
const READ_EVERY: u32 = 5;

/// Whoever deletes a volume.
pub(super) type DeleteAnswer = oneshot::Sender<Result<(), DeleteVolumeError>>;

impl Owner {
    /// What a session takes of volumes; nothing, for most.
    pub(super) fn volume_plan(&self, row: &SessionRow) -> Result<Plan, NotPlaced> {
        match &row.work {
            Work::Job(spec) if !spec.volumes.is_empty() => {
                let owner = owner(row.tenant.as_ref(), &row.user);
                let by = Asking {
                    owner: &owner,
                    session: &row.id,
                    owner_mib_max: self.volumes_mib_max,
                };
                let plan = self.volumes.plan(by, &spec.volumes);
                plan.map_err(|lack| NotPlaced::Volume {
                    rejection: Rejection::default(),
                    detail: lack.to_string(),
                })
            }
            Work::Job(_) | Work::App(_) => Ok(Plan::default()),
        }
    }

    /// Why a job does not run on the one node that has its volume.
    pub(super) fn tied(
        &self,
        (node, volume): &(NodeId, String),
        rejection: Rejection,
    ) -> NotPlaced {
        let known = self.fleet.view_name(node);
        let name = known.map_or_else(|| node.to_string(), |name| format!("{name} ({node})"));
        let how = match rejection.nearest() {
            None | Some(Reason::Offline) => "away".to_owned(),
            Some(Reason::Draining) => "draining: it takes no more sessions".to_owned(),
            Some(reason) if reason.may_come_free() => full(reason),
            Some(reason) => format!("not able to run it ({})", reason.label()),
        };
        NotPlaced::Volume {
            rejection,
            detail: format!("its volume `{volume}` is on node {name}, which is {how}"),
        }
    }

    /// What a session's job finds on its node.
    pub(super) fn storage_of(&self, row: &SessionRow) -> Option<JobStorage> {
        let spec = row.work.job()?;
        needs_storage(spec).then(|| {
            let owner = owner(row.tenant.as_ref(), &row.user);
            let volumes = self.volumes.grants(&row.id, &owner, &spec.volumes);
            JobStorage { owner, volumes }
        })
    }

    /// Gives a start that was read back what its job finds on its node.
    pub(super) fn refit(&self, order: &mut OutboxRow) {
        if let Order::Start(start) = &mut order.order
            && let Some(entry) = self.sessions.get(&order.session)
        {
            start.storage = self.storage_of(&entry.row);
        }
    }

    /// Reads all volumes, and tells nodes of which something is new.
    pub(super) async fn read_volumes(&mut self) {
        match self.ledger.volumes(None).await {
            Ok(rows) => {
                for node in self.volumes.replace(rows) {
                    self.show_volumes(&node);
                }
            }
            Err(error) => self.doubt = Some(error),
        }
    }

    /// Whether it is time to look what other brokers have made of volumes.
    pub(super) fn volumes_are_old(&self, housekeepings: u32) -> bool {
        self.sharing.is_some() && housekeepings.is_multiple_of(READ_EVERY)
    }

    /// Whether a session takes volumes along.
    pub(super) fn has_volumes(&self, session: &SessionId) -> bool {
        let entry = self.sessions.get(session);
        let spec = entry.and_then(|entry| entry.row.work.job());
        spec.is_some_and(|spec| !spec.volumes.is_empty())
    }

    /// Tells a node which volumes are to stay and which to go.
    pub(super) fn show_volumes(&self, node: &NodeId) {
        let Some(stream) = self.fleet.online(node) else {
            return;
        };
        let jobs = self
            .fleet
            .get(node)
            .and_then(|n| n.row.inventory.jobs.as_ref());
        if jobs.is_none_or(|jobs| jobs.volumes.is_none()) {
            return;
        }
        match self.volumes.known(node) {
            Some(known) => {
                stream.send(ToEdge::Volumes(known));
            }
            None => {
                tracing::error!(node_id = %node, "the node has more volumes than it can be told of; deleted ones stay on it until there are fewer");
            }
        }
    }

    /// Notes what a node says of its volumes.
    pub(super) fn note_volumes(
        &self,
        node: &NodeId,
        inventory: &Inventory,
        now: MonoTime,
        turn: &mut Turn,
    ) {
        let seen = self.volumes.seen(node, inventory);
        if seen.is_empty() {
            return;
        }
        if !seen.lost.is_empty() {
            tracing::error!(node_id = %node, volumes = ?seen.lost, "the node has volumes no more that it had");
        }
        let note = Op::NoteVolumes {
            node: node.clone(),
            seen: seen.clone(),
            at: now,
        };
        turn.push(note, Then::VolumesNoted(seen));
    }

    /// The ledger has what a node says. What that has made is to stay: it hears so before it wonders.
    pub(super) fn volumes_noted(&mut self, seen: &VolumesSeen) {
        self.volumes.note(seen);
        let nodes = seen.there.iter().filter_map(|id| self.volumes.node_of(id));
        let nodes: BTreeSet<NodeId> = nodes.cloned().collect();
        for node in nodes {
            self.show_volumes(&node);
        }
    }

    /// Takes the wish to delete a volume.
    pub(super) fn take_delete(
        &self,
        volume: VolumeId,
        reply: DeleteAnswer,
        now: MonoTime,
        turn: &mut Turn,
    ) {
        let delete = Op::DeleteVolume {
            volume: volume.clone(),
            at: now,
        };
        let node = self.volumes.node_of(&volume).cloned();
        let wiped = vec![volume.clone()];
        turn.push(delete, Then::VolumeDeleted { volume, reply });
        let Some(node) = node.filter(|node| self.standings.of(node).standing == Standing::Revoked)
        else {
            return;
        };
        // That node is never told anything again.
        let seen = VolumesSeen {
            wiped,
            ..VolumesSeen::default()
        };
        let note = Op::NoteVolumes {
            node,
            seen: seen.clone(),
            at: now,
        };
        turn.push(note, Then::VolumesNoted(seen));
    }

    /// A volume is deleted, or a session has it.
    pub(super) async fn volume_deleted(
        &mut self,
        applied: &Applied,
        volume: &VolumeId,
        reply: DeleteAnswer,
    ) {
        let done = *applied == Applied::Done;
        if done && self.volumes.delete(volume).is_none() {
            // Another broker made it.
            self.read_volumes().await;
        } else if done {
            let node = self.volumes.node_of(volume).cloned();
            if let Some(node) = node {
                self.show_volumes(&node);
            }
        }
        let _ = reply.send(done.then_some(()).ok_or(DeleteVolumeError::InUse));
    }
}

/// Words for what is all taken.
fn full(reason: Reason) -> String {
    format!("full ({})", reason.label().replace('-', " "))
}

fn needs_storage(spec: &JobSpec) -> bool {
    !spec.volumes.is_empty() || !spec.assets.is_empty()
}

impl super::Sessions {
    /// Deletes a volume, durably. Its node wipes it as soon as it is there.
    pub(crate) async fn delete_volume(&self, volume: VolumeId) -> Result<(), DeleteVolumeError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Request::DeleteVolume(volume, reply), answer)
            .await
            .unwrap_or(Err(DeleteVolumeError::Unknown))
    }
}
