//! Assets that the operator of the network wants here before a job asks for them: fetched one after another, and
//! kept while they are wanted.
//!
//! What cannot be fetched is said in the log and tried again later, and whenever the wish changes. A job that wants
//! one meanwhile fetches it with its own right.
//!
//! **What it does not know:** jobs.

use crate::session::host::Host;
use nearlight_protocol::control::ImagesWanted;
use nearlight_protocol::job::Asset;
use nearlight_protocol::volume::EVERYBODY;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// After an asset could not be fetched.
const AGAIN_AFTER: Duration = Duration::from_secs(600);

/// The task that fetches them.
#[derive(Debug)]
pub(crate) struct Ahead {
    pub(crate) host: Arc<Host>,
    pub(crate) wanted: watch::Receiver<ImagesWanted>,
}

impl Ahead {
    /// Runs until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let Some(jobs) = &self.host.jobs else { return };
        loop {
            let wanted = self.wanted.borrow_and_update().assets.clone();
            // Nothing makes room for anything else by taking these away.
            let _kept = jobs.assets.used(&wanted);
            let fetch = async {
                while !self.fetch(&wanted).await {
                    tokio::time::sleep(AGAIN_AFTER).await;
                }
                std::future::pending::<()>().await;
            };
            let mut news = self.wanted.clone();
            tokio::select! {
                () = stop.cancelled() => return,
                () = fetch => {}
                changed = changed(&mut news, &wanted) => if !changed { return },
            }
        }
    }

    /// Whether all are here.
    async fn fetch(&self, wanted: &[Asset]) -> bool {
        let Some(jobs) = &self.host.jobs else {
            return true;
        };
        let mut all = true;
        for asset in wanted {
            match jobs
                .assets
                .fetch(EVERYBODY, std::slice::from_ref(asset))
                .await
            {
                Ok(()) => jobs.changed.notify_one(),
                Err(error) => {
                    all = false;
                    tracing::warn!(%error, "cannot fetch ahead of jobs; trying again later");
                }
            }
        }
        all
    }
}

/// Waits until other assets are wanted; false once nobody is left who could want any.
async fn changed(from: &mut watch::Receiver<ImagesWanted>, before: &[Asset]) -> bool {
    from.wait_for(|wanted| wanted.assets != before)
        .await
        .is_ok()
}
