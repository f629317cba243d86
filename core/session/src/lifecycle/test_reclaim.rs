use super::super::test::{attachment, claim, job_limits, limits};
use super::super::{Effect, Event, Lifecycle, Limits, Outcome, Phase};
use crate::epoch::Epoch;
use nearlight_protocol::api::{EndReason, StartProgress};
use nearlight_protocol::unit::MonoTime;

const MINUTE_MS: u64 = 60_000;
const NOW: MonoTime = MonoTime(1_000_000_000);

fn ready(limits: Limits) -> Lifecycle {
    let mut life = Lifecycle::new(limits);
    let epoch = Epoch(1);
    life.handle(NOW, Event::Claimed(claim(1)));
    life.handle(NOW, Event::StartAcked { epoch });
    life.handle(NOW, Event::NodeReady { epoch });
    life
}

fn reclaim(life: &mut Lifecycle, now: MonoTime, until: MonoTime) -> Outcome {
    let until = Some(until);
    life.handle(now, Event::Reclaimed { until })
}

fn warned(outcome: &Outcome) -> Option<(EndReason, u32)> {
    let Outcome::Applied(effects) = outcome else {
        return None;
    };
    effects.iter().find_map(|effect| match effect {
        Effect::Warn { reason, in_s, .. } => Some((*reason, *in_s)),
        _ => None,
    })
}

#[test]
fn whoever_is_there_is_told_at_once_and_it_ends_at_the_moment_that_was_said() {
    for limits in [limits(), job_limits()] {
        let until = NOW.plus_millis(MINUTE_MS);
        let mut life = ready(limits);
        let outcome = reclaim(&mut life, NOW, until);
        assert_eq!(warned(&outcome), Some((EndReason::Preempted, 60)));
        assert_eq!(life.ends_at(), Some(until));
        assert_eq!(life.reclaim_at(), Some(until));
        let again = reclaim(&mut life, NOW, until);
        assert!(matches!(again, Outcome::Ignored(_)), "once: {again:?}");
        let early = MonoTime(until.0 - 1);
        assert!(matches!(
            life.handle(early, Event::Tick),
            Outcome::Ignored(_)
        ));
        life.handle(until, Event::Tick);
        let Phase::Ending { reason, .. } = life.phase() else {
            panic!("{:?}", life.phase());
        };
        assert_eq!(*reason, EndReason::Preempted);
        assert!(life.is_over());
    }
}

#[test]
fn who_comes_back_is_told_and_once_more_shortly_before() {
    let until = NOW.plus_millis(5 * MINUTE_MS);
    let mut life = ready(limits());
    reclaim(&mut life, NOW, until);
    let later = NOW.plus_millis(MINUTE_MS);
    let epoch = Epoch(1);
    let attachment = attachment(1);
    let outcome = life.handle(later, Event::Attached { epoch, attachment });
    assert_eq!(warned(&outcome), Some((EndReason::Preempted, 240)));
    let last = NOW.plus_millis(4 * MINUTE_MS);
    assert_eq!(life.next_deadline(), Some(last));
    let outcome = life.handle(last, Event::Tick);
    assert_eq!(warned(&outcome), Some((EndReason::Preempted, 60)));
}

#[test]
fn a_start_is_not_waited_for_longer_than_the_capacity_is_there() {
    let until = NOW.plus_millis(1000);
    let mut life = Lifecycle::new(job_limits());
    life.handle(NOW, Event::Claimed(claim(1)));
    reclaim(&mut life, NOW, until);
    assert_eq!(life.next_deadline(), Some(until));
    let progress = StartProgress::StartingContainer;
    let epoch = Epoch(1);
    life.handle(NOW, Event::Progress { epoch, progress });
    assert_eq!(life.next_deadline(), Some(until));
}

#[test]
fn what_is_taken_back_by_its_operator_is_forgotten_and_said_to_be() {
    let mut life = ready(job_limits());
    let own = life.ends_at();
    reclaim(&mut life, NOW, NOW.plus_millis(1000));
    assert_ne!(life.ends_at(), own);
    let outcome = life.handle(NOW, Event::Reclaimed { until: None });
    let Outcome::Applied(effects) = outcome else {
        panic!("{outcome:?}");
    };
    assert!(matches!(
        effects[..],
        [Effect::Reprieve { .. }, Effect::Show]
    ));
    assert_eq!(life.ends_at(), own);
}

#[test]
fn a_job_that_may_goes_on_elsewhere_and_its_next_node_is_not_the_one_that_was_meant() {
    let until = NOW.plus_millis(1000);
    let limits = Limits {
        moves_left: 1,
        ..job_limits()
    };
    let mut life = ready(limits);
    reclaim(&mut life, NOW, until);
    life.handle(until, Event::Tick);
    assert!(!life.is_over(), "it keeps its place in the quota");
    let outcome = life.handle(until, Event::StopAcked { epoch: Epoch(1) });
    let Outcome::Applied(effects) = outcome else {
        panic!("{outcome:?}");
    };
    let moved = |effect: &Effect| {
        let reason = EndReason::Preempted;
        *effect == Effect::Moved { reason }
    };
    assert!(effects.iter().any(moved), "{effects:?}");
    assert_eq!(life.phase(), &Phase::Queued);
    assert_eq!(life.reclaim_at(), None);
}

#[test]
fn its_end_is_a_lost_nodes_too() {
    let until = NOW.plus_millis(MINUTE_MS);
    let mut life = ready(job_limits());
    reclaim(&mut life, NOW, until);
    life.handle(NOW, Event::NodeLost);
    let outcome = life.handle(until, Event::Tick);
    assert!(
        matches!(&outcome, Outcome::Applied(effects)
        if matches!(effects[0], Effect::Stop { reason: EndReason::Preempted, .. })),
        "{outcome:?}"
    );
}
