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
