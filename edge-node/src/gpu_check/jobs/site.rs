//! A node of the check's own, for one job: what the agent makes of a session of kind job, without agent and broker. The
//! job's own task drives it, from its image to its end; what it says for the broker is heard here.
//!
//! **Invariants.** Nothing of an agent that runs on this machine is touched: it is another node, with a directory of its
//! own, which goes with it. A job that runs when the check is told to stop is ended as any is: there is no agent that would
//! clear it away.

use crate::agent::Message;
use crate::config::{Config, RuntimeChoice};
use crate::gpu::share::{ForJobs, Word};
use crate::gpu::{self, Gpus, board::Board};
use crate::images::Images;
use crate::job::driver::{Driver, Handle};
use crate::job::host::Jobs;
use crate::job::record::Record;
use crate::limits::AGENT_INBOX_MAX;
use crate::prover::{Prover, ReceiptKey};
use crate::runtime;
use crate::session::driver::{Update, View};
use crate::session::host::Host;
use crate::session::machine::Ending;
use crate::streams::{self, CounterBoard};
use crate::tunnel::{Endpoints, Tunnels, Way};
use crate::warm::Warm;
use anyhow::Context;
use nearlight_kit::ids;
use nearlight_kit::shutdown::Shutdown;
use nearlight_protocol::api::EndReason;
use nearlight_protocol::control::SessionReport;
use nearlight_protocol::id::SessionId;
use nearlight_protocol::job::JobSpec;
use nearlight_protocol::unit::U64;
use nearlight_protocol::usage::UsageFacts;
use nearlight_protocol::work::Secrets;
use rustls_pki_types::ServerName;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// Between two looks at the job.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The node.
#[derive(Debug)]
pub(super) struct Site {
    host: Arc<Host>,
    agent: mpsc::Sender<Message>,
    inbox: mpsc::Receiver<Message>,
    shutdown: Shutdown,
    /// Cancelled when the check is to stop.
    stop: CancellationToken,
    _dir: Scratch,
}

/// A directory that goes with it.
#[derive(Debug)]
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, dir = %self.0.display(), "a directory of the check stays");
        }
    }
}

/// What a look says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Wait,
    Stop,
}

/// A job that is over.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) ending: Ending,
    /// What the broker would have heard last of what it used: its line of usage.
    pub(super) used: UsageFacts,
    /// Whether it was ever ready.
    pub(super) was_ready: bool,
}

impl Site {
    /// Makes one below the operator's directory of sockets, with every GPU for jobs.
    pub(super) async fn open(config: &Config, stop: &CancellationToken) -> anyhow::Result<Self> {
        let dir = Scratch(config.run.join(format!("job-{}", ids::session())));
        let config = own(config, &dir.0)?;
        let node = ids::node();
        let runtime = runtime::open(&config, &node).await?;
        let mut gpus = Gpus::probe();
        let jobs = Jobs::open(&config, &node, (runtime.name(), &mut gpus), true).await?;
        let (agent, inbox) = mpsc::channel(AGENT_INBOX_MAX);
        let transport = streams::start(&config, agent.clone(), CounterBoard::default())?;
        let key = ReceiptKey::load(&config.data).context("no key for receipts")?;
        let shutdown = Shutdown::new();
        let none = (Vec::new(), Err("this node proves nothing".to_owned()));
        let host = Host {
            runtime,
            images: Images::open(&config.data),
            transport,
            cgroups: None,
            tunnels: tunnels(&shutdown),
            prover: Arc::new(Prover::new(Arc::new(key), none, shutdown.token())),
            warm: Warm::new(),
            jobs: Some(jobs),
            gpus: Vec::new(),
            root: true,
            config,
        };
        if let Some(watch) = gpu::watch::start(&host.jobs.as_ref().expect("just made").gpus) {
            shutdown.spawn(watch.run(agent.clone()));
        }
        Ok(Self {
            host: Arc::new(host),
            agent,
            inbox,
            shutdown,
            stop: stop.clone(),
            _dir: dir,
        })
    }

    /// The GPUs, as the agent keeps them.
    pub(super) fn board(&self) -> Option<Arc<Board>> {
        self.host.jobs.as_ref().map(|jobs| jobs.gpus.clone())
    }

    /// What all of it is labelled with.
    #[cfg(test)]
    pub(super) fn node(&self) -> nearlight_protocol::id::NodeId {
        let jobs = self.host.jobs.as_ref();
        jobs.expect("it was made with jobs").node.clone()
    }

    /// Runs a job to its end. `look` is asked now and then, and says when it is to be stopped.
    pub(super) async fn run(
        &mut self,
        (session, spec, gpus): (SessionId, JobSpec, Vec<String>),
        mut look: impl FnMut(&View) -> Next,
    ) -> Ran {
        let record = Record {
            dir: self.host.config.run.join(session.as_str()),
            slot: ids::slot(),
            epoch: U64(1),
            grant: String::new(),
            user: ids::user(),
            storage: None,
            started_ms: nearlight_kit::clock::unix_ms(),
            subnet: None,
            container: None,
            restarts: 0,
            ready: false,
            replica: None,
            mesh: None,
            session,
            gpus,
            spec,
        };
        if let Some(board) = self.board() {
            board.take(&record.session, &record.gpus);
        }
        let (host, agent) = (self.host.clone(), self.agent.clone());
        let (driver, handle) = Driver::fresh(host, record, (Secrets::default(), None), agent);
        let Handle { stop, view } = handle;
        let mut job = Box::pin(driver.run());
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut used, mut was_ready, mut is_stopped) = (UsageFacts::default(), false, false);
        let mut hear = |message: Message| match message {
            Message::Session {
                update: Update::Report(SessionReport::Used { facts }),
                ..
            } => used = facts,
            Message::Session {
                update: Update::Report(SessionReport::Ready),
                ..
            } => was_ready = true,
            _ => {}
        };
        let ending = loop {
            tokio::select! {
                ending = &mut job => break ending,
                Some(message) = self.inbox.recv() => hear(message),
                () = self.stop.cancelled(), if !is_stopped => {
                    is_stopped = true;
                    stop.send_replace(Some(EndReason::PlayerEnded));
                }
                _ = ticks.tick() => {
                    let now = view.borrow().clone();
                    if !is_stopped && look(&now) == Next::Stop {
                        is_stopped = true;
                        stop.send_replace(Some(EndReason::PlayerEnded));
                    }
                }
            }
        };
        while let Ok(message) = self.inbox.try_recv() {
            hear(message);
        }
        Ran {
            ending,
            used,
            was_ready,
        }
    }

    /// Takes the node down.
    pub(super) async fn close(self) {
        // Its watch of the GPUs ends with the inbox.
        drop((self.inbox, self.agent));
        self.shutdown.drain(LOOK_EVERY).await;
    }
}

/// The operator's configuration, of a node that is another.
fn own(config: &Config, dir: &Path) -> io::Result<Config> {
    let mut own = config.clone();
    (own.data, own.run) = (dir.join("data"), dir.join("run"));
    own.runtime = RuntimeChoice::Docker;
    own.slots = 1;
    own.rtc_bind = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))];
    (own.rtc_advertise_port, own.rtc_stun) = (None, Vec::new());
    (own.jobs.take, own.jobs.gpus) = (true, ForJobs::Word(Word::All));
    for made in [&own.data, &own.run] {
        std::fs::create_dir_all(made)?;
    }
    Ok(own)
}

/// No broker opens any.
fn tunnels(shutdown: &Shutdown) -> Tunnels {
    let nobody = ServerName::from(std::net::IpAddr::from(Ipv4Addr::LOCALHOST));
    let way = Way::new(String::new(), nobody, || {
        Err(io::ErrorKind::Unsupported.into())
    });
    let endpoints = Arc::new(Endpoints::new(shutdown.clone()));
    Tunnels::new(way, endpoints, shutdown.clone())
}
