//! Second stage: the candidates, best first.

use crate::fleet::{NodeView, SessionRequest};
use nearlight_protocol::app::GpuClass;

/// Why a node was ranked where it was: the sort key itself, best first. For the log and `explain`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Why {
    /// The image has to be fetched first. The longest wait by far, so it counts most.
    pub pulls_image: bool,
    /// The node has a better GPU than the session needs, which another one may need.
    pub wastes_gpu: bool,
    /// Load after the session is placed, thousandths: the largest of slots, CPU and uplink. The
    /// emptiest node comes first, for sessions on one node share caches, memory bandwidth and line.
    pub load_milli: u32,
}

/// How well `node` suits `request`. Smaller is better.
pub(crate) fn why(node: &NodeView, request: &SessionRequest) -> Why {
    let free = u32::try_from(node.slots_free.len()).unwrap_or(u32::MAX);
    let taken = node.slots_total.saturating_sub(free).saturating_add(1);
    let cpu_free = node
        .cpu_milli_free
        .saturating_sub(node.cpu_milli_for(request));
    let cpu_taken = node.cpu_milli_total.saturating_sub(cpu_free);
    let uplink_load = match (node.uplink_kbps_total, node.uplink_kbps_free) {
        (Some(total), Some(free)) => {
            let left = free.saturating_sub(request.kbps);
            per_mille(total.saturating_sub(left), total)
        }
        (Some(_) | None, _) => 0,
    };
    Why {
        pulls_image: !node.images.contains(&request.image),
        wastes_gpu: node.gpu > request.gpu && request.gpu == GpuClass::None,
        load_milli: per_mille(taken, node.slots_total)
            .max(per_mille(cpu_taken, node.cpu_milli_total))
            .max(uplink_load),
    }
}

fn per_mille(part: u32, whole: u32) -> u32 {
    let milli = u64::from(part) * 1000 / u64::from(whole.max(1));
    u32::try_from(milli).unwrap_or(u32::MAX)
}
