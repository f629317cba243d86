//! Takes a job apart, wherever it stands: called by its driver at its end, and by adoption for what an earlier
//! agent left.
//!
//! The order: how it ended is written down; its container is asked to end, its log is kept, and it is removed, then its network, its rules, its
//! directory with disk and secrets, its record. **Until the container is gone nothing else goes**: its rules hold what may still run,
//! and its record tells the next agent of it. The other steps are bounded and none hides another: what could not be
//! removed is logged and found again at the next start.

use super::host::Jobs;
use super::mesh;
use super::record::{self, Record};
use super::space;
use crate::ended::Ended;
use crate::runtime::{AppRef, Runtime, RuntimeError};
use crate::stubborn::{Asked, until_gone};
use nearlight_protocol::id::SessionId;
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;

/// For which a job's networks are tried to be removed from an engine that has a bad moment: one that died is started
/// again, and reads what it had.
const REMOVE_FOR: Duration = Duration::from_secs(60);
const REMOVE_PAUSE: Duration = Duration::from_secs(1);

/// Leaves nothing of a job; how it ended is on disk first, if that is known. Its container may run for `grace` after it was asked to
/// end; without one that it `asked` for, an engine that is away holds nothing up.
pub(crate) async fn tear_down(
    jobs: &Jobs,
    runtime: &dyn Runtime,
    (data, record): (&Path, &Record),
    (ended, grace, asked): (Option<Ended>, Duration, Asked),
) {
    let session = &record.session;
    if let Some(ended) = ended {
        ended.keep(data).await;
    }
    if let Some(container) = &record.container {
        stop(jobs, runtime, container, grace).await;
        jobs.logs.keep(&jobs.engine, session, container).await;
    }
    clear(jobs, (session, asked), &record.dir).await;
    if let Some(replica) = &record.replica {
        let network = mesh::network(replica);
        // The last of its replicas on this engine takes it away.
        stubborn((session, asked), "its cluster's network", || {
            jobs.engine.leave_mesh(&network)
        })
        .await;
    }
    if let Err(error) = record::remove(data, session) {
        tracing::error!(session_id = %session, %error, "a job's record stays");
    }
}

/// Asks a container to end, and kills it when its grace is over.
pub(crate) async fn stop(jobs: &Jobs, runtime: &dyn Runtime, container: &str, grace: Duration) {
    let app = AppRef::Docker {
        id: container.to_owned(),
    };
    for (signal, wait) in [
        ("SIGTERM", grace),
        ("SIGKILL", crate::limits::ENGINE_DEADLINE),
    ] {
        if let Err(error) = jobs.engine.signal(container, signal).await {
            tracing::warn!(container, %error, "a job does not hear {signal}");
        }
        if tokio::time::timeout(wait, runtime.wait(&app)).await.is_ok() {
            return;
        }
    }
    tracing::error!(container, "a job does not die");
}

/// Removes what there is of a session's job, whatever that is. What another node's agent at this engine has of it
/// stays: it may have moved there.
pub(crate) async fn clear(jobs: &Jobs, (session, asked): (&SessionId, Asked), dir: &Path) {
    let all = || jobs.engine.remove_all(session);
    until_gone((session, asked), "a job's container", all).await;
    stubborn((session, asked), "a network", || {
        jobs.engine.remove_network(session)
    })
    .await;
    if let Err(error) = jobs.firewall.release(session).await {
        tracing::error!(session_id = %session, %error, "rules of a job stay; the next start of this node removes them");
    }
    if let Err(error) = space::remove(dir) {
        tracing::error!(session_id = %session, %error, "a job's directory stays; the next start of this node removes it");
    }
}

/// Repeats a removal for a while. Of a run that never asked for anything one try is enough.
async fn stubborn<F>((session, asked): (&SessionId, Asked), what: &str, remove: impl Fn() -> F)
where
    F: Future<Output = Result<(), RuntimeError>>,
{
    let until = Instant::now() + REMOVE_FOR;
    while let Err(error) = remove().await {
        if asked == Asked::Never {
            tracing::warn!(session_id = %session, %error, "cannot see whether there is {what} of a job; this run asked for none");
            return;
        }
        if Instant::now() >= until {
            tracing::error!(session_id = %session, %error, "{what} of a job stays; the next start of this node removes it");
            return;
        }
        tracing::warn!(session_id = %session, %error, "cannot remove {what} of a job; trying again");
        tokio::time::sleep(REMOVE_PAUSE).await;
    }
}
