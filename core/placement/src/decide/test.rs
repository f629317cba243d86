use super::*;
use crate::check::check;
use crate::job::JobNeed;
use crate::node::{NodeState, NodeView, Trust};
use crate::policy::LatencyStep;
use crate::price::Rates;
use crate::reason::Reason;
use crate::request::Rtts;
use nearlight_protocol::app::GpuClass;
use nearlight_protocol::control::{Gpu, JobHost};
use nearlight_protocol::job::{ContainerRuntime, GpuNeed};
use std::collections::BTreeSet;
use std::sync::Arc;

pub(crate) fn node(n: u64) -> NodeView {
    NodeView {
        id: NodeId::from_parts(n, [0; 10]),
        region: "here".to_owned(),
        operator: String::new(),
        trust: Trust::Open,
        runtime: "runc".to_owned(),
        gpu: GpuClass::None,
        vram_mib: 0,
        vram_mib_proved: None,
        encodes: true,
        slots_total: 2,
        cpu_milli_total: 4000,
        encode_cpu_milli: 0,
        mem_mib_total: 4096,
        uplink_kbps_total: None,
        price_permille: 1000,
        images: ["doom".to_owned()].into(),
        jobs: None,
        desktops: BTreeSet::new(),
        state: NodeState {
            attached: true,
            slots_free: 2,
            cpu_milli_free: 4000,
            mem_mib_free: 4096,
            ..NodeState::default()
        },
    }
}

pub(crate) fn request() -> SessionRequest {
    SessionRequest {
        cpu_milli: 1000,
        mem_mib: 512,
        kbps: 4000,
        image: "doom".to_owned(),
        ..SessionRequest::default()
    }
}

pub(crate) fn fleet<'a>(nodes: impl IntoIterator<Item = &'a NodeView>) -> FleetIndex {
    let mut index = FleetIndex::default();
    nodes.into_iter().for_each(|node| index.put(node));
    index
}

fn first(nodes: &[NodeView], request: &SessionRequest) -> Decision {
    decide(&fleet(nodes), request, &Policy::default(), &mut |_| 0)
}

/// Places on the node whose number is `expected`, always taking the best.
fn check_place(nodes: &[NodeView], request: &SessionRequest, expected: u64) {
    match first(nodes, request) {
        Decision::Place { node: id, .. } => assert_eq!(id, node(expected).id),
        Decision::Reject(rejection) => panic!("rejected: {rejection:?}"),
    }
}

fn rejected(nodes: &[NodeView], request: &SessionRequest) -> Rejection {
    match first(nodes, request) {
        Decision::Reject(rejection) => rejection,
        Decision::Place { node, why, .. } => panic!("placed on {node}: {why:?}"),
    }
}

fn changed(n: u64, change: impl FnOnce(&mut NodeView)) -> NodeView {
    let mut node = node(n);
    change(&mut node);
    node
}

#[test]
fn each_reason_rules_out_and_is_counted() {
    type Spoil = fn(&mut NodeView);
    let cases: [(Reason, Spoil); 22] = [
        (Reason::Region, |n| n.region = "there".to_owned()),
        (Reason::OutOfReach, |n| n.region = "antipodes".to_owned()),
        (Reason::Vram, |n| n.vram_mib = 1023),
        (Reason::GpuMemoryUnproved, |n| {
            n.vram_mib_proved = Some(1023);
        }),
        (Reason::NoEncoder, |n| n.encodes = false),
        (Reason::Runtime, |n| n.runtime = "kata".to_owned()),
        (Reason::Trust, |n| n.trust = Trust::Open),
        (Reason::TooSmall, |n| n.mem_mib_total = 100),
        (Reason::TooSmall, |n| n.cpu_milli_total = 500),
        (Reason::TooSmall, |n| n.encode_cpu_milli = 3001),
        (Reason::TooSmall, |n| n.uplink_kbps_total = Some(3999)),
        (Reason::Price, |n| n.price_permille = 1001),
        (Reason::Offline, |n| n.state.attached = false),
        (Reason::Draining, |n| n.state.draining = true),
        (Reason::FailedChecks, |n| n.state.failing = true),
        (Reason::OutboxFull, |n| n.state.outbox_full = true),
        (Reason::SlotsTaken, |n| n.state.slots_free = 0),
        (Reason::CpuTaken, |n| n.state.cpu_milli_free = 999),
        (Reason::CpuTaken, |n| {
            (n.state.cpu_milli_free, n.encode_cpu_milli) = (1999, 1000);
        }),
        (Reason::MemoryTaken, |n| n.state.mem_mib_free = 511),
        (Reason::UplinkTaken, |n| {
            n.state.uplink_kbps_free = Some(3999)
        }),
        (Reason::Unproven, |n| {
            (n.state.rank, n.state.sessions) = (Some(0), 2);
        }),
    ];
    let request = SessionRequest {
        vram_mib: 1024,
        runtime: Some("runc".to_owned()),
        regions: ["here", "antipodes"].map(str::to_owned).into(),
        trust: Trust::Known,
        rates: hourly(100_000),
        price_micro_h_max: Some(100_099),
        rtts: Rtts::new([("antipodes".to_owned(), 300), ("here".to_owned(), 5)]),
        ..request()
    };
    for (reason, spoil) in cases {
        let able = |n| {
            changed(n, |node| {
                (node.vram_mib, node.trust) = (1024, Trust::Known);
            })
        };
        assert!(matches!(
            first(&[able(1)], &request),
            Decision::Place { .. }
        ));
        let mut nodes = [able(1), able(2)];
        nodes.iter_mut().for_each(spoil);
        let reasons = rejected(&nodes, &request).reasons;
        assert_eq!(reasons, [(reason, 2)].into());
        assert_eq!(check(&nodes[0], &request, &Policy::default()), Err(reason));
    }
}

#[test]
fn a_node_that_is_held_for_another_one_is_passed_over_and_counted() {
    let nodes = [node(1), node(2)];
    let held = |ids: &[u64]| SessionRequest {
        held_against: ids.iter().map(|n| node(*n).id).collect(),
        ..request()
    };
    check_place(&nodes, &held(&[1]), 2);
    let reasons = rejected(&nodes, &held(&[1, 2])).reasons;
    assert_eq!(reasons, [(Reason::Held, 2)].into());
    let policy = Policy::default();
    assert_eq!(check(&nodes[0], &held(&[1]), &policy), Err(Reason::Held));
}

#[test]
fn a_gpu_class_is_a_minimum() {
    let want = |gpu, has| {
        let request = SessionRequest { gpu, ..request() };
        first(&[changed(1, |n| n.gpu = has)], &request)
    };
    let placed = |d| matches!(d, Decision::Place { .. });
    assert!(placed(want(GpuClass::Render, GpuClass::RenderEncode)));
    assert!(placed(want(GpuClass::None, GpuClass::Render)));
    let Decision::Reject(rejection) = want(GpuClass::RenderEncode, GpuClass::Render) else {
        panic!("placed on a node that cannot encode");
    };
    assert!(!rejection.passes(), "waiting does not help");
}

#[test]
fn an_image_that_is_there_beats_an_empty_node() {
    let busy = changed(1, |n| n.state.slots_free = 1);
    let empty = changed(2, |n| n.images.clear());
    check_place(&[empty, busy], &request(), 1);
}

#[test]
fn a_ready_desktop_decides_between_nodes_that_are_about_as_good_for_who_can_use_it() {
    let asks = SessionRequest {
        desktop: Some("doom".to_owned()),
        rtts: Rtts::new([("here".to_owned(), 5), ("there".to_owned(), 9)]),
        ..request()
    };
    let ready = |n, change: fn(&mut NodeView)| {
        changed(n, |node| {
            node.desktops = ["doom".to_owned()].into();
            change(node);
        })
    };
    check_place(&[node(1), ready(2, |_| {})], &asks, 2);
    check_place(&[node(1), ready(2, |_| {})], &request(), 1);
    let other = changed(2, |n| n.desktops = ["quake".to_owned()].into());
    check_place(&[node(1), other], &asks, 1);
    // Not for four milliseconds more, nor on a node that is nearly full, nor without the image.
    let far = ready(2, |n| n.region = "there".to_owned());
    check_place(&[node(1), far], &asks, 1);
    let busy = ready(2, |n| n.state.cpu_milli_free = 1500);
    check_place(&[node(1), busy], &asks, 1);
    let without = ready(2, |n| n.images.clear());
    check_place(&[node(1), without], &asks, 1);
}

#[test]
fn an_image_may_be_required() {
    let policy = Policy {
        image_required: true,
        ..Policy::default()
    };
    let without = fleet(&[changed(1, |n| n.images.clear())]);
    let Decision::Reject(rejection) = decide(&without, &request(), &policy, &mut |_| 0) else {
        panic!("placed where the image is not");
    };
    assert_eq!(rejection.nearest(), Some(Reason::ImageMissing));
    assert!(rejection.passes(), "it may be fetched");
}

#[test]
fn a_gpu_is_kept_for_those_who_need_it() {
    let gpu = changed(1, |n| n.gpu = GpuClass::RenderEncode);
    check_place(&[gpu, node(2)], &request(), 2);
}

#[test]
fn the_emptiest_node_comes_first() {
    let busy = changed(1, |n| n.state.cpu_milli_free = 1500);
    check_place(&[busy, node(2)], &request(), 2);
}

#[test]
fn an_uplink_that_nobody_knows_rules_nothing_out_and_a_wide_one_comes_first() {
    let with_uplink = |n, kbps, slots_free| {
        changed(n, |node| {
            // One session of two slots is half; the same session is half of 8 Mbit/s, too.
            (node.slots_total, node.state.slots_free) = (8, slots_free);
            (node.uplink_kbps_total, node.state.uplink_kbps_free) = (Some(kbps), Some(kbps));
        })
    };
    check_place(&[with_uplink(1, 8000, 2), node(3)], &request(), 3);
    let (narrow, wide) = (with_uplink(1, 8000, 8), with_uplink(2, 80_000, 8));
    check_place(&[narrow, wide], &request(), 2);
}

#[test]
fn a_nearer_node_beats_an_emptier_one_unless_it_is_nearly_as_near() {
    let near = changed(1, |n| n.state.cpu_milli_free = 1000);
    let far = changed(2, |n| n.region = "there".to_owned());
    let nodes = [near, far];
    let at = |ms| SessionRequest {
        rtts: Rtts::new([("here".to_owned(), 5), ("there".to_owned(), ms)]),
        ..request()
    };
    check_place(&nodes, &at(20), 1);
    check_place(&nodes, &at(6), 2);
}

#[test]
fn receipts_and_price_count() {
    let proven = |n, rank| changed(n, |node| node.state.rank = Some(rank));
    let nodes = [proven(1, 0), proven(2, 1_000), proven(3, 997)];
    check_place(&nodes, &request(), 2);
    let at = |n, permille| changed(n, |node| node.price_permille = permille);
    let cheap_last = [at(1, 1_000), at(2, 500)];
    check_place(&cheap_last, &request(), 1);
    let costs = SessionRequest {
        rates: hourly(200_000),
        ..request()
    };
    check_place(&cheap_last, &costs, 2);
    let why = check(&cheap_last[0], &costs, &Policy::default()).unwrap();
    assert_eq!(why.price, 200);
}

/// The CPU that the encoder takes beside is paid for as well, and a limit counts it.
#[test]
fn an_encoder_that_takes_more_costs_more() {
    let encodes = |n, milli| changed(n, |node| node.encode_cpu_milli = milli);
    let nodes = [encodes(1, 500), encodes(2, 0)];
    let costs = |max| SessionRequest {
        rates: Rates {
            cpu_core: 400_000,
            ..hourly(100_000)
        },
        price_micro_h_max: max,
        ..request()
    };
    check_place(&nodes, &costs(None), 2);
    let dear = rejected(&nodes[..1], &costs(Some(299_999)));
    assert_eq!(dear.reasons, [(Reason::Price, 1)].into());
    check_place(&nodes[..1], &costs(Some(300_000)), 1);
}

/// Of nodes with other models, a job that names none gets the cheaper ones.
#[test]
fn what_gpus_cost_counts() {
    let with = |n, model: &str| {
        changed(n, |node| {
            let gpu = Gpu {
                model: model.to_owned(),
                ..Gpu::default()
            };
            node.jobs = Some(JobHost {
                runtimes: vec![ContainerRuntime::Runc],
                gpus: vec![gpu],
                ..JobHost::default()
            });
        })
    };
    let nodes = [with(1, "NVIDIA H100 80GB HBM3"), with(2, "NVIDIA L4")];
    let need = GpuNeed {
        count: 1,
        model: None,
        vram_mib: 0,
        compute_capability: 0,
    };
    let job = SessionRequest {
        rates: Rates {
            gpus: Arc::new([("H100".to_owned(), 2_500_000)].into()),
            gpu_other: 300_000,
            ..hourly(100_000)
        },
        job: Some(JobNeed {
            gpu: Some(need),
            ..JobNeed::default()
        }),
        ..request()
    };
    check_place(&nodes, &job, 2);
    let why = check(&nodes[0], &job, &Policy::default()).unwrap();
    assert_eq!(why.price, 2_600);
}

fn hourly(own: u64) -> Rates {
    Rates {
        own,
        ..Rates::default()
    }
}

#[test]
fn a_tenant_is_spread_over_operators() {
    let of = |n, operator: &str| changed(n, |node| node.operator = operator.to_owned());
    let nodes = [of(1, "one"), of(2, "two"), of(3, "three")];
    let held = |held: &[(&str, u32)]| SessionRequest {
        held: held
            .iter()
            .map(|(name, n)| ((*name).to_owned(), *n))
            .collect(),
        ..request()
    };
    check_place(&nodes, &held(&[]), 1);
    check_place(&nodes, &held(&[("one", 1)]), 2);
    check_place(&nodes, &held(&[("one", 2), ("two", 1), ("three", 1)]), 2);
}

#[test]
fn who_waits_is_placed_farther_and_farther_away() {
    let taken = changed(2, |n| n.state.slots_free = 0);
    let nodes = [changed(1, |n| n.region = "there".to_owned()), taken];
    let after = |waited_ms, ms| SessionRequest {
        waited_ms,
        rtts: Rtts::new([("here".to_owned(), 5), ("there".to_owned(), ms)]),
        ..request()
    };
    let early = rejected(&nodes, &after(2_999, 30));
    let near_and_far = [(Reason::SlotsTaken, 1), (Reason::TooFar, 1)];
    assert_eq!(early.reasons, near_and_far.into());
    assert!(early.passes());
    assert_eq!(early.holds_until_ms(), Some(3_000));
    match first(&nodes, &after(3_000, 30)) {
        Decision::Place { why, step, .. } => {
            assert_eq!((why.rtt_ms, why.rtt), (Some(30), 3_000));
            assert_eq!(step.unwrap().number, 2);
        }
        Decision::Reject(rejection) => panic!("rejected: {rejection:?}"),
    }
    let never = rejected(&nodes[..1], &after(u64::MAX, 81));
    assert_eq!(never.reasons, [(Reason::OutOfReach, 1)].into());
    assert!(!never.passes());
    assert_eq!(never.holds_until_ms(), None);
}

/// A node that may come free is worth its step's waiting; one that is away, or too small, is not.
#[test]
fn nobody_waits_for_a_nearer_node_that_will_not_come_free() {
    let far = changed(1, |n| n.region = "there".to_owned());
    let request = SessionRequest {
        rtts: Rtts::new([("here".to_owned(), 5), ("there".to_owned(), 60)]),
        ..request()
    };
    let step_with = |near: NodeView| match first(&[far.clone(), near], &request) {
        Decision::Place { node: id, step, .. } => {
            assert_eq!(id, node(1).id);
            step.map(|step| (step.number, step.from_ms))
        }
        Decision::Reject(_) => None,
    };
    let third = Some((3, 13_000));
    assert_eq!(step_with(changed(2, |n| n.state.attached = false)), third);
    assert_eq!(step_with(changed(2, |n| n.state.draining = true)), third);
    assert_eq!(step_with(changed(2, |n| n.mem_mib_total = 1)), third);
    assert_eq!(step_with(changed(2, |n| n.state.slots_free = 0)), None);
    assert_eq!(step_with(changed(2, |n| n.state.mem_mib_free = 1)), None);
}

#[test]
fn a_region_that_nobody_measured_counts_as_the_policy_says() {
    let request = SessionRequest {
        rtts: Rtts::new([("there".to_owned(), 7)]),
        ..request()
    };
    let known = changed(2, |n| n.region = "there".to_owned());
    check_place(&[node(1), known], &request, 2);
    check_place(&[node(1)], &request, 1);
    let policy = Policy {
        rtt_ms_unknown: 21,
        ..Policy::default()
    };
    let taken = changed(3, |n| {
        n.region = "there".to_owned();
        n.state.slots_free = 0;
    });
    let decision = decide(&fleet(&[node(1), taken]), &request, &policy, &mut |_| 0);
    let Decision::Reject(rejection) = decision else {
        panic!("placed in the dark");
    };
    assert_eq!(rejection.reasons.get(&Reason::TooFar), Some(&1));
}

#[test]
fn without_steps_nothing_is_too_far() {
    let request = SessionRequest {
        rtts: Rtts::new([("here".to_owned(), 900)]),
        ..request()
    };
    let policy = Policy {
        steps: Vec::<LatencyStep>::new(),
        ..Policy::default()
    };
    let decision = decide(&fleet(&[node(1)]), &request, &policy, &mut |_| 0);
    assert!(
        matches!(decision, Decision::Place { step: None, .. }),
        "{decision:?}"
    );
}

#[test]
fn a_rejection_names_what_the_best_node_lacks() {
    let busy = changed(1, |n| n.state.uplink_kbps_free = Some(0));
    let away = changed(2, |n| n.state.attached = false);
    let rejection = rejected(&[away, busy], &request());
    assert_eq!(rejection.nearest(), Some(Reason::UplinkTaken));
    assert_eq!(rejected(&[], &request()).nearest(), None);
}

#[test]
fn chance_is_among_equals_only() {
    let pulls = changed(3, |n| n.images.clear());
    let mut asked = Vec::new();
    let index = fleet(&[node(1), node(2), pulls]);
    let decision = decide(&index, &request(), &Policy::default(), &mut |n| {
        asked.push(n);
        1
    });
    assert_eq!(asked, [2], "the one that has to pull is no equal");
    let Decision::Place { node: id, .. } = decision else {
        panic!("rejected");
    };
    assert_eq!(id, node(2).id);
}

#[test]
fn an_app_is_available_while_an_attached_node_could_ever_run_it() {
    let could = |nodes: &[NodeView]| fleet(nodes).could_run(&request(), &Policy::default());
    assert!(!could(&[]));
    assert!(could(&[changed(1, |n| n.state.slots_free = 0)]));
    assert!(!could(&[changed(1, |n| n.state.attached = false)]));
    assert!(!could(&[changed(1, |n| n.mem_mib_total = 511)]));
    assert!(could(&[changed(1, |n| n.mem_mib_total = 511), node(2)]));
}
