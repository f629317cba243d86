//! What is written ahead of a swap: the entries between two sizes, so that whoever loads next can make the
//! tiles that a crash left out.
//!
//! `staged/SIZE-ROOT` holds the size before (8 bytes, big endian), then each entry after its length, as in
//! a bundle. The name says of which tree it is: one that lost its race is nobody's, and taken away.

use super::edge::Edge;
use super::store::{Object, Store};
use nearlight_proof::encoding::hex;
use nearlight_proof::log::tile;
use nearlight_proof::log::tree::Hash;
use std::io;

const FOLDER: &str = "staged";

/// Where the stage of a tree is.
pub(super) fn path(size: u64, root: &Hash) -> String {
    format!("{FOLDER}/{size}-{}", hex(root))
}

/// Entries on top of a tree of `old_size`, to be staged for the tree that they make; `None` if one is too
/// long.
pub(super) fn object<'a>(
    old_size: u64,
    (size, root): (u64, &Hash),
    entries: impl IntoIterator<Item = &'a [u8]>,
) -> Option<Object> {
    let mut bytes = old_size.to_be_bytes().to_vec();
    for entry in entries {
        bytes.extend(tile::bundle([entry])?);
    }
    Some(Object::new(path(size, root), bytes))
}

/// Makes the tiles of the tree that the ledger has, if they may be missing. Whether there was a stage.
pub(super) fn apply(store: &dyn Store, size: u64, root: &Hash) -> io::Result<bool> {
    let path = path(size, root);
    let Some(bytes) = store.get(&path)? else {
        return Ok(false);
    };
    let damaged = || io::Error::other(format!("{path} is damaged"));
    let (old_size, mut rest) = bytes.split_first_chunk::<8>().ok_or_else(damaged)?;
    let old_size = u64::from_be_bytes(*old_size);
    let mut entries = Vec::new();
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk::<2>().ok_or_else(damaged)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (entry, after) = after.split_at_checked(length).ok_or_else(damaged)?;
        entries.push(entry);
        rest = after;
    }
    let mut edge = Edge::load(old_size, store)?.ok_or_else(damaged)?;
    let objects = edge.append(entries).ok_or_else(damaged)?;
    if (edge.size(), edge.root()) != (size, *root) {
        return Err(damaged());
    }
    store.put(&objects)?;
    store.remove(&path)?;
    Ok(true)
}

/// Takes away what was staged for trees that the ledger will not have: all that are no larger than its own.
pub(super) fn tidy(store: &dyn Store, size: u64) -> io::Result<()> {
    for name in store.list(FOLDER)? {
        let of = name
            .split_once('-')
            .and_then(|(of, _)| of.parse::<u64>().ok());
        if of.is_none_or(|of| of <= size) {
            store.remove(&format!("{FOLDER}/{name}"))?;
        }
    }
    Ok(())
}
