//! The render leg: rays that bend through seeded spheres, in fixed point, step by step.
//!
//! A frame's scene follows from the root of the frame before, so frames cannot be drawn out of
//! order or by two cards. Every step of a ray depends on the last, and its colour on every step.
//! All values fit 32 bits with a sign; shifts of negative numbers keep the sign.

mod rays;

use super::mixer::{digest, hash, mix, words};
use crate::log::tree::Hash;
use rays::Rays;

/// Pixels of a side of a tile.
pub const TILE_SIDE: usize = 64;
/// Pixels of a tile.
pub const TILE_PIXELS: usize = TILE_SIDE * TILE_SIDE;
/// The fewest steps of a ray in a probe that counts.
pub const STEPS_MIN: u32 = 96;
const SPHERES: usize = 4;
/// Half the side of the box that rays wrap around in.
const HALF: i32 = 4096;

/// A scene: what one frame's rays go through.
#[derive(Clone, Copy, Debug)]
pub struct Scene {
    key: u32,
    /// Centre and squared radius.
    spheres: [[i32; 4]; SPHERES],
}

/// The key of a frame's scene. The first frame's `previous` root is 32 zero bytes.
#[must_use]
pub fn frame_key(seed: &Hash, frame: u32, previous: &Hash) -> Hash {
    hash("porc/v1 frame", &[seed, &frame.to_le_bytes(), previous])
}

impl Scene {
    /// The scene of a frame.
    #[must_use]
    pub fn new(frame_key: &Hash) -> Self {
        let s = words(frame_key);
        let draw =
            |n: usize, axis: u32| mix(s[n & 7] ^ mix(axis.wrapping_mul(4).wrapping_add(n as u32)));
        let spheres = std::array::from_fn(|n| {
            let axis = |axis| (draw(n, axis) & 4095) as i32 - 2048;
            // Radii from 1024 to 2047.
            let radius = 1024 + (draw(n, 3) & 1023) as i32;
            [axis(0), axis(1), axis(2), radius * radius]
        });
        Self { key: s[7], spheres }
    }

    /// What its tiles are mixed with.
    #[must_use]
    pub const fn key(&self) -> u32 {
        self.key
    }

    /// Centre and squared radius of each sphere.
    #[must_use]
    pub const fn spheres(&self) -> &[[i32; 4]; SPHERES] {
        &self.spheres
    }

    /// Tile `index` of the frame, row by row. The oracle of the leg.
    #[must_use]
    pub fn tile(&self, index: u32, steps: u32) -> Vec<u32> {
        let key = mix(index ^ self.key);
        let mut tile = Vec::with_capacity(TILE_PIXELS);
        for row in 0..TILE_SIDE as u32 {
            let mut rays = Rays::of_row(key, row);
            (0..steps).for_each(|_| rays.step(&self.spheres));
            tile.extend(rays.colours());
        }
        tile
    }

    /// The digest of a tile: its leaf.
    #[must_use]
    pub fn digest(&self, index: u32, steps: u32) -> Hash {
        digest(&self.tile(index, steps))
    }
}

#[cfg(test)]
mod test;
