//! Why nobody can: every node of the fleet, by the first reason that rules it out.

use crate::index::cell::Block;
use crate::index::{FleetIndex, Near};
use crate::policy::{Policy, Step};
use crate::reason::Reason;
use crate::request::SessionRequest;
use crate::sieve::{Rules, named_lanes};
use std::collections::BTreeMap;

/// Why no node can run a session now, counted over the whole fleet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rejection {
    /// Nodes by the first reason that rules them out.
    pub reasons: BTreeMap<Reason, u32>,
    /// The latency step in force; `None` where the policy has none.
    pub step: Option<Step>,
}

impl Rejection {
    /// Whether some node could run it at another time.
    pub fn passes(&self) -> bool {
        self.reasons.keys().any(|reason| reason.passes())
    }

    /// What the node lacks that comes closest to taking the session: the one that passed the most
    /// checks. `None` without any node.
    pub fn nearest(&self) -> Option<Reason> {
        self.reasons.keys().next_back().copied()
    }

    /// After how much waiting, milliseconds, the answer may be another one though no node has
    /// changed: a wider step begins, and some node waits for it.
    pub fn holds_until_ms(&self) -> Option<u64> {
        let far = self.reasons.contains_key(&Reason::TooFar);
        self.step.filter(|_| far)?.until_ms
    }
}

/// A count, and whether waiting is for somebody.
#[derive(Debug)]
pub(crate) struct Counted {
    pub(crate) rejection: Rejection,
    /// Whether a node within the step in force lacks only what others hold.
    pub(crate) is_worth_waiting: bool,
}

/// Counts every node of `cells`, which are all there are.
pub(crate) fn count(index: &FleetIndex, rules: &Rules<'_>, cells: &[Near]) -> Counted {
    let mut counts = [0_u32; Reason::ALL.len()];
    let mut is_worth_waiting = false;
    for near in cells {
        let cell = &index.cells[near.cell as usize];
        if let Some(reason) = rules.cell_is_out(&cell.name, near.counts_as_ms) {
            counts[reason as usize] += cell.nodes;
            continue;
        }
        let of_class = cell.nodes_of(rules.request.gpu);
        let is_too_little = cell.vram_mib < rules.request.vram_mib && !cell.has_short();
        if of_class == 0 || is_too_little {
            counts[Reason::GpuClass as usize] += cell.nodes - of_class;
            counts[Reason::Vram as usize] += of_class;
            continue;
        }
        let is_near = rules.within_step(near.counts_as_ms).is_some();
        let names = cell.names(rules.wanted_to_sift());
        for block in cell.blocks() {
            let able = rules.sift(&block.with(names), block.head.used, |reason, lanes| {
                counts[reason as usize] += lanes.count_ones();
                is_worth_waiting |= is_near && reason.may_come_free();
            });
            counts[Reason::TooFar as usize] += able.count_ones();
        }
    }
    let counted = Reason::ALL.into_iter().zip(counts);
    Counted {
        rejection: Rejection {
            reasons: counted.filter(|(_, nodes)| *nodes > 0).collect(),
            step: rules.step,
        },
        is_worth_waiting,
    }
}

impl FleetIndex {
    /// Whether an attached node could run `request`, now or at another time.
    pub fn could_run(&self, request: &SessionRequest, policy: &Policy) -> bool {
        self.any(request, policy, |_, able| able != 0)
    }

    /// Whether an attached node that is well and takes sessions could run `request`, now or at another time, beside
    /// those that refused it.
    pub fn has_another(&self, request: &SessionRequest, policy: &Policy) -> bool {
        self.any(request, policy, |block, able| {
            let able = able & !block.head.draining & !block.head.failing;
            able & !named_lanes(block, able, &request.refused) != 0
        })
    }

    /// Whether some block is so, by its attached lanes that could run `request` at some time.
    fn any(
        &self,
        request: &SessionRequest,
        policy: &Policy,
        mut is_so: impl FnMut(&Block<'_>, u64) -> bool,
    ) -> bool {
        let rules = Rules::new(self, request, policy);
        self.nearest_first(&request.rtts, policy.rtt_ms_unknown)
            .filter(|near| {
                let name = &self.cells[near.cell as usize].name;
                rules.cell_is_out(name, near.counts_as_ms).is_none()
            })
            .flat_map(|near| {
                let cell = &self.cells[near.cell as usize];
                let names = cell.names(rules.wanted_to_sift());
                cell.blocks().map(move |block| block.with(names))
            })
            .any(|block| {
                let able = rules.sift_lasting(&block, block.head.attached, |_, _| {});
                is_so(&block, able)
            })
    }
}
