//! What reports and rulings come to. No clock, no IO.

use nearlight_proof::key::KeyId;
use nearlight_proof::porc::contest::Ruling;
use nearlight_proof::porc::round::BY_EXECUTION;
use nearlight_proof::porc::verdict::{CheckerReport, Decision, certain, counted, tally};
use nearlight_proof::receipt::predicate::Finding;
use std::cmp::Ordering;

/// What a dispute comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) finding: Finding,
    pub(super) score_permille: u32,
    pub(super) liars: Vec<KeyId>,
    pub(super) step: String,
    pub(super) reason: String,
}

/// What reports and rulings come to in a round that takes `least`; `None` as long as it is open.
pub(super) fn decide(
    reports: &[(CheckerReport, Option<Ruling>)],
    least: usize,
    is_due: bool,
) -> Option<Judged> {
    let mut liars = Vec::new();
    let mut steps = Vec::new();
    let (mut failed, mut passed) = (false, None);
    for (report, ruling) in reports {
        match ruling {
            Some(Ruling::Refuted { finding, step }) => {
                liars.push(report.checker);
                steps.push(step.clone());
                failed |= *finding == Finding::Fail;
                if *finding == Finding::Pass {
                    passed = passed.or(Some(report.score_permille));
                }
            }
            Some(Ruling::Upheld { step }) if report.finding == Finding::Fail => {
                steps.push(step.clone());
                failed = true;
            }
            Some(Ruling::Upheld { .. } | Ruling::Undecided { .. }) | None => {}
        }
    }
    let rest: Vec<CheckerReport> = reports
        .iter()
        .map(|(report, _)| *report)
        .filter(|report| !liars.contains(&report.checker))
        .collect();
    let of_rest = tally(&rest, 1);
    let decided = match (&of_rest, failed, passed) {
        (_, true, _) => Some((Finding::Fail, 0)),
        (Decision::Pass { score_permille }, false, Some(_)) => {
            Some((Finding::Pass, *score_permille))
        }
        // Whoever is left says nothing certain: what the refuted one measured counts.
        (Decision::Incomplete { .. }, false, Some(score)) => Some((Finding::Pass, score)),
        (Decision::Fail | Decision::Split { .. }, false, Some(_)) | (_, false, None) => None,
    };
    let (decided, reason) = match decided {
        Some(decided) => (Some(decided), BY_EXECUTION),
        None if is_due => {
            let all: Vec<CheckerReport> = reports.iter().map(|(report, _)| *report).collect();
            let (decided, reason) = by_majority(&all, &rest, least);
            (Some(decided), reason)
        }
        None => (None, ""),
    };
    decided.map(|(finding, score_permille)| Judged {
        finding,
        score_permille,
        liars,
        step: steps.join("; "),
        reason: reason.to_owned(),
    })
}

/// What most of those say who weigh and were not refuted, each once; nothing as long as fewer have spoken than a verdict
/// takes, refuted or not.
fn by_majority(
    all: &[CheckerReport],
    rest: &[CheckerReport],
    least: usize,
) -> ((Finding, u32), &'static str) {
    let spoken = certain(all).iter().filter(|of| of.seat.is_some()).count();
    if spoken < least {
        let few =
            "the deadline is over, and fewer have said something certain than a verdict takes";
        return ((Finding::Inconclusive, 0), few);
    }
    let weighing = certain(&counted(rest, least));
    let count = |finding| weighing.iter().filter(|of| of.finding == finding).count();
    let passes = weighing.iter().filter(|of| of.finding == Finding::Pass);
    let score = passes.map(|of| of.score_permille).min().unwrap_or_default();
    let says = match count(Finding::Pass).cmp(&count(Finding::Fail)) {
        Ordering::Greater => (Finding::Pass, score),
        Ordering::Less => (Finding::Fail, 0),
        Ordering::Equal => (Finding::Inconclusive, 0),
    };
    let most = "the deadline is over, and nothing that was shown decides it: most of those who were not refuted say so";
    (says, most)
}

#[cfg(test)]
mod test {
    use super::*;
    use Finding::{Fail, Inconclusive, Pass};

    fn report(key: u8, finding: Finding) -> CheckerReport {
        CheckerReport {
            checker: KeyId([key; 32]),
            finding,
            score_permille: 900 + u32::from(key),
            seat: Some(0),
        }
    }

    fn refuted(finding: Finding) -> Option<Ruling> {
        let step = "step".to_owned();
        Some(Ruling::Refuted { finding, step })
    }

    fn upheld() -> Option<Ruling> {
        let step = "step".to_owned();
        Some(Ruling::Upheld { step })
    }

    /// What it comes to: the finding, the score, and how many liars.
    fn check(
        reports: &[(CheckerReport, Option<Ruling>)],
        is_due: bool,
        expected: Option<(Finding, u32, usize)>,
    ) {
        let judged = decide(reports, 3, is_due);
        let found = judged.map(|of| (of.finding, of.score_permille, of.liars.len()));
        assert_eq!(found, expected, "{reports:?}");
    }

    #[test]
    fn execution_decides_and_names_the_liar() {
        let three = [1, 2, 3].map(|key| (report(key, Pass), None));
        let with = |last: (CheckerReport, Option<Ruling>)| {
            let mut all = three.to_vec();
            all.push(last);
            all
        };
        check(
            &with((report(4, Fail), refuted(Pass))),
            false,
            Some((Pass, 901, 1)),
        );
        check(
            &with((report(4, Fail), upheld())),
            false,
            Some((Fail, 0, 0)),
        );
        check(&with((report(4, Fail), None)), false, None);
        check(&with((report(4, Fail), None)), true, Some((Pass, 901, 0)));
        // All of a committee lie, and one is refuted: what the others say stays open until it is due.
        let fails = [
            (report(1, Fail), refuted(Pass)),
            (report(2, Fail), None),
            (report(3, Fail), None),
        ];
        check(&fails, false, None);
        check(&fails, true, Some((Fail, 0, 1)));
        let all = fails.clone().map(|(report, _)| (report, refuted(Pass)));
        check(&all, false, Some((Pass, 901, 3)));
        check(
            &[(report(1, Pass), refuted(Fail))],
            false,
            Some((Fail, 0, 1)),
        );
        check(
            &[(report(1, Inconclusive), None)],
            true,
            Some((Inconclusive, 0, 0)),
        );
        // Whoever disputes early: no majority of fewer than a verdict takes, and nobody counts twice.
        check(&[(report(1, Pass), None)], false, None);
        let void = Some((Inconclusive, 0, 0));
        check(&[(report(1, Pass), None)], true, void);
        let twice =
            [1, 1, 1, 2, 3].map(|key| (report(key, if key == 1 { Fail } else { Pass }), None));
        check(&twice, true, Some((Pass, 902, 0)));
        // Who would only have stood in weighs no more at the deadline than before.
        let seated = |key: u8, finding, seat| {
            let report = CheckerReport {
                seat: Some(seat),
                ..report(key, finding)
            };
            (report, None)
        };
        let committee = [
            (1, Pass, 0),
            (2, Pass, 1),
            (3, Fail, 2),
            (4, Fail, 3),
            (5, Fail, 4),
        ];
        let committee = committee.map(|(key, finding, seat)| seated(key, finding, seat));
        check(&committee, true, Some((Pass, 901, 0)));
        let tie = [(report(1, Pass), None), (report(2, Fail), None)];
        check(&tie, true, Some((Inconclusive, 0, 0)));
    }
}
