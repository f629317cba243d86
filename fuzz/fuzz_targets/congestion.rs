//! Congestion control on feedback that no order, repetition, wrap or jump of clocks keeps it from:
//! the rate stays within its bounds and caps.
#![no_main]

use libfuzzer_sys::{arbitrary, arbitrary::Arbitrary, fuzz_target};
use nearlight_stream::congestion::{Config, Controller, Kind, Outcome};

#[derive(Arbitrary, Debug)]
struct Input {
    kbps_min: u32,
    kbps_start: u32,
    kbps_max: u32,
    /// Milliseconds before each step, and the step.
    steps: Vec<(u16, Step)>,
}

#[derive(Arbitrary, Debug)]
enum Step {
    /// Packets in a row.
    Send {
        packets: u8,
        bytes: u16,
        kind: u8,
    },
    /// What a receiver says of the packets up to so many back, each so much after the last; gaps
    /// are lost. A jump moves its clock.
    Report {
        back: u16,
        gaps_us: Vec<Option<u16>>,
        jump_us: u32,
    },
    /// What nobody's receiver would say.
    Nonsense(Vec<(u16, Option<u64>)>),
    RoundTrip(u64),
    Wish(Option<u32>),
    Uplink(Option<u32>),
    Tick,
}

const KINDS: [Kind; 6] = [
    Kind::Audio,
    Kind::Video,
    Kind::Retransmit,
    Kind::Repair,
    Kind::Padding,
    Kind::Control,
];

fuzz_target!(|input: Input| {
    let config = Config {
        kbps_min: input.kbps_min,
        kbps_start: input.kbps_start,
        kbps_max: input.kbps_max,
    };
    let (min, mut caps) = (config.kbps_min.max(1), [None, None]);
    let max = config.kbps_max.max(min);
    let (mut now_us, mut receiver_us, mut next) = (0, 1 << 40, 0_u16);
    let mut controller = Controller::new(config, now_us);
    for (wait_ms, step) in input.steps {
        now_us += u64::from(wait_ms) * 1000;
        receiver_us += u64::from(wait_ms) * 1000;
        match step {
            Step::Send {
                packets,
                bytes,
                kind,
            } => {
                let kind = KINDS[usize::from(kind) % KINDS.len()];
                for _ in 0..packets {
                    controller.on_sent(next, u32::from(bytes), kind, now_us);
                    next = next.wrapping_add(1);
                }
            }
            Step::Report {
                back,
                gaps_us,
                jump_us,
            } => {
                receiver_us += u64::from(jump_us);
                let (mut sequence, mut at_us) = (next.wrapping_sub(back), receiver_us);
                let mut outcomes = Vec::with_capacity(gaps_us.len());
                for gap_us in gaps_us {
                    at_us += u64::from(gap_us.unwrap_or(0));
                    let arrived_us = gap_us.map(|_| at_us);
                    outcomes.push(Outcome {
                        sequence,
                        arrived_us,
                    });
                    sequence = sequence.wrapping_add(1);
                }
                controller.on_feedback(&outcomes, now_us);
            }
            Step::Nonsense(said) => {
                let said = said.into_iter();
                let outcomes: Vec<Outcome> = said
                    .map(|(sequence, arrived_us)| Outcome {
                        sequence,
                        arrived_us,
                    })
                    .collect();
                controller.on_feedback(&outcomes, now_us);
            }
            Step::RoundTrip(us) => controller.on_round_trip(us),
            Step::Wish(kbps) => {
                caps[0] = kbps;
                controller.set_wish(kbps);
            }
            Step::Uplink(kbps) => {
                caps[1] = kbps;
                controller.set_uplink(kbps);
            }
            Step::Tick => controller.on_tick(now_us),
        }
        let cap = caps
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(max)
            .clamp(min, max);
        let estimate = controller.estimate(now_us);
        // The rate is told in whole kbit/s, of at most ten gigabits.
        let told = |kbps: u32| kbps.min(10_000_000);
        assert!(
            (told(min)..=told(cap)).contains(&controller.kbps_rate()),
            "{estimate:?}"
        );
        assert!(estimate.kbps_media <= controller.kbps_rate().max(1));
        assert!(estimate.kbps_pacing >= estimate.kbps_media);
        assert!(estimate.loss_permille <= 1000);
    }
});
