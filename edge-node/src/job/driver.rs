//! The one task that owns a job.
//!
//! It feeds the [`Machine`] and carries out its effects. Whatever takes time runs as a chore beside the loop
//! and comes back as [`Done`]: the loop itself waits for nothing but the next event. Others hold a [`Handle`],
//! and hear of it through the agent's inbox.
//!
//! **Invariant.** A chore of one run of the container is not heard in the next: each says which run it is of.

mod chores;
mod ending;
mod finish;
mod used;
mod view;

use super::assets::{self, AssetError};
use super::egress::Reach;
use super::launch::{self, LaunchError, Launched};
use super::machine::{Effect, Event, Machine, Rules, State, with_words};
use super::meter::Meter;
use super::record::Record;
use super::{health, mesh, space, teardown};
use crate::agent::Message;
use crate::images::InUse;
use crate::limits::{EGRESS_REFRESH_EVERY, INPUT_SEEN_EVERY, SAMPLE_EVERY, USED_TOLD_EVERY};
use crate::runtime::{AppExit, AppRef, Pulled, RuntimeError};
use crate::session::driver::{Update, View, stopped};
use crate::session::host::Host;
use crate::session::machine::Ending;
use crate::stubborn::Asked;
use nearlight_protocol::api::EndReason;
use nearlight_protocol::control::SessionReport;
use nearlight_protocol::usage::UsageFacts;
use nearlight_protocol::work::{PullLogin, Replica, Secrets};
use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use view::view_of;

/// How others reach a job's task.
#[derive(Debug)]
pub(crate) struct Handle {
    /// Set once, to end it.
    pub(crate) stop: watch::Sender<Option<EndReason>>,
    /// How it stands.
    pub(crate) view: watch::Receiver<View>,
}

/// What comes back from a chore.
enum Done {
    ImageLooked(Result<(), RuntimeError>),
    AssetMissing(AssetError),
    Launched(Box<(Result<Launched, LaunchError>, Reach)>),
    StartedWithAll {
        container: String,
        result: Result<(), LaunchError>,
    },
    Restarted(Result<(), LaunchError>),
    Found(Option<i32>),
    Exited {
        run: u32,
        exit: AppExit,
    },
    Healthy {
        run: u32,
    },
    Unhealthy {
        run: u32,
        detail: String,
    },
    StartTimedOut {
        period: u32,
    },
    BackedOff,
    ContainerStopped,
    Sampled,
    Refreshed(Box<Reach>),
}

/// A job and what it holds.
pub(crate) struct Driver {
    host: Arc<Host>,
    record: Record,
    secrets: Secrets,
    /// For the pull alone: an agent that comes after this one has none, and pulls nothing.
    login: Option<PullLogin>,
    machine: Machine,
    effects: VecDeque<Effect>,
    reach: Reach,
    chores: JoinSet<Done>,
    /// The container is being made: whatever happens, that has to be waited for.
    launching: bool,
    /// Of a container, ever.
    asked: Asked,
    /// Health checks of this run.
    checks: Option<AbortHandle>,
    why_not_healthy: health::WhyNot,
    /// Starts of the container so far.
    run: u32,
    /// Times that `time.start_s` began.
    period: u32,
    seen: u64,
    /// Chores write to it: a stop looks once more before it stops.
    meter: Arc<Mutex<Meter>>,
    /// A look at what it uses is under way.
    is_sampling: bool,
    /// What the broker was told of that.
    told: UsageFacts,
    stop: watch::Receiver<Option<EndReason>>,
    pulled: (
        watch::Sender<Option<Pulled>>,
        watch::Receiver<Option<Pulled>>,
    ),
    view: watch::Sender<View>,
    pid: Option<i32>,
    agent: mpsc::Sender<Message>,
    start_began: Instant,
    /// It is over already, and has yet to be taken apart.
    over: Option<Ending>,
    /// Its image stays while it is here.
    _image: InUse,
    /// And its assets.
    _assets: Option<assets::InUse>,
}

impl Driver {
    /// A job to be started.
    pub(crate) fn fresh(
        host: Arc<Host>,
        record: Record,
        (secrets, login): (Secrets, Option<PullLogin>),
        agent: mpsc::Sender<Message>,
    ) -> (Self, Handle) {
        let machine = Machine::new(Rules::from(&record.spec));
        let (mut driver, handle) = Self::new(host, (record, secrets), agent, (machine, Vec::new()));
        driver.login = login;
        (driver, handle)
    }

    /// A job of an earlier agent, whose container is there.
    pub(crate) fn adopted(
        host: Arc<Host>,
        record: Record,
        agent: mpsc::Sender<Message>,
    ) -> (Self, Handle) {
        let rules = Rules::from(&record.spec);
        let machine = Machine::adopted(rules, record.restarts, record.ready);
        let secrets = Secrets::default();
        let (mut driver, handle) = Self::new(host, (record, secrets), agent, machine);
        driver.asked = Asked::Maybe;
        (driver, handle)
    }

    /// A job of an earlier agent that is over: it is taken apart.
    pub(crate) fn over(
        host: Arc<Host>,
        (record, ending): (Record, Ending),
        agent: mpsc::Sender<Message>,
    ) -> (Self, Handle) {
        let (mut driver, handle) = Self::adopted(host, record, agent);
        driver.over = Some(ending);
        (driver, handle)
    }

    fn new(
        host: Arc<Host>,
        (record, secrets): (Record, Secrets),
        agent: mpsc::Sender<Message>,
        (machine, effects): (Machine, Vec<Effect>),
    ) -> (Self, Handle) {
        let (stop_in, stop) = watch::channel(None);
        let (view, view_out) = watch::channel(view_of(&machine, &record, None));
        let driver = Self {
            _image: host.images.used(&record.spec.engine_image()),
            _assets: (host.jobs.as_ref()).map(|jobs| jobs.assets.used(&record.spec.assets)),
            reach: Reach::new(&record.spec.egress),
            host,
            record,
            secrets,
            login: None,
            machine,
            effects: effects.into(),
            chores: JoinSet::new(),
            launching: false,
            asked: Asked::Never,
            checks: None,
            why_not_healthy: health::WhyNot::default(),
            run: 0,
            period: 0,
            seen: 0,
            meter: Arc::default(),
            is_sampling: false,
            told: UsageFacts::default(),
            stop,
            pulled: watch::channel(None),
            view,
            pid: None,
            agent,
            start_began: Instant::now(),
            over: None,
        };
        let handle = Handle {
            stop: stop_in,
            view: view_out,
        };
        (driver, handle)
    }

    /// Runs the job to its end; afterwards nothing of it is left.
    #[tracing::instrument(name = "session", skip_all, fields(session_id = %self.record.session, image = %self.record.spec.image))]
    pub(crate) async fn run(mut self) -> Ending {
        let (mut ending, was_over) = match self.over.take() {
            Some(ending) => (ending, true),
            None => (self.until_over().await, false),
        };
        if !was_over {
            self.add_last_words(&mut ending).await;
            self.sample_last().await;
        }
        self.end(&ending, was_over).await;
        let gpus = self.give_gpus_back(&mut ending).await;
        // Of one that was over the former agent knew, and wrote it down.
        if !was_over {
            self.tell_used(gpus).await;
        }
        tracing::info!(reason = ?ending.reason, detail = %ending.detail, "job ended");
        ending
    }

    async fn until_over(&mut self) -> Ending {
        match self.begin().await {
            Ok(()) => self.live().await,
            Err(ending) => ending,
        }
    }

    async fn begin(&mut self) -> Result<(), Ending> {
        if let Some(container) = self.record.container.clone() {
            self.run = 1;
            self.sweep(&container).await;
            self.open_inside(&container);
            self.spawn_wait(&container);
            self.recall_names();
            self.spawn_refresh(Duration::ZERO);
            return Ok(());
        }
        tracing::info!(slot = %self.record.slot, epoch = self.record.epoch.0, "job starts");
        let internal = |error: io::Error| Ending {
            reason: EndReason::Internal,
            detail: format!("cannot write the job's record: {error}"),
        };
        let refused = |detail: String| Ending {
            reason: EndReason::RuntimeFailed,
            detail,
        };
        // Nothing is written down of what there is nothing to take apart of: the next agent would look for a job.
        let Some(jobs) = &self.host.jobs else {
            return Err(refused("this node takes no jobs".to_owned()));
        };
        self.write_record().await.map_err(internal)?;
        if let Some(detail) = jobs.lacks(&self.record.spec) {
            return Err(refused(detail));
        }
        self.spawn_fetch();
        Ok(())
    }

    async fn live(&mut self) -> Ending {
        let mut look = tokio::time::interval(INPUT_SEEN_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut sample = used::every(SAMPLE_EVERY);
        let mut tell = used::every(USED_TOLD_EVERY);
        loop {
            while let Some(effect) = self.effects.pop_front() {
                if let Some(ending) = self.carry_out(effect).await {
                    return ending;
                }
            }
            self.show();
            tokio::select! {
                Some(done) = self.chores.join_next() => match done {
                    Ok(done) => self.chore_done(done).await,
                    Err(error) if error.is_cancelled() => {}
                    Err(error) => return Ending {
                        reason: EndReason::Internal,
                        detail: format!("a chore of the job panicked: {error}"),
                    },
                },
                Ok(()) = self.pulled.1.changed() => {
                    let pulled = *self.pulled.1.borrow_and_update();
                    if let Some(pulled) = pulled {
                        self.feed(Event::Pulling(pulled));
                    }
                }
                reason = stopped(&mut self.stop) => self.feed(Event::Stopped(reason)),
                _ = look.tick() => self.tell_if_used().await,
                _ = sample.tick() => self.spawn_sample(),
                _ = tell.tick() => self.tell_used(self.used_of_gpus()).await,
            }
        }
    }

    fn feed(&mut self, event: Event) {
        self.effects.extend(self.machine.handle(event));
    }

    async fn chore_done(&mut self, done: Done) {
        match done {
            Done::ImageLooked(Ok(())) => self.feed(Event::ImageReady),
            Done::ImageLooked(Err(error)) => self.refused(error.reason(), &error),
            Done::AssetMissing(error) => self.refused(EndReason::AssetMissing, &error),
            Done::Launched(launched) => {
                self.launching = false;
                let (result, reach) = *launched;
                self.reach = reach;
                self.secrets = Secrets::default();
                match result {
                    Ok(launched) => self.launched(launched).await,
                    Err(error) => self.refused(error.reason(), &error),
                }
            }
            Done::StartedWithAll {
                container,
                result: Ok(()),
            } => {
                self.record.container = Some(container);
                self.container_runs().await;
            }
            Done::StartedWithAll {
                result: Err(error), ..
            } => self.refused(error.reason(), &error),
            Done::Restarted(Ok(())) => self.container_runs().await,
            Done::Restarted(Err(error)) => self.refused(error.reason(), &error),
            Done::Found(pid) => self.pid = pid,
            Done::Exited { run, exit } if run == self.run => {
                tracing::info!(status = ?exit.status, out_of_memory = exit.out_of_memory, "the job's container ended");
                self.pid = None;
                self.stop_checks();
                self.note_exit(&exit);
                self.feed(Event::Exited(exit));
            }
            Done::Healthy { run } if run == self.run => self.feed(Event::Healthy),
            Done::Unhealthy { run, detail } if run == self.run => {
                tracing::warn!(detail, "the job is unhealthy");
                self.feed(Event::Unhealthy { detail });
            }
            Done::StartTimedOut { period } if period == self.period => {
                self.feed(Event::StartTimedOut);
            }
            Done::BackedOff => self.feed(Event::BackedOff),
            Done::Sampled => self.is_sampling = false,
            Done::Refreshed(reach) => {
                self.reach = *reach;
                self.spawn_refresh(EGRESS_REFRESH_EVERY);
            }
            // Of a run that is over.
            Done::Exited { .. }
            | Done::Healthy { .. }
            | Done::Unhealthy { .. }
            | Done::StartTimedOut { .. }
            | Done::ContainerStopped => {}
        }
    }

    fn refused(&mut self, reason: EndReason, error: &dyn std::error::Error) {
        tracing::warn!(%error, "the job cannot be started");
        let detail = error.to_string();
        self.feed(Event::StartFailed(Ending { reason, detail }));
    }

    async fn container_runs(&mut self) {
        self.run += 1;
        if let Some(container) = self.record.container.clone() {
            self.spawn_wait(&container);
        }
        self.record.ready = false;
        self.record.restarts = self.machine.restarts();
        self.keep_record().await;
        self.feed(Event::Started);
    }

    async fn carry_out(&mut self, effect: Effect) -> Option<Ending> {
        match effect {
            Effect::StartContainer => self.spawn_start(),
            Effect::ArmStartTimeout => {
                self.period += 1;
                self.why_not_healthy.clear();
                let period = self.period;
                let start_s = self.record.spec.time.start_s;
                self.spawn_timer(
                    Duration::from_secs(start_s.into()),
                    Done::StartTimedOut { period },
                );
            }
            Effect::DisarmStartTimeout => self.period += 1,
            Effect::AwaitHealth => self.spawn_checks(false),
            Effect::WatchHealth => self.spawn_checks(true),
            Effect::OpenPorts => self.open_ports(),
            Effect::ClosePorts => self.close_ports(),
            Effect::StopContainer => self.spawn_stop(),
            Effect::BackOff(wait) => {
                tracing::info!(
                    restarts = self.machine.restarts(),
                    wait_s = wait.as_secs(),
                    "the job is started again"
                );
                self.spawn_timer(wait, Done::BackedOff);
            }
            Effect::Report(report) => {
                if report == SessionReport::Ready {
                    let took_ms = self.start_began.elapsed().as_millis();
                    tracing::info!(took_ms, "job ready");
                    self.record.ready = true;
                    self.keep_record().await;
                }
                self.tell(report).await;
            }
            Effect::TearDown(ending) => return Some(ending),
        }
        None
    }

    fn container_address(&self) -> Option<Ipv4Addr> {
        Some(self.record.subnet?.container())
    }

    fn open_ports(&self) {
        let Some(container) = self.container_address() else {
            return;
        };
        let ports = self.record.spec.ports.iter();
        let ports = ports.map(|port| {
            (
                port.name.clone(),
                SocketAddr::from((container, port.port)),
                port.access,
            )
        });
        let at = (self.record.session.clone(), self.record.epoch.0);
        self.host.tunnels.endpoints().open_at(at, ports.collect());
    }

    async fn tell(&self, report: SessionReport) {
        let message = Message::Session {
            session: self.record.session.clone(),
            update: Update::Report(report),
        };
        if self.agent.send(message).await.is_err() {
            tracing::debug!("the agent is gone");
        }
    }

    /// A record that cannot be written costs an adoption after a crash, not the job.
    async fn keep_record(&self) {
        if let Err(error) = self.write_record().await {
            tracing::error!(%error, "cannot write the job's record: the job will not survive a restart of this node");
        }
    }

    async fn write_record(&self) -> io::Result<()> {
        let record = self.record.clone();
        let data = self.host.config.data.clone();
        tokio::task::spawn_blocking(move || record.write(&data))
            .await
            .map_err(io::Error::other)?
    }

    fn show(&self) {
        let view = view_of(&self.machine, &self.record, self.pid);
        self.view.send_replace(view);
    }
}
