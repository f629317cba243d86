//! When a phase ends by itself, and what happens then.

use super::table::{applied, ignored, over, stopping};
use super::{Effect, Held, Ignored, Lifecycle, Limits, Link, Outcome, Phase, Run, Stopped, Use};
use nearlight_protocol::api::EndReason;
use nearlight_protocol::unit::MonoTime;

/// The end of a phase that nothing prevents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct End {
    at: MonoTime,
    reason: EndReason,
}

impl Lifecycle {
    /// When [`super::Event::Tick`] will change something, unless another event comes first.
    /// `None` for an ended session, and for one that may wait in the queue for ever.
    pub fn next_deadline(&self) -> Option<MonoTime> {
        let end = self.limits.end(&self.phase)?;
        match self.limits.warning(&self.phase) {
            Some(warning) => Some(end.at.min(warning.at)),
            None => Some(end.at),
        }
    }

    /// When a running session will end by itself, as its owner is told: idle, time limit, grace or the end of
    /// its node's capacity, whichever comes first.
    pub fn ends_at(&self) -> Option<MonoTime> {
        self.limits.own_end(&self.phase).map(|end| end.at)
    }
}

impl Limits {
    /// Takes a [`super::Event::Tick`].
    pub(super) fn tick(&self, phase: Phase, now: MonoTime) -> (Phase, Outcome) {
        if let Some(end) = self.end(&phase)
            && now >= end.at
        {
            return expire(phase, now, end.reason);
        }
        if let Some(warning) = self.warning(&phase)
            && now >= warning.at
        {
            return warn(phase, now, warning);
        }
        ignored(phase, Ignored::NotDue)
    }

    /// The first deadline of a phase.
    fn end(&self, phase: &Phase) -> Option<End> {
        let late = self.used.too_late();
        let (held, own) = match phase {
            Phase::Queued => return Some(end(self.queue_until?, EndReason::QueueTimeout)),
            Phase::Ended { .. } => return None,
            Phase::Placing { held, since } => {
                let at = since.plus_millis(self.start_ms.min(self.start_total_ms));
                (held, self.or_reclaimed(end(at, late)))
            }
            Phase::Starting {
                held,
                since,
                moved_at,
                ..
            } => {
                let at = moved_at.plus_millis(self.start_ms);
                let at = at.min(since.plus_millis(self.start_total_ms));
                (held, self.or_reclaimed(end(at, late)))
            }
            Phase::Ready { run } | Phase::Playing { run, .. } | Phase::Detached { run, .. } => {
                (&run.held, self.own_end(phase)?)
            }
            Phase::Ending {
                held,
                reason,
                since,
            } => match held.link {
                Link::Up => (held, end(since.plus_millis(self.stop_ms), *reason)),
                // Nobody is there to confirm: only the node's grace frees the slot safely.
                Link::Lost { since } => {
                    return Some(end(since.plus_millis(self.node_grace_ms), *reason));
                }
            },
        };
        Some(match held.link {
            Link::Up => own,
            Link::Lost { since } => earlier(
                own,
                end(since.plus_millis(self.node_grace_ms), EndReason::NodeLost),
            ),
        })
    }

    /// The first of the ends that the owner is told of.
    fn own_end(&self, phase: &Phase) -> Option<End> {
        let limit = |run: &Run| end(run.ready_at.plus_millis(self.max_ms), EndReason::TimeLimit);
        let away =
            |since: MonoTime| end(since.plus_millis(self.grace_ms), EndReason::DetachedTimeout);
        let own = match phase {
            Phase::Ready { run } if self.used == Use::Called => self.unused(run),
            Phase::Ready { run } => earlier(away(run.ready_at), limit(run)),
            Phase::Detached { run, since } => earlier(away(*since), limit(run)),
            Phase::Playing { run, .. } => self.unused(run),
            Phase::Queued
            | Phase::Placing { .. }
            | Phase::Starting { .. }
            | Phase::Ending { .. }
            | Phase::Ended { .. } => return None,
        };
        Some(self.or_reclaimed(own))
    }

    /// The end of a claim, if its node's capacity is not taken back before.
    fn or_reclaimed(&self, own: End) -> End {
        match self.reclaim_at {
            Some(at) => earlier(own, end(at, EndReason::Preempted)),
            None => own,
        }
    }

    /// The end of a session that nobody uses, or its time limit.
    fn unused(&self, run: &Run) -> End {
        let limit = end(run.ready_at.plus_millis(self.max_ms), EndReason::TimeLimit);
        match (run.held.link, self.idle_ms) {
            (Link::Up, Some(idle_ms)) => {
                let idle = run.input_at.plus_millis(idle_ms);
                earlier(end(idle, EndReason::IdleTimeout), limit)
            }
            // Input cannot be reported meanwhile, so idleness cannot be told.
            (Link::Lost { .. }, _) | (Link::Up, None) => limit,
        }
    }

    /// When to warn whoever is attached, unless that was done for this very end.
    fn warning(&self, phase: &Phase) -> Option<Warning> {
        let Phase::Playing { run, .. } = phase else {
            return None;
        };
        let of = self.own_end(phase)?;
        let at = MonoTime(of.at.0.saturating_sub(self.warn_ms.saturating_mul(1000)));
        (run.warned_of != Some(of.at)).then_some(Warning { at, of })
    }
}

#[derive(Clone, Copy, Debug)]
struct Warning {
    at: MonoTime,
    of: End,
}

fn warn(phase: Phase, now: MonoTime, warning: Warning) -> (Phase, Outcome) {
    let Phase::Playing { run, viewer } = phase else {
        return ignored(phase, Ignored::NotDue);
    };
    let in_s = warning.of.at.micros_since(now).div_ceil(1_000_000);
    let warn = Effect::Warn {
        claim: run.held.claim.clone(),
        reason: warning.of.reason,
        in_s: u32::try_from(in_s).unwrap_or(u32::MAX),
    };
    let run = Run {
        warned_of: Some(warning.of.at),
        ..run
    };
    applied(Phase::Playing { run, viewer }, vec![warn, Effect::Show])
}

/// The first deadline of `phase` has passed.
fn expire(phase: Phase, now: MonoTime, reason: EndReason) -> (Phase, Outcome) {
    match phase {
        Phase::Queued => {
            let detail = String::new();
            applied(Phase::Ended { reason, detail }, vec![Effect::Publish])
        }
        Phase::Ended { .. } => ignored(phase, Ignored::NotDue),
        Phase::Ending {
            held,
            reason,
            since,
        } => {
            let detail = "the node did not confirm the stop".to_owned();
            let ordered_at = Some(since);
            over(held, Stopped::Unconfirmed { ordered_at }, reason, detail)
        }
        Phase::Placing { held, .. } | Phase::Starting { held, .. } => end_held(held, now, reason),
        Phase::Ready { run } | Phase::Playing { run, .. } | Phase::Detached { run, .. } => {
            end_held(run.held, now, reason)
        }
    }
}

fn end_held(held: Held, now: MonoTime, reason: EndReason) -> (Phase, Outcome) {
    if reason == EndReason::NodeLost {
        let stopped = Stopped::Unconfirmed { ordered_at: None };
        return over(held, stopped, reason, String::new());
    }
    stopping(held, now, reason)
}

const fn end(at: MonoTime, reason: EndReason) -> End {
    End { at, reason }
}

fn earlier(a: End, b: End) -> End {
    if b.at < a.at { b } else { a }
}
