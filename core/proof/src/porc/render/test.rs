//! Tiles against the plain ray: one by itself, in 32 bits, as docs/proof.md and the WGSL have it.

use super::*;
use proptest::prelude::*;

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

/// The tile, ray by ray.
fn plain(scene: &Scene, index: u32, steps: u32) -> Vec<u32> {
    let pixel = |pixel| {
        let mut ray = Ray::new(mix(index ^ scene.key), pixel);
        (0..steps).for_each(|_| ray.step(&scene.spheres));
        mix(ray.colour)
    };
    (0..TILE_PIXELS as u32).map(pixel).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn rays_side_by_side_are_each_the_plain_one(key: [u8; 32], tile: u32, steps in 0_u32..200) {
        let scene = Scene::new(&key);
        prop_assert!(scene.tile(tile, steps) == plain(&scene, tile, steps), "tile {tile}, {steps} steps");
    }
}

/// The widest distances, from one corner of the box to the other, and the fastest rays: all spheres in one corner,
/// each so large that a ray is in all four of them at once.
#[test]
fn they_are_so_at_the_edges_of_16_bits() {
    let corners = [[2047, 2047, 2047], [-2048, -2048, -2048], [-2048, 2047, 0]];
    for [x, y, z] in corners {
        for squared in [2047 * 2047, 3 * 6144 * 6144] {
            let scene = Scene {
                key: 5,
                spheres: [[x, y, z, squared]; SPHERES],
            };
            assert!(
                scene.tile(9, 1_000) == plain(&scene, 9, 1_000),
                "{x} {y} {z} {squared}"
            );
        }
    }
}

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
