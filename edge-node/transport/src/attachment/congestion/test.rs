//! What one flow does with what it is told.

use super::*;
use nearlight_stream::congestion::Outcome;

const RATES: Rates = Rates {
    kbps_start: 8_000,
    kbps_max: 12_000,
};

/// Sends for `ms` at 9.6 Mbit/s into a path that gives 4.8: each packet waits behind the others.
fn congest(flow: &mut Flow, signals: &Signals, ms: u64) -> Vec<Target> {
    send(flow, signals, ms, 2_000)
}

/// Sends for `ms` at 9.6 Mbit/s into a path that takes `spacing_us` for each packet.
fn send(flow: &mut Flow, signals: &Signals, ms: u64, spacing_us: u64) -> Vec<Target> {
    let mut targets = Vec::new();
    let mut outcomes = Vec::new();
    for at in 0..ms {
        let tag = Tag {
            kind: Kind::Video,
            sequence: Some(at as u16),
            bytes: 1_200,
        };
        flow.left(&tag, at * 1_000);
        outcomes.push(Outcome {
            sequence: at as u16,
            arrived_us: Some(20_000 + at * spacing_us),
        });
        if at % 50 == 49 {
            signals.reported(std::mem::take(&mut outcomes));
            targets.extend(flow.steer(signals, at * 1_000));
        }
    }
    targets
}

#[test]
fn the_target_falls_under_what_the_path_gives() {
    let signals = Signals::default();
    let mut flow = Flow::new(RATES, true, 0);
    assert_eq!(flow.first_target(0).kbps, 8_000);
    assert_eq!(flow.marks_every(), 1);
    let targets = congest(&mut flow, &signals, 400);
    let last = targets.last().unwrap().kbps;
    assert!(last < 4_800, "{targets:?}");
    assert_eq!(flow.marks_every(), if last < 4_000 { 4 } else { 1 });
    let state = flow.state(Repair::Rtx);
    assert_eq!(state.limited_by, LimitedBy::Capacity);
    assert!(state.queue_ms > 0);
    assert!(flow.demand(400_000, false).queue_us > 0);
}

#[test]
fn without_feedback_nothing_changes_and_nothing_waits() {
    let signals = Signals::default();
    let mut flow = Flow::new(RATES, false, 0);
    flow.first_target(0);
    assert_eq!(flow.steer(&signals, 5_000_000), None);
    assert_eq!(flow.room(5_000_000), usize::MAX);
    assert!(flow.admits(1_000_000, 10, 5_000_000));
    assert_eq!(flow.hold(1_000_000, 5_000_000), None);
}

#[test]
fn a_watcher_keeps_to_its_share_whether_it_reports_or_not_and_sound_takes_none_of_it() {
    for paces in [false, true] {
        let signals = Signals::default();
        let mut flow = Flow::new(RATES, paces, 0);
        flow.set_uplink(Some(150), true);
        flow.steer(&signals, 100_000);
        let (mut picture, mut frames) = (0, 0);
        for ms in 100..10_100_u64 {
            let now_us = ms * 1_000;
            // Sound of 192 kbit/s, more than the whole share.
            if ms % 10 == 0 {
                let sound = Tag {
                    kind: Kind::Audio,
                    sequence: None,
                    bytes: 240,
                };
                flow.left(&sound, now_us);
                flow.steer(&signals, now_us);
            }
            frames += u64::from(flow.admits(20_000, 2, now_us));
            while flow.room(now_us) > 0 {
                let tag = Tag {
                    kind: Kind::Video,
                    sequence: None,
                    bytes: 1_200,
                };
                flow.left(&tag, now_us);
                picture += 1_200;
            }
        }
        // Ten seconds of 150 kbit/s, and a burst.
        assert!((180_000..205_000).contains(&picture), "{paces} {picture}");
        assert_eq!(frames, 0, "what waits would be late");
        assert_eq!(flow.again_bytes_max(), AGAIN_BYTES_MIN);
        // No share, no limit but the path's.
        flow.set_uplink(None, true);
        flow.steer(&signals, 20_000_000);
        assert_eq!(flow.room(20_000_000) == usize::MAX, !paces);
    }
}

#[test]
fn while_nothing_is_heard_a_frame_gets_through_now_and_then() {
    let signals = Signals::default();
    let mut flow = Flow::new(RATES, true, 0);
    flow.first_target(0);
    congest(&mut flow, &signals, 100);
    let (mut held_ms, mut holds, mut until_us) = (0, 0, 0);
    for ms in 100..4_000_u64 {
        let now_us = ms * 1_000;
        let tag = Tag {
            kind: Kind::Video,
            sequence: Some(ms as u16),
            bytes: 100,
        };
        flow.left(&tag, now_us);
        flow.steer(&signals, now_us);
        if let Some(until) = flow.hold(0, now_us) {
            until_us = until;
            holds += 1;
        }
        held_ms += u64::from(now_us < until_us);
    }
    assert!((5..=12).contains(&holds), "{holds}");
    assert!((2_000..3_300).contains(&held_ms), "{held_ms}");
}

#[test]
fn the_players_wish_is_kept() {
    let signals = Signals::default();
    let mut flow = Flow::new(RATES, true, 0);
    flow.first_target(0);
    flow.set_wish(3_000, 360, 30);
    let target = flow.steer(&signals, 100_000).unwrap();
    assert!(target.kbps < 3_000);
    assert_eq!((target.scale_percent, target.fps_max), (50, 30));
    assert_eq!(flow.state(Repair::Rtx).limited_by, LimitedBy::Player);
    flow.set_wish(0, 0, 0);
    assert_eq!(flow.demand(0, false).kbps_wanted, wire_kbps(12_000));
}

#[test]
fn a_wish_for_more_than_the_operator_allows_is_told_what_it_gets() {
    let signals = Signals::default();
    let rates = Rates {
        kbps_start: 8_000,
        kbps_max: 8_000,
    };
    let mut flow = Flow::new(rates, true, 0);
    flow.first_target(0);
    flow.set_wish(20_000, 0, 0);
    // Nothing is drawn, so that nothing is missing.
    assert_eq!(flow.state(Repair::Rtx).limited_by, LimitedBy::Nothing);
    send(&mut flow, &signals, 1_000, 1_000);
    let state = flow.state(Repair::Rtx);
    assert_eq!(
        (state.limited_by, state.kbps_target),
        (LimitedBy::Operator, 8_000)
    );
    assert_eq!(state.kbps_max, Some(8_640));
    // Half the size can make use of half of that, and has it.
    flow.set_wish(20_000, 360, 0);
    flow.steer(&signals, 1_100_000);
    assert_eq!(flow.state(Repair::Rtx).limited_by, LimitedBy::Nothing);
    flow.set_wish(4_000, 0, 0);
    flow.steer(&signals, 1_200_000);
    assert_eq!(flow.state(Repair::Rtx).limited_by, LimitedBy::Player);
}
