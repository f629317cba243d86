//! The capacity that a session holds is taken back, with notice.

use super::table::{Step, applied, ignored};
use super::{Claim, Effect, Ignored, Phase};
use nearlight_protocol::api::EndReason;
use nearlight_protocol::unit::MonoTime;

/// What holds the capacity is told, once for each moment that is said. Ends what it holds: [`super::deadline`].
pub(super) fn reclaimed(
    phase: Phase,
    now: MonoTime,
    former: Option<MonoTime>,
    until: Option<MonoTime>,
) -> Step {
    let claim = match &phase {
        Phase::Placing { held, .. } | Phase::Starting { held, .. } => &held.claim,
        Phase::Ready { run } | Phase::Playing { run, .. } | Phase::Detached { run, .. } => {
            &run.held.claim
        }
        Phase::Queued => return ignored(phase, Ignored::Unclaimed),
        Phase::Ending { .. } | Phase::Ended { .. } => return ignored(phase, Ignored::Over),
    };
    if former == until {
        return ignored(phase, Ignored::Already);
    }
    let told = match until {
        Some(until) => notice(claim, now, until),
        None => Effect::Reprieve {
            claim: claim.clone(),
        },
    };
    applied(phase, vec![told, Effect::Show])
}

/// That it ends then.
pub(super) fn notice(claim: &Claim, now: MonoTime, until: MonoTime) -> Effect {
    let in_s = until.micros_since(now).div_ceil(1_000_000);
    Effect::Warn {
        claim: claim.clone(),
        reason: EndReason::Preempted,
        in_s: u32::try_from(in_s).unwrap_or(u32::MAX),
    }
}

#[cfg(test)]
#[path = "test_reclaim.rs"]
mod test;
