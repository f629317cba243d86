//! A node that behaves: a real control stream, and a journal of epochs that outlives a kill.
//!
//! It attaches to any broker, acks orders once its journal has them, shows a first picture after a
//! while, ends sessions by themselves or when it is told to, and ends all of them when no broker was
//! there for the grace time: as docs/protocol.md says. It also refuses some, and breaks off between
//! the journal and the ack. What it runs, it records as it happens.

use super::broker::Ready;
use super::event::{Event, History, Part};
use super::wire::{Socket, grant_of, hear, inventory, say};
use anyhow::{Result, bail};
use futures_util::SinkExt;
use nearlight_protocol::api::EndReason;
use nearlight_protocol::control::{
    AckOutcome, DenyReason, FromEdge, Heartbeat, Order, RunningSession, SessionReport, Slot, Start,
    ToEdge,
};
use nearlight_protocol::id::{NodeId, SessionId, SlotId};
use nearlight_protocol::unit::U64;
use rand::Rng;
use rand::rngs::StdRng;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

const TICK: Duration = Duration::from_millis(25);
const BEAT: Duration = Duration::from_secs(1);
/// Silence after which the stream is given up.
const SILENT_AFTER: Duration = Duration::from_secs(3);
/// Between two attempts to attach, milliseconds.
const AGAIN_MS: (u64, u64) = (50, 400);
/// From the order to the first picture, milliseconds.
const READY_MS: (u64, u64) = (0, 300);
/// Orders in a hundred that are refused; acks in a hundred that are lost with the stream.
const REFUSED_PERCENT: u32 = 3;
/// Jobs in a hundred that end badly; the others do well.
const FAILED_PERCENT: u32 = 40;
const ACK_LOST_PERCENT: u32 = 4;
/// Grants that a hostile node gets to see.
const SEEN_MAX: usize = 64;

/// What is done to an edge.
#[derive(Clone, Copy, Debug)]
pub(super) enum Blow {
    Kill { keeps: bool, down: Option<Duration> },
    Drop,
}

/// What everybody in a region can see of others' nodes.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Held to add to it, or to look at it.
    grants: Mutex<Vec<(SessionId, String)>>,
}

impl Seen {
    fn add(&self, session: &SessionId, grant: &str) {
        let mut grants = self.grants.lock().unwrap_or_else(PoisonError::into_inner);
        grants.push((session.clone(), grant.to_owned()));
        if grants.len() > SEEN_MAX {
            grants.remove(0);
        }
    }

    pub(super) fn grants(&self) -> Vec<(SessionId, String)> {
        let grants = self.grants.lock();
        grants.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What an edge is made of.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) node: NodeId,
    pub(super) slots: Vec<SlotId>,
    pub(super) pki: PathBuf,
    pub(super) brokers: Vec<watch::Receiver<Option<Ready>>>,
    pub(super) history: Arc<History>,
    pub(super) seen: Arc<Seen>,
    pub(super) rng: StdRng,
    /// From the first picture to an end by itself, milliseconds.
    pub(super) hold_ms: (u64, u64),
    pub(super) blows: mpsc::Receiver<Blow>,
}

/// What the journal has of a slot, and what runs there.
#[derive(Debug, Default)]
struct Place {
    epoch: u64,
    last: Option<SessionId>,
    live: Option<Live>,
}

#[derive(Debug)]
struct Live {
    session: SessionId,
    grant: String,
    ready: bool,
    ready_at: Instant,
    over_at: Instant,
    /// How it ends then.
    ends_as: EndReason,
}

/// The edge.
#[derive(Debug)]
pub(super) struct Edge {
    parts: Parts,
    places: BTreeMap<SlotId, Place>,
    ended: BTreeMap<SessionId, (u64, EndReason)>,
    /// Since when no broker is there.
    alone_since: Instant,
    grace: Duration,
}

/// Why a stream is over.
enum Broken {
    Lost,
    Killed { down: Option<Duration> },
}

impl Edge {
    pub(super) fn new(parts: Parts) -> Self {
        let places = parts.slots.iter().map(|id| (id.clone(), Place::default()));
        Self {
            places: places.collect(),
            parts,
            ended: BTreeMap::new(),
            alone_since: Instant::now(),
            grace: Duration::from_secs(60),
        }
    }

    /// Runs until it is killed for good.
    pub(super) async fn run(mut self) {
        loop {
            let broken = match self.attach().await {
                Some(mut socket) => match self.serve(&mut socket).await {
                    Ok(broken) => broken,
                    Err(error) => {
                        let node = &self.parts.node;
                        self.parts.history.note(format!("{node}: {error:#}"));
                        Broken::Lost
                    }
                },
                None => Broken::Lost,
            };
            self.alone_since = Instant::now();
            let killed = match broken {
                Broken::Killed { down } => Some(down),
                Broken::Lost => self.alone().await,
            };
            match killed {
                Some(Some(down)) => {
                    tokio::time::sleep(down).await;
                    let node = self.parts.node.to_string();
                    self.parts.history.add(Event::AgentBack { node });
                }
                Some(None) => return,
                None => {}
            }
        }
    }

    /// Waits before the next attempt; what runs goes on. Returns for how long it is down, if it was killed.
    async fn alone(&mut self) -> Option<Option<Duration>> {
        let (from, to) = AGAIN_MS;
        let until = Instant::now() + Duration::from_millis(self.parts.rng.random_range(from..=to));
        while Instant::now() < until {
            if let Ok(blow) = self.parts.blows.try_recv()
                && let Some(down) = self.struck(blow)
            {
                return Some(down);
            }
            self.tick(Instant::now(), false);
            tokio::time::sleep(TICK).await;
        }
        None
    }

    /// For how long it is down, if it is killed.
    fn struck(&mut self, blow: Blow) -> Option<Option<Duration>> {
        let Blow::Kill { keeps, down } = blow else {
            return None;
        };
        if keeps {
            let node = self.parts.node.to_string();
            self.parts.history.add(Event::AgentDead { node });
        } else {
            let slots: Vec<SlotId> = self.places.keys().cloned().collect();
            for slot in slots {
                self.end(&slot, EndReason::NodeLost);
            }
            // Why they ended went with the machine.
            self.ended.clear();
        }
        Some(down)
    }

    async fn attach(&mut self) -> Option<Socket> {
        let n = self.parts.rng.random_range(0..self.parts.brokers.len());
        let at = (*self.parts.brokers[n].borrow())?;
        let (pki, node) = (self.parts.pki.clone(), self.parts.node.clone());
        let dialled = super::wire::dial(&pki, at.node_listen, &node);
        let mut dialled = std::pin::pin!(tokio::time::timeout(SILENT_AFTER, dialled));
        let (mut socket, grace) = loop {
            tokio::select! {
                dialled = &mut dialled => break dialled.ok()?.ok()?,
                () = tokio::time::sleep(TICK) => {
                    self.tick(Instant::now(), false);
                }
            }
        };
        self.grace = grace;
        let slots = self.places.iter().map(|(id, place)| Slot {
            id: id.clone(),
            epoch: U64(place.epoch),
        });
        let inventory = FromEdge::Inventory(inventory(slots.collect()));
        let live = self.places.values().filter_map(|place| place.live.as_ref());
        let sessions = live
            .map(|live| RunningSession {
                session: live.session.clone(),
                grant: live.grant.clone(),
                attached: false,
                ready: live.ready,
            })
            .collect();
        say(&mut socket, &inventory).await.ok()?;
        say(&mut socket, &FromEdge::Running { sessions })
            .await
            .ok()?;
        socket.flush().await.ok()?;
        Some(socket)
    }

    async fn serve(&mut self, socket: &mut Socket) -> Result<Broken> {
        let mut tick = tokio::time::interval(TICK);
        let mut beat = tokio::time::interval(BEAT);
        let mut heard = Instant::now();
        loop {
            tokio::select! {
                message = hear(socket) => {
                    heard = Instant::now();
                    match message? {
                        None => return Ok(Broken::Lost),
                        Some(Some(ToEdge::Command { command, order })) => {
                            if !self.obey(socket, command, order).await? {
                                return Ok(Broken::Lost);
                            }
                        }
                        Some(Some(ToEdge::GoAway { .. })) => return Ok(Broken::Lost),
                        Some(_) => {}
                    }
                }
                Some(blow) = self.parts.blows.recv() => {
                    return Ok(match self.struck(blow) {
                        Some(down) => Broken::Killed { down },
                        None => Broken::Lost,
                    });
                }
                _ = tick.tick() => {
                    for report in self.tick(Instant::now(), true) {
                        say(socket, &report).await?;
                    }
                }
                _ = beat.tick() => {
                    say(socket, &FromEdge::Heartbeat(Heartbeat::default())).await?;
                    socket.feed(Message::Ping(Vec::new().into())).await?;
                }
                () = tokio::time::sleep_until(heard + SILENT_AFTER) => bail!("the broker is silent"),
            }
            tokio::time::timeout(SILENT_AFTER, socket.flush()).await??;
        }
    }

    /// Carries out an order; `false` if it breaks off before it has said so.
    async fn obey(&mut self, socket: &mut Socket, command: U64, order: Order) -> Result<bool> {
        let (outcome, report) = match order {
            Order::Start(start) => self.start(&start)?,
            Order::Stop { session, reason } => (AckOutcome::Done, self.stop(&session, reason)),
        };
        if self.parts.rng.random_ratio(ACK_LOST_PERCENT, 100) {
            return Ok(false);
        }
        say(socket, &FromEdge::Ack { command, outcome }).await?;
        if let Some(report) = report {
            say(socket, &report).await?;
        }
        Ok(true)
    }

    fn start(&mut self, start: &Start) -> Result<(AckOutcome, Option<FromEdge>)> {
        let grant = grant_of(&start.grant)?;
        self.parts.seen.add(&start.session, &start.grant);
        let epoch = grant.epoch.0;
        let why = match self.places.get(&grant.slot) {
            _ if grant.node != self.parts.node => Some(DenyReason::GrantInvalid),
            None => Some(DenyReason::GrantInvalid),
            Some(place) if epoch < place.epoch || epoch == 0 => Some(DenyReason::EpochOld),
            Some(place) if epoch == place.epoch => {
                if place.last.as_ref() == Some(&start.session) {
                    // It was admitted before.
                    return Ok((AckOutcome::Done, self.end_of(&start.session)));
                }
                Some(DenyReason::EpochOld)
            }
            Some(place) if place.live.is_some() => Some(DenyReason::SlotBusy),
            Some(_) if self.runs(&start.session) => Some(DenyReason::SlotBusy),
            Some(_) => {
                let refuses = self.parts.rng.random_ratio(REFUSED_PERCENT, 100);
                refuses.then_some(DenyReason::GrantInvalid)
            }
        };
        if let Some(reason) = why {
            self.parts.history.add(Event::Refused {
                node: self.parts.node.to_string(),
                session: start.session.to_string(),
                epoch,
                why: format!("{reason:?}"),
            });
            let detail = "refused".to_owned();
            return Ok((AckOutcome::Denied { reason, detail }, None));
        }
        self.begin(&grant.slot, epoch, start);
        Ok((AckOutcome::Done, None))
    }

    fn runs(&self, session: &SessionId) -> bool {
        let mut live = self.places.values().filter_map(|place| place.live.as_ref());
        live.any(|live| live.session == *session)
    }

    fn begin(&mut self, slot: &SlotId, epoch: u64, start: &Start) {
        let hold_ms = self.parts.hold_ms;
        let mut within = |(from, to)| Duration::from_millis(self.parts.rng.random_range(from..=to));
        let ready_at = Instant::now() + within(READY_MS);
        let over_at = ready_at + within(hold_ms);
        let ends_as = match start.work.job() {
            None => EndReason::AppExited,
            Some(_) if self.parts.rng.random_ratio(FAILED_PERCENT, 100) => EndReason::JobFailed,
            Some(_) => EndReason::JobDone,
        };
        let live = Live {
            ends_as,
            session: start.session.clone(),
            grant: start.grant.clone(),
            ready: false,
            ready_at,
            over_at,
        };
        let place = Place {
            epoch,
            last: Some(start.session.clone()),
            live: Some(live),
        };
        self.places.insert(slot.clone(), place);
        self.parts.history.add(Event::Began {
            node: self.parts.node.to_string(),
            slot: slot.to_string(),
            epoch,
            session: start.session.to_string(),
            part: start.replica.as_ref().map(|replica| Part {
                gang: replica.cluster.to_string(),
                run: replica.run,
                rank: replica.rank,
            }),
        });
    }

    fn stop(&mut self, session: &SessionId, reason: EndReason) -> Option<FromEdge> {
        let slot = self.places.iter().find(|(_, place)| {
            let live = place.live.as_ref();
            live.is_some_and(|live| live.session == *session)
        });
        match slot.map(|(slot, _)| slot.clone()) {
            Some(slot) => self.end(&slot, reason),
            None => self.end_of(session),
        }
    }

    /// What it says again of a session that is over.
    fn end_of(&self, session: &SessionId) -> Option<FromEdge> {
        let (epoch, reason) = self.ended.get(session)?;
        let detail = String::new();
        Some(FromEdge::Report {
            session: session.clone(),
            epoch: U64(*epoch),
            event: SessionReport::Ended {
                reason: *reason,
                detail,
            },
        })
    }

    /// Ends what runs in a slot, and says so.
    fn end(&mut self, slot: &SlotId, reason: EndReason) -> Option<FromEdge> {
        let place = self.places.get_mut(slot)?;
        let live = place.live.take()?;
        self.ended
            .insert(live.session.clone(), (place.epoch, reason));
        self.parts.history.add(Event::Over {
            node: self.parts.node.to_string(),
            slot: slot.to_string(),
            epoch: place.epoch,
            session: live.session.to_string(),
            why: format!("{reason:?}"),
        });
        self.end_of(&live.session)
    }

    /// What happens by itself; returns what is to be said of it.
    fn tick(&mut self, now: Instant, attached: bool) -> Vec<FromEdge> {
        let grace_over = !attached && now.duration_since(self.alone_since) >= self.grace;
        let mut reports = Vec::new();
        let slots: Vec<SlotId> = self.places.keys().cloned().collect();
        for slot in slots {
            let Some(place) = self.places.get_mut(&slot) else {
                continue;
            };
            let Some(live) = &mut place.live else {
                continue;
            };
            if live.over_at <= now || grace_over {
                let why = [live.ends_as, EndReason::NodeLost][usize::from(grace_over)];
                reports.extend(self.end(&slot, why));
            } else if !live.ready && live.ready_at <= now {
                live.ready = true;
                reports.push(FromEdge::Report {
                    session: live.session.clone(),
                    epoch: U64(place.epoch),
                    event: SessionReport::Ready,
                });
            }
        }
        reports
    }
}
