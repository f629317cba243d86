use super::*;
use proptest::prelude::*;

fn exit(status: i64) -> Event {
    Event::AppExited(AppExit {
        status: Some(status),
        out_of_memory: false,
        detail: "bye".to_owned(),
    })
}

fn gone() -> Event {
    Event::WorkerGone {
        detail: "segfault".to_owned(),
    }
}

fn failed(reason: EndReason) -> Event {
    Event::WorkerFailed(worker::Failed {
        reason,
        detail: String::new(),
    })
}

/// Events up to a first picture.
fn straight() -> Vec<Event> {
    vec![
        Event::ImageReady,
        Event::DesktopReady,
        Event::AppStarted,
        Event::FirstFrame,
    ]
}

/// Feeds all events, and answers every `ArmLastWords` that nothing followed up.
fn run(events: &[Event]) -> (Machine, Vec<Effect>) {
    let (mut machine, mut effects) = Machine::new();
    for event in events {
        effects.extend(machine.handle(event.clone()));
    }
    (machine, effects)
}

fn check_end(events: &[Event], expected: EndReason) {
    let (mut machine, mut effects) = run(events);
    effects.extend(machine.handle(Event::LastWordsOver));
    let reasons: Vec<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::TearDown(ending) => Some(ending.reason),
            Effect::ArmStartTimeout
            | Effect::StartApp
            | Effect::ArmLastWords
            | Effect::Report(_) => None,
        })
        .collect();
    assert_eq!(reasons, [expected], "{events:?}");
}

#[test]
fn the_straight_way_reports_each_step_once() {
    for order in [[0, 1], [1, 0]] {
        let both = [Event::ImageReady, Event::DesktopReady];
        let events = [
            both[order[0]].clone(),
            both[order[1]].clone(),
            Event::AppStarted,
            Event::FirstFrame,
        ];
        let (machine, effects) = run(&events);
        assert_eq!(*machine.state(), State::Ready);
        let expected = [
            progress(StartProgress::StartingDesktop),
            Effect::ArmStartTimeout,
            progress(StartProgress::StartingApp),
            Effect::StartApp,
            progress(StartProgress::WaitingForPicture),
            Effect::Report(SessionReport::Ready),
        ];
        assert_eq!(effects, expected);
    }
}

#[test]
fn a_picture_before_the_engine_answers_is_not_lost() {
    let (machine, effects) = run(&[
        Event::ImageReady,
        Event::DesktopReady,
        Event::FirstFrame,
        Event::AppStarted,
    ]);
    assert_eq!(*machine.state(), State::Ready);
    assert_eq!(effects.last(), Some(&Effect::Report(SessionReport::Ready)));
}

#[test]
fn an_app_that_ends_says_how() {
    let with = |event: Event, count: usize| {
        let mut events = straight();
        events.truncate(count);
        events.push(event);
        events
    };
    check_end(&with(exit(0), 3), EndReason::AppStartFailed);
    check_end(&with(exit(1), 3), EndReason::AppStartFailed);
    check_end(&with(exit(0), 4), EndReason::AppExited);
    check_end(&with(exit(139), 4), EndReason::AppCrashed);
    let unknown = Event::AppExited(AppExit::default());
    check_end(&with(unknown, 4), EndReason::AppCrashed);
    let oom = Event::AppExited(AppExit {
        status: Some(137),
        out_of_memory: true,
        detail: String::new(),
    });
    check_end(&with(oom.clone(), 3), EndReason::AppOutOfMemory);
    check_end(&with(oom, 4), EndReason::AppOutOfMemory);
}

#[test]
fn the_cause_is_told_and_not_its_consequence() {
    let with = |tail: &[Event]| {
        let mut events = straight();
        events.extend(tail.iter().cloned());
        events
    };
    check_end(&with(&[gone()]), EndReason::WorkerCrashed);
    check_end(&with(&[gone(), exit(1)]), EndReason::WorkerCrashed);
    check_end(&with(&[exit(1), gone(), gone()]), EndReason::WorkerCrashed);
    let violation = failed(EndReason::DesktopViolation);
    check_end(
        &with(&[violation.clone(), exit(1), gone()]),
        EndReason::DesktopViolation,
    );
    check_end(
        &with(&[exit(1), violation.clone(), gone()]),
        EndReason::DesktopViolation,
    );
    check_end(&with(&[gone(), violation]), EndReason::DesktopViolation);
    let stop = Event::Stopped(EndReason::PlayerEnded);
    check_end(
        &with(&[stop.clone(), exit(143), gone()]),
        EndReason::PlayerEnded,
    );
    check_end(&with(&[exit(0), stop]), EndReason::AppExited);
}

#[test]
fn a_start_that_takes_too_long_ends_and_a_picture_stops_the_clock() {
    for count in 0..=3 {
        let mut events = straight();
        events.truncate(count);
        events.push(Event::StartTimedOut);
        check_end(&events, EndReason::StartTimeout);
    }
    let mut events = straight();
    events.push(Event::StartTimedOut);
    assert_eq!(*run(&events).0.state(), State::Ready);
}

#[test]
fn an_adopted_session_goes_on_where_it_was() {
    let mut playing = Machine::adopted(true);
    assert!(playing.handle(Event::DesktopReady).is_empty());
    assert!(playing.handle(Event::FirstFrame).is_empty());
    assert_eq!(*playing.state(), State::Ready);
    let mut starting = Machine::adopted(false);
    assert!(starting.handle(Event::DesktopReady).is_empty());
    let effects = starting.handle(Event::FirstFrame);
    assert_eq!(effects, [Effect::Report(SessionReport::Ready)]);
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        Just(Event::Pulling(Pulled::default())),
        Just(Event::ImageReady),
        Just(Event::DesktopReady),
        Just(Event::AppStarted),
        Just(Event::FirstFrame),
        Just(exit(0)),
        Just(exit(1)),
        Just(failed(EndReason::EncoderFailed)),
        Just(gone()),
        Just(Event::StartTimedOut),
        Just(Event::LastWordsOver),
        Just(Event::Stopped(EndReason::IdleTimeout)),
    ]
}

proptest! {
    #[test]
    fn it_is_torn_down_at_most_once_and_is_silent_after(
        events in proptest::collection::vec(any_event(), 0..40)
    ) {
        let (mut machine, _) = Machine::new();
        let mut starts = 0;
        let mut readies = 0;
        let mut torn_down = false;
        for event in events {
            for effect in machine.handle(event) {
                prop_assert!(!torn_down, "{effect:?} after the end");
                match effect {
                    Effect::TearDown(_) => torn_down = true,
                    Effect::StartApp => starts += 1,
                    Effect::Report(SessionReport::Ready) => readies += 1,
                    Effect::ArmStartTimeout | Effect::ArmLastWords | Effect::Report(_) => {}
                }
            }
        }
        prop_assert!(starts <= 1 && readies <= starts);
        machine.handle(Event::Stopped(EndReason::NodeDrained));
        prop_assert!(matches!(machine.state(), State::Ending(_)));
    }
}
