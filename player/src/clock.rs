//! The monotonic clock, as the node reads it: on one host their times compare.

use nix::time::{ClockId, clock_gettime};

/// `CLOCK_MONOTONIC`, microseconds.
pub fn micros() -> u64 {
    // Linux has had this clock since 2.6; a kernel without it starts none of our programs.
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC)
        .unwrap_or_else(|error| unreachable!("no monotonic clock: {error}"));
    now.tv_sec().unsigned_abs() * 1_000_000 + now.tv_nsec().unsigned_abs() / 1000
}
