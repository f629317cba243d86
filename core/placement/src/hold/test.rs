use super::*;
use crate::job::JobNeed;
use crate::node::{NodeState, Trust};
use crate::together::together;
use nearlight_protocol::app::GpuClass;
use nearlight_protocol::control::JobHost;
use nearlight_protocol::job::ContainerRuntime;
use proptest::prelude::*;

const CPU: u32 = 1000;

/// A machine with so many slots, a core for each, and what runs on it by when that ends.
fn machine(n: u64, slots: u32, ends: &[u64]) -> Busy {
    let taken = u32::try_from(ends.len()).unwrap();
    let running = ends.iter().map(|ends_in_ms| Running {
        ends_in_ms: *ends_in_ms,
        cpu_milli: CPU,
        ..Running::default()
    });
    Busy {
        running: running.collect(),
        node: NodeView {
            id: NodeId::from_parts(n, [0; 10]),
            region: "fra".to_owned(),
            operator: String::new(),
            trust: Trust::Known,
            runtime: "docker".to_owned(),
            gpu: GpuClass::None,
            vram_mib: 0,
            vram_mib_proved: None,
            encodes: false,
            slots_total: slots,
            cpu_milli_total: slots * CPU,
            encode_cpu_milli: 0,
            mem_mib_total: 8000,
            uplink_kbps_total: None,
            price_permille: 1000,
            images: BTreeSet::new(),
            jobs: Some(JobHost {
                runtimes: vec![ContainerRuntime::Runc],
                ..JobHost::default()
            }),
            desktops: BTreeSet::new(),
            state: NodeState {
                attached: true,
                sessions: taken,
                slots_free: slots - taken,
                cpu_milli_free: (slots - taken) * CPU,
                mem_mib_free: 8000,
                ..NodeState::default()
            },
        },
    }
}

fn small() -> SessionRequest {
    SessionRequest {
        cpu_milli: CPU,
        mem_mib: 100,
        job: Some(JobNeed::default()),
        ..SessionRequest::default()
    }
}

fn held(nodes: &[Busy], replicas: u32, before: Option<&Hold>) -> Option<Hold> {
    let need = Need {
        request: &small(),
        replicas,
        policy: &Policy::default(),
    };
    hold(nodes, need, before)
}

fn id(n: u64) -> NodeId {
    NodeId::from_parts(n, [0; 10])
}

#[test]
fn the_site_that_has_room_soonest_is_held_and_stays() {
    let nodes = [
        machine(1, 4, &[10, 20, 90, 95]),
        machine(2, 4, &[10, 40, 60, 80]),
    ];
    let first = held(&nodes, 3, None).unwrap();
    assert_eq!(first.nodes().collect::<Vec<_>>(), [&id(2)]);
    assert_eq!(first.room_in_ms(), 60);
    // The other one is sooner now; what came free at the first would be lost.
    let later = [machine(1, 4, &[5, 10, 15]), machine(2, 4, &[40, 60, 80])];
    let again = held(&later, 3, Some(&first)).unwrap();
    assert_eq!(
        (again.nodes().next(), again.room_in_ms()),
        (Some(&id(2)), 60)
    );
    let mut gone = later;
    gone[1].node.state.attached = false;
    let moved = held(&gone, 3, Some(&again)).unwrap();
    assert_eq!(
        (moved.nodes().next(), moved.room_in_ms()),
        (Some(&id(1)), 10)
    );
}

#[test]
fn what_fits_nowhere_is_held_nowhere() {
    let nodes = [machine(1, 2, &[10, 20]), machine(2, 2, &[])];
    assert_eq!(held(&nodes, 3, None), None);
    // Two of its slots are nobody's that is known of: nothing says that they come free.
    let mut unknown = machine(1, 4, &[1, 2, 3, 4]);
    unknown.running.truncate(2);
    assert_eq!(held(&[unknown], 3, None), None);
}

#[test]
fn who_is_gone_by_then_or_fits_beside_is_let_in_and_nobody_else() {
    // Of four slots it needs three: one is to spare, and two who stay longer than it waits.
    let nodes = [machine(1, 4, &[50, 60])];
    let mut hold = held(&nodes, 3, None).unwrap();
    assert_eq!(hold.room_in_ms(), 50);
    let may =
        |hold: &Hold, ends_in_ms| hold.lets(&id(1), (&small(), ends_in_ms), &Policy::default());
    assert!(may(&hold, 50), "it is gone by then");
    assert!(
        !may(&hold, 51),
        "the slot to spare is the other's, who stays until 60"
    );
    assert!(
        hold.lets(&id(2), (&small(), 1000), &Policy::default()),
        "nothing is held there"
    );

    let nodes = [machine(1, 6, &[50, 50])];
    hold = held(&nodes, 3, None).unwrap();
    assert_eq!(hold.room_in_ms(), 0);
    assert!(may(&hold, 1000));
    hold.let_in(&id(1), (&small(), 1000));
    assert!(!may(&hold, 1000), "there was room for none beside");
}

#[test]
fn gpus_come_back_with_who_has_them() {
    let gpu = |n: u32| nearlight_protocol::control::Gpu {
        uuid: format!("GPU-{n}"),
        model: "L4".to_owned(),
        vram_mib: 23_000,
        ..nearlight_protocol::control::Gpu::default()
    };
    let mut busy = machine(1, 4, &[30, 40]);
    busy.node.jobs.as_mut().unwrap().gpus = (0..2).map(gpu).collect();
    busy.node.state.gpus_taken = true;
    busy.node.state.gpus_held = 0b11;
    busy.running[0].gpus = 0b01;
    busy.running[1].gpus = 0b10;
    let mut request = small();
    request.job.as_mut().unwrap().gpu = Some(nearlight_protocol::job::GpuNeed {
        count: 2,
        model: None,
        vram_mib: 0,
        compute_capability: 0,
    });
    let need = Need {
        request: &request,
        replicas: 1,
        policy: &Policy::default(),
    };
    let hold = hold(&[busy], need, None).unwrap();
    assert_eq!(hold.room_in_ms(), 40);
    assert!(
        hold.lets(&id(1), (&small(), 1000), &Policy::default()),
        "slots are left, and it needs no GPU"
    );
    assert!(!hold.lets(&id(1), (&request, 1000), &Policy::default()));
}

proptest! {
    /// Whoever was let in, all of it has room at the moment that was said, if everybody stays as long as they may.
    #[test]
    fn whoever_is_let_in_puts_nothing_off(
        slots in 2..7_u32,
        ends in prop::collection::vec(1..100_u64, 0..7),
        replicas in 2..7_u32,
        come in prop::collection::vec(1..200_u64, 0..12),
    ) {
        let ends = &ends[..ends.len().min(slots as usize)];
        let mut busy = machine(1, slots, ends);
        let Some(mut hold) = held(std::slice::from_ref(&busy), replicas, None) else {
            prop_assert!(replicas > slots);
            return Ok(());
        };
        let said = hold.room_in_ms();
        for ends_in_ms in come {
            let other = (&small(), ends_in_ms);
            if busy.node.state.slots_free == 0 || !hold.lets(&id(1), other, &Policy::default()) {
                continue;
            }
            hold.let_in(&id(1), other);
            take(&mut busy.node, &small());
            busy.running.push(Running { ends_in_ms, cpu_milli: CPU, mem_mib: 100, ..Running::default() });
        }
        for over in busy.running.clone().iter().filter(|one| one.ends_in_ms <= said) {
            give_back(&mut busy.node, over);
        }
        prop_assert!(together([busy.node].iter(), &small(), &Policy::default(), replicas).is_ok());
    }
}
