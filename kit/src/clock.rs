//! The two clocks. Pure crates are given these values; nothing else in a role reads a clock.
//!
//! What may be trusted for how long (certificates, join tokens) is judged by a [`WallClock`], which
//! can be moved: that a node comes back after three days is tried in a moment.

use nearlight_protocol::unit::{MonoTime, UnixMillis};
use nix::time::{ClockId, clock_gettime};
use rustls::time_provider::TimeProvider;
use rustls_pki_types::UnixTime;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

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

/// The time of day, as trust is judged by it. Copies move together.
#[derive(Clone, Debug, Default)]
pub struct WallClock {
    /// Seconds ahead of the system's clock.
    ahead_s: Arc<AtomicI64>,
}

impl WallClock {
    /// The system's clock.
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock so many seconds ahead of the system's, or behind it.
    pub fn ahead_by(seconds: i64) -> Self {
        let clock = Self::default();
        clock.set_ahead(seconds);
        clock
    }

    /// Sets it so many seconds ahead of the system's clock, or behind it.
    pub fn set_ahead(&self, seconds: i64) {
        self.ahead_s.store(seconds, Ordering::SeqCst);
    }

    /// Now.
    pub fn now(&self) -> SystemTime {
        let ahead = self.ahead_s.load(Ordering::SeqCst);
        let by = Duration::from_secs(ahead.unsigned_abs());
        let now = SystemTime::now();
        let moved = if ahead < 0 {
            now.checked_sub(by)
        } else {
            now.checked_add(by)
        };
        moved.unwrap_or(now)
    }

    /// Now in milliseconds since the Unix epoch.
    pub fn unix_ms(&self) -> UnixMillis {
        let since = self.now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

impl TimeProvider for WallClock {
    fn current_time(&self) -> Option<UnixTime> {
        let since = self.now().duration_since(UNIX_EPOCH).ok()?;
        Some(UnixTime::since_unix_epoch(since))
    }
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
    fn a_moved_clock_moves_its_copies_both_ways() {
        let clock = WallClock::system();
        let copy = clock.clone();
        clock.set_ahead(3 * 24 * 3600);
        assert!(copy.unix_ms() > unix_ms() + 2 * 24 * 3_600_000);
        clock.set_ahead(-3600);
        assert!(copy.unix_ms() < unix_ms() - 3_500_000);
    }

    #[test]
    fn the_wall_clock_is_in_this_age() {
        let year_2025 = 1_735_689_600_000;
        assert!(unix_ms() > year_2025);
    }
}
