//! The owner task: takes what waits, decides, commits, acts.

use super::entry::{Entry, label};
use super::turn::{New, Then, Turn};
use super::{Create, CreateError, Directory, EndError, PublicFleet, Request, ShownSession};
use crate::config::SessionTimes;
use crate::control::EdgeEvent;
use crate::fleet::Fleet;
use crate::ledger::{Applied, Ledger, Op, OutboxRow, SessionRow, StoreError};
use crate::time::Clock;
use crate::tokens::Signer;
use nearlight_protocol::api::{EndReason, Session};
use nearlight_protocol::control::{Order, ToEdge};
use nearlight_protocol::id::{NodeId, SessionId};
use nearlight_protocol::unit::{MonoTime, U64};
use nearlight_session::lifecycle::{Denied, Effect, Event, Outcome, Phase};
use nearlight_session::{Claim, Epoch, Lifecycle, Queue};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Events taken in one turn: what the writer commits in one transaction, roughly.
const TURN_EVENTS_MAX: usize = 256;
/// How often slots thaw, ETAs are told anew and gauges are set.
const HOUSEKEEPING: Duration = Duration::from_secs(2);
/// Housekeepings between two notes of which nodes are alive, and two prunings.
const SEEN_EVERY: u32 = 15;
const PRUNE_EVERY: u32 = 1800;
/// Idempotency keys and spent tickets are kept for a day.
const PRUNE_AGE_MS: u64 = 24 * 3600 * 1000;
/// Durations of ended sessions that the ETA is computed from.
const DURATIONS_KEPT: usize = 32;

/// What the owner is made of.
#[derive(Debug)]
pub(crate) struct OwnerParts {
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) signer: Signer,
    pub(crate) clock: Clock,
    pub(crate) times: SessionTimes,
    pub(crate) directory: Arc<Directory>,
    pub(crate) requests: mpsc::Receiver<Request>,
    pub(crate) edges: mpsc::Receiver<EdgeEvent>,
    pub(crate) stop: CancellationToken,
}

/// Owns every session, the queue and the fleet.
#[derive(Debug)]
pub(crate) struct Owner {
    pub(super) ledger: Arc<dyn Ledger>,
    pub(super) signer: Signer,
    pub(super) clock: Clock,
    pub(super) times: SessionTimes,
    pub(super) directory: Arc<Directory>,
    requests: mpsc::Receiver<Request>,
    edges: mpsc::Receiver<EdgeEvent>,
    pub(super) sessions: HashMap<SessionId, Entry>,
    pub(super) fleet: Fleet,
    pub(super) queue: Queue,
    /// Sessions by their next deadline.
    pub(super) deadlines: BTreeSet<(MonoTime, SessionId)>,
    /// Ended sessions, oldest first, until they are forgotten.
    pub(super) ended: VecDeque<(MonoTime, SessionId)>,
    /// How long sessions of late have lasted, milliseconds.
    pub(super) durations: VecDeque<u64>,
    /// The fleet's revision that readers have.
    published: u64,
    /// The revisions of fleet and queue that placement last saw in vain.
    pub(super) placed_in_vain: Option<(u64, u64)>,
    /// The queue's revision of which those who wait were told.
    pub(super) told: u64,
    housekeepings: u32,
    /// A read failed within a turn: at its end everything is loaded again.
    doubt: Option<StoreError>,
    pub(super) stop: CancellationToken,
}

/// What woke the owner.
#[derive(Debug)]
enum Wake {
    Request(Request),
    Edge(EdgeEvent),
    Deadline,
    Housekeeping,
    Stop,
}

impl Owner {
    /// An owner with everything that the ledger has.
    ///
    /// # Errors
    /// [`StoreError`] if the ledger cannot be read.
    pub(crate) async fn start(parts: OwnerParts) -> Result<Self, StoreError> {
        let mut owner = Self {
            ledger: parts.ledger,
            signer: parts.signer,
            clock: parts.clock,
            times: parts.times,
            directory: parts.directory,
            requests: parts.requests,
            edges: parts.edges,
            sessions: HashMap::new(),
            fleet: Fleet::default(),
            queue: Queue::default(),
            deadlines: BTreeSet::new(),
            ended: VecDeque::new(),
            durations: VecDeque::new(),
            published: 0,
            placed_in_vain: None,
            told: 0,
            housekeepings: 0,
            doubt: None,
            stop: parts.stop,
        };
        owner.load().await?;
        owner.publish_fleet();
        Ok(owner)
    }

    /// Runs until the shutdown. What was taken before is committed and acted on.
    pub(crate) async fn run(mut self) {
        let stop = self.stop.clone();
        let mut housekeeping = tokio::time::interval(HOUSEKEEPING);
        loop {
            let wake = self.wake(&stop, &mut housekeeping).await;
            let now = self.clock.now();
            let mut turn = Turn::default();
            match wake {
                Wake::Request(request) => self.take_request(request, now, &mut turn),
                Wake::Edge(event) => self.take_edge(event, now, &mut turn),
                Wake::Deadline => {}
                Wake::Housekeeping => self.keep_house(now, &mut turn),
                Wake::Stop => return,
            }
            self.take_more(now, &mut turn);
            self.take_deadlines(now, &mut turn);
            self.place_waiting(now, &mut turn);
            if !turn.is_empty() {
                self.commit(turn).await;
            }
            if self.fleet.snapshot().revision != self.published {
                self.publish_fleet();
            }
        }
    }

    async fn wake(&mut self, stop: &CancellationToken, beat: &mut tokio::time::Interval) -> Wake {
        let next = self.deadlines.first().map(|(at, _)| *at);
        let in_us = next.map(|at| at.micros_since(self.clock.now()));
        let deadline = async {
            match in_us {
                Some(us) => tokio::time::sleep(Duration::from_micros(us)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => Wake::Stop,
            Some(event) = self.edges.recv() => Wake::Edge(event),
            Some(request) = self.requests.recv() => Wake::Request(request),
            () = deadline => Wake::Deadline,
            _ = beat.tick() => Wake::Housekeeping,
        }
    }

    /// Takes what waits already, edges and callers in turn.
    fn take_more(&mut self, now: MonoTime, turn: &mut Turn) {
        for _ in 0..TURN_EVENTS_MAX / 2 {
            let edge = self.edges.try_recv().ok();
            let request = self.requests.try_recv().ok();
            if edge.is_none() && request.is_none() {
                return;
            }
            if let Some(event) = edge {
                self.take_edge(event, now, turn);
            }
            if let Some(request) = request {
                self.take_request(request, now, turn);
            }
        }
    }

    fn take_request(&mut self, request: Request, now: MonoTime, turn: &mut Turn) {
        match request {
            Request::Create(create, reply) => self.take_create(*create, reply, now, turn),
            Request::End(session, reason, reply) => {
                let known = self.drive(&session, Event::EndRequested { reason }, now, turn);
                let answer = known.map(|_| ()).ok_or(EndError::NotFound);
                turn.ends.push((reply, answer));
            }
        }
    }

    fn take_create(
        &mut self,
        create: Create,
        reply: oneshot::Sender<Result<Session, CreateError>>,
        now: MonoTime,
        turn: &mut Turn,
    ) {
        let row = SessionRow {
            id: nearlight_kit::ids::session(),
            user: create.user,
            app: (*create.app).clone(),
            display: create.display,
            keyboard_layout: create.keyboard_layout,
            created_at: now,
            phase: Phase::Queued,
            starts_denied: 0,
            since: now,
            node: None,
        };
        let entry = Entry::new(row.clone(), self.times.limits(&row.app.time));
        let op = Op::CreateSession {
            row: Box::new(row.clone()),
            idempotency: create.idempotency,
            quota: create.quota,
        };
        turn.push(op, Then::Created(Box::new(New { entry, reply })));
        // Nobody waits before it: its claim can go into the same transaction.
        if self.queue.is_empty() {
            self.place(&row, true, now, turn);
        }
    }

    /// Lets a session take an event; `None` if there is no such session.
    pub(super) fn drive(
        &mut self,
        id: &SessionId,
        event: Event,
        now: MonoTime,
        turn: &mut Turn,
    ) -> Option<Outcome> {
        let entry = self.sessions.get_mut(id)?;
        let was_over = entry.life.is_over();
        let was = label(entry.life.phase());
        let outcome = entry.life.handle(now, event);
        let effects = match &outcome {
            Outcome::Applied(effects) => effects.clone(),
            Outcome::Ignored(why) => {
                tracing::debug!(session_id = %id, phase = was, %why, "event ignored");
                return Some(outcome);
            }
            Outcome::Denied(why) => {
                log_denied(id, was, *why);
                return Some(outcome);
            }
        };
        let phase = entry.life.phase().clone();
        if label(&phase) != was {
            tracing::info!(session_id = %id, app = %entry.row.app.id, from = was,
                to = label(&phase), "session moved");
        }
        if !was_over && entry.life.is_over() {
            let user = entry.row.user.clone();
            turn.push(Op::ReturnQuota { user }, Then::Nothing);
        }
        for effect in effects {
            self.carry_out(id, effect, now, turn);
        }
        self.note(id, &phase, now);
        turn.touched.insert(id.clone());
        Some(outcome)
    }

    fn carry_out(&mut self, id: &SessionId, effect: Effect, now: MonoTime, turn: &mut Turn) {
        let Some(entry) = self.sessions.get(id) else {
            return;
        };
        match effect {
            Effect::Stop { claim, reason } => {
                push_stop(id, (&claim.node, claim.epoch), reason, now, turn);
            }
            Effect::UsageBegins { claim } => {
                let began = Op::BeginUsage {
                    session: id.clone(),
                    user: entry.row.user.clone(),
                    app: entry.row.app.id.clone(),
                    claim,
                    at: now,
                };
                turn.push(began, Then::Nothing);
            }
            Effect::Release { claim } => {
                self.fleet.release(&claim, id, now);
                let session = id.clone();
                turn.push(
                    Op::Release {
                        session,
                        claim,
                        at: now,
                    },
                    Then::Nothing,
                );
            }
            Effect::Warn {
                claim,
                reason,
                in_s,
            } => {
                if let Some(stream) = self.fleet.online(&claim.node) {
                    let session = id.clone();
                    let warning = ToEdge::EndingSoon {
                        session,
                        reason,
                        in_s,
                    };
                    turn.messages.push((stream.clone(), warning));
                }
            }
            Effect::Publish => {
                let saved = Op::SavePhase {
                    session: id.clone(),
                    phase: entry.life.phase().clone(),
                    starts_denied: entry.life.starts_denied(),
                    at: now,
                };
                turn.push(saved, Then::Nothing);
            }
            Effect::Show => {}
        }
    }

    /// Keeps queue, deadlines and the list of ended sessions in step with a session's phase.
    pub(super) fn note(&mut self, id: &SessionId, phase: &Phase, now: MonoTime) {
        let Some(entry) = self.sessions.get_mut(id) else {
            return;
        };
        match phase {
            Phase::Queued => self.queue.push_front(id.clone(), entry.row.user.clone()),
            Phase::Ended { reason, .. } => {
                self.queue.remove(id);
                if entry.ended_at.is_none() {
                    entry.ended_at = Some(now);
                    self.ended.push_back((now, id.clone()));
                    crate::metrics::session_ended(*reason);
                    self.durations
                        .push_back(now.millis_since(entry.row.created_at));
                    if self.durations.len() > DURATIONS_KEPT {
                        self.durations.pop_front();
                    }
                }
            }
            Phase::Ready { run } => {
                self.queue.remove(id);
                if run.ready_at == now {
                    let took = now.micros_since(entry.row.created_at);
                    crate::metrics::session_started(Duration::from_micros(took));
                }
            }
            Phase::Placing { .. }
            | Phase::Starting { .. }
            | Phase::Playing { .. }
            | Phase::Detached { .. }
            | Phase::Ending { .. } => self.queue.remove(id),
        }
        if let Some(at) = entry.deadline.take() {
            self.deadlines.remove(&(at, id.clone()));
        }
        entry.deadline = entry.life.next_deadline();
        if let Some(at) = entry.deadline {
            self.deadlines.insert((at, id.clone()));
        }
    }

    fn take_deadlines(&mut self, now: MonoTime, turn: &mut Turn) {
        for _ in 0..TURN_EVENTS_MAX {
            let Some((at, id)) = self.deadlines.first().cloned() else {
                return;
            };
            if at > now {
                return;
            }
            self.deadlines.remove(&(at, id.clone()));
            if let Some(entry) = self.sessions.get_mut(&id) {
                entry.deadline = None;
            }
            self.drive(&id, Event::Tick, now, turn);
        }
    }

    fn keep_house(&mut self, now: MonoTime, turn: &mut Turn) {
        self.housekeepings = self.housekeepings.wrapping_add(1);
        if self.fleet.thaw(now) {
            self.placed_in_vain = None;
        }
        self.tell_places(now, &mut turn.touched);
        let keep_ms = u64::from(self.times.ended_keep_s) * 1000;
        while let Some((at, id)) = self.ended.front().cloned()
            && now.millis_since(at) >= keep_ms
        {
            self.ended.pop_front();
            self.sessions.remove(&id);
            self.directory.forget(&id);
        }
        if self.housekeepings.is_multiple_of(SEEN_EVERY) {
            let attached = self.fleet.iter().filter(|n| n.link.stream().is_some());
            let nodes: Vec<NodeId> = attached.map(|n| n.row.id.clone()).collect();
            turn.push(Op::SeenNodes { nodes, at: now }, Then::Nothing);
        }
        if self.housekeepings.is_multiple_of(PRUNE_EVERY) {
            let before = MonoTime(now.0.saturating_sub(PRUNE_AGE_MS * 1000));
            turn.push(Op::Prune { before }, Then::Nothing);
        }
        self.set_gauges();
    }

    fn set_gauges(&self) {
        const PHASES: [&str; 8] = [
            "queued", "placing", "starting", "ready", "playing", "detached", "ending", "ended",
        ];
        for phase in PHASES {
            let of = |e: &&Entry| label(e.life.phase()) == phase;
            crate::metrics::sessions(phase, self.sessions.values().filter(of).count());
        }
    }

    /// Makes the turn durable, and only then lets anyone see it.
    async fn commit(&mut self, turn: Turn) {
        let Turn {
            ops,
            thens,
            mut touched,
            messages,
            ends,
            synced,
        } = turn;
        let applied = if ops.is_empty() {
            Vec::new()
        } else {
            match self.ledger.write(ops).await {
                Ok(applied) => applied,
                Err(error) => {
                    // Whoever waits for an answer learns that the outcome is not known: the
                    // senders are dropped here.
                    drop((thens, ends));
                    self.recover(&error).await;
                    return;
                }
            }
        };
        let now = self.clock.now();
        let mut replies = Vec::new();
        // Before this turn's own orders, so that each goes out once and in order.
        for node in synced {
            self.resend(&node);
        }
        for (applied, then) in applied.into_iter().zip(thens) {
            self.act(applied, then, now, &mut touched, &mut replies)
                .await;
        }
        if self.queue.revision() != self.told {
            self.tell_places(now, &mut touched);
        }
        for id in touched {
            if let Some(entry) = self.sessions.get_mut(&id) {
                entry.publish();
            }
        }
        for (stream, message) in messages {
            stream.send(message);
        }
        for (reply, id) in replies {
            let shown = self.sessions.get(&id).map(Entry::shown);
            // A caller that hung up finds its session by listing.
            let _ = reply.send(shown.ok_or(CreateError::Forgotten));
        }
        for (reply, answer) in ends {
            let _ = reply.send(answer);
        }
        if let Some(error) = self.doubt.take() {
            self.recover(&error).await;
        }
    }

    /// Carries out what follows one durable change.
    async fn act(
        &mut self,
        applied: Applied,
        then: Then,
        now: MonoTime,
        touched: &mut BTreeSet<SessionId>,
        replies: &mut Vec<(oneshot::Sender<Result<Session, CreateError>>, SessionId)>,
    ) {
        match then {
            Then::Nothing => {}
            Then::Created(new) => {
                let New { entry, reply } = *new;
                let refusal = match applied {
                    Applied::Replayed { session } => {
                        replies.push((reply, session));
                        return;
                    }
                    Applied::KeyReused => CreateError::KeyReused,
                    Applied::QuotaUsedUp => CreateError::Quota,
                    Applied::Done
                    | Applied::Ordered { .. }
                    | Applied::RaceLost
                    | Applied::TicketSpent
                    | Applied::Skipped => {
                        let id = entry.row.id.clone();
                        replies.push((reply, id.clone()));
                        touched.insert(id.clone());
                        self.add_new(id, entry);
                        return;
                    }
                };
                let _ = reply.send(Err(refusal));
            }
            Then::Claimed {
                session,
                claim,
                order,
            } => match applied {
                Applied::Ordered { command } => {
                    self.claimed(&session, claim, OutboxRow { command, ..*order }, now);
                    touched.insert(session);
                }
                Applied::Done
                | Applied::Replayed { .. }
                | Applied::KeyReused
                | Applied::QuotaUsedUp
                | Applied::RaceLost
                | Applied::TicketSpent
                | Applied::Skipped => {
                    if applied == Applied::RaceLost {
                        crate::metrics::race_lost();
                        tracing::debug!(session_id = %session, node_id = %claim.node, "race lost");
                    }
                    self.read_back(&claim.node).await;
                    self.requeue(&session, now);
                    touched.insert(session);
                }
            },
            Then::Ordered(order) => {
                if let Applied::Ordered { command } = applied {
                    self.give(OutboxRow { command, ..*order }, now);
                }
            }
            Then::ReadBack(node) => self.read_back(&node).await,
        }
    }

    fn add_new(&mut self, id: SessionId, entry: Entry) {
        crate::metrics::session_created();
        tracing::info!(session_id = %id, app = %entry.row.app.id, "session created");
        self.queue.push(id.clone(), entry.row.user.clone());
        let shown = ShownSession {
            user: entry.row.user.clone(),
            view: entry.watch(),
        };
        self.directory.show(id.clone(), shown);
        self.sessions.insert(id, entry);
        self.placed_in_vain = None;
    }

    /// Its claim came to nothing: it is next again.
    fn requeue(&mut self, id: &SessionId, now: MonoTime) {
        let entry = self.sessions.get(id);
        if let Some(phase) = entry.map(|e| e.life.phase().clone()) {
            self.note(id, &phase, now);
        }
    }

    /// The ledger holds the claim.
    fn claimed(&mut self, id: &SessionId, claim: Claim, order: OutboxRow, now: MonoTime) {
        if let Some(entry) = self.sessions.get_mut(id) {
            let outcome = entry.life.handle(now, Event::Claimed(claim));
            if let Outcome::Denied(why) = outcome {
                log_denied(id, label(entry.life.phase()), why);
            }
            let phase = entry.life.phase().clone();
            self.note(id, &phase, now);
        }
        self.give(order, now);
    }

    /// Keeps an order until it is acked, and sends it if its node is there.
    fn give(&mut self, order: OutboxRow, now: MonoTime) {
        let node = order.node.clone();
        if let Some(stream) = self.fleet.online(&node) {
            stream.send(command(&order));
        }
        self.fleet.change(&node, now, |n| {
            n.outbox.insert(order.command, order);
        });
    }

    /// Sends every order again that the node has not acked.
    fn resend(&mut self, node: &NodeId) {
        let Some(stream) = self.fleet.online(node) else {
            return;
        };
        let orders = self
            .fleet
            .get(node)
            .into_iter()
            .flat_map(|n| n.outbox.values());
        for order in orders {
            stream.send(command(order));
        }
    }

    async fn read_back(&mut self, node: &NodeId) {
        match self.ledger.node(node.clone()).await {
            Ok(Some(row)) => {
                let now = self.clock.now();
                self.fleet.set_row(row, now);
                self.placed_in_vain = None;
            }
            Ok(None) => tracing::error!(node_id = %node, "the ledger has no such node"),
            // Not here: the turn's other changes are still being acted on.
            Err(error) => self.doubt = Some(error),
        }
    }

    fn publish_fleet(&mut self) {
        let snapshot = self.fleet.snapshot();
        self.published = snapshot.revision;
        let nodes = self.fleet.public();
        let online = snapshot.nodes.iter().filter(|n| n.attached).count();
        crate::metrics::nodes("online", online);
        crate::metrics::nodes("offline", snapshot.nodes.len() - online);
        let views = snapshot.nodes.clone();
        self.directory.set_fleet(PublicFleet { nodes, views });
    }
}

/// Orders `node` to stop a session that it runs under `epoch`.
pub(super) fn push_stop(
    session: &SessionId,
    (node, epoch): (&NodeId, Epoch),
    reason: EndReason,
    now: MonoTime,
    turn: &mut Turn,
) {
    let order = Order::Stop {
        session: session.clone(),
        reason,
    };
    let row = OutboxRow {
        command: 0,
        node: node.clone(),
        session: session.clone(),
        epoch,
        order: order.clone(),
    };
    let op = Op::OrderStop {
        session: session.clone(),
        node: node.clone(),
        epoch,
        order,
        at: now,
    };
    turn.push(op, Then::Ordered(Box::new(row)));
}

fn command(order: &OutboxRow) -> ToEdge {
    ToEdge::Command {
        command: U64(order.command),
        order: order.order.clone(),
    }
}

fn log_denied(id: &SessionId, phase: &'static str, why: Denied) {
    tracing::warn!(session_id = %id, phase, %why, "event denied");
}

/// The lifecycle that a claim leads to, for the row that is written with it.
pub(super) fn placing(limits: nearlight_session::Limits, claim: &Claim, now: MonoTime) -> Phase {
    let mut life = Lifecycle::new(limits);
    life.handle(now, Event::Claimed(claim.clone()));
    life.phase().clone()
}
