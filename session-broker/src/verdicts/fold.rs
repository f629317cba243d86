//! What one entry of the log does, and what the entries of a round come to. No clock, no IO.

use super::revoked::Revocation;
use crate::checks::Chain;
use crate::ledger::{CheckRow, RoundOf, VerdictRow};
use crate::receipts::Placed;
use nearlight_proof::beacon::used::Timetable;
use nearlight_proof::key::KeyId;
use nearlight_proof::log::tree::Hash;
use nearlight_proof::porc::panel::{Panel, SaidAt};
use nearlight_proof::porc::round::{Ground, Round};
use nearlight_proof::porc::verdict::{CheckerReport, counted};
use nearlight_proof::receipt::directory::{Directory, Role};
use nearlight_proof::receipt::envelope::Envelope;
use nearlight_proof::receipt::predicate::{Finding, Porc, Predicate, Verdict};
use nearlight_proof::receipt::statement::{Countersign, Statement};
use nearlight_proof::receipt::verify::readmit;
use std::collections::BTreeMap;

/// So many checks of one round a checker may have revoked and say something anew: each is kept.
const ANEW_MAX: usize = 4;

/// What an entry of the log is here.
#[derive(Debug)]
pub(super) enum Entry {
    /// A receipt of a check that counts, and when it says that it was issued.
    Check(CheckRow, u64),
    /// A dispute over the receipt with that leaf.
    Dispute(Disputed),
    /// A referee's word.
    Verdict(Settling),
    /// A receipt or a key is void.
    Revocation(Revocation),
}

/// A dispute.
#[derive(Debug)]
pub(super) struct Disputed {
    pub(super) place: u64,
    pub(super) leaf: String,
    pub(super) target: String,
    pub(super) claim: String,
    /// Who filed it, and whether that is a broker for somebody who may.
    pub(super) issuer: String,
    pub(super) is_brokers: bool,
    /// When, Unix seconds: as it says, but not before what stands before it.
    pub(super) issued_at_s: u64,
}

/// A verdict that ends a dispute.
#[derive(Debug)]
pub(super) struct Settling {
    pub(super) place: u64,
    pub(super) dispute: String,
    pub(super) verdict: Verdict,
    pub(super) issued_at_s: u64,
}

/// What entries are read by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rounds<'a> {
    /// Whose keys are whose.
    pub(super) directory: &'a Directory,
    /// The chain of rounds, if one was begun.
    pub(super) chain: Option<(&'a Chain, &'a Timetable)>,
    /// Values that a beacon outside gave, of the rounds that the entries name.
    pub(super) drawn: &'a BTreeMap<u64, Hash>,
    /// How many checkers a check takes.
    pub(super) committee: usize,
    /// For how long one may, seconds.
    pub(super) capacity_s: u64,
}

impl Rounds<'_> {
    /// The place of a receipt's checker in the order of its round.
    fn seat(&self, porc: &Porc, statement: &Statement, told_s: u64) -> Option<u32> {
        let panel = Panel {
            directory: self.directory,
            chain: self.chain.map(|(chain, _)| &chain.anchor),
            committee: self.committee,
            capacity_s: self.capacity_s,
        };
        let at = SaidAt {
            issued_at_s: statement.head.issued_at_s,
            told_s,
        };
        let (node, issuer) = (&statement.subject.sha256, &statement.head.issuer);
        // What the log has is not judged by the time of whoever reads it.
        let value = |round| match self.chain {
            Some((_, table)) if table.drand(round).is_some() => self.drawn.get(&round).copied(),
            Some((chain, _)) => chain.value(round, u64::MAX),
            None => None,
        };
        panel.seat(porc, node, issuer, at, value).ok()
    }
}

/// The round that an entry is about, if it is a proof of capacity.
pub(super) fn round_named(entry: &Placed) -> Option<u64> {
    let statement = Statement::parse(&Envelope::parse(&entry.bytes).ok()?).ok()?;
    match statement.predicate {
        Predicate::Porc(porc) => Some(porc.round),
        _ => None,
    }
}

/// Reads an entry behind entries that say that they were issued at `told_s` at the latest; most are nothing here. It was admitted before it had its place: whose keys count is asked again, for
/// the directory may be another one; signatures are not.
pub(super) fn read(entry: Placed, rounds: &Rounds<'_>, told_s: u64) -> Option<Entry> {
    let directory = rounds.directory;
    let Placed {
        place, leaf, bytes, ..
    } = entry;
    let statement = readmit(&bytes, directory).ok()?;
    let issued_at_s = statement.head.issued_at_s.max(told_s);
    match &statement.predicate {
        Predicate::Porc(_) => {
            let check = check((place, leaf), &statement, rounds, told_s)?;
            Some(Entry::Check(check, statement.head.issued_at_s))
        }
        Predicate::Dispute(dispute) => Some(Entry::Dispute(Disputed {
            place,
            leaf,
            target: statement.subject.sha256.to_string(),
            claim: dispute.claim.clone(),
            issuer: statement.head.issuer.to_string(),
            is_brokers: directory
                .find(&statement.head.issuer, Role::Broker)
                .is_some(),
            issued_at_s,
        })),
        Predicate::Verdict(verdict) => {
            // What a broker says of agreeing reports ends no dispute.
            directory.find(&statement.head.issuer, Role::Referee)?;
            Some(Entry::Verdict(Settling {
                place,
                dispute: verdict.dispute?.to_string(),
                verdict: verdict.clone(),
                issued_at_s,
            }))
        }
        Predicate::Revoke(revoke) => {
            let at = (place, issued_at_s);
            let revocation = Revocation::of(at, &statement, revoke.from_s, directory);
            Some(Entry::Revocation(revocation))
        }
        Predicate::Porw(_) | Predicate::Session(_) => None,
    }
}

/// What a checker found, of an entry that counts: a proof of capacity, of a node that the directory has, by a
/// checker whose operator is not the node's. A pass that the node did not sign says nothing certain.
fn check(
    (place, leaf): (u64, String),
    statement: &Statement,
    rounds: &Rounds<'_>,
    told_s: u64,
) -> Option<CheckRow> {
    let Predicate::Porc(porc) = &statement.predicate else {
        return None;
    };
    if !is_between_strangers(statement, rounds.directory) {
        return None;
    }
    let node = statement.subject.sha256;
    let finding = match (porc.finding, &statement.head.countersign) {
        (Finding::Pass, Countersign::Node(key)) if *key == node => Finding::Pass,
        (Finding::Pass, _) => Finding::Inconclusive,
        (finding, _) => finding,
    };
    Some(CheckRow {
        place,
        of: RoundOf {
            node: node.to_string(),
            round: porc.round,
            // As tables have it, so that a round is found again.
            gpu: porc.gpu.replace('\0', "\u{fffd}"),
        },
        checker: statement.head.issuer.to_string(),
        leaf,
        finding: name(finding).to_owned(),
        score_permille: porc.score_permille,
        issued_at_s: statement.head.issued_at_s.max(told_s),
        reason: porc.reason.clone(),
        seat: rounds.seat(porc, statement, told_s),
        blocks: Some(porc.sizes.blocks),
        revoked: None,
    })
}

/// Whether node and checker are known, and of different operators.
fn is_between_strangers(statement: &Statement, directory: &Directory) -> bool {
    let at_s = statement.head.issued_at_s;
    let operator = |key: &KeyId, role| {
        let known = directory.find(key, role);
        known
            .filter(|(_, entry)| entry.covers(at_s))
            .map(|(_, entry)| &entry.operator)
    };
    let node = operator(&statement.subject.sha256, Role::Node);
    let checker = operator(&statement.head.issuer, Role::Checker);
    matches!((node, checker), (Some(node), Some(checker)) if node != checker)
}

/// What a round has come to with these checks, all that there are of it, in the order of the log; `round` if a referee has
/// settled it, the last time at `settled_s`.
pub(super) fn verdict(
    of: &RoundOf,
    checks: &[CheckRow],
    round: Round,
    (least, settled_s): (usize, u64),
) -> VerdictRow {
    let reports: Vec<CheckerReport> = checks.iter().filter_map(report).collect();
    let round = round.with(&reports, least);
    settled(of, &round, (checks, least), settled_s)
}

/// A round with these checks, and a word of a referee of then.
fn settled(
    of: &RoundOf,
    round: &Round,
    (checks, least): (&[CheckRow], usize),
    issued_at_s: u64,
) -> VerdictRow {
    let seated = || checks.iter().filter(|check| check.seat.is_some());
    let weigh = seated().filter(|check| check.revoked.is_none());
    let mut places: Vec<u64> = weigh.map(|check| check.place).collect();
    for revocation in seated().filter_map(|check| check.revoked) {
        if !places.contains(&revocation) {
            places.push(revocation);
        }
    }
    let at_s = seated().map(|check| check.issued_at_s).max();
    VerdictRow {
        places,
        at_s: at_s.unwrap_or_default().max(issued_at_s),
        blocks: blocks(round, checks, least),
        ..row(of, round)
    }
}

/// The least of the blocks that those filled who passed it, weigh and were not refuted: nothing that a liar says counts.
fn blocks(round: &Round, checks: &[CheckRow], least: usize) -> Option<u32> {
    let liars: &[KeyId] = match round {
        Round::Settled { liars, .. } => liars,
        Round::Open | Round::Passed { .. } | Round::Failed | Round::Split { .. } => &[],
    };
    let weighing = weighing(checks, least);
    let passed = weighing.iter().filter(|check| {
        let lied = liars.iter().any(|liar| liar.to_string() == check.checker);
        finding(&check.finding) == Finding::Pass && !lied
    });
    passed.filter_map(|check| check.blocks).min()
}

/// Of a checker's checks of a round the first that is certain and the first that is not, with a seat and without: no more of
/// them say anything, so no more are kept. What is revoked keeps nothing out, as long as its issuer has not taken back so much.
pub(super) fn says_something_new(check: &CheckRow, known: &[CheckRow]) -> bool {
    let is_certain = |check: &CheckRow| finding(&check.finding) != Finding::Inconclusive;
    let same = |of: &CheckRow| {
        of.checker == check.checker
            && is_certain(of) == is_certain(check)
            && of.seat.is_some() == check.seat.is_some()
            && of.revoked.is_none()
    };
    let is_taken_back = |of: &&CheckRow| of.checker == check.checker && of.revoked.is_some();
    known.iter().filter(is_taken_back).count() < ANEW_MAX && !known.iter().any(same)
}

/// The checks that weigh in their round.
pub(super) fn weighing(checks: &[CheckRow], least: usize) -> Vec<CheckRow> {
    let reports: Vec<CheckerReport> = checks.iter().filter_map(report).collect();
    let counted = counted(&reports, least);
    let weighs = |check: &&CheckRow| {
        let may = check.seat.is_some() && check.revoked.is_none();
        may && counted
            .iter()
            .any(|of| of.checker.to_string() == check.checker)
    };
    checks.iter().filter(weighs).cloned().collect()
}

/// A round as the ledger has it, but for what its checks say.
fn row(of: &RoundOf, round: &Round) -> VerdictRow {
    let (finding, score_permille) = match round.counts() {
        Some((true, score)) => (Finding::Pass, score),
        Some((false, _)) => (Finding::Fail, 0),
        None => (Finding::Inconclusive, 0),
    };
    let (liars, ground) = match round {
        Round::Settled { liars, ground, .. } => {
            (liars.iter().map(KeyId::to_string).collect(), ground.name())
        }
        Round::Open | Round::Passed { .. } | Round::Failed | Round::Split { .. } => {
            (Vec::new(), "")
        }
    };
    VerdictRow {
        of: of.clone(),
        state: round.name().to_owned(),
        finding: name(finding).to_owned(),
        score_permille,
        at_s: 0,
        places: Vec::new(),
        liars,
        ground: ground.to_owned(),
        blocks: None,
    }
}

/// What was settled stays so; everything else follows from the checks.
pub(super) fn round_of(row: &VerdictRow) -> Round {
    if row.state != "settled" {
        return Round::Open;
    }
    let liars = row.liars.iter();
    Round::Settled {
        finding: finding(&row.finding),
        score_permille: row.score_permille,
        liars: liars.filter_map(|key| KeyId::from_hex(key)).collect(),
        ground: Ground::of_name(&row.ground),
    }
}

/// What a check says, unless it is revoked.
pub(super) fn report(check: &CheckRow) -> Option<CheckerReport> {
    match check.revoked {
        None => said(check),
        Some(_) => None,
    }
}

/// What a check says, whatever became of it.
pub(super) fn said(check: &CheckRow) -> Option<CheckerReport> {
    Some(CheckerReport {
        checker: KeyId::from_hex(&check.checker)?,
        finding: finding(&check.finding),
        score_permille: check.score_permille,
        seat: check.seat,
    })
}

/// As tables and answers have it.
pub(super) const fn name(finding: Finding) -> &'static str {
    match finding {
        Finding::Pass => "pass",
        Finding::Fail => "fail",
        Finding::Inconclusive => "inconclusive",
    }
}

pub(super) fn finding(name: &str) -> Finding {
    match name {
        "pass" => Finding::Pass,
        "fail" => Finding::Fail,
        _ => Finding::Inconclusive,
    }
}

#[cfg(test)]
mod test;
