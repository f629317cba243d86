//! Nodes that have become better: all that is news to a session that was tried in vain.
//!
//! A session that no node can run now is answered alike until a node improves or a wider latency step
//! begins; only that a near node, worth waiting for, goes away is noticed no sooner than by the next step.
//! So whoever keeps a queue needs no second search of the fleet for everybody who waits: it offers each
//! node that has improved to them, next first.

use crate::check::check;
use crate::node::{NodeState, NodeView};
use crate::policy::Policy;
use crate::reason::Reason;
use crate::request::SessionRequest;
use crate::score::Why;

impl NodeState {
    /// Whether some session may pass now that was ruled out by `before`.
    pub fn has_improved_on(&self, before: &Self) -> bool {
        let wider = match (before.uplink_kbps_free, self.uplink_kbps_free) {
            (Some(before), Some(now)) => now > before,
            (Some(_), None) => true,
            (None, _) => false,
        };
        let proven = before.rank == Some(0) && self.rank != Some(0);
        (self.attached && !before.attached)
            || (!self.draining && before.draining)
            || (!self.outbox_full && before.outbox_full)
            || (!self.failing && before.failing)
            || self.slots_free > before.slots_free
            || self.cpu_milli_free > before.cpu_milli_free
            || self.mem_mib_free > before.mem_mib_free
            || self.disk_mib_free > before.disk_mib_free
            || self.gpus_free() & !before.gpus_free() != 0
            || wider
            || proven
            || self.sessions < before.sessions
    }
}

/// What a node that has improved is to a session that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// It can run it now, and suits it so well.
    Suits(Why),
    /// It could run it, but is too far away for the latency step in force. Whether it is worth waiting
    /// for somebody nearer takes a look at the whole fleet: [`decide`](crate::decide()) says so.
    TooFar,
    /// It cannot.
    No,
}

/// What `node` is to `request`: what [`check`](crate::check()) says, but quick where the node is plainly
/// no match.
pub fn opening(node: &NodeView, request: &SessionRequest, policy: &Policy) -> Opening {
    let state = &node.state;
    let is_open = state.attached && !state.draining && !state.failing && state.slots_free > 0;
    let is_able = node.gpu >= request.gpu
        && node.vram_mib >= request.vram_mib
        && node.trust >= request.trust
        && state.cpu_milli_free >= request.cpu_milli
        && state.mem_mib_free >= request.mem_mib;
    if !is_open || !is_able {
        return Opening::No;
    }
    match check(node, request, policy) {
        Ok(why) => Opening::Suits(why),
        Err(Reason::TooFar) => Opening::TooFar,
        Err(_) => Opening::No,
    }
}
