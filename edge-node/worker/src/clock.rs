//! The host's monotonic clock, in the unit of every wire: microseconds of `CLOCK_MONOTONIC`.

use nix::time::{ClockId, clock_gettime};

/// Now, in microseconds.
pub fn mono_us() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every Linux has CLOCK_MONOTONIC");
    let seconds = u64::try_from(now.tv_sec()).expect("the monotonic clock starts at zero");
    let nanos = u64::try_from(now.tv_nsec()).expect("nanoseconds are never negative");
    seconds * 1_000_000 + nanos / 1_000
}

/// The time that Wayland input events carry: milliseconds, wrapping.
pub fn event_ms(now_us: u64) -> u32 {
    (now_us / 1_000) as u32
}
