//! After a start: what an earlier agent left is taken over, or cleared away. Nothing is leaked.
//!
//! Of apps; [`crate::job::adopt`] does it for jobs. Four witnesses are heard: the session's record, the epoch journal, the worker (by pid and start
//! time), and the app (by its labels or its sandbox). A session goes on if all four agree; otherwise
//! what there is of it is stopped, and the broker hears why.
//!
//! | record | journal | worker | app | |
//! |---|---|---|---|---|
//! | yes | live | runs | there | adopted; an app that is over ends it at once, with its own reason |
//! | yes | live | runs | gone or never started | ended |
//! | yes | live | gone | any | ended: worker crashed |
//! | yes | not live | any | any | cleared away: it is over |
//! | no | live | | any | ended: the node cannot know what it was |
//! | no | not live | | there | cleared away |

use crate::agent::Agent;
use crate::journal::Journal;
use crate::process::Process;
use crate::runtime::{AppRef, RuntimeError};
use crate::session::host::Host;
use crate::session::machine::Ending;
use crate::session::record::Record;
use crate::session::teardown::{self, Parts, tear_down};
use nearlight_protocol::api::EndReason;
use nearlight_protocol::id::SessionId;
use nearlight_protocol::unit::U64;
use std::collections::BTreeMap;
use std::fs;
use std::io;

/// Why adoption cannot be done; a node that does not know what it runs must not start more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdoptError {
    /// The records cannot be read.
    #[error("cannot read the session records: {0}")]
    Records(#[source] io::Error),
    /// The runtime does not say what it runs.
    #[error("cannot see what already runs: {0}")]
    Runtime(#[from] RuntimeError),
}

/// What was found of an earlier agent's sessions.
#[derive(Debug, Default)]
pub(crate) struct Found {
    adopted: Vec<(Record, Process)>,
    jobs: Vec<crate::job::record::Record>,
    lost: Vec<(SessionId, U64, Ending)>,
}

impl Found {
    /// Hands everything to the agent.
    pub(crate) fn hand_over(self, agent: &mut Agent) {
        for (record, worker) in self.adopted {
            agent.adopt(record, worker);
        }
        for record in self.jobs {
            agent.adopt_job(record);
        }
        for (session, epoch, ending) in self.lost {
            agent.lost(&session, epoch, ending);
        }
    }
}

/// What is to be done with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Adopt,
    Lost(EndReason, &'static str),
    /// It ended, and only the clearing away was cut off.
    Over,
}

/// The table above, for a session that has a record.
fn judge(journal_live: bool, worker_runs: bool, app_recorded: bool, app_there: bool) -> Verdict {
    match (journal_live, worker_runs, app_there) {
        (false, _, _) => Verdict::Over,
        (true, true, true) => Verdict::Adopt,
        (true, false, _) if app_recorded || app_there => Verdict::Lost(
            EndReason::WorkerCrashed,
            "its worker ended while the node restarted",
        ),
        (true, true, false) if app_recorded => Verdict::Lost(
            EndReason::AppCrashed,
            "its app was removed while the node restarted",
        ),
        (true, true | false, _) => Verdict::Lost(
            EndReason::Internal,
            "the node restarted while the session was starting",
        ),
    }
}

/// Looks at what is there, clears away what cannot go on, and returns the rest.
pub(crate) async fn find(host: &Host, journal: &Journal) -> Result<Found, AdoptError> {
    let records = Record::read_all(&host.config.data).map_err(AdoptError::Records)?;
    let mut apps: BTreeMap<_, Vec<AppRef>> = BTreeMap::new();
    for (session, app) in host.runtime.running().await? {
        apps.entry(session).or_default().push(app);
    }
    let mut live: BTreeMap<SessionId, U64> = journal
        .live()
        .into_iter()
        .map(|(session, epoch)| (session, epoch.into()))
        .collect();

    let jobs = crate::job::adopt::find(host, &mut live).await?;
    let mut found = Found {
        adopted: Vec::new(),
        jobs: jobs.adopted,
        lost: jobs.lost,
    };
    for mut record in records {
        let journal_live = live.remove(&record.session).is_some();
        // A sandbox is known by its directory, and that may be older than the session.
        let app = [&record.session, record.desk_name()]
            .into_iter()
            .find_map(|name| take(apps.get_mut(name)?, record.running.as_ref()));
        let worker = match record.worker.map(Process::find) {
            Some(Ok(worker)) => worker,
            Some(Err(error)) => return Err(AdoptError::Records(error)),
            None => None,
        };
        let app_recorded = record.running.is_some();
        match judge(journal_live, worker.is_some(), app_recorded, app.is_some()) {
            Verdict::Adopt => {
                let worker = worker.expect("the verdict asked for it");
                record.running = app;
                found.adopted.push((record, worker));
            }
            verdict @ (Verdict::Lost(..) | Verdict::Over) => {
                let reason = match verdict {
                    Verdict::Lost(reason, _) => reason,
                    Verdict::Adopt | Verdict::Over => EndReason::Internal,
                };
                let parts = Parts {
                    app,
                    worker,
                    connected: false,
                };
                tear_down(host, &record, parts, reason).await;
                if let Verdict::Lost(reason, detail) = verdict {
                    let ending = Ending {
                        reason,
                        detail: detail.to_owned(),
                    };
                    found.lost.push((record.session, record.epoch, ending));
                }
            }
        }
    }

    for app in apps.into_values().flatten() {
        tracing::warn!(?app, "removing an app that no session owns");
        teardown::remove_app(host, &app).await;
    }
    clear_directories(host, &found).await;
    clear_cgroups(host, &found).await;
    for (session, epoch) in live {
        let ending = Ending {
            reason: EndReason::Internal,
            detail: "the node restarted and has no record of the session".to_owned(),
        };
        found.lost.push((session, epoch, ending));
    }
    Ok(found)
}

/// What is left of a session whose task panicked. Its record is on disk; its worker and its app are
/// found as after a crash of the whole agent.
pub(crate) async fn clear_after_panic(host: &Host, known: &Record) -> Ending {
    tracing::error!(session_id = %known.session, "the session's task panicked; this is a bug, please report it");
    let on_disk = Record::read(&host.config.data, &known.session);
    let record = on_disk.unwrap_or_else(|| known.clone());
    let app = match host.runtime.running().await {
        Ok(apps) => apps
            .into_iter()
            .find(|(session, _)| *session == record.session)
            .map(|(_, app)| app),
        Err(_) => record.running.clone(),
    };
    let worker = record
        .worker
        .and_then(|worker| Process::find(worker).ok().flatten());
    let parts = Parts {
        app,
        worker,
        connected: false,
    };
    tear_down(host, &record, parts, EndReason::Internal).await;
    Ending {
        reason: EndReason::Internal,
        detail: "the session's task panicked".to_owned(),
    }
}

/// The session's app: the recorded one if it is there, else whatever carries its labels.
fn take(apps: &mut Vec<AppRef>, recorded: Option<&AppRef>) -> Option<AppRef> {
    let place = apps
        .iter()
        .position(|app| Some(app) == recorded)
        .or_else(|| apps.len().checked_sub(1))?;
    Some(apps.remove(place))
}

/// Directories of sessions that are no more, and workers that still run in them.
async fn clear_directories(host: &Host, found: &Found) {
    let Ok(entries) = fs::read_dir(&host.config.run) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(session) = name
            .to_str()
            .and_then(|name| name.parse::<SessionId>().ok())
        else {
            continue;
        };
        let owned = |(record, _): &(Record, Process)| *record.desk_name() == session;
        let is_job = found.jobs.iter().any(|job| job.session == session);
        if is_job || found.adopted.iter().any(owned) {
            continue;
        }
        tracing::warn!(session_id = %session, "removing the directory of a session that is no more");
        teardown::kill_strays(&entry.path()).await;
        // A job's has mounts.
        if let Err(error) = crate::job::space::remove(&entry.path()) {
            tracing::error!(session_id = %session, %error, "it stays");
        }
    }
}

/// Control groups of sessions that are no more, and whatever hides in them.
async fn clear_cgroups(host: &Host, found: &Found) {
    let Some(cgroups) = &host.cgroups else { return };
    for name in cgroups.names() {
        let owned = |(record, _): &(Record, Process)| {
            let names = [&record.session, record.desk_name()];
            names.iter().any(|own| name.starts_with(own.as_str()))
        };
        if found.adopted.iter().any(owned) {
            continue;
        }
        if let Err(error) = cgroups.find(&name).remove().await {
            tracing::error!(name, %error, "a control group stays");
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn the_table_is_what_is_done() {
        let reason = |verdict| match verdict {
            Verdict::Lost(reason, _) => Some(reason),
            Verdict::Adopt | Verdict::Over => None,
        };
        assert_eq!(judge(true, true, true, true), Verdict::Adopt);
        // Started, and the agent died before it could write so.
        assert_eq!(judge(true, true, false, true), Verdict::Adopt);
        for rest in 0..8_u8 {
            let bit = |n: u8| rest & (1 << n) != 0;
            assert_eq!(judge(false, bit(0), bit(1), bit(2)), Verdict::Over);
        }
        let crashed = Some(EndReason::WorkerCrashed);
        assert_eq!(reason(judge(true, false, true, true)), crashed);
        assert_eq!(reason(judge(true, false, true, false)), crashed);
        assert_eq!(reason(judge(true, false, false, true)), crashed);
        let app = Some(EndReason::AppCrashed);
        assert_eq!(reason(judge(true, true, true, false)), app);
        let starting = Some(EndReason::Internal);
        assert_eq!(reason(judge(true, true, false, false)), starting);
        assert_eq!(reason(judge(true, false, false, false)), starting);
    }

    #[test]
    fn the_recorded_app_is_preferred() {
        let docker = |id: &str| AppRef::Docker { id: id.to_owned() };
        let mut apps = vec![docker("a"), docker("b")];
        assert_eq!(take(&mut apps, Some(&docker("a"))), Some(docker("a")));
        assert_eq!(take(&mut apps, None), Some(docker("b")));
        assert_eq!(take(&mut apps, None), None);
    }
}
