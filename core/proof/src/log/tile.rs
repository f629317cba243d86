//! Tiles and bundles (c2sp.org/tlog-tiles): how a log is stored, served and read.
//!
//! A tile is 256 neighbouring hashes of every eighth level of the tree, the last one of a level
//! maybe fewer. Every proof follows from a few tiles: [`inclusion`], [`consistency`] and [`root`]
//! ask for those that they need, by a function that the caller gives. An entry bundle holds the
//! entries below a tile of level 0, each with its length.
//!
//! **What it does not know:** HTTP, files, caches. What a tile says is checked by the proof that
//! was made from it, against a checkpoint; nothing here trusts one.

use super::tree::{Hash, Hasher as _, LogHasher};
use crate::encoding::from_decimal;
use std::fmt;

/// Hashes in a full tile.
pub const TILE_WIDTH: u64 = 256;
/// The longest entry, in bytes: its length has two.
pub const ENTRY_BYTES_MAX: usize = 65_535;
/// Levels of the tree that one tile spans.
const TILE_HEIGHT: u32 = 8;

/// Which tile, and how many hashes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    /// Level of tiles, 0 at the leaves.
    pub level: u32,
    /// Which of its level.
    pub index: u64,
    /// How many hashes, 1 to 256.
    pub width: u64,
}

impl Tile {
    /// The tile `index` of a level as it is in a log of `size` entries, or `None` if it is empty.
    #[must_use]
    pub fn within(size: u64, level: u32, index: u64) -> Option<Self> {
        let hashes = size
            .checked_shr(level.checked_mul(TILE_HEIGHT)?)
            .unwrap_or(0);
        let width = hashes
            .checked_sub(index.checked_mul(TILE_WIDTH)?)?
            .min(TILE_WIDTH);
        (width > 0).then_some(Self {
            level,
            index,
            width,
        })
    }

    /// The path of the bundle with the entries below this tile of level 0.
    #[must_use]
    pub fn bundle_path(&self) -> String {
        format!("tile/entries/{}", self.place())
    }

    /// The tile that a path names; every other spelling of it is refused.
    #[must_use]
    pub fn parse(path: &str) -> Option<Self> {
        let (level, place) = path.strip_prefix("tile/")?.split_once('/')?;
        let (index, width) = match place.split_once(".p/") {
            Some((index, width)) => (index, from_decimal(width).filter(|w| (1..256).contains(w))?),
            None => (place, TILE_WIDTH),
        };
        let index = index.split('/').try_fold(0_u64, |sum, part| {
            let digits = part.strip_prefix('x').unwrap_or(part);
            let plain = digits.len() == 3 && digits.bytes().all(|b| b.is_ascii_digit());
            sum.checked_mul(1000)?
                .checked_add(digits.parse().ok().filter(|_| plain)?)
        })?;
        let level = u32::try_from(from_decimal(level).filter(|level| *level < 64)?).ok()?;
        let tile = Self {
            level,
            index,
            width,
        };
        (tile.to_string() == path).then_some(tile)
    }

    fn place(&self) -> String {
        let mut rest = self.index / 1000;
        let mut place = format!("{:03}", self.index % 1000);
        while rest > 0 {
            place = format!("x{:03}/{place}", rest % 1000);
            rest /= 1000;
        }
        if self.width < TILE_WIDTH {
            place.push_str(&format!(".p/{}", self.width));
        }
        place
    }
}

/// Its path below the log's prefix.
impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tile/{}/{}", self.level, self.place())
    }
}

/// What a tile holds, from its bytes; `None` if they are not `width` hashes.
#[must_use]
pub fn hashes(tile: &Tile, bytes: &[u8]) -> Option<Vec<Hash>> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    let fits = rest.is_empty() && hashes.len() as u64 == tile.width;
    fits.then(|| hashes.to_vec())
}

/// The tiles of a log of `size` entries that were not full tiles of one of `old_size`: what an
/// append writes. `None` if the log shrank.
#[must_use]
pub fn written(old_size: u64, size: u64) -> Option<Vec<Tile>> {
    let mut tiles = Vec::new();
    for level in 0..TILE_HEIGHT {
        let shift = level * TILE_HEIGHT;
        let (before, now) = (old_size >> shift, size >> shift);
        if before > now {
            return None;
        }
        if before == now {
            continue;
        }
        let range = before / TILE_WIDTH..now.div_ceil(TILE_WIDTH);
        tiles.extend(range.filter_map(|index| Tile::within(size, level, index)));
    }
    Some(tiles)
}

/// The inclusion path of entry `index` in a log of `size`, read from tiles. `fetch` gives a tile's
/// hashes. `None` if there is no such entry, or a tile is missing.
pub fn inclusion<F>(size: u64, index: u64, mut fetch: F) -> Option<Vec<Hash>>
where
    F: FnMut(Tile) -> Option<Vec<Hash>>,
{
    let (mut low, mut high, mut upwards) = (0, size, Vec::new());
    if index >= size {
        return None;
    }
    while high - low > 1 {
        let middle = low + split(high - low);
        if index < middle {
            upwards.push(range(size, middle, high, &mut fetch)?);
            high = middle;
        } else {
            upwards.push(range(size, low, middle, &mut fetch)?);
            low = middle;
        }
    }
    upwards.reverse();
    Some(upwards)
}

/// The proof that a log of `size` begins with its first `old_size` entries, read from tiles.
pub fn consistency<F>(old_size: u64, size: u64, mut fetch: F) -> Option<Vec<Hash>>
where
    F: FnMut(Tile) -> Option<Vec<Hash>>,
{
    if old_size > size {
        return None;
    }
    if old_size == 0 || old_size == size {
        return Some(Vec::new());
    }
    let (mut low, mut high, mut upwards) = (0, size, Vec::new());
    while old_size != high {
        let middle = low + split(high - low);
        if old_size <= middle {
            upwards.push(range(size, middle, high, &mut fetch)?);
            high = middle;
        } else {
            upwards.push(range(size, low, middle, &mut fetch)?);
            low = middle;
        }
    }
    if low > 0 {
        upwards.push(range(size, low, high, &mut fetch)?);
    }
    upwards.reverse();
    Some(upwards)
}

/// The root of a log of `size` entries, read from tiles.
pub fn root<F>(size: u64, mut fetch: F) -> Option<Hash>
where
    F: FnMut(Tile) -> Option<Vec<Hash>>,
{
    if size == 0 {
        Some(LogHasher::empty())
    } else {
        range(size, 0, size, &mut fetch)
    }
}

/// A bundle of entries, or `None` if one is too long or they are more than a tile has.
#[must_use]
pub fn bundle<'a>(entries: impl IntoIterator<Item = &'a [u8]>) -> Option<Vec<u8>> {
    let (mut bytes, mut count) = (Vec::new(), 0);
    for entry in entries {
        bytes.extend(u16::try_from(entry.len()).ok()?.to_be_bytes());
        bytes.extend(entry);
        count += 1;
    }
    (count <= TILE_WIDTH).then_some(bytes)
}

/// The entries of a bundle, or `None` if its lengths do not add up or it has more than a tile.
#[must_use]
pub fn entries(mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk::<2>()?;
        let (entry, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        entries.push(entry);
        bytes = rest;
    }
    (entries.len() as u64 <= TILE_WIDTH).then_some(entries)
}

/// The hash over the entries `low..high`, a range that the tree of `size` has on a path.
fn range<F>(size: u64, low: u64, high: u64, fetch: &mut F) -> Option<Hash>
where
    F: FnMut(Tile) -> Option<Vec<Hash>>,
{
    let length = high - low;
    if length.is_power_of_two() {
        return node(size, length.trailing_zeros(), low / length, fetch);
    }
    let middle = low + split(length);
    let left = range(size, low, middle, fetch)?;
    Some(LogHasher::parent(&left, &range(size, middle, high, fetch)?))
}

/// The hash of a full subtree: one in a tile, or the root over some of them.
fn node<F>(size: u64, level: u32, index: u64, fetch: &mut F) -> Option<Hash>
where
    F: FnMut(Tile) -> Option<Vec<Hash>>,
{
    let (tile_level, within) = (level / TILE_HEIGHT, level % TILE_HEIGHT);
    let first = index << within;
    let tile = Tile::within(size, tile_level, first / TILE_WIDTH)?;
    let start = usize::try_from(first % TILE_WIDTH).ok()?;
    let hashes = fetch(tile)?;
    Some(super::tree::root::<LogHasher>(
        hashes.get(start..start + (1 << within))?,
    ))
}

/// The greatest power of two below `length`, which is 2 at least.
const fn split(length: u64) -> u64 {
    1 << (u64::BITS - 1 - (length - 1).leading_zeros())
}

#[cfg(test)]
#[path = "tile/test.rs"]
mod test;
