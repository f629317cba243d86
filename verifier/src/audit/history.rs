//! A node's history: what is about it, how each of it stands by all that came later, and what is odd.

use super::listed::Listings;
use super::said::Said;
use super::{AuditError, Finding, Held, Oddity, Source};
use crate::given::Trust;
use nearlight_proof::beacon::anchor::Anchor;
use nearlight_proof::beacon::used::Timetable;
use nearlight_proof::encoding::{hex, sha256};
use nearlight_proof::key::KeyId;
use nearlight_proof::log::tree::leaf;
use nearlight_proof::porc::panel::SaidAt;
use nearlight_proof::receipt::directory::Role;
use nearlight_proof::receipt::envelope::Envelope;
use nearlight_proof::receipt::predicate::{Finding as Found, Porc, Predicate, Verdict};
use nearlight_proof::receipt::statement::{Countersign, Statement, issued_at_s};
use nearlight_proof::receipt::verify::{Later, judge};
use nearlight_proof::receipt::{Directory, Outcome};
use std::collections::{BTreeMap, BTreeSet};

/// Longer than this without a capacity check is a gap, seconds: they are due daily, and may be late by an hour or two.
const GAP_S: u64 = 26 * 3600;

/// For so long evidence is kept at least, seconds.
const DISPUTE_S: u64 = 90 * 24 * 3600;

/// A piece of evidence that a receipt names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    entry: u64,
    sha256: String,
}

/// What is told of a node.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) receipts: Vec<Held>,
    pub(super) findings: Vec<Finding>,
    /// What should still be there.
    pub(super) evidence: Vec<Named>,
}

/// One that is about the node.
#[derive(Debug)]
struct Kept {
    index: u64,
    leaf: KeyId,
    statement: Statement,
    /// Why it does not count by itself, if it does not.
    refused: Option<(Outcome, String)>,
    /// The latest time that an entry before it says it was issued at.
    told_s: u64,
}

/// A check of the node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Check<'a> {
    pub(super) index: u64,
    pub(super) leaf: KeyId,
    pub(super) issuer: KeyId,
    pub(super) porc: &'a Porc,
    /// As it counts: a pass that the node did not sign says nothing certain.
    pub(super) finding: Found,
    /// Whether its keys and signatures are in order.
    pub(super) is_admitted: bool,
    /// When it was made.
    pub(super) at: SaidAt,
}

/// See the module.
#[derive(Debug)]
pub(super) struct History<'a> {
    node: KeyId,
    trust: &'a Trust,
    /// What the log says of rounds.
    said: Said,
    /// What it says of checkers' keys.
    listings: Listings,
    kept: Vec<Kept>,
    /// Where in `kept` what has this leaf is, the first.
    leaves: BTreeMap<KeyId, usize>,
    /// Everything that may change how a receipt stands.
    later: Vec<Later>,
    /// The latest time that an entry so far says it was issued at.
    told_s: u64,
}

impl<'a> History<'a> {
    pub(super) fn new(node: KeyId, trust: &'a Trust) -> Self {
        Self {
            node,
            trust,
            said: Said::default(),
            listings: Listings::default(),
            kept: Vec::new(),
            leaves: BTreeMap::new(),
            later: Vec::new(),
            told_s: 0,
        }
    }

    /// The next entry of the log. What is no statement, such as an edition of the directory, is about no node.
    pub(super) fn entry(&mut self, index: u64, bytes: &[u8]) {
        let envelope = Envelope::parse(bytes).ok();
        let told_s = self.told_s;
        let parsed = |envelope| Statement::parse(envelope).ok();
        let statement = envelope.as_ref().and_then(parsed);
        let said_s = match (&statement, &envelope) {
            (Some(statement), _) => statement.head.issued_at_s,
            (None, Some(envelope)) => issued_at_s(envelope),
            (None, None) => 0,
        };
        self.told_s = told_s.max(said_s);
        let Some(statement) = statement else {
            let authority = &self.trust.authority;
            self.listings.entry(index, bytes, authority, self.told_s);
            return self.said.entry(index, bytes, (self.trust, self.told_s));
        };
        let about = self.is_about(&statement);
        // Revocations of keys are about no node, and may be about what stands in its receipts.
        if !about && !matches!(statement.predicate, Predicate::Revoke(_)) {
            return;
        }
        let admitted = Later::admitted(bytes, &self.trust.directory);
        let refused = admitted.as_ref().err().map(|report| {
            let found = report.checks.last().map(|check| check.found.clone());
            (report.outcome, found.unwrap_or_default())
        });
        if let (Ok(later), true) = (admitted, contests(&statement.predicate)) {
            self.later.push(later);
        }
        if about {
            let leaf = KeyId(leaf(bytes));
            self.leaves.entry(leaf).or_insert(self.kept.len());
            self.kept.push(Kept {
                index,
                leaf,
                statement,
                refused,
                told_s,
            });
        }
    }

    pub(super) const fn node(&self) -> KeyId {
        self.node
    }

    pub(super) const fn directory(&self) -> &'a Directory {
        &self.trust.directory
    }

    /// When rounds begin, and which beacons they take their values from.
    pub(super) const fn table(&self) -> Option<&Timetable> {
        self.said.table()
    }

    /// When rounds begin.
    pub(super) fn anchor(&self) -> Option<&Anchor> {
        self.table().map(Timetable::anchor)
    }

    /// The checks of the node, in the order of the log.
    pub(super) fn checks(&self) -> impl Iterator<Item = Check<'_>> {
        self.kept.iter().filter_map(|kept| self.check_of(kept))
    }

    /// The check of the node that has this leaf.
    pub(super) fn check(&self, leaf: &KeyId) -> Option<Check<'_>> {
        let kept = self.kept.get(*self.leaves.get(leaf)?)?;
        self.check_of(kept)
    }

    fn check_of<'k>(&self, kept: &'k Kept) -> Option<Check<'k>> {
        let Predicate::Porc(porc) = &kept.statement.predicate else {
            return None;
        };
        if kept.statement.subject.sha256 != self.node {
            return None;
        }
        let signed = kept.statement.head.countersign == Countersign::Node(self.node);
        Some(Check {
            index: kept.index,
            leaf: kept.leaf,
            issuer: kept.statement.head.issuer,
            porc,
            finding: match porc.finding {
                Found::Pass if !signed => Found::Inconclusive,
                finding => finding,
            },
            is_admitted: kept.refused.is_none(),
            at: SaidAt {
                issued_at_s: kept.statement.head.issued_at_s,
                told_s: kept.told_s,
            },
        })
    }

    /// What was found of its streams, in the order of the log: the leaf, who issued it, and when.
    pub(super) fn streams(&self) -> impl Iterator<Item = (KeyId, KeyId, u64)> {
        let admitted = self.kept.iter().filter(|kept| kept.refused.is_none());
        let about = admitted.filter(|kept| kept.statement.subject.sha256 == self.node);
        about.filter_map(|kept| match &kept.statement.predicate {
            Predicate::Porw(_) => {
                let head = &kept.statement.head;
                Some((kept.leaf, head.issuer, head.issued_at_s))
            }
            _ => None,
        })
    }

    /// From when to when it had sessions that no checker says it played, Unix seconds.
    pub(super) fn sessions(&self) -> impl Iterator<Item = (u64, u64)> {
        let admitted = || self.kept.iter().filter(|kept| kept.refused.is_none());
        let of_checkers: BTreeSet<KeyId> = admitted()
            .filter_map(|kept| match &kept.statement.predicate {
                Predicate::Porw(porw) => Some(porw.session),
                _ => None,
            })
            .collect();
        admitted().filter_map(move |kept| match &kept.statement.predicate {
            Predicate::Session(of)
                if of.node == self.node
                    && !of_checkers.contains(&kept.statement.subject.sha256) =>
            {
                Some((of.started_at_s, of.stopped_at_s))
            }
            _ => None,
        })
    }

    /// Verdicts about it, with their places.
    pub(super) fn verdicts(&self) -> impl Iterator<Item = (u64, &Verdict)> {
        let admitted = self.kept.iter().filter(|kept| kept.refused.is_none());
        admitted.filter_map(|kept| match &kept.statement.predicate {
            Predicate::Verdict(verdict) => Some((kept.index, verdict)),
            _ => None,
        })
    }

    fn is_about(&self, statement: &Statement) -> bool {
        let subject = &statement.subject.sha256;
        let names = |leaf: &KeyId| self.leaves.contains_key(leaf);
        let by_body = match &statement.predicate {
            Predicate::Session(session) => session.node == self.node,
            Predicate::Verdict(verdict) => {
                verdict.receipts.iter().any(names) || verdict.dispute.as_ref().is_some_and(names)
            }
            Predicate::Porc(_)
            | Predicate::Porw(_)
            | Predicate::Revoke(_)
            | Predicate::Dispute(_) => false,
        };
        *subject == self.node || statement.head.issuer == self.node || names(subject) || by_body
    }

    /// What it comes to.
    pub(super) fn told(self, now_s: u64) -> Told {
        let mut told = Told::default();
        let later = LaterOf::new(&self.later);
        for kept in &self.kept {
            let (outcome, why) = match &kept.refused {
                Some((outcome, why)) => (*outcome, why.clone()),
                None => {
                    let (outcome, why) = judge(&kept.leaf, &kept.statement, &later.of(kept));
                    (outcome, why.to_owned())
                }
            };
            told.receipts.push(held(kept, outcome));
            told.findings.extend(odd(kept, outcome, &why));
            told.evidence
                .extend(evidence_of(kept, now_s, &mut told.findings));
        }
        if let Some(anchor) = self.anchor() {
            let genesis_s = anchor.genesis_ms / 1000;
            told.findings.extend(self.listings.findings(genesis_s));
        }
        told.findings.extend(self.said.findings(self.trust.beacon));
        told.findings.extend(gaps(&self.kept, now_s));
        told
    }
}

/// Later entries, by what they are about: a flood of them about one receipt is looked at for that one alone.
struct LaterOf<'a> {
    about: BTreeMap<KeyId, Vec<&'a Later>>,
    /// By the dispute that it ends: the first of a referee.
    ending: BTreeMap<KeyId, &'a Later>,
}

impl<'a> LaterOf<'a> {
    fn new(later: &'a [Later]) -> Self {
        let (mut about, mut ending) = (BTreeMap::<_, Vec<_>>::new(), BTreeMap::new());
        for entry in later {
            match &entry.statement.predicate {
                Predicate::Verdict(verdict) if entry.role == Role::Referee => {
                    if let Some(dispute) = verdict.dispute {
                        ending.entry(dispute).or_insert(entry);
                    }
                }
                _ => {
                    let subject = entry.statement.subject.sha256;
                    about.entry(subject).or_default().push(entry);
                }
            }
        }
        Self { about, ending }
    }

    /// What may change how one stands: what is about it, or about the key that issued it.
    fn of(&self, kept: &Kept) -> Vec<&'a Later> {
        let keys = [kept.leaf, kept.statement.head.issuer];
        let about = keys.iter().filter_map(|key| self.about.get(key)).flatten();
        let mut later: Vec<&Later> = about.copied().collect();
        let ending = later.iter().filter_map(|of| self.ending.get(&of.leaf));
        let ending: Vec<&Later> = ending.copied().collect();
        later.extend(ending);
        later
    }
}

const fn contests(predicate: &Predicate) -> bool {
    matches!(
        predicate,
        Predicate::Verdict(_) | Predicate::Revoke(_) | Predicate::Dispute(_)
    )
}

fn held(kept: &Kept, outcome: Outcome) -> Held {
    let (finding, score_permille) = match &kept.statement.predicate {
        Predicate::Porc(porc) => (Some(porc.finding), Some(porc.score_permille)),
        Predicate::Porw(porw) => (Some(porw.finding), None),
        Predicate::Verdict(verdict) => (Some(verdict.finding), Some(verdict.score_permille)),
        Predicate::Session(_) | Predicate::Revoke(_) | Predicate::Dispute(_) => (None, None),
    };
    Held {
        index: kept.index,
        leaf: kept.leaf.to_string(),
        kind: kept.statement.predicate.kind(),
        issuer: kept.statement.head.issuer.to_string(),
        issued_at_s: kept.statement.head.issued_at_s,
        outcome,
        finding,
        score_permille,
    }
}

fn odd(kept: &Kept, outcome: Outcome, why: &str) -> Vec<Finding> {
    let one = |oddity, words: String| Finding {
        oddity,
        entries: vec![kept.index],
        words,
    };
    let mut found = Vec::new();
    match outcome {
        Outcome::Valid => {}
        Outcome::Disputed => found.push(one(Oddity::Disputed, why.to_owned())),
        Outcome::Revoked => found.push(one(Oddity::Revoked, why.to_owned())),
        _ => found.push(one(Oddity::NotValid, why.to_owned())),
    }
    if let Countersign::Refused(reason) = &kept.statement.head.countersign {
        found.push(one(
            Oddity::Unsigned,
            format!("the node did not sign: {reason}"),
        ));
    }
    if let Predicate::Verdict(verdict) = &kept.statement.predicate
        && !verdict.liars.is_empty()
    {
        let liars: Vec<_> = verdict.liars.iter().map(KeyId::to_string).collect();
        found.push(one(
            Oddity::Liar,
            format!("re-execution refuted {}", liars.join(", ")),
        ));
    }
    found
}

/// What should still be there of its evidence; what is over is told.
fn evidence_of(kept: &Kept, now_s: u64, findings: &mut Vec<Finding>) -> Vec<Named> {
    let pieces = &kept.statement.head.evidence;
    // A log keeps it for the time of disputes, whatever the receipt says.
    let least_s = kept.statement.head.issued_at_s.saturating_add(DISPUTE_S);
    let (here, over): (Vec<_>, Vec<_>) = pieces
        .iter()
        .partition(|of| of.kept_until_s.max(least_s) > now_s);
    if !over.is_empty() {
        findings.push(Finding {
            oddity: Oddity::EvidenceExpired,
            entries: vec![kept.index],
            words: format!(
                "{} of {} pieces of evidence were to be kept for a time that is over",
                over.len(),
                pieces.len()
            ),
        });
    }
    let named = here.into_iter().map(|of| Named {
        entry: kept.index,
        sha256: of.sha256.to_string(),
    });
    named.collect()
}

/// Times without a capacity check that are longer than the schedule has.
fn gaps(kept: &[Kept], now_s: u64) -> Vec<Finding> {
    let mut checks: Vec<(u64, u64)> = kept
        .iter()
        .filter(|one| {
            matches!(one.statement.predicate, Predicate::Porc(_)) && one.refused.is_none()
        })
        .map(|one| (one.statement.head.issued_at_s, one.index))
        .collect();
    checks.sort_unstable();
    let gap = |entries, from_s: u64, until_s: u64, what: &str| Finding {
        oddity: Oddity::Gap,
        entries,
        words: format!(
            "no capacity check for {} h, {what}",
            (until_s - from_s) / 3600
        ),
    };
    let Some((last_s, last)) = checks.last().copied() else {
        return vec![Finding {
            oddity: Oddity::Gap,
            entries: Vec::new(),
            words: "the log has no capacity check of it".to_owned(),
        }];
    };
    let mut found = Vec::new();
    for pair in checks.windows(2) {
        if let [(from_s, before), (until_s, after)] = *pair
            && until_s - from_s > GAP_S
        {
            found.push(gap(
                vec![before, after],
                from_s,
                until_s,
                "between two of them",
            ));
        }
    }
    if now_s.saturating_sub(last_s) > GAP_S {
        found.push(gap(vec![last], last_s, now_s, "since the last one"));
    }
    found
}

/// Fetches what should be there, and looks whether it is.
pub(super) fn evidence<S: Source>(
    source: &mut S,
    named: &[Named],
) -> Result<Vec<Finding>, AuditError<S::Error>> {
    let mut found = Vec::new();
    for piece in named {
        let words = match source.evidence(&piece.sha256)? {
            Some(bytes) if hex(&sha256(&[&bytes])) == piece.sha256 => continue,
            Some(_) => "other bytes than the receipt names",
            None => "not there, and should be",
        };
        found.push(Finding {
            oddity: Oddity::EvidenceMissing,
            entries: vec![piece.entry],
            words: format!(
                "evidence {}… is {words}",
                piece.sha256.get(..12).unwrap_or_default()
            ),
        });
    }
    Ok(found)
}
