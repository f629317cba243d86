//! What fills the bit rate: pictures drawn from a seed and the number of the commit alone.

use crate::canvas::{Canvas, Rect};
use clap::ValueEnum;

/// What is shown below the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Nothing.
    Plain,
    /// Blocks of noise, new in each frame.
    Noise,
    /// A landscape that scrolls, with sprites.
    Game,
}

/// A scene of some size.
#[derive(Debug)]
pub(crate) enum Scene {
    Plain,
    Noise { seed: u64 },
    Game(Landscape),
}

/// Side of a block of noise. With [`NOISE_CONTRAST`] it makes about 12 Mbit/s at 720p60 (x264
/// ultrafast at quantiser 26).
const NOISE_BLOCK: usize = 8;
const NOISE_CONTRAST: u64 = 24;

impl Scene {
    /// The scene for a place of this size.
    pub(crate) fn new(kind: Kind, seed: u64, place: Rect) -> Self {
        match kind {
            Kind::Plain => Self::Plain,
            Kind::Noise => Self::Noise { seed },
            Kind::Game => Self::Game(Landscape::new(seed, place.width, place.height)),
        }
    }

    /// Whether every commit changes the whole place.
    pub(crate) fn moves(&self) -> bool {
        match self {
            Self::Plain => false,
            Self::Noise { .. } | Self::Game(_) => true,
        }
    }

    /// Paints commit number `counter`.
    pub(crate) fn paint(&self, canvas: &mut Canvas<'_>, place: Rect, counter: u32) {
        match self {
            Self::Plain => {}
            Self::Noise { seed } => noise(*seed, canvas, place, counter),
            Self::Game(landscape) => landscape.paint(canvas, place, counter),
        }
    }
}

fn noise(seed: u64, canvas: &mut Canvas<'_>, place: Rect, counter: u32) {
    let mut random = Random::new(seed ^ u64::from(counter) << 32);
    for top in (0..place.height).step_by(NOISE_BLOCK) {
        for left in (0..place.width).step_by(NOISE_BLOCK) {
            let value = random.next();
            let grey = (128 - NOISE_CONTRAST / 2 + value % NOISE_CONTRAST) as u8;
            let tint = (value >> 32) as u8 & 31;
            let block = Rect::new(
                place.x + left,
                place.y + top,
                NOISE_BLOCK.min(place.width - left),
                NOISE_BLOCK.min(place.height - top),
            );
            canvas.fill(block, [grey, grey, grey.saturating_add(tint), 0xff]);
        }
    }
}

/// A plain in perspective that scrolls faster the nearer it is, so that no block of the encoder
/// moves as one, with balls that fly over it.
#[derive(Debug)]
pub(crate) struct Landscape {
    width: usize,
    /// Rows of the ground, each `width` pixels that repeat.
    rows: Vec<Vec<u8>>,
}

/// Balls, and their diameter as a part of the landscape's height.
const BALLS: usize = 12;
const BALL_PART: usize = 6;
/// Levels of noise in the ground's texture: with the speeds, about 12 Mbit/s as above.
const GRAIN: u64 = 40;
/// Columns per frame that the horizon and the nearest row scroll.
const SPEED_FAR: usize = 1;
const SPEED_NEAR: usize = 14;

impl Landscape {
    fn new(seed: u64, width: usize, height: usize) -> Self {
        let mut random = Random::new(seed);
        let coarse = Lattice::new(&mut random, 32);
        let fine = Lattice::new(&mut random, 8);
        let row = |y: usize| {
            (0..width)
                .flat_map(|x| {
                    let grain = (random.next() % GRAIN) as usize;
                    let level = (coarse.at(x, y) * 2 + fine.at(x, y)) / 3;
                    let level = (level * 7 / 8 + grain).min(255) as u8;
                    [level / 3, level / 2 + 64, level / 2 + 32, 0xff]
                })
                .collect()
        };
        Self {
            width,
            rows: (0..height).map(row).collect(),
        }
    }

    fn paint(&self, canvas: &mut Canvas<'_>, place: Rect, counter: u32) {
        let height = self.rows.len();
        for (y, ground) in self.rows.iter().enumerate() {
            let speed = SPEED_FAR * height + (SPEED_NEAR - SPEED_FAR) * y;
            let shift = counter as usize * speed / height % self.width * 4;
            let row = &mut canvas.row_mut(place.y + y)[place.x * 4..][..self.width * 4];
            let (first, second) = ground.split_at(shift);
            row[..second.len()].copy_from_slice(second);
            row[second.len()..].copy_from_slice(first);
        }
        let side = height / BALL_PART;
        for ball in 0..BALLS {
            let time = counter as usize;
            let left = bounce(
                time * (2 + ball % 5) + ball * 997,
                self.width.saturating_sub(side),
            );
            let top = bounce(time * (1 + ball % 3) + ball * 131, height - side);
            let shade = (ball * 20) as u8;
            disc(
                canvas,
                place,
                left,
                top,
                side,
                [shade, 240 - shade, 255, 0xff],
            );
        }
    }
}

fn disc(
    canvas: &mut Canvas<'_>,
    place: Rect,
    left: usize,
    top: usize,
    side: usize,
    colour: [u8; 4],
) {
    let radius = side as f32 / 2.0;
    for y in 0..side {
        let up = y as f32 + 0.5 - radius;
        let half = (radius * radius - up * up).max(0.0).sqrt() as usize;
        let start = place.x + left + side / 2 - half;
        canvas.fill(Rect::new(start, place.y + top + y, half * 2, 1), colour);
    }
}

/// A point that runs to and fro between 0 and `end`.
fn bounce(time: usize, end: usize) -> usize {
    match end {
        0 => 0,
        end => {
            let phase = time % (2 * end);
            phase.min(2 * end - phase)
        }
    }
}

/// Random values on a grid of 64 by 64 points, with straight lines between them.
struct Lattice {
    pitch: usize,
    values: Vec<u8>,
}

impl Lattice {
    const POINTS: usize = 64;

    fn new(random: &mut Random, pitch: usize) -> Self {
        let count = Self::POINTS * Self::POINTS;
        Self {
            pitch,
            values: (0..count).map(|_| random.next() as u8).collect(),
        }
    }

    fn at(&self, x: usize, y: usize) -> usize {
        let (column, across) = (x / self.pitch, x % self.pitch);
        let (row, down) = (y / self.pitch, y % self.pitch);
        let value = |column: usize, row: usize| {
            let (column, row) = (column % Self::POINTS, row % Self::POINTS);
            usize::from(self.values[row * Self::POINTS + column])
        };
        let between =
            |a: usize, b: usize, part: usize| (a * (self.pitch - part) + b * part) / self.pitch;
        let upper = between(value(column, row), value(column + 1, row), across);
        let lower = between(value(column, row + 1), value(column + 1, row + 1), across);
        between(upper, lower, down)
    }
}

/// SplitMix64: small, seeded, and the same on every machine.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn painted(kind: Kind, seed: u64, counter: u32) -> Vec<u8> {
        let place = Rect::new(0, 0, 320, 120);
        let mut bytes = vec![0; 320 * 120 * 4];
        let mut canvas = Canvas::over(&mut bytes, (320, 120));
        Scene::new(kind, seed, place).paint(&mut canvas, place, counter);
        bytes
    }

    #[test]
    fn a_seed_and_a_counter_make_one_picture() {
        for kind in [Kind::Noise, Kind::Game] {
            assert_eq!(painted(kind, 1, 7), painted(kind, 1, 7));
            assert_ne!(painted(kind, 1, 7), painted(kind, 2, 7));
            assert_ne!(painted(kind, 1, 7), painted(kind, 1, 8));
        }
    }

    #[test]
    fn no_counter_is_out_of_range() {
        for counter in [0, 1, u32::MAX] {
            painted(Kind::Game, 1, counter);
            painted(Kind::Noise, 1, counter);
        }
    }
}
