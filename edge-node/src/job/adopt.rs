//! After a start: jobs of an earlier agent are taken over, or cleared away. Nothing is leaked.
//!
//! Four witnesses are heard: the job's record, the epoch journal, the container (by its labels), and what was
//! mounted for it, which a restart of the host takes away.
//!
//! | record | journal | container | mounts | |
//! |---|---|---|---|---|
//! | yes | live | recorded, there | there | adopted; one that has ended is heard at once, with its own reason |
//! | yes | live | recorded, there | gone | ended: the host was restarted |
//! | yes | live | recorded, gone | any | ended: it was removed |
//! | yes | live | never recorded | any | ended: it was being started |
//! | yes, and how it ended ([`crate::ended`]) | live | any | any | ended so: only the clearing away was cut off |
//! | yes | not live | any | any | cleared away: it is over |
//! | no | live | any | any | ended, with the apps' ([`crate::adopt`]): the node cannot know what it was |
//! | no | any | any | any | cleared away: container, network, rules, mounts and directory each have its name |

use super::host::Jobs;
use super::record::Record;
use super::{space, teardown};
use crate::adopt::AdoptError;
use crate::ended::Ended;
use crate::limits::GPU_RELEASE_DEADLINE;
use crate::session::host::Host;
use crate::session::machine::Ending;
use crate::stubborn::Asked;
use nearlight_protocol::api::EndReason;
use nearlight_protocol::id::SessionId;
use nearlight_protocol::unit::U64;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What was found of an earlier agent's jobs.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) adopted: Vec<Record>,
    /// To be taken apart, while they hold what they have.
    pub(crate) over: Vec<(Record, Ended)>,
}

impl Found {
    /// Whether a session's directory, container and rules are still some job's.
    pub(crate) fn owns(&self, session: &SessionId) -> bool {
        let over = self.over.iter().map(|(record, _)| record);
        let mut all = self.adopted.iter().chain(over);
        all.any(|record| record.session == *session)
    }
}

/// What is to be done with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Adopt,
    Lost(EndReason, &'static str),
    Over,
}

/// The table above, for a job that has a record.
fn judge(journal_live: bool, recorded: bool, there: bool, mounted: bool) -> Verdict {
    match (journal_live, recorded, there, mounted) {
        (false, _, _, _) => Verdict::Over,
        (true, true, true, true) => Verdict::Adopt,
        (true, true, true, false) => Verdict::Lost(
            EndReason::RuntimeFailed,
            "the machine was restarted, and its disk and secrets went with that",
        ),
        (true, true, false, _) => Verdict::Lost(
            EndReason::JobFailed,
            "its container was removed while the node restarted",
        ),
        (true, false, _, _) => Verdict::Lost(
            EndReason::Internal,
            "the node restarted while the job was being started",
        ),
    }
}

/// Looks at what is there, clears away what cannot go on, and returns the rest. Takes what it decides on out
/// of `live`.
pub(crate) async fn find(
    host: &Host,
    live: &mut BTreeMap<SessionId, U64>,
    endings: &BTreeMap<SessionId, Ended>,
) -> Result<Found, AdoptError> {
    let records = Record::read_all(&host.config.data).map_err(AdoptError::Records)?;
    let mut found = Found::default();
    // With a record there would be jobs, or no start (`crate::left`).
    let Some(jobs) = &host.jobs else {
        return Ok(found);
    };
    let containers: BTreeMap<_, _> = jobs
        .engine
        .containers()
        .await?
        .into_iter()
        .map(|(s, id)| (id, s))
        .collect();
    for record in records {
        let journal_live = live.remove(&record.session).is_some();
        let there = record
            .container
            .as_ref()
            .is_some_and(|id| containers.contains_key(id));
        let mounted = space::is_whole(
            &record.dir,
            record.spec.resources.disk_mib,
            record.spec.volumes.len(),
            !record.spec.secrets.is_empty(),
        );
        let run = (&record.session, record.epoch);
        let had_ended = endings.get(run.0).filter(|ended| ended.is_of(run.0, run.1));
        if let (true, Some(ended)) = (journal_live, had_ended) {
            found.over.push((record, ended.clone()));
            continue;
        }
        match judge(journal_live, record.container.is_some(), there, mounted) {
            Verdict::Adopt => found.adopted.push(record),
            Verdict::Lost(reason, detail) => {
                let detail = detail.to_owned();
                let ended = Ended::now(run, &Ending { reason, detail });
                found.over.push((record, ended));
            }
            Verdict::Over => {
                let at = (host.config.data.as_path(), &record);
                let how = (None, Duration::ZERO, Asked::Maybe);
                let torn = teardown::tear_down(jobs, host.runtime.as_ref(), at, how);
                crate::adopt::in_time(&record.session, torn).await?;
            }
        }
    }
    clear_orphans(host, jobs, &found, containers.into_values().collect()).await?;
    Ok(found)
}

/// Containers, volumes, networks and rules that no job owns.
async fn clear_orphans(
    host: &Host,
    jobs: &Jobs,
    found: &Found,
    mut named: BTreeSet<SessionId>,
) -> Result<(), AdoptError> {
    named.extend(jobs.engine.volumes().await?);
    named.extend(jobs.engine.networks().await?);
    match jobs.firewall.held().await {
        Ok(held) => named.extend(held),
        Err(error) => tracing::error!(%error, "cannot see which rules an earlier agent left"),
    }
    for session in named {
        if found.owns(&session) {
            continue;
        }
        tracing::warn!(session_id = %session, "removing a job that no session owns");
        let dir = host.config.run.join(session.as_str());
        let run = (&session, Asked::Maybe);
        crate::adopt::in_time(&session, teardown::clear(jobs, run, &dir)).await?;
    }
    for mesh in jobs.engine.meshes().await? {
        // One that replicas are on stays.
        jobs.engine.leave_mesh(&mesh).await?;
    }
    Ok(())
}

/// What is left of a job whose task panicked.
pub(crate) async fn clear_after_panic(host: &Host, known: &Record) -> Ending {
    tracing::error!(session_id = %known.session, "the job's task panicked; this is a bug, please report it");
    host.tunnels.endpoints().close(&known.session);
    host.tunnels.endpoints().leave(&known.session);
    let ending = Ending {
        reason: EndReason::Internal,
        detail: "the job's task panicked".to_owned(),
    };
    let on_disk = Record::read(&host.config.data, &known.session);
    let record = on_disk.as_ref().unwrap_or(known);
    if let Some(jobs) = &host.jobs {
        let at = (host.config.data.as_path(), record);
        let ended = Ended::now((&record.session, record.epoch), &ending);
        let how = (Some(ended), Duration::ZERO, Asked::Maybe);
        teardown::tear_down(jobs, host.runtime.as_ref(), at, how).await;
        jobs.gpus
            .give_back(&known.session, GPU_RELEASE_DEADLINE)
            .await;
    }
    ending
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn the_table_is_what_is_done() {
        for rest in 0..8_u8 {
            let bit = |n: u8| rest & (1 << n) != 0;
            assert_eq!(judge(false, bit(0), bit(1), bit(2)), Verdict::Over);
        }
        let reason = |recorded, there, mounted| match judge(true, recorded, there, mounted) {
            Verdict::Lost(reason, _) => Some(reason),
            Verdict::Adopt => None,
            Verdict::Over => panic!("the journal has it"),
        };
        assert_eq!(reason(true, true, true), None);
        assert_eq!(reason(true, true, false), Some(EndReason::RuntimeFailed));
        for mounted in [false, true] {
            assert_eq!(reason(true, false, mounted), Some(EndReason::JobFailed));
            for there in [false, true] {
                assert_eq!(reason(false, there, mounted), Some(EndReason::Internal));
            }
        }
    }
}
