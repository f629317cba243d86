//! When the next slots are free, as far as that is known.
//!
//! For each session that has a slot there is a chance that it has ended within a given time: certain once
//! its time is over (a player who stays away, a limit), and otherwise the share of former sessions that
//! lasted longer than it has and ended within that time. Of many sessions together, how many have ended
//! is close to a normal distribution; from its mean and spread comes the time within which the
//! `position`-th slot is free with a given probability.
//!
//! **Invariants.** What nothing is known of counts as lasting for ever. A later position never has an
//! earlier time.
//!
//! **What it does not know:** who waits, and whether a slot suits them. So those with rare needs wait
//! longer than it says, and it is told only where the pace of a line is not known ([`super::Lines`]).

use super::Eta;

/// A session that has a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy {
    /// How long it has had its slot, milliseconds.
    pub age_ms: u64,
    /// In how many milliseconds it ends, if nobody comes back: the grace of an absent player.
    pub ends_in_ms: Option<u64>,
    /// In how many milliseconds it ends in any case: its time limit.
    pub most_in_ms: Option<u64>,
}

/// Former sessions without which nothing is said of how long others last.
pub const HISTORY_MIN: usize = 5;
/// Times that are looked at: a twelfth more each, from a second to a day and a half.
const STEPS: usize = 150;
const STEP: f64 = 1.0 + 1.0 / 12.0;
/// One in ten is beyond so many standard deviations.
const NINE_IN_TEN: f64 = 1.2816;

/// What is expected, computed once for all who wait.
#[derive(Clone, Debug, Default)]
pub struct Forecast {
    /// For each time, how many slots are free with a probability of a half, and of nine tenths.
    steps: Vec<(f64, f64, f64)>,
}

impl Forecast {
    /// `busy` are all sessions that have a slot, or a fair sample; each stands for `weight` of them.
    /// `history` is how long former ones lasted, milliseconds.
    pub fn new(busy: &[(Busy, f64)], history: &[u64]) -> Self {
        let mut history = history.to_vec();
        history.sort_unstable();
        if history.len() < HISTORY_MIN {
            history.clear();
        }
        let mut at_ms = 1000.0;
        let mut steps = Vec::with_capacity(STEPS);
        for _ in 0..STEPS {
            let (half, _) = ended(busy, &history, at_ms, |busy| busy.ends_in_ms);
            let (mean, spread) = ended(busy, &history, at_ms, |busy| {
                busy.ends_in_ms.into_iter().chain(busy.most_in_ms).min()
            });
            steps.push((at_ms, half, mean - NINE_IN_TEN * spread));
            at_ms *= STEP;
        }
        Self { steps }
    }

    /// When the slot for `position` (1 is next) is free.
    pub fn eta(&self, position: u32) -> Eta {
        let wanted = f64::from(position) - 0.5;
        let first = |enough: fn(&(f64, f64, f64)) -> f64| {
            let found = self.steps.iter().find(|step| enough(step) >= wanted);
            found.map(|(at_ms, _, _)| (at_ms / 1000.0).ceil() as u32)
        };
        let most_s = first(|(_, _, most)| *most);
        let half_s = first(|(_, half, _)| *half);
        Eta { half_s, most_s }
    }
}

/// How many have ended after `at_ms`: the mean, and its standard deviation.
fn ended(
    busy: &[(Busy, f64)],
    history: &[u64],
    at_ms: f64,
    certain: impl Fn(&Busy) -> Option<u64>,
) -> (f64, f64) {
    let mut mean = 0.0;
    let mut variance = 0.0;
    for (busy, weight) in busy {
        let is_over = certain(busy).is_some_and(|end_ms| end_ms as f64 <= at_ms);
        let chance = if is_over {
            1.0
        } else {
            chance(busy.age_ms, history, at_ms)
        };
        mean += weight * chance;
        variance += weight * chance * (1.0 - chance);
    }
    (mean, variance.sqrt())
}

/// The chance that a session of this age ends within `within_ms`.
fn chance(age_ms: u64, history: &[u64], within_ms: f64) -> f64 {
    let outlasted = history.partition_point(|lasted| *lasted <= age_ms);
    let longer = history.len() - outlasted;
    if longer > 0 {
        let until_ms = age_ms.saturating_add(within_ms as u64);
        let ended = history.partition_point(|lasted| *lasted <= until_ms) - outlasted;
        return ended as f64 / longer as f64;
    }
    // One that outlasted them all may end any minute, or last on.
    match history.get(history.len() / 2) {
        Some(typical) => 1.0 - (-within_ms / (*typical).max(1) as f64).exp(),
        None => 0.0,
    }
}

#[cfg(test)]
mod test {
    use super::*;

    const MINUTE: u64 = 60_000;

    fn busy(age_ms: u64) -> Busy {
        Busy {
            age_ms,
            ends_in_ms: None,
            most_in_ms: None,
        }
    }

    fn all(busy: impl IntoIterator<Item = Busy>) -> Vec<(Busy, f64)> {
        busy.into_iter().map(|busy| (busy, 1.0)).collect()
    }

    /// A time is rounded up to the next step.
    fn is_about(found_s: Option<u32>, expected_s: u32) {
        let found_s = found_s.unwrap();
        let most_s = expected_s + expected_s / 10 + 2;
        assert!(
            (expected_s..=most_s).contains(&found_s),
            "{found_s} is not about {expected_s}"
        );
    }

    #[test]
    fn nothing_is_made_up() {
        assert_eq!(Forecast::default().eta(1), Eta::default());
        let unknown = Forecast::new(&all([busy(5)]), &[MINUTE; HISTORY_MIN - 1]);
        assert_eq!(unknown.eta(1), Eta::default());
        let full = Forecast::new(&all([busy(0)]), &[MINUTE; HISTORY_MIN]);
        assert_eq!(full.eta(2), Eta::default(), "there is one slot");
    }

    #[test]
    fn a_limit_says_when_at_most_and_a_players_absence_says_when() {
        let limited = Busy {
            most_in_ms: Some(60 * MINUTE),
            ..busy(0)
        };
        let eta = Forecast::new(&all([limited]), &[]).eta(1);
        assert_eq!(eta.half_s, None);
        is_about(eta.most_s, 3600);
        let kept = Busy {
            ends_in_ms: Some(2 * MINUTE),
            ..limited
        };
        let eta = Forecast::new(&all([limited, kept]), &[]).eta(1);
        is_about(eta.half_s, 120);
        is_about(eta.most_s, 120);
    }

    #[test]
    fn the_percentiles_are_those_of_what_sessions_lasted() {
        let history: Vec<u64> = (1..=100).map(|minutes| minutes * MINUTE).collect();
        let eta = Forecast::new(&all([busy(0)]), &history).eta(1);
        is_about(eta.half_s, 50 * 60);
        is_about(eta.most_s, 90 * 60);
        // Half an hour old, it is one of those that last longer.
        let eta = Forecast::new(&all([busy(30 * MINUTE)]), &history).eta(1);
        is_about(eta.half_s, 35 * 60);
        // Of a hundred the first ends soon, and the tenth after a tenth of the time.
        let many = all((0..100).map(|_| busy(0)));
        let forecast = Forecast::new(&many, &history);
        is_about(forecast.eta(10).half_s, 10 * 60);
        let mut last = Eta::default();
        for position in 1..=100 {
            let eta = forecast.eta(position);
            assert!(
                eta.half_s.is_none() || eta.half_s >= last.half_s,
                "{position}"
            );
            assert!(
                eta.most_s.is_none() || eta.most_s >= eta.half_s,
                "{position}: {eta:?}"
            );
            last = eta;
        }
    }

    #[test]
    fn a_sample_stands_for_all() {
        let history: Vec<u64> = (1..=100).map(|minutes| minutes * MINUTE).collect();
        let all = Forecast::new(&all((0..1000).map(|_| busy(0))), &history);
        let sample: Vec<(Busy, f64)> = (0..100).map(|_| (busy(0), 10.0)).collect();
        assert_eq!(Forecast::new(&sample, &history).eta(50), all.eta(50));
    }

    /// The oracle: sessions that are drawn, ended, and counted.
    #[test]
    fn nine_waits_in_ten_are_within_what_is_said() {
        let history: Vec<u64> = (1..=40).map(|n| n * n * 3 * 1000).collect();
        let ages: Vec<u64> = (0..20).map(|n| n * 60 * 1000).collect();
        let forecast = Forecast::new(&all(ages.iter().map(|age| busy(*age))), &history);
        let eta = forecast.eta(3);
        let mut state = 7_u64;
        let mut draw = |n: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            usize::try_from(state >> 33).unwrap() % n
        };
        let mut waits: Vec<u64> = (0..2000)
            .map(|_| {
                let mut left: Vec<u64> = ages
                    .iter()
                    .map(|age| {
                        let longer: Vec<u64> = history
                            .iter()
                            .copied()
                            .filter(|lasted| lasted > age)
                            .collect();
                        longer[draw(longer.len())] - age
                    })
                    .collect();
                left.sort_unstable();
                left[2] / 1000
            })
            .collect();
        waits.sort_unstable();
        let within = |s: Option<u32>| {
            let s = u64::from(s.unwrap());
            waits.partition_point(|wait| *wait <= s) * 100 / waits.len()
        };
        let (half, most) = (within(eta.half_s), within(eta.most_s));
        assert!((40..=65).contains(&half), "{half} in a hundred");
        assert!((85..=98).contains(&most), "{most} in a hundred");
    }
}
