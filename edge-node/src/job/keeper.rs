//! What the node keeps for jobs between them, told to the broker as it changes; and volumes tidied as the broker
//! says.

use super::host::Jobs;
use crate::agent::Message;
use crate::limits::VOLUMES_TIDY_EVERY;
use crate::session::host::Host;
use nearlight_protocol::volume::{VolumeHeld, VolumesKnown};
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// What the node keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) volumes: Vec<VolumeHeld>,
    pub(crate) assets: Vec<String>,
}

impl Stored {
    /// As it is on the disk.
    pub(crate) fn of(jobs: &Jobs) -> Self {
        Self {
            volumes: jobs.volumes.held(),
            assets: jobs.assets.listed(),
        }
    }
}

/// The task that tells and tidies.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) host: Arc<Host>,
    /// What the broker knows; nothing until it has said so.
    pub(crate) known: watch::Receiver<Option<VolumesKnown>>,
    pub(crate) agent: mpsc::Sender<Message>,
}

impl Keeper {
    /// Runs until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let Some(jobs) = &self.host.jobs else { return };
        let mut told = Stored::of(jobs);
        // A volume that was in use when it was to go, and marks that grow old.
        let mut again = tokio::time::interval(VOLUMES_TIDY_EVERY);
        // One at a time, beside the telling: to write over a large volume takes hours.
        let (mut tidying, mut is_due) = (JoinSet::new(), false);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = jobs.changed.notified() => {}
                Ok(()) = self.known.changed() => is_due = true,
                _ = again.tick() => is_due = true,
                Some(tidied) = tidying.join_next() => if tidied.is_err() {
                    tracing::error!("tidying volumes panicked; this is a bug, please report it");
                }
            }
            if is_due && tidying.is_empty() {
                is_due = false;
                let known = self.known.borrow_and_update().clone();
                tidy(&mut tidying, &self.host, known, &stop);
            }
            let stored = Stored::of(jobs);
            if stored != told {
                told = stored.clone();
                if self.agent.send(Message::Stored(stored)).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn tidy(
    tidying: &mut JoinSet<()>,
    host: &Arc<Host>,
    known: Option<VolumesKnown>,
    stop: &CancellationToken,
) {
    let Some(known) = known else { return };
    let (host, stop) = (host.clone(), stop.clone());
    tidying.spawn_blocking(move || {
        if let Some(jobs) = &host.jobs {
            jobs.volumes.tidy(&known, &stop);
        }
    });
}
