//! What attached nodes have read of their GPUs, as each said last: for its operator to look at, in memory alone.
//!
//! **Invariants.** As much is kept as [`within_bounds`], of a node as long as its stream is there. Nothing is placed
//! by it: what a job may have is the inventory's and the ledger's.

use crate::time::unix_ms;
use nearlight_protocol::api::Node;
use nearlight_protocol::gpu::{GpuReading, GpuSeen, within_bounds};
use nearlight_protocol::id::NodeId;
use nearlight_protocol::unit::{MonoTime, UnixMillis};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// By node.
#[derive(Debug, Default)]
pub(super) struct GpusRead(Mutex<HashMap<NodeId, Told>>);

#[derive(Debug)]
struct Told {
    at: UnixMillis,
    /// By UUID.
    gpus: HashMap<String, GpuReading>,
}

impl GpusRead {
    /// A node says what it has read; of most heartbeats, nothing.
    pub(super) fn note(&self, node: &NodeId, seen: Vec<GpuSeen>, now: MonoTime) {
        if seen.is_empty() {
            return;
        }
        let kept = within_bounds(seen).into_iter();
        let told = Told {
            at: unix_ms(now),
            gpus: kept.map(|gpu| (gpu.uuid, gpu.reading)).collect(),
        };
        self.lock().insert(node.clone(), told);
    }

    /// The node's stream is another, or gone.
    pub(super) fn forget(&self, node: &NodeId) {
        self.lock().remove(node);
    }

    /// Adds to a node's GPUs what was read of each.
    pub(super) fn tell(&self, node: &mut Node) {
        let all = self.lock();
        let Some(told) = all.get(&node.id) else {
            return;
        };
        for gpu in &mut node.gpus {
            if let Some(reading) = told.gpus.get(&gpu.uuid) {
                gpu.reading = Some(reading.clone());
                gpu.read_at = Some(told.at);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NodeId, Told>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
