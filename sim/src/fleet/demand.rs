//! The published mix of sessions: who comes when, what for, how long, and how patient they are.
//!
//! | app | share | GPU | VRAM | trust |
//! |---|---|---|---|---|
//! | light | 55 % | none | | any |
//! | 3D | 30 % | renders | | any |
//! | heavy | 10 % | encodes | 6 GiB | any |
//! | rare | 3.5 % | encodes | 20 GiB | any |
//! | trusted | 1 % | renders | | known operators |
//! | impossible | 0.5 % | encodes | 200 GiB | any |
//!
//! Apps of a kind follow a Zipf law over 40 images. A session lasts 3 to 240 minutes, 25 in the median. One
//! in five players closes the tab instead of ending it; one in thirty goes away from the keyboard. Who
//! waits gives up after 2 minutes in the mean. One tenant in ten sends half of all sessions.

use super::machines::{APPS, image};
use super::world::World;
use nearlight_placement::{Rtts, SessionRequest, Trust};
use nearlight_protocol::app::GpuClass;
use rand::Rng;
use rand::distr::{Distribution, weighted::WeightedIndex};
use rand_chacha::ChaCha8Rng;

/// Tenants.
pub(crate) const TENANTS: usize = 20;
/// Players of a metro: what they measured differs by their last mile.
const LAST_MILES: usize = 8;
/// Regions farther away than this are not measured by a player, milliseconds.
const MEASURED_MS_MAX: f64 = 150.0;

/// What a session asks for, as the report names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Wants {
    Light,
    Render,
    Heavy,
    Rare,
    Trusted,
    Impossible,
}

impl Wants {
    pub(crate) const ALL: [Self; 6] = [
        Self::Light,
        Self::Render,
        Self::Heavy,
        Self::Rare,
        Self::Trusted,
        Self::Impossible,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Render => "render",
            Self::Heavy => "heavy",
            Self::Rare => "rare",
            Self::Trusted => "trusted",
            Self::Impossible => "impossible",
        }
    }
}

/// Somebody who comes to play.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    pub(crate) wants: Wants,
    pub(crate) metro: usize,
    pub(crate) tenant: usize,
    pub(crate) request: SessionRequest,
    /// Of the first picture until the player goes, microseconds.
    pub(crate) plays_us: u64,
    /// In the queue, microseconds.
    pub(crate) patience_us: u64,
    pub(crate) leaves: Leaves,
}

/// How a player goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaves {
    /// By the button.
    Ends,
    /// By closing the tab.
    Closes,
    /// Away from the keyboard.
    Idles,
}

/// Who comes.
#[derive(Debug)]
pub(crate) struct Demand {
    /// Estimated round trips by metro and last mile.
    rtts: Vec<Rtts>,
    /// Sessions a day in each metro.
    daily: Vec<f64>,
    apps: WeightedIndex<f64>,
    tenants: WeightedIndex<f64>,
}

impl Demand {
    /// `sessions` a day over all metros. Some metros want more than they have, some less.
    pub(crate) fn new(world: &World, sessions: f64, rng: &mut ChaCha8Rng) -> Self {
        let metros = world.metros.len();
        let weights: Vec<f64> = (1..=metros)
            .map(|rank| rng.random_range(0.4..1.6) / (rank as f64).powf(0.9))
            .collect();
        let all: f64 = weights.iter().sum();
        let mut rtts = Vec::with_capacity(metros * LAST_MILES);
        for metro in 0..metros {
            for _ in 0..LAST_MILES {
                rtts.push(measured(world, metro, rng));
            }
        }
        let apps = WeightedIndex::new((1..=APPS).map(|rank| 1.0 / rank as f64));
        let tenants = (0..TENANTS).map(|n| if n < TENANTS / 10 { 9.0 } else { 1.0 });
        Self {
            rtts,
            daily: weights.iter().map(|w| sessions * w / all).collect(),
            apps: apps.expect("weights are positive"),
            tenants: WeightedIndex::new(tenants).expect("weights are positive"),
        }
    }

    /// Microseconds until the next visit in a metro, at the pace of its busiest hour: thin it with
    /// [`World::appetite`].
    pub(crate) fn next_in_us(&self, metro: usize, rng: &mut ChaCha8Rng) -> u64 {
        // The appetite's mean over a day.
        const MEAN: f64 = 0.08 + 0.92 * 0.424;
        let peak_a_second = self.daily[metro] / 86_400.0 / MEAN;
        let wait_s = -(1.0 - rng.random::<f64>()).ln() / peak_a_second;
        (wait_s * 1e6) as u64 + 1
    }

    pub(crate) fn visit(&self, metro: usize, rng: &mut ChaCha8Rng) -> Visit {
        let wants = match rng.random_range(0..1000) {
            0..550 => Wants::Light,
            550..850 => Wants::Render,
            850..950 => Wants::Heavy,
            950..985 => Wants::Rare,
            985..995 => Wants::Trusted,
            _ => Wants::Impossible,
        };
        let (gpu, vram_mib) = match wants {
            Wants::Light => (GpuClass::None, 0),
            Wants::Render | Wants::Trusted => (GpuClass::Render, 0),
            Wants::Heavy => (GpuClass::RenderEncode, 6 * 1024),
            Wants::Rare => (GpuClass::RenderEncode, 20 * 1024),
            Wants::Impossible => (GpuClass::RenderEncode, 200 * 1024),
        };
        let app = self.apps.sample(rng);
        let request = SessionRequest {
            // What an app needs is the app's, not the player's.
            cpu_milli: 500 + 37 * (app as u32 * 7 % 30),
            mem_mib: 512 + 64 * (app as u32 * 5 % 40),
            kbps: 6_000,
            gpu,
            vram_mib,
            image: image(app),
            trust: if wants == Wants::Trusted {
                Trust::Known
            } else {
                Trust::Open
            },
            rtts: self.rtts[metro * LAST_MILES + rng.random_range(0..LAST_MILES)].clone(),
            ..SessionRequest::default()
        };
        let minutes = (25.0 * log_normal(0.9, rng)).clamp(3.0, 240.0);
        Visit {
            wants,
            metro,
            tenant: self.tenants.sample(rng),
            request,
            plays_us: (minutes * 60e6) as u64,
            patience_us: (-(1.0 - rng.random::<f64>()).ln() * 120e6) as u64 + 5_000_000,
            leaves: match rng.random_range(0..30) {
                0 => Leaves::Idles,
                1..7 => Leaves::Closes,
                _ => Leaves::Ends,
            },
        }
    }
}

/// What a player knows of the regions around.
fn measured(world: &World, home: usize, rng: &mut ChaCha8Rng) -> Rtts {
    let last_mile = rng.random_range(2.0..8.0);
    let estimates = (0..world.metros.len()).map(|metro| {
        let ms = world.rtt_ms(home, metro) + last_mile + rng.random_range(0.0..2.0);
        let measured = ms < MEASURED_MS_MAX && rng.random_bool(0.95);
        // Where nobody measured, geography says how far it is.
        let ms = if measured {
            ms
        } else {
            ms * rng.random_range(1.0..1.3)
        };
        (world.metros[metro].name.clone(), ms as u32)
    });
    Rtts::new(estimates.collect::<Vec<_>>())
}

/// Of median 1.
fn log_normal(sigma: f64, rng: &mut ChaCha8Rng) -> f64 {
    // Twelve uniform numbers are normal enough for minutes.
    let normal: f64 = (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
    (sigma * normal).exp()
}
