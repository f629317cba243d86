//! The one task that fetches images ahead of sessions, and removes them.

use super::Images;
use super::order::Order;
use crate::agent::Message;
use crate::limits::IMAGES_LISTED_MAX;
use crate::runtime::{Pulled, Runtime, RuntimeError};
use nearlight_protocol::control::{ImageFault, ImagesWanted};
use nix::sys::statvfs::statvfs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Between two looks at what is here: somebody builds one now and then.
const LOOK_EVERY: Duration = Duration::from_secs(15);
const MIB: u64 = 1024 * 1024;

/// What the operator allows.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub(crate) struct Limits {
    /// Images that are fetched at a time.
    pub(crate) pulls_max: usize,
    /// Fetched images take at most so much, MiB.
    pub(crate) disk_mib: u64,
    /// So much of the disk stays free, MiB.
    pub(crate) free_mib: u64,
}

/// What the agent is told.
#[derive(Debug)]
pub(crate) struct Found {
    /// Images that are here.
    pub(crate) images: Vec<String>,
    /// Images that could not be had.
    pub(crate) faults: Vec<ImageFault>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Puller {
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) images: Arc<Images>,
    pub(crate) limits: Limits,
    pub(crate) wanted: watch::Receiver<ImagesWanted>,
    pub(crate) agent: mpsc::Sender<Message>,
}

type Job = (String, Result<(), RuntimeError>);

impl Puller {
    /// Runs until the node stops. What is being fetched then is left to the engine.
    pub(crate) async fn run(self, stop: CancellationToken) {
        self.follow(Order::default(), stop).await;
    }

    async fn follow(mut self, mut order: Order, stop: CancellationToken) {
        let mut jobs: JoinSet<Job> = JoinSet::new();
        let mut look = tokio::time::interval(LOOK_EVERY);
        let mut told = None;
        let mut could_look = true;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                changed = self.wanted.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    order.want(self.wanted.borrow_and_update().clone());
                }
                Some(done) = jobs.join_next() => {
                    if let Ok((image, result)) = done {
                        settle(&mut order, &image, result);
                    }
                }
                // After a look that failed what is due stays so: the next tick looks again.
                () = until(order.due(self.limits.pulls_max).filter(|_| could_look)) => {}
                _ = look.tick() => {}
            }
            // An engine that does not answer says nothing of what it has: what it had last goes on to count.
            let here = self.look(&order).await;
            could_look = here.is_some();
            if let Some(here) = here {
                order.found(here);
                self.evict(&order).await;
                self.fetch(&mut order, &mut jobs).await;
            }
            if let Err(error) = self.images.save() {
                tracing::warn!(%error, "cannot write down which images were fetched");
            }
            let now = (order.told(IMAGES_LISTED_MAX), order.faults());
            if told.as_ref() != Some(&now) {
                told = Some(now.clone());
                let (images, faults) = now;
                let found = Message::Images(Found { images, faults });
                if self.agent.send(found).await.is_err() {
                    return;
                }
            }
        }
    }

    /// What is here, under the names that the broker has for it too; `None` if the engine does not say.
    async fn look(&self, order: &Order) -> Option<Vec<String>> {
        match self.here(order).await {
            Ok(here) => Some(here),
            Err(error) => {
                tracing::warn!(%error, "cannot see which images are here");
                None
            }
        }
    }

    async fn here(&self, order: &Order) -> Result<Vec<String>, RuntimeError> {
        let mut here = self.runtime.images().await?;
        for image in order.unlisted(&here) {
            if self.runtime.image_bytes(&image).await?.is_some() {
                here.push(image);
            }
        }
        Ok(here)
    }

    async fn fetch(&self, order: &mut Order, jobs: &mut JoinSet<Job>) {
        while let Some(image) = order.next(self.limits.pulls_max, Instant::now()) {
            if let Some(detail) = self.lacks_room().await {
                order.failed(&image, detail, Instant::now());
                continue;
            }
            tracing::info!(image, "fetching an image ahead of sessions");
            let (runtime, images) = (self.runtime.clone(), self.images.clone());
            jobs.spawn(async move {
                // Heard of before the first byte, and not where the image is here.
                let pulled = |_: Pulled| images.fetching(&image);
                let result = runtime.fetch(&image, None, &pulled).await;
                (image, result)
            });
        }
    }

    /// Why no image should be fetched, if so.
    async fn lacks_room(&self) -> Option<String> {
        let free_mib = self.free_mib().await?;
        let least = self.limits.free_mib;
        (free_mib < least).then(|| {
            format!(
                "the disk has {free_mib} MiB free, and {least} are to stay free (images.free_mib)"
            )
        })
    }

    /// What is free where images lie; `None` where that is not on this host.
    async fn free_mib(&self) -> Option<u64> {
        let store: PathBuf = self.runtime.image_store().await?;
        let stat = statvfs(&store).ok()?;
        Some(stat.blocks_available() * stat.fragment_size() / MIB)
    }

    /// Removes what no version needs, longest unused first, while there is too much of it.
    async fn evict(&self, order: &Order) {
        let mut sizes = Vec::new();
        for image in self.images.fetched() {
            match self.runtime.image_bytes(&image).await {
                Ok(Some(bytes)) => sizes.push((image, bytes / MIB)),
                // Somebody has removed it, or it never came.
                Ok(None) if !order.needs(&image) => self.images.removed(&image),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(image, %error, "cannot see how large an image is; none is removed for now");
                    return;
                }
            }
        }
        let mut total: u64 = sizes.iter().map(|(_, mib)| mib).sum();
        for image in self.images.unused() {
            let free = self.free_mib().await;
            let is_full = free.is_some_and(|free| free < self.limits.free_mib);
            if total <= self.limits.disk_mib && !is_full {
                return;
            }
            if order.needs(&image) {
                continue;
            }
            match self.runtime.remove_image(&image).await {
                Ok(true) => {
                    tracing::info!(image, "an image that no version needs is removed");
                    self.images.removed(&image);
                    let of = sizes.iter().find(|(of, _)| *of == image);
                    total = total.saturating_sub(of.map_or(0, |(_, mib)| *mib));
                }
                // A container of somebody's has it.
                Ok(false) => {}
                Err(error) => tracing::warn!(image, %error, "cannot remove an image"),
            }
        }
    }
}

fn settle(order: &mut Order, image: &str, result: Result<(), RuntimeError>) {
    match result {
        Ok(()) => order.fetched(image, Instant::now()),
        Err(error) => {
            tracing::warn!(image, %error, "an image cannot be fetched; trying again later");
            order.failed(image, error.to_string(), Instant::now());
        }
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::runtime::scripted::Scripted;

    #[tokio::test]
    async fn an_engine_that_is_away_is_not_asked_over_and_over() {
        let dir = tempfile::tempdir().unwrap();
        let engine = Arc::new(Scripted::new(|_| false));
        let (wish, wanted) = watch::channel(ImagesWanted::default());
        let (agent, mut told) = mpsc::channel(8);
        let mut order = Order::default();
        order.want(ImagesWanted {
            pull: vec!["a".to_owned()],
            ..ImagesWanted::default()
        });
        // It is due again long since.
        let then = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
        order.failed("a", "the pull was cut off".to_owned(), then);
        let puller = Puller {
            runtime: engine.clone(),
            images: Images::open(dir.path()),
            limits: Limits {
                pulls_max: 1,
                disk_mib: 1,
                free_mib: 0,
            },
            wanted,
            agent,
        };
        let stop = CancellationToken::new();
        let passing = async {
            // One look at least is behind it.
            told.recv().await.unwrap();
            for _ in 0..2_000 {
                tokio::task::yield_now().await;
            }
            stop.cancel();
        };
        tokio::join!(puller.follow(order, stop.clone()), passing);
        drop(wish);
        // The due one may come before the first tick.
        assert!(engine.asked() <= 2);
    }
}
