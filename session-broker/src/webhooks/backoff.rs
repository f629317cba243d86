//! When a notice is tried again: pure.

use nearlight_protocol::unit::UnixMillis;

/// After the first try; each further one waits three times as long.
const FIRST_MS: u64 = 5_000;
const MOST_MS: u64 = 4 * 3600 * 1000;
/// A notice is given up so long after it happened.
const GIVEN_UP_MS: u64 = 24 * 3600 * 1000;

/// When a notice of `created_ms` is tried again after `attempts` tries, the last at `now_ms`; `None`: it is
/// given up. `chance` spreads what failed together: a wait is shortened by up to a quarter.
pub(super) fn next(
    created_ms: UnixMillis,
    now_ms: UnixMillis,
    attempts: u32,
    chance: u32,
) -> Option<UnixMillis> {
    let times = 3_u64.saturating_pow(attempts.saturating_sub(1));
    let wait = FIRST_MS.saturating_mul(times).min(MOST_MS);
    let less = (wait / 4).saturating_mul(u64::from(chance)) / u64::from(u32::MAX);
    let next_ms = now_ms.saturating_add(wait - less);
    (next_ms <= created_ms.saturating_add(GIVEN_UP_MS)).then_some(next_ms)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn waits_grow_threefold_to_four_hours_and_end_after_a_day() {
        let waits: Vec<u64> = (1..9).map(|n| next(0, 0, n, 0).unwrap() / 1000).collect();
        assert_eq!(waits, [5, 15, 45, 135, 405, 1215, 3645, 10_935]);
        assert_eq!(next(0, 0, 9, 0), Some(MOST_MS));
        assert_eq!(next(0, 0, u32::MAX, 0), Some(MOST_MS));
        assert_eq!(next(0, 0, 1, u32::MAX), Some(3_750), "spread");
        let (mut now_ms, mut tries) = (0, 0);
        while let Some(again_ms) = next(0, now_ms, tries + 1, 0) {
            assert!(again_ms > now_ms);
            (now_ms, tries) = (again_ms, tries + 1);
        }
        assert_eq!(tries, 12, "of which the last is less than a day after");
        assert!(now_ms <= GIVEN_UP_MS && now_ms > GIVEN_UP_MS - MOST_MS);
    }
}
