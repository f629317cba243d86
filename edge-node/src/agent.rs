//! The agent: the one owner of everything that sessions share.
//!
//! ```text
//!   control stream --orders, WHEP--> ,-------, --stop, events--> session tasks (one each)
//!   transport ------events---------> | agent | <--reports, ends------'
//!   admin ----------questions------> '-------' --reports, acks, answers--> control stream
//! ```
//!
//! - [`adopted`]: what an earlier agent left; [`live`]: the sessions that are here, apps and jobs; [`orders`]: start and stop, and what is answered to them.
//! - [`viewers`]: WHEP requests and line checks, passed on to the transport; [`watched`]: on which links.
//! - [`fault`]: what is done while the journal cannot be written, or the engine is away; [`quality`]: what was measured of sessions.
//! - [`uplink`]: what is said to the broker, and what happens without one; [`showing`]: what it is shown of what runs.
//!
//! **Invariants.** The agent waits for no peer: only for its inbox, its journal's disk, and the
//! replies it makes itself. A session is journalled before it is started and released after nothing
//! of it is left; `Start` is acked after the first, `Stop` after the second. Losing the broker ends
//! no session until the grace time is over.
//!
//! **Order of a drain.** Take no more sessions and say so; end all sessions; report their ends;
//! stop the transport; close the control stream.
//!
//! **What it does not know:** sockets, containers, how a session is started.

mod adopted;
mod fault;
mod live;
mod notices;
mod orders;
mod quality;
mod showing;
mod uplink;
mod viewers;
mod watched;

use crate::board::Board;
use crate::control;
use crate::grant::GrantKeys;
use crate::identity::Identity;
use crate::images;
use crate::inventory::Inventory;
use crate::journal::Journal;
use crate::limits::{DRAIN_DEADLINE, MEASURED_UPLINK_KBPS_MIN};
use crate::meters;
use crate::session::driver::Update;
use crate::session::host::Host;
use crate::session::machine::{Ending, Event};
use crate::streams::CounterBoard;
use crate::tunnel::TicketKeys;
use crate::warm::Room;
use fault::Faults;
use live::Live;
pub(crate) use live::SessionView;
use nearlight_kit::shutdown::Shutdown;
use nearlight_protocol::api::EndReason;
use nearlight_protocol::control::{
    FAULT_FEATURE, FromEdge, Gpu, ImagesWanted, QUALITY_FEATURE, RUNNING_PARTS_FEATURE,
    SessionReport, ToEdge, USED_FEATURE, WarmReady,
};
use nearlight_protocol::id::SessionId;
use nearlight_protocol::volume::VolumesKnown;
use quality::Samples;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use uplink::{Link, bounded};
use watched::Watched;

/// Everything that the agent hears.
#[derive(Debug)]
pub(crate) enum Message {
    /// The transport.
    Transport(nearlight_transport::Event),
    /// The control stream.
    Control(control::Event),
    /// A session's task.
    Session {
        /// Which.
        session: SessionId,
        /// What.
        update: Update,
    },
    /// The engine went away, with why, or is back.
    Engine(Option<String>),
    /// Images, and which could not be had.
    Images(images::Found),
    /// What is kept for jobs.
    Stored(crate::job::keeper::Stored),
    /// Desktops that are ready.
    Warm(Vec<WarmReady>),
    /// The GPUs for jobs, of which some have changed.
    Gpus(Vec<Gpu>),
    /// Jobs whose GPUs fail.
    GpusLost(Vec<SessionId>),
    /// The admin listener.
    ListSessions(oneshot::Sender<Vec<SessionView>>),
}

/// What the agent is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) host: Arc<Host>,
    pub(crate) identity: Identity,
    pub(crate) journal: Journal,
    pub(crate) inventory: Inventory,
    pub(crate) counters: CounterBoard,
    /// The images that the broker wants to be here.
    pub(crate) wanted: watch::Sender<ImagesWanted>,
    /// The volumes that the broker knows here.
    pub(crate) known: watch::Sender<Option<VolumesKnown>>,
    /// What sessions leave over.
    pub(crate) room: watch::Sender<Room>,
    pub(crate) keys: TicketKeys,
    pub(crate) shutdown: Shutdown,
    pub(crate) inbox: mpsc::Receiver<Message>,
    /// The other end of `inbox`, for the tasks that the agent starts.
    pub(crate) address: mpsc::Sender<Message>,
    /// Told once, after the first welcome.
    pub(crate) ready: oneshot::Sender<()>,
}

/// The agent.
pub(crate) struct Agent {
    host: Arc<Host>,
    identity: Identity,
    journal: Journal,
    inventory: Inventory,
    counters: CounterBoard,
    wanted: watch::Sender<ImagesWanted>,
    known: watch::Sender<Option<VolumesKnown>>,
    room: watch::Sender<Room>,
    shutdown: Shutdown,
    inbox: mpsc::Receiver<Message>,
    address: mpsc::Sender<Message>,
    ready: Option<oneshot::Sender<()>>,
    sessions: BTreeMap<SessionId, Live>,
    board: Board,
    watched: Watched,
    keys: TicketKeys,
    link: Link,
    grace: Duration,
    draining: bool,
    /// While the journal cannot be written: when to try again.
    journal_due: Option<Instant>,
    faults: Faults,
    /// Whether the broker of the last welcome takes a fault for the reason of a denial.
    broker_knows_faults: bool,
    /// Whether it hears what jobs use.
    broker_knows_used: bool,
    /// Whether it takes what runs here in parts.
    broker_takes_parts: bool,
    /// Whether it hears what sessions were like.
    broker_knows_quality: bool,
    samples: Samples,
}

impl Agent {
    pub(crate) fn new(parts: Parts) -> Self {
        let grace = Duration::from_secs(parts.host.config.grace_s.into());
        meters::slots(parts.identity.slots.len());
        Self {
            host: parts.host,
            identity: parts.identity,
            journal: parts.journal,
            inventory: parts.inventory,
            counters: parts.counters,
            wanted: parts.wanted,
            known: parts.known,
            room: parts.room,
            shutdown: parts.shutdown,
            inbox: parts.inbox,
            address: parts.address,
            ready: Some(parts.ready),
            sessions: BTreeMap::new(),
            board: Board::default(),
            watched: Watched::default(),
            keys: parts.keys,
            link: Link::Down {
                since: Instant::now(),
            },
            grace,
            draining: false,
            journal_due: None,
            faults: Faults::default(),
            broker_knows_faults: false,
            broker_knows_used: false,
            broker_takes_parts: false,
            broker_knows_quality: false,
            samples: Samples::default(),
        }
    }

    /// Runs until the shutdown token is cancelled and the drain is done.
    pub(crate) async fn run(mut self) {
        let stop = self.shutdown.token();
        self.count_sessions();
        let mut told = tokio::time::interval(quality::TOLD_EVERY);
        loop {
            let grace_over = match &self.link {
                Link::Down { since } if !self.sessions.is_empty() => Some(*since + self.grace),
                Link::Down { .. } | Link::Up(_) => None,
            };
            tokio::select! {
                Some(message) = self.inbox.recv() => self.hear(message),
                () = until(grace_over) => self.give_up_on_broker(),
                () = until(self.journal_due) => self.try_journal(),
                _ = told.tick() => self.tell_samples(),
                () = stop.cancelled() => break,
            }
        }
        self.drain().await;
    }

    async fn drain(mut self) {
        self.draining = true;
        self.say(FromEdge::Draining);
        self.stop_all(EndReason::NodeDrained);
        let deadline = Instant::now() + DRAIN_DEADLINE;
        while !self.sessions.is_empty() {
            tokio::select! {
                Some(message) = self.inbox.recv() => self.hear(message),
                () = tokio::time::sleep_until(deadline) => {
                    tracing::error!(left = self.sessions.len(), "sessions did not end in time; the next start of this node clears them away");
                    break;
                }
            }
        }
        let emptied = self.host.warm.emptied();
        if tokio::time::timeout_at(deadline, emptied).await.is_err() {
            tracing::error!(
                "desktops that were kept ready did not end in time; the next start of this node clears them away"
            );
        }
        let transport = self.host.transport.clone();
        if tokio::task::spawn_blocking(move || transport.shutdown())
            .await
            .is_err()
        {
            tracing::error!("the transport did not shut down");
        }
        if self.sessions.is_empty() {
            crate::preflight::remove_run(&self.host.config.run);
        }
        // Dropping `self` closes the control stream, once everything said on it is sent.
    }

    fn hear(&mut self, message: Message) {
        match message {
            Message::Transport(event) => self.hear_transport(event),
            Message::Control(event) => self.hear_control(event),
            Message::Session { session, update } => match update {
                Update::Report(event) => {
                    self.tell_job(&session);
                    self.reported(&session, event);
                }
                Update::Ended(ending) => self.session_over(&session, ending),
            },
            Message::Engine(away) => self.engine_is(away),
            Message::Images(found) => {
                self.inventory.images = found.images;
                self.inventory.image_faults = found.faults;
                self.say_inventory();
            }
            Message::Stored(stored) => {
                self.inventory.set_stored(stored);
                self.say_inventory();
            }
            Message::Warm(ready) => {
                self.inventory.warm = ready;
                self.say_inventory();
            }
            Message::Gpus(gpus) => {
                if let Some(jobs) = &mut self.inventory.jobs {
                    jobs.gpus = gpus;
                }
                self.say_inventory();
            }
            Message::GpusLost(sessions) => {
                for live in sessions.iter().filter_map(|id| self.sessions.get(id)) {
                    live.end(EndReason::RuntimeFailed);
                }
            }
            Message::ListSessions(reply) => {
                // Somebody who asks and does not wait for the answer gets none.
                let _ = reply.send(self.views());
            }
        }
    }

    fn hear_control(&mut self, event: control::Event) {
        match event {
            control::Event::Attached { welcome, out } => {
                match GrantKeys::from_jwks(&welcome.jwks) {
                    Ok(keys) => self.keys.set(keys),
                    Err(error) => {
                        tracing::error!(%error, "no grant can be verified; orders to start are denied")
                    }
                }
                self.grace = Duration::from_secs(welcome.grace_s.into());
                let knows = |feature| welcome.features.iter().any(|f| f == feature);
                self.broker_knows_faults = knows(FAULT_FEATURE);
                self.broker_knows_used = knows(USED_FEATURE);
                self.broker_takes_parts = knows(RUNNING_PARTS_FEATURE);
                self.broker_knows_quality = knows(QUALITY_FEATURE);
                self.link = Link::Up(out);
                meters::control_attached(true);
                tracing::info!(heartbeat_s = welcome.heartbeat_s, "attached to the broker");
                self.forget_ends();
                self.introduce();
            }
            control::Event::Said(said) => self.hear_broker(*said),
            control::Event::Detached => self.link_down(),
            // The broker has ended them already, and no grace brings them back.
            control::Event::Revoked => self.stop_all(EndReason::NodeDrained),
        }
    }

    fn hear_broker(&mut self, said: ToEdge) {
        match said {
            ToEdge::Command { command, order } => self.ordered(command, order),
            ToEdge::Whep {
                request,
                session,
                action,
            } => self.whep(request, &session, action),
            ToEdge::EndingSoon {
                session,
                reason,
                in_s,
            } => self.ends_soon(session, reason, in_s),
            ToEdge::GoesOn { session } => self.goes_on(session),
            ToEdge::Probe { request, sdp } => self.probe(request, sdp),
            ToEdge::Images(wanted) => {
                self.wanted.send_if_modified(|former| {
                    let is_new = *former != wanted;
                    *former = bounded(wanted);
                    is_new
                });
            }
            ToEdge::Volumes(known) => {
                self.known.send_replace(Some(known));
            }
            ToEdge::Countersign { session, statement } => self.countersign(session, statement),
            ToEdge::OpenTunnel(order) => self.host.tunnels.open(order),
            ToEdge::EndWatch { session, link } => self.end_watch(session, link),
            ToEdge::WatchLinks { sessions } => {
                for (session, link) in self.watched.keep(&sessions) {
                    self.end_watch(session, link);
                }
            }
            // The control stream deals with these itself.
            ToEdge::Welcome(_)
            | ToEdge::Refused { .. }
            | ToEdge::Renewed(_)
            | ToEdge::NotRenewed { .. }
            | ToEdge::GoAway { .. } => {}
        }
    }

    fn hear_transport(&mut self, event: nearlight_transport::Event) {
        use nearlight_transport::Event as Transport;
        match event {
            Transport::WorkerReady { session, ready } => {
                tracing::debug!(session_id = %session, encoders = ?ready.encoders, "desktop ready");
                self.pass_on(&session, Event::DesktopReady);
            }
            Transport::FirstFrame { session } => self.pass_on(&session, Event::FirstFrame),
            Transport::WorkerFailed { session, failed } => {
                self.pass_on(&session, Event::WorkerFailed(failed));
            }
            Transport::WorkerGone { session } => {
                let detail = String::new();
                self.pass_on(&session, Event::WorkerGone { detail });
            }
            Transport::Attached {
                session,
                attachment,
            } => {
                if let Some(app) = self.app_mut(&session) {
                    app.attachment = Some(attachment.clone());
                    self.sample_attached(&session);
                    self.reported(&session, SessionReport::Attached { attachment });
                }
            }
            Transport::Detached {
                session,
                attachment,
            } => {
                if let Some(app) = self.app_mut(&session) {
                    if app.attachment.as_ref() == Some(&attachment) {
                        app.attachment = None;
                    }
                    self.reported(&session, SessionReport::Detached { attachment });
                }
            }
            Transport::Watchers { session, count } => {
                self.reported(&session, SessionReport::Watchers { count });
            }
            Transport::InputSeen { session } => {
                self.reported(&session, SessionReport::InputSeen);
            }
            Transport::Uplink { kbps } => {
                tracing::info!(?kbps, "the uplink was measured");
                self.inventory.uplink_kbps = kbps.map(|kbps| kbps.max(MEASURED_UPLINK_KBPS_MIN));
                self.say_inventory();
            }
            // Kept on the counter board by the callback.
            Transport::Counters { .. } => {}
        }
    }

    fn pass_on(&mut self, session: &SessionId, event: Event) {
        let Some(app) = self.app_mut(session) else {
            return;
        };
        if let Err(error) = app.events.try_send(event) {
            // A session's task waits for nothing but its inbox; it may have just ended.
            tracing::debug!(session_id = %session, %error, "a session hears no more");
        }
    }

    fn reported(&mut self, session: &SessionId, event: SessionReport) {
        let Some(live) = self.sessions.get_mut(session) else {
            return;
        };
        live.ready |= event == SessionReport::Ready;
        let epoch = live.epoch;
        self.post(session, epoch, event);
    }

    fn session_over(&mut self, session: &SessionId, ending: Ending) {
        let Some(live) = self.sessions.remove(session) else {
            return;
        };
        self.release(session);
        self.tell_sample(session, true);
        self.counters.remove(session);
        self.watched.forget(session);
        meters::session_ended(ending.reason);
        self.count_sessions();
        self.post(session, live.epoch, ended(ending));
        for command in live.stops {
            self.ack_done(command);
        }
    }

    fn stop_all(&mut self, reason: EndReason) {
        for live in self.sessions.values() {
            live.stop.send_replace(Some(reason));
        }
    }
}

fn ended(ending: Ending) -> SessionReport {
    SessionReport::Ended {
        reason: ending.reason,
        detail: ending.detail,
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
