//! A round of one GPU: what its checkers' reports have come to so far.
//!
//! ```text
//!   Open --enough agree--> Passed | Failed --one who contradicts--> Split --a referee--> Settled
//!     `-------------------- two who contradict each other ----------^
//! ```
//!
//! A settled round is settled anew by what rests on more ([`Ground`]): execution over what most say, a wrong opening that
//! the node signed over a right one. Of two words that rest on the same the first stays, and their liars add up.
//!
//! **Invariants.** The order of reports does not matter, but for several of one checker, of which the
//! first that is certain counts. Only those weigh whom the round's order has in front ([`counted`]). Later reports change
//! nothing of a referee's word. The order of its words does not matter, but that of those that rest on
//! the same the first stays.
//!
//! **What it does not know:** whose keys these are, how they come to their seats, whether receipts verify, time.

use super::verdict::{CheckerReport, Decision, counted, tally};
use crate::key::KeyId;
use crate::receipt::predicate::{Finding, Verdict};

/// Why a referee says so, of a verdict that execution decides: whoever says so is held to it.
pub const BY_EXECUTION: &str = "what was shown was executed again";

/// What a referee's word rests on, least first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ground {
    /// Nothing that was shown decides: most of those who weigh say so, or nobody says enough.
    #[default]
    Majority,
    /// What was drawn was opened right.
    Right,
    /// The node signed something wrong: its own word against it.
    Wrong,
}

impl Ground {
    /// Of a verdict, by what it says of itself.
    #[must_use]
    pub fn of(verdict: &Verdict) -> Self {
        match verdict.finding {
            Finding::Pass if verdict.reason == BY_EXECUTION => Self::Right,
            Finding::Fail if verdict.reason == BY_EXECUTION => Self::Wrong,
            Finding::Pass | Finding::Fail | Finding::Inconclusive => Self::Majority,
        }
    }

    /// Its name in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Majority => "majority",
            Self::Right => "right",
            Self::Wrong => "wrong",
        }
    }

    /// That of this name; of any other the least.
    #[must_use]
    pub fn of_name(name: &str) -> Self {
        let all = [Self::Right, Self::Wrong];
        let known = all.into_iter().find(|ground| ground.name() == name);
        known.unwrap_or_default()
    }
}

/// What a round has come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Round {
    /// Too few have said something certain.
    #[default]
    Open,
    /// All say pass.
    Passed {
        /// The least of their scores, thousandths.
        score_permille: u32,
    },
    /// All say fail.
    Failed,
    /// They contradict each other: it counts neither for nor against the node.
    Split {
        /// Who says pass.
        passed: Vec<KeyId>,
        /// Who says fail.
        failed: Vec<KeyId>,
    },
    /// A referee has decided.
    Settled {
        /// What the node did.
        finding: Finding,
        /// The score that counts, thousandths.
        score_permille: u32,
        /// Whose word execution refuted.
        liars: Vec<KeyId>,
        /// What that rests on.
        ground: Ground,
    },
}

impl Round {
    /// With these reports, all that there are of it.
    #[must_use]
    pub fn with(self, reports: &[CheckerReport], least: usize) -> Self {
        if matches!(self, Self::Settled { .. }) {
            return self;
        }
        match tally(&counted(reports, least), least) {
            Decision::Pass { score_permille } => Self::Passed { score_permille },
            Decision::Fail => Self::Failed,
            Decision::Split { passed, failed } => Self::Split { passed, failed },
            Decision::Incomplete { .. } => Self::Open,
        }
    }

    /// With a referee's word, whatever was said before.
    #[must_use]
    pub fn settled_by(self, verdict: &Verdict) -> Self {
        let new = Ground::of(verdict);
        match self {
            Self::Settled {
                finding,
                score_permille,
                mut liars,
                ground,
            } if new <= ground => {
                let more = verdict.liars.iter().filter(|_| new == ground);
                for liar in more {
                    if !liars.contains(liar) {
                        liars.push(*liar);
                    }
                }
                Self::Settled {
                    finding,
                    score_permille,
                    liars,
                    ground,
                }
            }
            _ => Self::Settled {
                finding: verdict.finding,
                score_permille: verdict.score_permille,
                liars: verdict.liars.clone(),
                ground: new,
            },
        }
    }

    /// What counts for the node's rank: whether it passed, and with which score. `None` where nothing is
    /// certain.
    #[must_use]
    pub const fn counts(&self) -> Option<(bool, u32)> {
        match self {
            Self::Passed { score_permille } => Some((true, *score_permille)),
            Self::Failed => Some((false, 0)),
            Self::Settled {
                finding,
                score_permille,
                ..
            } => match finding {
                Finding::Pass => Some((true, *score_permille)),
                Finding::Fail => Some((false, 0)),
                Finding::Inconclusive => None,
            },
            Self::Open | Self::Split { .. } => None,
        }
    }

    /// Whether what a checker reported was accepted: it says what the round came to.
    #[must_use]
    pub const fn accepts(&self, finding: Finding) -> bool {
        match (self.counts(), finding) {
            (Some((passed, _)), Finding::Pass) => passed,
            (Some((passed, _)), Finding::Fail) => !passed,
            (None, _) | (_, Finding::Inconclusive) => false,
        }
    }

    /// Its name in tables and answers.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Passed { .. } => "passed",
            Self::Failed => "failed",
            Self::Split { .. } => "split",
            Self::Settled { .. } => "settled",
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use Finding::{Fail, Inconclusive, Pass};

    const LEAST: usize = 3;

    fn reports(findings: &[Finding]) -> Vec<CheckerReport> {
        let numbered = findings.iter().zip(1_u8..);
        numbered
            .map(|(finding, key)| CheckerReport {
                checker: KeyId([key; 32]),
                finding: *finding,
                score_permille: 1_000 - u32::from(key),
                seat: Some(0),
            })
            .collect()
    }

    fn settled(finding: Finding) -> Round {
        Round::Settled {
            finding,
            score_permille: 900,
            liars: vec![KeyId([4; 32])],
            ground: Ground::Majority,
        }
    }

    fn says(finding: Finding, liars: &[u8], reason: &str) -> Verdict {
        Verdict {
            receipts: Vec::new(),
            dispute: None,
            finding,
            score_permille: 900,
            liars: liars.iter().map(|key| KeyId([*key; 32])).collect(),
            step: String::new(),
            reason: reason.to_owned(),
        }
    }

    /// What a lying committee settled at its deadline falls to execution, and nothing that executed nothing brings it
    /// back; a wrong opening that the node signed outweighs a right one, whichever is shown first.
    #[test]
    fn a_settled_round_is_settled_anew_by_what_rests_on_more() {
        let most = says(Fail, &[], "most of those who were not refuted say so");
        let right = says(Pass, &[1, 2], BY_EXECUTION);
        let wrong = says(Fail, &[5], BY_EXECUTION);
        let comes_to = |words: &[&Verdict]| {
            let of = words
                .iter()
                .fold(Round::default(), |round, verdict| round.settled_by(verdict));
            match of {
                Round::Settled { finding, liars, .. } => (
                    finding,
                    liars.iter().map(|key| key.0[0]).collect::<Vec<_>>(),
                ),
                _ => panic!("{of:?}"),
            }
        };
        assert_eq!(comes_to(&[&most]), (Fail, vec![]));
        assert_eq!(comes_to(&[&most, &right]), (Pass, vec![1, 2]));
        assert_eq!(comes_to(&[&right, &most]), (Pass, vec![1, 2]));
        let other = says(Pass, &[2, 3], BY_EXECUTION);
        assert_eq!(comes_to(&[&right, &other]), (Pass, vec![1, 2, 3]));
        for words in [[&most, &right, &wrong], [&wrong, &right, &most]] {
            assert_eq!(comes_to(&words), (Fail, vec![5]), "its own signature");
        }
        let void = says(Inconclusive, &[], "nobody has said enough");
        assert_eq!(comes_to(&[&void, &most]), (Inconclusive, vec![]));
        assert_eq!(comes_to(&[&void, &right]), (Pass, vec![1, 2]));
        for ground in [Ground::Majority, Ground::Right, Ground::Wrong] {
            assert_eq!(Ground::of_name(ground.name()), ground);
        }
    }

    /// The table: from what, with which reports, to what.
    #[test]
    fn every_edge() {
        let passed = Round::Passed {
            score_permille: 997,
        };
        let table: [(Round, &[Finding], &str); 12] = [
            (Round::Open, &[], "open"),
            (Round::Open, &[Pass, Pass], "open"),
            (Round::Open, &[Fail, Fail], "open"),
            (Round::Open, &[Pass, Inconclusive, Pass], "open"),
            (Round::Open, &[Pass, Fail], "split"),
            (Round::Open, &[Pass, Pass, Pass], "passed"),
            (Round::Open, &[Fail, Fail, Fail], "failed"),
            (passed.clone(), &[Pass, Pass, Pass, Fail], "split"),
            (passed.clone(), &[Pass, Pass, Pass, Inconclusive], "passed"),
            (Round::Failed, &[Fail, Fail, Fail, Pass], "split"),
            (settled(Pass), &[Fail, Fail, Fail], "settled"),
            (settled(Fail), &[Pass, Pass, Pass], "settled"),
        ];
        for (from, findings, to) in table {
            let shown = format!("{from:?} with {findings:?}");
            assert_eq!(from.with(&reports(findings), LEAST).name(), to, "{shown}");
        }
        assert_eq!(Round::Open.with(&reports(&[Pass; 3]), LEAST), passed);
    }

    /// The committee passes it; whoever was not asked, or only to stand in, changes nothing of that.
    #[test]
    fn who_was_not_assigned_outvotes_nobody() {
        let seated = |seats: &[Option<u32>], findings: &[Finding]| {
            let mut reports = reports(findings);
            for (report, seat) in reports.iter_mut().zip(seats) {
                report.seat = *seat;
            }
            Round::Open.with(&reports, LEAST)
        };
        let committee = [Some(0), Some(1), Some(2)];
        let passed = seated(&committee, &[Pass; 3]);
        assert_eq!(passed.name(), "passed");
        let mut all = committee.to_vec();
        all.extend([None, None, None, Some(3), Some(4)]);
        let says = [Pass, Pass, Pass, Fail, Fail, Fail, Fail, Fail];
        assert_eq!(seated(&all, &says), passed);
        // Nobody of the committee has said anything: strangers alone make no round.
        assert_eq!(seated(&[None; 4], &[Pass; 4]).name(), "open");
        // One misses, one stands in.
        let stood_in = [Some(0), Some(2), Some(3)];
        assert_eq!(seated(&stood_in, &[Pass; 3]).name(), "passed");
        assert_eq!(seated(&stood_in, &[Pass, Pass, Fail]).name(), "split");
    }

    #[test]
    fn what_counts_is_what_is_certain() {
        let split = Round::default().with(&reports(&[Pass, Pass, Pass, Fail]), LEAST);
        assert_eq!(split.counts(), None);
        assert!(!split.accepts(Pass) && !split.accepts(Fail));
        assert_eq!(settled(Pass).counts(), Some((true, 900)));
        assert!(settled(Pass).accepts(Pass) && !settled(Pass).accepts(Fail));
        assert_eq!(settled(Fail).counts(), Some((false, 0)));
        assert_eq!(settled(Inconclusive).counts(), None);
        assert_eq!(Round::Failed.counts(), Some((false, 0)));
        assert!(Round::Failed.accepts(Fail) && !Round::Failed.accepts(Inconclusive));
    }
}
