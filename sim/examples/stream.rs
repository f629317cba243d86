//! Shows how the controller fares on a path. One run, half second by half second:
//! `cargo run -p nearlight-sim --example stream -- steps 1`; a row of figures for each scenario, over
//! 20 seeds: `cargo run --release -p nearlight-sim --example stream -- figures`.
#![allow(clippy::print_stdout, reason = "its report is what it is for")]

use nearlight_sim::path::Conditions;
use nearlight_sim::stream::{Outcome, Scenario, Span};

const SCENARIOS: [&str; 7] = [
    "steps",
    "deep-steps",
    "deep-queue",
    "cubic",
    "loss",
    "jitter",
    "reorder",
];
const SEEDS: u64 = 20;

fn main() {
    let mut words = std::env::args().skip(1);
    let name = words.next().unwrap_or_else(|| "figures".to_owned());
    let seed = words.next().and_then(|word| word.parse().ok()).unwrap_or(1);
    if name == "figures" {
        for name in SCENARIOS {
            figures(name);
        }
        return;
    }
    let Some(scenario) = scenario(&name) else {
        println!(
            "no scenario `{name}`; there are figures, {}",
            SCENARIOS.join(", ")
        );
        return;
    };
    let outcome = scenario.run(seed);
    println!("{}{}", outcome.trace(), row(&name, &scenario, &outcome));
}

/// The worst of each figure over the seeds.
fn figures(name: &str) {
    let Some(scenario) = scenario(name) else {
        return;
    };
    let runs: Vec<Figures> = (1..=SEEDS)
        .map(|seed| Figures::of(&scenario, &scenario.run(seed)))
        .collect();
    let worst = |of: fn(&Figures) -> f64| runs.iter().map(of).fold(f64::NEG_INFINITY, f64::max);
    let least = |of: fn(&Figures) -> f64| runs.iter().map(of).fold(f64::INFINITY, f64::min);
    println!(
        "{name}: queue p50 {:.0} p95 {:.0} max {:.0} ms, frame p95 {:.0} ms, freeze {:.0} ms, useful {:.0} to {:.0} kbit/s, beside Cubic {:.0} to {:.0} %, targets a second {:.2}",
        worst(|f| f.queue_p50_ms),
        worst(|f| f.queue_p95_ms),
        worst(|f| f.queue_max_ms),
        worst(|f| f.frame_p95_ms),
        worst(|f| f.freeze_ms),
        least(|f| f.useful_kbps),
        worst(|f| f.useful_kbps),
        100.0 * least(|f| f.share),
        100.0 * worst(|f| f.share),
        worst(|f| f.targets),
    );
}

/// Of one run. The first two seconds after each step are apart.
struct Figures {
    queue_p50_ms: f64,
    queue_p95_ms: f64,
    queue_max_ms: f64,
    frame_p95_ms: f64,
    freeze_ms: f64,
    useful_kbps: f64,
    share: f64,
    targets: f64,
}

impl Figures {
    fn of(scenario: &Scenario, outcome: &Outcome) -> Self {
        let length = scenario.length_us / 1_000_000;
        let steps: Vec<u64> = scenario
            .steps
            .iter()
            .map(|(at, _)| at / 1_000_000)
            .collect();
        let ends = steps.iter().skip(1).copied().chain([length]);
        let settled: Vec<Span> = steps
            .iter()
            .zip(ends)
            .map(|(from, to)| Span::seconds(from + 2, to))
            .collect();
        let all = Span::seconds(2, length);
        let beside = scenario.cubic_us.map_or(all, |(from_us, to_us)| Span {
            from_us: from_us + 5_000_000,
            to_us,
        });
        let ours = outcome.useful_kbps(beside);
        Self {
            queue_p50_ms: outcome.queue_us(0.5, &settled) as f64 / 1e3,
            queue_p95_ms: outcome.queue_us(0.95, &settled) as f64 / 1e3,
            queue_max_ms: outcome.queue_us(1.0, &[Span::seconds(0, length)]) as f64 / 1e3,
            frame_p95_ms: outcome.frame_us(0.95, &settled) as f64 / 1e3,
            freeze_ms: outcome.freeze_us(&settled) as f64 / 1e3,
            useful_kbps: outcome.useful_kbps(all),
            share: ours / (ours + outcome.cubic_kbps(beside)),
            targets: outcome.changes(all) as f64 / (length - 2) as f64,
        }
    }
}

fn row(name: &str, scenario: &Scenario, outcome: &Outcome) -> String {
    let f = Figures::of(scenario, outcome);
    format!(
        "{name}: queue p50 {:.0} p95 {:.0} max {:.0} ms, frame p95 {:.0} ms, freeze {:.0} ms, useful {:.0} kbit/s, share {:.0} %",
        f.queue_p50_ms,
        f.queue_p95_ms,
        f.queue_max_ms,
        f.frame_p95_ms,
        f.freeze_ms,
        f.useful_kbps,
        100.0 * f.share
    )
}

fn scenario(name: &str) -> Option<Scenario> {
    let stepped = |high: u32, low: u32| {
        let scenario = Scenario {
            length_us: 90_000_000,
            ..Scenario::bottleneck(high, 100_000)
        };
        scenario.with_steps(&[(0, high), (30_000_000, low), (60_000_000, high)], 100_000)
    };
    let lossy = |change: fn(&mut Conditions)| {
        let mut scenario = Scenario::bottleneck(50_000, 100_000);
        scenario.kbps_max = 8_600;
        change(&mut scenario.steps[0].1);
        scenario
    };
    Some(match name {
        "steps" => stepped(8_000, 4_800),
        "deep-steps" => stepped(10_000, 2_000),
        "deep-queue" => Scenario::bottleneck(6_000, 200_000),
        "cubic" => Scenario {
            cubic_us: Some((15_000_000, 75_000_000)),
            length_us: 75_000_000,
            ..Scenario::bottleneck(10_000, 100_000)
        },
        "loss" => lossy(|conditions| conditions.loss = 0.05),
        "jitter" => lossy(|conditions| conditions.jitter_us = 10_000),
        "reorder" => lossy(|conditions| {
            (conditions.reorder, conditions.reorder_us) = (0.02, 15_000);
        }),
        _ => return None,
    })
}
