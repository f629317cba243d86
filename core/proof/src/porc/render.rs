//! The render leg: rays that bend through seeded spheres, in fixed point, step by step.
//!
//! A frame's scene follows from the root of the frame before, so frames cannot be drawn out of
//! order or by two cards. Every step of a ray depends on the last, and its colour on every step.
//! All values fit 32 bits with a sign; shifts of negative numbers keep the sign.

use super::mixer::{digest, hash, mix, words};
use crate::log::tree::Hash;

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
        (0..TILE_PIXELS as u32)
            .map(|pixel| self.pixel(index, pixel, steps))
            .collect()
    }

    /// The digest of a tile: its leaf.
    #[must_use]
    pub fn digest(&self, index: u32, steps: u32) -> Hash {
        digest(&self.tile(index, steps))
    }

    fn pixel(&self, tile: u32, pixel: u32, steps: u32) -> u32 {
        let mut ray = Ray::new(mix(tile ^ self.key), pixel);
        (0..steps).for_each(|_| ray.step(&self.spheres));
        mix(ray.colour)
    }
}

/// A ray on its way.
#[derive(Clone, Copy, Debug)]
struct Ray {
    at: [i32; 3],
    speed: [i32; 3],
    colour: u32,
}

impl Ray {
    const fn new(tile_key: u32, pixel: u32) -> Self {
        let (column, row) = ((pixel & 63) as i32, (pixel >> 6) as i32);
        let drift = mix(tile_key ^ mix(pixel));
        Self {
            at: [(column - 32) * 64, (row - 32) * 64, -HALF],
            speed: [(drift & 31) as i32 - 16, (drift >> 5 & 31) as i32 - 16, 64],
            colour: drift,
        }
    }

    /// One step: every sphere that the ray is in bends it and colours it, then it moves on.
    #[inline]
    fn step(&mut self, spheres: &[[i32; 4]; SPHERES]) {
        for [x, y, z, squared] in spheres {
            let [dx, dy, dz] = [x - self.at[0], y - self.at[1], z - self.at[2]];
            let depth = squared - (dx * dx + dy * dy + dz * dz);
            // All ones inside, zero outside.
            let inside = !(depth >> 31);
            self.speed[0] += (dx >> 6) & inside;
            self.speed[1] += (dy >> 6) & inside;
            self.speed[2] += (dz >> 6) & inside;
            self.colour = self.colour.wrapping_add(((depth >> 8) & inside) as u32);
        }
        for axis in 0..3 {
            self.speed[axis] = self.speed[axis].clamp(-127, 127);
            let moved = self.at[axis] + self.speed[axis];
            self.at[axis] = ((moved + HALF) & (2 * HALF - 1)) - HALF;
        }
        let [x, y, z] = self.at.map(|place| place as u32);
        let path = x ^ y.rotate_left(11) ^ z.rotate_left(22);
        self.colour = self.colour.wrapping_mul(0x9e37_79b1) ^ path;
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn every_step_and_every_key_shows() {
        let scene = Scene::new(&frame_key(&[1; 32], 0, &[0; 32]));
        let tile = scene.tile(3, 96);
        let shorter = scene.tile(3, 95);
        assert!(tile.iter().zip(&shorter).filter(|(a, b)| a == b).count() < 4);
        let other = Scene::new(&frame_key(&[1; 32], 1, &[0; 32]));
        assert_ne!(scene.digest(3, 96), other.digest(3, 96));
        let distinct: std::collections::BTreeSet<_> = tile.iter().collect();
        assert!(distinct.len() > TILE_PIXELS - 8);
    }

    /// The widest products: from one corner of the box to the other.
    #[test]
    fn nothing_overflows() {
        let mut ray = Ray {
            at: [-HALF; 3],
            speed: [-127; 3],
            colour: 0,
        };
        let spheres = [[2047, 2047, 2047, 2047 * 2047]; SPHERES];
        (0..1_000).for_each(|_| ray.step(&spheres));
        assert!(ray.at.iter().all(|place| (-HALF..HALF).contains(place)));
    }
}
