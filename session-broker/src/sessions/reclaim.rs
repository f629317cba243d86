//! A node's capacity that its operator takes back, with notice: what runs on it is told, and ends then.
//!
//! The moment is a row of the ledger, of the node. What follows of it for a session is in the session's
//! [`nearlight_session::lifecycle`], and in memory alone: it is said again after a start, where another broker
//! takes the node over, and when the node attaches.
//!
//! **Invariants.** All replicas of a cluster end with the first of them. A job's owner gets one notice for each
//! moment, however often it is found.

use super::notices;
use super::owner::Owner;
use super::turn::{Then, Turn};
use crate::ledger::{Op, Reclaim};
use crate::time::unix_ms;
use nearlight_protocol::api::EndReason;
use nearlight_protocol::control::ToEdge;
use nearlight_protocol::id::{NodeId, SessionId};
use nearlight_protocol::unit::MonoTime;
use nearlight_protocol::webhook::{NoticeData, NoticeType};
use nearlight_session::lifecycle::{Event, Outcome};

impl Owner {
    /// Has everything on nodes that were decided about know until when it runs.
    pub(super) fn settle_reclaims(&mut self, now: MonoTime, turn: &mut Turn) {
        for node in std::mem::take(&mut self.reclaims) {
            for holder in self.fleet.holders(&node) {
                let all = self.with_its_cluster(&holder);
                let reclaim = self.reclaim_of(&all);
                for session in all {
                    self.settle_reclaim(&session, reclaim.as_ref(), now, turn);
                }
            }
        }
    }

    fn settle_reclaim(
        &mut self,
        id: &SessionId,
        reclaim: Option<&Reclaim>,
        now: MonoTime,
        turn: &mut Turn,
    ) {
        let until = reclaim.map(|reclaim| reclaim.until);
        let known = self.sessions.get(id).map(|entry| entry.life.reclaim_at());
        if known.is_none_or(|known| known == until) {
            return;
        }
        let outcome = self.drive_alone(id, Event::Reclaimed { until }, now, turn);
        if let (Some(Outcome::Applied(_)), Some(reclaim)) = (outcome, reclaim) {
            self.tell_owner(id, reclaim, now, turn);
        }
    }

    /// When the first node takes its capacity back of those that these sessions are on.
    fn reclaim_of(&self, all: &[SessionId]) -> Option<Reclaim> {
        let held = all
            .iter()
            .filter_map(|id| self.sessions.get(id)?.life.held());
        held.filter_map(|held| self.standings.of(&held.claim.node).reclaim)
            .min_by_key(|reclaim| reclaim.until)
    }

    /// Of a cluster, of its first replica alone.
    fn tell_owner(&self, id: &SessionId, reclaim: &Reclaim, now: MonoTime, turn: &mut Turn) {
        let Some(entry) = self.sessions.get(id).filter(|e| !e.row.is_member()) else {
            return;
        };
        let Some(epoch) = entry.life.held().map(|held| held.claim.epoch) else {
            return;
        };
        let ends_unix_ms = unix_ms(reclaim.until);
        tracing::info!(session_id = %id, ends_unix_ms, "its node's capacity is taken back");
        let data = NoticeData {
            reason: Some(EndReason::Preempted),
            detail: reclaim.reason.clone(),
            ends_unix_ms: Some(ends_unix_ms),
            ..NoticeData::default()
        };
        let Some(mut notice) = notices::of(&entry.row, NoticeType::Preempted, data, now) else {
            return;
        };
        // Found again, it is the same notice, and the ledger keeps it once.
        notice.id = format!("msg_preempted_{id}_{}_{ends_unix_ms}", epoch.0);
        turn.push(Op::Notify(Box::new(notice)), Then::Nothing);
    }

    /// Says again to a node that attached what ends by itself.
    pub(super) fn show_reclaim(&self, node: &NodeId, now: MonoTime) {
        let Some(stream) = self.fleet.online(node) else {
            return;
        };
        for session in self.fleet.holders(node) {
            let entry = self.sessions.get(&session);
            let Some(until) = entry.and_then(|entry| entry.life.reclaim_at()) else {
                continue;
            };
            let in_s = until.micros_since(now).div_ceil(1_000_000);
            stream.send(ToEdge::EndingSoon {
                session,
                reason: EndReason::Preempted,
                in_s: u32::try_from(in_s).unwrap_or(u32::MAX),
            });
        }
    }
}
