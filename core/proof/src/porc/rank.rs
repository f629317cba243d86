//! A node's rank: what its last verdicts come to, as one number that anyone recomputes by hand.
//!
//! Of the verdicts of the last 30 days the newest eight count, newest first, i from 0:
//!
//! ```text
//!   rank = floor( sum of (8 - i) * v * (30 - d)  /  (36 * 30) )
//!   v = the score in thousandths, 1000 at most; 0 for a failure    d = its age in whole days
//! ```
//!
//! So eight passes of today at the reference's speed or better are 1000, one is 222, and every month
//! without checks takes all of it away. A node with a pass among the eight has 1 at least.
//!
//! **What it does not know:** how verdicts come to be, and what a rank is good for.

/// Verdicts that count.
pub const LAST: usize = 8;
/// Days after which a verdict does not count any more.
pub const DAYS: u64 = 30;
/// The highest rank.
pub const RANK_MAX: u32 = 1_000;
/// So many failures among those that count take a node out, until it passes.
pub const FAILURES: usize = 2;
const DAY_S: u64 = 24 * 3600;
/// 8 + 7 + … + 1.
const WEIGHTS: u64 = (LAST * (LAST + 1) / 2) as u64;

/// A verdict about a node that is certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Past {
    /// When it was given, Unix seconds.
    pub at_s: u64,
    /// Whether the node passed.
    pub passed: bool,
    /// With which score, thousandths.
    pub score_permille: u32,
}

/// What a node's receipts open to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gate {
    /// No verdict that counts says that it passed: it takes few sessions at a time.
    #[default]
    Unproven,
    /// It passed.
    Proven,
    /// The newest verdict is a failure, and not the only one: it takes no more sessions until it passes.
    Failing,
}

/// A node's rank.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rank {
    /// Thousandths, up to [`RANK_MAX`].
    pub permille: u32,
    /// What it opens.
    pub gate: Gate,
}

impl Rank {
    /// Of these verdicts, newest first.
    #[must_use]
    pub fn of(newest_first: &[Past], now_s: u64) -> Self {
        let aged = newest_first.iter().map(|past| {
            let days = now_s.saturating_sub(past.at_s) / DAY_S;
            (past, DAYS.saturating_sub(days))
        });
        let counted: Vec<(&Past, u64)> = aged.filter(|(_, left)| *left > 0).take(LAST).collect();
        let value = |past: &Past| match past.passed {
            true => u64::from(past.score_permille.min(RANK_MAX)),
            false => 0,
        };
        let weights = (1..=LAST as u64).rev();
        let sum: u64 = weights
            .zip(&counted)
            .map(|(weight, (past, left))| weight * value(past) * left)
            .sum();
        let permille = u32::try_from(sum / (WEIGHTS * DAYS)).unwrap_or(RANK_MAX);
        let failures = counted.iter().filter(|(past, _)| !past.passed).count();
        let fails_now = counted.first().is_some_and(|(past, _)| !past.passed);
        let gate = match (failures, fails_now) {
            (FAILURES.., true) => Gate::Failing,
            _ if failures == counted.len() => Gate::Unproven,
            _ => Gate::Proven,
        };
        let least = u32::from(failures < counted.len());
        Self {
            permille: permille.clamp(least, RANK_MAX),
            gate,
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    const NOW_S: u64 = 1_800_000_000;

    fn past(days: u64, score_permille: u32) -> Past {
        Past {
            at_s: NOW_S - days * DAY_S,
            passed: score_permille > 0,
            score_permille,
        }
    }

    fn rank(newest_first: &[(u64, u32)]) -> (u32, Gate) {
        let pasts: Vec<Past> = newest_first.iter().map(|(d, s)| past(*d, *s)).collect();
        let rank = Rank::of(&pasts, NOW_S);
        (rank.permille, rank.gate)
    }

    /// The example of docs/proof.md: 8*980*30 + 7*0*29 + 6*1000*27 = 397,200; by 1,080 it is 367.
    #[test]
    fn the_example_by_hand() {
        assert_eq!(rank(&[(0, 980), (1, 0), (3, 1_200)]), (367, Gate::Proven));
    }

    #[test]
    fn the_ends_of_the_scale() {
        assert_eq!(rank(&[]), (0, Gate::Unproven));
        assert_eq!(rank(&[(0, 5_000); 20]), (1_000, Gate::Proven));
        assert_eq!(rank(&[(0, 1_000)]), (222, Gate::Proven));
        assert_eq!(rank(&[(29, 1)]), (1, Gate::Proven), "a pass is something");
        assert_eq!(rank(&[(30, 1_000)]), (0, Gate::Unproven));
        let ahead = Past {
            at_s: NOW_S + 9,
            ..past(0, 1_000)
        };
        assert_eq!(Rank::of(&[ahead], NOW_S).permille, 222, "another clock");
    }

    #[test]
    fn two_failures_take_a_node_out_until_it_passes() {
        assert_eq!(rank(&[(0, 0)]).1, Gate::Unproven);
        assert_eq!(rank(&[(0, 0), (1, 900)]).1, Gate::Proven);
        assert_eq!(rank(&[(0, 0), (0, 0)]).1, Gate::Failing);
        assert_eq!(rank(&[(0, 0), (1, 900), (1, 0)]).1, Gate::Failing);
        assert_eq!(rank(&[(0, 900), (1, 0), (1, 0)]).1, Gate::Proven);
        // What is old, or before the last eight, does not count.
        assert_eq!(rank(&[(0, 0), (1, 900), (30, 0)]).1, Gate::Proven);
        let mut long = vec![(0, 0)];
        long.extend([(1, 900); 7]);
        long.push((1, 0));
        assert_eq!(rank(&long).1, Gate::Proven);
    }

    #[test]
    fn a_pass_never_lowers_a_rank_that_has_room_and_age_never_raises_it() {
        for days in 0..40 {
            let now = rank(&[(days, 900), (days, 800)]).0;
            let later = rank(&[(days + 1, 900), (days + 1, 800)]).0;
            assert!(later <= now, "{days}");
        }
        let mut pasts = Vec::new();
        let mut last = 0;
        for _ in 0..10 {
            pasts.push((0, 1_000));
            let now = rank(&pasts).0;
            assert!(now >= last);
            last = now;
        }
    }
}
