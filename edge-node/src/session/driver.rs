//! The one task that owns a session.
//!
//! It feeds the [`Machine`] and carries out its effects. Whatever takes
//! time runs as a job beside the loop and comes back as a [`Job`]: the loop itself waits for nothing
//! but the next event. Others hold a [`Handle`], and hear of it through the agent's inbox.

mod view;

use crate::agent::Message;
use crate::ended::Ended;
use crate::images::InUse;
use crate::limits::{
    ADOPT_CONNECT_DEADLINE, ENGINE_DEADLINE, LAST_WORDS_DEADLINE, LOG_CHECK_EVERY,
    SESSION_INBOX_MAX, WORKER_CONNECT_DEADLINE,
};
use crate::process::Process;
use crate::runtime::{AppExit, AppPlan, AppRef, Pulled, RuntimeError};
use crate::session::dirs;
use crate::session::host::Host;
use crate::session::launch::{self, Desk};
use crate::session::machine::{Effect, Ending, Event, Machine, State};
use crate::session::record::Record;
use crate::session::teardown::{Parts, tear_down};
use crate::stubborn::Asked;
use nearlight_protocol::api::EndReason;
use nearlight_protocol::control::SessionReport;
use std::collections::VecDeque;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
pub(crate) use view::View;

/// How others reach a session's task.
#[derive(Debug)]
pub(crate) struct Handle {
    /// What the transport said.
    pub(crate) events: mpsc::Sender<Event>,
    /// Set once, to end it.
    pub(crate) stop: watch::Sender<Option<EndReason>>,
    /// How it stands.
    pub(crate) view: watch::Receiver<View>,
}

/// What a session's task tells the agent.
#[derive(Debug)]
pub(crate) enum Update {
    /// For the broker.
    Report(SessionReport),
    /// It is over, and nothing of it is left.
    Ended(Ending),
}

/// What comes back from a job.
enum Job {
    ImageLooked(Result<(), RuntimeError>),
    WorkerConnected(io::Result<UnixStream>),
    AppStarted(Result<AppRef, RuntimeError>),
    AppFound(Option<i32>),
    AppExited(AppExit),
    WorkerExited,
    StartTimedOut,
    LastWordsOver,
}

/// A session and what it holds.
pub(crate) struct Driver {
    host: Arc<Host>,
    record: Record,
    machine: Machine,
    effects: VecDeque<Effect>,
    worker: Option<Arc<Process>>,
    connected: bool,
    starting_app: bool,
    /// Of the app's start, ever.
    asked: Asked,
    app_pid: Option<i32>,
    jobs: JoinSet<Job>,
    events: mpsc::Receiver<Event>,
    stop: watch::Receiver<Option<EndReason>>,
    pulled: (
        watch::Sender<Option<Pulled>>,
        watch::Receiver<Option<Pulled>>,
    ),
    view: watch::Sender<View>,
    agent: mpsc::Sender<Message>,
    start_began: Instant,
    /// It is over already, and has yet to be taken apart.
    over: Option<Ending>,
    /// Its image stays while it is here.
    _image: InUse,
}

impl Driver {
    /// A session to be started.
    pub(crate) fn fresh(
        host: Arc<Host>,
        record: Record,
        agent: mpsc::Sender<Message>,
    ) -> (Self, Handle) {
        let (machine, effects) = Machine::new();
        Self::new(host, record, agent, machine, effects, None)
    }

    /// A session to be started on a desktop that was kept ready.
    pub(crate) fn warm(
        host: Arc<Host>,
        record: Record,
        agent: mpsc::Sender<Message>,
        worker: Process,
    ) -> (Self, Handle) {
        let (machine, effects) = Machine::new();
        Self::new(host, record, agent, machine, effects, Some(worker))
    }

    /// A session of an earlier agent, whose worker and app run.
    pub(crate) fn adopted(
        host: Arc<Host>,
        record: Record,
        agent: mpsc::Sender<Message>,
        worker: Process,
    ) -> (Self, Handle) {
        let machine = Machine::adopted(record.ready);
        let (mut driver, handle) =
            Self::new(host, record, agent, machine, Vec::new(), Some(worker));
        driver.asked = Asked::Maybe;
        (driver, handle)
    }

    /// A session of an earlier agent that is over: it is taken apart.
    pub(crate) fn over(
        host: Arc<Host>,
        (record, ending): (Record, Ending),
        agent: mpsc::Sender<Message>,
        worker: Option<Process>,
    ) -> (Self, Handle) {
        let machine = Machine::adopted(record.ready);
        let (mut driver, handle) = Self::new(host, record, agent, machine, Vec::new(), worker);
        driver.over = Some(ending);
        driver.asked = Asked::Maybe;
        (driver, handle)
    }

    fn new(
        host: Arc<Host>,
        record: Record,
        agent: mpsc::Sender<Message>,
        machine: Machine,
        effects: Vec<Effect>,
        worker: Option<Process>,
    ) -> (Self, Handle) {
        let (events_in, events) = mpsc::channel(SESSION_INBOX_MAX);
        let (stop_in, stop) = watch::channel(None);
        let (view, view_out) = watch::channel(View::of(&machine, &record, None));
        let image = host.images.used(&record.app.launch.image);
        let driver = Self {
            _image: image,
            host,
            record,
            machine,
            effects: effects.into(),
            worker: worker.map(Arc::new),
            connected: false,
            starting_app: false,
            asked: Asked::Never,
            app_pid: None,
            jobs: JoinSet::new(),
            events,
            stop,
            pulled: watch::channel(None),
            view,
            agent,
            start_began: Instant::now(),
            over: None,
        };
        let handle = Handle {
            events: events_in,
            stop: stop_in,
            view: view_out,
        };
        (driver, handle)
    }

    /// Runs the session to its end; afterwards nothing of it is left.
    #[tracing::instrument(name = "session", skip_all, fields(session_id = %self.record.session, app = %self.record.app.id))]
    pub(crate) async fn run(mut self) -> Ending {
        let ending = match self.over.take() {
            Some(ending) => ending,
            None => self.until_over().await,
        };
        self.end(&ending).await;
        tracing::info!(reason = ?ending.reason, detail = %ending.detail, "session ended");
        ending
    }

    async fn until_over(&mut self) -> Ending {
        match self.begin().await {
            Ok(()) => self.live().await,
            Err(error) => {
                tracing::error!(%error, "cannot start the session's worker");
                Ending {
                    reason: EndReason::Internal,
                    detail: error.to_string(),
                }
            }
        }
    }

    async fn begin(&mut self) -> io::Result<()> {
        let connect_deadline = if let Some(app) = &self.record.running {
            self.spawn_wait(app.clone());
            ADOPT_CONNECT_DEADLINE
        } else {
            tracing::info!(slot = %self.record.slot, epoch = self.record.epoch.0, "session starts");
            self.write_record().await?;
            if self.worker.is_none() {
                let worker = launch::spawn(&self.host, Desk::from(&self.record))?;
                self.record.worker = Some(worker.id());
                self.worker = Some(Arc::new(worker));
                self.write_record().await?;
            }
            self.spawn_fetch();
            WORKER_CONNECT_DEADLINE
        };
        if let Some(worker) = self.worker.clone() {
            let (dir, id) = (self.record.dir.clone(), worker.id());
            self.jobs.spawn(async move {
                Job::WorkerConnected(launch::connect(&dir, id, connect_deadline).await)
            });
            self.jobs.spawn(async move {
                worker.exited().await;
                Job::WorkerExited
            });
        }
        self.show();
        Ok(())
    }

    async fn live(&mut self) -> Ending {
        let mut log_check = tokio::time::interval(LOG_CHECK_EVERY);
        loop {
            while let Some(effect) = self.effects.pop_front() {
                if let Some(ending) = self.carry_out(effect).await {
                    return ending;
                }
            }
            self.show();
            tokio::select! {
                Some(event) = self.events.recv() => self.heard(event),
                Some(job) = self.jobs.join_next() => match job {
                    Ok(job) => self.job_done(job).await,
                    Err(error) => return Ending {
                        reason: EndReason::Internal,
                        detail: format!("a job of the session panicked: {error}"),
                    },
                },
                Ok(()) = self.pulled.1.changed() => {
                    let pulled = *self.pulled.1.borrow_and_update();
                    if let Some(pulled) = pulled {
                        self.feed(Event::Pulling(pulled));
                    }
                }
                reason = stopped(&mut self.stop) => self.feed(Event::Stopped(reason)),
                _ = log_check.tick() => dirs::bound_logs(&self.record.dir),
            }
        }
    }

    /// Of a worker's end the transport knows that it is, and the log why.
    fn heard(&mut self, event: Event) {
        match event {
            Event::WorkerGone { .. } => {
                let detail = self.worker_words();
                self.feed(Event::WorkerGone { detail });
            }
            other => self.feed(other),
        }
    }

    fn feed(&mut self, event: Event) {
        self.effects.extend(self.machine.handle(event));
    }

    async fn job_done(&mut self, job: Job) {
        match job {
            Job::ImageLooked(Ok(())) => self.feed(Event::ImageReady),
            Job::ImageLooked(Err(error)) => self.feed(Event::StartFailed(refusal(&error))),
            Job::WorkerConnected(Ok(stream)) => {
                self.connected = true;
                let session = self.record.session.clone();
                self.host.transport.add_session(session, stream);
            }
            Job::WorkerConnected(Err(error)) => {
                let detail = format!("{error}\n{}", self.worker_words());
                self.feed(Event::WorkerGone { detail });
            }
            Job::AppStarted(Ok(app)) => {
                self.starting_app = false;
                self.record.running = Some(app.clone());
                self.spawn_wait(app);
                self.keep_record().await;
                self.feed(Event::AppStarted);
            }
            Job::AppStarted(Err(error)) => {
                self.starting_app = false;
                self.feed(Event::StartFailed(refusal(&error)));
            }
            Job::AppFound(pid) => self.app_pid = pid,
            Job::AppExited(exit) => {
                tracing::info!(status = ?exit.status, out_of_memory = exit.out_of_memory, "app exited");
                self.feed(Event::AppExited(exit));
            }
            Job::WorkerExited => {
                let detail = self.worker_words();
                self.feed(Event::WorkerGone { detail });
            }
            Job::StartTimedOut => self.feed(Event::StartTimedOut),
            Job::LastWordsOver => self.feed(Event::LastWordsOver),
        }
    }

    async fn carry_out(&mut self, effect: Effect) -> Option<Ending> {
        match effect {
            Effect::ArmStartTimeout => {
                let timeout = Duration::from_secs(self.host.config.start_timeout_s.into());
                self.spawn_timer(timeout, Job::StartTimedOut);
            }
            Effect::ArmLastWords => self.spawn_timer(LAST_WORDS_DEADLINE, Job::LastWordsOver),
            Effect::StartApp => match self.plan() {
                Ok(plan) => self.spawn_start(plan),
                Err(error) => self.feed(Event::StartFailed(Ending {
                    reason: EndReason::Internal,
                    detail: format!("cannot make the saves directory: {error}"),
                })),
            },
            Effect::Report(report) => {
                if report == SessionReport::Ready {
                    let took = self.start_began.elapsed();
                    crate::meters::session_ready(took);
                    tracing::info!(took_ms = took.as_millis(), "first picture");
                    self.record.ready = true;
                    self.keep_record().await;
                }
                self.tell(report).await;
            }
            Effect::TearDown(ending) => return Some(ending),
        }
        None
    }

    /// Takes everything apart. A start of the app that is under way is waited for: an app that
    /// comes up after its session is gone would be leaked.
    async fn end(&mut self, ending: &Ending) {
        self.show();
        let outcome = async {
            while self.starting_app {
                match self.jobs.join_next().await {
                    Some(Ok(Job::AppStarted(Ok(app)))) => {
                        self.starting_app = false;
                        self.record.running = Some(app);
                    }
                    Some(Ok(Job::AppStarted(Err(_))) | Err(_)) | None => self.starting_app = false,
                    Some(Ok(Job::WorkerConnected(Ok(stream)))) => {
                        self.connected = true;
                        let session = self.record.session.clone();
                        self.host.transport.add_session(session, stream);
                    }
                    Some(Ok(_)) => {}
                }
            }
        };
        if tokio::time::timeout(2 * ENGINE_DEADLINE, outcome)
            .await
            .is_err()
        {
            tracing::error!(
                "the engine never answered to a start; whatever comes of it is removed"
            );
        }
        // They hold the worker, which is waited for below.
        self.jobs.shutdown().await;
        let parts = Parts {
            app: self.record.running.clone(),
            worker: self.worker.take().and_then(Arc::into_inner),
            connected: self.connected,
            asked: self.asked,
        };
        let run = (&self.record.session, self.record.epoch);
        tear_down(
            &self.host,
            &self.record,
            parts,
            Some(Ended::now(run, ending)),
        )
        .await;
    }

    fn plan(&self) -> io::Result<AppPlan> {
        let record = &self.record;
        let root = self.host.root;
        let mut plan = AppPlan::new(
            record.session.clone(),
            record.epoch,
            &record.app,
            &record.dir,
            root,
        );
        if record.app.needs.gpu != nearlight_protocol::app::GpuClass::None {
            plan.gpus = self.host.gpus_of(record.slot_index);
        }
        if let Some(saves) = &record.app.saves {
            let owner = root.then(crate::runtime::plan::app_user);
            let data = &self.host.config.data;
            let host = crate::saves::directory(data, &record.user, &record.app.id, owner.as_ref())?;
            plan.saves = Some((host, saves.clone()));
        }
        Ok(plan)
    }

    fn spawn_fetch(&mut self) {
        let runtime = self.host.runtime.clone();
        let image = self.record.app.launch.image.clone();
        let (pulled, images) = (self.pulled.0.clone(), self.host.images.clone());
        self.jobs.spawn(async move {
            let tell = |now| {
                images.fetching(&image);
                pulled.send_replace(Some(now));
            };
            Job::ImageLooked(runtime.fetch(&image, None, &tell).await)
        });
    }

    fn spawn_start(&mut self, plan: AppPlan) {
        let runtime = self.host.runtime.clone();
        self.starting_app = true;
        self.asked = Asked::Maybe;
        self.jobs
            .spawn(async move { Job::AppStarted(runtime.start(&plan).await) });
    }

    fn spawn_wait(&mut self, app: AppRef) {
        let (runtime, sought) = (self.host.runtime.clone(), app.clone());
        self.jobs
            .spawn(async move { Job::AppFound(runtime.pid(&sought).await) });
        let runtime = self.host.runtime.clone();
        self.jobs
            .spawn(async move { Job::AppExited(runtime.wait(&app).await) });
    }

    fn spawn_timer(&mut self, after: Duration, then: Job) {
        self.jobs.spawn(async move {
            tokio::time::sleep(after).await;
            then
        });
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

    /// A record that cannot be written costs an adoption after a crash, not the session.
    async fn keep_record(&self) {
        if let Err(error) = self.write_record().await {
            tracing::error!(%error, "cannot write the session's record: the session will not survive a restart of this node");
        }
    }

    async fn write_record(&self) -> io::Result<()> {
        let record = self.record.clone();
        let data = self.host.config.data.clone();
        tokio::task::spawn_blocking(move || record.write(&data))
            .await
            .map_err(io::Error::other)?
    }

    fn worker_words(&self) -> String {
        dirs::tail(&dirs::worker_log(&self.record.dir)).map_or_else(
            |_| String::new(),
            |bytes| crate::runtime::last_words(&bytes),
        )
    }

    fn show(&self) {
        let view = View::of(&self.machine, &self.record, self.app_pid);
        self.view.send_replace(view);
    }
}

/// Waits for the wish to end; for ever if nobody can wish it any more, which the drain prevents.
pub(crate) async fn stopped(stop: &mut watch::Receiver<Option<EndReason>>) -> EndReason {
    let reason = match stop.wait_for(Option::is_some).await {
        Ok(reason) => *reason,
        Err(_closed) => None,
    };
    match reason {
        Some(reason) => reason,
        None => std::future::pending().await,
    }
}

fn refusal(error: &RuntimeError) -> Ending {
    tracing::warn!(%error, "the app cannot be started");
    Ending {
        reason: error.reason(),
        detail: error.to_string(),
    }
}
