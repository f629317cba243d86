//! Several containers of one job at one site, all or none.
//!
//! A site is what shares a container engine: there the replicas have a network of their own. Nodes that
//! name no engine are a site each. The site is taken where all of them together score best, and within it
//! each replica goes where the next one scores best, which spreads them as far as load says so.
//!
//! Clusters are few, so this looks at every node, one by one, by [`check()`] alone.

use crate::check::check;
use crate::count::Rejection;
use crate::job::choose_gpus;
use crate::node::{NodeState, NodeView};
use crate::policy::Policy;
use crate::request::SessionRequest;
use crate::score::Why;
use nearlight_protocol::control::Gpu;
use nearlight_protocol::id::NodeId;
use nearlight_protocol::limits::NODE_GPUS_MAX;
use std::collections::BTreeMap;

/// Where the replicas of a cluster go, by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Together {
    /// The node of each, and why.
    pub nodes: Vec<(NodeId, Why)>,
}

/// Why a cluster cannot be placed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TooFew {
    /// How many replicas it has.
    pub replicas: u32,
    /// How many the best site has room for.
    pub best: u32,
    /// How many the best site would have room for if nothing ran there and all of its nodes were there.
    pub most: u32,
    /// Nodes that have room for none, by the first reason.
    pub rejection: Rejection,
}

/// Places `replicas` of `request` on `nodes`, at one site.
///
/// # Errors
/// [`TooFew`] if no site has room for all of them.
pub fn together<'a>(
    nodes: impl Iterator<Item = &'a NodeView>,
    request: &SessionRequest,
    policy: &Policy,
    replicas: u32,
) -> Result<Together, TooFew> {
    let mut sites: BTreeMap<&str, Vec<&NodeView>> = BTreeMap::new();
    let mut empty: BTreeMap<&str, Vec<NodeView>> = BTreeMap::new();
    let mut reasons = BTreeMap::new();
    for node in nodes {
        let with_nothing = emptied(node, request);
        empty.entry(site_of(node)).or_default().push(with_nothing);
        match check(node, request, policy) {
            Ok(_) => sites.entry(site_of(node)).or_default().push(node),
            Err(reason) => *reasons.entry(reason).or_default() += 1,
        }
    }
    let mut best: Option<(u64, Vec<(NodeId, Why)>)> = None;
    let mut most = 0;
    for nodes in sites.into_values() {
        let mut nodes: Vec<NodeView> = nodes.into_iter().cloned().collect();
        let placed = fill(&mut nodes, request, policy, replicas);
        let count = u32::try_from(placed.len()).unwrap_or(u32::MAX);
        most = most.max(count);
        let points = placed.iter().map(|(_, why)| u64::from(why.points())).sum();
        if count == replicas && best.as_ref().is_none_or(|(least, _)| points < *least) {
            best = Some((points, placed));
        }
    }
    match best {
        Some((_, nodes)) => Ok(Together { nodes }),
        None => Err(TooFew {
            replicas,
            best: most,
            most: empty
                .into_values()
                .map(|mut site| fill(&mut site, request, policy, replicas).len())
                .max()
                .map_or(0, |most| u32::try_from(most).unwrap_or(u32::MAX)),
            rejection: Rejection {
                reasons,
                step: policy.step(request.waited_ms),
            },
        }),
    }
}

/// Whether a site of `nodes` that are there and take sessions has room for all replicas at some time, beside those
/// that refused one.
pub fn has_room_beside<'a>(
    nodes: impl Iterator<Item = &'a NodeView>,
    request: &SessionRequest,
    policy: &Policy,
    replicas: u32,
) -> bool {
    let mut sites: BTreeMap<&str, Vec<NodeView>> = BTreeMap::new();
    let there = nodes.filter(|node| {
        let state = &node.state;
        state.attached && !state.draining && !state.failing && !request.refused.contains(&node.id)
    });
    for node in there {
        let with_nothing = emptied(node, request);
        sites.entry(site_of(node)).or_default().push(with_nothing);
    }
    sites.into_values().any(|mut site| {
        let placed = fill(&mut site, request, policy, replicas);
        u32::try_from(placed.len()) == Ok(replicas)
    })
}

/// The site of a node.
pub fn site_of(node: &NodeView) -> &str {
    let engine = node.jobs.as_ref().map_or("", |jobs| jobs.engine.as_str());
    match engine {
        "" => node.id.as_str(),
        engine => engine,
    }
}

/// As many as a site has room for, up to `replicas`; the nodes are what is left of them then.
pub(crate) fn fill(
    nodes: &mut [NodeView],
    request: &SessionRequest,
    policy: &Policy,
    replicas: u32,
) -> Vec<(NodeId, Why)> {
    nodes.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    let mut placed = Vec::new();
    for _ in 0..replicas {
        let able = nodes.iter_mut().filter_map(|node| {
            let why = check(node, request, policy).ok()?;
            Some((why, node))
        });
        let Some((why, node)) = able.min_by_key(|(why, _)| why.points()) else {
            break;
        };
        placed.push((node.id.clone(), why));
        take(node, request);
    }
    placed
}

/// A node with nothing on it, that is there and has the image.
fn emptied(node: &NodeView, request: &SessionRequest) -> NodeView {
    let mut node = node.clone();
    node.images.insert(request.image.clone());
    node.state = NodeState {
        attached: true,
        slots_free: node.slots_total,
        cpu_milli_free: node.cpu_milli_total,
        mem_mib_free: node.mem_mib_total,
        uplink_kbps_free: node.uplink_kbps_total,
        disk_mib_free: node.jobs.as_ref().map_or(0, |jobs| jobs.disk_mib),
        ..NodeState::default()
    };
    node
}

/// What is left of a node that runs one more.
pub(crate) fn take(node: &mut NodeView, request: &SessionRequest) {
    let encode = request.encode_cpu_milli(node.encode_cpu_milli);
    let state = &mut node.state;
    state.sessions += 1;
    state.slots_free = state.slots_free.saturating_sub(1);
    let cpu_milli = request.cpu_milli.max(1).saturating_add(encode);
    state.cpu_milli_free = state.cpu_milli_free.saturating_sub(cpu_milli);
    state.mem_mib_free = state.mem_mib_free.saturating_sub(request.mem_mib);
    state.disk_mib_free = state.disk_mib_free.saturating_sub(request.disk_mib());
    let uplink = state.uplink_kbps_free;
    state.uplink_kbps_free = uplink.map(|kbps| kbps.saturating_sub(request.kbps));
    let need = request.job.as_ref().filter(|job| job.gpu.is_some());
    if let Some((need, host)) = need.zip(node.jobs.as_ref()) {
        let chosen = choose_gpus(&host.gpus, state.gpus_free(), need).unwrap_or_default();
        let is_chosen = |gpu: &Gpu| chosen.iter().any(|of| of.uuid == gpu.uuid);
        let bits = host.gpus.iter().take(NODE_GPUS_MAX).enumerate();
        let bits = bits.filter(|(_, gpu)| is_chosen(gpu));
        state.gpus_held |= bits.fold(0, |held, (at, _)| held | 1 << at);
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::job::JobNeed;
    use crate::node::Trust;
    use crate::reason::Reason;
    use nearlight_protocol::app::GpuClass;
    use nearlight_protocol::control::JobHost;
    use nearlight_protocol::job::ContainerRuntime;
    use proptest::prelude::*;

    fn node(n: u64, engine: &str, slots: u32, cpu_milli: u32) -> NodeView {
        NodeView {
            id: NodeId::from_parts(n, [0; 10]),
            region: "fra".to_owned(),
            operator: String::new(),
            trust: Trust::Known,
            runtime: "docker".to_owned(),
            gpu: GpuClass::None,
            vram_mib: 0,
            vram_mib_proved: None,
            encodes: false,
            slots_total: 8,
            cpu_milli_total: 8000,
            encode_cpu_milli: 0,
            mem_mib_total: 8000,
            uplink_kbps_total: None,
            price_permille: 1000,
            images: std::collections::BTreeSet::new(),
            jobs: Some(JobHost {
                runtimes: vec![ContainerRuntime::Runc],
                engine: engine.to_owned(),
                ..JobHost::default()
            }),
            desktops: std::collections::BTreeSet::new(),
            state: NodeState {
                attached: true,
                slots_free: slots,
                cpu_milli_free: cpu_milli,
                mem_mib_free: 8000,
                ..NodeState::default()
            },
        }
    }

    fn request() -> SessionRequest {
        SessionRequest {
            cpu_milli: 1000,
            mem_mib: 100,
            job: Some(JobNeed::default()),
            ..SessionRequest::default()
        }
    }

    fn place(nodes: &[NodeView], replicas: u32) -> Result<Vec<NodeId>, TooFew> {
        let found = together(nodes.iter(), &request(), &Policy::default(), replicas)?;
        Ok(found.nodes.into_iter().map(|(id, _)| id).collect())
    }

    #[test]
    fn one_slot_too_few_is_nowhere_and_says_so() {
        let nodes = [
            node(1, "a", 2, 8000),
            node(2, "b", 1, 8000),
            node(3, "b", 0, 8000),
        ];
        let lack = place(&nodes, 3).unwrap_err();
        assert_eq!((lack.replicas, lack.best, lack.most), (3, 2, 3));
        let lack = place(&nodes, 20).unwrap_err();
        assert_eq!(
            lack.most, 16,
            "both nodes of a site, and no slot of it taken"
        );
        assert_eq!(lack.rejection.reasons, [(Reason::SlotsTaken, 1)].into());
    }

    #[test]
    fn nodes_of_one_engine_are_a_site_and_replicas_spread_over_them() {
        let nodes = [
            node(1, "a", 2, 8000),
            node(2, "b", 2, 8000),
            node(3, "b", 2, 8000),
        ];
        let placed = place(&nodes, 3).unwrap();
        let of = |n: usize| placed.iter().filter(|id| **id == nodes[n].id).count();
        assert_eq!((of(0), of(1) + of(2)), (0, 3));
        assert!(of(1) >= 1 && of(2) >= 1, "{placed:?}");
        // Without a name of its engine a node is a site of its own.
        let apart = [node(1, "", 2, 8000), node(2, "", 2, 8000)];
        assert_eq!(place(&apart, 3).unwrap_err().best, 2);
    }

    #[test]
    fn what_is_beside_a_refusal_is_a_site_for_all_of_them_that_takes_sessions() {
        let mut nodes = [node(1, "a", 0, 8000), node(2, "b", 0, 8000)];
        let mut request = request();
        let has_room = |nodes: &[NodeView], request: &SessionRequest, replicas| {
            has_room_beside(nodes.iter(), request, &Policy::default(), replicas)
        };
        request.refused = [nodes[0].id.clone()].into();
        assert!(has_room(&nodes, &request, 8), "full as it is");
        nodes[1].slots_total = 7;
        assert!(has_room(&nodes, &request, 7) && !has_room(&nodes, &request, 8));
        nodes[1].state.draining = true;
        assert!(!has_room(&nodes, &request, 1));
    }

    proptest! {
        #[test]
        fn i7_all_have_room_at_one_site_or_no_site_has_any_for_all(
            of in prop::collection::vec((0..3_u8, 0..5_u32, 0..5000_u32), 1..8),
            replicas in 2..6_u32,
        ) {
            let nodes: Vec<NodeView> = of.iter().zip(1..).map(|((site, slots, cpu), n)| {
                node(n, ["", "a", "b"][usize::from(*site)], *slots, *cpu)
            }).collect();
            let room = |node: &NodeView| node.state.slots_free.min(node.state.cpu_milli_free / 1000);
            let mut sites: BTreeMap<&str, u32> = BTreeMap::new();
            for node in &nodes {
                *sites.entry(site_of(node)).or_default() += room(node);
            }
            let most = sites.values().copied().max().unwrap_or(0);
            match place(&nodes, replicas) {
                Ok(placed) => {
                    prop_assert_eq!(placed.len(), replicas as usize);
                    let on = |id: &NodeId| nodes.iter().find(|node| node.id == *id).unwrap();
                    let site = site_of(on(&placed[0]));
                    prop_assert!(placed.iter().all(|id| site_of(on(id)) == site));
                    for node in &nodes {
                        let here = placed.iter().filter(|id| **id == node.id).count();
                        prop_assert!(here <= room(node) as usize);
                    }
                }
                Err(lack) => {
                    prop_assert!(most < replicas);
                    prop_assert_eq!(lack.best, most);
                }
            }
        }
    }
}
