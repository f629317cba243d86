//! The marker that every picture of a session carries: signs that follow from the session's id, drawn into luma before
//! encoding, so that whoever plays can tell that what it sees was encoded for this session.
//!
//! Some blocks of 16 x 16 pixels in the first and the last row of macroblocks are each lifted or lowered by a few steps.
//! Which way says SHA-256 of the session's [`Key`] and of the slot, a quarter of a second of RTP time. An encoder drops
//! detail before it drops a block's mean, and what moves in the picture averages out over a slot and over blocks: a
//! [`Reader`] compares each block, less its neighbours, with the same block a slot before, where its sign has changed.
//!
//! ```text
//! | . # . . # . . # . |   first row: # a block, . what it is compared with
//! |     the game      |
//! | . # . . # . . # . |   last whole row
//! ```
//!
//! **Invariants.** Nothing is allocated. What has RTP timestamps that do not go as time does agrees with nothing. Who does not know the id draws signs that agree as coins do. A picture that is
//! too small carries none, and nothing is looked for in it. Steps are larger where a block is rough and hides them.
//!
//! **What it does not know:** encoders, who plays, which counts pass: core/proof's `porw` says that.

use nearlight_protocol::id::SessionId;
use sha2::{Digest, Sha256};

/// A block's side: a macroblock's.
const SIDE: usize = 16;
/// Blocks in a row at most, and at least: with fewer nothing is drawn.
const COLUMNS: std::ops::RangeInclusive<usize> = 4..=16;
/// Blocks at most.
const BLOCKS_MAX: usize = 32;
/// The least height, so that both rows are apart.
const HEIGHT_MIN: usize = 4 * SIDE;
/// How long signs stay, in ticks of RTP's 90 kHz: a quarter of a second.
const SLOT_TICKS: u32 = 22_500;
/// How far the clock of RTP timestamps may be from that of arrivals, milliseconds. Whoever could choose timestamps freely
/// would choose those whose signs fit what it has.
const STRAY_MS: i64 = 2_000;
/// Steps of luma by which a plain block is lifted or lowered, and the roughest one. Measured with x264 as the worker
/// drives it, 720p60 of moving texture at 2 Mbit/s: 90 to 100 of a hundred signs come through, at 800 kbit/s 83 to 100.
const STEPS: (i32, i32) = (2, 8);

/// What signs follow from. Nobody has it before the session is there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key([u8; 32]);

impl Key {
    /// That of a session.
    #[must_use]
    pub fn of(session: &SessionId) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"nearlight marker v1\n");
        hash.update(session.as_str());
        Self(hash.finalize().into())
    }

    /// The signs of a slot, a bit each block: 1 is lifted.
    fn signs(&self, slot: u32) -> u32 {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(slot.to_be_bytes());
        let bytes: [u8; 32] = hash.finalize().into();
        u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

/// The slot of a picture, by its RTP timestamp at 90 kHz.
fn slot_of(rtp_timestamp: u32) -> u32 {
    rtp_timestamp / SLOT_TICKS
}

/// The slot of a picture that is committed at this time of the node's clock: its RTP timestamp follows from that.
fn slot_at(commit_us: u64) -> u32 {
    // The cast keeps the low 32 bits, which is how RTP timestamps wrap.
    slot_of((u128::from(commit_us) * 90_000 / 1_000_000) as u32)
}

/// A plane of luma.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Pixels.
    pub width: usize,
    /// Pixels.
    pub height: usize,
    /// Bytes from one row to the next.
    pub stride: usize,
}

/// Where the blocks are.
#[derive(Clone, Copy, Debug)]
struct Places {
    columns: usize,
    step: usize,
    bottom: usize,
}

impl Places {
    /// Those of a plane of `bytes` bytes, if it carries a marker.
    fn of(shape: Shape, bytes: usize) -> Option<Self> {
        let Shape {
            width,
            height,
            stride,
        } = shape;
        let whole = height.checked_sub(1)?.checked_mul(stride)?;
        if height < HEIGHT_MIN || stride < width || bytes < whole.checked_add(width)? {
            return None;
        }
        // Each has a neighbour to the left and to the right that is nobody else's block.
        let gaps = (width / SIDE).checked_sub(1)?;
        let columns = (gaps / 2).min(*COLUMNS.end());
        COLUMNS.contains(&columns).then(|| Self {
            columns,
            step: gaps / columns,
            bottom: (height / SIDE - 1) * SIDE,
        })
    }

    /// Their first pixels.
    fn iter(self) -> impl Iterator<Item = (usize, usize)> {
        [0, self.bottom].into_iter().flat_map(move |y| {
            (0..self.columns).map(move |n| ((n * self.step + self.step / 2) * SIDE, y))
        })
    }
}

/// Draws the marker of one session.
#[derive(Clone, Copy, Debug)]
pub struct Pen {
    key: Key,
    /// The signs of the newest slot.
    signs: (u32, u32),
}

impl Pen {
    /// For a session's key.
    #[must_use]
    pub fn new(key: Key) -> Self {
        Self {
            key,
            signs: (0, key.signs(0)),
        }
    }

    /// Draws into a picture that is committed at this time, and says what was drawn; `None` if it is too small.
    pub fn draw(&mut self, luma: &mut [u8], shape: Shape, commit_us: u64) -> Option<Drawn> {
        let places = Places::of(shape, luma.len())?;
        let slot = slot_at(commit_us);
        if self.signs.0 != slot {
            self.signs = (slot, self.key.signs(slot));
        }
        let mut drawn = Drawn {
            key: self.key,
            shape,
            slot,
            steps: [0; BLOCKS_MAX],
        };
        for (n, (x, y)) in places.iter().enumerate() {
            let steps = signed(steps(luma, shape.stride, (x, y)), self.signs.1, n);
            lift(luma, shape.stride, (x, y), steps);
            drawn.steps[n] = steps as i8;
        }
        Some(drawn)
    }
}

/// What a picture carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drawn {
    key: Key,
    shape: Shape,
    slot: u32,
    steps: [i8; BLOCKS_MAX],
}

impl Drawn {
    /// Whether that is what a picture carries that is committed at this time.
    #[must_use]
    pub fn is_of(&self, commit_us: u64) -> bool {
        self.slot == slot_at(commit_us)
    }

    /// Makes of a copy of that picture the one that is shown again at this time.
    pub fn redraw(&self, luma: &mut [u8], commit_us: u64) {
        let Some(places) = Places::of(self.shape, luma.len()) else {
            return;
        };
        let signs = self.key.signs(slot_at(commit_us));
        for (n, at) in places.iter().enumerate() {
            let old = i32::from(self.steps[n]);
            let new = signed(old.abs(), signs, n);
            lift(luma, self.shape.stride, at, new - old);
        }
    }
}

/// With the sign that the `n`-th block has.
fn signed(steps: i32, signs: u32, n: usize) -> i32 {
    match signs >> n & 1 {
        1 => steps,
        _ => -steps,
    }
}

/// The rows of a block that is within the plane.
fn rows<'a>(
    luma: &'a [u8],
    stride: usize,
    (x, y): (usize, usize),
) -> impl Iterator<Item = &'a [u8]> {
    (y..y + SIDE).map(move |row| &luma[row * stride + x..][..SIDE])
}

/// How far a block is lifted or lowered: half its mean step from pixel to pixel more than a plain one.
fn steps(luma: &[u8], stride: usize, at: (usize, usize)) -> i32 {
    let along = |row: &[u8]| {
        let pairs = row.iter().zip(&row[1..]);
        pairs.map(|(a, b)| u32::from(a.abs_diff(*b))).sum::<u32>()
    };
    let rough: u32 = rows(luma, stride, at).map(along).sum();
    let pairs = (SIDE * (SIDE - 1)) as u32;
    (STEPS.0 + (rough / pairs / 2) as i32).min(STEPS.1)
}

fn lift(luma: &mut [u8], stride: usize, (x, y): (usize, usize), by: i32) {
    for row in y..y + SIDE {
        for pixel in &mut luma[row * stride + x..][..SIDE] {
            *pixel = (i32::from(*pixel) + by).clamp(0, 255) as u8;
        }
    }
}

/// Looks for the marker of one session in what it played.
#[derive(Clone, Debug)]
pub struct Reader {
    key: Key,
    /// RTP timestamp and arrival of the first picture.
    first: Option<(u32, u64)>,
    before: Option<Slot>,
    now: Option<Slot>,
    agree: u32,
    looked: u32,
}

/// What the pictures of a slot add up to.
#[derive(Clone, Copy, Debug)]
struct Slot {
    number: u32,
    /// RTP time of its first picture since the first one of all.
    since_ms: i64,
    /// Whether that is far from when it arrived.
    strays: bool,
    size: (usize, usize),
    blocks: usize,
    pictures: i64,
    /// Of each block: twice its luma less that of both neighbours.
    sums: [i64; BLOCKS_MAX],
}

impl Reader {
    /// For a session's key.
    #[must_use]
    pub fn new(key: Key) -> Self {
        Self {
            key,
            first: None,
            before: None,
            now: None,
            agree: 0,
            looked: 0,
        }
    }

    /// A picture, in the order in which they are shown, with when it arrived by a clock of ours.
    pub fn picture(&mut self, luma: &[u8], shape: Shape, rtp_timestamp: u32, at_us: u64) {
        let Some(places) = Places::of(shape, luma.len()) else {
            return;
        };
        let (number, size) = (slot_of(rtp_timestamp), (shape.width, shape.height));
        let (first, since_us) = *self.first.get_or_insert((rtp_timestamp, at_us));
        let since_ms = i64::from(rtp_timestamp.wrapping_sub(first)) / 90;
        let arrived_ms = at_us.saturating_sub(since_us) as i64 / 1000;
        let strays = (since_ms - arrived_ms).abs() > STRAY_MS;
        let same = |slot: &Slot| slot.number == number && slot.size == size;
        if !self.now.as_ref().is_some_and(same) {
            self.compare();
            self.before = self.now.replace(Slot {
                number,
                since_ms,
                strays: false,
                size,
                blocks: 2 * places.columns,
                pictures: 0,
                sums: [0; BLOCKS_MAX],
            });
        }
        let Some(now) = &mut self.now else { return };
        now.pictures += 1;
        now.strays |= strays;
        let sum = |x: usize, y: usize| {
            let row = |row: &[u8]| row.iter().copied().map(i64::from).sum::<i64>();
            rows(luma, shape.stride, (x, y)).map(row).sum::<i64>()
        };
        for (n, (x, y)) in places.iter().enumerate() {
            now.sums[n] += 2 * sum(x, y) - sum(x - SIDE, y) - sum(x + SIDE, y);
        }
    }

    /// Signs that agree, of those that were looked for so far.
    #[must_use]
    pub fn chips(&self) -> [u32; 2] {
        let mut whole = self.clone();
        whole.compare();
        [whole.agree, whole.looked]
    }

    /// The slot that is over with the one before it, where signs have changed. None agrees of a time that was made up.
    fn compare(&mut self) {
        let (Some(before), Some(now)) = (&self.before, &self.now) else {
            return;
        };
        if before.size != now.size {
            return;
        }
        let signs = self.key.signs(now.number);
        let changed = signs ^ self.key.signs(before.number);
        let in_time = !before.strays && !now.strays && before.since_ms <= now.since_ms;
        for n in (0..now.blocks).filter(|n| changed >> n & 1 == 1) {
            self.looked += 1;
            let rose = now.sums[n] * before.pictures - before.sums[n] * now.pictures;
            let agrees = signed(1, signs, n) * rose.signum() as i32 > 0;
            self.agree += u32::from(agrees && in_time);
        }
    }
}

#[cfg(test)]
mod test;
