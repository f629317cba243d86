//! The whole table as vectors, and random lives against a shadow that only counts.

use super::*;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

#[path = "test_jobs.rs"]
mod jobs;

const MINUTE_MS: u64 = 60_000;
const NOW: MonoTime = MonoTime(1_000_000_000);

pub(super) fn limits() -> Limits {
    Limits {
        used: Use::Played,
        queue_until: None,
        start_ms: MINUTE_MS,
        start_total_ms: 10 * MINUTE_MS,
        idle_ms: Some(15 * MINUTE_MS),
        max_ms: 240 * MINUTE_MS,
        grace_ms: 2 * MINUTE_MS,
        stop_ms: MINUTE_MS,
        node_grace_ms: 10 * MINUTE_MS,
        warn_ms: MINUTE_MS,
        runs_again: false,
        reclaim_at: None,
        moves_left: 0,
    }
}

pub(super) fn job_limits() -> Limits {
    Limits {
        used: Use::Called,
        ..limits()
    }
}

pub(super) fn claim(epoch: u64) -> Claim {
    Claim {
        node: NodeId::from_parts(1, [0; 10]),
        slot: SlotId::from_parts(2, [0; 10]),
        epoch: Epoch(epoch),
    }
}

pub(super) fn attachment(n: u64) -> AttachmentId {
    AttachmentId::from_parts(n, [0; 10])
}

fn held() -> Held {
    Held {
        claim: claim(1),
        link: Link::Up,
    }
}

fn run() -> Run {
    Run {
        held: held(),
        ready_at: NOW,
        input_at: NOW,
        warned_of: None,
    }
}

fn phases() -> Vec<(&'static str, Phase)> {
    let reason = EndReason::PlayerEnded;
    let viewer = Viewer::Named(attachment(1));
    let detail = String::new();
    vec![
        ("queued", Phase::Queued),
        (
            "placing",
            Phase::Placing {
                held: held(),
                since: NOW,
            },
        ),
        (
            "starting",
            Phase::Starting {
                held: held(),
                progress: StartProgress::StartingDesktop,
                since: NOW,
                moved_at: NOW,
            },
        ),
        ("ready", Phase::Ready { run: run() }),
        ("playing", Phase::Playing { run: run(), viewer }),
        (
            "detached",
            Phase::Detached {
                run: run(),
                since: NOW,
            },
        ),
        (
            "ending",
            Phase::Ending {
                held: held(),
                reason,
                since: NOW,
            },
        ),
        ("ended", Phase::Ended { reason, detail }),
    ]
}

fn events() -> Vec<(&'static str, Event)> {
    let epoch = Epoch(1);
    let detail = || "why".to_owned();
    let back = |attached, ready| Event::NodeBack {
        presence: Presence::Running { attached, ready },
    };
    let absent = Presence::Absent;
    let reason = EndReason::AppExited;
    let progress = StartProgress::StartingApp;
    let player = EndReason::PlayerEnded;
    let until = Some(NOW.plus_millis(MINUTE_MS));
    let ended = |epoch| Event::NodeEnded {
        epoch,
        reason,
        detail: detail(),
    };
    let attached = |n| Event::Attached {
        epoch,
        attachment: attachment(n),
    };
    let detached = |n| Event::Detached {
        epoch,
        attachment: attachment(n),
    };
    vec![
        ("claimed", Event::Claimed(claim(2))),
        ("start-acked", Event::StartAcked { epoch }),
        (
            "start-denied",
            Event::StartDenied {
                epoch,
                detail: detail(),
            },
        ),
        ("progress", Event::Progress { epoch, progress }),
        ("node-ready", Event::NodeReady { epoch }),
        ("attached-same", attached(1)),
        ("attached-other", attached(2)),
        ("detached-same", detached(1)),
        ("detached-other", detached(2)),
        ("input-seen", Event::InputSeen { epoch }),
        ("node-ended", ended(epoch)),
        ("node-ended-stale", ended(Epoch(9))),
        ("stop-acked", Event::StopAcked { epoch }),
        ("end-requested", Event::EndRequested { reason: player }),
        ("reclaimed", Event::Reclaimed { until }),
        ("node-lost", Event::NodeLost),
        ("node-back-absent", Event::NodeBack { presence: absent }),
        ("node-back-starting", back(false, false)),
        ("node-back-ready", back(false, true)),
        ("node-back-attached", back(true, true)),
        ("tick-early", Event::Tick),
    ]
}

/// The tables of apps and of jobs, each with its file.
const VECTORS: [(Use, &str, &str); 2] = [
    (
        Use::Played,
        "lifecycle.json",
        include_str!("../../vectors/lifecycle.json"),
    ),
    (
        Use::Called,
        "lifecycle_job.json",
        include_str!("../../vectors/lifecycle_job.json"),
    ),
];

#[allow(
    clippy::disallowed_methods,
    reason = "generates the vectors, on request"
)]
fn write_vectors(file: &str, table: &[Vector]) {
    let lines: Vec<String> = table
        .iter()
        .map(|v| format!("  {}", serde_json::to_string(v).unwrap()))
        .collect();
    let path = format!("{}/vectors/{file}", env!("CARGO_MANIFEST_DIR"));
    std::fs::write(path, format!("[\n{}\n]\n", lines.join(",\n"))).unwrap();
}

/// One edge of the table.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Vector {
    phase: String,
    event: String,
    outcome: String,
    to: String,
    effects: Vec<String>,
}

fn name(phase: &Phase) -> &'static str {
    match phase {
        Phase::Queued => "queued",
        Phase::Placing { .. } => "placing",
        Phase::Starting { .. } => "starting",
        Phase::Ready { .. } => "ready",
        Phase::Playing { .. } => "playing",
        Phase::Detached { .. } => "detached",
        Phase::Ending { .. } => "ending",
        Phase::Ended { .. } => "ended",
    }
}

fn effect_name(effect: &Effect) -> &'static str {
    match effect {
        Effect::Stop { .. } => "stop",
        Effect::UsageBegins { .. } => "usage-begins",
        Effect::Release { .. } => "release",
        Effect::Moved { .. } => "moved",
        Effect::Warn { .. } => "warn",
        Effect::Reprieve { .. } => "reprieve",
        Effect::Publish => "publish",
        Effect::Show => "show",
    }
}

fn table_of(limits: Limits) -> Vec<Vector> {
    let mut table = Vec::new();
    for (phase_name, phase) in phases() {
        for (event_name, event) in events() {
            let mut life = Lifecycle::restore(limits, phase.clone(), 0);
            let outcome = life.handle(NOW, event);
            let (outcome, effects) = match &outcome {
                Outcome::Applied(effects) => ("applied".to_owned(), effects.as_slice()),
                Outcome::Ignored(why) => (format!("ignored: {why}"), [].as_slice()),
                Outcome::Denied(why) => (format!("denied: {why}"), [].as_slice()),
            };
            table.push(Vector {
                phase: phase_name.to_owned(),
                event: event_name.to_owned(),
                outcome,
                to: name(life.phase()).to_owned(),
                effects: effects.iter().map(|e| effect_name(e).to_owned()).collect(),
            });
        }
    }
    table
}

#[test]
fn the_vectors_are_the_table() {
    for (used, file, text) in VECTORS {
        let table = table_of(Limits { used, ..limits() });
        if std::env::var_os("NEARLIGHT_GENERATE").is_some() {
            write_vectors(file, &table);
            continue;
        }
        let vectors: Vec<Vector> = serde_json::from_str(text).unwrap();
        assert_eq!(vectors.len(), table.len(), "every phase with every event");
        for (vector, edge) in vectors.iter().zip(&table) {
            assert_eq!(vector, edge, "{file}");
        }
    }
}

fn playing(since: MonoTime) -> Lifecycle {
    let run = Run {
        ready_at: since,
        input_at: since,
        ..run()
    };
    let viewer = Viewer::Named(attachment(1));
    Lifecycle::restore(limits(), Phase::Playing { run, viewer }, 0)
}

#[test]
fn an_idle_player_is_warned_once_and_again_after_input() {
    let mut life = playing(NOW);
    let warn_at = NOW.plus_millis(14 * MINUTE_MS);
    assert_eq!(life.next_deadline(), Some(warn_at));
    let warned = |outcome: Outcome| match outcome {
        Outcome::Applied(effects) => effects.iter().find_map(|e| match e {
            Effect::Warn { reason, in_s, .. } => Some((*reason, *in_s)),
            _ => None,
        }),
        Outcome::Ignored(_) | Outcome::Denied(_) => None,
    };
    assert_eq!(
        warned(life.handle(warn_at, Event::Tick)),
        Some((EndReason::IdleTimeout, 60))
    );
    assert_eq!(warned(life.handle(warn_at, Event::Tick)), None, "once");
    let later = warn_at.plus_millis(30_000);
    life.handle(later, Event::InputSeen { epoch: Epoch(1) });
    let again = later.plus_millis(14 * MINUTE_MS);
    assert_eq!(life.next_deadline(), Some(again));
    assert!(warned(life.handle(again, Event::Tick)).is_some());
    life.handle(again.plus_millis(MINUTE_MS), Event::Tick);
    assert!(matches!(
        life.phase(),
        Phase::Ending {
            reason: EndReason::IdleTimeout,
            ..
        }
    ));
}

#[test]
fn a_lost_node_keeps_its_session_for_its_grace_and_cannot_be_idle() {
    let mut life = playing(NOW);
    let lost = NOW.plus_millis(10 * MINUTE_MS);
    life.handle(lost, Event::NodeLost);
    let idle = NOW.plus_millis(16 * MINUTE_MS);
    assert_eq!(
        life.handle(idle, Event::Tick),
        Outcome::Ignored(Ignored::NotDue)
    );
    life.handle(lost.plus_millis(10 * MINUTE_MS), Event::Tick);
    assert!(matches!(
        life.phase(),
        Phase::Ended {
            reason: EndReason::NodeLost,
            ..
        }
    ));
}

/// What the bill hangs on.
#[test]
fn a_stop_is_confirmed_by_the_nodes_word_alone() {
    let since = NOW.plus_millis(MINUTE_MS);
    let late = since.plus_millis(60 * MINUTE_MS);
    let ending = |link| {
        let held = Held { link, ..run().held };
        let reason = EndReason::PlayerEnded;
        let phase = Phase::Ending {
            held,
            reason,
            since,
        };
        Lifecycle::restore(limits(), phase, 0)
    };
    let stopped = |mut life: Lifecycle, event| match life.handle(late, event) {
        Outcome::Applied(effects) => effects.iter().find_map(|effect| match effect {
            Effect::Release { stopped, .. } => Some(*stopped),
            _ => None,
        }),
        Outcome::Ignored(_) | Outcome::Denied(_) => None,
    };
    let epoch = Epoch(1);
    let ended = Event::NodeEnded {
        epoch,
        reason: EndReason::AppExited,
        detail: String::new(),
    };
    let absent = Event::NodeBack {
        presence: Presence::Absent,
    };
    let confirmed = Some(Stopped::Confirmed);
    let unconfirmed = |ordered_at| Some(Stopped::Unconfirmed { ordered_at });
    assert_eq!(stopped(playing(NOW), ended.clone()), confirmed);
    assert_eq!(stopped(ending(Link::Up), ended), confirmed);
    assert_eq!(
        stopped(ending(Link::Up), Event::StopAcked { epoch }),
        confirmed
    );
    assert_eq!(stopped(playing(NOW), absent.clone()), unconfirmed(None));
    assert_eq!(stopped(ending(Link::Up), absent), unconfirmed(Some(since)));
    assert_eq!(
        stopped(ending(Link::Up), Event::Tick),
        unconfirmed(Some(since))
    );
    let lost = Link::Lost { since: NOW };
    assert_eq!(stopped(ending(lost), Event::Tick), unconfirmed(Some(since)));
    let mut gone = playing(NOW);
    gone.handle(NOW, Event::NodeLost);
    assert_eq!(stopped(gone, Event::Tick), unconfirmed(None));
}

#[test]
fn an_image_that_is_still_pulled_is_waited_for_up_to_a_bound() {
    let mut life = Lifecycle::new(limits());
    life.handle(NOW, Event::Claimed(claim(1)));
    let mut at = NOW;
    for done_bytes in 0..100 {
        let Some(deadline) = life.next_deadline() else {
            panic!("a session with a claim has a deadline");
        };
        at = MonoTime(deadline.0 - 1);
        let progress = StartProgress::Pulling {
            done_bytes,
            total_bytes: 100,
            layers_done: 0,
            layers: 1,
        };
        life.handle(
            at,
            Event::Progress {
                epoch: Epoch(1),
                progress,
            },
        );
        if life.next_deadline() == Some(deadline) {
            break;
        }
    }
    assert_eq!(at.plus_millis(1).millis_since(NOW), 10 * MINUTE_MS);
    life.handle(at.plus_millis(1), Event::Tick);
    assert!(matches!(
        life.phase(),
        Phase::Ending {
            reason: EndReason::StartTimeout,
            ..
        }
    ));
}

#[test]
fn a_session_that_no_node_will_start_is_given_up() {
    let mut life = Lifecycle::new(limits());
    for epoch in 1..=u64::from(STARTS_DENIED_MAX) {
        assert_eq!(*life.phase(), Phase::Queued);
        life.handle(NOW, Event::Claimed(claim(epoch)));
        let detail = "no".to_owned();
        life.handle(
            NOW,
            Event::StartDenied {
                epoch: Epoch(epoch),
                detail,
            },
        );
    }
    assert!(matches!(
        life.phase(),
        Phase::Ended {
            reason: EndReason::RuntimeFailed,
            ..
        }
    ));
}

fn any_event() -> impl Strategy<Value = (usize, u64, u64)> {
    (0..events().len(), 0..3_u64, 0..20 * MINUTE_MS)
}

/// The event of the list, under the claim's epoch or, now and then, another.
fn of_epoch(event: Event, epoch: u64) -> Event {
    let epoch = Epoch(epoch);
    match event {
        Event::Claimed(_) => Event::Claimed(claim(epoch.0)),
        Event::StartAcked { .. } => Event::StartAcked { epoch },
        Event::StartDenied { detail, .. } => Event::StartDenied { epoch, detail },
        Event::Progress { progress, .. } => Event::Progress { epoch, progress },
        Event::NodeReady { .. } => Event::NodeReady { epoch },
        Event::Attached { attachment, .. } => Event::Attached { epoch, attachment },
        Event::Detached { attachment, .. } => Event::Detached { epoch, attachment },
        Event::InputSeen { .. } => Event::InputSeen { epoch },
        Event::NodeEnded { reason, detail, .. } => Event::NodeEnded {
            epoch,
            reason,
            detail,
        },
        Event::StopAcked { .. } => Event::StopAcked { epoch },
        Event::EndRequested { .. }
        | Event::Reclaimed { .. }
        | Event::NodeLost
        | Event::NodeBack { .. }
        | Event::Tick => event,
    }
}

/// What the effects add up to.
#[derive(Debug, Default)]
struct Shadow {
    claims: u32,
    releases: u32,
    begun: u32,
    running: bool,
}

impl Shadow {
    fn take(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::UsageBegins { .. } => {
                    assert!(!self.running, "one interval at a time");
                    self.running = true;
                    self.begun += 1;
                }
                Effect::Release { .. } => {
                    self.releases += 1;
                    self.running = false;
                }
                Effect::Stop { .. }
                | Effect::Moved { .. }
                | Effect::Warn { .. }
                | Effect::Reprieve { .. }
                | Effect::Publish
                | Effect::Show => {}
            }
        }
    }
}

proptest! {
    #[test]
    fn i4_every_reservation_ends_and_is_released_once(
        ops in prop::collection::vec(any_event(), 0..60),
        is_job in any::<bool>(),
    ) {
        let all = events();
        let mut life = Lifecycle::new(if is_job { job_limits() } else { limits() });
        let mut shadow = Shadow::default();
        let mut now = NOW;
        for (at, skew, wait_ms) in ops {
            now = now.plus_millis(wait_ms);
            let epoch = match life.held() {
                Some(held) => (held.claim.epoch.0 + skew / 2).max(1),
                None => u64::from(shadow.claims) + 1,
            };
            let event = of_epoch(all[at].1.clone(), epoch);
            let claims = matches!(event, Event::Claimed(_));
            let before = life.clone();
            match life.handle(now, event) {
                Outcome::Applied(effects) => {
                    shadow.claims += u32::from(claims);
                    shadow.take(&effects);
                    prop_assert!(!matches!(before.phase(), Phase::Ended { .. }), "ended is final");
                }
                Outcome::Ignored(_) | Outcome::Denied(_) => {
                    prop_assert_eq!(before.phase(), life.phase());
                }
            }
            let held = u32::from(life.held().is_some());
            prop_assert_eq!(shadow.claims, shadow.releases + held);
            prop_assert_eq!(life.held().is_some(), life.next_deadline().is_some());
        }
        // From here on nobody says anything: time alone ends it.
        for _ in 0..8 {
            let Some(deadline) = life.next_deadline() else { break };
            now = now.max(deadline);
            match life.handle(now, Event::Tick) {
                Outcome::Applied(effects) => shadow.take(&effects),
                other => prop_assert!(false, "a deadline that changes nothing: {:?}", other),
            }
        }
        prop_assert!(life.held().is_none(), "still {:?}", life.phase());
        prop_assert_eq!(shadow.claims, shadow.releases);
        prop_assert!(!shadow.running && shadow.begun <= shadow.claims);
    }
}
