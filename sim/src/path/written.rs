//! Quantities as people write them, in profiles, on the command line and in changes: a number with
//! its unit in one word.

use super::conditions::{Burst, Queue};
use serde::Deserialize;
use std::str::FromStr;

/// What was written is not a quantity of the kind that is needed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no {kind}: write {example}")]
pub struct WrittenError {
    text: String,
    kind: &'static str,
    example: &'static str,
}

fn wrong(text: &str, kind: &'static str, example: &'static str) -> WrittenError {
    WrittenError {
        text: text.to_owned(),
        kind,
        example,
    }
}

/// A probability: `2%` or `0.02`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(try_from = "NumberOrText")]
pub struct Share(pub f64);

impl FromStr for Share {
    type Err = WrittenError;

    fn from_str(text: &str) -> Result<Self, WrittenError> {
        let value = match text.strip_suffix('%') {
            Some(percent) => percent.trim().parse().map(|percent: f64| percent / 100.0),
            None => text.trim().parse(),
        };
        match value {
            Ok(share) if (0.0..=1.0).contains(&share) => Ok(Self(share)),
            _ => Err(wrong(
                text,
                "share",
                "a percentage such as 2% or a number from 0 to 1",
            )),
        }
    }
}

/// A length of time: `40ms`, `500us`, `1.5s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "NumberOrText")]
pub struct Span {
    /// Microseconds.
    pub us: u64,
}

impl FromStr for Span {
    type Err = WrittenError;

    fn from_str(text: &str) -> Result<Self, WrittenError> {
        let units = [("us", 1.0), ("ms", 1e3), ("s", 1e6), ("min", 60e6)];
        // A day and no more: every sum of spans stays far within 64 bits of nanoseconds.
        scaled(text, &units)
            .filter(|us| *us <= 86_400e6)
            .map(|us| Self {
                us: us.round() as u64,
            })
            .ok_or_else(|| {
                wrong(
                    text,
                    "length of time",
                    "a number with its unit, such as 40ms, 500us or 1.5s",
                )
            })
    }
}

/// A capacity: `8mbit`, `800kbit`, `1gbit`, or `unlimited`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "NumberOrText")]
pub struct Rate {
    /// In kbit/s; `None` is without limit.
    pub kbps: Option<u32>,
}

impl FromStr for Rate {
    type Err = WrittenError;

    fn from_str(text: &str) -> Result<Self, WrittenError> {
        if text.trim() == "unlimited" {
            return Ok(Self { kbps: None });
        }
        let units = [("kbit", 1.0), ("mbit", 1e3), ("gbit", 1e6)];
        scaled(text, &units)
            .map(f64::round)
            .filter(|kbps| (1.0..=f64::from(u32::MAX)).contains(kbps))
            .map(|kbps| Self {
                kbps: Some(kbps as u32),
            })
            .ok_or_else(|| {
                wrong(
                    text,
                    "rate",
                    "bits a second with their unit, such as 8mbit or 800kbit (at least 1kbit), or \
                     unlimited",
                )
            })
    }
}

impl FromStr for Queue {
    type Err = WrittenError;

    fn from_str(text: &str) -> Result<Self, WrittenError> {
        let bytes = [("kb", 1e3), ("b", 1.0)];
        if let Ok(Span { us }) = text.parse() {
            return Ok(Self::Span { us });
        }
        scaled(text, &bytes)
            .filter(|bytes| *bytes <= 1e9)
            .map(|bytes| Self::Bytes(bytes.round() as u64))
            .ok_or_else(|| {
                wrong(
                    text,
                    "queue",
                    "the longest wait, such as 100ms, or the room, such as 64kb",
                )
            })
    }
}

/// Bursts: `10 every 2s`, `enter 1% leave 20%` with or without `lose 80%`, or `none`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(try_from = "NumberOrText")]
pub struct Bursts(pub Option<Burst>);

impl FromStr for Bursts {
    type Err = WrittenError;

    fn from_str(text: &str) -> Result<Self, WrittenError> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let share = |text: &str| text.parse::<Share>().map(|share| share.0);
        let burst = match words[..] {
            ["none"] => None,
            [packets, "every", time] => match (packets.parse(), time.parse::<Span>()?.us) {
                (Ok(packets @ 1..), every_us @ 1..) => Some(Burst::Runs { packets, every_us }),
                _ => return Err(no_bursts(text)),
            },
            ["enter", enter, "leave", leave] => Some(Burst::Chain {
                enter: share(enter)?,
                leave: share(leave)?,
                loss: 1.0,
            }),
            ["enter", enter, "leave", leave, "lose", loss] => Some(Burst::Chain {
                enter: share(enter)?,
                leave: share(leave)?,
                loss: share(loss)?,
            }),
            _ => return Err(no_bursts(text)),
        };
        Ok(Self(burst))
    }
}

fn no_bursts(text: &str) -> WrittenError {
    wrong(
        text,
        "description of bursts",
        "\"10 every 2s\", \"enter 1% leave 20%\", \"enter 1% leave 20% lose 80%\" or none",
    )
}

/// The number in front of one of the units, times the unit. The first unit that fits the end counts,
/// so longer ones stand first where one ends in another.
fn scaled(text: &str, units: &[(&str, f64)]) -> Option<f64> {
    let text = text.trim().to_ascii_lowercase();
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let (_, scale) = units
        .iter()
        .find(|(unit, _)| *unit == &text[number.len()..])?;
    let value: f64 = number.trim().parse().ok()?;
    (value.is_finite() && value >= 0.0).then_some(value * scale)
}

/// What TOML and JSON may hold where a quantity stands.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "a quantity with its unit in quotes, such as \"40ms\", \"8mbit\" or \"2%\""
)]
pub(super) enum NumberOrText {
    Number(f64),
    Text(String),
}

macro_rules! from_written {
    ($($kind:ty),*) => {$(
        impl TryFrom<NumberOrText> for $kind {
            type Error = WrittenError;

            fn try_from(written: NumberOrText) -> Result<Self, WrittenError> {
                match written {
                    NumberOrText::Number(number) => number.to_string().parse(),
                    NumberOrText::Text(text) => text.parse(),
                }
            }
        }
    )*};
}

from_written!(Share, Span, Rate, Queue, Bursts);
