//! The rays of one row of a tile, side by side.
//!
//! Each loop does one thing to all of them, so that a compiler makes vector instructions of it where there are
//! any; where there are none the result is the same. Places (-4096 to 4095), speeds (-127 to 127, before they are
//! clamped 511 at most) and distances (6143 at most) fit 16 bits, and are kept so, for twice as many of them fit a register;
//! depths and colours have 32.
//!
//! **Invariant.** Nothing here wraps but colours: the ray by itself in the tests has the same arithmetic in 32 bits.

use super::{HALF, SPHERES, TILE_SIDE, mix};

/// As many as a row of a tile has.
const LANES: usize = TILE_SIDE;
/// The fastest along an axis.
const SPEED_MAX: i16 = 127;
/// What is left of 16 bits beside a place.
const SPARE: u32 = u16::BITS - (2 * HALF as u32).ilog2();

type Lanes<T> = [T; LANES];

/// Rays on their way.
#[derive(Clone, Debug)]
pub(super) struct Rays {
    at: [Lanes<i16>; 3],
    speed: [Lanes<i16>; 3],
    colour: Lanes<u32>,
}

impl Rays {
    /// Those of a tile's row, before their first step.
    pub(super) fn of_row(tile_key: u32, row: u32) -> Self {
        let each = |lane: usize| mix(tile_key ^ mix(row * LANES as u32 + lane as u32));
        let drift: Lanes<u32> = std::array::from_fn(each);
        let column = |lane: usize| (lane as i16 - 32) * 64;
        let up = (row as i16 - 32) * 64;
        let aside = |bits: u32| (bits & 31) as i16 - 16;
        Self {
            at: [
                std::array::from_fn(column),
                [up; LANES],
                [-HALF as i16; LANES],
            ],
            speed: [
                drift.map(aside),
                drift.map(|bits| aside(bits >> 5)),
                [64; LANES],
            ],
            colour: drift,
        }
    }

    /// One step: every sphere that a ray is in bends it and colours it, then it moves on.
    #[inline]
    pub(super) fn step(&mut self, spheres: &[[i32; 4]; SPHERES]) {
        for sphere in spheres {
            self.bend(sphere);
        }
        for (at, speed) in self.at.iter_mut().zip(&mut self.speed) {
            for (at, speed) in at.iter_mut().zip(speed) {
                *speed = (*speed).clamp(-SPEED_MAX, SPEED_MAX);
                // Around the box: the sign is the place's own uppermost bit again.
                *at = (at.wrapping_add(*speed) << SPARE) >> SPARE;
            }
        }
        let [x, y, z] = &self.at;
        for (lane, colour) in self.colour.iter_mut().enumerate() {
            let [x, y, z] = [x, y, z].map(|of| i32::from(of[lane]) as u32);
            let path = x ^ y.rotate_left(11) ^ z.rotate_left(22);
            *colour = colour.wrapping_mul(0x9e37_79b1) ^ path;
        }
    }

    #[inline]
    fn bend(&mut self, [x, y, z, squared]: &[i32; 4]) {
        let from = |centre: i32, at: &Lanes<i16>| at.map(|at| (centre as i16).wrapping_sub(at));
        let [dx, dy, dz] = [
            from(*x, &self.at[0]),
            from(*y, &self.at[1]),
            from(*z, &self.at[2]),
        ];
        let square = |of: i16| i32::from(of) * i32::from(of);
        let mut depth = [0_i32; LANES];
        for (lane, depth) in depth.iter_mut().enumerate() {
            let distance = square(dx[lane])
                .wrapping_add(square(dy[lane]))
                .wrapping_add(square(dz[lane]));
            *depth = squared.wrapping_sub(distance);
        }
        // All ones inside, zero outside.
        let inside = depth.map(|depth| !((depth >> 31) as i16));
        for (speed, distance) in self.speed.iter_mut().zip([dx, dy, dz]) {
            for (lane, speed) in speed.iter_mut().enumerate() {
                *speed = speed.wrapping_add((distance[lane] >> 6) & inside[lane]);
            }
        }
        for (colour, depth) in self.colour.iter_mut().zip(depth) {
            *colour = colour.wrapping_add(((depth >> 8) & !(depth >> 31)) as u32);
        }
    }

    /// What their pixels are.
    pub(super) fn colours(&self) -> Lanes<u32> {
        self.colour.map(mix)
    }
}
