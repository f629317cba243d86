//! The broker's part: who is placed where, who waits, and what its sessions' lives bring about. It
//! does what session-broker does, by the same crates, in one place: see `sessions/trying.rs` there.

use super::clock::{Happens, SessionNo, SessionStep};
use super::node::Takes;
use super::region::{Region, Sound};
use nearlight_placement::{Decision, Opening, Rejection, Why, decide, opening};
use nearlight_protocol::api::EndReason;
use nearlight_session::lifecycle::{Effect, Event, Outcome, Phase};
use nearlight_session::{Claim, Epoch};
use rand::Rng;
use std::collections::BTreeMap;

/// Sessions tried in one turn.
const TRIED_MAX: usize = 64;
/// Between two turns while somebody waits, microseconds. A broker's turns are shorter, and find the same.
const TURN_US: u64 = 250_000;

impl Region {
    /// A session is new: placed at once if nobody waits, refused if nobody can ever run it.
    pub(crate) fn take_new(&mut self, number: SessionNo) -> Sound {
        let broker = self.broker.as_mut().expect("asked before");
        if broker.queue.is_empty() {
            let Some(rejection) = self.place(number)? else {
                return Ok(());
            };
            if !rejection.passes() {
                return self.refuse(number, &rejection);
            }
        }
        self.enqueue(number);
        Ok(())
    }

    fn refuse(&mut self, number: SessionNo, rejection: &Rejection) -> Sound {
        let wants = self.sessions[&number].visit.wants;
        let reason = rejection.nearest().ok_or("a refusal without a reason")?;
        let nodes: u32 = rejection.reasons.values().sum();
        let index = &self.broker.as_ref().expect("it has just decided").index;
        if nodes as usize != index.len() {
            return Err(format!(
                "a rejection counts {nodes} of {} nodes",
                index.len()
            ));
        }
        self.tally.refuse(wants, reason.label());
        let reason = EndReason::Internal;
        self.drive(number, Event::EndRequested { reason })
    }

    fn enqueue(&mut self, number: SessionNo) {
        let one = &self.sessions[&number];
        let (id, user, came_at) = (one.id.clone(), one.user.clone(), one.came_at);
        let Some(broker) = &mut self.broker else {
            return;
        };
        broker.waiting.insert(id.clone(), number);
        broker.queue.push(id, user, came_at);
        self.join_line(number);
        self.plan_turn(TURN_US);
    }

    /// Whoever waits is looked at again soon.
    pub(crate) fn plan_turn(&mut self, in_us: u64) {
        let Some(broker) = &mut self.broker else {
            return;
        };
        let at = self.now.0 + in_us;
        if broker.queue.is_empty() || broker.turn_at.is_some_and(|planned| planned <= at) {
            return;
        }
        broker.turn_at = Some(at);
        self.agenda.at(at, Happens::Turn);
    }

    /// Offers what has opened to those who wait, and tries who is due against the whole fleet.
    pub(crate) fn turn(&mut self) -> Sound {
        let Some(broker) = &mut self.broker else {
            return Ok(());
        };
        if broker.turn_at != Some(self.now.0) {
            return Ok(());
        }
        broker.turn_at = None;
        self.tally.queue_max = self.tally.queue_max.max(broker.queue.len());
        self.offer_openings()?;
        let broker = self.broker.as_mut().expect("it is its turn");
        for id in broker.queue.due(self.now, TRIED_MAX) {
            let number = self.broker.as_ref().expect("it is its turn").waiting[&id];
            self.try_one(number)?;
        }
        let broker = self.broker.as_ref().expect("it is its turn");
        if let Some(due) = broker.queue.next_due() {
            self.plan_turn(due.micros_since(self.now).max(TURN_US));
        }
        Ok(())
    }

    /// Tries one against the whole fleet.
    fn try_one(&mut self, number: SessionNo) -> Sound {
        let Some(rejection) = self.place(number)? else {
            return Ok(());
        };
        if !rejection.passes() {
            return self.refuse(number, &rejection);
        }
        let one = &self.sessions[&number];
        let until = rejection.holds_until_ms();
        let until = until.map(|ms| one.came_at.plus_millis(ms));
        let broker = self.broker.as_mut().expect("it is its turn");
        broker.queue.in_vain(&one.id, until);
        Ok(())
    }

    /// Each node that has improved goes to whom it suits, next first.
    fn offer_openings(&mut self) -> Sound {
        let broker = self.broker.as_mut().expect("it is its turn");
        let openings = std::mem::take(&mut broker.openings);
        if openings.is_empty() {
            return Ok(());
        }
        let order: Vec<SessionNo> = broker.queue.iter().map(|id| broker.waiting[id]).collect();
        for node in openings {
            for number in &order {
                if self.nodes[node].state().slots_free == 0 {
                    break;
                }
                let Some(one) = self.sessions.get_mut(number) else {
                    continue;
                };
                if one.node.is_some() {
                    continue;
                }
                one.visit.request.waited_ms = self.now.millis_since(one.came_at);
                let request = &one.visit.request;
                match opening(self.nodes[node].view(), request, &self.policy) {
                    Opening::No => {}
                    Opening::TooFar => {
                        let broker = self.broker.as_mut().expect("it is its turn");
                        broker.queue.try_again(&one.id);
                    }
                    Opening::Suits(_) => self.try_one(*number)?,
                }
            }
        }
        Ok(())
    }

    /// Claims a slot for a session, or says why not.
    fn place(&mut self, number: SessionNo) -> Result<Option<Rejection>, String> {
        let one = self.sessions.get_mut(&number).expect("it waits");
        let broker = self.broker.as_mut().expect("only a broker places");
        one.visit.request.waited_ms = self.now.millis_since(one.came_at);
        let rng = &mut self.rng;
        let mut chance = |n: usize| rng.random_range(0..n);
        self.tally.decisions += 1;
        let request = &one.visit.request;
        match decide(&broker.index, request, &self.policy, &mut chance) {
            Decision::Place { node, why, step } => {
                // It may have been let go farther than its waiting alone allows.
                let from_ms = step.map_or(0, |step| step.from_ms);
                one.visit.request.waited_ms = one.visit.request.waited_ms.max(from_ms);
                let node = self.by_id[&node];
                self.oracle(number, node, &why)?;
                self.claim(number, node, &why)?;
                Ok(None)
            }
            Decision::Reject(rejection) => Ok(Some(rejection)),
        }
    }

    fn claim(&mut self, number: SessionNo, node: usize, why: &Why) -> Sound {
        let one = self.sessions.get_mut(&number).expect("it waits");
        let request = &one.visit.request;
        let takes = Takes {
            cpu_milli: request.cpu_milli + self.nodes[node].view().encode_cpu_milli,
            mem_mib: request.mem_mib,
            kbps: request.kbps,
        };
        let claim = self.nodes[node].claim(number, takes)?;
        one.node = Some((node, takes));
        one.placed_at = Some(self.now);
        if !one.placed_before {
            one.placed_before = true;
            self.tally.waited(one, self.now);
        }
        self.show(node);
        self.tally.placed(&self.nodes[node]);
        self.tally.rtt_ms.extend(why.rtt_ms);
        let epoch = claim.epoch;
        self.drive(number, Event::Claimed(claim))?;
        let us = self.between_s(0.02, 0.2);
        self.session_in(us, number, epoch, SessionStep::Ordered);
        Ok(())
    }

    /// The index learns what became of a node.
    pub(crate) fn show(&mut self, at: usize) {
        if let Some(broker) = &mut self.broker {
            let node = &mut self.nodes[at];
            self.tally.updates += 1;
            broker.index.set_state(&node.view().id, node.state());
            if !broker.queue.is_empty() && node.state().has_improved_on(&node.shown) {
                broker.openings.insert(at);
            }
            node.shown = node.state().clone();
        }
        self.plan_turn(TURN_US);
    }

    /// A report of a session's node: heard if there is a broker, and a link.
    pub(crate) fn report(&mut self, session: SessionNo, at: usize, event: Event) -> Sound {
        if self.nodes[at].is_plugged && self.nodes[at].is_attached() && self.broker.is_some() {
            self.drive(session, event)
        } else {
            Ok(())
        }
    }

    /// Moves a session's life on, and does what follows.
    pub(crate) fn drive(&mut self, number: SessionNo, event: Event) -> Sound {
        let Some(one) = self.sessions.get_mut(&number) else {
            return Ok(());
        };
        let was_queued = matches!(one.life.phase(), Phase::Queued);
        match one.life.handle(self.now, event) {
            Outcome::Applied(effects) => {
                for effect in effects {
                    self.carry_out(number, effect)?;
                }
            }
            Outcome::Ignored(_) => return Ok(()),
            Outcome::Denied(denied) => {
                let phase = self.sessions[&number].life.phase();
                return Err(format!("session {number} in {phase:?}: {denied}"));
            }
        }
        self.note(number, was_queued)
    }

    fn carry_out(&mut self, number: SessionNo, effect: Effect) -> Sound {
        match effect {
            Effect::Stop { claim, .. } => {
                let us = self.between_s(0.3, 2.5);
                let at = self.by_id[&claim.node];
                // Without a link the order stays in the outbox, and the node's return brings it.
                if self.nodes[at].is_attached() && self.nodes[at].is_plugged {
                    self.session_in(us, number, claim.epoch, SessionStep::Stopped);
                }
            }
            Effect::Release { claim, .. } => self.release(number, &claim)?,
            Effect::UsageBegins { .. }
            | Effect::Moved { .. }
            | Effect::Warn { .. }
            | Effect::Reprieve { .. }
            | Effect::Publish
            | Effect::Show => {}
        }
        Ok(())
    }

    fn release(&mut self, number: SessionNo, claim: &Claim) -> Sound {
        let at = self.by_id[&claim.node];
        self.nodes[at].release(number, claim)?;
        let one = self.sessions.get_mut(&number).expect("it held a slot");
        one.node = None;
        let since = one.placed_at.unwrap_or(self.now);
        let held_us = self.now.micros_since(since);
        self.tally.released(&self.nodes[at], held_us);
        let state = &mut self.nodes[at].machine.view.state;
        state.rank = state.rank.map(|rank| rank.saturating_add(16).min(1_000));
        self.show(at);
        Ok(())
    }

    /// Keeps queue and deadlines in step with a session's phase.
    fn note(&mut self, number: SessionNo, was_queued: bool) -> Sound {
        let one = self.sessions.get_mut(&number).expect("it was driven");
        match one.life.phase() {
            Phase::Queued if !was_queued => {
                let (id, user) = (one.id.clone(), one.user.clone());
                if let Some(broker) = &mut self.broker {
                    broker.waiting.insert(id.clone(), number);
                    broker.queue.push_front(id, user);
                }
                self.join_line(number);
                self.plan_turn(TURN_US);
                if self.sessions[&number].left {
                    let reason = EndReason::PlayerEnded;
                    return self.drive(number, Event::EndRequested { reason });
                }
            }
            Phase::Queued => {}
            Phase::Ended { reason, .. } => {
                let reason = *reason;
                self.dequeue(number);
                let one = self.sessions.remove(&number).expect("it was driven");
                self.remember_duration(&one);
                self.tally.ended(&one, reason, self.now);
                return Ok(());
            }
            Phase::Placing { .. }
            | Phase::Starting { .. }
            | Phase::Ready { .. }
            | Phase::Playing { .. }
            | Phase::Detached { .. }
            | Phase::Ending { .. } => self.dequeue(number),
        }
        self.plan_deadline(number);
        Ok(())
    }

    fn dequeue(&mut self, number: SessionNo) {
        if let Some(broker) = &mut self.broker {
            let one = &self.sessions[&number];
            if broker.waiting.remove(&one.id).is_some() {
                broker.queue.remove(&one.id);
                broker.lines.leave(&one.id, self.now);
            }
        }
    }

    /// One look at a session's deadline is always planned, at its time or before.
    pub(crate) fn plan_deadline(&mut self, number: SessionNo) {
        let one = self.sessions.get_mut(&number).expect("it is there");
        let Some(due) = one.life.next_deadline() else {
            return;
        };
        if one.deadline.is_none_or(|planned| due < planned) {
            one.deadline = Some(due);
            let us = due.micros_since(self.now);
            self.session_in(us, number, Epoch(0), SessionStep::Deadline);
        }
    }

    pub(crate) fn deadline(&mut self, number: SessionNo) -> Sound {
        let one = self.sessions.get_mut(&number).expect("looked up before");
        if one.deadline.is_none_or(|planned| planned > self.now) || self.broker.is_none() {
            return Ok(());
        }
        one.deadline = None;
        if one.life.next_deadline().is_some_and(|due| due <= self.now) {
            self.drive(number, Event::Tick)?;
        }
        if self.sessions.contains_key(&number) {
            self.plan_deadline(number);
        }
        Ok(())
    }

    /// The claim of a session under an epoch, and its node.
    pub(crate) fn claim_of(&self, session: SessionNo, epoch: Epoch) -> Option<(usize, Claim)> {
        let one = &self.sessions[&session];
        let held = one.life.held().filter(|held| held.claim.epoch == epoch)?;
        Some((self.by_id[&held.claim.node], held.claim.clone()))
    }

    /// The node that really runs it under an epoch.
    pub(crate) fn runs_at(&mut self, session: SessionNo, epoch: Epoch) -> Option<usize> {
        let (at, _) = self.sessions[&session].node?;
        self.nodes[at].running(session, epoch).map(|_| at)
    }

    pub(crate) fn keep_house(&mut self) {
        let Some(broker) = &mut self.broker else {
            return;
        };
        let mut counts = vec![BTreeMap::<usize, u32>::new(); broker.held.len()];
        for one in self.sessions.values() {
            if let Some((at, _)) = one.node {
                let operator = self.nodes[at].machine.operator;
                *counts[one.visit.tenant].entry(operator).or_default() += 1;
            }
        }
        for (held, counts) in broker.held.iter_mut().zip(counts) {
            *held = shares(&counts);
        }
    }
}

/// Operators with a fiftieth of a tenant's sessions or more, and the others as one that nobody is.
fn shares(counts: &BTreeMap<usize, u32>) -> BTreeMap<String, u32> {
    let all: u32 = counts.values().sum();
    let large = counts.iter().filter(|(_, n)| **n * 50 >= all);
    let named = large.map(|(operator, n)| (format!("operator-{operator}"), *n));
    let mut held: BTreeMap<String, u32> = named.collect();
    let rest = all - held.values().sum::<u32>();
    if rest > 0 {
        held.insert("the others".to_owned(), rest);
    }
    held
}
