//! Images on this node: which of them we have fetched, and which sessions use.
//!
//! - [`puller`]: fetches what the broker wants to be here, and removes what nobody needs.
//! - [`room`]: when the disk is too full for one that comes.
//!
//! **Invariants.** Only what this node has fetched itself is ever removed: what somebody built or
//! pulled by hand is theirs. An image that a session uses stays, from before it is looked for until the
//! session is over.
//!
//! **What it does not know:** apps and their versions.

mod order;
mod puller;
mod room;

pub(crate) use puller::{Found, Limits, Puller};
pub(crate) use room::Arrival;
use room::Arrivals;

use nearlight_kit::files::write_atomic;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The images that we have fetched.
#[derive(Debug)]
pub(crate) struct Images {
    path: PathBuf,
    /// Held for a look-up, never across an await.
    kept: Mutex<Kept>,
    arrivals: Arc<Arrivals>,
}

#[derive(Debug, Default)]
struct Kept {
    fetched: BTreeMap<String, Fetched>,
    /// Sessions that use an image.
    used: HashMap<String, usize>,
    /// Whether the file is older than this.
    is_dirty: bool,
}

/// An image that we have fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Fetched {
    /// When a session used it last, or it came; milliseconds since the Unix epoch.
    used_ms: u64,
}

/// While this lives, the image stays.
#[derive(Debug)]
pub(crate) struct InUse {
    images: Arc<Images>,
    image: String,
}

impl Drop for InUse {
    fn drop(&mut self) {
        let mut kept = self.images.kept();
        if let Some(uses) = kept.used.get_mut(&self.image) {
            *uses -= 1;
            if *uses == 0 {
                kept.used.remove(&self.image);
            }
        }
        kept.touch(&self.image);
    }
}

impl Kept {
    fn touch(&mut self, image: &str) {
        if let Some(fetched) = self.fetched.get_mut(image) {
            fetched.used_ms = nearlight_kit::clock::unix_ms();
            self.is_dirty = true;
        }
    }
}

impl Images {
    /// What an earlier agent has fetched. A file that cannot be read is begun anew: what was in it stays
    /// on the disk until somebody removes it by hand.
    pub(crate) fn open(data: &Path) -> Arc<Self> {
        let path = data.join("images.json");
        let read = std::fs::read(&path);
        let fetched = match read.map(|text| serde_json::from_slice(&text)) {
            Ok(Ok(fetched)) => fetched,
            Ok(Err(error)) => {
                tracing::warn!(path = %path.display(), %error, "cannot read which images were fetched; none of them will be removed");
                BTreeMap::new()
            }
            Err(_absent) => BTreeMap::new(),
        };
        Arc::new(Self {
            path,
            kept: Mutex::new(Kept {
                fetched,
                ..Kept::default()
            }),
            arrivals: Arc::default(),
        })
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session uses it from now on.
    pub(crate) fn used(self: &Arc<Self>, image: &str) -> InUse {
        let mut kept = self.kept();
        *kept.used.entry(image.to_owned()).or_default() += 1;
        kept.touch(image);
        drop(kept);
        InUse {
            images: self.clone(),
            image: image.to_owned(),
        }
    }

    /// An image that a session waits for is to come.
    pub(crate) fn arrival(&self) -> Arrival {
        self.arrivals.one()
    }

    /// It is being fetched: it is ours.
    pub(crate) fn fetching(&self, image: &str) {
        let mut kept = self.kept();
        let used_ms = nearlight_kit::clock::unix_ms();
        let fetched = Fetched { used_ms };
        kept.is_dirty |= kept.fetched.insert(image.to_owned(), fetched).is_none();
    }

    /// It is not here any more.
    fn removed(&self, image: &str) {
        let mut kept = self.kept();
        kept.is_dirty |= kept.fetched.remove(image).is_some();
    }

    /// What we have fetched and no session uses, longest unused first.
    fn unused(&self) -> Vec<String> {
        let kept = self.kept();
        let unused = kept.fetched.iter();
        let unused = unused.filter(|(image, _)| !kept.used.contains_key(*image));
        let mut unused: Vec<_> = unused
            .map(|(image, f)| (f.used_ms, image.clone()))
            .collect();
        unused.sort_unstable();
        unused.into_iter().map(|(_, image)| image).collect()
    }

    /// Everything that we have fetched.
    fn fetched(&self) -> Vec<String> {
        self.kept().fetched.keys().cloned().collect()
    }

    /// Writes it down, if it has changed.
    fn save(&self) -> io::Result<()> {
        let mut kept = self.kept();
        if !kept.is_dirty {
            return Ok(());
        }
        let text = serde_json::to_vec(&kept.fetched).map_err(io::Error::other)?;
        write_atomic(&self.path, &text, 0o600)?;
        kept.is_dirty = false;
        Ok(())
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn only_what_was_fetched_and_is_not_used_may_go() {
        let dir = tempfile::tempdir().unwrap();
        let images = Images::open(dir.path());
        let by_hand = images.used("built:1");
        assert_eq!(images.unused(), Vec::<String>::new());
        images.fetching("a:1");
        images.fetching("b:1");
        let (one, two) = (images.used("a:1"), images.used("a:1"));
        drop((one, by_hand));
        assert_eq!(images.unused(), ["b:1"], "one session is left on it");
        drop(two);
        assert_eq!(images.unused().len(), 2);
        images.save().unwrap();
        let again = Images::open(dir.path());
        assert_eq!(again.fetched(), ["a:1", "b:1"]);
        again.removed("a:1");
        again.save().unwrap();
        assert_eq!(Images::open(dir.path()).fetched(), ["b:1"]);
    }
}
