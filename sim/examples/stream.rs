//! Prints how the controller fares on a path, half second by half second:
//! `cargo run -p nearlight-sim --example stream -- steps 1`.
#![allow(clippy::print_stdout, reason = "its report is what it is for")]

use nearlight_sim::path::Conditions;
use nearlight_sim::stream::{Scenario, Span};

fn main() {
    let mut words = std::env::args().skip(1);
    let name = words.next().unwrap_or_else(|| "steps".to_owned());
    let seed = words.next().and_then(|word| word.parse().ok()).unwrap_or(1);
    let scenario = match name.as_str() {
        "steps" => Scenario {
            length_us: 90_000_000,
            ..Scenario::bottleneck(8_000, 100_000)
        }
        .with_steps(
            &[(0, 8_000), (30_000_000, 4_800), (60_000_000, 8_000)],
            100_000,
        ),
        "deep" => Scenario {
            length_us: 90_000_000,
            ..Scenario::bottleneck(10_000, 100_000)
        }
        .with_steps(
            &[(0, 10_000), (30_000_000, 2_000), (60_000_000, 10_000)],
            100_000,
        ),
        "cubic" => Scenario {
            cubic_us: Some((20_000_000, 80_000_000)),
            length_us: 100_000_000,
            ..Scenario::bottleneck(10_000, 100_000)
        },
        "loss" => {
            let mut scenario = Scenario::bottleneck(50_000, 100_000);
            scenario.kbps_max = 10_000;
            scenario.steps[0].1 = Conditions {
                loss: 0.05,
                ..scenario.steps[0].1
            };
            scenario
        }
        _ => Scenario::bottleneck(5_000, 200_000),
    };
    let outcome = scenario.run(seed);
    let all = Span::seconds(0, scenario.length_us / 1_000_000);
    println!("{}", outcome.trace());
    println!(
        "queue p50 {} ms, p95 {} ms; useful {:.0} kbit/s; longest freeze {} ms; {} targets",
        outcome.queue_us(0.5, &[all]) / 1000,
        outcome.queue_us(0.95, &[all]) / 1000,
        outcome.useful_kbps(all),
        outcome.freeze_us(&[all]) / 1000,
        outcome.changes(all)
    );
}
