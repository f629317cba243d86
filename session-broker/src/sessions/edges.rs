//! What edges say, turned into events of sessions and changes of the fleet.

use super::driving::push_stop;
use super::owner::Owner;
use super::turn::{Then, Turn};
use crate::control::{EdgeEvent, EdgeMessage, ShownSession, Stream};
use crate::fleet::{Link, keep_distinct, nothing};
use crate::ledger::{Capacity, NodeRow, Op, OutboxRow, Standing};
use nearlight_protocol::api::EndReason;
use nearlight_protocol::control::{
    AckOutcome, DenyReason, Hello, Inventory, Order, SessionReport, SessionRtt,
};
use nearlight_protocol::grant::Grant;
use nearlight_protocol::id::{NodeId, SessionId, SlotId};
use nearlight_protocol::limits::{CONTROL_OUTBOX_MAX, HEARTBEAT_RTTS_MAX};
use nearlight_protocol::unit::MonoTime;
use nearlight_session::lifecycle::{Event, Phase, Presence};
use nearlight_session::{Claim, Epoch};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Slots that one node may have. More is a mistake or an attack on our memory.
const SLOTS_MAX: usize = 1024;
/// How far a node's journal may be ahead of the ledger: more sessions of one slot than any back-up is
/// old.
const EPOCHS_FOLLOWED_MAX: u64 = 1 << 20;
/// What we keep of a session's last words; the wire says 2 KiB.
const DETAIL_BYTES_MAX: usize = 2048;
/// What an overtaken stream's edge waits, if it is still there.
const OVERTAKEN_RETRY_S: u32 = 1;

impl Owner {
    pub(super) fn take_edge(&mut self, event: EdgeEvent, now: MonoTime, turn: &mut Turn) {
        if turn.holding.contains(event.node()) {
            self.deferred.push_back(event);
            return;
        }
        match event {
            EdgeEvent::Attached { stream, hello } => self.edge_attached(stream, hello, now, turn),
            EdgeEvent::Said { stream, message } => {
                if self.is_current(&stream) {
                    self.edge_said(&stream, message, now, turn);
                }
            }
            EdgeEvent::Closed { stream } => {
                if self.is_current(&stream) {
                    self.edge_closed(&stream.node, now, turn);
                }
            }
        }
    }

    /// Whether this is the node's newest stream; what an older one still says does not count.
    fn is_current(&self, stream: &Arc<Stream>) -> bool {
        let current = self.fleet.get(&stream.node).and_then(|n| n.link.stream());
        current.is_some_and(|current| Arc::ptr_eq(current, stream))
    }

    fn edge_attached(&mut self, stream: Arc<Stream>, hello: Hello, now: MonoTime, turn: &mut Turn) {
        tracing::info!(node_id = %hello.node, name = hello.name, build = hello.build,
            "edge attached");
        let id = hello.node;
        let decided = self.standings.of(&id);
        if decided.standing == Standing::Revoked {
            // Since the listener let it in.
            stream.dismiss();
            return;
        }
        let known = self.fleet.get(&id).map(|n| n.row.clone());
        if known.is_none() {
            // Another broker may hold it. What it runs is known, and taken in, before it says more.
            let node = id.clone();
            turn.push(Op::HoldNode { node, at: now }, Then::Held(id.clone()));
            turn.holding.insert(id.clone());
        }
        let row = NodeRow {
            name: hello.name,
            region: hello.region,
            build: hello.build,
            ..known.unwrap_or_else(|| unknown_node(&id))
        };
        self.fleet.set_row(row, now);
        self.fleet.set_decided(&id, decided, now);
        self.directory.set_stream(&id, Some(stream.clone()));
        let link = Link::Attaching(stream);
        let former = self.fleet.change(&id, now, |node| {
            node.draining = false;
            std::mem::replace(&mut node.link, link)
        });
        if let Some(Link::Attaching(former) | Link::Online(former)) = former {
            tracing::warn!(node_id = %id, "a newer stream of the node replaces an older one");
            former.go_away(OVERTAKEN_RETRY_S);
        }
    }

    fn edge_closed(&mut self, node: &NodeId, now: MonoTime, turn: &mut Turn) {
        tracing::info!(node_id = %node, "edge lost");
        self.directory.set_stream(node, None);
        let heard = self.fleet.change(node, now, |n| {
            n.link = Link::Offline;
            n.heard_at
        });
        if let Some(heard) = heard {
            // What it ran is billed until then, whoever finds out that it is lost.
            let nodes = vec![(node.clone(), heard)];
            turn.push(Op::SeenNodes { nodes, at: now }, Then::Nothing);
        }
        for session in self.fleet.holders(node) {
            self.drive(&session, Event::NodeLost, now, turn);
        }
    }

    fn edge_said(
        &mut self,
        stream: &Arc<Stream>,
        message: EdgeMessage,
        now: MonoTime,
        turn: &mut Turn,
    ) {
        let node = &stream.node;
        self.fleet.heard(node, now);
        match message {
            EdgeMessage::Inventory(inventory) => self.take_inventory(stream, *inventory, now, turn),
            EdgeMessage::Running(shown) => self.reconcile(stream, shown, now, turn),
            EdgeMessage::Heartbeat(heartbeat) => {
                tracing::trace!(node_id = %node, ?heartbeat, "heartbeat");
                self.note_round_trips(node, &heartbeat.rtts);
            }
            EdgeMessage::Ack { command, outcome } => {
                self.take_ack(node, command, outcome, now, turn);
            }
            EdgeMessage::Report {
                session,
                epoch,
                event,
            } => self.take_report(node, &session, epoch, event, now, turn),
            EdgeMessage::Draining => {
                tracing::info!(node_id = %node, "the node drains");
                self.fleet.change(node, now, |n| n.draining = true);
            }
        }
    }

    /// What streams of a node take, of those sessions alone that it holds.
    fn note_round_trips(&self, node: &NodeId, rtts: &[SessionRtt]) {
        let Some(known) = self.fleet.get(node).filter(|_| !rtts.is_empty()) else {
            return;
        };
        for SessionRtt { session, ms } in rtts.iter().take(HEARTBEAT_RTTS_MAX) {
            let held = self.sessions.get(session).and_then(|e| e.life.held());
            if held.is_some_and(|held| held.claim.node == *node) {
                self.nearness.took(session, &known.row.region, *ms);
            }
        }
    }

    fn take_inventory(
        &mut self,
        stream: &Arc<Stream>,
        mut inventory: Inventory,
        now: MonoTime,
        turn: &mut Turn,
    ) {
        let node = &stream.node;
        inventory.jobs.iter_mut().for_each(keep_distinct);
        if inventory.slots.len() > SLOTS_MAX {
            tracing::warn!(node_id = %node, slots = inventory.slots.len(), "too many slots");
            stream.close();
            return;
        }
        let Some(known) = self.fleet.get(node) else {
            return;
        };
        let ahead = ahead_of(&known.row, &inventory);
        self.note_volumes(node, &inventory, now, turn);
        let save = Op::SaveNode {
            node: node.clone(),
            name: known.row.name.clone(),
            region: known.row.region.clone(),
            build: known.row.build.clone(),
            inventory,
            at: now,
        };
        turn.push(save, Then::ReadBack(node.clone()));
        for (slot, epoch) in ahead {
            tracing::warn!(node_id = %node, slot_id = %slot, epoch = epoch.0,
                "the node's journal is ahead of the ledger, as after a restore; following it");
            turn.push(Op::RaiseEpoch { slot, epoch }, Then::Nothing);
        }
    }

    /// Brings what a node runs and what we believe together.
    fn reconcile(
        &mut self,
        stream: &Arc<Stream>,
        shown: Vec<ShownSession>,
        now: MonoTime,
        turn: &mut Turn,
    ) {
        let node = stream.node.clone();
        let mut running: HashMap<SessionId, (Grant, Presence)> = HashMap::new();
        for session in shown {
            let presence = Presence::Running {
                attached: session.attached,
                ready: session.ready,
            };
            match session.grant {
                Some(grant) => {
                    running.insert(session.session, (grant, presence));
                }
                // Whatever it is, nobody ordered it.
                None => {
                    let (id, epoch) = (session.session, Epoch(0));
                    self.stop_unknown(&id, (&node, epoch), EndReason::Internal, now, turn);
                }
            }
        }
        for (grant, _) in running.values() {
            self.raise_epoch(&node, grant, now, turn);
        }
        for id in self.fleet.holders(&node) {
            let claim = self.sessions.get(&id).and_then(|e| e.life.held());
            let Some(claim) = claim.map(|held| held.claim.clone()) else {
                continue;
            };
            let same = running
                .get(&id)
                .is_some_and(|(grant, _)| is_of(grant, &claim));
            let presence = match running.remove(&id) {
                Some((_, presence)) if same => presence,
                Some((grant, _)) => {
                    let held = (&node, Epoch::from(grant.epoch));
                    push_stop(&id, held, EndReason::NodeLost, now, turn);
                    Presence::Absent
                }
                None => Presence::Absent,
            };
            self.drive(&id, Event::NodeBack { presence }, now, turn);
        }
        for (id, (grant, presence)) in running {
            let reason = self.why_over(&id);
            tracing::info!(session_id = %id, node_id = %node, ?reason,
                "the node runs a session that is over, or lost");
            if self.may_order(&id, (&node, grant.epoch.into()), now, turn) {
                self.readmit_or_stop(grant, presence, reason, now, turn);
            }
        }
        let online = Link::Online(stream.clone());
        self.fleet.change(&node, now, |n| {
            n.link = online;
            n.heard_at = now;
        });
        turn.synced.push(node);
    }

    /// Has a node stop what holds no claim, as far as its outbox takes that: whoever makes sessions up, or
    /// acks nothing, fills no ledger. The rest is shown again once what was ordered is acked.
    fn stop_unknown(
        &mut self,
        id: &SessionId,
        (node, epoch): (&NodeId, Epoch),
        reason: EndReason,
        now: MonoTime,
        turn: &mut Turn,
    ) {
        if self.may_order(id, (node, epoch), now, turn) {
            push_stop(id, (node, epoch), reason, now, turn);
        }
    }

    /// Whether a node's outbox takes one order more to stop what holds no claim.
    fn may_order(
        &mut self,
        id: &SessionId,
        (node, epoch): (&NodeId, Epoch),
        now: MonoTime,
        turn: &Turn,
    ) -> bool {
        let waiting = self.fleet.get(node).map_or(0, |known| {
            let again = |row: &OutboxRow| row.session == *id && row.epoch == epoch;
            match known.outbox.values().any(again) {
                true => 0,
                false => known.outbox.len(),
            }
        });
        if waiting + turn.orders_for(node) < CONTROL_OUTBOX_MAX {
            return true;
        }
        let known = self
            .fleet
            .change(node, now, |n| std::mem::replace(&mut n.overflows, true));
        if known == Some(false) {
            crate::metrics::outbox_full();
            tracing::warn!(node_id = %node, "the node runs more that nobody ordered than its \
                outbox takes; the rest is stopped once it has acked that");
        }
        false
    }

    /// A grant of ours with a newer epoch than the ledger's: rows were lost.
    fn raise_epoch(&mut self, node: &NodeId, grant: &Grant, now: MonoTime, turn: &mut Turn) {
        let epoch = Epoch::from(grant.epoch);
        let raised = self.fleet.change(node, now, |n| {
            let slot = n.row.slots.get_mut(&grant.slot)?;
            (slot.epoch < epoch).then(|| slot.epoch = epoch)
        });
        if raised.flatten().is_some() {
            tracing::warn!(node_id = %node, slot_id = %grant.slot, epoch = epoch.0,
                "a grant is newer than the ledger; raising the slot's epoch");
            let slot = grant.slot.clone();
            turn.push(Op::RaiseEpoch { slot, epoch }, Then::Nothing);
        }
    }

    /// Why a session that a node still runs must not run.
    fn why_over(&self, id: &SessionId) -> EndReason {
        match self.sessions.get(id).map(|e| e.life.phase()) {
            Some(Phase::Ended { reason, .. } | Phase::Ending { reason, .. }) => *reason,
            Some(
                Phase::Queued
                | Phase::Placing { .. }
                | Phase::Starting { .. }
                | Phase::Ready { .. }
                | Phase::Playing { .. }
                | Phase::Detached { .. },
            ) => EndReason::NodeLost,
            None => EndReason::Internal,
        }
    }

    /// Lets a node that had more to stop than its outbox took attach again, for it shows then what is
    /// left.
    fn show_again(&mut self, node: &NodeId, now: MonoTime) {
        let is_due = self.fleet.change(node, now, |n| {
            n.outbox.is_empty() && std::mem::take(&mut n.overflows)
        });
        let stream = self.fleet.get(node).and_then(|known| known.link.stream());
        if let Some(stream) = stream.filter(|_| is_due == Some(true)) {
            stream.go_away(OVERTAKEN_RETRY_S);
        }
    }

    fn take_ack(
        &mut self,
        node: &NodeId,
        command: u64,
        outcome: AckOutcome,
        now: MonoTime,
        turn: &mut Turn,
    ) {
        let order = self.fleet.change(node, now, |n| n.outbox.remove(&command));
        self.show_again(node, now);
        let Some(order) = order.flatten() else {
            tracing::debug!(node_id = %node, command, "ack of an order that does not wait");
            return;
        };
        turn.push(Op::Acked { command }, Then::Nothing);
        let OutboxRow {
            session,
            epoch,
            order,
            ..
        } = order;
        match (order, outcome) {
            (Order::Start(_), AckOutcome::Done) => {
                self.drive(&session, Event::StartAcked { epoch }, now, turn);
            }
            (Order::Start(_), AckOutcome::Denied { reason, detail }) => {
                tracing::warn!(session_id = %session, node_id = %node, ?reason, detail,
                    "the node refuses to start the session");
                self.start_refused(node, &session, reason, now);
                self.drive(&session, Event::StartDenied { epoch, detail }, now, turn);
            }
            (Order::Stop { .. }, AckOutcome::Done) => {
                self.drive(&session, Event::StopAcked { epoch }, now, turn);
            }
            (Order::Stop { .. }, AckOutcome::Denied { reason, detail }) => {
                tracing::warn!(session_id = %session, node_id = %node, ?reason, detail,
                    "the node refuses to stop the session");
            }
        }
    }

    /// Keeps the next session away from whatever refused this one.
    fn start_refused(
        &mut self,
        node: &NodeId,
        session: &SessionId,
        reason: DenyReason,
        now: MonoTime,
    ) {
        let held = self.sessions.get(session).and_then(|e| e.life.held());
        let claim = held.map(|held| held.claim.clone());
        match reason {
            DenyReason::Draining => {
                self.fleet.change(node, now, |n| n.draining = true);
            }
            DenyReason::EpochOld
            | DenyReason::GrantInvalid
            | DenyReason::NodeFault
            | DenyReason::SlotBusy => {
                if let Some(claim) = claim.filter(|claim| claim.node == *node) {
                    self.fleet.cool(&claim, now);
                }
            }
        }
    }

    fn take_report(
        &mut self,
        node: &NodeId,
        session: &SessionId,
        epoch: Epoch,
        report: SessionReport,
        now: MonoTime,
        turn: &mut Turn,
    ) {
        let held = self.sessions.get(session).and_then(|e| e.life.held());
        if held.is_none_or(|held| held.claim.node != *node) {
            tracing::debug!(session_id = %session, node_id = %node, ?report,
                "report of a session that the node does not hold");
            return;
        }
        let event = match report {
            SessionReport::Progress { progress } => Event::Progress { epoch, progress },
            SessionReport::Ready => Event::NodeReady { epoch },
            SessionReport::Attached { attachment } => Event::Attached { epoch, attachment },
            SessionReport::Detached { attachment } => Event::Detached { epoch, attachment },
            SessionReport::Watchers { count } => {
                self.watched(session, epoch, count, turn);
                return;
            }
            SessionReport::InputSeen => Event::InputSeen { epoch },
            SessionReport::Used { facts } => {
                self.used(session, epoch, facts, turn);
                return;
            }
            SessionReport::Ended { reason, detail } => {
                tracing::info!(session_id = %session, node_id = %node, ?reason, detail,
                    "the node ended the session");
                Event::NodeEnded {
                    epoch,
                    reason,
                    detail: shortened(detail),
                }
            }
        };
        self.drive(session, event, now, turn);
    }

    /// Not written down: an edge says it again on each new stream.
    fn watched(&mut self, session: &SessionId, epoch: Epoch, count: u32, turn: &mut Turn) {
        if let Some(entry) = self.sessions.get_mut(session)
            && entry.life.held().is_some_and(|h| h.claim.epoch == epoch)
        {
            entry.watchers = count;
            turn.touched.insert(session.clone());
        }
    }
}

fn is_of(grant: &Grant, claim: &Claim) -> bool {
    grant.slot == claim.slot && Epoch::from(grant.epoch) == claim.epoch
}

/// Slots whose epoch the node's own journal has higher than the ledger: rows were lost, for the ledger
/// was restored or failed over to a standby that lagged. A node that lies only skips epochs of its own
/// slot, and too few at a time to run out of them; what is further ahead is not followed.
fn ahead_of(row: &NodeRow, inventory: &Inventory) -> Vec<(SlotId, Epoch)> {
    let slots = inventory.slots.iter().filter_map(|slot| {
        let known = row.slots.get(&slot.id).map_or(0, |known| known.epoch.0);
        let said = slot.epoch.0;
        (said > known && said - known <= EPOCHS_FOLLOWED_MAX)
            .then(|| (slot.id.clone(), Epoch(said)))
    });
    slots.collect()
}

fn unknown_node(id: &NodeId) -> NodeRow {
    NodeRow {
        id: id.clone(),
        name: String::new(),
        region: String::new(),
        build: String::new(),
        inventory: nothing(),
        slots: BTreeMap::new(),
        heard_at: MonoTime(0),
        capacity: Capacity::default(),
        volumes_mib: 0,
    }
}

fn shortened(mut text: String) -> String {
    if text.len() > DETAIL_BYTES_MAX {
        let end = (0..=DETAIL_BYTES_MAX)
            .rev()
            .find(|i| text.is_char_boundary(*i));
        text.truncate(end.unwrap_or(0));
    }
    text
}
