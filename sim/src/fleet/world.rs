//! Where metros are, how large, and what time of day it is there.

use rand::Rng;
use rand::distr::{Distribution, weighted::WeightedIndex};
use rand_chacha::ChaCha8Rng;

const CONTINENTS: usize = 6;
/// Round the earth, kilometres.
const EQUATOR_KM: f64 = 40_000.0;
const DAY_US: u64 = 24 * 3600 * 1_000_000;

/// Metros of uneven size on a few continents.
#[derive(Clone, Debug)]
pub struct World {
    /// The metros, largest first.
    pub metros: Vec<Metro>,
    sizes: WeightedIndex<f64>,
}

/// A metro: a region of the broker.
#[derive(Clone, Debug)]
pub struct Metro {
    /// Its region's name.
    pub name: String,
    /// Kilometres.
    x: f64,
    y: f64,
    /// How much of it is taken, usually: for who models no sessions.
    pub load: f64,
}

impl World {
    /// So many metros; a player or node is in the nth with a weight of n^-0.9.
    pub fn new(metros: usize, rng: &mut ChaCha8Rng) -> Self {
        let centres: Vec<(f64, f64)> = (0..CONTINENTS)
            .map(|_| {
                (
                    rng.random_range(0.0..16_000.0),
                    rng.random_range(0.0..8_000.0),
                )
            })
            .collect();
        let placed = (0..metros).map(|n| {
            let (x, y) = centres[rng.random_range(0..CONTINENTS)];
            Metro {
                name: format!("metro-{n}"),
                x: x + rng.random_range(-1_500.0..1_500.0),
                y: y + rng.random_range(-1_000.0..1_000.0),
                load: rng.random_range(0.3..0.95),
            }
        });
        let sizes = (1..=metros).map(|rank| 1.0 / (rank as f64).powf(0.9));
        Self {
            metros: placed.collect(),
            sizes: WeightedIndex::new(sizes).expect("weights are positive"),
        }
    }

    /// A metro, large ones more often.
    pub fn any(&self, rng: &mut ChaCha8Rng) -> usize {
        self.sizes.sample(rng)
    }

    /// Milliseconds between two metros: light in fibre that takes a detour.
    pub fn rtt_ms(&self, a: usize, b: usize) -> f64 {
        let (a, b) = (&self.metros[a], &self.metros[b]);
        2.0 + (a.x - b.x).hypot(a.y - b.y) * 1.5 / 100.0
    }

    /// The hour of the day in a metro, 0 to 24, so many microseconds after noon in the westernmost.
    pub fn hour(&self, metro: usize, now_us: u64) -> f64 {
        let utc = 0.5 + (now_us % DAY_US) as f64 / DAY_US as f64;
        let east = self.metros[metro].x / EQUATOR_KM;
        (utc + east).rem_euclid(1.0) * 24.0
    }

    /// How many want to play at that hour, as a share of those at the busiest one: most at nine in the
    /// evening, fewest at five in the morning.
    pub fn appetite(hour: f64) -> f64 {
        // Minutes from the peak on a circle of a day, sharpened in the evening.
        let phase = (hour - 21.0) / 24.0 * std::f64::consts::TAU;
        let wave = f64::midpoint(1.0, phase.cos());
        0.08 + 0.92 * wave.powf(1.5)
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn the_evening_is_busiest_and_comes_earlier_in_the_east() {
        let busiest = (0..24).max_by(|a, b| {
            World::appetite(f64::from(*a)).total_cmp(&World::appetite(f64::from(*b)))
        });
        assert_eq!(busiest, Some(21));
        let world = World::new(50, &mut ChaCha8Rng::seed_from_u64(1));
        let east = |m: &usize| world.metros[*m].x;
        let (west, east) = (
            (0..50).min_by(|a, b| east(a).total_cmp(&east(b))).unwrap(),
            (0..50).max_by(|a, b| east(a).total_cmp(&east(b))).unwrap(),
        );
        let ahead = (world.hour(east, 0) - world.hour(west, 0)).rem_euclid(24.0);
        assert!((1.0..14.0).contains(&ahead), "{ahead}");
        assert!(world.rtt_ms(west, east) > world.rtt_ms(west, west));
    }
}
