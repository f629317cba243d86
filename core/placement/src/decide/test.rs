use super::*;
use nearlight_protocol::app::GpuClass;
use proptest::prelude::*;

fn node(n: u64) -> NodeView {
    NodeView {
        id: NodeId::from_parts(n, [0; 10]),
        attached: true,
        draining: false,
        outbox_full: false,
        gpu: GpuClass::None,
        encodes: true,
        slots_total: 2,
        slots_free: vec![
            SlotId::from_parts(n, [1; 10]),
            SlotId::from_parts(n, [2; 10]),
        ],
        cpu_milli_free: 4000,
        cpu_milli_total: 4000,
        encode_cpu_milli: 0,
        mem_mib_free: 4096,
        mem_mib_total: 4096,
        uplink_kbps_free: None,
        uplink_kbps_total: None,
        images: ["doom".to_owned()].into(),
    }
}

fn request() -> SessionRequest {
    SessionRequest {
        cpu_milli: 1000,
        mem_mib: 512,
        kbps: 4000,
        gpu: GpuClass::None,
        image: "doom".to_owned(),
    }
}

fn fleet(nodes: Vec<NodeView>) -> FleetSnapshot {
    FleetSnapshot { revision: 1, nodes }
}

/// Places on the node whose number is `expected`, always taking the best.
fn check_place(nodes: Vec<NodeView>, expected: u64) {
    let policy = Policy::default();
    match decide(&fleet(nodes), &request(), &policy, &mut |_| 0) {
        Decision::Place { node: id, .. } => assert_eq!(id, node(expected).id),
        Decision::Reject(rejection) => panic!("rejected: {rejection:?}"),
    }
}

#[test]
fn each_reason_rules_out_and_is_counted() {
    type Spoil = fn(&mut NodeView);
    let cases: [(Reason, Spoil); 13] = [
        (Reason::NoEncoder, |n| n.encodes = false),
        (Reason::TooSmall, |n| n.mem_mib_total = 100),
        (Reason::TooSmall, |n| n.cpu_milli_total = 500),
        (Reason::Offline, |n| n.attached = false),
        (Reason::Draining, |n| n.draining = true),
        (Reason::OutboxFull, |n| n.outbox_full = true),
        (Reason::SlotsTaken, |n| n.slots_free.clear()),
        (Reason::CpuTaken, |n| n.cpu_milli_free = 999),
        (Reason::CpuTaken, |n| {
            (n.cpu_milli_free, n.encode_cpu_milli) = (1999, 1000);
        }),
        (Reason::TooSmall, |n| n.encode_cpu_milli = 3001),
        (Reason::MemoryTaken, |n| n.mem_mib_free = 511),
        (Reason::TooSmall, |n| n.uplink_kbps_total = Some(3999)),
        (Reason::UplinkTaken, |n| n.uplink_kbps_free = Some(3999)),
    ];
    for (reason, spoil) in cases {
        let mut nodes = vec![node(1), node(2)];
        nodes.iter_mut().for_each(spoil);
        let decision = decide(&fleet(nodes), &request(), &Policy::default(), &mut |_| 0);
        let reasons = [(reason, 2)].into();
        assert_eq!(decision, Decision::Reject(Rejection { reasons }));
    }
}

#[test]
fn a_gpu_class_is_a_minimum() {
    let want = |gpu, has| {
        let request = SessionRequest { gpu, ..request() };
        let node = NodeView {
            gpu: has,
            ..node(1)
        };
        decide(&fleet(vec![node]), &request, &Policy::default(), &mut |_| 0)
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
    let mut busy = node(1);
    busy.slots_free.pop();
    let mut empty = node(2);
    empty.images.clear();
    check_place(vec![empty, busy], 1);
}

#[test]
fn a_gpu_is_kept_for_those_who_need_it() {
    let mut gpu = node(1);
    gpu.gpu = GpuClass::RenderEncode;
    check_place(vec![gpu, node(2)], 2);
}

#[test]
fn the_emptiest_node_comes_first() {
    let mut busy = node(1);
    busy.cpu_milli_free = 1500;
    check_place(vec![busy, node(2)], 2);
}

#[test]
fn an_uplink_that_nobody_knows_rules_nothing_out_and_a_wide_one_comes_first() {
    let mut narrow = node(1);
    (narrow.uplink_kbps_total, narrow.uplink_kbps_free) = (Some(8000), Some(8000));
    let mut wide = node(2);
    (wide.uplink_kbps_total, wide.uplink_kbps_free) = (Some(80_000), Some(80_000));
    // One session of two slots is half; the same session is half of 8 Mbit/s, too.
    narrow.slots_total = 8;
    wide.slots_total = 8;
    check_place(vec![narrow.clone(), node(3)], 3);
    narrow.slots_free = vec![narrow.slots_free[0].clone(); 8];
    wide.slots_free = vec![wide.slots_free[0].clone(); 8];
    check_place(vec![narrow, wide], 2);
}

#[test]
fn a_rejection_names_what_the_best_node_lacks() {
    let mut busy = node(1);
    busy.uplink_kbps_free = Some(0);
    let mut away = node(2);
    away.attached = false;
    let nodes = fleet(vec![away, busy]);
    let Decision::Reject(rejection) = decide(&nodes, &request(), &Policy::default(), &mut |_| 0)
    else {
        panic!("placed");
    };
    assert_eq!(rejection.nearest(), Some(Reason::UplinkTaken));
    assert_eq!(Rejection::default().nearest(), None);
}

#[test]
fn chance_is_among_equals_only() {
    let mut pulls = node(3);
    pulls.images.clear();
    let fleet = fleet(vec![node(1), node(2), pulls]);
    let mut asked = Vec::new();
    let decision = decide(&fleet, &request(), &Policy { best_few: 3 }, &mut |n| {
        asked.push(n);
        1
    });
    assert_eq!(asked, [2], "the one that has to pull is no equal");
    let Decision::Place { node: id, .. } = decision else {
        panic!("rejected");
    };
    assert_eq!(id, node(2).id);
}

fn any_node() -> impl Strategy<Value = NodeView> {
    (
        0..50u64,
        any::<[bool; 5]>(),
        0..3usize,
        0..3000u32,
        0..2000u32,
    )
        .prop_map(|(n, flags, free, cpu, mem)| {
            let mut node = node(n);
            node.attached = flags[0];
            node.draining = flags[1];
            node.encodes = flags[2];
            node.outbox_full = flags[3];
            node.slots_free.truncate(free);
            node.cpu_milli_free = cpu;
            node.mem_mib_free = mem;
            if flags[4] {
                node.images.clear();
            }
            node
        })
}

proptest! {
    #[test]
    fn a_placed_slot_was_free_on_a_node_that_can(
        nodes in prop::collection::vec(any_node(), 0..20),
        cpu_milli in 0..3000u32,
        roll in any::<usize>(),
    ) {
        let fleet = fleet(nodes);
        let request = SessionRequest { cpu_milli, ..request() };
        match decide(&fleet, &request, &Policy::default(), &mut |n| roll % n) {
            Decision::Place { node, slot, .. } => {
                let able = fleet.nodes.iter().any(|n| {
                    n.id == node && n.slots_free.contains(&slot) && check(n, &request).is_ok()
                });
                prop_assert!(able);
            }
            Decision::Reject(rejection) => {
                let counted: u32 = rejection.reasons.values().sum();
                prop_assert_eq!(counted as usize, fleet.nodes.len());
                prop_assert!(fleet.nodes.iter().all(|n| check(n, &request).is_err()));
            }
        }
    }
}
