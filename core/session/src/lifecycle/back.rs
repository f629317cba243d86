//! A node is back, with its control stream, and says what it runs.

use super::table::{Step, applied, ignored, over};
use super::{Effect, Held, Ignored, Phase, Presence, Run, Stopped, Use, Viewer};
use nearlight_protocol::api::EndReason;
use nearlight_protocol::unit::MonoTime;

pub(super) fn node_back(phase: Phase, now: MonoTime, presence: Presence, used: Use) -> Step {
    let presence = used.seen(presence);
    match phase {
        Phase::Queued => ignored(phase, Ignored::Unclaimed),
        Phase::Ended { .. } => ignored(phase, Ignored::Over),
        Phase::Placing { held, since } => match presence {
            // The order was never acked; it is still in the outbox and goes out again.
            Presence::Absent => applied(
                Phase::Placing {
                    held: held.up(),
                    since,
                },
                vec![],
            ),
            Presence::Running { attached, ready } => {
                let begins = Effect::UsageBegins {
                    claim: held.claim.clone(),
                };
                let seen = (ready, attached, used);
                let (next, mut effects) = back_starting(held.up(), since, now, seen);
                effects.insert(0, begins);
                applied(next, effects)
            }
        },
        Phase::Starting {
            held,
            progress,
            since,
            ..
        } => match presence {
            Presence::Absent => gone(held),
            Presence::Running { ready: false, .. } => applied(
                Phase::Starting {
                    held: held.up(),
                    progress,
                    since,
                    moved_at: now,
                },
                vec![],
            ),
            Presence::Running { attached, ready } => {
                let seen = (ready, attached, used);
                let (next, effects) = back_starting(held.up(), since, now, seen);
                applied(next, effects)
            }
        },
        Phase::Ready { run } => back_running(run, now, presence, None),
        Phase::Playing { run, viewer } => back_running(run, now, presence, Some(viewer)),
        Phase::Detached { run, since } => match presence {
            Presence::Running {
                attached: false, ..
            } => applied(
                Phase::Detached {
                    run: run.up(),
                    since,
                },
                vec![],
            ),
            Presence::Absent | Presence::Running { attached: true, .. } => {
                back_running(run, now, presence, None)
            }
        },
        Phase::Ending {
            held,
            reason,
            since,
        } => match presence {
            Presence::Absent => {
                let ordered_at = Some(since);
                let stopped = Stopped::Unconfirmed { ordered_at };
                over(held, stopped, reason, String::new())
            }
            Presence::Running { .. } => applied(
                Phase::Ending {
                    held: held.up(),
                    reason,
                    since: now,
                },
                vec![],
            ),
        },
    }
}

/// A node is back with a session that was placed or starting.
fn back_starting(
    held: Held,
    since: MonoTime,
    now: MonoTime,
    (ready, attached, used): (bool, bool, Use),
) -> (Phase, Vec<Effect>) {
    let next = match (ready, attached) {
        (false, _) => Phase::Starting {
            held,
            progress: used.first_progress(),
            since,
            moved_at: now,
        },
        (true, false) => Phase::Ready {
            run: Run::new(held, now),
        },
        (true, true) => Phase::Playing {
            run: Run::new(held, now),
            viewer: Viewer::Unnamed,
        },
    };
    (next, vec![Effect::Publish])
}

/// A node is back with, or without, a session that had shown its picture.
fn back_running(run: Run, now: MonoTime, presence: Presence, viewer: Option<Viewer>) -> Step {
    // Nobody could report input meanwhile: the idle time begins anew.
    let fresh = |run: Run| Run {
        input_at: now,
        ..run.up()
    };
    match (presence, viewer) {
        (Presence::Absent, Some(_) | None) => gone(run.held),
        (Presence::Running { attached: true, .. }, Some(viewer)) => {
            let run = fresh(run);
            applied(Phase::Playing { run, viewer }, vec![Effect::Show])
        }
        (Presence::Running { attached: true, .. }, None) => {
            let run = fresh(run);
            let viewer = Viewer::Unnamed;
            applied(Phase::Playing { run, viewer }, vec![Effect::Publish])
        }
        (
            Presence::Running {
                attached: false, ..
            },
            Some(_),
        ) => applied(
            Phase::Detached {
                run: run.up(),
                since: now,
            },
            vec![Effect::Publish],
        ),
        (
            Presence::Running {
                attached: false, ..
            },
            None,
        ) => applied(Phase::Ready { run: fresh(run) }, vec![]),
    }
}

fn gone(held: Held) -> Step {
    let detail = "the node came back without the session".to_owned();
    let stopped = Stopped::Unconfirmed { ordered_at: None };
    over(held, stopped, EndReason::NodeLost, detail)
}

impl Use {
    /// What a node says of a session; nobody attaches to a job, whatever it says.
    const fn seen(self, presence: Presence) -> Presence {
        match (self, presence) {
            (Self::Called, Presence::Running { ready, .. }) => Presence::Running {
                attached: false,
                ready,
            },
            (Self::Played, Presence::Running { .. }) | (_, Presence::Absent) => presence,
        }
    }
}
