//! Path profiles, written by hand, and packets on the path that they describe: what is delivered is
//! delivered in its time, and every packet is counted once.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nearlight_sim::path::{Fate, Path, Profile};

/// Steps of time, microseconds, and packets at each.
const OFFERS: [(u64, u32); 6] = [
    (0, 1200),
    (1, 1200),
    (500, 60),
    (20_000, 1200),
    (1_000_000, 9000),
    (1 << 40, 1),
];

fuzz_target!(|text: &str| {
    let Ok(mut profile) = Profile::from_toml(text) else {
        return;
    };
    for conditions in [profile.down, profile.up] {
        let (mut path, mut now_us) = (Path::new(conditions, profile.seed), 0);
        for (wait_us, bytes) in OFFERS {
            now_us += wait_us;
            if let Fate::Deliver { at_us, queued_us } = path.offer(now_us, bytes) {
                assert!(at_us >= now_us + queued_us);
            }
            while let Some(step) = profile.schedule.take_due(now_us) {
                path.set(step.down.applied(path.conditions()));
            }
        }
        let counters = path.counters();
        assert_eq!(counters.offered, counters.delivered + counters.lost());
    }
});
