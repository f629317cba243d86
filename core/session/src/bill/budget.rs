//! When a budget is spent: at the first instant at which what was used comes to it.
//!
//! The next such instant follows from the rates of what runs now; whatever starts, ends or changes
//! price meanwhile moves it, and it is asked for again.

use super::{Charge, Interval, Kept, Metered, Priced, Range, RateBook, Rates};
use nearlight_protocol::unit::UnixMillis;

/// What is paid for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// A claim.
    Claim(Metered),
    /// A volume.
    Volume(Kept),
}

impl Priced for Held {
    fn parts(&self, rates: &Rates) -> u128 {
        match self {
            Self::Claim(metered) => metered.parts(rates),
            Self::Volume(kept) => kept.parts(rates),
        }
    }
}

/// A claim or a volume as a budget sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What it holds.
    pub held: Held,
    /// The acked start.
    pub began_ms: UnixMillis,
    /// The acked stop; `None` while it runs.
    pub ended_ms: Option<UnixMillis>,
}

impl Line {
    fn at(&self, now_ms: UnixMillis) -> Interval {
        Interval {
            began_ms: self.began_ms,
            ended_ms: self.ended_ms.map_or(now_ms, |ended| ended.min(now_ms)),
        }
    }
}

/// What the lines come to at an instant, of their seconds within `range`.
pub fn spent(book: &RateBook, lines: &[Line], range: Range, now_ms: UnixMillis) -> Charge {
    let charges = lines
        .iter()
        .map(|line| book.charge(&line.held, line.at(now_ms), range));
    charges.fold(Charge::default(), |sum, charge| sum + charge)
}

/// The first instant, `now_ms` at the earliest, at which the lines come to `budget` micro-units, if
/// that is before the end of `range` and nothing but time passes until then.
pub fn spent_at(
    book: &RateBook,
    lines: &[Line],
    budget: u64,
    range: Range,
    now_ms: UnixMillis,
) -> Option<UnixMillis> {
    let reached = |at_ms| spent(book, lines, range, at_ms).micro >= budget;
    // A second counts once it is completed: the last one that begins within the range, a second later.
    let last_ms = range.to_ms.saturating_add(1000);
    if reached(now_ms) {
        return Some(now_ms);
    }
    if last_ms <= now_ms || !reached(last_ms) {
        return None;
    }
    // What is spent never shrinks: not at `low`, and at `high`.
    let (mut low, mut high) = (now_ms, last_ms);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if reached(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    Some(high)
}

/// A calendar month in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Month {
    /// Its year.
    pub year: u32,
    /// 1 to 12.
    pub month: u32,
}

const DAY_MS: u64 = 24 * 3600 * 1000;

impl Month {
    /// The month of an instant.
    pub fn of(at_ms: UnixMillis) -> Self {
        let mut days = at_ms / DAY_MS;
        let mut month = Self {
            year: 1970,
            month: 1,
        };
        // By whole years first.
        while days >= month.year_days() {
            days -= month.year_days();
            month.year += 1;
        }
        while days >= month.days() {
            days -= month.days();
            month.month += 1;
        }
        month
    }

    /// From its first instant to that of the next one.
    pub fn range(self) -> Range {
        let years = (1970..self.year).map(|year| Self { year, month: 1 }.year_days());
        let months = (1..self.month).map(|month| Self { month, ..self }.days());
        let from: u64 = years.chain(months).sum();
        Range {
            from_ms: from * DAY_MS,
            to_ms: (from + self.days()) * DAY_MS,
        }
    }

    const fn is_leap(self) -> bool {
        self.year.is_multiple_of(4)
            && (!self.year.is_multiple_of(100) || self.year.is_multiple_of(400))
    }

    const fn year_days(self) -> u64 {
        if self.is_leap() { 366 } else { 365 }
    }

    const fn days(self) -> u64 {
        match self.month {
            2 if self.is_leap() => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        }
    }
}
