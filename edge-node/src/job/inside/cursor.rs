//! Where a reader of a log left off, and how that place is found again.
//!
//! A cursor is `TIME-N`: the N-th line of that instant, as the engine has stamped it. To go on, the log is read again
//! from a second before, and what comes up to that very line is passed over. Lines are near each other in time, not
//! in order: standard output and standard error are stamped by two tasks of the engine. So one is found by meeting
//! it, not by comparing times.
//!
//! ```text
//! seeking --its line comes--> passing
//!    `--later lines alone, or silence: it was rotated away--> passing, and a gap is told
//! ```
//!
//! **What it does not know:** where lines come from.

use std::collections::VecDeque;

/// Instants whose lines are counted: what two tasks stamp out of order is closer than that.
const INSTANTS: usize = 64;
/// Lines that wait for the place to be found.
const WAITING_MAX: usize = 256;
/// A line of an instant so much later, in nanoseconds, is of after the place: it was not there.
const APART_NS: u64 = 1_000_000_000;

/// The place of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    /// As the engine stamps it: `2026-01-02T03:04:05.000000000Z`.
    pub(super) at: String,
    /// From 1.
    pub(super) number: u32,
}

impl Cursor {
    /// A place, as a reader says it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (at, number) = text.rsplit_once('-')?;
        let cursor = Self {
            at: at.to_owned(),
            number: number.parse().ok()?,
        };
        (unix_ns(at).is_some() && cursor.number > 0).then_some(cursor)
    }

    /// The second from which the log is read again.
    pub(super) fn since_s(&self) -> u32 {
        let seconds = unix_ns(&self.at).unwrap_or(0) / 1_000_000_000;
        u32::try_from(seconds.saturating_sub(1)).unwrap_or(u32::MAX)
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.at, self.number)
    }
}

/// Nanoseconds since the Unix epoch of `2026-01-02T03:04:05.000000000Z`, whose fraction may be shorter.
pub(super) fn unix_ns(text: &str) -> Option<u64> {
    let bytes = text.as_bytes();
    let of = |from: usize, to: usize| text.get(from..to)?.parse::<u64>().ok();
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    let is_marked = marks.iter().all(|(at, mark)| bytes.get(*at) == Some(mark));
    let rest = text.get(19..)?.strip_suffix('Z')?;
    if !is_marked || !text.is_ascii() {
        return None;
    }
    let (year, month, day) = (of(0, 4)?, of(5, 7)?, of(8, 10)?);
    let (hour, minute, second) = (of(11, 13)?, of(14, 16)?, of(17, 19)?);
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 {
        return None;
    }
    // Days of the civil calendar, years beginning in March.
    let shifted = if month > 2 { year } else { year - 1 };
    let (era, of_era) = (shifted / 400, shifted % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    let fraction = match rest.strip_prefix('.') {
        Some(digits) if (1..=9).contains(&digits.len()) => {
            let places = u32::try_from(9 - digits.len()).ok()?;
            digits.parse::<u64>().ok()? * 10_u64.pow(places)
        }
        Some(_) => return None,
        None if rest.is_empty() => 0,
        None => return None,
    };
    seconds.checked_mul(1_000_000_000)?.checked_add(fraction)
}

/// Numbers lines, and passes them on from a place on.
#[derive(Debug)]
pub(super) struct Places<L> {
    counted: VecDeque<(String, u32)>,
    seeking: Option<Seeking<L>>,
}

#[derive(Debug)]
struct Seeking<L> {
    place: Cursor,
    place_ns: u64,
    waiting: Vec<(Cursor, L)>,
}

/// What is passed on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Passed<L> {
    /// The place was not there any more: lines before these are gone.
    pub(super) gap: bool,
    pub(super) lines: Vec<(Cursor, L)>,
}

impl<L> Places<L> {
    /// From `place` on, or everything.
    pub(super) fn from(place: Option<Cursor>) -> Self {
        let seeking = place.map(|place| Seeking {
            place_ns: unix_ns(&place.at).unwrap_or(0),
            place,
            waiting: Vec::new(),
        });
        Self {
            counted: VecDeque::new(),
            seeking,
        }
    }

    /// Whether the place was not found yet.
    pub(super) const fn is_seeking(&self) -> bool {
        self.seeking.is_some()
    }

    /// A line came.
    pub(super) fn line(&mut self, at: &str, line: L) -> Passed<L> {
        let place = self.number(at);
        let none = Passed {
            gap: false,
            lines: Vec::new(),
        };
        let Some(seeking) = &mut self.seeking else {
            return Passed {
                gap: false,
                lines: vec![(place, line)],
            };
        };
        if place == seeking.place {
            // What waited stands before it.
            self.seeking = None;
            return none;
        }
        let ns = unix_ns(at).unwrap_or(0);
        if ns <= seeking.place_ns {
            return none;
        }
        seeking.waiting.push((place, line));
        let is_past = ns > seeking.place_ns + APART_NS || seeking.waiting.len() > WAITING_MAX;
        if is_past { self.give_up() } else { none }
    }

    /// Nothing came for a while, or nothing comes any more.
    pub(super) fn quiet(&mut self) -> Passed<L> {
        self.give_up()
    }

    fn give_up(&mut self) -> Passed<L> {
        match self.seeking.take() {
            Some(seeking) => Passed {
                gap: true,
                lines: seeking.waiting,
            },
            None => Passed {
                gap: false,
                lines: Vec::new(),
            },
        }
    }

    fn number(&mut self, at: &str) -> Cursor {
        let known = self.counted.iter_mut().find(|(of, _)| of == at);
        let number = match known {
            Some((_, count)) => {
                *count += 1;
                *count
            }
            None => {
                if self.counted.len() >= INSTANTS {
                    self.counted.pop_front();
                }
                self.counted.push_back((at.to_owned(), 1));
                1
            }
        };
        Cursor {
            at: at.to_owned(),
            number,
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn at(second: u32, ns: u32) -> String {
        format!("2026-03-01T00:00:{second:02}.{ns:09}Z")
    }

    #[test]
    fn instants_are_those_of_the_calendar() {
        let check =
            |text: &str, expected: Option<u64>| assert_eq!(unix_ns(text), expected, "{text}");
        check("1970-01-01T00:00:00Z", Some(0));
        check("1970-01-01T00:00:00.5Z", Some(500_000_000));
        check(
            "2000-02-29T12:34:56.000000001Z",
            Some(951_827_696_000_000_001),
        );
        check(
            "2026-03-01T00:00:00.000000000Z",
            Some(1_772_323_200_000_000_000),
        );
        for wrong in [
            "",
            "Z",
            "1969-12-31T23:59:59Z",
            "2026-13-01T00:00:00Z",
            "2026-03-01T00:00:00",
            "2026-03-01T00:00:00.Z",
            "2026-03-01T00:00:00.1234567890Z",
            "2026-03-01 00:00:00Z",
            "2026-03-01T00:00:00+Z",
            "ümlaut-und-zeit-und-mehrZ",
        ] {
            check(wrong, None);
        }
    }

    #[test]
    fn a_cursor_is_what_it_is_written_as() {
        let cursor = Cursor {
            at: at(5, 7),
            number: 3,
        };
        assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor.clone()));
        assert_eq!(cursor.since_s(), 1_772_323_204);
        for wrong in [
            "",
            "-1",
            "x-1",
            "2026-03-01T00:00:05Z-0",
            "2026-03-01T00:00:05Z",
        ] {
            assert_eq!(Cursor::parse(wrong), None, "{wrong}");
        }
    }

    /// A log: what it says, and when.
    fn log() -> Vec<(String, &'static str)> {
        vec![
            (at(1, 0), "a"),
            (at(2, 0), "b"),
            (at(2, 9), "c"),
            // Of standard error, stamped before and written after.
            (at(2, 5), "d"),
            (at(2, 9), "e"),
            (at(2, 9), "f"),
            (at(3, 0), "g"),
        ]
    }

    fn read(
        from: Option<Cursor>,
        log: &[(String, &'static str)],
    ) -> (bool, Vec<(Cursor, &'static str)>) {
        let mut places = Places::from(from);
        let mut gap = false;
        let mut all = Vec::new();
        let mut take = |passed: Passed<&'static str>| {
            gap |= passed.gap;
            all.extend(passed.lines);
        };
        for (at, line) in log {
            take(places.line(at, line));
        }
        take(places.quiet());
        (gap, all)
    }

    #[test]
    fn no_line_is_lost_or_doubled_wherever_a_reader_left_off() {
        let (gap, whole) = read(None, &log());
        assert!(!gap);
        for (at, (place, _)) in whole.iter().enumerate() {
            let (gap, rest) = read(Some(place.clone()), &log());
            assert_eq!((gap, rest.as_slice()), (false, &whole[at + 1..]), "{place}");
        }
    }

    #[test]
    fn a_place_that_is_gone_is_a_gap_and_what_is_there_comes() {
        let gone = Cursor {
            at: at(0, 1),
            number: 1,
        };
        let (gap, rest) = read(Some(gone), &log());
        assert!(gap);
        assert_eq!(rest.len(), log().len());
        let last = Cursor {
            at: at(9, 0),
            number: 1,
        };
        assert_eq!(read(Some(last), &log()), (true, vec![]));
    }

    #[test]
    fn what_waits_for_a_place_is_bounded() {
        let place = Cursor {
            at: at(1, 0),
            number: 2,
        };
        let mut places = Places::from(Some(place));
        let mut came = 0;
        for n in 0..300 {
            came += places.line(&at(1, n + 1), n).lines.len();
        }
        assert_eq!((came, places.is_seeking()), (300, false));
    }
}
