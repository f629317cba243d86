//! Whom of those who wait to try, and when.
//!
//! A session is tried against the whole fleet when it comes, when the circle around it widens, and when
//! what it wants has changed. In between each node that has improved is offered to those who wait, next
//! first: so those who want what is not there hold up nobody. The nodes of other brokers are offered as
//! well, as their feeds tell of them.
//!
//! **Invariants.** A turn's work is bounded, and what is left over is the next turn's, at once. Nobody is
//! tried against the fleet before what has improved was offered to those in front.

use super::entry::Entry;
use super::owner::Owner;
use super::placing::{NotPlaced, with_volumes};
use super::turn::Turn;
use super::{request_for, request_for_job};
use crate::apps::LiveApp;
use crate::ledger::SessionRow;
use nearlight_placement::{NodeView, Opening, opening};
use nearlight_protocol::api::EndReason;
use nearlight_protocol::app::AppSpec;
use nearlight_protocol::id::{NodeId, SessionId};
use nearlight_protocol::unit::MonoTime;
use nearlight_protocol::work::Work;
use nearlight_session::lifecycle::Event;

/// Sessions that are tried against the whole fleet in one turn, and as many for what was offered.
const TRIED_MAX: usize = 64;
/// Pairs of an open node and a session that are looked at in one turn: a few milliseconds.
const OFFERED_MAX: usize = 32_768;
/// Those in front who are told anew, every few seconds, what they wait for.
const TOLD_ANEW_MAX: usize = 16;
/// When a session is tried again that lost what it was to get, milliseconds.
pub(super) const LOST_AGAIN_MS: u64 = 1000;

impl Owner {
    /// Offers nodes that have improved to those who wait, and tries who is due.
    pub(super) fn place_waiting(&mut self, now: MonoTime, turn: &mut Turn) {
        self.hold_room(now);
        if self.queue.is_empty() {
            self.fleet.forget_openings();
            return;
        }
        let revision = self.apps.revision();
        if self.tried_apps != revision {
            self.tried_apps = revision;
            self.queue.try_all();
        }
        self.offer_openings(now, turn);
        if self.fleet.has_openings() {
            return;
        }
        for id in self.queue.due(now, TRIED_MAX) {
            self.try_one(&id, now, turn);
        }
    }

    /// When those who wait are to be looked at next, though nothing happens.
    pub(super) fn next_try(&self) -> Option<MonoTime> {
        if self.fleet.has_openings() && !self.queue.is_empty() {
            return Some(MonoTime(0));
        }
        self.queue.next_due()
    }

    /// Lets those in front be tried again, so that what they are told they wait for is no old story.
    pub(super) fn tell_anew(&mut self) {
        let front: Vec<SessionId> = self.queue.iter().take(TOLD_ANEW_MAX).cloned().collect();
        for id in front {
            self.queue.try_again(&id);
        }
    }

    fn offer_openings(&mut self, now: MonoTime, turn: &mut Turn) {
        if !self.fleet.has_openings() {
            return;
        }
        let order = self.queue.order();
        let (mut offered, mut tries) = (0, TRIED_MAX);
        while offered < OFFERED_MAX
            && let Some(node) = self.fleet.next_opening()
        {
            offered += order.len();
            self.offer(&node, &order, &mut tries, now, turn);
            if tries == 0 {
                self.fleet.reopen(node);
                return;
            }
        }
    }

    /// Offers a node to those who wait, next first, until it is full or `tries` are used up.
    fn offer(
        &mut self,
        node: &NodeId,
        order: &[SessionId],
        tries: &mut usize,
        now: MonoTime,
        turn: &mut Turn,
    ) {
        let apps = self.apps.all();
        let mut seen = self.fleet.view(node);
        for id in order {
            let Some(view) = seen.as_ref().filter(|view| view.state.slots_free > 0) else {
                return;
            };
            let Some(entry) = self.sessions.get(id).filter(|_| self.queue.contains(id)) else {
                continue;
            };
            let live = entry.row.app().and_then(|app| apps.get(&app.id));
            match self.opening_for(entry, view, live, now) {
                Opening::No => {}
                // Unless it is tried soon anyhow: that somebody nearer is worth waiting for was decided
                // then, and holds until the circle widens.
                Opening::TooFar => self.queue.try_again(id),
                Opening::Suits(_) => {
                    self.try_one(id, now, turn);
                    *tries -= 1;
                    if *tries == 0 {
                        return;
                    }
                    seen = self.fleet.view(node);
                }
            }
        }
    }

    /// Whether somebody waits who could have a slot of this node, now or once the circle widens.
    pub(super) fn is_waited_for(&self, node: &NodeId, now: MonoTime) -> bool {
        let Some(view) = self.fleet.view(node) else {
            return false;
        };
        let apps = self.apps.all();
        self.queue.iter().any(|id| {
            let Some(entry) = self.sessions.get(id) else {
                return false;
            };
            let live = entry.row.app().and_then(|app| apps.get(&app.id));
            !matches!(self.opening_for(entry, &view, live, now), Opening::No)
        })
    }

    /// What a node is to a session that waits, with the version of its app that is live there.
    fn opening_for(
        &self,
        entry: &Entry,
        view: &NodeView,
        live: Option<&LiveApp>,
        now: MonoTime,
    ) -> Opening {
        let row = &entry.row;
        let waited_ms = now.millis_since(row.created_at);
        let app = match &row.work {
            Work::App(work) => &work.app,
            Work::Job(spec) => {
                let Ok(plan) = self.volume_plan(row) else {
                    return Opening::No;
                };
                if plan.on.as_ref().is_some_and(|(node, _)| *node != view.id) {
                    return Opening::No;
                }
                let request = request_for_job(
                    row,
                    spec,
                    self.price_cap(spec),
                    waited_ms,
                    self.apps.ahead(),
                );
                let mut request = with_volumes(request, &plan);
                request.refused = self.kept_off_one(&view.id, row, &request);
                request.held_against = self.held_against(row, &request);
                return opening(view, &request, &self.policy_chosen);
            }
        };
        let elsewhere = match (row.wish.node(), &row.wish.region) {
            (Some(node), _) => *node != view.id,
            (None, Some(region)) => *region != view.region,
            (None, None) => false,
        };
        let app: &AppSpec = live.map_or(app, |live| live.in_metro(&view.region));
        // Before its round trips are looked up: of a long queue most want something else.
        let lacks = app.needs.gpu > view.gpu
            || app.needs.vram_mib > view.vram_mib
            || app.needs.cpu_milli > view.state.cpu_milli_free
            || app.needs.mem_mib > view.state.mem_mib_free;
        if elsewhere || lacks {
            return Opening::No;
        }
        let policy = match row.wish.node() {
            Some(_) => &self.policy_chosen,
            None => self.policy_for(row),
        };
        let mut request = self.priced(row, request_for(row, app, waited_ms));
        request.refused = self.kept_off_one(&view.id, row, &request);
        request.held_against = self.held_against(row, &request);
        opening(view, &request, policy)
    }

    /// Tries one against the whole fleet.
    fn try_one(&mut self, id: &SessionId, now: MonoTime, turn: &mut Turn) {
        let Some(entry) = self.sessions.get(id) else {
            self.queue.remove(id);
            return;
        };
        let row = entry.row.clone();
        let hint = entry.hint.clone();
        if self.for_node(&row).is_none() {
            // A node had them and gave the session back, or another key sealed them.
            let reason = EndReason::Internal;
            self.drive(id, Event::EndRequested { reason }, now, turn);
            return;
        }
        let why = match self.place(row.clone(), hint.as_ref(), now, turn) {
            // Its place is given up with the claim; until then it must not be tried again.
            Ok(()) => {
                self.queue.remove(id);
                return;
            }
            // A probe never waits.
            Err(_) if row.wish.probed.is_some() => {
                self.queue.remove(id);
                let reason = EndReason::QueueTimeout;
                self.drive(id, Event::EndRequested { reason }, now, turn);
                return;
            }
            Err(why) => why,
        };
        let elsewhere = match &why {
            NotPlaced::Elsewhere { holder, node } => Some((holder.clone(), Some(node.clone()))),
            NotPlaced::Rejected(_)
            | NotPlaced::TooFew(_)
            | NotPlaced::Volume { .. }
            | NotPlaced::NoSlot => self.other_home(),
        };
        match elsewhere {
            Some((to, node)) => {
                self.queue.remove(id);
                self.give_away(&row, to, node, turn);
            }
            None => {
                self.queue.in_vain(id, changes_at(&row, &why, now));
                self.tell_lack(id, why, turn);
            }
        }
    }
}

/// When another answer is due though no node has improved.
fn changes_at(row: &SessionRow, why: &NotPlaced, now: MonoTime) -> Option<MonoTime> {
    match why {
        NotPlaced::Rejected(rejection) => {
            let after_ms = rejection.holds_until_ms()?;
            Some(row.created_at.plus_millis(after_ms))
        }
        NotPlaced::TooFew(_) => None,
        NotPlaced::NoSlot | NotPlaced::Volume { .. } | NotPlaced::Elsewhere { .. } => {
            Some(now.plus_millis(LOST_AGAIN_MS))
        }
    }
}
