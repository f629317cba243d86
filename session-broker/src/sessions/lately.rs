//! The last placements, and what a node lacked for them: so that whoever runs it learns why it has so little
//! to do.
//!
//! **What it does not know:** how the node was then. It is looked at as it is now.

use nearlight_placement::{NodeView, Policy, Reason, SessionRequest, Why, check};
use nearlight_protocol::id::NodeId;
use nearlight_protocol::standing::{Behind, Lately};
use std::collections::{BTreeMap, VecDeque};

/// Placements that are remembered.
const KEPT: usize = 64;

/// One that was made.
#[derive(Clone, Debug)]
struct Made {
    request: SessionRequest,
    node: NodeId,
    why: Why,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Placements(VecDeque<Made>);

impl Placements {
    pub(super) fn add(&mut self, request: SessionRequest, node: NodeId, why: Why) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(Made { request, node, why });
    }

    /// What this node lacked.
    pub(super) fn of(
        &self,
        node: &NodeView,
        policy: &Policy,
        excluded: impl Fn(Reason, u32) -> nearlight_protocol::placement::Excluded,
    ) -> Lately {
        let (mut here, mut reasons) = (0, BTreeMap::<Reason, u32>::new());
        let mut parts = BTreeMap::<&'static str, u32>::new();
        for made in &self.0 {
            if made.node == node.id {
                here += 1;
                continue;
            }
            match check(node, &made.request, policy) {
                Ok(why) => *parts.entry(farthest_behind(&why, &made.why)).or_default() += 1,
                Err(reason) => *reasons.entry(reason).or_default() += 1,
            }
        }
        let reasons = reasons.into_iter();
        Lately {
            placements: u32::try_from(self.0.len()).unwrap_or(u32::MAX),
            here,
            excluded: reasons
                .map(|(reason, nodes)| excluded(reason, nodes))
                .collect(),
            behind: parts
                .into_iter()
                .map(|(part, placements)| Behind {
                    part: part.to_owned(),
                    placements,
                })
                .collect(),
        }
    }
}

/// The part of the score in which `own` has most points more.
fn farthest_behind(own: &Why, taken: &Why) -> &'static str {
    let parts = [
        ("rtt", own.rtt, taken.rtt),
        ("image", own.image, taken.image),
        ("desktop", own.desktop, taken.desktop),
        ("gpu", own.gpu, taken.gpu),
        ("load", own.load, taken.load),
        ("uplink", own.uplink, taken.uplink),
        ("receipts", own.receipts, taken.receipts),
        ("price", own.price, taken.price),
        ("spread", own.spread, taken.spread),
    ];
    let behind = parts.map(|(name, own, taken)| (own.saturating_sub(taken), name));
    let most = behind.iter().rev().max_by_key(|(points, _)| *points);
    match most {
        Some((1.., name)) => name,
        _ => "chance",
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use nearlight_placement::{NodeState, Trust};
    use nearlight_protocol::app::GpuClass;
    use nearlight_protocol::placement::{Excluded, ExcludedBy};

    fn node(slots_free: u32, rank: u32) -> NodeView {
        NodeView {
            id: nearlight_kit::ids::node(),
            region: "here".to_owned(),
            operator: String::new(),
            trust: Trust::Open,
            runtime: String::new(),
            gpu: GpuClass::None,
            vram_mib: 0,
            vram_mib_proved: None,
            encodes: true,
            slots_total: 2,
            cpu_milli_total: 4_000,
            encode_cpu_milli: 0,
            mem_mib_total: 4_096,
            uplink_kbps_total: None,
            price_permille: 1000,
            images: ["app".to_owned()].into(),
            jobs: None,
            desktops: std::collections::BTreeSet::new(),
            state: NodeState {
                attached: true,
                slots_free,
                cpu_milli_free: 4_000,
                mem_mib_free: 4_096,
                rank: Some(rank),
                ..NodeState::default()
            },
        }
    }

    fn request(image: &str) -> SessionRequest {
        SessionRequest {
            cpu_milli: 100,
            image: image.to_owned(),
            ..SessionRequest::default()
        }
    }

    fn of(placements: &Placements, view: &NodeView) -> Lately {
        placements.of(view, &Policy::default(), |reason, nodes| {
            assert_eq!(reason, Reason::SlotsTaken);
            let reason = ExcludedBy::SlotsTaken;
            Excluded { reason, nodes }
        })
    }

    #[test]
    fn a_node_learns_what_it_lacked() {
        let (best, poor, full) = (node(2, 1_000), node(2, 100), node(0, 1_000));
        let mut placements = Placements::default();
        for image in ["app", "app", "app", "other"] {
            let request = request(image);
            let why = check(&best, &request, &Policy::default()).unwrap();
            placements.add(request, best.id.clone(), why);
        }
        assert_eq!(of(&placements, &best).here, 4);
        let seen = of(&placements, &poor);
        assert_eq!((seen.placements, seen.here), (4, 0));
        let behind: Vec<_> = seen
            .behind
            .iter()
            .map(|behind| (behind.part.as_str(), behind.placements))
            .collect();
        assert_eq!(behind, [("receipts", 4)]);
        assert_eq!(of(&placements, &full).excluded[0].nodes, 4);
        let same = node(2, 1_000);
        assert_eq!(of(&placements, &same).behind[0].part, "chance");
    }

    #[test]
    fn only_the_last_are_remembered() {
        let node = node(2, 0);
        let mut placements = Placements::default();
        for _ in 0..KEPT + 9 {
            let why = Why::default();
            placements.add(request("app"), node.id.clone(), why);
        }
        assert_eq!(of(&placements, &node).here as usize, KEPT);
    }
}
