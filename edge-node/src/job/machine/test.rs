use super::*;
use proptest::prelude::*;

fn rules(policy: RestartPolicy, restarts_max: u32) -> Rules {
    Rules {
        policy,
        restarts_max,
        has_ports: true,
    }
}

fn never() -> Rules {
    rules(RestartPolicy::Never, 0)
}

fn exit(status: i64) -> Event {
    Event::Exited(AppExit {
        status: Some(status),
        out_of_memory: false,
        detail: "bye".to_owned(),
    })
}

fn killed_for_memory() -> Event {
    Event::Exited(AppExit {
        status: Some(137),
        out_of_memory: true,
        detail: String::new(),
    })
}

fn unhealthy() -> Event {
    Event::Unhealthy {
        detail: "port api: status 500".to_owned(),
    }
}

fn run(rules: Rules, events: &[Event]) -> (Machine, Vec<Effect>) {
    let mut machine = Machine::new(rules);
    let mut effects = Vec::new();
    for event in events {
        effects.extend(machine.handle(event.clone()));
    }
    (machine, effects)
}

fn ready() -> Vec<Event> {
    vec![Event::ImageReady, Event::Started, Event::Healthy]
}

fn waiting(restarts: u32) -> Effect {
    progress(StartProgress::WaitingForHealth { restarts })
}

#[test]
fn the_way_to_ready_and_to_a_stop() {
    let mut events = ready();
    events.push(Event::Stopped(EndReason::PlayerEnded));
    let (_, effects) = run(never(), &events);
    let expected = [
        progress(StartProgress::StartingContainer),
        Effect::StartContainer,
        Effect::ArmStartTimeout,
        waiting(0),
        Effect::AwaitHealth,
        Effect::DisarmStartTimeout,
        Effect::OpenPorts,
        Effect::WatchHealth,
        Effect::Report(SessionReport::Ready),
        Effect::ClosePorts,
        Effect::TearDown(Ending {
            reason: EndReason::PlayerEnded,
            detail: String::new(),
        }),
    ];
    assert_eq!(effects, expected);
}

#[test]
fn a_job_without_ports_is_ready_when_it_runs() {
    let rules = Rules {
        has_ports: false,
        ..never()
    };
    let (machine, effects) = run(rules, &[Event::ImageReady, Event::Started]);
    assert_eq!(*machine.state(), State::Ready);
    assert_eq!(
        effects[2..],
        [Effect::Report(SessionReport::Ready)],
        "no deadline, nothing to ask, nothing to open"
    );
}

/// How a job ends, by its restart policy, what it was and what happened. Each row is fed to a fresh machine.
#[test]
fn the_table_of_ends() {
    use RestartPolicy::{Always, Never, OnFailure};
    let rows: Vec<(Rules, Vec<Event>, Event, Option<EndReason>)> = vec![
        (rules(Never, 9), ready(), exit(0), Some(EndReason::JobDone)),
        (
            rules(Never, 9),
            ready(),
            exit(3),
            Some(EndReason::JobFailed),
        ),
        (
            rules(Never, 9),
            ready(),
            killed_for_memory(),
            Some(EndReason::JobOutOfMemory),
        ),
        (
            rules(Never, 9),
            ready(),
            unhealthy(),
            Some(EndReason::JobUnhealthy),
        ),
        (
            rules(OnFailure, 9),
            ready(),
            exit(0),
            Some(EndReason::JobDone),
        ),
        (rules(OnFailure, 9), ready(), exit(3), None),
        (rules(OnFailure, 9), ready(), killed_for_memory(), None),
        (rules(OnFailure, 9), ready(), unhealthy(), None),
        (
            rules(OnFailure, 0),
            ready(),
            exit(3),
            Some(EndReason::JobFailed),
        ),
        (
            rules(OnFailure, 0),
            ready(),
            unhealthy(),
            Some(EndReason::JobUnhealthy),
        ),
        (rules(Always, 9), ready(), exit(0), None),
        (rules(Always, 9), ready(), exit(3), None),
        (rules(Always, 0), ready(), exit(0), Some(EndReason::JobDone)),
        (rules(Always, 9), ready()[..2].to_vec(), exit(1), None),
        (
            rules(Never, 0),
            ready()[..2].to_vec(),
            exit(1),
            Some(EndReason::JobFailed),
        ),
        (
            rules(Always, 9),
            ready()[..2].to_vec(),
            Event::StartTimedOut,
            Some(EndReason::JobStartTimeout),
        ),
        (rules(Never, 0), ready(), Event::StartTimedOut, None),
    ];
    for (rules, before, event, expected) in rows {
        let (mut machine, _) = run(rules, &before);
        let effects = machine.handle(event.clone());
        let end = effects.iter().find_map(|effect| match effect {
            Effect::TearDown(ending) => Some(ending.reason),
            _ => None,
        });
        assert_eq!(end, expected, "{rules:?} {before:?} {event:?}");
    }
}

#[test]
fn how_a_program_ended_is_said() {
    let said = |event| {
        let (_, effects) = run(never(), &[ready(), vec![event]].concat());
        match effects.last() {
            Some(Effect::TearDown(ending)) => ending.detail.clone(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(said(exit(0)), "bye");
    assert_eq!(said(exit(3)), "exit status 3\nbye");
    assert_eq!(said(exit(139)), "exit status 139, killed by signal 11\nbye");
    assert_eq!(
        said(Event::Exited(AppExit::default())),
        "its container was removed from outside"
    );
    let wordy = Event::Exited(AppExit {
        status: Some(1),
        out_of_memory: false,
        detail: "ä".repeat(DETAIL_BYTES_MAX),
    });
    let words = said(wordy);
    assert!(words.len() <= DETAIL_BYTES_MAX && words.starts_with("exit status 1\nä"));
}

#[test]
fn each_restart_in_a_row_waits_twice_as_long_and_ready_begins_anew() {
    let again = rules(RestartPolicy::OnFailure, 100);
    let mut machine = run(again, &ready()).0;
    let mut waits = Vec::new();
    let mut fail = |machine: &mut Machine| {
        for effect in machine.handle(exit(1)) {
            if let Effect::BackOff(wait) = effect {
                waits.push(wait.as_secs());
            }
        }
        assert_eq!(machine.handle(Event::BackedOff), [Effect::StartContainer]);
        machine.handle(Event::Started);
    };
    for _ in 0..8 {
        fail(&mut machine);
    }
    machine.handle(Event::Healthy);
    fail(&mut machine);
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 1]);
    assert_eq!(machine.restarts(), 9);
}

#[test]
fn one_deadline_holds_for_all_starts_until_ready() {
    let again = rules(RestartPolicy::OnFailure, 100);
    let crash = [exit(1), Event::BackedOff, Event::Started];
    let events = [&ready()[..2], &crash, &crash, &[Event::Healthy], &crash].concat();
    let (_, effects) = run(again, &events);
    let times = |wanted| effects.iter().filter(|effect| **effect == wanted).count();
    assert_eq!(
        times(Effect::ArmStartTimeout),
        2,
        "one until ready, one after it"
    );
    assert_eq!(times(Effect::DisarmStartTimeout), 1);
    assert_eq!(times(Effect::StartContainer), 4);
}

#[test]
fn an_unhealthy_job_is_stopped_before_it_is_started_again() {
    let again = rules(RestartPolicy::OnFailure, 1);
    let (mut machine, _) = run(again, &ready());
    assert_eq!(
        machine.handle(unhealthy()),
        [Effect::ClosePorts, Effect::StopContainer]
    );
    let effects = machine.handle(exit(143));
    let expected = [
        Effect::ArmStartTimeout,
        waiting(1),
        Effect::BackOff(BACKOFF_MIN),
    ];
    assert_eq!(effects, expected);
}

#[test]
fn an_adopted_job_goes_on_where_it_was() {
    let (machine, effects) = Machine::adopted(never(), 2, true);
    assert_eq!((machine.state(), machine.restarts()), (&State::Ready, 2));
    let open = [
        Effect::OpenPorts,
        Effect::WatchHealth,
        Effect::Report(SessionReport::Ready),
    ];
    assert_eq!(effects, open);
    let (machine, effects) = Machine::adopted(never(), 0, false);
    assert_eq!(*machine.state(), State::WaitingForHealth);
    assert_eq!(
        effects,
        [Effect::ArmStartTimeout, waiting(0), Effect::AwaitHealth]
    );
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        Just(Event::Pulling(Pulled::default())),
        Just(Event::ImageReady),
        Just(Event::Started),
        Just(Event::Healthy),
        Just(unhealthy()),
        (0..140_i64).prop_map(exit),
        Just(killed_for_memory()),
        Just(Event::StartTimedOut),
        Just(Event::BackedOff),
        Just(Event::Stopped(EndReason::PlayerEnded)),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_it_ends_once_and_starts_no_oftener_than_it_may(
        policy in prop_oneof![
            Just(RestartPolicy::Never), Just(RestartPolicy::OnFailure), Just(RestartPolicy::Always),
        ],
        restarts_max in 0..4_u32,
        has_ports: bool,
        events in proptest::collection::vec(any_event(), 0..60),
    ) {
        let rules = Rules { policy, restarts_max, has_ports };
        let (_, effects) = run(rules, &events);
        let starts = effects.iter().filter(|e| **e == Effect::StartContainer).count();
        prop_assert!(starts <= 1 + restarts_max as usize);
        let end = effects.iter().position(|e| matches!(e, Effect::TearDown(_)));
        prop_assert!(end.is_none_or(|end| end + 1 == effects.len()), "nothing follows the end");
        let mut open = false;
        for effect in &effects {
            match effect {
                Effect::OpenPorts => { prop_assert!(!open); open = true; }
                Effect::ClosePorts => { prop_assert!(open); open = false; }
                _ => {}
            }
        }
        prop_assert!(end.is_none() || !open, "ports are closed at the end");
    }
}
