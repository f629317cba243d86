//! The transition table: one function an event, each over every phase.

use super::back::node_back;
use super::reclaim::{notice, reclaimed};
use super::{
    Claim, Denied, Effect, Event, Held, Ignored, Lifecycle, Limits, Link, Outcome, Phase, Run,
    STARTS_DENIED_MAX, Stopped, Use, Viewer,
};
use crate::epoch::Epoch;
use nearlight_protocol::api::{EndReason, StartProgress};
use nearlight_protocol::id::AttachmentId;
use nearlight_protocol::unit::MonoTime;

/// The next phase and what came of the event.
pub(super) type Step = (Phase, Outcome);

impl Lifecycle {
    /// Takes one event.
    pub fn handle(&mut self, now: MonoTime, event: Event) -> Outcome {
        if let Some(epoch) = event.epoch() {
            match self.held() {
                Some(held) if held.claim.epoch == epoch => {}
                Some(_) => return Outcome::Ignored(Ignored::StaleEpoch),
                None => return Outcome::Ignored(self.no_claim()),
            }
        }
        let phase = std::mem::replace(&mut self.phase, Phase::Queued);
        let (next, outcome) = match event {
            Event::Claimed(claim) => claimed(phase, now, claim),
            Event::StartAcked { .. } => start_acked(phase, now, self.limits.used),
            Event::StartDenied { detail, .. } => {
                self.starts_denied = self.starts_denied.saturating_add(1);
                start_denied(phase, self.starts_denied, detail)
            }
            Event::Progress { progress, .. } => progressed(phase, now, progress),
            Event::NodeReady { .. } => ready(phase, now),
            Event::Attached { attachment, .. } => match self.limits.used {
                Use::Played => {
                    let reclaim_at = self.limits.reclaim_at;
                    attached(phase, now, Viewer::Named(attachment), reclaim_at)
                }
                Use::Called => denied(phase, Denied::NobodyAttaches),
            },
            Event::Detached { attachment, .. } => detached(phase, now, &attachment),
            Event::InputSeen { .. } => input_seen(phase, now, self.limits.used),
            Event::NodeEnded { reason, detail, .. } => node_ended(phase, reason, detail),
            Event::StopAcked { .. } => stop_acked(phase),
            Event::EndRequested { reason } => {
                let is_between = self.limits.is_between(&phase, reason);
                end_requested(phase, now, reason, is_between)
            }
            Event::Reclaimed { until } => {
                let former = std::mem::replace(&mut self.limits.reclaim_at, until);
                reclaimed(phase, now, former, until)
            }
            Event::NodeLost => node_lost(phase, now),
            Event::NodeBack { presence } => node_back(phase, now, presence, self.limits.used),
            Event::Tick => self.limits.tick(phase, now),
        };
        let (next, outcome) = self.moved(next, outcome);
        self.phase = self.limits.or_queued(next);
        if self.held().is_none() {
            self.limits.reclaim_at = None;
        }
        outcome
    }

    /// Who lost its node, and not its right to one, waits again.
    fn moved(&mut self, next: Phase, outcome: Outcome) -> Step {
        match (next, outcome) {
            (Phase::Ended { reason, .. }, Outcome::Applied(mut effects))
                if self.limits.goes_elsewhere(reason) && !effects.is_empty() =>
            {
                let released = |effect: &Effect| matches!(effect, Effect::Release { .. });
                if !effects.iter().any(released) {
                    let detail = String::new();
                    return applied(Phase::Ended { reason, detail }, effects);
                }
                self.limits.moves_left -= 1;
                effects.push(Effect::Moved { reason });
                applied(Phase::Queued, effects)
            }
            other => other,
        }
    }

    fn no_claim(&self) -> Ignored {
        match self.phase {
            Phase::Ended { .. } => Ignored::Over,
            Phase::Queued
            | Phase::Placing { .. }
            | Phase::Starting { .. }
            | Phase::Ready { .. }
            | Phase::Playing { .. }
            | Phase::Detached { .. }
            | Phase::Ending { .. } => Ignored::Unclaimed,
        }
    }
}

impl Limits {
    /// What follows the end of a run is the wait for the next one.
    fn or_queued(&self, next: Phase) -> Phase {
        match next {
            Phase::Ended { reason, .. } if self.is_run_over(reason) => Phase::Queued,
            next => next,
        }
    }

    /// Whether a wish to end it for good comes while it is stopped to run again.
    fn is_between(&self, phase: &Phase, wish: EndReason) -> bool {
        let between = matches!(phase, Phase::Ending { reason, .. } if self.is_run_over(*reason));
        between && !self.is_run_over(wish)
    }
}

impl Event {
    /// The epoch that a report or an ack belongs to.
    const fn epoch(&self) -> Option<Epoch> {
        match self {
            Self::StartAcked { epoch }
            | Self::StartDenied { epoch, .. }
            | Self::Progress { epoch, .. }
            | Self::NodeReady { epoch }
            | Self::Attached { epoch, .. }
            | Self::Detached { epoch, .. }
            | Self::InputSeen { epoch }
            | Self::NodeEnded { epoch, .. }
            | Self::StopAcked { epoch } => Some(*epoch),
            Self::Claimed(_)
            | Self::EndRequested { .. }
            | Self::Reclaimed { .. }
            | Self::NodeLost
            | Self::NodeBack { .. }
            | Self::Tick => None,
        }
    }
}

fn claimed(phase: Phase, now: MonoTime, claim: Claim) -> Step {
    match phase {
        Phase::Queued => {
            let held = Held {
                claim,
                link: Link::Up,
            };
            applied(Phase::Placing { held, since: now }, vec![Effect::Publish])
        }
        Phase::Placing { .. }
        | Phase::Starting { .. }
        | Phase::Ready { .. }
        | Phase::Playing { .. }
        | Phase::Detached { .. }
        | Phase::Ending { .. }
        | Phase::Ended { .. } => denied(phase, Denied::NotQueued),
    }
}

fn start_acked(phase: Phase, now: MonoTime, used: Use) -> Step {
    match phase {
        Phase::Placing { held, since } => starting(held, since, now, used.first_progress()),
        Phase::Starting { .. }
        | Phase::Ready { .. }
        | Phase::Playing { .. }
        | Phase::Detached { .. } => ignored(phase, Ignored::Already),
        Phase::Ending { .. } | Phase::Ended { .. } => ignored(phase, Ignored::Over),
        Phase::Queued => ignored(phase, Ignored::Unclaimed),
    }
}

fn start_denied(phase: Phase, denials: u8, detail: String) -> Step {
    match phase {
        Phase::Placing { held, .. } | Phase::Starting { held, .. } => {
            let release = Effect::Release {
                claim: held.claim,
                stopped: Stopped::Confirmed,
            };
            let effects = vec![release, Effect::Publish];
            if denials < STARTS_DENIED_MAX {
                return applied(Phase::Queued, effects);
            }
            let reason = EndReason::RuntimeFailed;
            applied(Phase::Ended { reason, detail }, effects)
        }
        Phase::Ending { held, reason, .. } => over(held, Stopped::Confirmed, reason, detail),
        Phase::Ready { .. } | Phase::Playing { .. } | Phase::Detached { .. } => {
            ignored(phase, Ignored::Already)
        }
        Phase::Queued => ignored(phase, Ignored::Unclaimed),
        Phase::Ended { .. } => ignored(phase, Ignored::Over),
    }
}

fn progressed(phase: Phase, now: MonoTime, new: StartProgress) -> Step {
    match phase {
        Phase::Placing { held, since } => starting(held, since, now, new),
        Phase::Starting { ref progress, .. } if *progress == new => {
            ignored(phase, Ignored::Already)
        }
        Phase::Starting { held, since, .. } => applied(
            Phase::Starting {
                held,
                progress: new,
                since,
                moved_at: now,
            },
            vec![Effect::Show],
        ),
        Phase::Ready { .. } | Phase::Playing { .. } | Phase::Detached { .. } => {
            ignored(phase, Ignored::Already)
        }
        Phase::Ending { .. } | Phase::Ended { .. } => ignored(phase, Ignored::Over),
        Phase::Queued => ignored(phase, Ignored::Unclaimed),
    }
}

fn ready(phase: Phase, now: MonoTime) -> Step {
    match phase {
        Phase::Placing { held, .. } => {
            let begins = Effect::UsageBegins {
                claim: held.claim.clone(),
            };
            let run = Run::new(held, now);
            applied(Phase::Ready { run }, vec![begins, Effect::Publish])
        }
        Phase::Starting { held, .. } => {
            let run = Run::new(held, now);
            applied(Phase::Ready { run }, vec![Effect::Publish])
        }
        Phase::Ready { .. } | Phase::Playing { .. } | Phase::Detached { .. } => {
            ignored(phase, Ignored::Already)
        }
        Phase::Ending { .. } | Phase::Ended { .. } => ignored(phase, Ignored::Over),
        Phase::Queued => ignored(phase, Ignored::Unclaimed),
    }
}

fn attached(phase: Phase, now: MonoTime, new: Viewer, reclaim_at: Option<MonoTime>) -> Step {
    match phase {
        Phase::Playing { ref viewer, .. } if *viewer == new => ignored(phase, Ignored::Already),
        Phase::Ready { run } | Phase::Detached { run, .. } | Phase::Playing { run, .. } => {
            let run = Run {
                input_at: now,
                warned_of: None,
                ..run
            };
            let warn = reclaim_at.map(|until| notice(&run.held.claim, now, until));
            let effects = warn.into_iter().chain([Effect::Publish]).collect();
            applied(Phase::Playing { run, viewer: new }, effects)
        }
        Phase::Placing { .. } | Phase::Starting { .. } => denied(phase, Denied::NotReady),
        Phase::Ending { .. } | Phase::Ended { .. } => ignored(phase, Ignored::Over),
        Phase::Queued => ignored(phase, Ignored::Unclaimed),
    }
}

fn detached(phase: Phase, now: MonoTime, gone: &AttachmentId) -> Step {
    match phase {
        Phase::Playing { run, viewer } => match viewer {
            Viewer::Named(ref name) if name != gone => {
                ignored(Phase::Playing { run, viewer }, Ignored::OtherViewer)
            }
            Viewer::Named(_) | Viewer::Unnamed => {
                applied(Phase::Detached { run, since: now }, vec![Effect::Publish])
            }
        },
        Phase::Ready { .. } | Phase::Detached { .. } => ignored(phase, Ignored::Already),
        Phase::Placing { .. } | Phase::Starting { .. } => denied(phase, Denied::NotReady),
        Phase::Ending { .. } | Phase::Ended { .. } => ignored(phase, Ignored::Over),
        Phase::Queued => ignored(phase, Ignored::Unclaimed),
    }
}

fn input_seen(phase: Phase, now: MonoTime, used: Use) -> Step {
    match phase {
        Phase::Playing { run, viewer } => {
            let run = Run {
                input_at: now,
                ..run
            };
            applied(Phase::Playing { run, viewer }, vec![Effect::Show])
        }
        Phase::Ready { run } if used == Use::Called => {
            let run = Run {
                input_at: now,
                ..run
            };
            applied(Phase::Ready { run }, vec![Effect::Show])
        }
        Phase::Ready { .. } | Phase::Detached { .. } => ignored(phase, Ignored::NoViewer),
        Phase::Placing { .. } | Phase::Starting { .. } => denied(phase, Denied::NotReady),
        Phase::Ending { .. } | Phase::Ended { .. } => ignored(phase, Ignored::Over),
        Phase::Queued => ignored(phase, Ignored::Unclaimed),
    }
}

fn node_ended(phase: Phase, reason: EndReason, detail: String) -> Step {
    match phase {
        Phase::Placing { held, .. } | Phase::Starting { held, .. } => {
            over(held, Stopped::Confirmed, reason, detail)
        }
        Phase::Ready { run } | Phase::Playing { run, .. } | Phase::Detached { run, .. } => {
            over(run.held, Stopped::Confirmed, reason, detail)
        }
        // What we told the node counts: it may only echo it.
        Phase::Ending { held, reason, .. } => over(held, Stopped::Confirmed, reason, detail),
        Phase::Queued => ignored(phase, Ignored::Unclaimed),
        Phase::Ended { .. } => ignored(phase, Ignored::Over),
    }
}

fn stop_acked(phase: Phase) -> Step {
    match phase {
        Phase::Ending { held, reason, .. } => over(held, Stopped::Confirmed, reason, String::new()),
        Phase::Placing { .. }
        | Phase::Starting { .. }
        | Phase::Ready { .. }
        | Phase::Playing { .. }
        | Phase::Detached { .. } => denied(phase, Denied::NotEnding),
        Phase::Queued => ignored(phase, Ignored::Unclaimed),
        Phase::Ended { .. } => ignored(phase, Ignored::Over),
    }
}

fn end_requested(phase: Phase, now: MonoTime, reason: EndReason, is_between: bool) -> Step {
    match phase {
        Phase::Queued => {
            let detail = String::new();
            applied(Phase::Ended { reason, detail }, vec![Effect::Publish])
        }
        Phase::Placing { held, .. } | Phase::Starting { held, .. } => stopping(held, now, reason),
        Phase::Ready { run } | Phase::Playing { run, .. } | Phase::Detached { run, .. } => {
            stopping(run.held, now, reason)
        }
        // Its node stops it already.
        Phase::Ending { held, since, .. } if is_between => applied(
            Phase::Ending {
                held,
                reason,
                since,
            },
            vec![Effect::Publish],
        ),
        Phase::Ending { .. } => ignored(phase, Ignored::Already),
        Phase::Ended { .. } => ignored(phase, Ignored::Over),
    }
}

fn node_lost(mut phase: Phase, now: MonoTime) -> Step {
    let held = match &mut phase {
        Phase::Placing { held, .. } | Phase::Starting { held, .. } | Phase::Ending { held, .. } => {
            held
        }
        Phase::Ready { run } | Phase::Playing { run, .. } | Phase::Detached { run, .. } => {
            &mut run.held
        }
        Phase::Queued => return ignored(phase, Ignored::Unclaimed),
        Phase::Ended { .. } => return ignored(phase, Ignored::Over),
    };
    match held.link {
        Link::Lost { .. } => ignored(phase, Ignored::Already),
        Link::Up => {
            held.link = Link::Lost { since: now };
            applied(phase, vec![])
        }
    }
}

fn starting(held: Held, since: MonoTime, now: MonoTime, progress: StartProgress) -> Step {
    let begins = Effect::UsageBegins {
        claim: held.claim.clone(),
    };
    applied(
        Phase::Starting {
            held,
            progress,
            since,
            moved_at: now,
        },
        vec![begins, Effect::Publish],
    )
}

/// The node has to stop it.
pub(super) fn stopping(held: Held, now: MonoTime, reason: EndReason) -> Step {
    let stop = Effect::Stop {
        claim: held.claim.clone(),
        reason,
    };
    applied(
        Phase::Ending {
            held,
            reason,
            since: now,
        },
        vec![stop, Effect::Publish],
    )
}

/// Nothing is left of it on the node, or we no longer wait for the node's word.
pub(super) fn over(held: Held, stopped: Stopped, reason: EndReason, detail: String) -> Step {
    applied(
        Phase::Ended { reason, detail },
        vec![
            Effect::Release {
                claim: held.claim,
                stopped,
            },
            Effect::Publish,
        ],
    )
}

pub(super) const fn applied(next: Phase, effects: Vec<Effect>) -> Step {
    (next, Outcome::Applied(effects))
}

pub(super) const fn ignored(phase: Phase, why: Ignored) -> Step {
    (phase, Outcome::Ignored(why))
}

const fn denied(phase: Phase, why: Denied) -> Step {
    (phase, Outcome::Denied(why))
}

impl Limits {
    /// Whether an end for this reason sends it to another node.
    pub(super) const fn goes_elsewhere(&self, reason: EndReason) -> bool {
        let is_nodes = matches!(
            reason,
            EndReason::NodeLost | EndReason::NodeDrained | EndReason::Preempted
        );
        self.moves_left > 0 && is_nodes
    }
}

impl Held {
    pub(super) fn up(self) -> Self {
        Self {
            link: Link::Up,
            ..self
        }
    }
}

impl Run {
    pub(super) const fn new(held: Held, now: MonoTime) -> Self {
        Self {
            held,
            ready_at: now,
            input_at: now,
            warned_of: None,
        }
    }

    pub(super) fn up(self) -> Self {
        Self {
            held: self.held.up(),
            ..self
        }
    }
}
