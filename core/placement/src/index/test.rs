//! The index against what it stands for: every node, checked and ranked one by one.

use super::*;
use crate::check::check;
use crate::decide::test::{fleet, node, request};
use crate::decide::{Decision, decide};
use crate::job::{JobNeed, PriceCap};
use crate::opening::{Opening, opening};
use crate::pick::pick;
use crate::policy::{LatencyStep, Policy, Step};
use crate::price::Rates;
use crate::reason::Reason;
use crate::request::SessionRequest;
use crate::score::Why;
use crate::{Rejection, Trust};
use nearlight_protocol::app::GpuClass;
use nearlight_protocol::control::{Gpu, JobHost};
use nearlight_protocol::job::{ContainerRuntime, GpuNeed};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const GPUS: [GpuClass; 3] = [GpuClass::None, GpuClass::Render, GpuClass::RenderEncode];
const TRUSTS: [Trust; 3] = [Trust::Open, Trust::Known, Trust::Own];
const REGIONS: [&str; 4] = ["fra", "ams", "sin", "gru"];
const NAMES: [&str; 4] = ["", "a", "b", "c"];

type Checked<'a> = (Vec<(Why, &'a NodeView)>, BTreeMap<Reason, u32>);

fn check_all<'a>(nodes: &[&'a NodeView], request: &SessionRequest, policy: &Policy) -> Checked<'a> {
    let (mut able, mut reasons) = (Vec::new(), BTreeMap::new());
    for node in nodes {
        match check(node, request, policy) {
            Ok(why) => able.push((why, *node)),
            Err(reason) => *reasons.entry(reason).or_default() += 1,
        }
    }
    (able, reasons)
}

/// Whether a node within a step may run it once something is free.
fn is_waited_for(node: &NodeView, request: &SessionRequest, policy: &Policy, step: Step) -> bool {
    let ms = request.rtts.to(&node.region);
    ms.unwrap_or(policy.rtt_ms_unknown) <= step.rtt_ms_max
        && check(node, request, policy).is_err_and(Reason::may_come_free)
}

/// What the index replaces.
fn decide_naively<'a>(
    nodes: impl IntoIterator<Item = &'a NodeView>,
    request: &SessionRequest,
    policy: &Policy,
    chance: &mut impl FnMut(usize) -> usize,
) -> Decision {
    let nodes: Vec<&NodeView> = nodes.into_iter().collect();
    let mut step = policy.step(request.waited_ms);
    let (mut able, mut reasons) = check_all(&nodes, request, policy);
    while let Some(now) = step
        && able.is_empty()
        && reasons.contains_key(&Reason::TooFar)
        && !nodes
            .iter()
            .any(|node| is_waited_for(node, request, policy, now))
        && let Some(next) = policy.step_after(&now)
    {
        let later = SessionRequest {
            waited_ms: next.from_ms,
            ..request.clone()
        };
        step = Some(next);
        (able, reasons) = check_all(&nodes, &later, policy);
    }
    able.sort_by(|(a, m), (b, n)| a.points().cmp(&b.points()).then_with(|| m.id.cmp(&n.id)));
    let ranked: Vec<Why> = able.iter().map(|(why, _)| *why).collect();
    if ranked.is_empty() {
        return Decision::Reject(Rejection { reasons, step });
    }
    let (why, node) = able[pick(&ranked, policy.best_few, chance)];
    let node = node.id.clone();
    Decision::Place { node, why, step }
}

fn any_of<T: Copy + std::fmt::Debug>(few: &'static [T]) -> impl Strategy<Value = T> {
    prop::sample::select(few)
}

/// Mostly `usual`, so that some nodes pass every filter.
fn mostly<T: Clone + std::fmt::Debug + 'static>(
    usual: T,
    other: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = T> {
    prop_oneof![3 => Just(usual), 1 => other]
}

fn any_state() -> impl Strategy<Value = NodeState> {
    let flags = (
        mostly(true, Just(false)),
        mostly(false, Just(true)),
        mostly(false, Just(true)),
        mostly(false, Just(true)),
    );
    let free = (
        0..4_u32,
        0..4000_u32,
        0..4000_u32,
        mostly(None, any::<u16>().prop_map(Some)),
    );
    (
        flags,
        free,
        0..4_u32,
        mostly(None, (0..1_100_u32).prop_map(Some)),
    )
        .prop_map(
            |((attached, draining, outbox_full, failing), free, sessions, rank)| NodeState {
                attached,
                draining,
                outbox_full,
                sessions,
                slots_free: free.0,
                cpu_milli_free: free.1,
                mem_mib_free: free.2,
                uplink_kbps_free: free.3.map(u32::from),
                disk_mib_free: free.0 * 1000,
                gpus_taken: sessions == 3,
                gpus_held: u64::from(free.1 % 8),
                rank,
                failing,
            },
        )
}

const MODELS: [&str; 2] = ["NVIDIA H100", "NVIDIA L4"];
const RUNTIMES: [ContainerRuntime; 2] = [ContainerRuntime::Runc, ContainerRuntime::Runsc];

fn any_host() -> impl Strategy<Value = Option<JobHost>> {
    let gpus = prop::collection::vec(
        (
            any_of(&MODELS),
            mostly(String::new(), Just("XID".into())),
            1..3_u32,
            8..10_u32,
        ),
        0..5,
    );
    let runtimes = mostly(RUNTIMES.to_vec(), Just(vec![ContainerRuntime::Kata]));
    let host = (runtimes, 0..4000_u32, gpus).prop_map(|(runtimes, disk_mib, gpus)| JobHost {
        engine: String::new(),
        runtimes,
        disk_mib,
        gpus: gpus
            .into_iter()
            .map(|(model, sick, size, major)| Gpu {
                model: model.to_owned(),
                vram_mib: size * 4096,
                compute_capability: major * 10,
                proved_mib: (major == 9 && size == 2).then_some(disk_mib * 4),
                sick,
                ..Gpu::default()
            })
            .collect(),
        volumes: Some(Vec::new()),
        ..JobHost::default()
    });
    prop_oneof![1 => Just(None), 3 => host.prop_map(Some)]
}

fn any_job() -> impl Strategy<Value = Option<JobNeed>> {
    let gpu = (
        1..3_u32,
        mostly(None, any_of(&MODELS).prop_map(|m| Some(m.to_owned()))),
        mostly(0, Just(8192)),
        mostly(0, Just(90)),
    );
    let gpu = gpu.prop_map(|(count, model, vram_mib, compute_capability)| {
        Some(GpuNeed {
            count,
            model,
            vram_mib,
            compute_capability,
        })
    });
    let job = (
        any_of(&RUNTIMES),
        0..3000_u32,
        mostly(None, gpu),
        mostly(false, Just(true)),
        mostly(None, (any::<Option<u8>>(), 0..300_u64).prop_map(Some)),
        mostly(0, 1..1500_u32),
        prop::collection::vec(any_of(&NAMES).prop_map(str::to_owned), 0..2),
    );
    let job = job.prop_map(
        |(runtime, disk_mib, gpu, image_here, cap, volumes_mib, assets)| JobNeed {
            runtime,
            disk_mib,
            gpu,
            image_here,
            cap: cap.map(|(gpu_max, gpu_other)| PriceCap {
                gpu_max: gpu_max.map(u64::from),
                gpu_other,
                ..PriceCap::default()
            }),
            has_volumes: volumes_mib > 0,
            volumes_mib,
            assets,
        },
    );
    prop_oneof![1 => Just(None), 1 => job.prop_map(Some)]
}

fn numbered(n: u64) -> NodeId {
    let tail = u8::try_from(n % 200).unwrap();
    NodeId::from_parts(n / 200, [0, 0, 0, 0, 0, 0, 0, 0, 0, tail])
}

fn any_node() -> impl Strategy<Value = NodeView> {
    let names = (any_of(&REGIONS), any_of(&NAMES), any_of(&NAMES));
    let classes = (
        any_of(&TRUSTS),
        any_of(&GPUS),
        0..3_u32,
        mostly(true, Just(false)),
    );
    let sizes = (1..4_u32, 500..4000_u32, 0..1500_u32, 500..4000_u32);
    let uplink = mostly(None, any::<u16>().prop_map(|kbps| Some(u32::from(kbps))));
    let price = mostly(1000, 0..3000_u32);
    let images = prop::collection::btree_set(any_of(&NAMES).prop_map(str::to_owned), 0..3);
    let desktops = prop::collection::btree_set(any_of(&NAMES).prop_map(str::to_owned), 0..3);
    let rest = (uplink, price, images, any_state(), any_host(), desktops);
    // More ids than some, so that ids meet, and of one time, so that keys do, too.
    (0..400_u64, names, classes, sizes, rest).prop_map(|(n, names, classes, sizes, rest)| {
        NodeView {
            id: numbered(n),
            region: names.0.to_owned(),
            operator: names.1.to_owned(),
            runtime: names.2.to_owned(),
            trust: classes.0,
            gpu: classes.1,
            vram_mib: classes.2 * 4096,
            vram_mib_proved: (n % 3 == 0).then_some(sizes.1 * 2),
            encodes: classes.3,
            slots_total: sizes.0,
            cpu_milli_total: sizes.1,
            encode_cpu_milli: sizes.2,
            mem_mib_total: sizes.3,
            uplink_kbps_total: rest.0,
            price_permille: rest.1,
            images: rest.2,
            jobs: rest.4,
            desktops: rest.5,
            state: rest.3,
        }
    })
}

fn any_rates() -> impl Strategy<Value = Rates> {
    (0..1_000_000_u64, 0..200_000_u64, 0..900_000_u64).prop_map(|(own, cpu_core, gpu_other)| {
        Rates {
            own,
            cpu_core,
            gpu_other,
            ..Rates::default()
        }
    })
}

fn any_request() -> impl Strategy<Value = SessionRequest> {
    let needs = (
        0..3000_u32,
        0..3000_u32,
        0..50_000_u32,
        any_of(&GPUS),
        0..3_u32,
    );
    let names = (
        (
            any_of(&NAMES),
            mostly(None, any_of(&NAMES).prop_map(|name| Some(name.to_owned()))),
        ),
        mostly(None, any_of(&NAMES).prop_map(|name| Some(name.to_owned()))),
        mostly(
            Vec::new(),
            prop::collection::vec(any_of(&REGIONS).prop_map(str::to_owned), 1..3),
        ),
        mostly(
            Vec::new(),
            prop::collection::vec(any_of(&REGIONS).prop_map(str::to_owned), 1..3),
        ),
    );
    let limits = (
        mostly(Trust::Open, any_of(&TRUSTS)),
        mostly(None, (0..300_000_u64).prop_map(Some)),
        mostly(Rates::default(), any_rates()),
    );
    let rtts = prop::collection::vec((any_of(&REGIONS), 0..100_u32), 0..5);
    let held = prop::collection::btree_map(any_of(&NAMES).prop_map(str::to_owned), 0..5_u32, 0..3);
    let against = prop::collection::btree_set((0..400_u64).prop_map(numbered), 0..100);
    let refused = prop::collection::btree_set((0..400_u64).prop_map(numbered), 0..100);
    let rest = (
        0..20_000_u64,
        any_job(),
        mostly(BTreeSet::new(), against),
        mostly(BTreeSet::new(), refused),
    );
    (needs, names, limits, rtts, held, rest).prop_map(
        |(needs, names, limits, rtts, held, (waited_ms, job, held_against, refused))| {
            SessionRequest {
                cpu_milli: needs.0,
                mem_mib: needs.1,
                kbps: needs.2,
                gpu: needs.3,
                vram_mib: needs.4.saturating_sub(1) * 4096,
                image: names.0.0.to_owned(),
                desktop: names.0.1,
                runtime: names.1,
                regions: names.2,
                regions_not: names.3,
                trust: limits.0,
                price_micro_h_max: limits.1,
                rates: limits.2,
                rtts: Rtts::new(rtts.into_iter().map(|(name, ms)| (name.to_owned(), ms))),
                held,
                held_against,
                refused,
                job,
                waited_ms,
            }
        },
    )
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let unlimited = any::<bool>();
    (
        1..6_usize,
        unlimited,
        0..100_u32,
        mostly(false, Just(true)),
        0..4_u32,
    )
        .prop_map(
            |(best_few, unlimited, rtt_ms_unknown, image_required, unproven_sessions_max)| {
                let steps: Vec<LatencyStep> = Policy::default().steps;
                Policy {
                    best_few,
                    steps: if unlimited { Vec::new() } else { steps },
                    rtt_ms_unknown,
                    image_required,
                    unproven_sessions_max,
                }
            },
        )
}

/// Something that happens to a fleet.
#[derive(Clone, Debug)]
enum Change {
    Put(Box<NodeView>),
    SetState(usize, NodeState),
    Remove(usize),
}

fn any_change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => any_node().prop_map(|node| Change::Put(Box::new(node))),
        4 => (any::<usize>(), any_state()).prop_map(|(at, state)| Change::SetState(at, state)),
        1 => any::<usize>().prop_map(Change::Remove),
    ]
}

/// Carries a change out on the index, and on a plain map of the nodes.
fn apply(change: Change, index: &mut FleetIndex, nodes: &mut BTreeMap<NodeId, NodeView>) {
    let id_at = |nodes: &BTreeMap<NodeId, NodeView>, at: usize| {
        let at = at % nodes.len().max(1);
        nodes.keys().nth(at).cloned()
    };
    let revision = index.revision();
    match change {
        Change::Put(node) => {
            index.put(&node);
            nodes.insert(node.id.clone(), *node);
        }
        Change::SetState(at, state) => {
            let Some(id) = id_at(nodes, at) else { return };
            assert!(index.set_state(&id, &state));
            nodes.get_mut(&id).unwrap().state = state;
        }
        Change::Remove(at) => {
            let Some(id) = id_at(nodes, at) else { return };
            assert!(index.remove(&id));
            nodes.remove(&id);
            assert!(!index.remove(&id) && !index.set_state(&id, &NodeState::default()));
        }
    }
    assert!(index.revision() > revision);
}

/// What an index holds, whatever the order in which it came.
fn summary(index: &FleetIndex) -> (usize, BTreeMap<&str, (u32, u32)>, [usize; 4]) {
    let cells = index.cells.iter().filter(|cell| cell.nodes > 0);
    let cells = cells.map(|cell| (cell.name.as_str(), (cell.nodes, cell.vram_mib)));
    let names = [
        &index.operators,
        &index.runtimes,
        &index.images,
        &index.desktops,
    ];
    let names = names.map(|names| names.len());
    (index.len(), cells.collect(), names)
}

proptest! {
    #[test]
    fn a_decision_is_that_of_checking_and_ranking_every_node(
        nodes in prop::collection::vec(any_node(), 0..150),
        requests in prop::collection::vec(any_request(), 1..8),
        policy in any_policy(),
        roll in any::<usize>(),
    ) {
        let nodes: BTreeMap<NodeId, NodeView> =
            nodes.into_iter().map(|node| (node.id.clone(), node)).collect();
        let index = fleet(nodes.values());
        for request in requests {
            let decided = decide(&index, &request, &policy, &mut |n| roll % n);
            let naive = decide_naively(nodes.values(), &request, &policy, &mut |n| roll % n);
            prop_assert_eq!(decided, naive);
            let could = nodes.values().filter(|node| node.state.attached).any(|node| {
                check(node, &request, &policy).map_or_else(|reason| reason.passes(), |_| true)
            });
            prop_assert_eq!(index.could_run(&request, &policy), could);
        }
    }

    #[test]
    fn only_a_node_that_has_improved_is_news_to_who_was_ruled_out(
        node in any_node(),
        after in any_state(),
        request in any_request(),
        policy in any_policy(),
    ) {
        let mut changed = node.clone();
        changed.state = after;
        let (before, now) = (check(&node, &request, &policy), check(&changed, &request, &policy));
        let expected = match now {
            Ok(why) => Opening::Suits(why),
            Err(Reason::TooFar) => Opening::TooFar,
            Err(_) => Opening::No,
        };
        prop_assert_eq!(opening(&changed, &request, &policy), expected);
        let ruled_out = |reason: &Reason| *reason != Reason::TooFar;
        if before.is_err_and(|reason| ruled_out(&reason)) && expected != Opening::No {
            prop_assert!(changed.state.has_improved_on(&node.state));
        }
    }

    #[test]
    fn an_index_that_changed_is_one_that_was_built_anew(
        changes in prop::collection::vec(any_change(), 0..400),
        requests in prop::collection::vec(any_request(), 1..8),
        policy in any_policy(),
    ) {
        let mut index = FleetIndex::default();
        let mut nodes = BTreeMap::new();
        for change in changes {
            apply(change, &mut index, &mut nodes);
        }
        let anew = fleet(nodes.values());
        prop_assert_eq!(summary(&index), summary(&anew));
        index.cells.iter().for_each(Cell::audit);
        for request in requests {
            let changed = decide(&index, &request, &policy, &mut |n| n - 1);
            prop_assert_eq!(&changed, &decide(&anew, &request, &policy, &mut |n| n - 1));
            let naive = decide_naively(nodes.values(), &request, &policy, &mut |n| n - 1);
            prop_assert_eq!(changed, naive);
        }
    }
}

#[test]
fn rare_nodes_of_a_large_region_stand_together() {
    let nodes = (1..=1000).map(|n| {
        let mut node = node(n);
        if n % 20 == 0 {
            (node.gpu, node.vram_mib) = (GpuClass::RenderEncode, 24 * 1024);
        }
        node
    });
    let nodes: Vec<NodeView> = nodes.collect();
    let index = fleet(&nodes);
    let large = |block: &cell::Block<'_>| block.head.greatest(block::Column::Vram) > 0;
    let blocks = index.cells[0].blocks().filter(large).count();
    assert_eq!(
        blocks, 2,
        "one of their own, and one that the first of each kind share"
    );
    let request = SessionRequest {
        gpu: GpuClass::RenderEncode,
        vram_mib: 20 * 1024,
        ..request()
    };
    let policy = Policy::default();
    let decided = decide(&index, &request, &policy, &mut |n| n - 1);
    assert_eq!(
        decided,
        decide_naively(&nodes, &request, &policy, &mut |n| n - 1)
    );
    index.cells.iter().for_each(Cell::audit);
}

#[test]
fn a_region_that_everybody_left_is_forgotten() {
    let mut index = FleetIndex::default();
    for n in 0..1000 {
        let mut wanderer = node(1);
        wanderer.region = format!("region {n}");
        wanderer.images = [format!("image {n}")].into();
        wanderer.desktops = [format!("app {n}")].into();
        index.put(&wanderer);
    }
    assert_eq!(
        (
            index.len(),
            index.cells.len(),
            index.images.len(),
            index.desktops.len()
        ),
        (1, 1, 1, 1)
    );
    assert!(index.remove(&node(1).id));
    assert!(index.is_empty());
    let decision = decide(&index, &request(), &Policy::default(), &mut |_| 0);
    assert_eq!(
        decision,
        Decision::Reject(Rejection {
            step: Policy::default().step(0),
            ..Rejection::default()
        })
    );
}
