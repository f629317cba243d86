//! Room that is held for whoever has waited long.
//!
//! Where everything is taken, what comes free goes to whom it suits first, and that is the small: a cluster of eight
//! never meets eight free slots at one moment. So who has waited long is given a site ahead of time. [`hold()`] picks the one that
//! has room for all of it soonest, by when what runs there ends at the latest. Until then others get there only what
//! does not put that off ([`Hold::lets`]): who is gone by then, and who fits beside it then.
//!
//! **Invariants.** What could not run there if everything that is known to run had ended is held nowhere. Room that is held stays where it is
//! as long as it will do, so that what comes free adds up. Whoever is let in leaves [`Hold::room_in_ms`] as it is.
//!
//! **What it does not know:** who waits, for how long, and in which order; time.

use crate::check::check;
use crate::node::NodeView;
use crate::policy::Policy;
use crate::reason::Reason;
use crate::request::SessionRequest;
use crate::together::{fill, site_of, take};
use nearlight_protocol::id::NodeId;
use std::collections::{BTreeMap, BTreeSet};

/// Something that has a claim.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Running {
    /// In how many milliseconds it is over at the latest.
    pub ends_in_ms: u64,
    /// Thousandths of a core.
    pub cpu_milli: u32,
    /// MiB.
    pub mem_mib: u32,
    /// Uplink, kbit/s.
    pub kbps: u32,
    /// MiB.
    pub disk_mib: u32,
    /// Its GPUs, a bit each in the order of the node's.
    pub gpus: u64,
}

/// A node, and what runs there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Busy {
    /// The node as it is now.
    pub node: NodeView,
    /// What has claims there.
    pub running: Vec<Running>,
}

/// Who needs room.
#[derive(Clone, Copy, Debug)]
pub struct Need<'a> {
    /// What each replica needs.
    pub request: &'a SessionRequest,
    /// Of how many of them, all at one site.
    pub replicas: u32,
    /// By what they are placed.
    pub policy: &'a Policy,
}

/// Room that is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    room_in_ms: u64,
    /// The nodes, as they are once it has its room.
    left: BTreeMap<NodeId, NodeView>,
}

/// Holds room at the site that has it soonest; where there was room held `before`, there, if that still
/// will do. `None` where no site ever has.
pub fn hold(nodes: &[Busy], need: Need<'_>, before: Option<&Hold>) -> Option<Hold> {
    if let Some(before) = before {
        let same = nodes
            .iter()
            .filter(|busy| before.left.contains_key(&busy.node.id));
        let still = room(same.cloned().collect(), need);
        if still.is_some() {
            return still;
        }
    }
    let mut sites: BTreeMap<&str, Vec<Busy>> = BTreeMap::new();
    for busy in nodes {
        sites
            .entry(site_of(&busy.node))
            .or_default()
            .push(busy.clone());
    }
    let rooms = sites.into_values().filter_map(|site| room(site, need));
    rooms.min_by_key(|hold| hold.room_in_ms)
}

/// When a site has room for all of them at the latest, and on which of its nodes.
fn room(mut site: Vec<Busy>, need: Need<'_>) -> Option<Hold> {
    site.sort_unstable_by(|a, b| a.node.id.cmp(&b.node.id));
    let mut ends: Vec<(u64, usize, Running)> = Vec::new();
    for (at, busy) in site.iter_mut().enumerate() {
        let running = busy.running.drain(..);
        ends.extend(running.map(|one| (one.ends_in_ms, at, one)));
    }
    ends.sort_by_key(|(ends_in_ms, at, _)| (*ends_in_ms, *at));
    let mut nodes: Vec<NodeView> = site.into_iter().map(|busy| busy.node).collect();
    let mut room_in_ms = 0;
    let mut ends = ends.into_iter().peekable();
    loop {
        let mut left = nodes.clone();
        let placed = fill(&mut left, need.request, need.policy, need.replicas);
        if u32::try_from(placed.len()) == Ok(need.replicas) {
            let on: BTreeSet<NodeId> = placed.into_iter().map(|(node, _)| node).collect();
            left.retain(|node| on.contains(&node.id));
            let left = left.into_iter().map(|node| (node.id.clone(), node));
            return Some(Hold {
                room_in_ms,
                left: left.collect(),
            });
        }
        room_in_ms = ends.peek()?.0;
        while let Some((_, at, over)) = ends.next_if(|(ends, ..)| *ends == room_in_ms) {
            give_back(&mut nodes[at], &over);
        }
    }
}

/// A node once this is over there.
fn give_back(node: &mut NodeView, over: &Running) {
    let state = &mut node.state;
    state.sessions = state.sessions.saturating_sub(1);
    state.slots_free = (state.slots_free + 1).min(node.slots_total);
    state.cpu_milli_free = state.cpu_milli_free.saturating_add(over.cpu_milli);
    state.mem_mib_free = state.mem_mib_free.saturating_add(over.mem_mib);
    state.disk_mib_free = state.disk_mib_free.saturating_add(over.disk_mib);
    let uplink = state.uplink_kbps_free;
    state.uplink_kbps_free = uplink.map(|kbps| kbps.saturating_add(over.kbps));
    state.gpus_held &= !over.gpus;
    state.gpus_taken = state.gpus_held != 0;
}

impl Hold {
    /// In how many milliseconds there is room at the latest.
    pub const fn room_in_ms(&self) -> u64 {
        self.room_in_ms
    }

    /// The nodes on which room is held.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeId> {
        self.left.keys()
    }

    /// Whether another one may have a claim on a node that is over in `ends_in_ms` at the latest.
    pub fn lets(
        &self,
        node: &NodeId,
        (other, ends_in_ms): (&SessionRequest, u64),
        policy: &Policy,
    ) -> bool {
        let Some(left) = self.left.get(node) else {
            return true;
        };
        let fits = || match check(left, other, policy) {
            Ok(_) | Err(Reason::TooFar) => true,
            Err(_) => false,
        };
        ends_in_ms <= self.room_in_ms || fits()
    }

    /// Another one was let in.
    pub fn let_in(&mut self, node: &NodeId, (other, ends_in_ms): (&SessionRequest, u64)) {
        if let Some(left) = self.left.get_mut(node)
            && ends_in_ms > self.room_in_ms
        {
            take(left, other);
        }
    }
}

#[cfg(test)]
#[path = "hold/test.rs"]
mod test;
