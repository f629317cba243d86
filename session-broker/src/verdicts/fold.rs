//! What one entry of the log does, and what the entries of a round come to. No clock, no IO.

use crate::ledger::{CheckRow, RoundOf, VerdictRow};
use nearlight_proof::encoding::hex;
use nearlight_proof::key::KeyId;
use nearlight_proof::log::tree::leaf;
use nearlight_proof::porc::round::Round;
use nearlight_proof::porc::verdict::CheckerReport;
use nearlight_proof::receipt::directory::{Directory, Role};
use nearlight_proof::receipt::predicate::{Finding, Predicate};
use nearlight_proof::receipt::statement::{Countersign, Statement};
use nearlight_proof::receipt::verify::admit;

/// What an entry of the log is here.
#[derive(Debug)]
pub(super) enum Entry {
    /// A receipt of a check that counts.
    Check(CheckRow),
    /// A dispute over the receipt with that leaf.
    Dispute(Disputed),
    /// A referee's word.
    Verdict(Settling),
}

/// A dispute.
#[derive(Debug)]
pub(super) struct Disputed {
    pub(super) place: u64,
    pub(super) leaf: String,
    pub(super) target: String,
    pub(super) claim: String,
    pub(super) deadline_s: u64,
    pub(super) issued_at_s: u64,
}

/// A verdict that ends a dispute.
#[derive(Debug)]
pub(super) struct Settling {
    pub(super) place: u64,
    pub(super) dispute: String,
    pub(super) round: Round,
    pub(super) issued_at_s: u64,
}

/// Reads an entry; most are nothing here.
pub(super) fn read(place: u64, bytes: &[u8], directory: &Directory) -> Option<Entry> {
    let statement = admit(bytes, directory).ok()?;
    let issued_at_s = statement.head.issued_at_s;
    match &statement.predicate {
        Predicate::Porc(_) => check(place, bytes, &statement, directory).map(Entry::Check),
        Predicate::Dispute(dispute) => Some(Entry::Dispute(Disputed {
            place,
            leaf: hex(&leaf(bytes)),
            target: statement.subject.sha256.to_string(),
            claim: dispute.claim.clone(),
            deadline_s: dispute.deadline_s,
            issued_at_s,
        })),
        Predicate::Verdict(verdict) => {
            // What a broker says of agreeing reports ends no dispute.
            directory.find(&statement.head.issuer, Role::Referee)?;
            Some(Entry::Verdict(Settling {
                place,
                dispute: verdict.dispute?.to_string(),
                round: Round::Settled {
                    finding: verdict.finding,
                    score_permille: verdict.score_permille,
                    liars: verdict.liars.clone(),
                },
                issued_at_s,
            }))
        }
        Predicate::Porw(_) | Predicate::Session(_) | Predicate::Revoke(_) => None,
    }
}

/// What a checker found, of an entry that counts: a proof of capacity, of a node that the directory has, by a
/// checker whose operator is not the node's. A pass that the node did not sign says nothing certain.
fn check(
    place: u64,
    bytes: &[u8],
    statement: &Statement,
    directory: &Directory,
) -> Option<CheckRow> {
    let Predicate::Porc(porc) = &statement.predicate else {
        return None;
    };
    if !is_between_strangers(statement, directory) {
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
        leaf: hex(&leaf(bytes)),
        finding: name(finding).to_owned(),
        score_permille: porc.score_permille,
        issued_at_s: statement.head.issued_at_s,
        reason: porc.reason.clone(),
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

/// What a round has come to with these checks, all that there are of it, in the order of the log.
pub(super) fn verdict(
    of: &RoundOf,
    checks: &[CheckRow],
    before: Option<&VerdictRow>,
    least: usize,
) -> VerdictRow {
    let reports: Vec<CheckerReport> = checks.iter().filter_map(report).collect();
    let round = before.map_or_else(Round::default, round_of);
    let round = round.with(&reports, least);
    let places = checks.iter().map(|check| check.place).collect();
    let at_s = checks.iter().map(|check| check.issued_at_s).max();
    row(of, &round, places, at_s.unwrap_or_default())
}

/// A round as the ledger has it.
pub(super) fn row(of: &RoundOf, round: &Round, places: Vec<u64>, at_s: u64) -> VerdictRow {
    let (finding, score_permille) = match round.counts() {
        Some((true, score)) => (Finding::Pass, score),
        Some((false, _)) => (Finding::Fail, 0),
        None => (Finding::Inconclusive, 0),
    };
    let liars = match round {
        Round::Settled { liars, .. } => liars.iter().map(KeyId::to_string).collect(),
        Round::Open | Round::Passed { .. } | Round::Failed | Round::Split { .. } => Vec::new(),
    };
    VerdictRow {
        of: of.clone(),
        state: round.name().to_owned(),
        finding: name(finding).to_owned(),
        score_permille,
        at_s,
        places,
        liars,
    }
}

/// What was settled stays so; everything else follows from the checks.
fn round_of(row: &VerdictRow) -> Round {
    if row.state != "settled" {
        return Round::Open;
    }
    let liars = row.liars.iter();
    Round::Settled {
        finding: finding(&row.finding),
        score_permille: row.score_permille,
        liars: liars.filter_map(|key| KeyId::from_hex(key)).collect(),
    }
}

fn report(check: &CheckRow) -> Option<CheckerReport> {
    Some(CheckerReport {
        checker: KeyId::from_hex(&check.checker)?,
        finding: finding(&check.finding),
        score_permille: check.score_permille,
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
mod test {
    use super::*;
    use nearlight_proof::key::SecretKey;
    use nearlight_proof::receipt::directory::Entry as KeyEntry;
    use nearlight_proof::receipt::predicate::{Elapsed, Porc, Ratios, Sizes};
    use nearlight_proof::receipt::statement::{Assurance, Head, Subject};

    fn key(seed: u8) -> SecretKey {
        SecretKey::from_seed(&[seed; 32])
    }

    fn entry(seed: u8, role: Role, operator: &str) -> KeyEntry {
        KeyEntry {
            key: hex(key(seed).public().as_bytes()),
            role,
            operator: operator.to_owned(),
            licence: None,
            from_s: 100,
            until_s: 200,
            revoked_at_s: None,
        }
    }

    fn directory() -> Directory {
        let keys = vec![
            entry(1, Role::Checker, "east"),
            entry(2, Role::Checker, "host"),
            entry(9, Role::Node, "host"),
        ];
        let authority = key(50);
        let bytes = Directory::sign(1, 100, keys, &authority).unwrap();
        Directory::open(&bytes, &authority.public()).unwrap()
    }

    fn porc(finding: Finding) -> Porc {
        let (none, one) = (KeyId([0; 32]), 1);
        Porc {
            round: 7,
            beacon: none,
            gpu: "cpu".to_owned(),
            class: "test".to_owned(),
            table: none,
            probe: "p".to_owned(),
            checkers: none,
            nonce: none,
            read_secret: none,
            open_secret: none,
            sizes: Sizes {
                rows: one,
                blocks: one,
                lanes: one,
                reads: one,
                frames: one,
                tiles: one,
                steps: 96,
            },
            matrix_root: none,
            fill_root: none,
            read_root: none,
            frame_root: none,
            elapsed: Elapsed {
                compute_us: 1,
                fill_us: 1,
                read_us: 1,
                render_us: 1,
            },
            ratios: Ratios {
                compute_permille: 900,
                memory_permille: 900,
                render_permille: 900,
            },
            score_permille: 900,
            finding,
            reason: String::new(),
        }
    }

    fn entry_of(checker: u8, node: u8, finding: Finding, signs: bool, at_s: u64) -> Vec<u8> {
        let node = key(node);
        let statement = Statement {
            subject: Subject {
                name: "node:nod_1".to_owned(),
                sha256: node.public().id(),
            },
            head: Head {
                issuer: key(checker).public().id(),
                issued_at_s: at_s,
                countersign: match signs {
                    true => Countersign::Node(node.public().id()),
                    false => Countersign::Refused("no".to_owned()),
                },
                assurance: Assurance::Timing,
                does_not_prove: Vec::new(),
                evidence: Vec::new(),
            },
            predicate: Predicate::Porc(Box::new(porc(finding))),
        };
        let mut envelope = statement.envelope().unwrap();
        envelope.sign(&key(checker));
        if signs {
            envelope.sign(&node);
        }
        envelope.to_bytes()
    }

    #[test]
    fn a_receipt_counts_if_its_keys_do() {
        let directory = directory();
        let row_of = |bytes: &[u8]| match read(3, bytes, &directory) {
            Some(Entry::Check(row)) => Some(row),
            _ => None,
        };
        let found = |bytes: &[u8]| row_of(bytes).map(|row| row.finding);
        let good = entry_of(1, 9, Finding::Pass, true, 150);
        assert_eq!(found(&good).as_deref(), Some("pass"));
        let row = row_of(&good).unwrap();
        assert_eq!((row.place, row.of.round, row.score_permille), (3, 7, 900));
        let failed = entry_of(1, 9, Finding::Fail, false, 150);
        assert_eq!(found(&failed).as_deref(), Some("fail"));
        let unsigned = entry_of(1, 9, Finding::Pass, false, 150);
        assert_eq!(found(&unsigned).as_deref(), Some("inconclusive"));
        assert_eq!(
            found(&entry_of(2, 9, Finding::Pass, true, 150)),
            None,
            "of the node's operator"
        );
        assert_eq!(
            found(&entry_of(3, 9, Finding::Pass, true, 150)),
            None,
            "no checker"
        );
        assert_eq!(
            found(&entry_of(1, 8, Finding::Fail, false, 150)),
            None,
            "no node"
        );
        assert_eq!(
            found(&entry_of(1, 9, Finding::Pass, true, 99)),
            None,
            "before its window"
        );
        let mut flipped = good.clone();
        let at = flipped.len() - 20;
        flipped[at] ^= 1;
        assert_eq!(found(&flipped), None);
        assert_eq!(found(b"{}"), None);
    }

    #[test]
    fn a_round_follows_from_its_checks_but_for_what_was_settled() {
        let of = RoundOf {
            node: "n".to_owned(),
            round: 7,
            gpu: "cpu".to_owned(),
        };
        let check = |place: u64, finding: &str| CheckRow {
            place,
            of: of.clone(),
            checker: format!("{place:064x}"),
            leaf: String::new(),
            finding: finding.to_owned(),
            score_permille: 900 + place as u32,
            issued_at_s: 100 + place,
            reason: String::new(),
        };
        let passes = [check(1, "pass"), check(2, "pass"), check(3, "pass")];
        let passed = verdict(&of, &passes, None, 3);
        assert_eq!(
            (passed.state.as_str(), passed.score_permille),
            ("passed", 901)
        );
        assert_eq!(
            (passed.at_s, passed.places.as_slice()),
            (103, &[1, 2, 3][..])
        );
        let mut more = passes.to_vec();
        more.push(check(4, "fail"));
        let split = verdict(&of, &more, Some(&passed), 3);
        assert_eq!(
            (split.state.as_str(), split.finding.as_str()),
            ("split", "inconclusive")
        );
        let settled = Round::Settled {
            finding: Finding::Pass,
            score_permille: 901,
            liars: vec![KeyId([4; 32])],
        };
        let settled = row(&of, &settled, vec![1, 2, 3, 4], 104);
        more.push(check(5, "fail"));
        let after = verdict(&of, &more, Some(&settled), 3);
        assert_eq!(
            (after.state.as_str(), after.finding.as_str()),
            ("settled", "pass")
        );
        assert_eq!((after.liars.len(), after.places.len()), (1, 5));
    }
}
