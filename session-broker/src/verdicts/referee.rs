//! The referee: disputes are decided by executing again what evidence shows, and, where nothing can be
//! executed, at their deadline by what most of the others say.
//!
//! ```text
//!   open dispute -> evidence of it, of others over the round, and of the round's receipts: records with openings
//!     -> each receipt against each record (core/proof's contest)
//!     -> decided -> verdict/v1 in the log, signed by the referee's key: all brokers fold it
//!     -> not decided -> waits for evidence, until the deadline
//! ```
//!
//! **Invariants.** A liar is named on execution alone, never on a majority. Most decide once as many have spoken as a
//! verdict takes, and not before the time that the protocol gives is over. Who has no seat in a round decides nothing of it.
//! Nothing that anybody names, shows or files keeps what another one shows from being looked at.
//!
//! **What it does not know:** what a verdict does; [`super::piece`] does.

mod decide;

use super::{VerdictError, Verdicts, fold};
use crate::ledger::{CheckRow, DisputeRow};
use crate::receipts::EvidenceError;
use decide::{Judged, decide};
use nearlight_proof::key::{KeyId, PublicKey};
use nearlight_proof::porc::contest::{Case, Ruling};
use nearlight_proof::porc::exchange::exam::PIECE_BYTES_MAX;
use nearlight_proof::porc::exchange::record::Record;
use nearlight_proof::porc::verdict::CheckerReport;
use nearlight_proof::receipt::directory::{Directory, Role};
use nearlight_proof::receipt::envelope::Envelope;
use nearlight_proof::receipt::predicate::{Finding, Porc, Predicate, Verdict};
use nearlight_proof::receipt::statement::{
    Assurance, Countersign, EVIDENCE_MAX, Evidence, Head, Statement, Subject,
};
use std::collections::{HashMap, HashSet};
use std::sync::{MutexGuard, PoisonError};

/// Disputes that are looked at together.
const DISPUTES_MAX: u32 = 16;
/// Records with their openings that are executed of what a dispute, or a receipt, shows.
const SHOWN_MAX: usize = 16;
/// Disputes over a round whose evidence is looked at together: one opening of full size is all that one has room for, and a
/// committee has three.
const SHOWN_IN_MAX: u32 = 8;
/// So long after its deadline a dispute is decided without what cannot be read, seconds.
const GIVES_UP_S: u64 = 24 * 3600;
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
    is_revoked: bool,
}

impl Said {
    /// Whether it is weighed. What is revoked weighs nothing, but for what execution shows: whom it refutes is a liar, and a
    /// wrong opening that the node signed is the node's word. Nobody takes those back.
    fn weighs(&self, ruling: Option<&Ruling>) -> bool {
        let is_shown = match ruling {
            Some(Ruling::Refuted { .. }) => true,
            Some(Ruling::Upheld { .. }) => self.porc.finding == Finding::Fail,
            Some(Ruling::Undecided { .. }) | None => false,
        };
        !self.is_revoked || is_shown
    }
}

/// What was looked at, and how far: all open disputes are gone through, a page a look, so that none is in front of another
/// for long.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// Behind which deadline and place the next page begins.
    after: (u64, u64),
    /// As of what a dispute was looked at last.
    seen: HashMap<u64, Seen>,
    /// What was tried to execute, by dispute.
    tried: HashMap<u64, Tried>,
    /// Disputes of which it was said that they cannot be looked at.
    warned: HashSet<u64>,
}

/// How much evidence had come to this broker, the receipts of the round, those revoked and the disputes over it, whether it was due, and in
/// which minute, for evidence may have come to another broker: as long as that is so there is nothing new to read.
type Seen = (u64, [usize; 3], bool, u64);

/// Pieces of evidence, receipts, those of them that are revoked, and whether it was due: execution takes seconds, so it is done once for what is shown, and
/// once when it is due.
type Tried = (usize, usize, usize, bool);

/// A dispute with everything that is shown of it.
struct Shows {
    name: String,
    node: PublicKey,
    said: Vec<Said>,
    pieces: Vec<Vec<Vec<u8>>>,
    is_due: bool,
}

impl Shows {
    fn tried(&self) -> Tried {
        let pieces = self.pieces.iter().map(Vec::len).sum();
        let revoked = self.said.iter().filter(|of| of.is_revoked).count();
        (pieces, self.said.len(), revoked, self.is_due)
    }
}

impl Verdicts {
    /// Decides the disputes of a page that can be decided. One that cannot be looked at keeps no other from it.
    pub(super) async fn judge_all(&self) -> Result<(), VerdictError> {
        let after = self.looked().after;
        let page = self.ledger.open_disputes(after, DISPUTES_MAX).await?;
        let is_last = (page.len() as u64) < u64::from(DISPUTES_MAX);
        let last = page.last().filter(|_| !is_last);
        let next = last.map(|of| (of.deadline_s, of.place));
        for dispute in &page {
            let judged = Box::pin(self.judge(dispute)).await;
            let mut looked = self.looked();
            match judged {
                Ok(()) => drop(looked.warned.remove(&dispute.place)),
                Err(error) if looked.warned.insert(dispute.place) => {
                    tracing::warn!(dispute = dispute.place, %error, "a dispute cannot be looked at; it is tried again");
                }
                Err(_) => {}
            }
        }
        self.looked().after = next.unwrap_or_default();
        Ok(())
    }

    fn looked(&self) -> MutexGuard<'_, Looked> {
        self.looked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was said is remembered as tried once it stands in the log, and not before: a log that is busy, or a disk that
    /// is full, costs nobody a decision.
    async fn judge(&self, dispute: &DisputeRow) -> Result<(), VerdictError> {
        let (_, checks) = self.ledger.round(dispute.of.clone()).await?;
        let now_s = self.now_s();
        let came = self.receipts.evidence_came();
        let mut over = self
            .ledger
            .disputes_of(dispute.of.clone(), SHOWN_IN_MAX)
            .await?;
        if over.iter().all(|of| of.place != dispute.place) {
            over.push(dispute.clone());
        }
        let is_due = dispute.deadline_s <= now_s;
        let revoked = checks.iter().filter(|of| of.revoked.is_some()).count();
        let seen = (
            came,
            [checks.len(), revoked, over.len()],
            is_due,
            now_s / 60,
        );
        if self.looked().seen.get(&dispute.place) == Some(&seen) {
            return Ok(());
        }
        let Some(shows) = self.shows(dispute, checks, &over).await? else {
            return Ok(());
        };
        let tried = shows.tried();
        if self.looked().tried.get(&dispute.place) == Some(&tried) {
            self.looked().seen.insert(dispute.place, seen);
            return Ok(());
        }
        let Shows {
            name,
            node,
            said,
            pieces,
            is_due,
        } = shows;
        let least = self.least;
        let work = move || {
            let shown: Vec<Shown> = pieces.iter().flat_map(|of| shown(of)).collect();
            let ruled = said.iter().map(|of| (of, ruling(of, &node, &shown)));
            let weighed = ruled.filter(|(of, ruling)| of.weighs(ruling.as_ref()));
            let weighed: Vec<_> = weighed.collect();
            let leaves: Vec<KeyId> = weighed.iter().map(|(of, _)| of.leaf).collect();
            let reports = weighed.into_iter();
            let reports: Vec<_> = reports.map(|(of, ruling)| (of.report, ruling)).collect();
            (decide(&reports, least, is_due), leaves)
        };
        match tokio::task::spawn_blocking(work).await {
            Ok((Some(judged), weighed)) => {
                let verdict = self.verdict(dispute, name, judged, weighed);
                let (logged, _) = self.receipts.say(&verdict, true).await?;
                tracing::info!(
                    dispute = dispute.place,
                    verdict = logged.place,
                    "a dispute is decided"
                );
            }
            Ok((None, _)) => {}
            // It would end the same way with the same evidence.
            Err(error) => {
                tracing::error!(dispute = dispute.place, %error, "what is shown in a dispute cannot be executed");
            }
        }
        let mut looked = self.looked();
        if looked.tried.len() > TRIED_MAX {
            looked.tried.clear();
            looked.seen.clear();
        }
        looked.tried.insert(dispute.place, tried);
        looked.seen.insert(dispute.place, seen);
        Ok(())
    }

    async fn shows(
        &self,
        dispute: &DisputeRow,
        checks: Vec<CheckRow>,
        over: &[DisputeRow],
    ) -> Result<Option<Shows>, VerdictError> {
        let keys = self.receipts.keys().await?;
        let Some(node) = key_of(&dispute.of.node, Role::Node, &keys.directory) else {
            return Ok(None);
        };
        let now_s = self.now_s();
        let gives_up = dispute.deadline_s.saturating_add(GIVES_UP_S) <= now_s;
        let mut shows = Shows {
            name: String::new(),
            node,
            said: Vec::new(),
            pieces: Vec::new(),
            is_due: dispute.deadline_s <= now_s,
        };
        for of in over {
            if let Some(filed) = self.statement(of.place).await? {
                shows.pieces.push(self.pieces(&filed, gives_up).await?);
            }
        }
        for check in &disputed_with(dispute, checks) {
            let Some(statement) = self.statement(check.place).await? else {
                return Ok(None);
            };
            shows.pieces.push(self.pieces(&statement, gives_up).await?);
            shows.name.clone_from(&statement.subject.name);
            shows.said.extend(read(check, statement, &keys.directory));
        }
        Ok(Some(shows))
    }

    pub(super) async fn statement(&self, place: u64) -> Result<Option<Statement>, VerdictError> {
        let bytes = self.receipts.entry(place).await?;
        let envelope = bytes.and_then(|bytes| Envelope::parse(&bytes).ok());
        Ok(envelope.and_then(|envelope| Statement::parse(&envelope).ok()))
    }

    /// The evidence of a receipt, or of a dispute, that is here. Each has room of its own for as much as it may name, so that
    /// nobody's pieces, there or only named, keep out another's. Whoever `gives_up` goes on without what cannot be read.
    pub(super) async fn pieces(
        &self,
        statement: &Statement,
        gives_up: bool,
    ) -> Result<Vec<Vec<u8>>, VerdictError> {
        let mut pieces = Vec::new();
        let fits = |piece: &&Evidence| piece.bytes <= PIECE_BYTES_MAX as u64;
        let named = statement.head.evidence.iter().take(EVIDENCE_MAX);
        for piece in named.filter(fits) {
            match self.receipts.evidence(&piece.sha256.to_string()).await {
                Ok(bytes) => pieces.push(bytes),
                Err(EvidenceError::Log(error)) if !gives_up => return Err(error.into()),
                Err(
                    EvidenceError::Log(_)
                    | EvidenceError::Unknown
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
        receipts: Vec<KeyId>,
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
                receipts,
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
/// if it has none, for what it says is no matter of the round. Of one checker those that may weigh, however many it issued,
/// and those that are revoked: they are executed, and weigh only by that.
fn disputed_with(dispute: &DisputeRow, checks: Vec<CheckRow>) -> Vec<CheckRow> {
    let target = checks.iter().find(|check| check.place == dispute.target);
    let is_seated = target.is_some_and(|check| check.seat.is_some());
    let mut with: Vec<CheckRow> = Vec::new();
    for check in checks {
        let is_target = check.place == dispute.target;
        let is_of_round = is_seated && check.seat.is_some();
        if is_target || (is_of_round && fold::says_something_new(&check, &with)) {
            with.push(check);
        }
    }
    with
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
        report: fold::said(check)?,
        issuer: key_of(&check.checker, Role::Checker, directory)?,
        porc,
        leaf: KeyId::from_hex(&check.leaf)?,
        is_revoked: check.revoked.is_some(),
    })
}

/// Whether pieces have a record, so that there is something to execute.
pub(super) fn shows_something(pieces: &[Vec<u8>]) -> bool {
    !shown(pieces).is_empty()
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

#[cfg(test)]
mod test {
    use super::*;
    use nearlight_proof::receipt::fixture::{key, porc};

    /// F shows a wrong opening that the node signed, and is revoked: the node's word is still there. A word that nothing
    /// shows is not.
    #[test]
    fn what_execution_shows_weighs_though_its_receipt_is_revoked() {
        let step = || "step".to_owned();
        let upheld = Ruling::Upheld { step: step() };
        let finding = Finding::Pass;
        let refuted = Ruling::Refuted {
            finding,
            step: step(),
        };
        let weighs = |finding, is_revoked, ruling: Option<&Ruling>| {
            let said = Said {
                report: CheckerReport {
                    checker: key(1).public().id(),
                    finding,
                    score_permille: 0,
                    seat: Some(0),
                },
                issuer: key(1).public(),
                porc: Box::new(porc(finding)),
                leaf: KeyId([1; 32]),
                is_revoked,
            };
            said.weighs(ruling)
        };
        assert!(weighs(Finding::Fail, true, Some(&upheld)));
        assert!(weighs(Finding::Fail, true, Some(&refuted)));
        assert!(!weighs(Finding::Pass, true, Some(&upheld)));
        assert!(!weighs(Finding::Fail, true, None));
        assert!(weighs(Finding::Fail, false, None));
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
            blocks: None,
            revoked: None,
        };
        let checks = vec![check(1, Some(0)), check(2, None), check(3, Some(4))];
        let disputed_over = |target| DisputeRow {
            place: 9,
            leaf: String::new(),
            issuer: String::new(),
            target,
            of: of.clone(),
            claim: String::new(),
            deadline_s: 0,
            verdict: None,
        };
        let decided_by = |target| {
            let checks = disputed_with(&disputed_over(target), checks.clone());
            checks.iter().map(|check| check.place).collect::<Vec<_>>()
        };
        assert_eq!(decided_by(1), [1, 3]);
        // However often one says it: what a verdict names has room.
        let mut flood = checks.clone();
        flood.extend((10..1_000).map(|place| CheckRow {
            place,
            finding: "inconclusive".to_owned(),
            ..checks[0].clone()
        }));
        let dispute = disputed_over(1);
        assert_eq!(disputed_with(&dispute, flood).len(), 3);
        assert_eq!(decided_by(2), [2]);
        // Whoever revokes before the referee looks is executed all the same, whichever receipt is disputed.
        let mut void = checks;
        void[0].revoked = Some(8);
        let with = |target| disputed_with(&disputed_over(target), void.clone()).len();
        assert_eq!((with(3), with(1)), (2, 2));
    }
}
