//! Volumes as the owner of sessions knows them: where each is, who has it, and what a job may take.
//!
//! A mirror of the ledger's rows. It runs ahead of them by this broker's own claims and may lag behind other
//! brokers'; the ledger decides, and whoever loses a race reads it again.
//!
//! **Invariants.** A job runs where its volumes are, all of them on one node; a volume is one job's at a
//! time. No two owners share a name.
//!
//! **What it does not know:** nodes and their room, files.

use crate::ledger::{TakeVolume, VolumeRow, VolumesSeen};
use nearlight_protocol::control::Inventory;
use nearlight_protocol::id::{NodeId, SessionId, VolumeId};
use nearlight_protocol::job::Volume;
use nearlight_protocol::limits::VOLUMES_PER_NODE_MAX;
use nearlight_protocol::volume::{VolumeGrant, VolumesKnown};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Every volume.
#[derive(Debug, Default)]
pub(crate) struct Volumes {
    rows: BTreeMap<VolumeId, VolumeRow>,
    by_name: HashMap<(String, String), VolumeId>,
    /// Sizes together by owner, MiB.
    owned_mib: HashMap<String, u64>,
}

/// Who asks for volumes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asking<'a> {
    /// Whose they are.
    pub(crate) owner: &'a str,
    /// For which session.
    pub(crate) session: &'a SessionId,
    /// What the owner's may have together, MiB.
    pub(crate) owner_mib_max: u64,
}

/// What a job takes of volumes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Where it has to run, and the name of a volume that is there.
    pub(crate) on: Option<(NodeId, String)>,
    /// What its node has to set aside for them beside what is taken, MiB.
    pub(crate) growth_mib: u32,
    /// What the claim takes along.
    pub(crate) takes: Vec<TakeVolume>,
}

/// Why a job cannot have its volumes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Lack {
    /// Another one has it.
    #[error("its volume `{name}` is in use by {by}; one job has it at a time")]
    InUse {
        /// Which.
        name: String,
        /// By whom.
        by: SessionId,
    },
    /// Its node has it no more.
    #[error(
        "its volume `{name}` is lost: its node does not have it any more. Delete it to begin with an empty one"
    )]
    Lost {
        /// Which.
        name: String,
    },
    /// They are on two nodes.
    #[error("its volumes `{one}` and `{two}` are on different nodes, and a job runs on one")]
    Apart {
        /// One.
        one: String,
        /// And the other.
        two: String,
    },
    /// They would be too much.
    #[error(
        "its volumes would have {would_mib} MiB together with the others of their owner, who may have {max_mib}. Delete some"
    )]
    TooMuch {
        /// All of them, MiB.
        would_mib: u64,
        /// What is allowed, MiB.
        max_mib: u64,
    },
}

impl Lack {
    /// Whether it may pass without anybody deleting something.
    pub(crate) const fn passes(&self) -> bool {
        matches!(self, Self::InUse { .. })
    }
}

impl Volumes {
    /// As the ledger has them.
    pub(crate) fn of(rows: Vec<VolumeRow>) -> Self {
        let mut volumes = Self::default();
        for row in rows {
            volumes.put(row);
        }
        volumes
    }

    /// Takes them as the ledger has them; nodes that are to be told.
    pub(super) fn replace(&mut self, rows: Vec<VolumeRow>) -> BTreeSet<NodeId> {
        let former = std::mem::replace(self, Self::of(rows));
        let nodes = former.rows.values().chain(self.rows.values());
        let nodes: BTreeSet<NodeId> = nodes.map(|row| row.node.clone()).collect();
        let is_new = |node: &NodeId| former.known(node) != self.known(node);
        nodes.into_iter().filter(|node| is_new(node)).collect()
    }

    fn put(&mut self, row: VolumeRow) {
        let owned = self.owned_mib.entry(row.owner.clone()).or_default();
        *owned += u64::from(row.size_mib);
        if !row.deleted {
            let name = (row.owner.clone(), row.name.clone());
            self.by_name.insert(name, row.id.clone());
        }
        self.rows.insert(row.id.clone(), row);
    }

    fn named(&self, owner: &str, name: &str) -> Option<&VolumeRow> {
        let id = self.by_name.get(&(owner.to_owned(), name.to_owned()))?;
        self.rows.get(id)
    }

    /// What a job takes that wants `volumes`.
    pub(crate) fn plan(&self, by: Asking<'_>, volumes: &[Volume]) -> Result<Plan, Lack> {
        let mut plan = Plan::default();
        for wanted in volumes {
            let name = &wanted.name;
            let known = self.named(by.owner, name);
            if let Some(row) = known {
                check(row, by.session)?;
                match &plan.on {
                    Some((node, other)) if *node != row.node => {
                        let (one, two) = (other.clone(), name.clone());
                        return Err(Lack::Apart { one, two });
                    }
                    Some(_) => {}
                    None => plan.on = Some((row.node.clone(), name.clone())),
                }
            }
            let had = known.map_or(0, |row| row.size_mib);
            plan.growth_mib = (plan.growth_mib).saturating_add(wanted.size_mib.saturating_sub(had));
            plan.takes.push(TakeVolume {
                id: known.map_or_else(nearlight_kit::ids::volume, |row| row.id.clone()),
                owner: by.owner.to_owned(),
                name: name.clone(),
                size_mib: wanted.size_mib.max(had),
                is_new: known.is_none(),
                owner_mib_max: by.owner_mib_max,
            });
        }
        let owned = self.owned_mib.get(by.owner).copied().unwrap_or(0);
        let would_mib = owned + u64::from(plan.growth_mib);
        let max_mib = by.owner_mib_max;
        if plan.growth_mib > 0 && would_mib > max_mib {
            return Err(Lack::TooMuch { would_mib, max_mib });
        }
        Ok(plan)
    }

    /// A claim takes them, ahead of its transaction.
    pub(super) fn take(
        &mut self,
        session: &SessionId,
        node: &NodeId,
        takes: &[TakeVolume],
        at: u64,
    ) {
        for take in takes {
            if let Some(row) = self.rows.get_mut(&take.id) {
                let growth = take.size_mib.saturating_sub(row.size_mib);
                *self.owned_mib.entry(row.owner.clone()).or_default() += u64::from(growth);
                row.size_mib += growth;
                row.used_by = Some(session.clone());
                row.used_ms = at;
                continue;
            }
            self.put(VolumeRow {
                id: take.id.clone(),
                owner: take.owner.clone(),
                name: take.name.clone(),
                node: node.clone(),
                size_mib: take.size_mib,
                used_by: Some(session.clone()),
                created_ms: at,
                used_ms: at,
                made: false,
                lost: false,
                deleted: false,
            });
        }
    }

    /// A claim is over.
    pub(super) fn release(&mut self, session: &SessionId) {
        for row in self.rows.values_mut() {
            if row.used_by.as_ref() == Some(session) {
                row.used_by = None;
            }
        }
    }

    /// The owner has deleted one. Its node.
    pub(super) fn delete(&mut self, id: &VolumeId) -> Option<NodeId> {
        let row = self.rows.get_mut(id)?;
        row.deleted = true;
        self.by_name.remove(&(row.owner.clone(), row.name.clone()));
        Some(row.node.clone())
    }

    /// Where one is.
    pub(super) fn node_of(&self, id: &VolumeId) -> Option<&NodeId> {
        self.rows.get(id).map(|row| &row.node)
    }

    /// What a node says of its volumes that the rows do not.
    pub(super) fn seen(&self, node: &NodeId, inventory: &Inventory) -> VolumesSeen {
        let held = inventory
            .jobs
            .as_ref()
            .and_then(|jobs| jobs.volumes.as_ref());
        let mut seen = VolumesSeen::default();
        let Some(held) = held else { return seen };
        let held: BTreeSet<&VolumeId> = held.iter().map(|held| &held.volume).collect();
        for row in self.rows.values().filter(|row| row.node == *node) {
            match (held.contains(&row.id), row.deleted) {
                (true, false) if !row.made || row.lost => seen.there.push(row.id.clone()),
                (false, false) if row.made && !row.lost => seen.lost.push(row.id.clone()),
                (false, true) => seen.wiped.push(row.id.clone()),
                _ => {}
            }
        }
        seen
    }

    /// The ledger has noted what a node says.
    pub(super) fn note(&mut self, seen: &VolumesSeen) {
        for id in &seen.there {
            if let Some(row) = self.rows.get_mut(id) {
                (row.made, row.lost) = (true, false);
            }
        }
        for id in &seen.lost {
            if let Some(row) = self.rows.get_mut(id) {
                row.lost = true;
            }
        }
        for id in &seen.wiped {
            let is_over = self.rows.get(id).is_some_and(|row| row.deleted);
            if is_over
                && let Some(row) = self.rows.remove(id)
                && let Some(owned) = self.owned_mib.get_mut(&row.owner)
            {
                *owned = owned.saturating_sub(row.size_mib.into());
            }
        }
    }

    /// A node is shut out. What is deleted of it nobody can wipe, and it counts for nobody any more; what else it has
    /// is lost.
    pub(super) fn shut_out(&mut self, node: &NodeId) {
        let of_node = |row: &&VolumeRow| row.node == *node && row.deleted;
        let wiped = self.rows.values().filter(of_node);
        let wiped = wiped.map(|row| row.id.clone()).collect();
        for row in self.rows.values_mut().filter(|row| row.node == *node) {
            row.lost = true;
        }
        self.note(&VolumesSeen {
            wiped,
            ..VolumesSeen::default()
        });
    }

    /// What a node is told. `None` of one that has more than a message holds.
    pub(super) fn known(&self, node: &NodeId) -> Option<VolumesKnown> {
        let (wipe, keep): (Vec<_>, Vec<_>) = self
            .rows
            .values()
            .filter(|row| row.node == *node)
            .partition(|row| row.deleted);
        let ids = |rows: Vec<&VolumeRow>| rows.into_iter().map(|row| row.id.clone()).collect();
        let fits = keep.len() + wipe.len() <= 2 * VOLUMES_PER_NODE_MAX;
        fits.then(|| VolumesKnown {
            keep: ids(keep),
            wipe: ids(wipe),
        })
    }

    /// What a session's job may mount, of those that it has taken.
    pub(super) fn grants(
        &self,
        session: &SessionId,
        owner: &str,
        spec: &[Volume],
    ) -> Vec<VolumeGrant> {
        let taken = spec
            .iter()
            .filter_map(|volume| self.named(owner, &volume.name));
        taken
            .filter(|row| row.used_by.as_ref() == Some(session))
            .map(|row| VolumeGrant {
                name: row.name.clone(),
                volume: row.id.clone(),
                size_mib: row.size_mib,
                is_new: !row.made,
            })
            .collect()
    }
}

fn check(row: &VolumeRow, session: &SessionId) -> Result<(), Lack> {
    let name = row.name.clone();
    match &row.used_by {
        Some(by) if by != session => Err(Lack::InUse {
            name,
            by: by.clone(),
        }),
        _ if row.lost => Err(Lack::Lost { name }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod test;
