//! The right edge of the log: what has to be known to append, and which tiles an append makes.
//!
//! Level 0 has the leaves of the tile that is not full yet, each level above the roots of full tiles
//! below; none has 256. Beside them are the entries of the tile at level 0, for its bundle.
//!
//! **Invariants.** A tile of one width has one content for ever, so writing it again changes nothing.
//!
//! **What it does not know:** where tiles are kept, what an entry says.

use super::store::{Object, Store};
use nearlight_proof::log::tile::{self, TILE_WIDTH, Tile};
use nearlight_proof::log::tree::{self, Hash, LogHasher};
use std::io;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Edge {
    size: u64,
    /// Hashes of the tile that is not full, by level.
    levels: Vec<Vec<Hash>>,
    /// The bundle of the tile at level 0 that is not full.
    bundle: Vec<u8>,
}

impl Edge {
    /// That of the log of `size` entries whose tiles `store` has; `None` if one is missing or damaged.
    pub(super) fn load(size: u64, store: &dyn Store) -> io::Result<Option<Self>> {
        let mut edge = Self {
            size,
            ..Self::default()
        };
        for level in 0.. {
            let hashes = size.checked_shr(level * 8).unwrap_or(0);
            if hashes == 0 {
                break;
            }
            let index = hashes / TILE_WIDTH;
            let Some(part) = Tile::within(size, level, index) else {
                edge.levels.push(Vec::new());
                continue;
            };
            let bytes = super::reader::bytes(store, &part)?;
            let Some(hashes) = bytes.and_then(|bytes| tile::hashes(&part, &bytes)) else {
                return Ok(None);
            };
            edge.levels.push(hashes);
            if level == 0 {
                let Some(bundle) = super::reader::bundle(store, &part)? else {
                    return Ok(None);
                };
                edge.bundle = bundle;
            }
        }
        Ok(Some(edge))
    }

    /// How many entries there are.
    pub(super) const fn size(&self) -> u64 {
        self.size
    }

    /// The root over them.
    pub(super) fn root(&self) -> Hash {
        let mut rest: Option<Hash> = None;
        for level in &self.levels {
            // What is right of the full subtrees counts as one more of them.
            let nodes: Vec<Hash> = level.iter().copied().chain(rest).collect();
            if !nodes.is_empty() {
                rest = Some(tree::root::<LogHasher>(&nodes));
            }
        }
        rest.unwrap_or_else(|| tree::root::<LogHasher>(&[]))
    }

    /// Appends entries, each of at most [`tile::ENTRY_BYTES_MAX`] bytes; one that is longer is `None`,
    /// and nothing is appended. What has to be written, the parts of tiles that are not full last.
    pub(super) fn append<'a>(
        &mut self,
        entries: impl IntoIterator<Item = &'a [u8]>,
    ) -> Option<Vec<Object>> {
        let mut next = self.clone();
        let mut objects = Vec::new();
        for entry in entries {
            next.bundle.extend(tile::bundle([entry])?);
            next.size += 1;
            next.push(0, tree::leaf(entry), &mut objects);
        }
        for (level, hashes) in (0_u32..).zip(&next.levels) {
            let index = (next.size >> (level * 8)) / TILE_WIDTH;
            let unchanged = self.size >> (level * 8) == next.size >> (level * 8);
            let Some(part) = Tile::within(next.size, level, index).filter(|_| !unchanged) else {
                continue;
            };
            if level == 0 {
                objects.push(Object::new(part.bundle_path(), next.bundle.clone()));
            }
            objects.push(Object::new(part.to_string(), hashes.concat()));
        }
        *self = next;
        Some(objects)
    }

    fn push(&mut self, level: usize, hash: Hash, objects: &mut Vec<Object>) {
        if self.levels.len() <= level {
            self.levels.push(Vec::new());
        }
        self.levels[level].push(hash);
        if self.levels[level].len() as u64 == TILE_WIDTH {
            let hashes = std::mem::take(&mut self.levels[level]);
            let shift = 8 * (level as u32 + 1);
            let full = Tile {
                level: level as u32,
                index: (self.size >> shift) - 1,
                width: TILE_WIDTH,
            };
            if level == 0 {
                let bundle = std::mem::take(&mut self.bundle);
                objects.push(Object::new(full.bundle_path(), bundle));
            }
            objects.push(Object::new(full.to_string(), hashes.concat()));
            self.push(level + 1, tree::root::<LogHasher>(&hashes), objects);
        }
    }
}

#[cfg(test)]
mod test {
    use super::super::store::Directory;
    use super::*;
    use nearlight_proof::log::tree::{consistency, extends, leaf};

    fn entries(range: std::ops::Range<u64>) -> Vec<Vec<u8>> {
        range.map(|n| format!("entry {n}").into_bytes()).collect()
    }

    /// Whatever the batches are, roots and tiles are those of the plain tree over all leaves.
    #[test]
    fn batches_of_any_size_make_the_tree_of_all_leaves() {
        let dir = tempfile::tempdir().unwrap();
        let store = Directory::new(dir.path().to_owned());
        let mut edge = Edge::default();
        let mut leaves: Vec<Hash> = Vec::new();
        let mut before = (0, edge.root());
        for batch in [1_u64, 1, 254, 1, 255, 2, 700, 256, 65_000, 513] {
            let new = entries(edge.size()..edge.size() + batch);
            let objects = edge.append(new.iter().map(Vec::as_slice)).unwrap();
            store.put(&objects).unwrap();
            leaves.extend(new.iter().map(|entry| leaf(entry)));
            assert_eq!(edge.size(), leaves.len() as u64);
            let root = tree::root::<LogHasher>(&leaves);
            assert_eq!(edge.root(), root, "at {}", edge.size());
            let loaded = Edge::load(edge.size(), &store).unwrap();
            assert_eq!(loaded.as_ref(), Some(&edge), "at {}", edge.size());
            let fetch = |part: Tile| {
                let bytes = super::super::reader::bytes(&store, &part).unwrap()?;
                tile::hashes(&part, &bytes)
            };
            assert_eq!(tile::root(edge.size(), fetch), Some(root));
            let proof = consistency::<LogHasher>(&leaves, before.0 as usize).unwrap();
            let (old, new) = ((before.0, &before.1), (edge.size(), &root));
            assert!(extends::<LogHasher>(old, new, &proof));
            before = (edge.size(), root);
        }
    }

    #[test]
    fn an_entry_that_is_too_long_appends_nothing() {
        let mut edge = Edge::default();
        let long = vec![0; tile::ENTRY_BYTES_MAX + 1];
        assert!(edge.append([&b"a"[..], &long]).is_none());
        assert_eq!(edge, Edge::default());
    }

    #[test]
    fn a_missing_tile_is_not_made_up() {
        let dir = tempfile::tempdir().unwrap();
        let store = Directory::new(dir.path().to_owned());
        assert_eq!(Edge::load(3, &store).unwrap(), None);
    }
}
