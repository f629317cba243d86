//! The loop: one thread that owns every socket and every state, and does a bounded share of each
//! kind of work per turn.
//!
//! A turn: wait; take commands; read datagrams; read workers; carry out what is due; and settle every
//! attachment that was touched. A source that has more keeps its flag, and the next wait is none.
//!
//! **Invariants.** No call here blocks but the wait. An attachment that was touched is settled before
//! the turn ends, so what `rtc` wants to send never lies about.

use crate::attachment::Effect;
use crate::attachment::congestion::Rates;
use crate::attachment::peer::Context;
use crate::clock::Clock;
use crate::config::{Config, StartError};
use crate::counters::Counters;
use crate::event::Event;
use crate::handle::{Census, Command, refuse};
use crate::limits::{COMMANDS_PER_WAKE, COUNTERS_INTERVAL, DATAGRAM_BYTES_MAX, SHUTDOWN_DEADLINE};
use crate::meters::Meters;
use crate::net::candidates;
use crate::net::gather::Gatherer;
use crate::net::ports::{PORTS_MAX, Ports};
use crate::routes::{AttachmentKey, Routes};
use crate::session::Session;
use crate::worker_link::WorkerLink;
use mio::{Events, Poll, Token, Waker};
use nearlight_protocol::id::SessionId;
use nearlight_protocol::notice::{DetachReason, Notice};
use nearlight_protocol::worker::{FromWorker, ToWorker};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

mod datagrams;
mod effects;
mod offers;
mod uplink;
mod viewers;
mod watchers;
mod workers;

use watchers::Watch;

const WAKER: Token = Token(0);
const FIRST_PORT: usize = 1;
const FIRST_SESSION: usize = FIRST_PORT + PORTS_MAX;

/// Names a session within the loop, and its worker's socket; never used twice.
type SessionKey = usize;

/// The key of no session: line checks belong to none.
const NO_SESSION: SessionKey = WAKER.0;

/// An attachment and the session it belongs to, which may have ended before it.
struct Viewer {
    attachment: crate::attachment::Attachment,
    session: SessionKey,
    /// `Some` for a watcher.
    watch: Option<Watch>,
}

/// The loop's state.
pub(crate) struct Reactor {
    config: Config,
    poll: Poll,
    inbox: Receiver<Command>,
    events: Box<dyn FnMut(Event) + Send>,
    context: Context,
    ports: Ports,
    gatherer: Gatherer,
    meters: Meters,
    routes: Routes,
    sessions: BTreeMap<SessionKey, Session>,
    by_id: HashMap<SessionId, SessionKey>,
    viewers: BTreeMap<AttachmentKey, Viewer>,
    waiting_offers: Vec<offers::Waiting>,
    /// Workers of ended sessions that have yet to read their last message.
    partings: Vec<(WorkerLink, Instant)>,
    /// Viewers to settle before the turn ends.
    touched: BTreeSet<AttachmentKey>,
    /// Where the packets of viewers count whose session has ended.
    stray: Counters,
    next_key: u64,
    next_token: usize,
    next_tick: Instant,
    sharing: uplink::Sharing,
    stopping: Option<Instant>,
    commands_left: bool,
    datagram: Box<[u8; DATAGRAM_BYTES_MAX]>,
    frames: Vec<FromWorker>,
    effects: Vec<Effect>,
}

impl Reactor {
    /// Binds everything; nothing runs yet.
    pub(crate) fn bind(
        config: Config,
        segmentation: bool,
        inbox: Receiver<Command>,
        events: Box<dyn FnMut(Event) + Send>,
    ) -> Result<(Self, Waker), StartError> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let registry = poll.registry().try_clone()?;
        let ports = Ports::bind(&config, segmentation, registry, FIRST_PORT)?;
        let crypto = rtc::crypto::default_provider();
        let context = Context {
            crypto: crypto.map_err(|error| StartError::Crypto(error.to_string()))?,
            clock: Clock::start()?,
            rates: Rates {
                kbps_start: config.kbps_start,
                kbps_max: config.kbps_max,
            },
            lite: config.stun.is_empty(),
            nominal: ports.addresses().iter().map(nominal).collect(),
        };
        let now = Instant::now();
        let hosts = candidates::addresses(&config.advertise, &ports.addresses());
        tracing::info!(
            port = ports.number(),
            addresses = hosts.len(),
            ice_lite = context.lite,
            "the transport listens"
        );
        let reactor = Self {
            gatherer: Gatherer::new(config.stun.clone(), now),
            sharing: uplink::Sharing::new(config.uplink_kbps, now),
            config,
            poll,
            inbox,
            events,
            context,
            ports,
            meters: Meters::new(),
            routes: Routes::default(),
            sessions: BTreeMap::new(),
            by_id: HashMap::new(),
            viewers: BTreeMap::new(),
            waiting_offers: Vec::new(),
            partings: Vec::new(),
            touched: BTreeSet::new(),
            stray: Counters::default(),
            next_key: 1,
            next_token: FIRST_SESSION,
            next_tick: now + COUNTERS_INTERVAL,
            stopping: None,
            commands_left: false,
            datagram: Box::new([0; DATAGRAM_BYTES_MAX]),
            frames: Vec::new(),
            effects: Vec::new(),
        };
        Ok((reactor, waker))
    }

    pub(crate) fn port(&self) -> u16 {
        self.ports.number()
    }

    /// Runs until it is told to shut down and everything is closed.
    pub(crate) fn run(mut self) {
        let mut ready = Events::with_capacity(256);
        while !self.is_done(Instant::now()) {
            let timeout = self.timeout(Instant::now());
            if let Err(error) = self.poll.poll(&mut ready, timeout) {
                if error.kind() != std::io::ErrorKind::Interrupted {
                    tracing::error!(%error, "cannot wait for sockets; the transport stops");
                    break;
                }
                continue;
            }
            let mut unblocked = false;
            for event in &ready {
                unblocked |= self.note(event);
            }
            if unblocked {
                self.touched.extend(self.viewers.keys());
            }
            self.turn();
        }
        // Whoever still asks gets an answer.
        while let Ok(command) = self.inbox.try_recv() {
            refuse(command);
        }
    }

    fn turn(&mut self) {
        self.take_commands();
        let now = Instant::now();
        self.read_datagrams(now);
        self.read_workers(now);
        self.carry_out_due(Instant::now());
        while let Some(key) = self.touched.pop_first() {
            self.settle(key, Instant::now());
        }
        // Last, for what was just settled may have freed a session.
        self.answer_waiting(Instant::now());
    }

    /// Notes what the poll said; says whether packets can be sent again.
    fn note(&mut self, event: &mio::event::Event) -> bool {
        let (token, readable, writable) = (event.token(), event.is_readable(), event.is_writable());
        if token == WAKER {
            self.commands_left = true;
            return false;
        }
        if token.0 < FIRST_SESSION {
            return self.ports.ready(token, readable, writable);
        }
        let session = self.sessions.get_mut(&token.0);
        if let Some(link) = session.and_then(|session| session.link.as_mut()) {
            link.ready(readable, writable, event.is_read_closed());
        }
        // The workers of ended sessions share no token with living ones.
        for (link, _) in &mut self.partings {
            link.ready(false, writable, false);
        }
        false
    }

    /// How long to wait.
    fn timeout(&self, now: Instant) -> Option<Duration> {
        let links = self.sessions.values().filter_map(|s| s.link.as_ref());
        let busy = self.commands_left
            || self.ports.is_readable()
            || !self.touched.is_empty()
            || links.into_iter().any(WorkerLink::has_work);
        if busy {
            return Some(Duration::ZERO);
        }
        let viewers = self
            .viewers
            .values()
            .filter_map(|v| v.attachment.deadline());
        let key_frames = self.sessions.values().filter_map(|s| s.key_frames.due_us());
        let key_frames = key_frames.map(|us| self.context.clock.instant(us));
        let partings = self.partings.iter().map(|(_, until)| *until);
        let offers = self.waiting_offers.iter().map(|offer| offer.until);
        let next = viewers
            .chain(key_frames)
            .chain(partings)
            .chain(offers)
            .chain(self.gatherer.deadline())
            .chain(self.stopping)
            .chain(self.sharing.deadline(!self.viewers.is_empty()))
            .fold(self.next_tick, Instant::min);
        Some(next.saturating_duration_since(now))
    }

    fn take_commands(&mut self) {
        if !std::mem::take(&mut self.commands_left) {
            return;
        }
        for _ in 0..COMMANDS_PER_WAKE {
            let Ok(command) = self.inbox.try_recv() else {
                return;
            };
            if self.stopping.is_some() {
                refuse(command);
                continue;
            }
            self.carry_out(command);
        }
        self.commands_left = true;
    }

    fn carry_out(&mut self, command: Command) {
        match command {
            Command::AddSession { session, worker } => self.add_session(session, worker),
            Command::Offer {
                session,
                attachment,
                sdp,
                role,
                reply,
            } => self.offer(offers::Request {
                what: offers::What::Attach {
                    session,
                    attachment,
                    role,
                },
                sdp,
                reply,
            }),
            Command::Probe { sdp, reply } => self.offer(offers::Request {
                what: offers::What::LineCheck,
                sdp,
                reply,
            }),
            Command::EndWatch { session, link } => self.end_watch(&session, &link),
            Command::Patch {
                session,
                attachment,
                fragment,
                reply,
            } => reply(self.patch(&session, &attachment, &fragment)),
            Command::Delete {
                session,
                attachment,
                reply,
            } => reply(self.delete(&session, &attachment)),
            Command::Notify { session, notice } => self.notify(&session, &notice),
            Command::EndSession { session, reason } => self.end_session(&session, reason),
            Command::Census(reply) => reply(self.census()),
            Command::Shutdown => self.stop(),
        }
    }

    fn census(&self) -> Census {
        let sessions = self.sessions.values();
        let referred = sessions.map(|s| s.watchers.len() + usize::from(s.current.is_some()));
        Census {
            sessions: self.sessions.len(),
            viewers: self.viewers.len(),
            referred: referred.sum(),
            routes: self.routes.len(),
            waiting: self.waiting_offers.len() + self.partings.len() + self.touched.len(),
        }
    }

    fn carry_out_due(&mut self, now: Instant) {
        let due = |viewer: &Viewer| viewer.attachment.deadline().is_some_and(|at| at <= now);
        let viewers = self.viewers.iter().filter(|(_, viewer)| due(viewer));
        self.touched.extend(viewers.map(|(key, _)| *key));
        let now_us = self.context.clock.micros(now);
        let keys: Vec<SessionKey> = self
            .sessions
            .iter_mut()
            .filter_map(|(key, session)| session.key_frames.take_due(now_us).then_some(*key))
            .collect();
        for key in keys {
            self.tell_worker(key, &ToWorker::KeyFrame);
        }
        self.ask_stun(now);
        self.partings
            .retain_mut(|(link, until)| link.flush().is_ok() && !link.is_flushed() && *until > now);
        self.share_uplink(now);
        if self.next_tick <= now {
            self.next_tick = now + COUNTERS_INTERVAL;
            self.tick(now);
        }
    }

    /// Once a second: totals to the agent and to the metrics.
    fn tick(&mut self, now: Instant) {
        let mut connected = 0;
        for viewer in self.viewers.values_mut() {
            connected += usize::from(viewer.attachment.is_connected());
            let (packets, lost) = viewer.attachment.take_feedback(now);
            self.meters.feedback(packets, lost);
            if let Some(us) = viewer.attachment.round_trip_us() {
                self.meters.network(Duration::from_micros(us));
            }
        }
        self.meters.attachments(connected);
        self.tell_streams();
        let keys: Vec<SessionKey> = self.sessions.keys().copied().collect();
        for key in keys {
            self.report(key);
        }
    }

    fn report(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(&key) else {
            return;
        };
        session.counters.watchers = session.watched.as_watchers();
        session.counters.played = session.measure.played();
        self.meters.add(&session.metered, &session.counters);
        session.metered = session.counters.clone();
        let event = Event::Counters {
            session: session.id.clone(),
            worker: Box::new(session.worker_counters.clone()),
            transport: Box::new(session.counters.clone()),
        };
        (self.events)(event);
    }

    fn stop(&mut self) {
        let now = Instant::now();
        self.stopping = Some(now + SHUTDOWN_DEADLINE);
        let reason = DetachReason::NodeRestarting;
        self.leave_all(now, &Notice::Detached { reason });
        self.refuse_waiting();
    }

    fn is_done(&self, now: Instant) -> bool {
        let closed = self.viewers.is_empty() && self.partings.is_empty();
        self.stopping.is_some_and(|until| closed || until <= now)
    }
}

/// An address for `rtc` to know us by: only its family and that it is one count.
fn nominal(bound: &SocketAddr) -> SocketAddr {
    let any = match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(any, bound.port())
}
