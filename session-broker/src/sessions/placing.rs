//! Giving slots to sessions: the queue, the decision, the claim.

use super::driving::placing;
use super::entry::Place;
use super::owner::Owner;
use super::turn::{Then, Turn};
use super::{Placement, latency_step, request_for};
use crate::ledger::{BrokerId, Op, OutboxRow, Reserve, SessionRow};
use crate::time::unix_ms;
use nearlight_placement::{
    Decision, FleetIndex, Policy, Reason, Rejection, SessionRequest, Step, decide,
};
use nearlight_protocol::api::WaitsFor;
use nearlight_protocol::control::{Order, Start};
use nearlight_protocol::grant::{Grant, ISSUER};
use nearlight_protocol::id::{NodeId, SessionId};
use nearlight_protocol::region::PlacedIn;
use nearlight_protocol::unit::MonoTime;
use nearlight_session::Claim;
use nearlight_session::lifecycle::Phase;
use nearlight_session::queue::{Occupied, eta_s};
use std::collections::BTreeSet;

/// Sessions tried in one turn. Past them the queue is so long that the next turn is soon enough.
const TRIED_MAX: usize = 64;
/// Ended sessions from which the typical duration is computed, at least.
const DURATIONS_MIN: usize = 5;

/// What placement saw in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InVain {
    /// The revisions of index and queue. While both stay, so does the answer...
    index: u64,
    queue: u64,
    /// ...but for somebody's next latency step, which begins then.
    pub(super) until: Option<MonoTime>,
}

/// Why a session was not placed.
#[derive(Debug)]
pub(super) enum NotPlaced {
    /// No node can run it now.
    Rejected(Rejection),
    /// A node can, but none of its slots could be claimed.
    NoSlot,
    /// A node of another broker can.
    Elsewhere {
        /// Whose.
        holder: BrokerId,
        /// Which.
        node: NodeId,
    },
}

impl Owner {
    /// Tries those who wait, next first, unless nothing changed since it was last in vain.
    pub(super) fn place_waiting(&mut self, now: MonoTime, turn: &mut Turn) {
        if self.queue.is_empty() {
            self.placed_in_vain = None;
            return;
        }
        if self.is_in_vain(now) {
            return;
        }
        let mut until: Option<MonoTime> = None;
        for id in self.queue.order().into_iter().take(TRIED_MAX) {
            let Some(entry) = self.sessions.get(&id) else {
                continue;
            };
            let row = entry.row.clone();
            let hint = entry.hint.clone();
            let why = match self.place(&row, hint.as_ref(), false, now, turn) {
                // Its place is given up with the claim; until then it must not be tried again.
                Ok(()) => {
                    self.queue.remove(&id);
                    continue;
                }
                Err(why) => why,
            };
            let elsewhere = match &why {
                NotPlaced::Elsewhere { holder, node } => Some((holder.clone(), Some(node.clone()))),
                NotPlaced::Rejected(_) | NotPlaced::NoSlot => self.other_home(),
            };
            match elsewhere {
                Some((to, node)) => {
                    self.queue.remove(&id);
                    self.give_away(&row, to, node, turn);
                }
                None => {
                    let wider = changes_at(&row, &why);
                    until = until.into_iter().chain(wider).min();
                    self.tell_lack(&id, why, turn);
                }
            }
        }
        self.placed_in_vain = Some(InVain {
            index: self.fleet.index().revision(),
            queue: self.queue.revision(),
            until,
        });
    }

    fn is_in_vain(&self, now: MonoTime) -> bool {
        self.placed_in_vain.is_some_and(|vain| {
            vain.index == self.fleet.index().revision()
                && vain.queue == self.queue.revision()
                && vain.until.is_none_or(|until| now < until)
        })
    }

    /// Claims a slot for a session in this turn, or says why not.
    pub(super) fn place(
        &mut self,
        row: &SessionRow,
        hint: Option<&NodeId>,
        with_create: bool,
        now: MonoTime,
        turn: &mut Turn,
    ) -> Result<(), NotPlaced> {
        let (request, claim, placement) = self.choose(row, hint, now)?;
        let taken = self.fleet.take(&row.id, &claim, &request, now);
        let (held, capacity_rev) = taken.ok_or(NotPlaced::NoSlot)?;
        let order = self.start_order(row, &claim, now);
        let reserve = Reserve {
            session: row.id.clone(),
            with_create,
            claim: claim.clone(),
            cpu_milli: held.cpu_milli,
            mem_mib: held.mem_mib,
            kbps: held.kbps,
            capacity_rev,
            order: order.clone(),
            phase: placing(self.times.limits(&row.app.time), &claim, now),
            at: now,
        };
        let outbox = OutboxRow {
            command: 0,
            node: claim.node.clone(),
            session: row.id.clone(),
            epoch: claim.epoch,
            order,
        };
        let then = Then::Claimed {
            session: row.id.clone(),
            claim,
            order: Box::new(outbox),
            placement: Box::new(placement),
        };
        turn.push(Op::Reserve(Box::new(reserve)), then);
        Ok(())
    }

    /// Decides on a node, and takes one of its slots.
    fn choose(
        &self,
        row: &SessionRow,
        hint: Option<&NodeId>,
        now: MonoTime,
    ) -> Result<(SessionRequest, Claim, Placement), NotPlaced> {
        let request = request_for(row, now.millis_since(row.created_at));
        match self.decide(row, hint, &request) {
            Decision::Place { node, why, step } => {
                if let Some(holder) = self.fleet.holder(&node).cloned() {
                    return Err(NotPlaced::Elsewhere { holder, node });
                }
                let Some(claim) = self.fleet.free_slot(&node, now) else {
                    tracing::error!(node_id = %node, "no slot of the node can be claimed");
                    return Err(NotPlaced::NoSlot);
                };
                tracing::debug!(session_id = %row.id, node_id = %node, points = why.points(), ?why,
                    "placed");
                let placement = Placement::Placed {
                    placed_in: Box::new(self.placed_in(row, &node, why.rtt_ms, step)),
                    waited_ms: request.waited_ms,
                    node,
                    why,
                };
                Ok((request, claim, placement))
            }
            Decision::Reject(rejection) => {
                crate::metrics::place_rejected(&rejection);
                tracing::debug!(session_id = %row.id, reasons = ?rejection.reasons, "not placed");
                Err(NotPlaced::Rejected(rejection))
            }
        }
    }

    /// Which node is best; the one with the player's saves, if there is one.
    fn decide(
        &self,
        row: &SessionRow,
        hint: Option<&NodeId>,
        request: &SessionRequest,
    ) -> Decision {
        let mut chance = |n: usize| rand::random_range(0..n);
        if let Some(node) = &row.wish.save {
            let alone = self.fleet.alone(node);
            return decide(&alone, request, &self.policy_chosen, &mut chance);
        }
        // Whoever chose a region knows how far it is.
        let policy = match row.wish.region {
            Some(_) => &self.policy_chosen,
            None => &self.policy,
        };
        let hinted = hint.and_then(|node| self.hinted(node, (request, policy), &mut chance));
        hinted.unwrap_or_else(|| decide(self.fleet.index(), request, policy, &mut chance))
    }

    /// The decision for a node that another broker found, if that still has room.
    fn hinted(
        &self,
        node: &NodeId,
        (request, policy): (&SessionRequest, &Policy),
        chance: &mut impl FnMut(usize) -> usize,
    ) -> Option<Decision> {
        let mut alone = FleetIndex::default();
        alone.put(&self.fleet.get(node)?.view());
        let decision = decide(&alone, request, policy, chance);
        matches!(decision, Decision::Place { .. }).then_some(decision)
    }

    /// Where a session is placed, for its player.
    fn placed_in(
        &self,
        row: &SessionRow,
        node: &NodeId,
        rtt_ms: Option<u32>,
        step: Option<Step>,
    ) -> PlacedIn {
        let region = self.fleet.get(node).map(|known| known.row.region.clone());
        let region = region.unwrap_or_default();
        PlacedIn {
            chosen: row.wish.region.as_ref() == Some(&region),
            rtt_ms,
            rtt_from: rtt_ms.and_then(|_| row.wish.source(&region)),
            step: step.map(latency_step),
            region,
        }
    }

    fn tell_lack(&mut self, id: &SessionId, why: NotPlaced, turn: &mut Turn) {
        let Some(entry) = self.sessions.get_mut(id) else {
            return;
        };
        let (lack, placement) = match why {
            NotPlaced::Rejected(rejection) => {
                (lack(rejection.nearest()), Placement::Waits(rejection))
            }
            NotPlaced::NoSlot | NotPlaced::Elsewhere { .. } => (WaitsFor::Slot, Placement::Unknown),
        };
        if entry.place.waits_for != Some(lack) || entry.placement != placement {
            entry.place.waits_for = Some(lack);
            entry.placement = placement;
            turn.touched.insert(id.clone());
        }
    }

    fn start_order(&self, row: &SessionRow, claim: &Claim, now: MonoTime) -> Order {
        let grant = Grant {
            iss: ISSUER.to_owned(),
            session: row.id.clone(),
            node: claim.node.clone(),
            slot: claim.slot.clone(),
            epoch: claim.epoch.into(),
            user: row.user.clone(),
            iat_ms: unix_ms(now),
        };
        Order::Start(Box::new(Start {
            session: row.id.clone(),
            grant: self.signer.grant(&grant),
            app: row.app.clone(),
            display: row.display,
            keyboard_layout: row.keyboard_layout.clone(),
        }))
    }

    /// Tells those who wait where they stand.
    pub(super) fn tell_places(&mut self, now: MonoTime, touched: &mut BTreeSet<SessionId>) {
        self.told = self.queue.revision();
        if self.queue.is_empty() {
            return;
        }
        let occupied = self.occupied(now);
        let typical = self.typical_ms();
        for (i, id) in self.queue.order().into_iter().enumerate() {
            let position = u32::try_from(i + 1).unwrap_or(u32::MAX);
            let Some(entry) = self.sessions.get_mut(&id) else {
                continue;
            };
            let place = Place {
                position,
                eta_s: eta_s(position, &occupied, typical),
                waits_for: entry.place.waits_for,
            };
            if entry.place != place {
                entry.place = place;
                touched.insert(id);
            }
        }
    }

    fn occupied(&self, now: MonoTime) -> Vec<Occupied> {
        let with_slot = self.sessions.values().filter(|e| e.life.held().is_some());
        with_slot
            .map(|entry| {
                let certain = match entry.life.phase() {
                    Phase::Detached { .. } => entry.life.ends_at(),
                    Phase::Ending { .. } => Some(now),
                    Phase::Queued
                    | Phase::Placing { .. }
                    | Phase::Starting { .. }
                    | Phase::Ready { .. }
                    | Phase::Playing { .. }
                    | Phase::Ended { .. } => None,
                };
                Occupied {
                    age_ms: now.millis_since(entry.placed_at),
                    ends_in_ms: certain.map(|at| at.millis_since(now)),
                }
            })
            .collect()
    }

    fn typical_ms(&self) -> Option<u64> {
        if self.durations.len() < DURATIONS_MIN {
            return None;
        }
        let mut sorted: Vec<u64> = self.durations.iter().copied().collect();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied()
    }
}

/// When another answer is due though nothing changes.
fn changes_at(row: &SessionRow, why: &NotPlaced) -> Option<MonoTime> {
    match why {
        NotPlaced::Rejected(rejection) => {
            let after_ms = rejection.holds_until_ms()?;
            Some(row.created_at.plus_millis(after_ms))
        }
        NotPlaced::NoSlot | NotPlaced::Elsewhere { .. } => None,
    }
}

/// What the node lacks that comes closest to taking a session.
const fn lack(nearest: Option<Reason>) -> WaitsFor {
    match nearest {
        // Whatever has no receipts yet takes more once one of its sessions is over.
        Some(Reason::SlotsTaken | Reason::Unproven) => WaitsFor::Slot,
        Some(Reason::CpuTaken) => WaitsFor::Cpu,
        Some(Reason::MemoryTaken) => WaitsFor::Memory,
        Some(Reason::UplinkTaken) => WaitsFor::Uplink,
        Some(
            Reason::Region
            | Reason::OutOfReach
            | Reason::GpuClass
            | Reason::Vram
            | Reason::NoEncoder
            | Reason::Runtime
            | Reason::Trust
            | Reason::TooSmall
            | Reason::Price
            | Reason::ImageMissing
            | Reason::Offline
            | Reason::Draining
            | Reason::OutboxFull
            | Reason::TooFar,
        )
        | None => WaitsFor::Node,
    }
}
