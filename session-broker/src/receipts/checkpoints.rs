//! Checkpoints that were signed, kept in the store before anybody sees them: what a ledger that lost its last
//! moments is held against.

use super::keys::Keys;
use super::store::{Object, Store};
use nearlight_proof::log::checkpoint::Checkpoint;
use nearlight_proof::log::note::{Algorithm, Note, VerifierKey};

/// Where they are, by size.
const CHECKPOINTS: &str = "checkpoints";

/// Keeps one, in place of all that are smaller.
pub(super) fn keep(store: &dyn Store, size: u64, note: &Note) -> std::io::Result<()> {
    let bytes = note.to_string().into_bytes();
    store.put(&[Object::new(format!("{CHECKPOINTS}/{size}"), bytes)])?;
    for older in sizes(store)? {
        if older < size {
            store.remove(&format!("{CHECKPOINTS}/{older}"))?;
        }
    }
    Ok(())
}

/// The sizes of which checkpoints are kept.
fn sizes(store: &dyn Store) -> std::io::Result<Vec<u64>> {
    let names = store.list(CHECKPOINTS)?;
    Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
}

/// The largest checkpoint that was ever signed here, under whichever name the log had.
pub(super) fn newest(store: &dyn Store, keys: &Keys) -> std::io::Result<Option<Checkpoint>> {
    let mut sizes = sizes(store)?;
    sizes.sort_unstable();
    for size in sizes.into_iter().rev() {
        let Some(bytes) = store.get(&format!("{CHECKPOINTS}/{size}"))? else {
            continue;
        };
        let opened = Note::parse(&bytes).ok().and_then(|note| {
            let origin = note.text().lines().next()?.to_owned();
            let key = VerifierKey::new(&origin, Algorithm::Ed25519, keys.log.public())?;
            Checkpoint::open(&note, &key).ok()
        });
        if opened.is_some() {
            return Ok(opened);
        }
    }
    Ok(None)
}
