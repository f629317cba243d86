//! What a job's task has done beside its loop. Each comes back as one [`Done`].

use super::used::sample_into;
use super::{
    AppRef, Arc, AssetError, Done, Driver, Duration, EndReason, Ending, Host, Ipv4Addr,
    LaunchError, Pulled, Reach, Record, Replica, health, launch, mesh, space, teardown, watch,
    with_words,
};
use crate::gpu::Used;
use crate::job::host::Jobs;
use crate::limits::{GPU_RELEASE_DEADLINE, PULL_REPORT_EVERY};
use crate::runtime::RuntimeError;
use crate::stubborn::Asked;
use nearlight_protocol::job::Asset;
use nearlight_protocol::usage::UsageFacts;

use crate::job::inside;
use tokio::time::Instant;

/// For which a job's rules are tried to be put in place before it is not started again: a firewall that is loaded anew
/// holds its lock for a moment.
const HOLD_FOR: Duration = Duration::from_secs(5);
const HOLD_PAUSE: Duration = Duration::from_millis(500);

impl Driver {
    /// Waits, for a bounded time, until the memory of its GPUs is back: whoever has them next finds them so.
    /// What it has used of them.
    pub(super) async fn give_gpus_back(&self, ending: &mut Ending) -> UsageFacts {
        let (Some(jobs), false) = (&self.host.jobs, self.record.gpus.is_empty()) else {
            return UsageFacts::default();
        };
        let session = &self.record.session;
        if let (EndReason::RuntimeFailed, Some(why)) = (ending.reason, jobs.gpus.fault_of(session))
        {
            ending.detail = with_words(&why, &ending.detail);
        }
        let used = jobs.gpus.give_back(session, GPU_RELEASE_DEADLINE).await;
        for (gpu, used) in self.record.gpus.iter().zip(&used) {
            tracing::info!(gpu, memory_mib_max = used.mib_max, busy_percent = ?used.busy_percent(), "the job gave a GPU back");
        }
        Used::facts(&used)
    }

    pub(super) fn spawn_fetch(&mut self) {
        let runtime = self.host.runtime.clone();
        let image = self.record.spec.engine_image();
        let (pulled, images) = (self.pulled.0.clone(), self.host.images.clone());
        let (host, storage) = (self.host.clone(), self.record.storage.clone());
        let assets = self.record.spec.assets.clone();
        let login = self.login.take();
        let mut coming = self.pulled.0.subscribe();
        self.chores.spawn(async move {
            let arrival = images.arrival();
            let tell = |now: Pulled| {
                images.fetching(&image);
                arrival.has(now.done_bytes);
                pulled.send_replace(Some(now));
            };
            let full = async {
                // Of one that is here nothing comes.
                if coming.changed().await.is_err() {
                    return std::future::pending().await;
                }
                arrival.runs_out(runtime.as_ref(), host.config.images).await
            };
            let fetched = tokio::select! {
                fetched = runtime.fetch(&image, login.as_ref(), &tell) => fetched,
                detail = full => Err(RuntimeError::ImageMissing { image: image.clone(), detail }),
            };
            drop(arrival);
            if let Err(error) = fetched {
                return Done::ImageLooked(Err(error));
            }
            let (Some(jobs), false) = (&host.jobs, assets.is_empty()) else {
                return Done::ImageLooked(Ok(()));
            };
            let owner = storage.map_or_else(String::new, |storage| storage.owner);
            match fetch_assets(jobs, &owner, &assets, &pulled).await {
                Ok(()) => Done::ImageLooked(Ok(())),
                Err(error) => Done::AssetMissing(error),
            }
        });
    }

    /// Makes the container and starts it, or starts the one that is there.
    pub(super) fn spawn_start(&mut self) {
        let host = self.host.clone();
        if let Some(container) = self.record.container.clone() {
            let (record, reach) = (self.record.clone(), self.reach.clone());
            self.chores.spawn(async move {
                match &host.jobs {
                    Some(jobs) => Done::Restarted(restart(jobs, &record, &reach, &container).await),
                    None => std::future::pending().await,
                }
            });
            return;
        }
        self.launching = true;
        self.asked = Asked::Maybe;
        let (record, secrets) = (self.record.clone(), self.secrets.clone());
        let mut reach = self.reach.clone();
        self.chores.spawn(async move {
            match &host.jobs {
                Some(jobs) => {
                    let data = &host.config.data;
                    let launched = launch::launch(jobs, data, &record, &secrets, &mut reach).await;
                    Done::Launched(Box::new((launched, reach)))
                }
                None => std::future::pending().await,
            }
        });
    }

    pub(super) async fn launched(&mut self, launched: super::Launched) {
        self.record.subnet = Some(launched.subnet);
        self.record.mesh = launched.mesh;
        self.open_inside(&launched.container);
        self.spawn_refresh(crate::limits::EGRESS_REFRESH_EVERY);
        // A replica that does not run yet is on no record: the next agent would take it for one that ended.
        if let Some(replica) = self.record.replica.clone() {
            self.spawn_barrier(launched.container, replica);
        } else {
            self.record.container = Some(launched.container);
            self.container_runs().await;
        }
    }

    /// Its log, commands and files, for as long as there is a container.
    pub(super) fn open_inside(&self, container: &str) {
        let Some(jobs) = &self.host.jobs else { return };
        let runtime = self.record.spec.place.runtime;
        let inside = inside::JobInside::new(jobs.engine.clone(), container.to_owned(), runtime);
        let at = (self.record.session.clone(), self.record.epoch.0);
        self.host.tunnels.endpoints().enter(at, Arc::new(inside));
    }

    /// Ends what commands left whose agent was killed.
    pub(super) async fn sweep(&self, container: &str) {
        let Some(jobs) = &self.host.jobs else { return };
        match jobs.engine.running_pid(container).await {
            Ok(Some(pid)) => inside::leftovers::sweep(pid).await,
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, "commands of an earlier agent may still run in the job");
            }
        }
    }

    /// Waits for the other replicas, and starts the container with theirs.
    pub(super) fn spawn_barrier(&mut self, container: String, replica: Replica) {
        let host = self.host.clone();
        let within = Duration::from_secs(self.record.spec.time.start_s.into());
        self.chores.spawn(async move {
            let Some(jobs) = &host.jobs else {
                return std::future::pending().await;
            };
            let start = mesh::start_with_all(&jobs.engine, &container, &replica, within);
            let result = start.await;
            Done::StartedWithAll { container, result }
        });
    }

    pub(super) fn spawn_wait(&mut self, container: &str) {
        let app = AppRef::Docker {
            id: container.to_owned(),
        };
        let (runtime, sought) = (self.host.runtime.clone(), app.clone());
        self.chores
            .spawn(async move { Done::Found(runtime.pid(&sought).await) });
        let (runtime, run) = (self.host.runtime.clone(), self.run);
        self.chores.spawn(async move {
            let exit = runtime.wait(&app).await;
            Done::Exited { run, exit }
        });
    }

    /// Asks the ports until all are healthy, or until one is not any more.
    pub(super) fn spawn_checks(&mut self, is_ready: bool) {
        self.stop_checks();
        let Some(container) = self.container_address() else {
            return;
        };
        let (ports, run) = (self.record.spec.ports.clone(), self.run);
        let why_not = self.why_not_healthy.clone();
        let checks = self.chores.spawn(async move {
            if is_ready {
                let detail = health::unhealthy(container, &ports).await;
                Done::Unhealthy { run, detail }
            } else {
                health::healthy(container, &ports, &why_not).await;
                Done::Healthy { run }
            }
        });
        self.checks = Some(checks);
    }

    pub(super) fn stop_checks(&mut self) {
        if let Some(checks) = self.checks.take() {
            checks.abort();
        }
    }

    pub(super) fn spawn_stop(&mut self) {
        self.stop_checks();
        let Some(container) = self.record.container.clone() else {
            return;
        };
        let grace = Duration::from_secs(self.record.spec.time.stop_s.into());
        let (host, meter) = (self.host.clone(), self.meter.clone());
        self.chores.spawn(async move {
            if let Some(jobs) = &host.jobs {
                sample_into(&meter, jobs, &container).await;
                teardown::stop(jobs, host.runtime.as_ref(), &container, grace).await;
            }
            Done::ContainerStopped
        });
    }

    /// What an earlier agent knew of names; a file that is not there says nothing.
    pub(super) fn recall_names(&mut self) {
        if self.reach.has_names() {
            let hosts = std::fs::read_to_string(space::hosts(&self.record.dir));
            self.reach.recall(&hosts.unwrap_or_default());
        }
    }

    /// After a while, looks names up again and puts the job's rules in order.
    pub(super) fn spawn_refresh(&mut self, after: Duration) {
        let (host, record) = (self.host.clone(), self.record.clone());
        let mut reach = self.reach.clone();
        let Some(container) = self.container_address() else {
            return;
        };
        self.chores.spawn(async move {
            tokio::time::sleep(after).await;
            refresh(&host, &record, &mut reach, container).await;
            Done::Refreshed(Box::new(reach))
        });
    }

    pub(super) fn spawn_timer(&mut self, after: Duration, then: Done) {
        self.chores.spawn(async move {
            tokio::time::sleep(after).await;
            then
        });
    }
}

/// Starts a container that was made, once its rules are in place: somebody may have removed some.
async fn restart(
    jobs: &Jobs,
    record: &Record,
    reach: &Reach,
    container: &str,
) -> Result<(), LaunchError> {
    let until = Instant::now() + HOLD_FOR;
    while let Err(error) = launch::hold(jobs, record, reach).await {
        if Instant::now() >= until {
            return Err(error);
        }
        tracing::warn!(session_id = %record.session, %error, "cannot put the rules of a job in place; trying again before it is started again");
        tokio::time::sleep(HOLD_PAUSE).await;
    }
    Ok(jobs.engine.start(container).await?)
}

/// Fetches a job's assets, and tells how far that is.
async fn fetch_assets(
    jobs: &Jobs,
    owner: &str,
    assets: &[Asset],
    pulled: &watch::Sender<Option<Pulled>>,
) -> Result<(), AssetError> {
    let mut fetched = std::pin::pin!(jobs.assets.fetch(owner, assets));
    let mut look = tokio::time::interval(PULL_REPORT_EVERY);
    let fetched = loop {
        tokio::select! {
            fetched = &mut fetched => break fetched,
            _ = look.tick() => {
                let (done_bytes, total_bytes, layers_done) = jobs.assets.progress(owner, assets);
                pulled.send_replace(Some(Pulled {
                    done_bytes,
                    total_bytes,
                    layers_done,
                    layers: u32::try_from(assets.len()).unwrap_or(u32::MAX),
                }));
            }
        }
    };
    jobs.changed.notify_one();
    fetched
}

/// Whatever happens to the host's rules, a job is held again within a minute.
async fn refresh(host: &Arc<Host>, record: &Record, reach: &mut Reach, container: Ipv4Addr) {
    let Some(jobs) = &host.jobs else { return };
    // Before names, which take their time: what is known of them holds until then.
    let held = launch::hold(jobs, record, reach).await;
    let is_new = reach.has_names() && reach.resolve().await;
    let held = match is_new {
        true => launch::hold(jobs, record, reach).await,
        false => held,
    };
    if let Err(error) = held {
        tracing::error!(session_id = %record.session, %error, "cannot put the rules of a job in order");
    }
    if is_new {
        let hosts = record.hosts(reach, container);
        // In place: the container has this very file.
        if let Err(error) = std::fs::write(space::hosts(&record.dir), hosts) {
            tracing::warn!(session_id = %record.session, %error, "a job does not learn new addresses");
        }
    }
}
