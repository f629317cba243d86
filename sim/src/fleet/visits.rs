//! Players: how they come, play, and go; and what their session's node does for them.

use super::clock::{Happens, SessionNo, SessionStep};
use super::demand::Leaves;
use super::region::{MINUTE_US, Region, SECOND_US, Sound};
use super::session::Session;
use super::world::World;
use nearlight_protocol::api::{EndReason, StartProgress};
use nearlight_session::lifecycle::{Event, Phase};
use nearlight_session::{Admission, Epoch};
use rand::Rng;

/// A player who is there is seen at the keyboard so often: the app's idle time is 15 minutes.
const INPUT_EVERY_US: u64 = 10 * MINUTE_US;

impl Region {
    pub(crate) fn next_visit(&mut self, metro: usize) {
        let us = self.demand.next_in_us(metro, &mut self.rng);
        if self.now.0 + us <= self.visits_until_us {
            let metro = metro as u32;
            self.in_us(us, Happens::Visit { metro });
        }
    }

    pub(crate) fn visit(&mut self, metro: usize) -> Sound {
        self.next_visit(metro);
        let appetite = World::appetite(self.world.hour(metro, self.now.0));
        if !self.rng.random_bool(appetite) {
            return Ok(());
        }
        let mut visit = self.demand.visit(metro, &mut self.rng);
        self.tally.came += 1;
        let Some(broker) = &self.broker else {
            self.tally.refuse(visit.wants, "broker-away");
            return Ok(());
        };
        visit.request.held = broker.held[visit.tenant].clone();
        let patience_us = visit.patience_us;
        let number = self.came;
        self.came += 1;
        self.sessions
            .insert(number, Session::new(number, visit, self.now));
        self.session_in(patience_us, number, Epoch(0), SessionStep::GivesUp);
        self.take_new(number)
    }

    pub(crate) fn session_step(
        &mut self,
        session: SessionNo,
        epoch: Epoch,
        step: SessionStep,
    ) -> Sound {
        if !self.sessions.contains_key(&session) {
            return Ok(());
        }
        match step {
            SessionStep::Deadline => self.deadline(session),
            SessionStep::GivesUp => self.gives_up(session),
            SessionStep::Ordered => self.ordered(session, epoch),
            SessionStep::Pulled => self.pulled(session, epoch),
            SessionStep::Shows => self.shows(session, epoch),
            SessionStep::Attaches => self.attaches(session, epoch),
            SessionStep::Input => self.input(session, epoch),
            SessionStep::Leaves => self.leaves(session, epoch),
            SessionStep::Stopped => self.stopped(session, epoch, EndReason::PlayerEnded),
        }
    }

    fn gives_up(&mut self, session: SessionNo) -> Sound {
        let one = &mut self.sessions.get_mut(&session).expect("looked up before");
        if !matches!(one.life.phase(), Phase::Queued) || one.placed_before {
            return Ok(());
        }
        one.left = true;
        if self.broker.is_none() {
            // Nobody takes the request: the next attempt is soon enough.
            self.session_in(5 * SECOND_US, session, Epoch(0), SessionStep::GivesUp);
            return Ok(());
        }
        let reason = EndReason::PlayerEnded;
        self.drive(session, Event::EndRequested { reason })
    }

    /// The order to start is at its node.
    fn ordered(&mut self, session: SessionNo, epoch: Epoch) -> Sound {
        let Some((at, claim)) = self.claim_of(session, epoch) else {
            return Ok(());
        };
        let node = &mut self.nodes[at];
        if !node.is_on || !node.is_plugged {
            // It stays in the outbox; whoever dials again gets it.
            return Ok(());
        }
        let one = &self.sessions[&session];
        let is_warm = node.view().images.contains(&one.visit.request.image);
        let (id, is_home) = (one.id.clone(), node.view().slots_total <= 2);
        if is_home && self.rng.random_bool(0.005) {
            let detail = "the container engine refused".to_owned();
            self.tally.starts_denied += 1;
            return self.report(session, at, Event::StartDenied { epoch, detail });
        }
        match self.nodes[at].admit(session, &id, &claim) {
            Admission::Already => return Ok(()),
            Admission::Deny(denial) => {
                let detail = denial.to_string();
                self.tally.starts_denied += 1;
                return self.report(session, at, Event::StartDenied { epoch, detail });
            }
            Admission::Admit => {}
        }
        self.report(session, at, Event::StartAcked { epoch })?;
        if is_warm {
            let us = self.between_s(1.5, 5.0);
            self.session_in(us, session, epoch, SessionStep::Shows);
        } else {
            self.tally.pulls += 1;
            let us = self.between_s(8.0, 75.0);
            self.session_in(us, session, epoch, SessionStep::Pulled);
        }
        Ok(())
    }

    fn pulled(&mut self, session: SessionNo, epoch: Epoch) -> Sound {
        let Some(at) = self.runs_at(session, epoch) else {
            return Ok(());
        };
        let image = self.sessions[&session].visit.request.image.clone();
        self.nodes[at].machine.view.images.insert(image);
        if let Some(broker) = self.broker.as_mut().filter(|_| self.nodes[at].is_plugged) {
            broker.index.put(self.nodes[at].view());
        }
        let progress = StartProgress::StartingApp;
        self.report(session, at, Event::Progress { epoch, progress })?;
        let us = self.between_s(1.5, 5.0);
        self.session_in(us, session, epoch, SessionStep::Shows);
        Ok(())
    }

    fn shows(&mut self, session: SessionNo, epoch: Epoch) -> Sound {
        let Some(at) = self.runs_at(session, epoch) else {
            return Ok(());
        };
        if self.rng.random_bool(0.003) {
            return self.stopped(session, epoch, EndReason::AppStartFailed);
        }
        if let Some(running) = self.nodes[at].running(session, epoch) {
            running.ready = true;
        }
        self.report(session, at, Event::NodeReady { epoch })?;
        let us = self.between_s(0.5, 3.0);
        self.session_in(us, session, epoch, SessionStep::Attaches);
        Ok(())
    }

    fn attaches(&mut self, session: SessionNo, epoch: Epoch) -> Sound {
        let Some(at) = self.runs_at(session, epoch) else {
            return Ok(());
        };
        let (plays_us, awake) = {
            let one = &self.sessions[&session];
            (one.visit.plays_us, one.is_awake())
        };
        if self.broker.is_none() || !self.nodes[at].is_plugged {
            // No ticket meanwhile.
            self.session_in(5 * SECOND_US, session, epoch, SessionStep::Attaches);
            return Ok(());
        }
        if let Some(running) = self.nodes[at].running(session, epoch) {
            running.attached = true;
        }
        let attachment = self.sessions[&session].attachment();
        self.report(session, at, Event::Attached { epoch, attachment })?;
        if awake {
            self.session_in(INPUT_EVERY_US, session, epoch, SessionStep::Input);
            self.session_in(plays_us, session, epoch, SessionStep::Leaves);
        }
        Ok(())
    }

    fn input(&mut self, session: SessionNo, epoch: Epoch) -> Sound {
        let Some(at) = self.runs_at(session, epoch) else {
            return Ok(());
        };
        if !self.sessions[&session].is_awake() {
            return Ok(());
        }
        self.session_in(INPUT_EVERY_US, session, epoch, SessionStep::Input);
        self.report(session, at, Event::InputSeen { epoch })
    }

    fn leaves(&mut self, session: SessionNo, epoch: Epoch) -> Sound {
        let Some(at) = self.runs_at(session, epoch) else {
            return Ok(());
        };
        let one = self.sessions.get_mut(&session).expect("looked up before");
        one.left = true;
        let (leaves, attachment) = (one.visit.leaves, one.attachment());
        if let Some(running) = self.nodes[at].running(session, epoch) {
            running.attached = false;
        }
        if leaves == Leaves::Ends && self.broker.is_some() {
            let reason = EndReason::PlayerEnded;
            return self.drive(session, Event::EndRequested { reason });
        }
        // The tab is closed, or nobody took the request: the grace time ends it.
        self.report(session, at, Event::Detached { epoch, attachment })
    }

    /// Nothing of it is left on its node.
    pub(crate) fn stopped(&mut self, session: SessionNo, epoch: Epoch, reason: EndReason) -> Sound {
        let Some(at) = self.sessions[&session].node.map(|(at, _)| at) else {
            return Ok(());
        };
        if !self.nodes[at].is_on {
            return Ok(());
        }
        let id = self.sessions[&session].id.clone();
        let detail = String::new();
        let event = if self.nodes[at].end(session, &id, epoch) {
            Event::NodeEnded {
                epoch,
                reason,
                detail,
            }
        } else {
            Event::StopAcked { epoch }
        };
        self.report(session, at, event)
    }
}
