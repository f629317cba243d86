//! The published mix of machines, and when each is there.
//!
//! | kind | share | slots | GPU | there |
//! |---|---|---|---|---|
//! | home PC | 70 % | 1 or 2 | 30 % none, 42 % renders, 26 % encodes with 6 to 16 GiB, 2 % with 24 | from about five in the afternoon to midnight, its own time, some all day |
//! | rack | 30 % | 2 to 16 | 40 % none, 25 % renders, 31 % encodes, 4 % with 24 to 80 GiB | always, but for drains |
//!
//! 8 % of the nodes have no rank yet. Operators follow a Zipf law: the largest has a tenth.

use super::world::World;
use nearlight_placement::{NodeState, NodeView, Trust};
use nearlight_protocol::app::GpuClass;
use nearlight_protocol::id::NodeId;
use rand::Rng;
use rand::distr::{Distribution, weighted::WeightedIndex};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeSet;

/// Operators of a fleet, at most.
pub(crate) const OPERATORS_MAX: usize = 3_000;
/// Apps of the catalogue.
pub(crate) const APPS: usize = 40;

/// A node as it is made.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) view: NodeView,
    pub(crate) metro: usize,
    pub(crate) operator: usize,
    pub(crate) rhythm: Rhythm,
}

/// When a machine is there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Rhythm {
    /// Always, but for a drain now and then.
    Rack,
    /// On for so many hours from this hour of its own day on.
    Home {
        /// Hour of the day.
        on_at: f64,
        /// Hours.
        hours: f64,
    },
}

impl Rhythm {
    /// Whether it is on at an hour of its day.
    pub(crate) fn is_on(self, hour: f64) -> bool {
        match self {
            Self::Rack => true,
            Self::Home { on_at, hours } => (hour - on_at).rem_euclid(24.0) < hours,
        }
    }
}

/// Makes a fleet.
pub(crate) fn make(world: &World, nodes: usize, rng: &mut ChaCha8Rng) -> Vec<Machine> {
    let operators = (nodes / 30).clamp(5, OPERATORS_MAX);
    let operators = WeightedIndex::new((1..=operators).map(|rank| 1.0 / rank as f64));
    let operators = operators.expect("weights are positive");
    let one = |n| {
        let (metro, operator) = (world.any(rng), operators.sample(rng));
        machine(n, (world, metro), operator, rng)
    };
    (0..nodes as u64).map(one).collect()
}

fn machine(
    n: u64,
    (world, metro): (&World, usize),
    operator: usize,
    rng: &mut ChaCha8Rng,
) -> Machine {
    let home = rng.random_bool(0.7);
    let rhythm = if home {
        let always = rng.random_bool(0.2);
        Rhythm::Home {
            on_at: rng.random_range(14.0..20.0),
            hours: if always {
                24.0
            } else {
                rng.random_range(4.0..10.0)
            },
        }
    } else {
        Rhythm::Rack
    };
    let (gpu, vram_mib) = any_gpu(home, rng);
    let slots_total = if home {
        rng.random_range(1..=2)
    } else {
        [2, 4, 4, 8, 16][rng.random_range(0..5)]
    };
    let trust = match (home, rng.random_range(0..100)) {
        (true, 0..90) => Trust::Open,
        (true, _) | (false, 0..70) => Trust::Known,
        (false, _) => Trust::Own,
    };
    // Home lines have 10 to 100 Mbit/s upstream, racks more than they need.
    let uplink = if home {
        10_000.0 * 10_f64.powf(rng.random())
    } else {
        2_000_000.0
    };
    let cached = |rank: &usize| (2.0 / (*rank as f64 + 1.0).powf(0.7)).min(0.9);
    let images = (0..APPS).filter(|rank| rng.random_bool(cached(rank)));
    let images = images.map(image).collect();
    let view = NodeView {
        id: NodeId::from_parts(1_700_000_000_000 + n * 500, rng.random()),
        region: world.metros[metro].name.clone(),
        operator: format!("operator-{operator}"),
        trust,
        runtime: "runc".to_owned(),
        gpu,
        vram_mib,
        vram_mib_proved: None,
        encodes: rng.random_bool(0.98),
        slots_total,
        cpu_milli_total: slots_total * rng.random_range(2_000..4_000),
        encode_cpu_milli: match gpu {
            GpuClass::RenderEncode => 0,
            GpuClass::Render => 300,
            GpuClass::None => 800,
        },
        mem_mib_total: slots_total * rng.random_range(3_072..8_192),
        uplink_kbps_total: Some(uplink as u32),
        price_permille: 1000,
        jobs: None,
        images,
        desktops: BTreeSet::new(),
        state: NodeState::default(),
    };
    Machine {
        view,
        metro,
        operator,
        rhythm,
    }
}

fn any_gpu(home: bool, rng: &mut ChaCha8Rng) -> (GpuClass, u32) {
    let (none, renders, small) = if home { (30, 72, 98) } else { (40, 65, 96) };
    let roll = rng.random_range(0..100);
    let gib = if roll < none {
        return (GpuClass::None, 0);
    } else if roll < renders {
        return (GpuClass::Render, 1024 * rng.random_range(2..8));
    } else if roll < small {
        [6, 8, 8, 12, 16][rng.random_range(0..5)]
    } else if home {
        24
    } else {
        [24, 24, 48, 80][rng.random_range(0..4)]
    };
    (GpuClass::RenderEncode, 1024 * gib)
}

/// The image of an app.
pub(crate) fn image(app: usize) -> String {
    format!("nearlight/app-{app}:1")
}
