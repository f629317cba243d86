//! The books, compared: what must hold at any moment, and what must hold at the end.

use super::region::{Region, Sound};
use nearlight_placement::{Why, check};
use nearlight_session::Occupant;
use nearlight_session::lifecycle::Phase;
use std::collections::HashMap;

/// One placement in so many is held against every node around.
const ASKED_EACH: u64 = 128;

impl Region {
    /// Slots, claims, sessions and what runs: each says the same of the others (I1, I2).
    pub(crate) fn audit(&self) -> Sound {
        let mut holders = HashMap::new();
        for node in &self.nodes {
            let mut fresh = node.state().clone();
            (fresh.slots_free, fresh.sessions) = (node.view().slots_total, 0);
            fresh.cpu_milli_free = node.view().cpu_milli_total;
            for slot in &node.slots {
                let Some((session, takes)) = slot.held_by else {
                    continue;
                };
                if let Some(other) = holders.insert(session, &slot.id) {
                    return Err(format!("session {session} holds {other} and {}", slot.id));
                }
                let claim = self.sessions.get(&session).and_then(|one| one.life.held());
                if claim.is_none_or(|h| h.claim.slot != slot.id || h.claim.epoch != slot.epoch) {
                    return Err(format!(
                        "{} is held by session {session}, which claims {claim:?}",
                        slot.id
                    ));
                }
                fresh.slots_free -= 1;
                fresh.sessions += 1;
                let left = fresh.cpu_milli_free.checked_sub(takes.cpu_milli);
                fresh.cpu_milli_free = left.ok_or("claims exceed a node's CPU")?;
            }
            let state = node.state();
            if (fresh.slots_free, fresh.sessions, fresh.cpu_milli_free)
                != (state.slots_free, state.sessions, state.cpu_milli_free)
            {
                return Err(format!(
                    "{} has {state:?}, and claims say {fresh:?}",
                    node.view().id
                ));
            }
            self.audit_edge(node)?;
        }
        let held = self
            .sessions
            .values()
            .filter(|one| one.life.held().is_some())
            .count();
        if held != holders.len() {
            return Err(format!("{held} sessions hold {} slots", holders.len()));
        }
        self.audit_broker()
    }

    fn audit_edge(&self, node: &super::node::Node) -> Sound {
        let mut slots: Vec<usize> = node.running.iter().map(|run| run.slot).collect();
        slots.sort_unstable();
        if slots.windows(2).any(|two| two[0] == two[1]) {
            return Err(format!("{} runs two sessions in one slot", node.view().id));
        }
        if !node.is_on && !node.running.is_empty() {
            return Err(format!("{} is off and runs sessions", node.view().id));
        }
        let live = node
            .journal
            .entries()
            .filter(|e| matches!(e.occupant, Occupant::Live(_)));
        if live.count() != node.running.len() {
            return Err(format!("{}'s journal is not what it runs", node.view().id));
        }
        Ok(())
    }

    fn audit_broker(&self) -> Sound {
        let Some(broker) = &self.broker else {
            return Ok(());
        };
        let queued = |one: &&super::session::Session| matches!(one.life.phase(), Phase::Queued);
        let queued = self.sessions.values().filter(queued).count();
        if queued != broker.queue.len() || queued != broker.waiting.len() {
            return Err(format!(
                "{queued} sessions wait, and {} stand in the queue",
                broker.queue.len()
            ));
        }
        if broker.index.len() != self.nodes.len() {
            return Err("the index lost a node".to_owned());
        }
        Ok(())
    }

    /// After the last visit everything has ended, and nothing is held (I4).
    pub(crate) fn all_over(&self) -> Sound {
        if let Some((number, one)) = self.sessions.iter().next() {
            let (left, phase) = (self.sessions.len(), one.life.phase());
            return Err(format!(
                "{left} sessions never ended, such as {number} in {phase:?}"
            ));
        }
        let (t, ended) = (&self.tally, self.tally.ended_count());
        let refused: u64 = t.refused.values().sum();
        if t.came != ended + refused {
            return Err(format!(
                "{} came, {ended} ended and {refused} were refused",
                t.came
            ));
        }
        Ok(())
    }

    /// Holds some placements against a check of every node: the node passes, and how much nearer
    /// another one was.
    pub(crate) fn oracle(&mut self, number: u32, node: usize, why: &Why) -> Sound {
        if !self.tally.decisions.is_multiple_of(ASKED_EACH) {
            return Ok(());
        }
        let request = &self.sessions[&number].visit.request;
        let view = self.nodes[node].view();
        match check(view, request, &self.policy) {
            Ok(found) if found == *why => {}
            other => {
                return Err(format!(
                    "session {number} on {}: {why:?}, checked: {other:?}",
                    view.id
                ));
            }
        }
        let able = |at: &usize| check(self.nodes[*at].view(), request, &self.policy).is_ok();
        let metros = self
            .by_metro
            .iter()
            .enumerate()
            .filter_map(|(metro, nodes)| {
                let ms = request.rtts.to(&self.world.metros[metro].name)?;
                (ms <= why.rtt_ms.unwrap_or(ms)).then_some((ms, nodes))
            });
        let mut metros: Vec<(u32, &Vec<usize>)> = metros.collect();
        metros.sort_unstable_by_key(|(ms, _)| *ms);
        let mut nearest = metros.iter().filter(|(_, nodes)| nodes.iter().any(&able));
        let best = nearest.next().map_or(0, |(ms, _)| *ms);
        let regret = why.rtt_ms.unwrap_or(best).saturating_sub(best);
        self.tally.regret_ms.push(regret);
        Ok(())
    }
}
