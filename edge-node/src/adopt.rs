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
//! | yes, and how it ended ([`crate::ended`]) | live | any | any | ended so: only the clearing away was cut off |
//! | yes | not live | any | any | cleared away: it is over |
//! | no | live | | any | ended as it is written down; else the node cannot know what it was |
//! | no | not live | | there | cleared away |
//!
//! What goes on is handed over, and so is what has ended: each of those is taken apart by a task of its own, and holds
//! its slot until nothing of it is left. Before that, what no session holds is cleared away, one after the other: nobody knows
//! whose slot it has, so a node that cannot clear it away does not start, whatever else would go on.

use crate::agent::Agent;
use crate::ended::Ended;
use crate::journal::Journal;
use crate::limits::CLEAR_DEADLINE;
use crate::process::Process;
use crate::runtime::{AppRef, RuntimeError};
use crate::session::host::Host;
use crate::session::machine::Ending;
use crate::session::record::Record;
use crate::session::teardown::{self, Parts, tear_down};
use crate::stubborn::Asked;
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
    /// What no session holds cannot be removed.
    #[error(
        "cannot remove what an earlier agent left of {0}; see to the container engine, this node cannot start before"
    )]
    Stays(SessionId),
}

/// What was found of an earlier agent's sessions.
#[derive(Debug, Default)]
pub(crate) struct Found {
    adopted: Vec<(Record, Process)>,
    over: Vec<(Record, Option<Process>, Ended)>,
    jobs: crate::job::adopt::Found,
    lost: Vec<Ended>,
    /// Ends that may not have been heard of.
    told: Vec<Ended>,
}

impl Found {
    /// Hands everything to the agent.
    pub(crate) fn hand_over(self, agent: &mut Agent) {
        for ended in &self.told {
            agent.remember(ended);
        }
        for (record, worker) in self.adopted {
            agent.adopt(record, worker);
        }
        for record in self.jobs.adopted {
            agent.adopt_job(record);
        }
        for (record, worker, ended) in self.over {
            agent.clear_away(record, worker, &ended);
        }
        for (record, ended) in self.jobs.over {
            agent.clear_job_away(record, &ended);
        }
        for ended in &self.lost {
            agent.lost(ended);
        }
    }

    /// The records whose directories and control groups are still some session's.
    fn owned(&self) -> impl Iterator<Item = &Record> {
        let over = self.over.iter().map(|(record, ..)| record);
        self.adopted.iter().map(|(record, _)| record).chain(over)
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

    let endings = Ended::read_all(&host.config.data).map_err(AdoptError::Records)?;
    let told = endings.iter().filter(|ended| {
        let epoch = live.get(&ended.session);
        epoch != Some(&ended.epoch)
    });
    let told = told.cloned().collect();
    let endings: BTreeMap<_, _> = endings
        .into_iter()
        .map(|ended| (ended.session.clone(), ended))
        .collect();
    let mut found = Found {
        jobs: crate::job::adopt::find(host, &mut live, &endings).await?,
        told,
        ..Found::default()
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
        let run = (&record.session, record.epoch);
        let had_ended = endings.get(run.0).filter(|ended| ended.is_of(run.0, run.1));
        let ended = match judge(journal_live, worker.is_some(), app_recorded, app.is_some()) {
            Verdict::Over => {
                let parts = Parts {
                    app,
                    worker,
                    connected: false,
                    asked: Asked::Maybe,
                };
                in_time(run.0, tear_down(host, &record, parts, None)).await?;
                continue;
            }
            Verdict::Adopt => had_ended.cloned(),
            Verdict::Lost(reason, detail) => {
                let detail = detail.to_owned();
                let lost = || Ended::now(run, &Ending { reason, detail });
                Some(had_ended.cloned().unwrap_or_else(lost))
            }
        };
        record.running = app;
        match (ended, worker) {
            (Some(ended), worker) => found.over.push((record, worker, ended)),
            (None, worker) => {
                let worker = worker.expect("the verdict asked for it");
                found.adopted.push((record, worker));
            }
        }
    }

    clear_apps(host, apps).await?;
    clear_directories(host, &found).await;
    clear_cgroups(host, &found).await;
    found.lost = without_record(live, &endings);
    Ok(found)
}

/// Sessions that the journal has as running, of which nothing is left.
fn without_record(
    live: BTreeMap<SessionId, U64>,
    endings: &BTreeMap<SessionId, Ended>,
) -> Vec<Ended> {
    let ended = |(session, epoch): (SessionId, U64)| {
        let had_ended = endings.get(&session).cloned();
        let had_ended = had_ended.filter(|ended| ended.is_of(&session, epoch));
        let ending = Ending {
            reason: EndReason::Internal,
            detail: "the node restarted and has no record of the session".to_owned(),
        };
        had_ended.unwrap_or_else(|| Ended::now((&session, epoch), &ending))
    };
    live.into_iter().map(ended).collect()
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
        asked: Asked::Maybe,
    };
    let ending = Ending {
        reason: EndReason::Internal,
        detail: "the session's task panicked".to_owned(),
    };
    let ended = Ended::now((&record.session, record.epoch), &ending);
    tear_down(host, &record, parts, Some(ended)).await;
    ending
}

/// What no session holds is cleared away before anything is started, or this node does not start: its slot may be
/// anybody's.
pub(crate) async fn in_time(
    session: &SessionId,
    clearing: impl Future<Output = ()>,
) -> Result<(), AdoptError> {
    let cleared = tokio::time::timeout(CLEAR_DEADLINE, clearing).await;
    cleared.map_err(|_elapsed| AdoptError::Stays(session.clone()))
}

/// The session's app: the recorded one if it is there, else whatever carries its labels.
fn take(apps: &mut Vec<AppRef>, recorded: Option<&AppRef>) -> Option<AppRef> {
    let place = apps
        .iter()
        .position(|app| Some(app) == recorded)
        .or_else(|| apps.len().checked_sub(1))?;
    Some(apps.remove(place))
}

/// Apps that no session owns.
async fn clear_apps(host: &Host, apps: BTreeMap<SessionId, Vec<AppRef>>) -> Result<(), AdoptError> {
    for (session, apps) in apps {
        for app in apps {
            tracing::warn!(session_id = %session, ?app, "removing an app that no session owns");
            if let Err(error) = teardown::remove_app(host, &app).await {
                tracing::error!(session_id = %session, ?app, %error, "it stays");
                return Err(AdoptError::Stays(session));
            }
        }
    }
    Ok(())
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
        let is_desk = found.owned().any(|record| *record.desk_name() == session);
        if is_desk || found.jobs.owns(&session) {
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
        let is_of = |record: &Record| {
            let names = [&record.session, record.desk_name()];
            names.iter().any(|own| name.starts_with(own.as_str()))
        };
        if found.owned().any(is_of) {
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
