//! What every session of this node shares.

use crate::cgroup::Cgroups;
use crate::config::Config;
use crate::images::Images;
use crate::job::host::Jobs;
use crate::process::User;
use crate::prover::Prover;
use crate::runtime::Runtime;
use crate::runtime::plan::{AppGpu, RenderNode};
use crate::tunnel::Tunnels;
use crate::warm::Warm;
use nearlight_transport::Handle;
use std::path::PathBuf;
use std::sync::Arc;

/// The first of the workers' users: slot 0's worker runs as this one, slot 1's as the next. Debian
/// leaves 60000 to 64999 to be given out by hand; 64000 on is used by no package.
const WORKER_UID_FIRST: u32 = 64_000;
/// The user that probes encoders.
const PROBE_UID: u32 = WORKER_UID_FIRST - 1;

/// What every session of this node shares.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) config: Config,
    pub(crate) runtime: Arc<dyn Runtime>,
    /// Which images sessions use.
    pub(crate) images: Arc<Images>,
    pub(crate) transport: Handle,
    pub(crate) cgroups: Option<Cgroups>,
    /// Requests to containers of jobs, and where they go.
    pub(crate) tunnels: Tunnels,
    /// Who proves what this node can do.
    pub(crate) prover: Arc<Prover>,
    /// Desktops that are kept ready.
    pub(crate) warm: Arc<Warm>,
    /// What jobs share, if this node takes any.
    pub(crate) jobs: Option<Jobs>,
    /// The GPUs; slot n has the one at n modulo their number.
    pub(crate) gpus: Vec<AppGpu>,
    /// Whether we are root and can give workers users of their own.
    pub(crate) root: bool,
}

impl Host {
    /// The user of the worker of a slot, or of a desktop that is kept ready, in the group of its own GPU's render node and no other; our own
    /// where we are not root.
    pub(crate) fn worker_user(&self, slot_index: usize) -> Option<User> {
        let offset =
            u32::try_from(slot_index).expect("a node has at most 256 slots, and as many places");
        let id = WORKER_UID_FIRST + offset;
        let groups = groups_of(self.render_node_of(slot_index));
        self.root.then(|| unprivileged(id, groups))
    }

    /// The render node of a slot's GPU.
    pub(crate) fn render_node_of(&self, slot_index: usize) -> Option<RenderNode> {
        let gpus = self.gpus_of(slot_index);
        gpus.into_iter().find_map(|gpu| gpu.render_node)
    }

    /// The GPUs that a slot's app gets.
    pub(crate) fn gpus_of(&self, slot_index: usize) -> Vec<AppGpu> {
        if self.gpus.is_empty() {
            return Vec::new();
        }
        vec![self.gpus[slot_index % self.gpus.len()].clone()]
    }

    /// GStreamer's list of plugins: scanned once by the probe, read by every worker.
    pub(crate) fn gst_registry(&self) -> PathBuf {
        crate::encoders::registry(&self.config.run)
    }
}

/// The user that probes encoders; our own where we are not root.
pub(crate) fn probe_user(root: bool) -> Option<User> {
    root.then(|| unprivileged(PROBE_UID, render_groups()))
}

fn unprivileged(id: u32, groups: Vec<u32>) -> User {
    User {
        uid: id,
        gid: id,
        groups,
    }
}

/// The group of a render node. A file of root's group gives none: its worker draws by CPU.
fn groups_of(node: Option<RenderNode>) -> Vec<u32> {
    let gid = node.map(|node| node.gid);
    gid.filter(|gid| *gid != 0).into_iter().collect()
}

/// The groups that may use the host's render nodes: a probe tries encoders of every GPU.
fn render_groups() -> Vec<u32> {
    use std::os::unix::fs::MetadataExt;
    let Ok(nodes) = std::fs::read_dir("/dev/dri") else {
        return Vec::new();
    };
    let mut groups: Vec<_> = nodes
        .flatten()
        .filter(|node| node.file_name().to_string_lossy().starts_with("renderD"))
        .filter_map(|node| Some(node.metadata().ok()?.gid()))
        .filter(|gid| *gid != 0)
        .collect();
    groups.sort_unstable();
    groups.dedup();
    groups
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_worker_is_in_its_own_gpus_group_and_never_in_roots() {
        let node = |gid| {
            Some(RenderNode {
                path: "/dev/dri/renderD128".into(),
                gid,
            })
        };
        for (node, groups) in [(None, &[][..]), (node(0), &[]), (node(105), &[105])] {
            let user = unprivileged(WORKER_UID_FIRST, groups_of(node));
            assert_eq!((user.uid, user.gid), (WORKER_UID_FIRST, WORKER_UID_FIRST));
            assert_eq!(user.groups, groups);
        }
    }
}
