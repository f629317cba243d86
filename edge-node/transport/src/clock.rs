//! One clock, two notations: `Instant` for deadlines and for `rtc`, and the node's
//! `CLOCK_MONOTONIC` in microseconds for everything that crosses a wire. On Linux both are the same
//! clock; the offset is taken once.

use nix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant};

/// Converts between the two notations.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
    origin_us: u64,
}

impl Clock {
    pub(crate) fn start() -> std::io::Result<Self> {
        let origin = Instant::now();
        let spec = clock_gettime(ClockId::CLOCK_MONOTONIC)?;
        let seconds = u64::try_from(spec.tv_sec()).unwrap_or(0);
        let micros = u64::try_from(spec.tv_nsec()).unwrap_or(0) / 1000;
        Ok(Self {
            origin,
            origin_us: seconds * 1_000_000 + micros,
        })
    }

    /// `at` in microseconds of `CLOCK_MONOTONIC`.
    pub(crate) fn micros(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.origin);
        self.origin_us + u64::try_from(since.as_micros()).unwrap_or(u64::MAX / 2)
    }

    /// The moment that is `us` microseconds of `CLOCK_MONOTONIC`; what is before our start is that.
    pub(crate) fn instant(&self, us: u64) -> Instant {
        self.origin + Duration::from_micros(us.saturating_sub(self.origin_us))
    }

    /// Now, in microseconds of `CLOCK_MONOTONIC`.
    pub(crate) fn now_us(&self) -> u64 {
        self.micros(Instant::now())
    }
}

/// The RTP timestamp of a media time at `rate` Hz; wraps.
pub(crate) fn rtp_timestamp(us: u64, rate: u32) -> u32 {
    // The cast keeps the low 32 bits, which is how RTP timestamps wrap.
    (u128::from(us) * u128::from(rate) / 1_000_000) as u32
}

/// `span` between two host times, if they are in order and less than a minute apart: a worker's
/// times are claims.
pub(crate) fn span(from_us: u64, to_us: u64) -> Option<Duration> {
    let us = to_us.checked_sub(from_us)?;
    (us < 60_000_000).then(|| Duration::from_micros(us))
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn video_timestamps_are_ninety_per_millisecond_and_wrap() {
        assert_eq!(rtp_timestamp(1000, 90_000), 90);
        assert_eq!(rtp_timestamp(20_000, 48_000), 960);
        let us = 123_456_789_012_u64;
        assert_eq!(
            u64::from(rtp_timestamp(us, 90_000)),
            (us * 9 / 100) % (1 << 32)
        );
        // No worker can make it overflow.
        rtp_timestamp(u64::MAX, 90_000);
    }

    #[test]
    fn a_span_is_taken_only_from_times_that_make_sense() {
        assert_eq!(span(10, 15), Some(Duration::from_micros(5)));
        assert_eq!(span(15, 10), None);
        assert_eq!(span(0, u64::MAX), None);
    }
}
