//! What a committee's reports come to: unanimity passes, and any split goes to a referee.

use crate::key::KeyId;
use crate::receipt::predicate::Finding;

/// What one checker reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckerReport {
    /// The checker's key.
    pub checker: KeyId,
    /// How its probe ended.
    pub finding: Finding,
    /// The score, thousandths.
    pub score_permille: u32,
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

/// As [`weigh`], where nobody says who was assigned: whoever reports something certain counts as
/// assigned, and `least` of them make a verdict. A contradiction is a split however few they are.
#[must_use]
pub fn tally(reports: &[CheckerReport], least: usize) -> Decision {
    let mut certain: Vec<CheckerReport> = Vec::new();
    for report in reports {
        let is_new = certain.iter().all(|known| known.checker != report.checker);
        if report.finding != Finding::Inconclusive && is_new {
            certain.push(*report);
        }
    }
    let keys: Vec<KeyId> = certain.iter().map(|report| report.checker).collect();
    match weigh(&keys, &certain) {
        Decision::Pass { .. } | Decision::Fail if keys.len() < least => Decision::Incomplete {
            missing: Vec::new(),
        },
        weighed => weighed,
    }
}

#[cfg(test)]
mod test {
    use super::*;

    const fn report(key: u8, finding: Finding, score_permille: u32) -> CheckerReport {
        CheckerReport {
            checker: KeyId([key; 32]),
            finding,
            score_permille,
        }
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
