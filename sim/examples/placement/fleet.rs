//! Nodes as they may be: metros of uneven size, many kinds of machine, partly full, some away.

use nearlight_placement::{NodeState, NodeView, SessionRequest, Trust};
use nearlight_protocol::app::GpuClass;
use nearlight_protocol::id::NodeId;
use nearlight_sim::fleet::{Metro, World};
use rand::Rng;
use rand::distr::{Distribution, weighted::WeightedIndex};
use rand_chacha::ChaCha8Rng;
use std::collections::{HashMap, VecDeque};

pub(crate) const METROS: usize = 200;
/// Apps that ask for desktops to be ready: the most popular ones.
pub(crate) const READY_APPS: usize = 10;
const OPERATORS: usize = 3_000;
pub(crate) const IMAGES: usize = 60;
/// Sessions that are held before the oldest one ends.
const HELD: usize = 20_000;

/// All nodes, and who holds what.
pub(crate) struct Fleet {
    pub(crate) nodes: Vec<NodeView>,
    by_id: HashMap<NodeId, usize>,
    held: VecDeque<(usize, SessionRequest)>,
}

impl Fleet {
    pub(crate) fn new(world: &World, nodes: usize, rng: &mut ChaCha8Rng) -> Self {
        let operators = WeightedIndex::new((1..=OPERATORS).map(|rank| 1.0 / rank as f64));
        let operators = operators.expect("weights are positive");
        let nodes: Vec<NodeView> = (0..nodes)
            .map(|n| {
                let operator = operators.sample(rng);
                any_node(n as u64, &world.metros[world.any(rng)], operator, rng)
            })
            .collect();
        let ids = nodes.iter().map(|node| node.id.clone());
        Self {
            by_id: ids.zip(0..).collect(),
            nodes,
            held: VecDeque::new(),
        }
    }

    /// A heartbeat of some node: what is free has moved a little, and some come and go.
    pub(crate) fn drift(&mut self, rng: &mut ChaCha8Rng) -> usize {
        let at = rng.random_range(0..self.nodes.len());
        let node = &mut self.nodes[at];
        let state = &mut node.state;
        let cpu = state
            .cpu_milli_free
            .saturating_add(rng.random_range(0..100));
        state.cpu_milli_free = cpu.saturating_sub(50).min(node.cpu_milli_total);
        let mem = state.mem_mib_free.saturating_add(rng.random_range(0..200));
        state.mem_mib_free = mem.saturating_sub(100).min(node.mem_mib_total);
        if rng.random_bool(0.01) {
            state.attached = rng.random_bool(0.94);
        }
        at
    }

    /// Takes a claim; once there are many, the oldest ends. Returns the nodes that changed.
    pub(crate) fn claim(&mut self, node: &NodeId, request: &SessionRequest) -> Vec<usize> {
        let at = self.by_id[node];
        let encode = self.nodes[at].encode_cpu_milli;
        let state = &mut self.nodes[at].state;
        state.sessions += 1;
        state.slots_free -= 1;
        state.cpu_milli_free -= request.cpu_milli + encode;
        state.mem_mib_free -= request.mem_mib;
        state.uplink_kbps_free = state.uplink_kbps_free.map(|kbps| kbps - request.kbps);
        self.held.push_back((at, request.clone()));
        let over = self.held.len() > HELD;
        let ended = over.then(|| self.held.pop_front()).flatten();
        let ended = ended.map(|(at, request)| self.release(at, &request));
        [at].into_iter().chain(ended).collect()
    }

    fn release(&mut self, at: usize, request: &SessionRequest) -> usize {
        let node = &mut self.nodes[at];
        let cpu = request.cpu_milli + node.encode_cpu_milli;
        let state = &mut node.state;
        state.sessions -= 1;
        state.slots_free += 1;
        state.cpu_milli_free = (state.cpu_milli_free + cpu).min(node.cpu_milli_total);
        state.mem_mib_free = (state.mem_mib_free + request.mem_mib).min(node.mem_mib_total);
        state.uplink_kbps_free = state.uplink_kbps_free.map(|kbps| kbps + request.kbps);
        state.rank = state.rank.map(|rank| rank.saturating_add(16).min(1_000));
        at
    }
}

fn any_node(n: u64, metro: &Metro, operator: usize, rng: &mut ChaCha8Rng) -> NodeView {
    let (gpu, vram_mib) = any_gpu(rng);
    // Some large machines are taken for good.
    let huge = rng.random_bool(0.003);
    let slots_total = if huge {
        16
    } else {
        [1, 2, 2, 4, 4, 8, 16][rng.random_range(0..7)]
    };
    let cpu_milli_total = if huge {
        64_000
    } else {
        slots_total * rng.random_range(1_500..3_000)
    };
    let mem_mib_total = slots_total * rng.random_range(2_048..8_192);
    // 10 Mbit/s to 2 Gbit/s, small ones more often.
    let kbps = 10_000.0 * 200_f64.powf(rng.random());
    let uplink = rng.random_bool(0.7).then_some(kbps as u32);
    let trust = match rng.random_range(0..100) {
        0..70 => Trust::Open,
        70..95 => Trust::Known,
        _ => Trust::Own,
    };
    let dear = trust == Trust::Own || rng.random_bool(0.6);
    let images = (0..IMAGES).filter(|rank| {
        let cached = (2.0 / (*rank as f64 + 1.0).powf(0.7)).min(0.9);
        rng.random_bool(cached)
    });
    let images: Vec<usize> = images.collect();
    // A fifth of the nodes keep desktops ready for the most popular apps that they have. Not by chance, so that
    // everything else is what it was without them.
    let ready = images
        .iter()
        .take(if n.is_multiple_of(5) { READY_APPS } else { 0 });
    let desktops = ready.map(|rank| app(*rank)).collect();
    let images = images.into_iter().map(image).collect();
    NodeView {
        id: NodeId::from_parts(1_700_000_000_000 + n * 500, rng.random()),
        region: metro.name.clone(),
        operator: format!("operator-{operator}"),
        trust,
        runtime: ["runc", "runc", "runc", "runsc", "kata"][rng.random_range(0..5)].to_owned(),
        gpu,
        vram_mib,
        vram_mib_proved: None,
        encodes: rng.random_bool(0.97),
        slots_total,
        cpu_milli_total,
        encode_cpu_milli: [0, 300, 800][gpu_rank(gpu)],
        mem_mib_total,
        uplink_kbps_total: uplink,
        price_permille: if dear {
            5 * rng.random_range(20..600)
        } else {
            0
        },
        images,
        jobs: None,
        desktops,
        state: any_state(
            (huge, metro.load),
            (slots_total, cpu_milli_total, mem_mib_total, uplink),
            rng,
        ),
    }
}

fn gpu_rank(gpu: GpuClass) -> usize {
    match gpu {
        GpuClass::RenderEncode => 0,
        GpuClass::Render => 1,
        GpuClass::None => 2,
    }
}

/// One node in fifty has a GPU with 24 GiB or more.
fn any_gpu(rng: &mut ChaCha8Rng) -> (GpuClass, u32) {
    let gib = match rng.random_range(0..100) {
        0..45 => return (GpuClass::None, 0),
        45..78 => return (GpuClass::Render, 1024 * rng.random_range(2..8)),
        78..98 => [6, 8, 8, 12, 16][rng.random_range(0..5)],
        _ => [24, 24, 48, 80][rng.random_range(0..4)],
    };
    (GpuClass::RenderEncode, 1024 * gib)
}

pub(crate) fn image(rank: usize) -> String {
    format!("nearlight/app-{rank}:1")
}

/// The name of an app, as those who ask for a ready desktop have it.
pub(crate) fn app(rank: usize) -> String {
    format!("app-{rank}")
}

fn any_state(
    (huge, load): (bool, f64),
    (slots, cpu, mem, uplink): (u32, u32, u32, Option<u32>),
    rng: &mut ChaCha8Rng,
) -> NodeState {
    let full = huge || rng.random_bool(0.08);
    let taken = if full {
        1.0
    } else {
        (load + rng.random_range(-0.4..0.4)).clamp(0.0, 1.0)
    };
    let sessions = (f64::from(slots) * taken).round() as u32;
    // What a session takes of CPU and memory is not what a slot has of them.
    let left = |all: u32, rng: &mut ChaCha8Rng| {
        let share = f64::from(sessions) / f64::from(slots) * rng.random_range(0.4..1.0);
        (f64::from(all) * (1.0 - share)) as u32
    };
    NodeState {
        attached: rng.random_bool(0.94),
        draining: rng.random_bool(0.02),
        outbox_full: rng.random_bool(0.003),
        sessions,
        slots_free: slots - sessions,
        cpu_milli_free: left(cpu, rng),
        mem_mib_free: left(mem, rng),
        uplink_kbps_free: uplink.map(|kbps| left(kbps, rng)),
        disk_mib_free: 0,
        gpus_taken: false,
        gpus_held: 0,
        rank: Some(if rng.random_bool(0.08) {
            0
        } else {
            (16.0 * 5_000_f64.powf(rng.random())).min(1_000.0) as u32
        }),
        failing: false,
    }
}
