//! The sessions that are here: apps and jobs in one table, each with a task of its own.
//!
//! What both have is in [`Live`]; what an app has beside, its desktop's events and its viewer, in [`App`].

use super::{Agent, Message};
use crate::job;
use crate::job::notice::EndNotice;
use crate::meters;
use crate::prover::devices::Uses;
use crate::session::driver::{Driver, Handle, Update, View};
use crate::session::machine::{Ending, Event};
use crate::session::record::Record;
use crate::streams::Totals;
use crate::warm::Room;
use futures_util::FutureExt;
use nearlight_protocol::api::EndReason;
use nearlight_protocol::id::{AttachmentId, SessionId, SlotId};
use nearlight_protocol::unit::U64;
use std::panic::AssertUnwindSafe;
use tokio::sync::{mpsc, watch};

/// A session that runs, starts or ends.
pub(super) struct Live {
    pub(super) slot: SlotId,
    pub(super) epoch: U64,
    pub(super) mem_mib: u32,
    /// The GPUs that it has, by UUID.
    pub(super) gpus: Vec<String>,
    pub(super) grant: String,
    pub(super) ready: bool,
    /// Set once, to end it.
    pub(super) stop: watch::Sender<Option<EndReason>>,
    /// How it stands.
    pub(super) view: watch::Receiver<View>,
    /// `Stop` commands to ack once it is over.
    pub(super) stops: Vec<U64>,
    /// What a job was told of its end.
    pub(super) ends: Option<EndNotice>,
    pub(super) what: What,
}

/// What a session runs.
pub(super) enum What {
    App(App),
    /// A job, by its image.
    Job(String),
}

/// An app that a player watches.
pub(super) struct App {
    name: String,
    /// To its task: what the transport said.
    pub(super) events: mpsc::Sender<Event>,
    pub(super) attachment: Option<AttachmentId>,
}

impl Live {
    /// Ends it. The first reason stays: its task reads it once.
    pub(super) fn end(&self, reason: EndReason) {
        self.stop.send_if_modified(|wish| {
            let first = wish.is_none();
            *wish = wish.or(Some(reason));
            first
        });
    }

    /// The app, if it is one.
    pub(super) fn app(&self) -> Option<&App> {
        match &self.what {
            What::App(app) => Some(app),
            What::Job(_) => None,
        }
    }
}

/// A session as `/sessions` shows it.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct SessionView {
    session: SessionId,
    #[serde(skip_serializing_if = "Option::is_none")]
    app: Option<String>,
    /// A job's image.
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<String>,
    slot: SlotId,
    epoch: U64,
    ready: bool,
    attachment: Option<AttachmentId>,
    #[serde(flatten)]
    view: View,
    #[serde(flatten)]
    counters: Totals,
}

impl Agent {
    pub(super) fn app_mut(&mut self, session: &SessionId) -> Option<&mut App> {
        match &mut self.sessions.get_mut(session)?.what {
            What::App(app) => Some(app),
            What::Job(_) => None,
        }
    }

    /// Runs an app's task.
    pub(super) fn own(&mut self, record: Record, driver: Driver, handle: Handle) {
        let live = Live {
            slot: record.slot.clone(),
            epoch: record.epoch,
            mem_mib: record.app.needs.mem_mib,
            gpus: self
                .host
                .gpus_of(record.slot_index)
                .into_iter()
                .filter_map(|gpu| gpu.uuid)
                .collect(),
            grant: record.grant.clone(),
            ready: record.ready,
            stop: handle.stop,
            view: handle.view,
            stops: Vec::new(),
            ends: None,
            what: What::App(App {
                name: record.app.id.to_string(),
                events: handle.events,
                attachment: None,
            }),
        };
        let session = record.session.clone();
        // Given back when nothing of the session is left.
        let place = self.host.warm.hold(record.slot_index);
        let host = self.host.clone();
        self.run_task(session, live, async move {
            let ending = match AssertUnwindSafe(driver.run()).catch_unwind().await {
                Ok(ending) => ending,
                Err(_panic) => crate::adopt::clear_after_panic(&host, &record).await,
            };
            drop(place);
            ending
        });
    }

    /// A job has the GPUs that its record names.
    pub(super) fn take_gpus(&self, record: &job::record::Record) {
        if let Some(jobs) = &self.host.jobs {
            jobs.gpus.take(&record.session, &record.gpus);
        }
    }

    /// Runs a job's task.
    pub(super) fn own_job(
        &mut self,
        record: job::record::Record,
        driver: job::driver::Driver,
        handle: job::driver::Handle,
    ) {
        let live = Live {
            slot: record.slot.clone(),
            epoch: record.epoch,
            mem_mib: record.spec.resources.mem_mib,
            gpus: record.gpus.clone(),
            grant: record.grant.clone(),
            ready: record.ready,
            stop: handle.stop,
            view: handle.view,
            stops: Vec::new(),
            ends: None,
            what: What::Job(record.spec.image.clone()),
        };
        let (session, host) = (record.session.clone(), self.host.clone());
        self.run_task(session, live, async move {
            match AssertUnwindSafe(driver.run()).catch_unwind().await {
                Ok(ending) => ending,
                Err(_panic) => job::adopt::clear_after_panic(&host, &record).await,
            }
        });
    }

    /// Makes sure that the end of a session's task is heard whatever happens to it.
    fn run_task(
        &mut self,
        session: SessionId,
        live: Live,
        task: impl Future<Output = Ending> + Send + 'static,
    ) {
        self.sessions.insert(session.clone(), live);
        self.count_sessions();
        let agent = self.address.clone();
        self.shutdown.spawn(async move {
            let update = Update::Ended(task.await);
            // The agent outlives every session, except in a drain that ran out of time.
            let _ = agent.send(Message::Session { session, update }).await;
        });
    }

    pub(super) fn count_sessions(&self) {
        meters::sessions(self.sessions.len());
        let gpus = self.sessions.values().flat_map(|live| &live.gpus);
        self.host.prover.used(Uses {
            sessions: self.sessions.len(),
            gpus: gpus.cloned().collect(),
        });
        let taken = self.sessions.values().map(|live| live.mem_mib).sum();
        self.room.send_replace(Room {
            slots: self
                .identity
                .slots
                .len()
                .saturating_sub(self.sessions.len()),
            mem_mib: self.host.config.mem_mib.saturating_sub(taken),
        });
    }

    pub(super) fn views(&self) -> Vec<SessionView> {
        self.sessions
            .iter()
            .map(|(session, live)| {
                let (app, job) = match &live.what {
                    What::App(app) => (Some(app.name.clone()), None),
                    What::Job(image) => (None, Some(image.clone())),
                };
                SessionView {
                    session: session.clone(),
                    app,
                    job,
                    slot: live.slot.clone(),
                    epoch: live.epoch,
                    ready: live.ready,
                    attachment: live.app().and_then(|app| app.attachment.clone()),
                    view: live.view.borrow().clone(),
                    counters: self.counters.of(session),
                }
            })
            .collect()
    }
}
