//! Assets of jobs on this node: `<data>/assets/`, files by digest.
//!
//! ```text
//! <hex>               whole and right: its SHA-256 is its name; never written again
//! <hex>.<owner>.part  on its way for one owner; goes on where it broke off
//! shelf.json          sizes, last uses, and whose right to each was shown
//! ```
//!
//! - [`shelf`]: what is here, what may go: pure. [`fetch`]: one download. [`reach`]: from where.
//!
//! **Whose it is.** Files are kept once, whoever fetched them; but a job gets one only if its owner has fetched
//! all of it by itself, with its own URL, once on this node. Who knows no more than a digest has not, and
//! gets nothing: for another owner the whole file is fetched again, hashed, and not kept twice. What is on its way
//! is its owner's, too: nobody goes on with another one's half, or waits for another one's server.
//!
//! A download that ends before it is whole leaves what has come, to be gone on with for a day; it counts as what is
//! here does, and is the first to go.
//!
//! **Invariants.** A name without `.part` is whole, right and on the disk. What a live job uses stays. All files
//! together stay below the limit. One owner fetches one file once at a time, however many of its jobs wait for it.

pub(crate) mod fetch;
pub(crate) mod reach;
pub(crate) mod shelf;

use fetch::{FetchError, Fetcher, MakeRoom, Target};
use nearlight_kit::files::write_atomic;
use nearlight_protocol::job::Asset;
use nearlight_protocol::limits::ASSETS_LISTED_MAX;
use nearlight_protocol::volume::asset_name;
use shelf::{Gone, Shelf};
use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};
use tokio::sync::{Mutex as AsyncMutex, Semaphore};

/// Downloads at a time.
const FETCHES_MAX: usize = 4;
/// Of one owner: whoever has slow servers holds up nobody else.
const FETCHES_OF_ONE_MAX: usize = 2;
/// For how long a download that broke off is gone on with.
const PART_KEPT: Duration = Duration::from_secs(24 * 3600);
const MIB: u64 = 1024 * 1024;

/// Why an asset is not to be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AssetError {
    #[error("its asset {url}: {source}")]
    Fetch {
        url: String,
        #[source]
        source: FetchError,
    },
    #[error("its asset {url} cannot be kept: {source}")]
    Disk {
        url: String,
        #[source]
        source: io::Error,
    },
}

/// The assets of a node.
#[derive(Debug)]
pub(crate) struct Assets {
    dir: PathBuf,
    fetcher: Fetcher,
    /// Held for a look-up, never across an await.
    shelf: Mutex<Shelf>,
    /// One a file that is being fetched for an owner, and how far it is.
    under_way: Mutex<HashMap<String, Arc<UnderWay>>>,
    turns: Semaphore,
    /// Turns of each owner.
    turns_of: Mutex<HashMap<String, Arc<Semaphore>>>,
}

#[derive(Debug, Default)]
struct UnderWay {
    turn: Arc<AsyncMutex<()>>,
    done: Arc<AtomicU64>,
}

/// While this lives, the files stay.
#[derive(Debug)]
pub(crate) struct InUse {
    assets: Arc<Assets>,
    digests: Vec<String>,
}

impl Drop for InUse {
    fn drop(&mut self) {
        let now = nearlight_kit::clock::unix_ms();
        let mut shelf = self.assets.shelf();
        for digest in &self.digests {
            shelf.let_go(digest, now);
        }
    }
}

/// Room that is set aside for a file while it is on its way.
struct Room {
    assets: Arc<Assets>,
    file: String,
}

impl Drop for Room {
    fn drop(&mut self) {
        let left = fs::metadata(self.assets.dir.join(&self.file));
        let left = left.map_or(0, |found| found.len());
        let now = nearlight_kit::clock::unix_ms();
        self.assets.shelf().broke_off(&self.file, left, now);
    }
}

/// Ends a download whose job is gone.
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Assets {
    /// Disk that they take, MiB, before anybody opens them.
    pub(crate) fn held_mib(data: &Path) -> u64 {
        let files = fs::read_dir(data.join("assets")).into_iter().flatten();
        let sizes = files.flatten().filter_map(|file| file.metadata().ok());
        let sizes = sizes.filter(fs::Metadata::is_file);
        sizes.map(|found| found.len()).sum::<u64>() / MIB
    }

    /// What an earlier agent has fetched. What is not whole, or in no list, is not kept.
    pub(crate) fn open(data: &Path, limit_mib: u64, fetcher: Fetcher) -> io::Result<Arc<Self>> {
        let dir = data.join("assets");
        fs::create_dir_all(&dir)?;
        let text = fs::read(dir.join("shelf.json")).unwrap_or_default();
        let mut shelf = Shelf::read(&text, limit_mib * MIB);
        shelf.retain(|digest, bytes| {
            fs::metadata(path(&dir, digest)).is_ok_and(|found| found.len() == bytes)
        });
        for entry in fs::read_dir(&dir)?.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            // What is no file is not ours: a disk that is mounted here has its own directories.
            let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
            if !is_file || name == "shelf.json" || shelf.has(&digest(&name)) {
                continue;
            }
            match fresh_part(&entry) {
                Some((bytes, left_ms)) => shelf.broke_off(&name, bytes, left_ms),
                None => fs::remove_file(entry.path())?,
            }
        }
        Ok(Arc::new(Self {
            dir,
            fetcher,
            shelf: Mutex::new(shelf),
            under_way: Mutex::default(),
            turns: Semaphore::new(FETCHES_MAX),
            turns_of: Mutex::default(),
        }))
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What an inventory lists: the last used, by owner and digest.
    pub(crate) fn listed(&self) -> Vec<String> {
        self.shelf().names(ASSETS_LISTED_MAX)
    }

    /// Disk that they may have, MiB.
    pub(crate) fn limit_mib(&self) -> u64 {
        self.shelf().limit() / MIB
    }

    /// Where a file is that is here.
    pub(crate) fn path(&self, digest: &str) -> PathBuf {
        path(&self.dir, digest)
    }

    /// A job uses these from now on, here or yet to come.
    pub(crate) fn used(self: &Arc<Self>, assets: &[Asset]) -> InUse {
        let mut shelf = self.shelf();
        let digests: Vec<String> = assets.iter().map(|asset| asset.digest.clone()).collect();
        for digest in &digests {
            shelf.hold(digest);
        }
        drop(shelf);
        InUse {
            assets: self.clone(),
            digests,
        }
    }

    /// Fetches what of a job's assets is not here. They have to be in use by then.
    pub(crate) async fn fetch(
        self: &Arc<Self>,
        owner: &str,
        assets: &[Asset],
    ) -> Result<(), AssetError> {
        for asset in assets {
            self.fetch_one(owner, asset).await?;
        }
        Ok(())
    }

    /// Bytes of a job's assets that are here by now, bytes in all, and how many are whole.
    pub(crate) fn progress(&self, owner: &str, assets: &[Asset]) -> (u64, u64, u32) {
        let (mut done, mut total, mut whole) = (0, 0, 0);
        for asset in assets {
            let size = self.shelf().size_for(owner, &asset.digest);
            total += size.unwrap_or(u64::from(asset.size_mib) * MIB);
            done += size.unwrap_or_else(|| {
                let under_way = self
                    .under_way
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                let one = under_way.get(&asset_name(owner, &asset.digest));
                one.map_or(0, |one| one.done.load(Ordering::Relaxed))
            });
            whole += u32::from(size.is_some());
        }
        (done, total, whole)
    }

    async fn fetch_one(self: &Arc<Self>, owner: &str, asset: &Asset) -> Result<(), AssetError> {
        let under_way = {
            let mut all = self
                .under_way
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            // Of those that nobody waits for nobody has a copy.
            all.retain(|_, one| Arc::strong_count(one) > 1);
            all.entry(asset_name(owner, &asset.digest))
                .or_default()
                .clone()
        };
        let turn = under_way.turn.clone().lock_owned().await;
        if self.shelf().size_for(owner, &asset.digest).is_some() {
            return Ok(());
        }
        let own_turns = self.turns_of(owner);
        let _own_slot = own_turns.acquire().await;
        let _slot = self.turns.acquire().await;
        let is_here = self.shelf().has(&asset.digest);
        let room = match is_here {
            true => None,
            false => Some(self.expect(owner, asset)?),
        };
        let stop = Stop(Arc::default());
        let target = Target {
            url: asset.url.clone(),
            digest: asset.digest.clone(),
            bytes_max: u64::from(asset.size_mib) * MIB,
            part: room.as_ref().map(|room| self.dir.join(&room.file)),
            make_room: self.make_room(owner, asset, is_here),
            done: under_way.done.clone(),
            stop: stop.0.clone(),
        };
        let fetcher = self.fetcher.clone();
        let entry = under_way.clone();
        let fetched = tokio::task::spawn_blocking(move || {
            // Nobody else writes the file before this thread has let go of it; whoever waits looks when it
            // is on the shelf.
            let fetched = fetcher.fetch(&target);
            (fetched, (room, turn, entry))
        });
        let (fetched, _held) = match fetched.await {
            Ok((fetched, held)) => (fetched, Some(held)),
            Err(error) => (Err(FetchError::Host(io::Error::other(error))), None),
        };
        let bytes = fetched.map_err(|source| AssetError::Fetch {
            url: asset.url.clone(),
            source,
        })?;
        self.keep(owner, asset, bytes, is_here)
    }

    fn turns_of(&self, owner: &str) -> Arc<Semaphore> {
        let all = self.turns_of.lock();
        let mut all = all.unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, turns| Arc::strong_count(turns) > 1);
        let turns = || Arc::new(Semaphore::new(FETCHES_OF_ONE_MAX));
        all.entry(owner.to_owned()).or_insert_with(turns).clone()
    }

    fn keep(
        &self,
        owner: &str,
        asset: &Asset,
        bytes: u64,
        is_here: bool,
    ) -> Result<(), AssetError> {
        let disk = |source| AssetError::Disk {
            url: asset.url.clone(),
            source,
        };
        let part = self.dir.join(part_name(owner, &asset.digest));
        if !is_here && self.shelf().has(&asset.digest) {
            // Another owner was faster with the same bytes.
            fs::remove_file(part).map_err(disk)?;
        } else if !is_here {
            fs::rename(part, self.path(&asset.digest)).map_err(disk)?;
            fs::File::open(&self.dir)
                .and_then(|dir| dir.sync_all())
                .map_err(disk)?;
        }
        let now = nearlight_kit::clock::unix_ms();
        let text = {
            let mut shelf = self.shelf();
            shelf.broke_off(&part_name(owner, &asset.digest), 0, now);
            shelf.put(&asset.digest, bytes, owner, now);
            shelf.text()
        };
        write_atomic(&self.dir.join("shelf.json"), &text, 0o600).map_err(disk)
    }

    /// An asset is to come.
    fn expect(self: &Arc<Self>, owner: &str, asset: &Asset) -> Result<Room, AssetError> {
        let file = part_name(owner, &asset.digest);
        let expected = (self.shelf()).expect(&file, u64::from(asset.size_mib) * MIB);
        expected.map_err(|source| AssetError::Fetch {
            url: asset.url.clone(),
            source: source.into(),
        })?;
        let assets = self.clone();
        Ok(Room { assets, file })
    }

    /// Removes what was used longest ago, as far as what comes needs it; one that is not kept needs nothing.
    fn make_room(self: &Arc<Self>, owner: &str, asset: &Asset, is_here: bool) -> MakeRoom {
        if is_here {
            return Box::new(|_| Ok(()));
        }
        let (assets, file) = (self.clone(), part_name(owner, &asset.digest));
        Box::new(move |bytes| {
            // Whoever wants one of these again looks at the shelf first, and they are gone by then.
            let mut shelf = assets.shelf();
            let (gone, fits) = shelf.comes(&file, bytes);
            for one in gone {
                let name = match one {
                    Gone::Asset(digest) => path(&assets.dir, &digest),
                    Gone::Part(name) => assets.dir.join(name),
                };
                tracing::info!(file = %name.display(), "an asset goes, for another needs the room");
                if let Err(error) = fs::remove_file(&name) {
                    tracing::error!(file = %name.display(), %error, "an asset cannot be removed; the next start does");
                }
            }
            fits
        })
    }
}

/// How much there is of what was on its way not long ago, and since when; what was left for long is nobody's.
fn fresh_part(entry: &fs::DirEntry) -> Option<(u64, u64)> {
    let found = entry.metadata().ok()?;
    let left = found.modified().ok()?;
    let is_part = entry.path().extension().is_some_and(|kind| kind == "part");
    let is_fresh = left.elapsed().is_ok_and(|age| age < PART_KEPT);
    let left_ms = left.duration_since(UNIX_EPOCH).ok()?.as_millis();
    (is_part && is_fresh).then(|| (found.len(), u64::try_from(left_ms).unwrap_or_default()))
}

fn path(dir: &Path, digest: &str) -> PathBuf {
    dir.join(digest.strip_prefix("sha256:").unwrap_or(digest))
}

fn part_name(owner: &str, digest: &str) -> String {
    let hex = digest.strip_prefix("sha256:").unwrap_or(digest);
    format!("{hex}.{owner}.part")
}

fn digest(name: &str) -> String {
    format!("sha256:{name}")
}

#[cfg(test)]
#[path = "assets/test.rs"]
mod test;
