//! The two clocks. Pure crates are given these values; nothing else in a role reads a clock.

use nearlight_protocol::unit::{MonoTime, UnixMillis};
use nix::time::{ClockId, clock_gettime};
use std::time::{SystemTime, UNIX_EPOCH};

/// Now on `CLOCK_MONOTONIC`, in microseconds: the same clock in every process of this host, which
/// is what lets the worker's commit times and the agent's send times be subtracted.
pub fn mono_now() -> MonoTime {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC)
        .expect("CLOCK_MONOTONIC exists on every Linux, and the pointer is ours");
    let seconds = u64::try_from(now.tv_sec()).expect("the monotonic clock starts at boot");
    let nanos = u64::try_from(now.tv_nsec()).expect("nanoseconds of a second are not negative");
    MonoTime::from_micros(seconds * 1_000_000 + nanos / 1_000)
}

/// Now in milliseconds since the Unix epoch; zero on a host whose clock is before it.
pub fn unix_ms() -> UnixMillis {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn the_monotonic_clock_does_not_go_back() {
        let first = mono_now();
        assert!(mono_now() >= first);
    }

    #[test]
    fn the_wall_clock_is_in_this_age() {
        let year_2025 = 1_735_689_600_000;
        assert!(unix_ms() > year_2025);
    }
}
