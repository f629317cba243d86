//! Units as types: time, rate, and 64-bit integers that survive JSON.

use serde::{Deserialize, Serialize};

/// A point on one host's monotonic clock, in microseconds (`CLOCK_MONOTONIC` where there is one).
/// Tests start at zero; a trace replays. Never compared across hosts.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct MonoTime(pub u64);

impl MonoTime {
    /// The moment `us` microseconds after the clock's origin.
    pub const fn from_micros(us: u64) -> Self {
        Self(us)
    }

    /// This moment plus `ms` milliseconds, saturating.
    #[must_use]
    pub const fn plus_millis(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms.saturating_mul(1000)))
    }

    /// Microseconds from `earlier` to here; zero if `earlier` is later.
    pub const fn micros_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Milliseconds from `earlier` to here; zero if `earlier` is later.
    pub const fn millis_since(self, earlier: Self) -> u64 {
        self.micros_since(earlier) / 1000
    }
}

/// Milliseconds since the Unix epoch, UTC. In JSON a number: it stays below 2^53 for 285,000 years.
pub type UnixMillis = u64;

/// An instant as people read it (RFC 3339, UTC), such as `2026-01-31T12:00:00.250Z`.
pub fn rfc3339(at_ms: UnixMillis) -> String {
    let (seconds, ms) = (at_ms / 1000, at_ms % 1000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    // Years that begin in March: the leap day is their last.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, is_next) = match month {
        0..=9 => (month + 3, 0),
        _ => (month - 9, 1),
    };
    let year = era * 400 + year + is_next;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// A bit rate in kbit/s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Kbps(pub u32);

/// A 64-bit unsigned integer that JSON carries as a decimal string.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct U64(pub u64);

impl Serialize for U64 {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for U64 {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
        // `parse` alone would also take "+7" and "007", which canonical JSON must not have twice.
        let canonical =
            text == "0" || (!text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit()));
        if !canonical {
            return Err(serde::de::Error::custom(
                "expected a decimal string without sign or leading zeros",
            ));
        }
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn instants_are_written_as_people_read_them() {
        for (at_ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_200_250, "2024-03-01T00:00:00.250Z"),
            (4_107_542_399_000, "2100-02-28T23:59:59.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(rfc3339(at_ms), text);
        }
    }

    #[test]
    fn u64_is_a_canonical_decimal_string() {
        assert_eq!(
            serde_json::to_string(&U64(u64::MAX)).unwrap(),
            "\"18446744073709551615\""
        );
        for (text, value) in [
            ("\"0\"", Some(0)),
            ("\"42\"", Some(42)),
            ("\"007\"", None),
            ("\"+7\"", None),
            ("7", None),
            ("\"\"", None),
            ("\"18446744073709551616\"", None),
        ] {
            assert_eq!(
                serde_json::from_str::<U64>(text).ok().map(|v| v.0),
                value,
                "{text}"
            );
        }
    }
}
