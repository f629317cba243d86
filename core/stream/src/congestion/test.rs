//! What holds whatever the feedback. How it behaves on paths is in sim/tests.

use super::*;
use proptest::prelude::*;

const CONFIG: Config = Config {
    kbps_min: 200,
    kbps_start: 8_000,
    kbps_max: 20_000,
};

fn holds(controller: &mut Controller, now_us: u64) -> Result<(), TestCaseError> {
    let estimate = controller.estimate(now_us);
    let rate = controller.kbps_rate();
    prop_assert!(
        (CONFIG.kbps_min..=CONFIG.kbps_max).contains(&rate),
        "{rate}"
    );
    prop_assert!(estimate.kbps_media > 0 && estimate.kbps_media <= rate);
    prop_assert!(estimate.kbps_pacing >= rate && estimate.kbps_path >= rate);
    prop_assert!(estimate.loss_permille <= 1000);
    Ok(())
}

#[derive(Clone, Debug)]
enum Step {
    Send(u16, u32, u64),
    Feedback(Vec<(u16, Option<u64>)>, u64),
    Tick(u64),
    RoundTrip(u64),
    Wish(Option<u32>),
    Uplink(Option<u32>),
}

fn step() -> impl Strategy<Value = Step> {
    let any_time = || prop_oneof![0_u64..10_000_000, any::<u64>()];
    let outcome = (any::<u16>(), proptest::option::of(any_time()));
    prop_oneof![
        (any::<u16>(), any::<u32>(), any_time()).prop_map(|(s, b, t)| Step::Send(s, b, t)),
        (proptest::collection::vec(outcome, 0..50), any_time())
            .prop_map(|(o, t)| Step::Feedback(o, t)),
        any_time().prop_map(Step::Tick),
        any::<u64>().prop_map(Step::RoundTrip),
        any::<Option<u32>>().prop_map(Step::Wish),
        any::<Option<u32>>().prop_map(Step::Uplink),
    ]
}

proptest! {
    #[test]
    fn no_history_makes_it_panic_or_leave_its_bounds(
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let mut controller = Controller::new(CONFIG, 0);
        for step in steps {
            let now = match step {
                Step::Send(sequence, bytes, now) => {
                    controller.on_sent(sequence, bytes, Kind::Video, now);
                    now
                }
                Step::Feedback(outcomes, now) => {
                    let outcomes: Vec<Outcome> = outcomes
                        .into_iter()
                        .map(|(sequence, arrived_us)| Outcome { sequence, arrived_us })
                        .collect();
                    controller.on_feedback(&outcomes, now);
                    controller.on_feedback(&outcomes, now);
                    now
                }
                Step::Tick(now) => {
                    controller.on_tick(now);
                    now
                }
                Step::RoundTrip(us) => {
                    controller.on_round_trip(us);
                    0
                }
                Step::Wish(kbps) => {
                    controller.set_wish(kbps);
                    0
                }
                Step::Uplink(kbps) => {
                    controller.set_uplink(kbps);
                    0
                }
            };
            holds(&mut controller, now)?;
        }
    }

    #[test]
    fn a_plausible_stream_in_any_order_keeps_the_bounds(
        losses in proptest::collection::vec(any::<bool>(), 400),
        shuffle in proptest::collection::vec(0_usize..40, 20),
        first: u16,
    ) {
        let mut controller = Controller::new(CONFIG, 0);
        for (batch, start) in shuffle.into_iter().zip((0_u16..).step_by(20)) {
            let mut outcomes = Vec::new();
            for i in start..start + 20 {
                let at = u64::from(i) * 1_000;
                controller.on_sent(first.wrapping_add(i), 1_200, Kind::Video, at);
                let arrived_us = (!losses[usize::from(i)]).then_some(at + 20_000);
                outcomes.push(Outcome { sequence: first.wrapping_add(i), arrived_us });
            }
            let len = outcomes.len();
            outcomes.rotate_left(batch % len);
            let now = u64::from(start + 20) * 1_000 + 40_000;
            controller.on_feedback(&outcomes, now);
            holds(&mut controller, now)?;
        }
    }
}

/// Sends 8 Mbit/s over a path that delivers everything `delay_us` later, in reports of 50 ms.
fn deliver(controller: &mut Controller, from_ms: u64, to_ms: u64, delay_us: u64) {
    let mut outcomes = Vec::new();
    for ms in from_ms..to_ms {
        let (now, sequence) = (ms * 1_000, (ms % 65_536) as u16);
        controller.on_sent(sequence, 1_000, Kind::Video, now);
        let arrived_us = Some(now + delay_us);
        outcomes.push(Outcome {
            sequence,
            arrived_us,
        });
        if ms % 50 == 49 {
            controller.on_feedback(&outcomes, now + delay_us + 20_000);
            outcomes.clear();
        }
    }
}

#[test]
fn caps_hold_and_are_named() {
    let mut controller = Controller::new(CONFIG, 0);
    deliver(&mut controller, 0, 3_000, 20_000);
    assert_eq!(
        controller.estimate(3_000_000).limited_by,
        LimitedBy::Nothing
    );
    controller.set_wish(Some(3_000));
    assert_eq!(controller.kbps_rate(), 3_000);
    assert_eq!(controller.estimate(3_000_000).limited_by, LimitedBy::Player);
    controller.set_uplink(Some(2_000));
    assert_eq!(controller.kbps_rate(), 2_000);
    assert_eq!(controller.estimate(3_000_000).limited_by, LimitedBy::Uplink);
}

#[test]
fn the_most_that_it_may_ever_make_is_what_is_set_and_not_what_is_measured() {
    let mut controller = Controller::new(CONFIG, 0);
    controller.set_wish(Some(10_000));
    let most = controller.estimate(0).kbps_media_most;
    assert!((9_400..9_500).contains(&most), "{most}");
    deliver(&mut controller, 0, 3_000, 20_000);
    // A share of the uplink that is cut and grows, and repair packets that come and go.
    for (n, share) in [5_000, 4_500, 4_750, 5_000].into_iter().enumerate() {
        let now = 3_000_000 + n as u64 * 1_000_000;
        controller.set_uplink(Some(share));
        for _ in 0..n * 50 {
            controller.on_sent_unnumbered(1_200, Kind::Repair, now);
        }
        let estimate = controller.estimate(now);
        assert_eq!(estimate.kbps_media_most, most);
        assert!(estimate.kbps_media < 5_000);
    }
    controller.set_wish(None);
    let more = controller.estimate(8_000_000).kbps_media_most;
    assert!((18_800..19_000).contains(&more), "{more}");
}

#[test]
fn a_receiver_that_falls_silent_is_noticed_and_one_that_never_spoke_is_not() {
    let mut mute = Controller::new(CONFIG, 0);
    let mut controller = Controller::new(CONFIG, 0);
    deliver(&mut controller, 0, 1_000, 20_000);
    assert!(!controller.estimate(1_100_000).blind);
    for ms in 1_000..4_000_u64 {
        let sequence = ms as u16;
        controller.on_sent(sequence, 1_000, Kind::Video, ms * 1_000);
        mute.on_sent(sequence, 1_000, Kind::Video, ms * 1_000);
        controller.on_tick(ms * 1_000);
        mute.on_tick(ms * 1_000);
    }
    assert!(controller.estimate(4_000_000).blind);
    assert!(controller.kbps_rate() < 4_000, "{}", controller.kbps_rate());
    assert!(!mute.estimate(4_000_000).blind);
    assert_eq!(mute.kbps_rate(), 8_000);
}

#[test]
fn a_quiet_picture_proves_nothing() {
    let mut controller = Controller::new(CONFIG, 0);
    for ms in (0..20_000_u64).step_by(10) {
        let sequence = (ms / 10) as u16;
        controller.on_sent(sequence, 200, Kind::Video, ms * 1_000);
        let arrived_us = Some(ms * 1_000 + 20_000);
        let outcome = Outcome {
            sequence,
            arrived_us,
        };
        controller.on_feedback(&[outcome], ms * 1_000 + 40_000);
    }
    assert!(controller.kbps_rate() <= 8_000);
}

#[test]
fn a_report_of_many_packets_and_a_late_one_does_not_panic() {
    let mut controller = Controller::new(CONFIG, 0);
    for sequence in 0..71 {
        controller.on_sent(sequence, 1_000, Kind::Video, 900_000);
    }
    let arrived = |sequence, arrived_us| Outcome {
        sequence,
        arrived_us: Some(arrived_us),
    };
    let mut outcomes: Vec<Outcome> = (0..70).map(|n| arrived(n, 1_000_000)).collect();
    outcomes.push(arrived(70, 950_000));
    controller.on_feedback(&outcomes, 1_020_000);
    assert!(controller.estimate(1_020_000).kbps_path >= CONFIG.kbps_min);
    assert_eq!(controller.take_told(), (71, 0));
}

#[test]
fn packets_are_told_of_once_and_only_those_that_left() {
    let mut controller = Controller::new(CONFIG, 0);
    let tell = |controller: &mut Controller, sequences: &[u16], arrived_us: Option<u64>| {
        let outcome = |sequence: &u16| Outcome {
            sequence: *sequence,
            arrived_us,
        };
        let outcomes: Vec<Outcome> = sequences.iter().map(outcome).collect();
        controller.on_feedback(&outcomes, 40_000);
    };
    // Numbers 3 and 4 were given to packets that never left.
    for sequence in [0, 1, 2, 5, 6] {
        controller.on_sent(sequence, 1_000, Kind::Video, 1_000);
    }
    tell(&mut controller, &[0, 1], Some(20_000));
    tell(&mut controller, &[2, 3, 4, 5, 6], None);
    assert_eq!(controller.take_told(), (5, 3));
    tell(&mut controller, &[3, 4, 5, 6], None);
    assert_eq!(controller.take_told(), (0, 0));
    // One that was called missing came late: it was counted, and as lost.
    tell(&mut controller, &[5], Some(30_000));
    assert_eq!(controller.take_told(), (0, 0));
    controller.on_sent(7, 1_000, Kind::Video, 2_000);
    tell(&mut controller, &[7], None);
    tell(&mut controller, &[7], Some(30_000));
    assert_eq!(controller.take_told(), (1, 0));
}
