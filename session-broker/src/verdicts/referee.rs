//! The referee: disputes are decided by executing again what evidence shows, and, where nothing can be
//! executed, at their deadline by what most of the others say.
//!
//! ```text
//!   open dispute -> evidence of it and of the round's receipts: records with openings
//!     -> each receipt against each record (core/proof's contest)
//!     -> decided -> verdict/v1 in the log, signed by the referee's key: all brokers fold it
//!     -> not decided -> waits for evidence, until the deadline
//! ```
//!
//! **Invariant.** A liar is named on execution alone, never on a majority. Who has no seat in a round decides nothing of
//! it.
//!
//! **What it does not know:** what a verdict does; [`super::piece`] does.

use super::{VerdictError, Verdicts, fold};
use crate::ledger::{CheckRow, DisputeRow};
use crate::receipts::EvidenceError;
use nearlight_proof::key::{KeyId, PublicKey};
use nearlight_proof::porc::contest::{Case, Ruling};
use nearlight_proof::porc::exchange::record::Record;
use nearlight_proof::porc::verdict::{CheckerReport, Decision, tally};
use nearlight_proof::receipt::directory::{Directory, Role};
use nearlight_proof::receipt::envelope::Envelope;
use nearlight_proof::receipt::predicate::{Finding, Porc, Predicate, Verdict};
use nearlight_proof::receipt::statement::{Assurance, Countersign, Head, Statement, Subject};
use std::sync::PoisonError;

/// Disputes that are looked at together.
const DISPUTES_MAX: u32 = 16;
/// Records with their openings that are executed for one dispute.
const SHOWN_MAX: usize = 16;
/// Evidence that is read for one dispute, bytes: that of a committee and of those who stand in, at full size.
const EVIDENCE_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// Disputes of which is remembered what was tried.
const TRIED_MAX: usize = 1024;

/// A record, and what was opened in its probe.
type Shown = (Record, Vec<u8>);

/// A receipt of the round.
#[derive(Clone, Debug)]
struct Said {
    report: CheckerReport,
    issuer: PublicKey,
    porc: Box<Porc>,
    leaf: KeyId,
}

/// What a dispute comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Judged {
    finding: Finding,
    score_permille: u32,
    liars: Vec<KeyId>,
    step: String,
    reason: String,
}

impl Verdicts {
    /// Decides the disputes that can be decided.
    pub(super) async fn judge_all(&self) -> Result<(), VerdictError> {
        for dispute in self.ledger.open_disputes(DISPUTES_MAX).await? {
            self.judge(&dispute).await?;
        }
        Ok(())
    }

    async fn judge(&self, dispute: &DisputeRow) -> Result<(), VerdictError> {
        let Some(filed) = self.statement(dispute.place).await? else {
            return Ok(());
        };
        let keys = self.receipts.keys().await?;
        let (_, checks) = self.ledger.round(dispute.of.clone()).await?;
        let checks = disputed_with(dispute, checks);
        let mut room = EVIDENCE_BYTES_MAX;
        let (mut said, mut pieces) = (Vec::new(), vec![self.pieces(&filed, &mut room).await?]);
        let mut name = String::new();
        for check in &checks {
            let Some(statement) = self.statement(check.place).await? else {
                return Ok(());
            };
            pieces.push(self.pieces(&statement, &mut room).await?);
            name.clone_from(&statement.subject.name);
            said.extend(read(check, statement, &keys.directory));
        }
        let Some(node) = key_of(&dispute.of.node, Role::Node, &keys.directory) else {
            return Ok(());
        };
        let is_due = dispute.deadline_s <= self.now_s();
        // Execution takes seconds: once for what is shown, and once when it is due.
        let tried = (pieces.iter().map(Vec::len).sum(), said.len(), is_due);
        {
            let mut known = self.tried.write().unwrap_or_else(PoisonError::into_inner);
            if known.len() > TRIED_MAX {
                known.clear();
            }
            if known.insert(dispute.place, tried) == Some(tried) {
                return Ok(());
            }
        }
        let work = move || {
            let shown: Vec<Shown> = pieces.iter().flat_map(|of| shown(of)).collect();
            let reports: Vec<_> = said
                .iter()
                .map(|of| (of.report, ruling(of, &node, &shown)))
                .collect();
            (decide(&reports, is_due), said)
        };
        let judged = tokio::task::spawn_blocking(work).await;
        let (judged, said) = judged
            .map_err(|error| crate::receipts::LogError::from(std::io::Error::other(error)))?;
        let Some(judged) = judged else {
            return Ok(());
        };
        let verdict = self.verdict(dispute, name, judged, &said);
        let (logged, _) = self.receipts.say(&verdict, true).await?;
        tracing::info!(
            dispute = dispute.place,
            verdict = logged.place,
            "a dispute is decided"
        );
        Ok(())
    }

    async fn statement(&self, place: u64) -> Result<Option<Statement>, VerdictError> {
        let bytes = self.receipts.entry(place).await?;
        let envelope = bytes.and_then(|bytes| Envelope::parse(&bytes).ok());
        Ok(envelope.and_then(|envelope| Statement::parse(&envelope).ok()))
    }

    /// The evidence of a receipt that is here, as long as there is `room`.
    async fn pieces(
        &self,
        statement: &Statement,
        room: &mut u64,
    ) -> Result<Vec<Vec<u8>>, VerdictError> {
        let mut pieces = Vec::new();
        for piece in &statement.head.evidence {
            let Some(left) = room.checked_sub(piece.bytes) else {
                break;
            };
            *room = left;
            match self.receipts.evidence(&piece.sha256.to_string()).await {
                Ok(bytes) => pieces.push(bytes),
                Err(EvidenceError::Log(error)) => return Err(error.into()),
                Err(
                    EvidenceError::Unknown
                    | EvidenceError::Other
                    | EvidenceError::NotHere
                    | EvidenceError::Expired,
                ) => {}
            }
        }
        Ok(pieces)
    }

    fn verdict(
        &self,
        dispute: &DisputeRow,
        name: String,
        judged: Judged,
        said: &[Said],
    ) -> Statement {
        let key = |hex: &str| KeyId::from_hex(hex).unwrap_or(KeyId([0; 32]));
        let (_, referee) = self.receipts.speakers();
        Statement {
            subject: Subject {
                name,
                sha256: key(&dispute.of.node),
            },
            head: Head {
                issuer: referee,
                issued_at_s: self.now_s(),
                countersign: Countersign::None,
                assurance: Assurance::Timing,
                does_not_prove: Vec::new(),
                evidence: Vec::new(),
            },
            predicate: Predicate::Verdict(Verdict {
                receipts: said.iter().map(|of| of.leaf).collect(),
                dispute: Some(key(&dispute.leaf)),
                finding: judged.finding,
                score_permille: judged.score_permille,
                liars: judged.liars,
                step: judged.step,
                reason: judged.reason,
            }),
        }
    }
}

/// The receipts that a dispute is decided by: all of the round that have a seat in it; or only that which is disputed,
/// if it has none, for what it says is no matter of the round.
fn disputed_with(dispute: &DisputeRow, mut checks: Vec<CheckRow>) -> Vec<CheckRow> {
    let target = checks.iter().find(|check| check.place == dispute.target);
    let is_seated = target.is_some_and(|check| check.seat.is_some());
    checks.retain(|check| match is_seated {
        true => check.seat.is_some(),
        false => check.place == dispute.target,
    });
    checks
}

fn key_of(id: &str, role: Role, directory: &Directory) -> Option<PublicKey> {
    let known = directory.find(&KeyId::from_hex(id)?, role);
    known.map(|(key, _)| *key)
}

fn read(check: &CheckRow, statement: Statement, directory: &Directory) -> Option<Said> {
    let Predicate::Porc(porc) = statement.predicate else {
        return None;
    };
    Some(Said {
        report: fold::report(check)?,
        issuer: key_of(&check.checker, Role::Checker, directory)?,
        porc,
        leaf: KeyId::from_hex(&check.leaf)?,
    })
}

/// Records, each with the pieces of its opening behind it.
fn shown(pieces: &[Vec<u8>]) -> Vec<Shown> {
    let mut shown: Vec<Shown> = Vec::new();
    for piece in pieces {
        match Record::parse(piece) {
            Ok(record) if shown.len() < SHOWN_MAX => shown.push((record, Vec::new())),
            Ok(_) => break,
            Err(_) => {
                if let Some((_, opening)) = shown.last_mut() {
                    opening.extend(piece);
                }
            }
        }
    }
    shown
}

/// What execution says of a receipt, with whatever was shown: a wrong opening that the node signed weighs
/// most, for it is the node's own word.
fn ruling(said: &Said, node: &PublicKey, shown: &[Shown]) -> Option<Ruling> {
    let rulings = shown.iter().map(|(record, opening)| {
        let case = Case {
            porc: &said.porc,
            issuer: &said.issuer,
            node,
            record,
            opening,
        };
        case.rule()
    });
    let weight = |ruling: &Ruling| match ruling {
        Ruling::Undecided { .. } => 0,
        Ruling::Upheld { .. } if said.porc.finding == Finding::Pass => 1,
        Ruling::Refuted {
            finding: Finding::Pass,
            ..
        } => 2,
        Ruling::Upheld { .. } | Ruling::Refuted { .. } => 3,
    };
    rulings.max_by_key(weight)
}

/// What reports and rulings come to; `None` as long as it is open.
fn decide(reports: &[(CheckerReport, Option<Ruling>)], is_due: bool) -> Option<Judged> {
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
        Some(decided) => (Some(decided), "what was shown was executed again"),
        None if is_due => (
            Some(by_majority(&rest)),
            "the deadline is over, and nothing that was shown decides it: most of those who were not refuted say so",
        ),
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

fn by_majority(reports: &[CheckerReport]) -> (Finding, u32) {
    let count = |finding| reports.iter().filter(|of| of.finding == finding).count();
    let passes = reports.iter().filter(|of| of.finding == Finding::Pass);
    let least = passes.map(|of| of.score_permille).min().unwrap_or_default();
    match count(Finding::Pass).cmp(&count(Finding::Fail)) {
        std::cmp::Ordering::Greater => (Finding::Pass, least),
        std::cmp::Ordering::Less => (Finding::Fail, 0),
        std::cmp::Ordering::Equal => (Finding::Inconclusive, 0),
    }
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
        let judged = decide(reports, is_due);
        let found = judged.map(|of| (of.finding, of.score_permille, of.liars.len()));
        assert_eq!(found, expected, "{reports:?}");
    }

    /// A dispute over what a stranger says is about that alone; strangers decide no dispute over anything else.
    #[test]
    fn who_has_no_seat_decides_nothing_of_the_round() {
        let of = crate::ledger::RoundOf {
            node: "n".to_owned(),
            round: 7,
            gpu: "cpu".to_owned(),
        };
        let check = |place: u64, seat: Option<u32>| CheckRow {
            place,
            of: of.clone(),
            checker: format!("{place:064x}"),
            leaf: String::new(),
            finding: "fail".to_owned(),
            score_permille: 0,
            issued_at_s: 1,
            reason: String::new(),
            seat,
        };
        let checks = vec![check(1, Some(0)), check(2, None), check(3, Some(4))];
        let decided_by = |target| {
            let dispute = DisputeRow {
                place: 9,
                leaf: String::new(),
                target,
                of: of.clone(),
                claim: String::new(),
                deadline_s: 0,
                verdict: None,
            };
            let checks = disputed_with(&dispute, checks.clone());
            checks.iter().map(|check| check.place).collect::<Vec<_>>()
        };
        assert_eq!(decided_by(1), [1, 3]);
        assert_eq!(decided_by(2), [2]);
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
        let tie = [(report(1, Pass), None), (report(2, Fail), None)];
        check(&tie, true, Some((Inconclusive, 0, 0)));
    }
}
