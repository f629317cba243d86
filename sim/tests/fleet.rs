//! What a region's day promises, over many seeds. A failure names the seed, and the same seed replays it.

use nearlight_sim::fleet::{Config, Report};

/// Six hours from noon to evening, with a death of the broker.
fn evening(seed: u64, sessions_a_node_day: f64) -> Report {
    let config = Config {
        sessions_a_node_day,
        ..Config::day(2_000, 6.0, seed)
    };
    match config.run() {
        Ok(report) => report,
        Err(broken) => panic!("{broken}"),
    }
}

#[test]
fn a_fleet_with_room_places_at_once_and_near() {
    for seed in 1..=3 {
        let report = evening(seed, 20.0);
        assert!(report.placed > 10_000, "seed {seed}: {report:#?}");
        let light = &report.wait_ms_of["light"];
        // A turn, where somebody else waits.
        assert!(light.p99 <= 250, "seed {seed}: {light:?}");
        assert!(
            report.wait_ms_of["rare"].p99 <= 20_000,
            "seed {seed}: {report:#?}"
        );
        assert!(
            report.regret_ms.p50 <= 2,
            "seed {seed}: {:?}",
            report.regret_ms
        );
        assert!(report.rtt_ms.p90 <= 20, "seed {seed}: {:?}", report.rtt_ms);
        assert!(report.operators_gini < 0.3, "seed {seed}: {report:#?}");
    }
}

#[test]
fn a_fleet_that_is_too_small_is_shared_fairly_and_tells_the_truth() {
    for seed in 1..=2 {
        let report = evening(seed, 60.0);
        let gave_up: u64 = report.gave_up.values().sum();
        assert!(
            gave_up > 500,
            "seed {seed}: it is not too small: {report:#?}"
        );
        // Who wants what nobody has hears so at once, however long the queue is.
        assert!(
            !report.gave_up.contains_key("impossible"),
            "seed {seed}: {report:#?}"
        );
        let (light, rare) = (
            report.wait_ms_of["light"].p50,
            report.wait_ms_of["rare"].p50,
        );
        assert!(
            light < rare,
            "seed {seed}: rare needs hold up the others: {light} and {rare}"
        );
        assert!(
            report.tenants_max_over_mean < 1.5,
            "seed {seed}: {report:#?}"
        );
        assert!(
            report.eta.told > report.eta.unknown,
            "seed {seed}: {:?}",
            report.eta
        );
        assert!(report.eta.late < 0.15, "seed {seed}: {:?}", report.eta);
        // Those who wait cost few decisions: two or three each.
        assert!(
            report.decisions < 3 * report.came,
            "seed {seed}: {report:#?}"
        );
    }
}

#[test]
fn the_same_seed_is_the_same_day() {
    let day = |seed| Config::day(500, 2.0, seed).run();
    assert_eq!(day(7), day(7));
    assert_ne!(day(7), day(8));
}
