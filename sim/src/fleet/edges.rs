//! Nodes: how they come, go, crash, lose their network and come back; and the broker that dies.

use super::clock::{Happens, NodeStep, SessionNo, SessionStep};
use super::machines::Rhythm;
use super::node::Running;
use super::region::{Broker, HOUR_US, Region, SECOND_US, Sound};
use nearlight_protocol::api::EndReason;
use nearlight_session::lifecycle::{Event, Phase, Presence};
use nearlight_session::{Lifecycle, Occupant};

/// Three heartbeats that do not come.
const MISSED_S: f64 = 15.0;
/// For how long an edge keeps its sessions without a broker.
const GRACE_US: u64 = 600 * SECOND_US;
/// How long a drain may take at home, and in a rack.
const DRAIN_US: [u64; 2] = [20 * 60 * SECOND_US, 2 * HOUR_US];
/// Between crashes, in the mean: at home, and in a rack. Hours.
const CRASH_H: [f64; 2] = [120.0, 720.0];
/// Between losses of the network, in the mean, hours.
const UNPLUGS_H: [f64; 2] = [48.0, 480.0];
/// Streams a second that a broker accepts.
const ACCEPTS_PER_S: f64 = 200.0;
/// The longest back-off, seconds.
const BACKOFF_S: f64 = 60.0;

impl Region {
    fn is_home(&self, at: usize) -> bool {
        matches!(self.nodes[at].machine.rhythm, Rhythm::Home { .. })
    }

    /// A value for homes, or for racks.
    fn of<T: Copy>(&self, at: usize, (home, rack): (T, T)) -> T {
        if self.is_home(at) { home } else { rack }
    }

    /// A node before the first visit: on, where its rhythm says so.
    pub(crate) fn first_day(&mut self, at: usize) -> Sound {
        let metro = self.nodes[at].machine.metro;
        let hour = self.world.hour(metro, self.now.0);
        let broker = self.broker.as_mut().expect("it starts with one");
        broker.index.put(self.nodes[at].view());
        if self.nodes[at].machine.rhythm.is_on(hour) {
            self.boots(at)?;
        } else {
            self.plan_rhythm(at);
        }
        Ok(())
    }

    /// When its owner turns a home PC on or off next.
    fn plan_rhythm(&mut self, at: usize) {
        let machine = &self.nodes[at].machine;
        let Rhythm::Home { on_at, hours } = machine.rhythm else {
            return;
        };
        if hours >= 24.0 {
            return;
        }
        let hour = self.world.hour(machine.metro, self.now.0);
        let next = if machine.rhythm.is_on(hour) {
            on_at + hours
        } else {
            on_at
        };
        let in_h = (next - hour).rem_euclid(24.0);
        let us = (in_h * HOUR_US as f64) as u64 + self.between_s(1.0, 1200.0);
        self.node_in(us, at, NodeStep::Rhythm);
    }

    pub(crate) fn node_step(&mut self, at: usize, life: u32, step: NodeStep) -> Sound {
        if self.nodes[at].life != life {
            return Ok(());
        }
        match step {
            NodeStep::Rhythm | NodeStep::Boots => self.follow_rhythm(at),
            NodeStep::Crash => self.crashes(at),
            NodeStep::Unplugs => {
                self.unplugs(at);
                Ok(())
            }
            NodeStep::Missed => self.missed(at),
            NodeStep::Dials => self.dials(at),
            NodeStep::Grace => self.out_of_grace(at),
            NodeStep::Drains => self.drains(at),
            NodeStep::DrainEnds => self.drain_ends(at),
            NodeStep::Undrains => {
                self.nodes[at].draining = false;
                self.nodes[at].machine.view.state.draining = false;
                self.show(at);
                self.plan_troubles(at);
                Ok(())
            }
        }
    }

    /// On where its owner wants it on now, and off where not.
    fn follow_rhythm(&mut self, at: usize) -> Sound {
        let machine = &self.nodes[at].machine;
        let hour = self.world.hour(machine.metro, self.now.0);
        match (self.nodes[at].is_on, machine.rhythm.is_on(hour)) {
            (true, false) => self.drains(at),
            (false, true) => self.boots(at),
            (true, true) | (false, false) => {
                self.plan_rhythm(at);
                Ok(())
            }
        }
    }

    fn boots(&mut self, at: usize) -> Sound {
        let node = &mut self.nodes[at];
        node.life += 1;
        (node.is_on, node.is_plugged, node.draining) = (true, true, false);
        self.plan_rhythm(at);
        self.plan_troubles(at);
        self.dials(at)
    }

    /// A crash, a loss of the network or, of a rack, a drain: whichever comes first.
    fn plan_troubles(&mut self, at: usize) {
        let hours = |pair: [f64; 2]| (pair[0] * 3600.0, pair[1] * 3600.0);
        let (crash, unplug) = (self.of(at, hours(CRASH_H)), self.of(at, hours(UNPLUGS_H)));
        let us = self.about_s(crash);
        self.node_in(us, at, NodeStep::Crash);
        let us = self.about_s(unplug);
        self.node_in(us, at, NodeStep::Unplugs);
        if !self.is_home(at) {
            let us = self.about_s(96.0 * 3600.0);
            self.node_in(us, at, NodeStep::Drains);
        }
    }

    /// Power is gone: everything on it ends there and then.
    fn crashes(&mut self, at: usize) -> Sound {
        self.tally.crashes += 1;
        self.power_off(at);
        // Most are back soon; some are not seen again that day.
        let us = match self.between_s(0.0, 1.0) {
            0..900_000 => self.between_s(60.0, 600.0),
            _ => self.between_s(3_600.0, 20.0 * 3600.0),
        };
        self.node_in(us, at, NodeStep::Boots);
        let us = self.between_s(MISSED_S - 5.0, MISSED_S);
        self.node_in(us, at, NodeStep::Missed);
        Ok(())
    }

    fn power_off(&mut self, at: usize) {
        let ran = std::mem::take(&mut self.nodes[at].running);
        let node = &mut self.nodes[at];
        (node.is_on, node.life) = (false, node.life + 1);
        for run in ran {
            if let Some(one) = self.sessions.get(&run.session) {
                node.journal.release(&one.id);
            }
        }
        // Whoever reads the journal at the next boot finds nothing alive under these.
        let left: Vec<_> = node.journal.entries().collect();
        for entry in left {
            if let Occupant::Live(session) = entry.occupant {
                node.journal.release(&session);
            }
        }
    }

    fn unplugs(&mut self, at: usize) {
        self.tally.unplugged += 1;
        let node = &mut self.nodes[at];
        (node.is_plugged, node.life) = (false, node.life + 1);
        let us = match self.between_s(0.0, 1.0) {
            0..900_000 => self.between_s(10.0, 180.0),
            _ => self.between_s(300.0, 1_800.0),
        };
        self.node_in(us, at, NodeStep::Dials);
        self.node_in(GRACE_US, at, NodeStep::Grace);
        let us = self.between_s(MISSED_S - 5.0, MISSED_S);
        self.node_in(us, at, NodeStep::Missed);
    }

    /// Its heartbeats do not come any more.
    fn missed(&mut self, at: usize) -> Sound {
        if self.broker.is_none() || !self.nodes[at].is_attached() {
            return Ok(());
        }
        self.set_link(at, false);
        for session in self.held_on(at) {
            self.drive(session, Event::NodeLost)?;
        }
        Ok(())
    }

    /// It reaches the broker, and says what it runs.
    fn dials(&mut self, at: usize) -> Sound {
        if !self.nodes[at].is_on {
            return Ok(());
        }
        if !self.nodes[at].is_plugged {
            let node = &mut self.nodes[at];
            (node.is_plugged, node.life) = (true, node.life + 1);
            self.plan_rhythm(at);
            self.plan_troubles(at);
        }
        if self.broker.is_none() {
            // Its back-off, until the broker is there: whoever starts the broker dials for all.
            return Ok(());
        }
        self.set_link(at, true);
        for session in self.held_on(at) {
            self.comes_back(at, session)?;
        }
        self.stop_strangers(at)
    }

    /// What a node that is back says of one session, and what the outbox has for it.
    fn comes_back(&mut self, at: usize, session: SessionNo) -> Sound {
        let Some(epoch) = self.sessions[&session].life.held().map(|h| h.claim.epoch) else {
            return Ok(());
        };
        let running = self.nodes[at].running(session, epoch).copied();
        let presence = running.map_or(Presence::Absent, |run| Presence::Running {
            attached: run.attached,
            ready: run.ready,
        });
        self.drive(session, Event::NodeBack { presence })?;
        let Some(one) = self.sessions.get(&session) else {
            return Ok(());
        };
        match one.life.phase() {
            Phase::Placing { .. } if running.is_none() => {
                self.session_in(SECOND_US / 10, session, epoch, SessionStep::Ordered);
            }
            Phase::Ending { .. } => {
                let us = self.between_s(0.3, 2.5);
                self.session_in(us, session, epoch, SessionStep::Stopped);
            }
            _ => {}
        }
        Ok(())
    }

    /// Ends what the broker does not know, or knows elsewhere.
    fn stop_strangers(&mut self, at: usize) -> Sound {
        let strange = |run: &Running| match self.sessions.get(&run.session) {
            Some(one) => one
                .life
                .held()
                .is_none_or(|held| held.claim.epoch != run.epoch),
            None => true,
        };
        let strangers: Vec<Running> = self.nodes[at]
            .running
            .iter()
            .copied()
            .filter(strange)
            .collect();
        for run in strangers {
            let node = &mut self.nodes[at];
            let slot = node.slots[run.slot].id.clone();
            if let Occupant::Live(id) = node.journal.occupant(&slot).clone() {
                node.end(run.session, &id, run.epoch);
            }
        }
        Ok(())
    }

    /// Too long without a broker: the edge ends what it runs.
    fn out_of_grace(&mut self, at: usize) -> Sound {
        let runs = self.nodes[at].running.clone();
        for run in runs {
            let slot = self.nodes[at].slots[run.slot].id.clone();
            let occupant = self.nodes[at].journal.occupant(&slot).clone();
            if let Occupant::Live(id) = occupant {
                self.nodes[at].end(run.session, &id, run.epoch);
            }
        }
        Ok(())
    }

    fn drains(&mut self, at: usize) -> Sound {
        self.tally.drains += 1;
        let node = &mut self.nodes[at];
        (node.draining, node.life) = (true, node.life + 1);
        node.machine.view.state.draining = true;
        self.show(at);
        let us = self.of(at, (DRAIN_US[0], DRAIN_US[1]));
        self.node_in(us, at, NodeStep::DrainEnds);
        Ok(())
    }

    /// What a drained node still runs ends; a home PC is turned off, a rack comes back.
    fn drain_ends(&mut self, at: usize) -> Sound {
        for run in self.nodes[at].running.clone() {
            if self.sessions.contains_key(&run.session) {
                self.stopped(run.session, run.epoch, EndReason::NodeDrained)?;
            }
        }
        if !self.is_home(at) {
            let us = self.between_s(600.0, 3_600.0);
            self.node_in(us, at, NodeStep::Undrains);
            return Ok(());
        }
        self.power_off(at);
        self.missed(at)?;
        self.plan_rhythm(at);
        Ok(())
    }

    fn set_link(&mut self, at: usize, attached: bool) {
        let node = &mut self.nodes[at];
        if attached && !node.is_attached() {
            node.up_since_us = self.now.0;
        }
        if !attached && node.is_attached() {
            let up_us = self.now.0 - node.up_since_us;
            self.tally.was_up(node, up_us);
        }
        self.nodes[at].set_attached(attached);
        self.show(at);
    }

    /// At the end, what is still up has been up until then.
    pub(crate) fn count_uptime(&mut self) {
        for node in self.nodes.iter().filter(|node| node.is_attached()) {
            self.tally.was_up(node, self.now.0 - node.up_since_us);
        }
    }

    /// Sessions that hold a slot of a node.
    fn held_on(&self, at: usize) -> Vec<SessionNo> {
        let slots = self.nodes[at].slots.iter();
        slots
            .filter_map(|slot| slot.held_by.map(|(session, _)| session))
            .collect()
    }

    /// The broker's memory is gone. Streams go on; nobody hears of them.
    pub(crate) fn broker_dies(&mut self) {
        self.tally.restarts += 1;
        self.broker = None;
        for node in &mut self.nodes {
            if node.is_attached() {
                let up_us = self.now.0 - node.up_since_us;
                self.tally.was_up(node, up_us);
                node.set_attached(false);
            }
        }
        let us = self.between_s(5.0, 60.0);
        self.in_us(us, Happens::BrokerStarts);
    }

    /// A new broker with what the ledger has: every session's phase, every claim. Nodes dial as their
    /// back-off lets them and as it accepts them.
    pub(crate) fn broker_starts(&mut self) -> Sound {
        let mut broker = Broker::new();
        for node in &self.nodes {
            broker.index.put(node.view());
        }
        let mut numbers: Vec<SessionNo> = self.sessions.keys().copied().collect();
        numbers.sort_unstable();
        for number in &numbers {
            let one = self.sessions.get_mut(number).expect("it was listed");
            one.life = Lifecycle::restore(
                super::session::LIMITS,
                one.life.phase().clone(),
                one.life.starts_denied(),
            );
            one.deadline = None;
            if matches!(one.life.phase(), Phase::Queued) {
                broker.waiting.insert(one.id.clone(), *number);
                broker
                    .queue
                    .push(one.id.clone(), one.user.clone(), one.came_at);
                let line = (one.visit.metro, one.visit.wants);
                broker.lines.join(&one.id, || line, self.now);
            }
        }
        self.broker = Some(broker);
        for number in numbers {
            self.drive(number, Event::NodeLost)?;
            if self.sessions.contains_key(&number) {
                self.plan_deadline(number);
            }
        }
        let on = self
            .nodes
            .iter()
            .filter(|n| n.is_on && n.is_plugged)
            .count();
        let spread_s = (on as f64 / ACCEPTS_PER_S).max(BACKOFF_S);
        for at in 0..self.nodes.len() {
            if self.nodes[at].is_on && self.nodes[at].is_plugged {
                let us = self.between_s(0.1, spread_s);
                self.node_in(us, at, NodeStep::Dials);
            }
        }
        self.plan_turn(SECOND_US);
        Ok(())
    }
}
