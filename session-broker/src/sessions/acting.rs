//! Committing a turn, and acting on what is durable.

use super::driving::log_denied;
use super::entry::{Entry, label};
use super::owner::Owner;
use super::turn::{New, Then, Turn};
use super::{CreateError, EndError, Placement};
use crate::ledger::{Applied, Loaded, NodeRow, OutboxRow, SessionRow, StoreError};
use nearlight_protocol::api::Session;
use nearlight_protocol::app::GpuClass;
use nearlight_protocol::control::{Order, ToEdge};
use nearlight_protocol::id::{NodeId, SessionId};
use nearlight_protocol::unit::{MonoTime, U64};
use nearlight_session::Claim;
use nearlight_session::lifecycle::{Event, Outcome, Phase};
use std::collections::{BTreeSet, HashSet};
use tokio::sync::oneshot;

/// Who created a session, and which one is the answer.
pub(super) type Created = (oneshot::Sender<Result<Session, CreateError>>, SessionId);

impl Owner {
    /// Makes the turn durable, and only then lets anyone see it.
    pub(super) async fn commit(&mut self, turn: Turn) {
        let Turn {
            ops,
            thens,
            mut touched,
            messages,
            ends,
            synced,
            is_beat,
            holding: _,
            looks: _,
            is_closed: _,
        } = turn;
        let applied = if ops.is_empty() && !is_beat {
            Vec::new()
        } else {
            match self.write(ops).await {
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
            self.show_links(&node);
            self.show_images(&node);
            self.show_volumes(&node);
            self.show_reclaim(&node, now);
            self.resend(&node);
        }
        for (applied, then) in applied.into_iter().zip(thens) {
            self.act(applied, then, now, &mut touched, &mut replies)
                .await;
        }
        if self.queue.revision() != self.told {
            self.tell_places(now, &mut touched);
        }
        for id in &touched {
            if let Some(entry) = self.sessions.get_mut(id) {
                entry.publish();
                if entry.ended_at.is_some() {
                    self.links.session_over(id);
                }
            }
        }
        self.show_members(&touched);
        for (stream, message) in messages {
            stream.send(message);
        }
        for (reply, id) in replies {
            let shown = self.sessions.get(&id).map(|entry| entry.shown());
            // A caller that hung up finds its session by listing.
            let _ = reply.send(shown.ok_or(CreateError::NotHere(id)));
        }
        for (reply, id, answer) in ends {
            // Of one that was taken from here meanwhile nobody knows whether it ends.
            let is_moved = answer.is_ok() && !self.sessions.contains_key(&id);
            let _ = reply.send(if is_moved {
                Err(EndError::Unknown)
            } else {
                answer
            });
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
        replies: &mut Vec<Created>,
    ) {
        match then {
            Then::Nothing => {}
            Then::Created(new) => self.created(applied, *new, touched, replies),
            Then::Claimed {
                session,
                claim,
                order,
                placement,
            } => match applied {
                Applied::Ordered { command } => {
                    let order = OutboxRow { command, ..*order };
                    self.claimed(&session, (claim, *placement), order, now);
                    touched.insert(session);
                }
                Applied::Done
                | Applied::OrderedAll { .. }
                | Applied::Replayed { .. }
                | Applied::AppVersion { .. }
                | Applied::KeyReused
                | Applied::QuotaUsedUp
                | Applied::TenantQuotaUsedUp
                | Applied::BeyondTenant(_)
                | Applied::NameTaken
                | Applied::RaceLost
                | Applied::TicketSpent
                | Applied::Removed { .. }
                | Applied::Missing
                | Applied::Skipped => {
                    if applied == Applied::RaceLost {
                        crate::metrics::race_lost();
                        tracing::debug!(session_id = %session, node_id = %claim.node, "race lost");
                    }
                    self.read_back(&claim.node).await;
                    if self.has_volumes(&session) || has_storage(&order) {
                        self.read_volumes().await;
                    }
                    self.lost_its_claim(&session, now).await;
                    touched.insert(session);
                }
            },
            Then::ClaimedTogether(claimed) => {
                self.claimed_together(applied, *claimed, now, touched).await;
            }
            Then::Readmitted(readmission) => {
                self.readmitted(&applied, *readmission, now, touched).await;
            }
            Then::Ordered(order) => {
                if let Applied::Ordered { command } = applied {
                    self.give(OutboxRow { command, ..*order }, now);
                }
            }
            Then::ReadBack(node) => match applied {
                Applied::RaceLost => drop(self.let_go(&HashSet::from([node]))),
                _ => self.read_back(&node).await,
            },
            Then::Held(node) => self.held(node, &applied, touched).await,
            Then::Given { session, to, node } => {
                let is_given = applied == Applied::Done;
                self.given(&session, (to, node), is_given, now, replies)
                    .await;
                touched.insert(session);
            }
            Then::Look => self.look().await,
            Then::Seized(broker) => {
                if applied == Applied::Done {
                    self.seized(&broker).await;
                }
            }
            Then::VolumesNoted(seen) => {
                if applied == Applied::Done {
                    self.volumes_noted(&seen);
                }
            }
            Then::VolumeDeleted { volume, reply } => {
                self.volume_deleted(&applied, &volume, reply).await;
            }
            Then::Decided(decision) => self.decided(&applied, *decision, now),
        }
    }

    /// A session is new, or why it is not.
    fn created(
        &mut self,
        applied: Applied,
        New {
            entry,
            reply,
            refused,
        }: New,
        touched: &mut BTreeSet<SessionId>,
        replies: &mut Vec<Created>,
    ) {
        let refusal = match applied {
            Applied::Replayed { session } => {
                replies.push((reply, session));
                return;
            }
            Applied::KeyReused => CreateError::KeyReused,
            Applied::QuotaUsedUp => CreateError::Quota,
            Applied::TenantQuotaUsedUp => CreateError::TenantQuota,
            Applied::BeyondTenant(beyond) => CreateError::BeyondTenant(beyond),
            Applied::Done
            | Applied::Ordered { .. }
            | Applied::OrderedAll { .. }
            | Applied::AppVersion { .. }
            | Applied::RaceLost
            | Applied::TicketSpent
            | Applied::Removed { .. }
            | Applied::Missing
            | Applied::NameTaken
            | Applied::Skipped => {
                let id = entry.row.id.clone();
                replies.push((reply, id.clone()));
                touched.insert(id.clone());
                self.add_new(id, entry);
                return;
            }
        };
        let why = match refusal {
            CreateError::KeyReused => refusal,
            _ => refused.unwrap_or(refusal),
        };
        let _ = reply.send(Err(why));
    }

    pub(super) fn add_new(&mut self, id: SessionId, entry: Entry) {
        crate::metrics::session_created();
        tracing::info!(session_id = %id, app = entry.row.name(), "session created");
        self.enqueue(&entry.row);
        self.directory.show(id.clone(), entry.for_readers());
        self.sessions.insert(id.clone(), Box::new(entry));
        self.set_deadline(&id);
    }

    /// Its claim, or its giving, came to nothing: it is next again, if it waits and is this broker's at all. That
    /// it was given to this broker may be lost, with nothing that this broker wrote; and whoever believed to hold
    /// it may have ended it.
    pub(super) async fn lost_its_claim(&mut self, id: &SessionId, now: MonoTime) {
        if self.sharing.is_none() {
            self.requeue(id, now);
            return;
        }
        match self.ledger.session(id.clone()).await {
            Ok(Some((row, holder))) if self.is_me(&holder) => match row.phase {
                Phase::Queued => self.requeue(id, now),
                Phase::Ended { .. } => self.found_ended(row, now),
                // What waits here holds a claim there. No broker does that to another one.
                Phase::Placing { .. }
                | Phase::Starting { .. }
                | Phase::Ready { .. }
                | Phase::Playing { .. }
                | Phase::Detached { .. }
                | Phase::Ending { .. } => {
                    let text = format!("{id} waits, and holds a claim");
                    self.doubt = Some(StoreError::Corrupt(text));
                }
            },
            Ok(_) => self.drop_session(id),
            // The next try finds out.
            Err(_) => self.requeue(id, now),
        }
    }

    /// A session that waits is over in the ledger: whoever watches it is told so.
    fn found_ended(&mut self, row: SessionRow, now: MonoTime) {
        self.queue.remove(&row.id);
        let former = self.forget_entry(&row.id);
        let former = former.map(|entry| (row.id.clone(), entry));
        if let Some((id, entry)) = &former
            && let Some(at) = entry.deadline
        {
            self.deadlines.remove(&(at, id.clone()));
        }
        let loaded = Loaded {
            sessions: vec![row],
            ..Loaded::default()
        };
        self.take_in(loaded, &mut former.into_iter().collect(), now);
    }

    /// It is next again.
    pub(super) fn requeue(&mut self, id: &SessionId, now: MonoTime) {
        let entry = self.sessions.get(id);
        if let Some(phase) = entry.map(|e| e.life.phase().clone()) {
            self.note(id, &phase, now);
        }
    }

    /// The ledger holds the claim.
    pub(super) fn claimed(
        &mut self,
        id: &SessionId,
        (claim, placement): (Claim, Placement),
        order: OutboxRow,
        now: MonoTime,
    ) {
        if let Some(entry) = self.sessions.get_mut(id) {
            entry.placed_at = now;
            entry.placement = placement;
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
    pub(super) fn give(&mut self, order: OutboxRow, now: MonoTime) {
        let node = order.node.clone();
        if order.is_start() && self.standings.of(&node).reclaim.is_some() {
            self.reclaims.insert(node.clone());
        }
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

    /// Tells a node that attached who may still watch what it runs.
    fn show_links(&self, node: &NodeId) {
        let sessions = self.fleet.holders(node);
        if let Some(stream) = self.fleet.online(node).filter(|_| !sessions.is_empty()) {
            self.links.show(sessions, stream);
        }
    }

    /// Tells a node which images it is to have.
    fn show_images(&self, node: &NodeId) {
        if let (Some(stream), Some(known)) = (self.fleet.online(node), self.fleet.get(node)) {
            let (region, gpu, takes_jobs) = wants(&known.row);
            let wanted = self.apps.images_for(&region, gpu, takes_jobs);
            stream.send(ToEdge::Images(wanted));
        }
    }

    /// Tells every node, if apps have changed since.
    pub(super) fn show_new_images(&mut self) {
        if self.images_shown == self.apps.revision() {
            return;
        }
        self.images_shown = self.apps.revision();
        let nodes: Vec<NodeId> = self.fleet.iter().map(|node| node.row.id.clone()).collect();
        for node in nodes {
            self.show_images(&node);
        }
    }

    /// Takes the node as the ledger has it, if it is still held here.
    pub(super) async fn read_back(&mut self, node: &NodeId) {
        let Some(before) = self.fleet.get(node).map(|known| wants(&known.row)) else {
            return;
        };
        match self.ledger.node(node.clone()).await {
            Ok(Some(row)) => {
                let now = self.clock.now();
                let is_other = wants(&row) != before;
                self.fleet.set_row(row, now);
                // A new node says what it is only after it was told what to have.
                if is_other {
                    self.show_images(node);
                }
            }
            // Another broker has it: the next transaction says so.
            Ok(None) => tracing::info!(node_id = %node, "the node is not held here any more"),
            // Not here: the turn's other changes are still being acted on.
            Err(error) => self.doubt = Some(error),
        }
    }
}

/// What decides on the images that a node is to have.
fn wants(row: &NodeRow) -> (String, GpuClass, bool) {
    let inventory = &row.inventory;
    (row.region.clone(), inventory.gpu, inventory.jobs.is_some())
}

fn has_storage(order: &OutboxRow) -> bool {
    matches!(&order.order, Order::Start(start) if start.storage.is_some())
}

fn command(order: &OutboxRow) -> ToEdge {
    ToEdge::Command {
        command: U64(order.command),
        order: order.order.clone(),
    }
}
