//! The life of a job: no viewer, idle by its requests, a wait that ends.

use super::*;

fn ready_job(limits: Limits) -> Lifecycle {
    let mut life = Lifecycle::new(limits);
    let epoch = Epoch(1);
    life.handle(NOW, Event::Claimed(claim(1)));
    life.handle(NOW, Event::StartAcked { epoch });
    assert!(matches!(
        life.phase(),
        Phase::Starting {
            progress: StartProgress::StartingContainer,
            ..
        }
    ));
    life.handle(NOW, Event::NodeReady { epoch });
    life
}

fn reason(life: &Lifecycle) -> Option<EndReason> {
    match life.phase() {
        Phase::Ending { reason, .. } | Phase::Ended { reason, .. } => Some(*reason),
        Phase::Queued
        | Phase::Placing { .. }
        | Phase::Starting { .. }
        | Phase::Ready { .. }
        | Phase::Playing { .. }
        | Phase::Detached { .. } => None,
    }
}

#[test]
fn a_job_without_a_viewer_stays_ready_and_is_idle_from_its_last_request() {
    let mut life = ready_job(job_limits());
    let idle = |since: MonoTime| since.plus_millis(15 * MINUTE_MS);
    assert_eq!(life.ends_at(), Some(idle(NOW)));
    let asked = NOW.plus_millis(14 * MINUTE_MS);
    life.handle(asked, Event::InputSeen { epoch: Epoch(1) });
    assert_eq!(life.ends_at(), Some(idle(asked)));
    life.handle(idle(asked), Event::Tick);
    assert_eq!(reason(&life), Some(EndReason::IdleTimeout));
}

#[test]
fn a_job_that_may_idle_ends_at_its_time_limit() {
    let limits = Limits {
        idle_ms: None,
        ..job_limits()
    };
    let mut life = ready_job(limits);
    let most = NOW.plus_millis(240 * MINUTE_MS);
    assert_eq!(
        life.next_deadline(),
        Some(most),
        "nobody is there to be warned"
    );
    life.handle(most, Event::Tick);
    assert_eq!(reason(&life), Some(EndReason::TimeLimit));
}

#[test]
fn a_job_whose_node_was_away_is_idle_anew() {
    let mut life = ready_job(job_limits());
    let lost = NOW.plus_millis(9 * MINUTE_MS);
    life.handle(lost, Event::NodeLost);
    assert_eq!(life.next_deadline(), Some(lost.plus_millis(10 * MINUTE_MS)));
    let back = lost.plus_millis(9 * MINUTE_MS);
    let presence = Presence::Running {
        attached: true,
        ready: true,
    };
    life.handle(back, Event::NodeBack { presence });
    assert_eq!(name(life.phase()), "ready", "whatever the node says");
    assert_eq!(life.ends_at(), Some(back.plus_millis(15 * MINUTE_MS)));
}

#[test]
fn a_job_waits_for_a_place_as_long_as_it_says() {
    let until = NOW.plus_millis(MINUTE_MS);
    let limits = Limits {
        queue_until: Some(until),
        ..job_limits()
    };
    let mut life = Lifecycle::new(limits);
    assert_eq!(life.next_deadline(), Some(until));
    let early = life.handle(MonoTime(until.0 - 1), Event::Tick);
    assert_eq!(early, Outcome::Ignored(Ignored::NotDue));
    let outcome = life.handle(until, Event::Tick);
    assert_eq!(outcome, Outcome::Applied(vec![Effect::Publish]));
    assert_eq!(reason(&life), Some(EndReason::QueueTimeout));
}

#[test]
fn a_job_that_is_not_healthy_in_time_ends_for_that() {
    let mut life = Lifecycle::new(job_limits());
    life.handle(NOW, Event::Claimed(claim(1)));
    life.handle(NOW, Event::StartAcked { epoch: Epoch(1) });
    life.handle(NOW.plus_millis(MINUTE_MS), Event::Tick);
    assert_eq!(reason(&life), Some(EndReason::JobStartTimeout));
}

/// The first replica of a cluster, as often as all start again.
fn head() -> Lifecycle {
    ready_job(Limits {
        runs_again: true,
        ..job_limits()
    })
}

#[test]
fn the_head_of_a_cluster_waits_again_after_a_run() {
    let again = EndReason::ClusterEnded;
    let mut life = head();
    life.handle(NOW, Event::EndRequested { reason: again });
    assert_eq!(name(life.phase()), "ending");
    assert!(!life.is_over(), "it keeps its place in the quota");
    let stopped = life.handle(NOW, Event::StopAcked { epoch: Epoch(1) });
    let Outcome::Applied(effects) = stopped else {
        panic!("{stopped:?}");
    };
    let releases = |effect: &Effect| matches!(effect, Effect::Release { .. });
    assert!(effects.iter().any(releases), "{effects:?}");
    assert_eq!(life.phase(), &Phase::Queued);
    life.handle(NOW, Event::Claimed(claim(2)));
    let ended = Event::NodeEnded {
        epoch: Epoch(2),
        reason: EndReason::JobFailed,
        detail: String::new(),
    };
    life.handle(NOW, ended);
    assert_eq!(
        reason(&life),
        Some(EndReason::JobFailed),
        "any other end is one"
    );
    assert_eq!(name(life.phase()), "ended");
}

#[test]
fn a_wish_to_end_a_cluster_that_is_between_two_runs_is_heard() {
    let mut life = head();
    let end = |reason| Event::EndRequested { reason };
    life.handle(NOW, end(EndReason::ClusterEnded));
    assert_eq!(
        life.handle(NOW, end(EndReason::ClusterEnded)),
        Outcome::Ignored(Ignored::Already)
    );
    life.handle(NOW, end(EndReason::PlayerEnded));
    assert!(life.is_over());
    life.handle(NOW, Event::StopAcked { epoch: Epoch(1) });
    assert_eq!(
        life.phase(),
        &Phase::Ended {
            reason: EndReason::PlayerEnded,
            detail: String::new()
        }
    );
}

#[test]
fn another_replica_that_ends_with_its_cluster_is_over() {
    let mut life = ready_job(job_limits());
    life.handle(
        NOW,
        Event::EndRequested {
            reason: EndReason::ClusterEnded,
        },
    );
    assert!(life.is_over());
    life.handle(NOW, Event::StopAcked { epoch: Epoch(1) });
    assert_eq!(name(life.phase()), "ended");
}

fn movable(moves_left: u32) -> Limits {
    Limits {
        moves_left,
        ..job_limits()
    }
}

fn releases_and_moves(outcome: &Outcome) -> (usize, usize) {
    let Outcome::Applied(effects) = outcome else {
        return (0, 0);
    };
    let count = |is: fn(&Effect) -> bool| effects.iter().filter(|effect| is(effect)).count();
    (
        count(|effect| matches!(effect, Effect::Release { .. })),
        count(|effect| matches!(effect, Effect::Moved { .. })),
    )
}

#[test]
fn a_job_that_may_waits_for_another_node_once_its_own_is_lost_for_good() {
    let grace = NOW.plus_millis(10 * MINUTE_MS);
    let mut life = ready_job(movable(1));
    life.handle(NOW, Event::NodeLost);
    assert!(life.may_start_again());
    let outcome = life.handle(grace, Event::Tick);
    assert_eq!(releases_and_moves(&outcome), (1, 1));
    assert_eq!(life.phase(), &Phase::Queued);
    assert!(!life.is_over() && life.may_start_again());
    // What the lost node still says is of another epoch.
    life.handle(grace, Event::Claimed(claim(2)));
    let late = life.handle(grace, Event::NodeReady { epoch: Epoch(1) });
    assert_eq!(late, Outcome::Ignored(Ignored::StaleEpoch));
    life.handle(grace, Event::StartAcked { epoch: Epoch(2) });
    life.handle(grace, Event::NodeReady { epoch: Epoch(2) });
    assert!(!life.may_start_again(), "it had its one move");
    life.handle(grace, Event::NodeLost);
    let outcome = life.handle(grace.plus_millis(10 * MINUTE_MS), Event::Tick);
    assert_eq!(releases_and_moves(&outcome), (1, 0));
    assert_eq!(reason(&life), Some(EndReason::NodeLost));
}

#[test]
fn a_node_that_drains_or_comes_back_without_it_sends_a_job_elsewhere() {
    let epoch = Epoch(1);
    let drained = Event::NodeEnded {
        epoch,
        reason: EndReason::NodeDrained,
        detail: String::new(),
    };
    let without = Event::NodeBack {
        presence: Presence::Absent,
    };
    for event in [drained, without] {
        let mut life = ready_job(movable(2));
        let outcome = life.handle(NOW, event.clone());
        assert_eq!(releases_and_moves(&outcome), (1, 1), "{event:?}");
        assert_eq!(life.phase(), &Phase::Queued);
        let mut stays = ready_job(movable(0));
        let outcome = stays.handle(NOW, event);
        assert_eq!(releases_and_moves(&outcome), (1, 0));
        assert!(stays.is_over());
    }
}

#[test]
fn who_ends_a_job_ends_it_wherever_it_might_go() {
    let mut life = ready_job(movable(9));
    let reason = EndReason::PlayerEnded;
    life.handle(NOW, Event::EndRequested { reason });
    assert!(life.is_over());
    life.handle(NOW, Event::NodeLost);
    let outcome = life.handle(NOW.plus_millis(10 * MINUTE_MS), Event::Tick);
    assert_eq!(releases_and_moves(&outcome), (1, 0));
    assert!(matches!(
        life.phase(),
        Phase::Ended {
            reason: EndReason::PlayerEnded,
            ..
        }
    ));
    let mut failed = ready_job(movable(9));
    failed.handle(
        NOW,
        Event::NodeEnded {
            epoch: Epoch(1),
            reason: EndReason::JobFailed,
            detail: String::new(),
        },
    );
    assert!(matches!(failed.phase(), Phase::Ended { .. }));
    let mut waiting = Lifecycle::new(movable(9));
    let reason = EndReason::NodeDrained;
    waiting.handle(NOW, Event::EndRequested { reason });
    assert!(
        matches!(waiting.phase(), Phase::Ended { .. }),
        "it had no node"
    );
}
