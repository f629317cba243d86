//! The marker that every picture of a session carries: signs that follow from the session's id, drawn into luma before
//! encoding, so that whoever plays can tell that what it sees was made, or put together, by somebody who knew that id.
//!
//! Some blocks of 16 x 16 pixels in the first and the last row of macroblocks are each lifted or lowered by a few steps.
//! Which way says SHA-256 of the session's [`Key`] and of the slot, a quarter of a second of RTP time. An encoder drops
//! detail before it drops a block's mean, and what moves in the picture averages out over a slot and over blocks: a
//! [`Reader`] compares each block, less its neighbours, with the same block a slot before, where its sign has changed. What
//! could have been compared counts as looked for, so that leaving out what does not fit gains nothing.
//!
//! ```text
//! | . # . . # . . # . |   first row: # a block, . what it is compared with
//! |     the game      |
//! | . # . . # . . # . |   last whole row
//! ```
//!
//! **Invariants.** A pen allocates nothing, a reader a few bytes for each slot. What has RTP timestamps that do not go as
//! arrivals do says nothing, for the node and against it. Who does not know the id draws signs that agree as coins do. A
//! picture that is too small carries none, and nothing is looked for in it. Steps are larger where a block is rough and
//! hides them.
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
/// Slots before their number begins anew with RTP timestamps; the last one is shorter.
const SLOTS: u32 = u32::MAX / SLOT_TICKS + 1;
/// How much later than the least late picture one may arrive and still say something, milliseconds: a slot. Whoever could
/// choose timestamps freely would choose those whose signs fit what it has.
const STRAY_MS: i64 = 250;
/// Pairs of slots that are kept: an hour's. Of what follows nothing is looked for.
const PAIRS_MAX: usize = 14_400;
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
fn rows(luma: &[u8], stride: usize, (x, y): (usize, usize)) -> impl Iterator<Item = &[u8]> {
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

/// What a reader found of the signs that have changed from a slot to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signs {
    /// Those that went the way that they should.
    pub agree: u32,
    /// Those that went the other way.
    pub against: u32,
    /// All, with those that say nothing: blocks that did not change, slots without pictures, pictures that came late.
    pub looked: u32,
}

/// Looks for the marker of one session in what it played.
#[derive(Clone, Debug)]
pub struct Reader {
    key: Key,
    /// RTP timestamp of the newest picture, and its ticks since the first one.
    newest: Option<(u32, i64)>,
    /// The least that a picture arrived after its RTP time, milliseconds of two clocks that have nothing in common.
    least_ms: i64,
    before: Option<Slot>,
    now: Option<Slot>,
    pairs: Vec<Pair>,
}

/// What the pictures of a slot add up to.
#[derive(Clone, Copy, Debug)]
struct Slot {
    number: u32,
    /// As [`Reader::least_ms`], the most of its pictures.
    late_ms: i64,
    size: (usize, usize),
    blocks: usize,
    pictures: i64,
    /// Of each block: twice its luma less that of both neighbours.
    sums: [i64; BLOCKS_MAX],
}

/// Two slots that were compared, or could not be.
#[derive(Clone, Copy, Debug)]
struct Pair {
    late_ms: i64,
    signs: Signs,
}

impl Reader {
    /// For a session's key.
    #[must_use]
    pub fn new(key: Key) -> Self {
        Self {
            key,
            newest: None,
            least_ms: i64::MAX,
            before: None,
            now: None,
            pairs: Vec::new(),
        }
    }

    /// A picture, in the order in which they are shown, with when it arrived by a clock of ours.
    pub fn picture(&mut self, luma: &[u8], shape: Shape, rtp_timestamp: u32, at_us: u64) {
        let Some(places) = Places::of(shape, luma.len()) else {
            return;
        };
        let (number, size) = (slot_of(rtp_timestamp), (shape.width, shape.height));
        let (last, since) = self.newest.unwrap_or((rtp_timestamp, 0));
        // Timestamps wrap: what is less than half a round ahead is ahead.
        let since = since + i64::from(rtp_timestamp.wrapping_sub(last) as i32);
        self.newest = Some((rtp_timestamp, since));
        let late_ms = i64::try_from(at_us / 1000).unwrap_or(i64::MAX / 2) - since / 90;
        self.least_ms = self.least_ms.min(late_ms);
        let same = |slot: &Slot| slot.number == number && slot.size == size;
        if !self.now.as_ref().is_some_and(same) {
            let pair = self.compare();
            let room = self.pairs.len() < PAIRS_MAX;
            self.pairs.extend(pair.filter(|_| room));
            self.before = self.now.replace(Slot {
                number,
                late_ms,
                size,
                blocks: 2 * places.columns,
                pictures: 0,
                sums: [0; BLOCKS_MAX],
            });
        }
        let Some(now) = &mut self.now else { return };
        now.pictures += 1;
        now.late_ms = now.late_ms.max(late_ms);
        let sum = |x: usize, y: usize| {
            let row = |row: &[u8]| row.iter().copied().map(i64::from).sum::<i64>();
            rows(luma, shape.stride, (x, y)).map(row).sum::<i64>()
        };
        for (n, (x, y)) in places.iter().enumerate() {
            now.sums[n] += 2 * sum(x, y) - sum(x - SIDE, y) - sum(x + SIDE, y);
        }
    }

    /// What was found so far. How late is too late is known when all is there: the first picture may be a late one.
    #[must_use]
    pub fn signs(&self) -> Signs {
        let mut all = Signs::default();
        for pair in self.pairs.iter().copied().chain(self.compare()) {
            let in_time = pair.late_ms.saturating_sub(self.least_ms) <= STRAY_MS;
            all.agree += if in_time { pair.signs.agree } else { 0 };
            all.against += if in_time { pair.signs.against } else { 0 };
            all.looked = all.looked.saturating_add(pair.signs.looked);
        }
        all
    }

    /// The slot that is over with the one before it, where signs have changed. What is not the next slot, or of another
    /// size, is compared with nothing; half of the signs of each slot in between would have changed.
    fn compare(&self) -> Option<Pair> {
        let (before, now) = (self.before.as_ref()?, self.now.as_ref()?);
        let mut pair = Pair {
            late_ms: before.late_ms.max(now.late_ms),
            signs: Signs::default(),
        };
        let found = &mut pair.signs;
        let slots = (now.number + SLOTS - before.number) % SLOTS;
        if slots != 1 || before.size != now.size {
            // Back in time is one that does not fit.
            let missed = if slots > SLOTS / 2 { 1 } else { slots.max(1) };
            found.looked = missed * now.blocks as u32 / 2;
            return Some(pair);
        }
        let signs = self.key.signs(now.number);
        let changed = signs ^ self.key.signs(before.number);
        for n in (0..now.blocks).filter(|n| changed >> n & 1 == 1) {
            let rose = now.sums[n] * before.pictures - before.sums[n] * now.pictures;
            let way = signed(1, signs, n) * rose.signum() as i32;
            found.looked += 1;
            found.agree += u32::from(way > 0);
            found.against += u32::from(way < 0);
        }
        Some(pair)
    }
}

#[cfg(test)]
mod test;
