//! The broker's clock: monotonic within a run, and on the scale of the Unix epoch, so that a time
//! that was written down means the same after a restart.

use nearlight_protocol::unit::{MonoTime, UnixMillis};

/// Microseconds since the Unix epoch as of the start of the process, and monotonic from there: a
/// clock that is set back while the broker runs ends nobody's session early.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    unix_us: u64,
    origin: MonoTime,
}

impl Clock {
    /// A clock that starts at the time of day.
    pub fn start() -> Self {
        Self {
            unix_us: nearlight_kit::clock::unix_ms().saturating_mul(1000),
            origin: nearlight_kit::clock::mono_now(),
        }
    }

    /// Now.
    pub fn now(&self) -> MonoTime {
        let elapsed = nearlight_kit::clock::mono_now().micros_since(self.origin);
        MonoTime(self.unix_us.saturating_add(elapsed))
    }

    /// Now, as callers of the API read it.
    pub fn unix_ms(&self) -> UnixMillis {
        unix_ms(self.now())
    }
}

/// A time of this clock as callers of the API read it.
pub const fn unix_ms(at: MonoTime) -> UnixMillis {
    at.0 / 1000
}

/// The same back.
pub(crate) const fn from_unix_ms(ms: UnixMillis) -> MonoTime {
    MonoTime(ms.saturating_mul(1000))
}
