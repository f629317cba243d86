//! Giving slots to sessions: the queue, the decision, the claim.

use super::driving::placing;
use super::entry::Place;
use super::owner::Owner;
use super::request_of;
use super::turn::{Then, Turn};
use crate::ledger::{Op, OutboxRow, Reserve, SessionRow};
use crate::time::unix_ms;
use nearlight_placement::{Decision, Policy, Reason, decide};
use nearlight_protocol::api::WaitsFor;
use nearlight_protocol::control::{Order, Start};
use nearlight_protocol::grant::{Grant, ISSUER};
use nearlight_protocol::id::SessionId;
use nearlight_protocol::unit::MonoTime;
use nearlight_session::Claim;
use nearlight_session::lifecycle::Phase;
use nearlight_session::queue::{Occupied, eta_s};
use std::collections::BTreeSet;

/// Sessions tried in one turn. Past them the queue is so long that the next turn is soon enough.
const TRIED_MAX: usize = 64;
/// Ended sessions from which the typical duration is computed, at least.
const DURATIONS_MIN: usize = 5;

impl Owner {
    /// Tries those who wait, next first, unless nothing changed since it was last in vain.
    pub(super) fn place_waiting(&mut self, now: MonoTime, turn: &mut Turn) {
        if self.queue.is_empty() {
            return;
        }
        let state = (self.fleet.snapshot().revision, self.queue.revision());
        if self.placed_in_vain == Some(state) {
            return;
        }
        for id in self.queue.order().into_iter().take(TRIED_MAX) {
            let Some(entry) = self.sessions.get(&id) else {
                continue;
            };
            let row = entry.row.clone();
            match self.place(&row, false, now, turn) {
                // Its place is given up with the claim; until then it must not be tried again.
                Ok(()) => self.queue.remove(&id),
                Err(lack) => self.tell_lack(&id, lack, turn),
            }
        }
        let revision = self.fleet.snapshot().revision;
        self.placed_in_vain = Some((revision, self.queue.revision()));
    }

    /// Claims a slot for a session in this turn, or says what it waits for.
    pub(super) fn place(
        &mut self,
        row: &SessionRow,
        with_create: bool,
        now: MonoTime,
        turn: &mut Turn,
    ) -> Result<(), WaitsFor> {
        let request = request_of(&row.app);
        let mut chance = |n: usize| rand::random_range(0..n);
        let decision = decide(
            self.fleet.snapshot(),
            &request,
            &Policy::default(),
            &mut chance,
        );
        let (node, slot) = match decision {
            Decision::Place { node, slot, why } => {
                tracing::debug!(session_id = %row.id, node_id = %node, ?why, "placed");
                (node, slot)
            }
            Decision::Reject(rejection) => {
                crate::metrics::place_rejected(&rejection);
                tracing::debug!(session_id = %row.id, reasons = ?rejection.reasons, "not placed");
                return Err(lack(rejection.nearest()));
            }
        };
        let Some(epoch) = self.fleet.next_epoch(&node, &slot) else {
            tracing::error!(slot_id = %slot, "the slot's epochs are used up");
            return Err(WaitsFor::Slot);
        };
        let claim = Claim { node, slot, epoch };
        let Some((held, capacity_rev)) = self.fleet.take(&row.id, &claim, &request, now) else {
            return Err(WaitsFor::Slot);
        };
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
            epoch,
            order,
        };
        let then = Then::Claimed {
            session: row.id.clone(),
            claim,
            order: Box::new(outbox),
        };
        turn.push(Op::Reserve(Box::new(reserve)), then);
        Ok(())
    }

    fn tell_lack(&mut self, id: &SessionId, lack: WaitsFor, turn: &mut Turn) {
        if let Some(entry) = self.sessions.get_mut(id)
            && entry.place.waits_for != Some(lack)
        {
            entry.place.waits_for = Some(lack);
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

/// What the node lacks that comes closest to taking a session.
const fn lack(nearest: Option<Reason>) -> WaitsFor {
    match nearest {
        Some(Reason::SlotsTaken) => WaitsFor::Slot,
        Some(Reason::CpuTaken) => WaitsFor::Cpu,
        Some(Reason::MemoryTaken) => WaitsFor::Memory,
        Some(Reason::UplinkTaken) => WaitsFor::Uplink,
        Some(
            Reason::GpuClass
            | Reason::NoEncoder
            | Reason::TooSmall
            | Reason::Offline
            | Reason::Draining
            | Reason::OutboxFull,
        )
        | None => WaitsFor::Node,
    }
}
