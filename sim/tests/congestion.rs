//! What the controller promises on paths, on a virtual clock and over many seeds. Every figure here
//! is a property of the algorithm, the same on every machine; a failure names its scenario and seed.
//! `cargo run -p nearlight-sim --example stream -- <scenario> <seed>` shows such a run.

use nearlight_sim::path::{Burst, Conditions};
use nearlight_sim::stream::{Crowd, Outcome, Scenario, Span, Stalls};

const SEEDS: std::ops::Range<u64> = 1..5;

fn each_seed(scenario: &Scenario, name: &str, judge: impl Fn(&Outcome) -> Result<(), String>) {
    for seed in SEEDS {
        let outcome = scenario.run(seed);
        if let Err(wrong) = judge(&outcome) {
            panic!("{name}, seed {seed}: {wrong}\n{}", outcome.trace());
        }
    }
}

fn at_most(what: &str, value: u64, most: u64) -> Result<(), String> {
    let message = || format!("{what} is {value}, more than {most}");
    (value <= most).then_some(()).ok_or_else(message)
}

fn at_least(what: &str, value: f64, least: f64) -> Result<(), String> {
    let message = || format!("{what} is {value:.3}, less than {least:.3}");
    (value >= least).then_some(()).ok_or_else(message)
}

/// Capacity `high`, `low`, `high` kbit/s, 30 s each, behind a queue of 100 ms.
fn steps(name: &str, high: u32, low: u32) {
    let steps = [(0, high), (30_000_000, low), (60_000_000, high)];
    let scenario = Scenario {
        length_us: 90_000_000,
        ..Scenario::bottleneck(high, 100_000)
    }
    .with_steps(&steps, 100_000);
    let settled = [
        Span::seconds(2, 30),
        Span::seconds(32, 60),
        Span::seconds(62, 90),
    ];
    each_seed(&scenario, name, |outcome| {
        at_most("queue p95", outcome.queue_us(0.95, &settled), 60_000)?;
        let ever_us = outcome.queue_us(1.0, &[Span::seconds(0, 90)]);
        at_most("queue ever", ever_us, 500_000)?;
        at_most("freeze", outcome.freeze_us(&settled), 250_000)?;
        for (from, kbps) in [(5, high), (37, low), (67, high)] {
            let steady = outcome.useful_kbps(Span::seconds(from, from + 22));
            at_least("useful share of capacity", steady / f64::from(kbps), 0.93)?;
        }
        // Back to 90 % of it, within 5 s of the step up.
        let goal = f64::from(high) * 0.9;
        let reached = outcome.reached_us(goal, 60_000_000).unwrap_or(u64::MAX);
        at_most("back after the step", reached, 65_000_000)?;
        // And the encoder is left alone: once a second on a path that noise keeps full (1.11 is the most of 20 seeds).
        at_most("targets", outcome.changes(Span::seconds(0, 90)) as u64, 117)
    });
}

#[test]
fn capacity_steps_by_forty_percent_and_the_queue_stays_short() {
    steps("8, 4.8, 8 Mbit/s", 8_000, 4_800);
}

#[test]
fn capacity_steps_by_eighty_percent_and_the_queue_stays_short() {
    steps("10, 2, 10 Mbit/s", 10_000, 2_000);
}

#[test]
fn a_deep_queue_is_not_filled() {
    for kbps in [2_000, 5_000, 12_000] {
        let scenario = Scenario::bottleneck(kbps, 200_000);
        each_seed(&scenario, &format!("{kbps} kbit/s, 200 ms"), |outcome| {
            let settled = [Span::seconds(2, 60)];
            at_most("queue p95", outcome.queue_us(0.95, &settled), 60_000)?;
            at_most("freeze", outcome.freeze_us(&settled), 250_000)?;
            let steady = outcome.useful_kbps(Span::seconds(5, 60));
            at_least("useful share", steady / f64::from(kbps), 0.93)?;
            at_most("targets", outcome.changes(Span::seconds(0, 60)) as u64, 78)
        });
    }
}

#[test]
fn beside_a_cubic_flow_each_gets_its_part() {
    for queue_us in [100_000, 200_000] {
        let scenario = Scenario {
            cubic_us: Some((15_000_000, 75_000_000)),
            length_us: 100_000_000,
            ..Scenario::bottleneck(10_000, queue_us)
        };
        each_seed(&scenario, &format!("Cubic, {queue_us} us"), |outcome| {
            let both = Span::seconds(20, 75);
            let (ours, theirs) = (outcome.useful_kbps(both), outcome.cubic_kbps(both));
            let share = ours / (ours + theirs);
            at_least("our share", share, 0.20)?;
            at_least("the share of Cubic", 1.0 - share, 0.20)?;
            // It is gone, and so is the queue.
            let after = [Span::seconds(85, 100)];
            at_most("queue p95 after it", outcome.queue_us(0.95, &after), 60_000)?;
            at_least("useful after it", outcome.useful_kbps(after[0]), 9_300.0)
        });
    }
}

fn lossy(change: impl FnOnce(&mut Conditions)) -> Scenario {
    let mut scenario = Scenario::bottleneck(50_000, 100_000);
    scenario.kbps_max = 8_600;
    scenario.length_us = 30_000_000;
    change(&mut scenario.steps[0].1);
    scenario
}

#[test]
fn random_loss_does_not_lower_the_rate() {
    for loss in [0.02, 0.05, 0.08] {
        let scenario = lossy(|conditions| conditions.loss = loss);
        each_seed(&scenario, &format!("loss {loss}"), |outcome| {
            let steady = Span::seconds(2, 30);
            at_least("useful", outcome.useful_kbps(steady), 7_000.0)?;
            at_least("frames", outcome.fps(steady), 58.0)?;
            left_alone(outcome)
        });
    }
}

#[test]
fn bursts_and_jitter_do_not_lower_the_rate() {
    let bursts = lossy(|conditions| {
        conditions.burst = Some(Burst::Runs {
            packets: 10,
            every_us: 2_000_000,
        });
    });
    let jitter = lossy(|conditions| conditions.jitter_us = 10_000);
    for (name, scenario) in [("bursts", bursts), ("jitter", jitter)] {
        each_seed(&scenario, name, |outcome| {
            at_least("useful", outcome.useful_kbps(Span::seconds(2, 30)), 7_000.0)?;
            left_alone(outcome)
        });
    }
}

/// On a path with room for everything: the encoder is told its rate once or twice, and no more.
fn left_alone(outcome: &Outcome) -> Result<(), String> {
    at_most("targets", outcome.changes(Span::seconds(2, 30)) as u64, 6)
}

/// Packets that others overtake, as over two links at once: they are neither lost nor a queue.
#[test]
fn packets_out_of_order_do_not_lower_the_rate() {
    for (share, us) in [(0.02, 15_000), (0.10, 5_000), (0.01, 60_000)] {
        let scenario = lossy(|path| (path.reorder, path.reorder_us) = (share, us));
        each_seed(&scenario, &format!("reorder {share}, {us} us"), |outcome| {
            let steady = Span::seconds(2, 30);
            at_least("useful", outcome.useful_kbps(steady), 7_000.0)?;
            at_least("frames", outcome.fps(steady), 58.0)?;
            at_most("freeze", outcome.freeze_us(&[steady]), 150_000)?;
            left_alone(outcome)
        });
    }
}

#[test]
fn packets_out_of_order_hide_no_queue_and_feign_none() {
    let mut scenario = Scenario::bottleneck(6_000, 200_000);
    let path = &mut scenario.steps[0].1;
    (path.reorder, path.reorder_us) = (0.02, 15_000);
    each_seed(&scenario, "reorder on a full path", |outcome| {
        let queue_us = outcome.queue_us(0.95, &[Span::seconds(2, 60)]);
        at_most("queue p95", queue_us, 60_000)?;
        let steady = outcome.useful_kbps(Span::seconds(5, 60));
        at_least("useful share", steady / 6_000.0, 0.93)
    });
}

/// Every two seconds nothing arrives for a while, and then everything at once: a radio that scans, or
/// a machine that has other things to do.
#[test]
fn stalls_do_not_wear_the_rate_down() {
    for kbps in [6_000, 50_000] {
        let mut scenario = Scenario::bottleneck(kbps, 200_000);
        scenario.kbps_max = 8_600;
        scenario.length_us = 40_000_000;
        let usual = scenario.steps[0].1;
        let stalled = Conditions {
            delay_us: usual.delay_us + 130_000,
            ..usual
        };
        for second in (3..40).step_by(2) {
            let at_us = second * 1_000_000;
            // What leaves now is held up, and what leaves after it waits behind it.
            scenario.steps.push((at_us, stalled));
            scenario.steps.push((at_us + 10_000, usual));
        }
        each_seed(&scenario, &format!("stalls, {kbps} kbit/s"), |outcome| {
            let least = f64::from(kbps.min(8_600)) * 0.85;
            at_least("useful", outcome.useful_kbps(Span::seconds(5, 40)), least)
        });
    }
}

/// A receiver on a busy machine, on a path that has room for everything.
fn stalled(share: f64) -> Scenario {
    let mut scenario = Scenario::bottleneck(100_000, 100_000);
    scenario.steps[0].1.delay_us = 200;
    scenario.back_us = 200;
    scenario.kbps_max = 12_000;
    scenario.length_us = 40_000_000;
    scenario.stalls = Some(Stalls {
        share,
        least_us: 20_000,
        most_us: 120_000,
    });
    scenario
}

fn keeps_its_path(outcome: &Outcome, span: Span) -> Result<(), String> {
    at_least("the path", outcome.path_fell_to(span), 0.8)
}

#[test]
fn a_busy_receiver_does_not_make_a_quiet_picture_wait() {
    for share in [0.05, 0.2] {
        let quiet = Scenario {
            scene_kbps: vec![(0, 100), (30_000_000, u32::MAX)],
            flips: Some((640_000, 8_000)),
            flips_until_us: 30_000_000,
            ..stalled(share)
        };
        each_seed(&quiet, &format!("quiet, busy {share}"), |outcome| {
            let all = Span::seconds(1, 40);
            at_most("holds", outcome.holds(all) as u64, 0)?;
            at_most("pacing", outcome.paced_us(Span::seconds(0, 30)), 0)?;
            at_most("pacing awake", outcome.paced_us(all), 5_000)?;
            keeps_its_path(outcome, all)?;
            let awake = outcome.useful_kbps(Span::seconds(31, 40));
            at_least("useful awake", awake, 7_500.0)
        });
    }
}

#[test]
fn a_busy_receiver_does_not_lower_the_rate_of_a_wild_picture() {
    for share in [0.05, 0.2] {
        let wild = Scenario {
            kbps_max: 8_000,
            ..stalled(share)
        };
        each_seed(&wild, &format!("wild, busy {share}"), |outcome| {
            keeps_its_path(outcome, Span::seconds(2, 40))?;
            at_most("holds", outcome.holds(Span::seconds(2, 40)) as u64, 0)?;
            at_least("useful", outcome.useful_kbps(Span::seconds(2, 40)), 7_500.0)
        });
    }
}

#[test]
fn a_path_that_becomes_too_narrow_for_a_quiet_scene_is_noticed() {
    let scenario = Scenario {
        scene_kbps: vec![(0, 2_000)],
        length_us: 30_000_000,
        ..Scenario::bottleneck(20_000, 400_000)
    }
    .with_steps(&[(0, 20_000), (10_000_000, 1_000)], 400_000);
    each_seed(&scenario, "narrow", |outcome| {
        let settled = [Span::seconds(13, 30)];
        at_most("queue p95", outcome.queue_us(0.95, &settled), 80_000)?;
        at_least("useful", outcome.useful_kbps(settled[0]), 880.0)
    });
}

#[test]
fn a_quiet_scene_that_wakes_up_finds_its_rate_and_no_queue() {
    let scenario = Scenario {
        scene_kbps: vec![(0, u32::MAX), (10_000_000, 300), (40_000_000, u32::MAX)],
        ..Scenario::bottleneck(8_000, 200_000)
    };
    each_seed(&scenario, "quiet", |outcome| {
        let awake = Span::seconds(40, 42);
        at_most("queue p95", outcome.queue_us(0.95, &[awake]), 100_000)?;
        at_least(
            "useful",
            outcome.useful_kbps(Span::seconds(43, 60)),
            7_000.0,
        )
    });
}

#[test]
fn a_path_that_dies_for_a_while_is_used_again() {
    let dead = |at_us, loss| {
        let mut scenario = Scenario::bottleneck(8_000, 100_000);
        let mut conditions = scenario.steps.remove(0).1;
        conditions.loss = loss;
        (at_us, conditions)
    };
    let scenario = Scenario {
        steps: vec![dead(0, 0.0), dead(10_000_000, 1.0), dead(13_000_000, 0.0)],
        length_us: 30_000_000,
        ..Scenario::bottleneck(8_000, 100_000)
    };
    each_seed(&scenario, "dead", |outcome| {
        at_most(
            "picture back",
            outcome.freeze_us(&[Span::seconds(14, 30)]),
            250_000,
        )?;
        at_least(
            "useful",
            outcome.useful_kbps(Span::seconds(18, 30)),
            7_000.0,
        )
    });
}

/// Players of 8 Mbit/s and watchers of the first of them behind an uplink of 20.
fn crowd(players: usize, watchers: usize) -> Crowd {
    Crowd {
        uplink: Scenario {
            kbps_max: 8_000,
            ..Scenario::bottleneck(20_000, 100_000)
        },
        configured: None,
        players,
        watchers,
        line: None,
        watcher_line: None,
    }
}

/// The player's kbit/s that many watchers leave it at least, and the longest freeze, microseconds. A node with
/// sixteen watchers of 8 Mbit/s each on 20 is short of room for their key frames alone.
const WATCHED: [(usize, Option<u32>, f64, u64); 4] = [
    (3, Some(20_000), 7_000.0, 250_000),
    (3, None, 7_000.0, 250_000),
    (8, None, 7_000.0, 250_000),
    (16, None, 4_500.0, 2_000_000),
];

#[test]
fn watchers_lower_no_player_whether_somebody_configured_the_uplink_or_not() {
    for (watchers, configured, least_kbps, freeze_us_max) in WATCHED {
        for seed in SEEDS {
            let crowded = Crowd {
                configured,
                ..crowd(1, watchers)
            }
            .run(seed);
            let player = &crowded.viewers[0];
            let settled = Span::seconds(20, 60);
            let name = format!("{watchers} watchers, {configured:?}, seed {seed}");
            let useful = player.useful_kbps(settled);
            assert!(
                useful >= least_kbps,
                "{name}: {useful:.0} kbit/s\n{}",
                player.trace()
            );
            let freeze_us = player.freeze_us(&[settled]);
            assert!(
                freeze_us <= freeze_us_max,
                "{name}: {freeze_us} us\n{}",
                player.trace()
            );
            // What one player and its watchers saw is told to nobody.
            assert_eq!(crowded.told, [(0, configured)], "{name}");
        }
    }
}

#[test]
fn three_players_find_the_uplink_that_they_share_and_are_lowered_alike() {
    for seed in SEEDS {
        let crowded = crowd(3, 0).run(seed);
        let found = crowded.told.iter().any(|(_, kbps)| kbps.is_some());
        assert!(found, "seed {seed}: nobody found it");
        let settled = Span::seconds(20, 60);
        let useful = |viewer: &Outcome| viewer.useful_kbps(settled);
        let shares: Vec<f64> = crowded.viewers.iter().map(useful).collect();
        let least = shares.iter().copied().fold(f64::MAX, f64::min);
        let most = shares.iter().copied().fold(0.0, f64::max);
        assert!(
            least >= 5_000.0 && least >= 0.85 * most,
            "seed {seed}: {shares:?}"
        );
    }
}

#[test]
fn a_player_whose_own_line_is_full_has_it_whoever_watches() {
    let line = Scenario::bottleneck(5_000, 100_000);
    for seed in SEEDS {
        let crowded = Crowd {
            uplink: Scenario {
                kbps_max: 8_000,
                ..Scenario::bottleneck(200_000, 100_000)
            },
            line: Some(line.clone()),
            ..crowd(1, 4)
        }
        .run(seed);
        let player = &crowded.viewers[0];
        let share = player.useful_kbps(Span::seconds(5, 60)) / 5_000.0;
        assert!(
            share >= 0.9,
            "seed {seed}: {share:.2} of the line\n{}",
            player.trace()
        );
        // And so do those who watch, for nothing is full for seconds on end.
        for watcher in &crowded.viewers[1..] {
            let fps = watcher.fps(Span::seconds(5, 60));
            assert!(
                fps >= 50.0,
                "seed {seed}: {fps:.1} fps\n{}",
                watcher.trace()
            );
        }
    }
}

/// Neither do those lose their picture who watch over radios and slow lines, though their queues are at times as long
/// as the player's.
#[test]
fn watchers_on_lines_of_their_own_keep_their_picture_whoever_plays_on_a_full_one() {
    let slow = |kbps, jitter_us| {
        let mut line = Scenario::bottleneck(kbps, 100_000);
        line.steps[0].1.jitter_us = jitter_us;
        line
    };
    for seed in SEEDS {
        let crowded = Crowd {
            uplink: Scenario {
                kbps_max: 8_000,
                ..Scenario::bottleneck(200_000, 100_000)
            },
            line: Some(slow(5_000, 3_000)),
            watcher_line: Some(slow(6_000, 8_000)),
            ..crowd(1, 4)
        }
        .run(seed);
        let settled = Span::seconds(5, 60);
        let share = crowded.viewers[0].useful_kbps(settled) / 5_000.0;
        assert!(share >= 0.9, "seed {seed}: {share:.2} of the line");
        for watcher in &crowded.viewers[1..] {
            let kbps = watcher.useful_kbps(settled);
            assert!(
                kbps >= 2_500.0,
                "seed {seed}: {kbps:.0} kbit/s\n{}",
                watcher.trace()
            );
        }
    }
}

/// A download of the house, for longer than what is measured lasts.
#[test]
fn two_players_beside_a_cubic_flow_on_their_uplink_keep_their_part_and_come_back_after_it() {
    for queue_us in [100_000, 200_000] {
        for seed in 1..4 {
            let crowded = Crowd {
                uplink: Scenario {
                    kbps_max: 8_000,
                    cubic_us: Some((15_000_000, 135_000_000)),
                    length_us: 160_000_000,
                    ..Scenario::bottleneck(20_000, queue_us)
                },
                ..crowd(2, 0)
            }
            .run(seed);
            let name = format!("{queue_us} us, seed {seed}");
            let trace = || crowded.viewers[0].trace();
            let cubic = crowded.viewers[0].cubic_kbps(Span::seconds(20, 135));
            // As much late as early, and as much as if nobody measured: no controller holds a third beside it.
            for span in [Span::seconds(20, 60), Span::seconds(95, 135)] {
                let each = crowded.viewers.iter().map(|v| v.useful_kbps(span));
                let each: Vec<f64> = each.collect();
                let least = each.iter().copied().fold(f64::MAX, f64::min);
                let both: f64 = each.iter().sum();
                assert!(
                    least >= 1_200.0 && both >= 4_000.0,
                    "{name}: {each:?}, Cubic {cubic:.0}\n{}",
                    trace()
                );
            }
            assert!(cubic >= 4_000.0, "{name}: Cubic has {cubic:.0}");
            for player in &crowded.viewers {
                let back = player.reached_us(7_000.0, 135_000_000);
                let back = back.unwrap_or(u64::MAX);
                assert!(back <= 145_000_000, "{name}: back at {back}\n{}", trace());
            }
        }
    }
}
