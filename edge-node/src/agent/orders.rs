//! Start and stop. Both may come twice: the second time answers like the first.

use super::Agent;
use super::live::Live;
use crate::gpu::board::NotGiven;
use crate::job;
use crate::meters;
use crate::session::driver::Driver;
use crate::session::record::Record;
use nearlight_protocol::api::EndReason;
use nearlight_protocol::control::{AckOutcome, DenyReason, FromEdge, Order, Start};
use nearlight_protocol::grant::Grant;
use nearlight_protocol::id::SessionId;
use nearlight_protocol::job::JobSpec;
use nearlight_protocol::unit::U64;
use nearlight_protocol::volume::{JobStorage, is_owner};
use nearlight_protocol::work::{AppWork, PullLogin, Replica, Secrets, Work};
use nearlight_session::{Admission, Epoch};
use std::collections::BTreeSet;

/// Longest xkb layout that is passed on, such as `us(altgr-intl)`.
const LAYOUT_BYTES_MAX: usize = 64;

/// Why an order is not carried out.
struct Denied {
    reason: DenyReason,
    detail: String,
}

impl Agent {
    pub(super) fn ordered(&mut self, command: U64, order: Order) {
        match order {
            Order::Start(start) => match self.start(*start) {
                Ok(()) => self.ack_done(command),
                Err(denied) => {
                    tracing::warn!(reason = ?denied.reason, detail = %denied.detail, "start denied");
                    meters::start_denied(denied.reason);
                    let outcome = AckOutcome::Denied {
                        reason: denied.reason,
                        detail: denied.detail,
                    };
                    self.say(FromEdge::Ack { command, outcome });
                }
            },
            Order::Stop { session, reason } => self.stop(command, &session, reason),
        }
    }

    pub(super) fn ack_done(&mut self, command: U64) {
        let outcome = AckOutcome::Done;
        self.say(FromEdge::Ack { command, outcome });
    }

    fn start(&mut self, start: Start) -> Result<(), Denied> {
        let grant = self.verify(&start)?;
        if let Some(live) = self.sessions.get(&grant.session) {
            return if live.epoch == grant.epoch {
                Ok(())
            } else {
                Err(denied(
                    DenyReason::SlotBusy,
                    "the session runs here under another epoch",
                ))
            };
        }
        if self.draining {
            return Err(denied(DenyReason::Draining, "this node shuts down"));
        }
        if !self.inventory.fault.is_empty() {
            return Err(self.denied_by_fault());
        }
        self.check_gpus(&start.work, &grant)?;
        let epoch = Epoch::from(grant.epoch);
        let admission = self.journal.admit(&grant.slot, epoch, &grant.session);
        let admission = match admission {
            Ok(admission) => admission,
            Err(error) => {
                // The epoch is burnt: only a newer one can start this session.
                self.cannot_write(&error);
                return Err(self.denied_by_fault());
            }
        };
        match admission {
            Admission::Admit => {
                self.launch(start, grant);
                Ok(())
            }
            Admission::Already => {
                // It ran and is over. Say again how, for that report may be what was lost.
                if let Some(end) = self.board.end_of(&grant.session) {
                    self.say(end);
                }
                Ok(())
            }
            Admission::Deny(denial) => Err(denied(denial.into(), denial)),
        }
    }

    /// Whether a job can have the GPUs of its grant, before anything is written down of it. One that ran under
    /// this very grant and is over asks for none again.
    fn check_gpus(&self, work: &Work, grant: &Grant) -> Result<(), Denied> {
        let need = work.job().and_then(|spec| spec.resources.gpu.as_ref());
        let asked = need.map_or(0, |need| need.count);
        let is_over = self.board.has_ended(&grant.session, grant.epoch);
        let Some(jobs) = self.host.jobs.as_ref().filter(|_| asked > 0 && !is_over) else {
            return Ok(());
        };
        jobs.gpus.check(&grant.gpus, asked).map_err(|error| {
            let reason = match error {
                NotGiven::Unnamed { .. } | NotGiven::Lacks(_) => DenyReason::GrantInvalid,
                NotGiven::Held { .. } | NotGiven::Sick { .. } => DenyReason::SlotBusy,
            };
            denied(reason, error)
        })
    }

    fn denied_by_fault(&self) -> Denied {
        // A broker that does not know the word would close the stream.
        let reason = match self.broker_knows_faults {
            true => DenyReason::NodeFault,
            false => DenyReason::EpochOld,
        };
        denied(reason, &self.inventory.fault)
    }

    fn verify(&self, start: &Start) -> Result<Grant, Denied> {
        let invalid = |detail: String| denied(DenyReason::GrantInvalid, detail);
        let keys = self.keys.latest();
        let keys = keys
            .as_ref()
            .ok_or_else(|| invalid("the broker's welcome had no usable key".to_owned()))?;
        let grant = keys
            .verify(&start.grant, &self.identity)
            .map_err(|error| invalid(error.to_string()))?;
        if grant.session != start.session {
            return Err(invalid("the grant is for another session".to_owned()));
        }
        match &start.work {
            Work::App(work) => check_app(work).map_err(|detail| invalid(detail.to_owned()))?,
            Work::Job(spec) => {
                check_job(spec, &start.secrets).map_err(invalid)?;
                check_replica(spec, start.replica.as_ref(), &start.session).map_err(invalid)?;
                check_storage(spec, start.storage.as_ref()).map_err(invalid)?;
            }
        }
        Ok(grant)
    }

    fn launch(&mut self, start: Start, grant: Grant) {
        meters::session_started();
        match start.work {
            Work::App(work) => self.launch_app(start.session, start.grant, work, grant),
            Work::Job(spec) => {
                let replica = start.replica;
                let spec = match &replica {
                    Some(replica) => spec.of_replica(replica.rank),
                    None => *spec,
                };
                let started = (start.session, start.grant, replica);
                let brought = (start.secrets, start.pull);
                let job = (spec, start.storage);
                self.launch_job(started, job, brought, grant);
            }
        }
    }

    fn launch_job(
        &mut self,
        (session, signed, replica): (SessionId, String, Option<Replica>),
        (spec, storage): (JobSpec, Option<JobStorage>),
        brought: (Secrets, Option<PullLogin>),
        grant: Grant,
    ) {
        let record = job::record::Record {
            dir: self.host.config.run.join(session.as_str()),
            session,
            slot: grant.slot,
            epoch: grant.epoch,
            grant: signed,
            user: grant.user,
            gpus: match spec.resources.gpu {
                Some(_) => grant.gpus,
                None => Vec::new(),
            },
            spec,
            storage,
            started_ms: nearlight_kit::clock::unix_ms(),
            subnet: None,
            container: None,
            restarts: 0,
            ready: false,
            replica,
            mesh: None,
        };
        self.take_gpus(&record);
        let (host, agent) = (self.host.clone(), self.address.clone());
        let (driver, handle) = job::driver::Driver::fresh(host, record.clone(), brought, agent);
        self.own_job(record, driver, handle);
    }

    fn launch_app(&mut self, session: SessionId, signed: String, work: AppWork, grant: Grant) {
        let slot_index = self
            .identity
            .slots
            .iter()
            .position(|slot| *slot == grant.slot)
            .expect("the grant was verified to be for one of our slots");
        let spare = self.host.warm.take(&work);
        let name = spare.as_ref().map_or(&session, |spare| &spare.name);
        let record = Record {
            dir: self.host.config.run.join(name.as_str()),
            kept_as: spare.as_ref().map(|spare| spare.name.clone()),
            session,
            slot: grant.slot,
            slot_index: spare
                .as_ref()
                .map_or(slot_index, |spare| spare.place.index()),
            epoch: grant.epoch,
            grant: signed,
            user: grant.user,
            app: work.app,
            display: work.display,
            keyboard_layout: work.keyboard_layout,
            started_ms: nearlight_kit::clock::unix_ms(),
            runtime: Some(self.host.runtime.name().to_owned()),
            worker: spare.as_ref().map(|spare| spare.worker.id()),
            running: None,
            ready: false,
        };
        let (host, agent) = (self.host.clone(), self.address.clone());
        let Some(spare) = spare else {
            let (driver, handle) = Driver::fresh(host, record.clone(), agent);
            return self.own(record, driver, handle);
        };
        tracing::info!(session_id = %record.session, desk = %spare.name, "a desktop is ready for it");
        let (driver, handle) = Driver::warm(host, record.clone(), agent, spare.worker);
        self.own(record, driver, handle);
        // The session holds it too by now.
        drop(spare.place);
    }

    fn stop(&mut self, command: U64, session: &SessionId, reason: EndReason) {
        match self.sessions.get_mut(session) {
            Some(live) => {
                remember_stop(live, command);
                live.end(reason);
            }
            None => {
                if let Some(end) = self.board.end_of(session) {
                    self.say(end);
                }
                self.ack_done(command);
            }
        }
    }
}

/// A command that is sent again while the session ends is acked once.
fn remember_stop(live: &mut Live, command: U64) {
    if !live.stops.contains(&command) {
        live.stops.push(command);
    }
}

/// What the catalogue checks too, checked again: this is where it becomes arguments and mounts.
fn check_app(work: &AppWork) -> Result<(), &'static str> {
    if !work.display.is_valid() {
        return Err("the display is out of range");
    }
    if work.app.launch.command.is_empty() {
        return Err("the app has no command");
    }
    let layout = &work.keyboard_layout;
    let layout_valid = (1..=LAYOUT_BYTES_MAX).contains(&layout.len())
        && layout
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_-,()+:".contains(&b))
        && !layout.starts_with('-');
    if !layout_valid {
        return Err("the keyboard layout is not an xkb layout");
    }
    let saves_valid = work.app.saves.as_deref().is_none_or(|saves| {
        saves.starts_with('/')
            && saves.len() > 1
            && !saves
                .split('/')
                .skip(1)
                .any(|part| matches!(part, "" | "." | ".."))
    });
    if !saves_valid {
        return Err("`saves` is not an absolute path without `.` and `..`");
    }
    Ok(())
}

/// What the broker checks too, checked again: this is where it becomes a container, mounts and files.
fn check_job(spec: &JobSpec, secrets: &Secrets) -> Result<(), String> {
    if let Some(fault) = spec.fault() {
        return Err(fault.to_string());
    }
    let named: BTreeSet<_> = spec.secrets.iter().collect();
    if secrets.0.keys().collect::<BTreeSet<_>>() != named {
        return Err("the secrets are not those that the spec names".to_owned());
    }
    Ok(())
}

/// A cluster's spec comes as one of its replicas, and no other does.
fn check_replica(
    spec: &JobSpec,
    replica: Option<&Replica>,
    session: &SessionId,
) -> Result<(), String> {
    let is_right = match (&spec.cluster, replica) {
        (None, None) => true,
        (Some(cluster), Some(replica)) => {
            let is_first = replica.rank == 0;
            replica.of == cluster.replicas
                && replica.rank < replica.of
                && is_first == (replica.cluster == *session)
        }
        (Some(_), None) | (None, Some(_)) => false,
    };
    match is_right {
        true => Ok(()),
        false => Err("which replica it is does not match its cluster".to_owned()),
    }
}

/// What a job is to find here is what it asks for.
fn check_storage(spec: &JobSpec, storage: Option<&JobStorage>) -> Result<(), String> {
    let Some(storage) = storage else {
        let needs_none = spec.volumes.is_empty() && spec.assets.is_empty();
        return needs_none
            .then_some(())
            .ok_or_else(|| "nothing is said of its volumes and assets".to_owned());
    };
    if !is_owner(&storage.owner) {
        return Err("the owner of its volumes and assets is none".to_owned());
    }
    let granted: BTreeSet<_> = storage
        .volumes
        .iter()
        .map(|granted| &granted.name)
        .collect();
    let named: BTreeSet<_> = spec.volumes.iter().map(|volume| &volume.name).collect();
    if granted != named || granted.len() != storage.volumes.len() {
        return Err("the volumes are not those that the spec names".to_owned());
    }
    Ok(())
}

fn denied(reason: DenyReason, detail: impl ToString) -> Denied {
    Denied {
        reason,
        detail: detail.to_string(),
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use nearlight_protocol::app::DisplayMode;

    fn work() -> AppWork {
        AppWork {
            app: crate::runtime::plan::test::spec(&["/bin/app"]),
            display: DisplayMode::default(),
            keyboard_layout: "us(altgr-intl)".to_owned(),
        }
    }

    #[test]
    fn a_job_is_checked_again_and_brings_the_secrets_that_it_names() {
        let secrets = |names: &[&str]| {
            let values = names
                .iter()
                .map(|name| ((*name).to_owned(), "v".to_owned()));
            Secrets(values.collect())
        };
        let mut spec = JobSpec::of_image("registry.example/x:1");
        check_job(&spec, &secrets(&[])).unwrap();
        check_job(&spec, &secrets(&["../../x"])).unwrap_err();
        spec.secrets = vec!["TOKEN".to_owned()];
        check_job(&spec, &secrets(&["TOKEN"])).unwrap();
        check_job(&spec, &secrets(&[])).unwrap_err();
        check_job(&spec, &secrets(&["TOKEN", "more"])).unwrap_err();
        spec.secrets = vec!["../../x".to_owned()];
        let fault = check_job(&spec, &secrets(&["../../x"])).unwrap_err();
        assert!(fault.contains("secrets[0]"), "{fault}");
    }

    #[test]
    fn a_job_finds_the_volumes_that_it_names_and_no_others() {
        use nearlight_protocol::job::Volume;
        use nearlight_protocol::volume::VolumeGrant;
        let mut spec = JobSpec::of_image("registry.example/x:1");
        check_storage(&spec, None).unwrap();
        spec.volumes.push(Volume {
            name: "cache".to_owned(),
            path: "/cache".to_owned(),
            size_mib: 1,
        });
        check_storage(&spec, None).unwrap_err();
        let grant = |name: &str| VolumeGrant {
            name: name.to_owned(),
            volume: nearlight_kit::ids::volume(),
            size_mib: 1,
            is_new: true,
        };
        let storage = |owner: &str, names: &[&str]| JobStorage {
            owner: owner.to_owned(),
            volumes: names.iter().map(|name| grant(name)).collect(),
        };
        let owner = nearlight_kit::ids::user().to_string();
        check_storage(&spec, Some(&storage(&owner, &["cache"]))).unwrap();
        for names in [
            &[][..],
            &["other"],
            &["cache", "other"],
            &["cache", "cache"],
        ] {
            check_storage(&spec, Some(&storage(&owner, names))).unwrap_err();
        }
        check_storage(&spec, Some(&storage("../../etc", &["cache"]))).unwrap_err();
    }

    #[test]
    fn what_becomes_arguments_and_mounts_is_checked() {
        check_app(&work()).unwrap();
        let mut good = work();
        good.app.saves = Some("/home/player/.x/y".to_owned());
        check_app(&good).unwrap();

        let refuse = |change: &dyn Fn(&mut AppWork)| {
            let mut bad = work();
            change(&mut bad);
            check_app(&bad).unwrap_err();
        };
        refuse(&|s| s.display.width = 1);
        refuse(&|s| s.app.launch.command.clear());
        for layout in ["", "--dir", "us;x", "us\n", &"x".repeat(65)] {
            refuse(&|s| s.keyboard_layout = layout.to_owned());
        }
        for saves in ["", "/", "x", "/a/../b", "/a//b", "/a/"] {
            refuse(&|s| s.app.saves = Some(saves.to_owned()));
        }
    }
}
