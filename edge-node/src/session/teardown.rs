//! Takes a session apart, wherever it stands: called by its driver at its end, and by adoption for
//! what an earlier agent left.
//!
//! The order: how it ended is written down; the app is asked to end while its desktop is still there, so that it can
//! save; the player is told; then app, worker, control groups, directory and record go. **Until the runtime has nothing of
//! the app its record stays**, and the session holds its slot. The other steps are bounded and none hides another: what
//! could not be removed is logged and found again at the next start.

use crate::ended::Ended;
use crate::limits::{APP_STOP_GRACE, WORKER_EXIT_DEADLINE};
use crate::process::{Process, with_argument};
use crate::runtime::{AppRef, RuntimeError};
use crate::session::dirs;
use crate::session::host::Host;
use crate::session::launch;
use crate::session::record::{self, Record};
use crate::stubborn::{Asked, until_gone};
use nearlight_protocol::api::EndReason;
use nearlight_protocol::id::SessionId;
use std::path::Path;
use std::time::Duration;

/// Attempts to remove a container from an engine that has a bad moment.
const REMOVE_ATTEMPTS: u32 = 3;
const REMOVE_PAUSE: Duration = Duration::from_secs(1);

/// What there is to take apart.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    /// The app, if it was started.
    pub(crate) app: Option<AppRef>,
    /// The worker, if it was spawned.
    pub(crate) worker: Option<Process>,
    /// Whether the transport has the worker's socket, and so can ask it to end.
    pub(crate) connected: bool,
    /// Whether the runtime may have more of it.
    pub(crate) asked: Asked,
}

/// Leaves nothing of the session; how it ended is on disk first, if that is known.
pub(crate) async fn tear_down(host: &Host, record: &Record, parts: Parts, ended: Option<Ended>) {
    let reason = ended
        .as_ref()
        .map_or(EndReason::Internal, |ended| ended.reason);
    if let Some(ended) = ended {
        ended.keep(&host.config.data).await;
    }
    if let Some(app) = &parts.app {
        host.runtime.ask_to_end(app).await;
    }
    host.transport.end_session(record.session.clone(), reason);
    if let Some(app) = &parts.app {
        // Over its grace, the removal kills it.
        let over = host.runtime.wait(app);
        let _ = tokio::time::timeout(APP_STOP_GRACE, over).await;
        if let Err(error) = remove_app(host, app).await {
            tracing::error!(%error, ?app, "an app stays; it is removed once the runtime does so");
        }
    }
    if let Some(worker) = &parts.worker {
        end_worker(worker, parts.connected).await;
    }
    let run = (&record.session, parts.asked);
    until_gone(run, "an app", || remove_all(host, record)).await;
    sweep(host, record).await;
}

/// Removes an app, running or not, with a few attempts.
pub(crate) async fn remove_app(host: &Host, app: &AppRef) -> Result<(), RuntimeError> {
    for _ in 1..REMOVE_ATTEMPTS {
        match host.runtime.remove(app).await {
            Ok(()) => return Ok(()),
            Err(error) => {
                tracing::warn!(%error, ?app, "cannot remove an app; trying again");
                tokio::time::sleep(REMOVE_PAUSE).await;
            }
        }
    }
    host.runtime.remove(app).await
}

/// Removes whatever the runtime has of a session: of a start whose answer never came, too.
async fn remove_all(host: &Host, record: &Record) -> Result<(), RuntimeError> {
    for (session, app) in host.runtime.running().await? {
        // A sandbox is known by its directory, and that may be older than the session.
        if session == record.session || session == *record.desk_name() {
            host.runtime.remove(&app).await?;
        }
    }
    Ok(())
}

async fn end_worker(worker: &Process, asked: bool) {
    if asked {
        let ended = tokio::time::timeout(WORKER_EXIT_DEADLINE, worker.exited()).await;
        if ended.is_ok() {
            return;
        }
        tracing::warn!(pid = worker.id().pid, "a worker did not end in time");
    }
    worker.kill();
    if tokio::time::timeout(WORKER_EXIT_DEADLINE, worker.exited())
        .await
        .is_err()
    {
        tracing::error!(pid = worker.id().pid, "a worker does not die");
    }
}

/// Kills processes of the session that nobody has a handle to, and removes its files.
async fn sweep(host: &Host, record: &Record) {
    sweep_desk(host, record.desk_name(), &record.dir).await;
    if let Err(error) = record::remove(&host.config.data, &record.session) {
        tracing::error!(session_id = %record.session, %error, "a session's record stays");
    }
}

async fn sweep_desk(host: &Host, name: &SessionId, dir: &Path) {
    kill_strays(dir).await;
    if let Some(cgroups) = &host.cgroups
        && let Err(error) = cgroups.find(&launch::cgroup_name(name)).remove().await
    {
        tracing::warn!(%error, "a control group stays");
    }
    if let Err(error) = dirs::remove(dir) {
        tracing::error!(dir = %dir.display(), %error, "a session's directory stays");
    }
}

/// Leaves nothing of a desktop that no session has.
pub(crate) async fn discard_desk(
    host: &Host,
    name: &SessionId,
    dir: &Path,
    worker: Option<Process>,
) {
    if let Some(worker) = worker {
        end_worker(&worker, false).await;
    }
    sweep_desk(host, name, dir).await;
}

/// Kills workers that were started with this session's directory.
pub(crate) async fn kill_strays(dir: &Path) {
    for id in with_argument(dirs::desk(dir).as_os_str()) {
        match Process::find(id) {
            Ok(Some(worker)) => {
                tracing::warn!(pid = id.pid, "killing a worker that nobody owns");
                end_worker(&worker, false).await;
            }
            Ok(None) => {}
            Err(error) => tracing::error!(pid = id.pid, %error, "cannot kill a stray worker"),
        }
    }
}
