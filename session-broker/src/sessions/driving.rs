//! Driving sessions: an event into the pure lifecycle, its effects into the turn.

use super::Placement;
use super::entry::label;
use super::notices;
use super::owner::{Owner, TURN_EVENTS_MAX};
use super::turn::{Then, Turn};
use crate::fleet::FleetNode;
use crate::ledger::{Op, OutboxRow, SessionRow};
use nearlight_protocol::api::EndReason;
use nearlight_protocol::control::{Order, ToEdge};
use nearlight_protocol::id::{NodeId, SessionId};
use nearlight_protocol::job::JobSpec;
use nearlight_protocol::unit::MonoTime;
use nearlight_protocol::webhook::{NoticeData, NoticeType};
use nearlight_session::lifecycle::{Denied, Effect, Event, Outcome, Phase};
use nearlight_session::{Claim, Epoch, Lifecycle};
use std::time::Duration;

/// Durations of ended sessions that the ETA is computed from.
const DURATIONS_KEPT: usize = 32;

/// Whether the app had nothing to show before, and has now: from here on it may save.
fn shows_first_picture(was: &'static str, phase: &Phase) -> bool {
    matches!(was, "placing" | "starting")
        && matches!(phase, Phase::Ready { .. } | Phase::Playing { .. })
}

impl Owner {
    /// Lets a session take an event; `None` if there is no such session.
    pub(super) fn drive(
        &mut self,
        id: &SessionId,
        event: Event,
        now: MonoTime,
        turn: &mut Turn,
    ) -> Option<Outcome> {
        match self.as_replica(id, event, now, turn) {
            Ok(event) => self.drive_alone(id, event, now, turn),
            Err(outcome) => Some(outcome),
        }
    }

    /// As [`Owner::drive`], whatever the event is to a replica.
    pub(super) fn drive_alone(
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
            tracing::debug!(session_id = %id, app = entry.row.name(), from = was,
                to = label(&phase), "session moved");
        }
        if !was_over && entry.life.is_over() {
            for _ in 0..places_of(&entry.row) {
                let op = Op::ReturnQuota {
                    session: id.clone(),
                    user: entry.row.user.clone(),
                    tenant: entry.row.tenant.clone(),
                };
                turn.push(op, Then::Nothing);
            }
        }
        if shows_first_picture(was, &phase)
            && let Some(claim) = entry.life.held().map(|held| &held.claim)
            && let Some(app) = entry.row.app().filter(|app| app.saves.is_some())
        {
            let note = Op::NoteSave {
                user: entry.row.user.clone(),
                app: app.id.clone(),
                node: claim.node.clone(),
                at: now,
            };
            turn.push(note, Then::Nothing);
        }
        let is_needed =
            entry.life.may_start_again() || entry.row.is_cluster() && !entry.life.is_over();
        if entry.row.sealed.is_some() && !is_needed {
            // Its node has them and no other one will, or nobody needs them. A cluster's next run may.
            entry.row.sealed = None;
            let session = id.clone();
            turn.push(Op::ForgetSecrets { session }, Then::Nothing);
        }
        if label(&phase) != was
            && !entry.row.is_member()
            && let Some(notice) = notices::of_phase(&entry.row, &phase, now)
        {
            turn.push(Op::Notify(Box::new(notice)), Then::Nothing);
        }
        for effect in effects {
            self.carry_out(id, effect, now, turn);
        }
        self.note(id, &phase, now);
        self.mark_cluster(id);
        turn.touched.insert(id.clone());
        Some(outcome)
    }

    /// A job that lost its node waits as a new one does, and its tenant is told.
    fn count_move(&mut self, id: &SessionId, reason: EndReason, now: MonoTime, turn: &mut Turn) {
        let Some(entry) = self.sessions.get_mut(id) else {
            return;
        };
        entry.row.moves += 1;
        entry.row.since = now;
        entry.life.limit(self.times.limits(&entry.row));
        tracing::info!(session_id = %id, ?reason, moves = entry.row.moves,
            "the job lost its node and waits for another one");
        let session = id.clone();
        turn.push(Op::CountMove { session }, Then::Nothing);
        let data = NoticeData {
            reason: Some(reason),
            ..NoticeData::default()
        };
        let notice = notices::of(&entry.row, NoticeType::Moving, data, now);
        if let Some(notice) = notice {
            turn.push(Op::Notify(Box::new(notice)), Then::Nothing);
        }
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
                let bill = Box::new(self.bill_of(&entry.row, &claim));
                let began = Op::BeginUsage {
                    session: id.clone(),
                    claim,
                    bill,
                    at: now,
                };
                turn.push(began, Then::Nothing);
            }
            Effect::Release { claim, stopped } => {
                let billed_until = self.billed_until(&claim, stopped, now);
                self.fleet.release(&claim, id, now);
                self.volumes.release(id);
                let release = Op::Release {
                    session: id.clone(),
                    claim,
                    billed_until,
                    at: now,
                };
                turn.push(release, Then::Nothing);
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
            Effect::Reprieve { claim } => {
                if let Some(stream) = self.fleet.online(&claim.node) {
                    let session = id.clone();
                    let goes_on = ToEdge::GoesOn { session };
                    turn.messages.push((stream.clone(), goes_on));
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
            Effect::Moved { reason } => self.count_move(id, reason, now, turn),
        }
    }

    /// Keeps queue, deadlines, and the lists of claims and of ended sessions in step with a session's phase.
    pub(super) fn note(&mut self, id: &SessionId, phase: &Phase, now: MonoTime) {
        let Some(entry) = self.sessions.get_mut(id) else {
            return;
        };
        let at = entry.life.held().map(|held| &held.claim.node);
        self.claimed.moved(id, &mut entry.listed_at, at);
        if let Some(tenant) = &entry.row.tenant {
            let node = at.map(|node| self.fleet.get(node));
            let operator = node.map(|node| node.map_or("", FleetNode::operator));
            self.spread.moved(tenant, &mut entry.counted, operator);
        }
        match phase {
            Phase::Queued => {
                if matches!(entry.placement, Placement::Placed { .. }) {
                    entry.placement = Placement::Unknown;
                }
                self.queue.push_front(id.clone(), entry.row.user.clone());
            }
            Phase::Ended { reason, .. } => {
                self.queue.remove(id);
                if entry.ended_at.is_none() {
                    entry.ended_at = Some(now);
                    self.ended.push_back((now, id.clone()));
                    crate::metrics::session_ended(*reason);
                    // Who gave up waiting says nothing of how long slots are held, nor does a checker.
                    if entry.row.node.is_some() && entry.row.wish.probed.is_none() {
                        self.durations.push_back(now.millis_since(entry.placed_at));
                    }
                    if self.durations.len() > DURATIONS_KEPT {
                        self.durations.pop_front();
                    }
                }
            }
            Phase::Ready { run } => {
                self.queue.remove(id);
                if run.ready_at == now {
                    let node = &run.held.claim.node;
                    if self.failing.started(node) {
                        // It was offered to nobody who was kept off.
                        self.fleet.reopen(node.clone());
                    }
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
        self.set_deadline(id);
    }

    /// Lets the owner's timer know when time alone changes a session.
    pub(super) fn set_deadline(&mut self, id: &SessionId) {
        let Some(entry) = self.sessions.get_mut(id) else {
            return;
        };
        if let Some(at) = entry.deadline.take() {
            self.deadlines.remove(&(at, id.clone()));
        }
        entry.deadline = entry.life.next_deadline();
        if let Some(at) = entry.deadline {
            self.deadlines.insert((at, id.clone()));
        }
    }

    pub(super) fn take_deadlines(&mut self, now: MonoTime, turn: &mut Turn) {
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
}

/// Places in a quota that a session has: a cluster has those of its replicas.
fn places_of(row: &SessionRow) -> u32 {
    match row.is_member() {
        true => 0,
        false => row.work.job().map_or(1, JobSpec::replicas),
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
        sealed: None,
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

pub(super) fn log_denied(id: &SessionId, phase: &'static str, why: Denied) {
    tracing::warn!(session_id = %id, phase, %why, "event denied");
}

/// The lifecycle that a claim leads to, for the row that is written with it.
pub(super) fn placing(limits: nearlight_session::Limits, claim: &Claim, now: MonoTime) -> Phase {
    let mut life = Lifecycle::new(limits);
    life.handle(now, Event::Claimed(claim.clone()));
    life.phase().clone()
}
