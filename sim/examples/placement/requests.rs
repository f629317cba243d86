//! The published mix: 80 % easy, 15 % for a rare GPU, 5 % that nobody can run.

use crate::fleet::{IMAGES, METROS, READY_APPS, app, image};
use nearlight_placement::{Rates, Rtts, SessionRequest, Trust};
use nearlight_protocol::app::GpuClass;
use nearlight_sim::fleet::World;
use rand::Rng;
use rand::distr::{Distribution, weighted::WeightedIndex};
use rand_chacha::ChaCha8Rng;

/// Players whose round trips are known. One region in twenty is not measured.
const PLAYERS: usize = 500;
/// What each costs where a node asks for all of the card's price, millionths an hour. Most ask for less or more.
const HOUR_MICRO: u64 = 200_000;

/// What kind of request it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// What most nodes can run.
    Easy,
    /// A GPU that encodes, with 24 or 48 GiB: one node in fifty, or fewer.
    Rare,
    /// Nobody can: too much VRAM, CPU that no node has, a runtime or a region that nobody is in, a
    /// price that no trusted node asks, or machines that are all full.
    Unsatisfiable,
}

pub(crate) struct Mix {
    players: Vec<Rtts>,
    apps: WeightedIndex<f64>,
}

impl Mix {
    pub(crate) fn new(world: &World, rng: &mut ChaCha8Rng) -> Self {
        let players = (0..PLAYERS).map(|_| player(world, rng)).collect();
        let apps = (1..=IMAGES).map(|rank| 1.0 / rank as f64);
        Self {
            players,
            apps: WeightedIndex::new(apps).expect("weights are positive"),
        }
    }

    pub(crate) fn next(&self, rng: &mut ChaCha8Rng) -> (Class, SessionRequest) {
        let easy = self.easy(rng);
        match rng.random_range(0..100) {
            0..80 => (Class::Easy, easy),
            80..95 => (Class::Rare, rare(easy, rng)),
            _ => (Class::Unsatisfiable, unsatisfiable(easy, rng)),
        }
    }

    fn easy(&self, rng: &mut ChaCha8Rng) -> SessionRequest {
        let operators = rng.random_range(0..8);
        let tenant = (0..operators).map(|_| {
            let operator = rng.random_range(0..200);
            (format!("operator-{operator}"), rng.random_range(1..5))
        });
        let held = tenant.collect();
        let request = SessionRequest {
            cpu_milli: rng.random_range(500..3_000),
            mem_mib: rng.random_range(512..4_096),
            kbps: rng.random_range(4_000..20_000),
            gpu: if rng.random_bool(0.6) {
                GpuClass::None
            } else {
                GpuClass::Render
            },
            image: image(self.apps.sample(rng)),
            trust: if rng.random_bool(0.9) {
                Trust::Open
            } else {
                Trust::Known
            },
            price_micro_h_max: rng.random_bool(0.3).then_some(300_000),
            rates: Rates {
                own: HOUR_MICRO,
                ..Rates::default()
            },
            rtts: self.players[rng.random_range(0..PLAYERS)].clone(),
            held,
            // Most are placed as they come.
            waited_ms: if rng.random_bool(0.85) {
                0
            } else {
                rng.random_range(0..20_000)
            },
            ..SessionRequest::default()
        };
        let ready = (0..READY_APPS).find(|rank| request.image == image(*rank));
        SessionRequest {
            desktop: ready.map(app),
            ..request
        }
    }
}

fn rare(easy: SessionRequest, rng: &mut ChaCha8Rng) -> SessionRequest {
    SessionRequest {
        gpu: GpuClass::RenderEncode,
        vram_mib: if rng.random_bool(0.7) { 20_480 } else { 40_960 },
        waited_ms: rng.random_range(0..20_000),
        ..easy
    }
}

fn unsatisfiable(easy: SessionRequest, rng: &mut ChaCha8Rng) -> SessionRequest {
    let mut request = easy;
    match rng.random_range(0..6) {
        0 => (request.gpu, request.vram_mib) = (GpuClass::Render, 200 * 1024),
        1 => request.runtime = Some("firecracker".to_owned()),
        2 => request.cpu_milli = 512_000,
        3 => request.regions = vec!["atlantis".to_owned()],
        4 => (request.trust, request.price_micro_h_max) = (Trust::Own, Some(10_000)),
        _ => request.cpu_milli = 56_000,
    }
    request
}

fn player(world: &World, rng: &mut ChaCha8Rng) -> Rtts {
    let home = world.any(rng);
    let last_mile = rng.random_range(2.0..8.0);
    let estimates: Vec<(String, u32)> = (0..METROS)
        .filter_map(|metro| {
            let ms = world.rtt_ms(home, metro) + last_mile + rng.random_range(0.0..2.0);
            let measured = rng.random_bool(0.95);
            measured.then(|| (world.metros[metro].name.clone(), ms as u32))
        })
        .collect();
    Rtts::new(estimates)
}
