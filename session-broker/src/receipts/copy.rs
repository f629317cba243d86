//! A copy of the log as of one size, while it grows: for back-ups.

use super::edge::Edge;
use super::reader;
use super::store::{Directory, Object, Store};
use nearlight_proof::log::tile;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long tiles may be missing that the ledger speaks of: a broker that runs has them within a moment.
const TILES_WITHIN: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Copies the tiles of the log of `size` entries, and all evidence, to another directory. The paths that
/// were written.
pub(crate) async fn copy(from: &Path, to: &Path, size: u64) -> io::Result<Vec<String>> {
    let (from, to) = (
        Directory::new(from.to_owned()),
        Directory::new(to.to_owned()),
    );
    let from: Arc<dyn Store> = Arc::new(from);
    let until = Instant::now() + TILES_WITHIN;
    while super::blocking(&from, move |store| Edge::load(size, store))
        .await?
        .is_none()
    {
        if Instant::now() > until {
            return Err(io::Error::other(
                "tiles are missing that the ledger speaks of; start the broker once, which makes them",
            ));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    super::blocking(&from, move |from| copy_now(from, &to, size)).await
}

fn copy_now(from: &dyn Store, to: &Directory, size: u64) -> io::Result<Vec<String>> {
    let missing = |path: &str| io::Error::other(format!("{path} is missing"));
    let mut written = Vec::new();
    let mut put = |path: String, bytes: Option<Vec<u8>>| {
        let bytes = bytes.ok_or_else(|| missing(&path))?;
        to.put(&[Object::new(path.clone(), bytes)])?;
        written.push(path);
        io::Result::Ok(())
    };
    for part in tile::written(0, size).unwrap_or_default() {
        put(part.to_string(), reader::bytes(from, &part)?)?;
        if part.level == 0 {
            put(part.bundle_path(), reader::bundle(from, &part)?)?;
        }
    }
    for first in from.list("evidence")? {
        for digest in from.list(&format!("evidence/{first}"))? {
            let path = format!("evidence/{first}/{digest}");
            // One whose time is over goes.
            if let Some(bytes) = from.get(&path)? {
                put(path, Some(bytes))?;
            }
        }
    }
    Ok(written)
}
