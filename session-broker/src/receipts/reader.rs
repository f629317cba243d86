//! Reading tiles and bundles: as wide as is asked for, whatever wider part the store has.
//!
//! A part of a tile is the beginning of every wider part of it. So the store keeps the widest alone, and
//! older checkpoints are served from it.

use super::store::Store;
use nearlight_proof::log::tile::{self, TILE_WIDTH, Tile};
use nearlight_proof::log::tree::Hash;
use std::collections::HashMap;
use std::io;

/// A tile's bytes, cut to its width; `None` if the store has no such tile, or none as wide.
pub(super) fn bytes(store: &dyn Store, part: &Tile) -> io::Result<Option<Vec<u8>>> {
    let width = part.width as usize * size_of::<Hash>();
    let cut = |mut bytes: Vec<u8>| {
        (bytes.len() >= width).then(|| {
            bytes.truncate(width);
            bytes
        })
    };
    Ok(wide(store, part, Tile::to_string)?.and_then(cut))
}

/// The bundle of a tile of level 0, cut to its width.
pub(super) fn bundle(store: &dyn Store, part: &Tile) -> io::Result<Option<Vec<u8>>> {
    let cut = |bytes: Vec<u8>| {
        let entries = tile::entries(&bytes)?;
        let first = entries.get(..part.width as usize)?;
        tile::bundle(first.iter().copied())
    };
    Ok(wide(store, part, Tile::bundle_path)?.and_then(cut))
}

/// The inclusion path of an entry in the log of `size`; `None` if there is none, or a tile is missing.
pub(super) fn inclusion(store: &dyn Store, size: u64, index: u64) -> io::Result<Option<Vec<Hash>>> {
    let mut tiles = Tiles::new(store);
    let path = tile::inclusion(size, index, |part| tiles.fetch(part));
    tiles.done(path)
}

/// The proof that the log of `size` begins with its first `old_size` entries.
pub(super) fn consistency(
    store: &dyn Store,
    old_size: u64,
    size: u64,
) -> io::Result<Option<Vec<Hash>>> {
    let mut tiles = Tiles::new(store);
    let path = tile::consistency(old_size, size, |part| tiles.fetch(part));
    tiles.done(path)
}

/// The entry at a place of the log of `size`.
pub(super) fn entry(store: &dyn Store, size: u64, index: u64) -> io::Result<Option<Vec<u8>>> {
    let Some(part) = Tile::within(size, 0, index / TILE_WIDTH).filter(|_| index < size) else {
        return Ok(None);
    };
    let Some(bytes) = bundle(store, &part)? else {
        return Ok(None);
    };
    let entries = tile::entries(&bytes).unwrap_or_default();
    let at = (index % TILE_WIDTH) as usize;
    Ok(entries.get(at).map(|entry| entry.to_vec()))
}

/// The entries from `index` on that are in its bundle, of the log of `size`.
pub(super) fn entries_from(store: &dyn Store, size: u64, index: u64) -> io::Result<Vec<Vec<u8>>> {
    let Some(part) = Tile::within(size, 0, index / TILE_WIDTH).filter(|_| index < size) else {
        return Ok(Vec::new());
    };
    let Some(bytes) = bundle(store, &part)? else {
        return Ok(Vec::new());
    };
    let entries = tile::entries(&bytes).unwrap_or_default();
    let from = (index % TILE_WIDTH) as usize;
    let rest = entries.get(from..).unwrap_or_default();
    Ok(rest.iter().map(|entry| entry.to_vec()).collect())
}

/// Takes away the parts of a tile that a wider one stands for.
pub(super) fn tidy(store: &dyn Store, part: &Tile) -> io::Result<()> {
    for path in [Tile::to_string, Tile::bundle_path] {
        if part.level > 0 && path(part).contains("entries") {
            continue;
        }
        let parts = parts_of(part, path);
        for name in store.list(&parts)? {
            if name.parse().is_ok_and(|width: u64| width < part.width) {
                store.remove(&format!("{parts}/{name}"))?;
            }
        }
    }
    Ok(())
}

/// Where the parts of a tile are.
fn parts_of(part: &Tile, path: impl Fn(&Tile) -> String) -> String {
    let full = Tile {
        width: TILE_WIDTH,
        ..*part
    };
    format!("{}.p", path(&full))
}

/// A tile that is at least as wide.
fn wide(
    store: &dyn Store,
    part: &Tile,
    path: impl Fn(&Tile) -> String,
) -> io::Result<Option<Vec<u8>>> {
    if let Some(bytes) = store.get(&path(part))? {
        return Ok(Some(bytes));
    }
    let full = Tile {
        width: TILE_WIDTH,
        ..*part
    };
    if let Some(bytes) = store.get(&path(&full))? {
        return Ok(Some(bytes));
    }
    let parts = parts_of(part, &path);
    // Twice: the widest may be taken away for a wider one, or for the full tile, after it was seen.
    for _ in 0..2 {
        let widths = store.list(&parts)?;
        let widths = widths.iter().filter_map(|name| name.parse::<u64>().ok());
        let Some(width) = widths.max().filter(|width| *width >= part.width) else {
            break;
        };
        if let Some(bytes) = store.get(&format!("{parts}/{width}"))? {
            return Ok(Some(bytes));
        }
    }
    store.get(&path(&full))
}

/// Tiles that one proof has read.
struct Tiles<'a> {
    store: &'a dyn Store,
    read: HashMap<Tile, Vec<Hash>>,
    error: Option<io::Error>,
}

impl<'a> Tiles<'a> {
    fn new(store: &'a dyn Store) -> Self {
        Self {
            store,
            read: HashMap::new(),
            error: None,
        }
    }

    fn fetch(&mut self, part: Tile) -> Option<Vec<Hash>> {
        if let Some(hashes) = self.read.get(&part) {
            return Some(hashes.clone());
        }
        match bytes(self.store, &part) {
            Ok(bytes) => {
                let hashes = tile::hashes(&part, &bytes?)?;
                self.read.insert(part, hashes.clone());
                Some(hashes)
            }
            Err(error) => {
                self.error = Some(error);
                None
            }
        }
    }

    fn done<T>(self, found: Option<T>) -> io::Result<Option<T>> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(found),
        }
    }
}

#[cfg(test)]
mod test {
    use super::super::edge::Edge;
    use super::super::store::Directory;
    use super::*;

    #[test]
    fn the_widest_part_serves_every_narrower_one() {
        let dir = tempfile::tempdir().unwrap();
        let store = Directory::new(dir.path().to_owned());
        let mut edge = Edge::default();
        for n in 0..5_u8 {
            store.put(&edge.append([&[n][..]]).unwrap()).unwrap();
        }
        let widest = Tile::within(5, 0, 0).unwrap();
        tidy(&store, &widest).unwrap();
        assert_eq!(store.list("tile/0/000.p").unwrap(), ["5"]);
        assert_eq!(store.list("tile/entries/000.p").unwrap(), ["5"]);
        let three = Tile::within(3, 0, 0).unwrap();
        let of_five = bytes(&store, &widest).unwrap().unwrap();
        assert_eq!(bytes(&store, &three).unwrap().unwrap(), of_five[..96]);
        assert_eq!(
            bundle(&store, &three).unwrap().unwrap(),
            [0, 1, 0, 0, 1, 1, 0, 1, 2]
        );
        assert_eq!(entry(&store, 5, 4).unwrap(), Some(vec![4]));
        assert_eq!(entry(&store, 5, 5).unwrap(), None);
        assert_eq!(entries_from(&store, 5, 3).unwrap(), [[3], [4]]);
        assert_eq!(entries_from(&store, 4, 3).unwrap(), [[3]]);
        assert!(entries_from(&store, 5, 5).unwrap().is_empty());
        let six = Tile { width: 6, ..widest };
        assert_eq!(bytes(&store, &six).unwrap(), None);
    }
}
