//! What edges say, turned into events of sessions and changes of the fleet.

use super::owner::Owner;
use super::reconcile::OVERTAKEN_RETRY_S;
use super::turn::{Then, Turn};
use crate::control::{EdgeEvent, EdgeMessage, Stream};
use crate::fleet::{Link, keep_distinct, nothing};
use crate::ledger::{Capacity, NodeRow, Op, OutboxRow, Standing};
use nearlight_protocol::api::EndReason;
use nearlight_protocol::control::{
    AckOutcome, DenyReason, Hello, Inventory, Order, SessionReport, SessionRtt,
};
use nearlight_protocol::id::{NodeId, SessionId, SlotId};
use nearlight_protocol::limits::HEARTBEAT_RTTS_MAX;
use nearlight_protocol::unit::MonoTime;
use nearlight_session::Epoch;
use nearlight_session::lifecycle::Event;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Slots that one node may have. More is a mistake or an attack on our memory.
const SLOTS_MAX: usize = 1024;
/// How far a node's journal may be ahead of the ledger: more sessions of one slot than any back-up is
/// old.
const EPOCHS_FOLLOWED_MAX: u64 = 1 << 20;
/// What we keep of a session's last words; the wire says 2 KiB.
const DETAIL_BYTES_MAX: usize = 2048;

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
                self.directory.gpus.note(node, heartbeat.gpus, now);
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
            inventory: Box::new(inventory),
            at: now,
        };
        turn.push(save, Then::ReadBack(node.clone()));
        for (slot, epoch) in ahead {
            tracing::warn!(node_id = %node, slot_id = %slot, epoch = epoch.0,
                "the node's journal is ahead of the ledger, as after a restore; following it");
            turn.push(Op::RaiseEpoch { slot, epoch }, Then::Nothing);
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
        let acked = Op::Acked {
            node: node.clone(),
            command,
        };
        turn.push(acked, Then::Nothing);
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
                let detail = shortened(detail);
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
        self.refused_by(node, session, now);
        match reason {
            DenyReason::Draining => {
                self.fleet.change(node, now, |n| n.draining = true);
            }
            DenyReason::EpochOld
            | DenyReason::GrantInvalid
            | DenyReason::NodeFault
            | DenyReason::SlotBusy
            | DenyReason::Unknown => {
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
                let told = self.sessions.get(session).and_then(|of| of.told_to_end());
                let reason = believed(reason, told);
                tracing::info!(session_id = %session, node_id = %node, ?reason, detail,
                    "the node ended the session");
                let detail = shortened(detail);
                match self.fails_to_start((node, session), (epoch, reason), now) {
                    true => Event::StartDenied { epoch, detail },
                    false => Event::NodeEnded {
                        epoch,
                        reason,
                        detail,
                    },
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

/// The reason of an end as far as its node may give it. One that is the broker's alone to decide is the node's own failure;
/// of a session that the broker ends, the node only says again what it was told.
fn believed(said: EndReason, told: Option<EndReason>) -> EndReason {
    match said.is_a_nodes() {
        true => said,
        false => told.unwrap_or(EndReason::Internal),
    }
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

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_replica_that_ends_with_its_cluster_did_not_fail_by_itself() {
        let cluster = EndReason::ClusterEnded;
        for (said, told, believed_to_be) in [
            (cluster, Some(cluster), cluster),
            // It was told before somebody ended the whole job.
            (
                cluster,
                Some(EndReason::PlayerEnded),
                EndReason::PlayerEnded,
            ),
            // Nobody told it, and what depends on it would go on.
            (cluster, None, EndReason::Internal),
            (EndReason::QueueTimeout, None, EndReason::Internal),
            (EndReason::JobFailed, None, EndReason::JobFailed),
            (EndReason::JobFailed, Some(cluster), EndReason::JobFailed),
        ] {
            assert_eq!(believed(said, told), believed_to_be, "{said:?} {told:?}");
        }
    }
}
