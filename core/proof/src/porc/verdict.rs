//! What a committee's reports come to: unanimity passes, and any split goes to a referee.

use crate::key::KeyId;
use crate::receipt::predicate::Finding;
use std::collections::BTreeMap;

/// What one checker reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckerReport {
    /// The checker's key.
    pub checker: KeyId,
    /// How its probe ended.
    pub finding: Finding,
    /// The score, thousandths.
    pub score_permille: u32,
    /// Its place in the round's order, 0 where nobody is assigned; `None` if the checker was not of those who may
    /// be asked: then it is on record, and weighs nothing ([`super::panel`]).
    pub seat: Option<u32>,
}

/// What the reports come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// All who were assigned say pass; the least of their scores counts.
    Pass {
        /// Thousandths.
        score_permille: u32,
    },
    /// All who were assigned say fail.
    Fail,
    /// They differ: a referee re-executes.
    Split {
        /// Who says pass.
        passed: Vec<KeyId>,
        /// Who says fail.
        failed: Vec<KeyId>,
    },
    /// Nobody is contradicted, and not everybody said something: their assignments move on.
    Incomplete {
        /// Who said nothing, or nothing certain.
        missing: Vec<KeyId>,
    },
}

/// Weighs a round's reports. Reports of checkers that were not assigned, and second reports of one
/// checker, do not count; the caller keeps two that contradict as evidence.
#[must_use]
pub fn weigh(assigned: &[KeyId], reports: &[CheckerReport]) -> Decision {
    let of = |key: &KeyId| reports.iter().find(|report| report.checker == *key);
    let with = |finding: Finding| {
        let said = |key: &&KeyId| of(key).is_some_and(|report| report.finding == finding);
        assigned.iter().filter(said).copied().collect::<Vec<_>>()
    };
    let (passed, failed) = (with(Finding::Pass), with(Finding::Fail));
    if !passed.is_empty() && !failed.is_empty() {
        return Decision::Split { passed, failed };
    }
    if passed.len() + failed.len() < assigned.len() || assigned.is_empty() {
        let certain = |key: &&KeyId| !passed.contains(key) && !failed.contains(key);
        return Decision::Incomplete {
            missing: assigned.iter().filter(certain).copied().collect(),
        };
    }
    let least = assigned
        .iter()
        .filter_map(of)
        .map(|report| report.score_permille)
        .min();
    match least {
        Some(score_permille) if failed.is_empty() => Decision::Pass { score_permille },
        _ => Decision::Fail,
    }
}

/// Of each checker the first report that says something certain: of several of its words no other one counts.
#[must_use]
pub fn certain(reports: &[CheckerReport]) -> Vec<CheckerReport> {
    let mut certain: Vec<CheckerReport> = Vec::new();
    for report in reports {
        let is_new = certain.iter().all(|known| known.checker != report.checker);
        if report.finding != Finding::Inconclusive && is_new {
            certain.push(*report);
        }
    }
    certain
}

/// As [`weigh`], where nobody says who was assigned: whoever reports something certain counts as
/// assigned, and `least` of them make a verdict. A contradiction is a split however few they are.
#[must_use]
pub fn tally(reports: &[CheckerReport], least: usize) -> Decision {
    let certain = certain(reports);
    let keys: Vec<KeyId> = certain.iter().map(|report| report.checker).collect();
    match weigh(&keys, &certain) {
        Decision::Pass { .. } | Decision::Fail if keys.len() < least => Decision::Incomplete {
            missing: Vec::new(),
        },
        weighed => weighed,
    }
}

/// The reports that weigh in a round that takes `least`: of those who have a seat and say something certain the first
/// `least` by their seats, and whoever sits no further behind. So one who stands in weighs only as long as somebody
/// before it says nothing, and nobody without a seat ever does. The order of reports does not matter.
#[must_use]
pub fn counted(reports: &[CheckerReport], least: usize) -> Vec<CheckerReport> {
    let certain = reports
        .iter()
        .filter(|report| report.finding != Finding::Inconclusive)
        .filter_map(|report| Some((report.checker, report.seat?)));
    let by_checker: BTreeMap<KeyId, u32> = certain.collect();
    let mut seats: Vec<u32> = by_checker.into_values().collect();
    seats.sort_unstable();
    let last = least.checked_sub(1).and_then(|at| seats.get(at));
    let last = last.copied().unwrap_or(u32::MAX);
    let weighs = |report: &&CheckerReport| report.seat.is_some_and(|seat| seat <= last);
    reports.iter().filter(weighs).copied().collect()
}

#[cfg(test)]
mod test {
    use super::*;

    const fn report(key: u8, finding: Finding, score_permille: u32) -> CheckerReport {
        CheckerReport {
            checker: KeyId([key; 32]),
            finding,
            score_permille,
            seat: Some(0),
        }
    }

    const fn at(key: u8, seat: Option<u32>, finding: Finding) -> CheckerReport {
        CheckerReport {
            seat,
            ..report(key, finding, 900)
        }
    }

    #[test]
    fn the_first_seats_that_say_something_weigh_and_nobody_without_one() {
        use Finding::{Fail, Inconclusive, Pass};
        let keys = |reports: &[CheckerReport], least| {
            let counted = counted(reports, least);
            counted.iter().map(|of| of.checker.0[0]).collect::<Vec<_>>()
        };
        let whole = [
            at(1, Some(0), Pass),
            at(9, None, Fail),
            at(2, Some(1), Pass),
            at(4, Some(3), Fail),
            at(3, Some(2), Pass),
        ];
        assert_eq!(keys(&whole, 3), [1, 2, 3], "nobody has to stand in");
        let mut turned = whole;
        turned.reverse();
        assert_eq!(keys(&turned, 3), [3, 2, 1]);
        // Who says nothing certain is stood in for, and still listed.
        let silent = [at(1, Some(0), Inconclusive), whole[2], whole[3], whole[4]];
        assert_eq!(keys(&silent, 3), [1, 2, 4, 3]);
        assert_eq!(keys(&whole[..2], 3), [1], "too few: all who have a seat");
        assert_eq!(keys(&[at(9, None, Fail), at(8, None, Fail)], 1), [0_u8; 0]);
        let nobody_assigned = [1, 2, 3, 4].map(|key| at(key, Some(0), Pass));
        assert_eq!(keys(&nobody_assigned, 3), [1, 2, 3, 4]);
    }

    #[test]
    fn unanimity_passes_and_a_split_is_refereed() {
        use Finding::{Fail, Inconclusive, Pass};
        let keys = [1, 2, 3].map(|key| KeyId([key; 32]));
        let three = |a, b, c| [report(1, a, 990), report(2, b, 970), report(3, c, 980)];
        assert_eq!(
            weigh(&keys, &three(Pass, Pass, Pass)),
            Decision::Pass {
                score_permille: 970
            }
        );
        assert_eq!(weigh(&keys, &three(Fail, Fail, Fail)), Decision::Fail);
        let split = Decision::Split {
            passed: vec![keys[0], keys[2]],
            failed: vec![keys[1]],
        };
        assert_eq!(weigh(&keys, &three(Pass, Fail, Pass)), split);
        let missing = Decision::Incomplete {
            missing: vec![keys[1]],
        };
        assert_eq!(weigh(&keys, &three(Pass, Inconclusive, Pass)), missing);
        let silent = [report(1, Pass, 1), report(3, Pass, 1)];
        assert_eq!(weigh(&keys, &silent), missing);
        // One that was not assigned, and a second word of one that was.
        let mut more = three(Pass, Pass, Pass).to_vec();
        more.extend([report(9, Fail, 0), report(2, Fail, 0)]);
        assert_eq!(
            weigh(&keys, &more),
            Decision::Pass {
                score_permille: 970
            }
        );
        assert_eq!(
            weigh(&[], &more),
            Decision::Incomplete {
                missing: Vec::new()
            }
        );
    }

    #[test]
    fn without_assignments_enough_that_agree_make_a_verdict() {
        use Finding::{Fail, Inconclusive, Pass};
        let pass = Decision::Pass {
            score_permille: 970,
        };
        let few = Decision::Incomplete {
            missing: Vec::new(),
        };
        let two = [report(1, Pass, 990), report(2, Pass, 970)];
        assert_eq!(tally(&two, 2), pass);
        assert_eq!(tally(&two, 3), few);
        // One who was refused first, and asked again: what is certain counts, and only once.
        let again = [
            report(1, Inconclusive, 0),
            report(1, Pass, 990),
            report(1, Fail, 0),
            report(2, Pass, 970),
        ];
        assert_eq!(tally(&again, 2), pass);
        let same = [report(1, Pass, 990), report(1, Pass, 990)];
        assert_eq!(tally(&same, 2), few);
        let fails = [report(1, Fail, 0), report(2, Fail, 0)];
        assert_eq!(tally(&fails, 2), Decision::Fail);
        let split = [report(1, Pass, 990), report(2, Fail, 0)];
        assert!(matches!(tally(&split, 9), Decision::Split { .. }));
        assert_eq!(tally(&[], 1), few);
    }
}
